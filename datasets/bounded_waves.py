"""A pulse that travels between two walls, WE1 to WE3 of the message-passing paper: generator and solver."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.generator import NOTHING, Generator, Values, halved, relative_change
from sciml.datasets.numerics.series import Series, check_settings, instants
from sciml.datasets.numerics.spectral_solver import resample
from sciml.datasets.solutions import labelled
from sciml.datasets.wave import propagated
from sciml.description import describable
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Axis, Grid
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray
    from torch import Tensor

Float = NDArray[np.float64]
Wall = Literal["dirichlet", "neumann"]
Walls = Literal["dirichlet", "neumann", "mixed"]

_EQUATION = r"u_t = v, v_t = c^2 u_{xx}"
_SOLVER = "exact: d'Alembert's solution and its mirror images"
_LOWER, _UPPER = -8.0, 8.0
_SPACING = 0.1  # of the nodes that check the exact solution; a pulse of width 1 is resolved to rounding


@describable
@dataclass(frozen=True)
class BoundedWave(Generator):
    r"""Waves u_tt = c^2 u_xx on [-8, 8] that start as a traveling Gaussian, in the state (u, v), v = u_t.

    At time 0 the pulse exp(-(x - s)^2), s ~ U(-4, 4), moves to the left with speed c, together with its
    mirror images, so that the conditions at the walls hold from the start (the images change the Gaussian by
    at most 1.1e-7 at the wall).  Everything is dimensionless.

    ============  ==============================================================  =====
    walls         conditions                                                      paper
    ============  ==============================================================  =====
    "dirichlet"   u = 0: pulses return with the other sign                        WE1
    "neumann"     u_x = 0: pulses return with the same sign                       WE2
    "mixed"       each wall one of the two, drawn for each sample; stored as      WE3
                  parameters ``left`` and ``right``, 0 dirichlet and 1 neumann
    ============  ==============================================================  =====

    Scheme (`reflected`): the exact solution, to rounding, at any node and time; no order, no step.

    Parameters
    ----------
    resolution : int
        Nodes, both walls included, at least 2.  Does not change the solution.
    walls : "dirichlet", "neumann" or "mixed"
    speed : float, positive
        c.
    final_time : float, positive
        Of the last frame; the first has time 0.
    frames : int
        At least 2, equally spaced in time, both ends included.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Source: Brandstetter, Worrall and Welling, Message Passing Neural PDE Solvers (2022), arXiv:2202.03376,
    section 4.2 and appendix C.  Where its published generator differs: it solves by Chebyshev collocation and
    Radau's method with tolerance 1e-3 up to time 100, an error in time that grows to the size of the
    solution, so that files of different resolution differ; it stores the frames in reversed order, the last
    one first; an early version draws the flag of the left wall twice and that of the right wall never, so
    that "mixed" has a Dirichlet wall on the right in all samples; and its nodes are Chebyshev points, here
    they are equally spaced.

    Examples
    --------
    >>> u, v = BoundedWave(resolution=65, walls="neumann", frames=3).sample([0, 1])
    >>> u.shape, round(float(u[0, 0].max()), 1)
    ((2, 3, 65), 1.0)
    """

    resolution: int = 100
    walls: Walls = "mixed"
    speed: float = 2.0
    final_time: float = 100.0
    frames: int = 250

    def __post_init__(self) -> None:
        if self.walls not in get_args(Walls):
            raise ConfigError(f"BoundedWave: walls is one of {get_args(Walls)}, got {self.walls!r}.")
        check_settings(self, least={"resolution": 2, "frames": 2}, positive=("speed", "final_time"))

    @property
    def grid(self) -> Grid:
        """Nodes of [-8, 8]."""
        return _line(self.resolution)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The kinds of the walls where they are drawn, and the states ``u`` and ``v`` with time."""
        kinds = [
            Field(side, "parameter", long_name=f"{side} wall, 1 if neumann") for side in ("left", "right")
        ]
        return (
            *(kinds if self.walls == "mixed" else []),
            Field("u", "state", long_name="displacement", time=True),
            Field("v", "state", long_name="velocity", time=True),
        )

    @property
    def about(self) -> Provenance:
        """Equation, walls and solver."""
        kind = "dirichlet or neumann" if self.walls == "mixed" else self.walls
        return Provenance(
            title="Waves between two walls",
            pde="wave_1d",
            equation=_EQUATION,
            boundary={"x": (kind, kind)},
            solver=_SOLVER,
        )

    def draw(self, seed: int) -> tuple[float, Wall, Wall]:
        """Center of the pulse and kinds of the left and the right wall."""
        random = np.random.default_rng(seed)
        center = float(random.uniform(-4.0, 4.0))
        if self.walls != "mixed":
            return center, self.walls, self.walls
        kinds = get_args(Wall)
        left, right = random.integers(0, 2, size=2).tolist()
        return center, kinds[left], kinds[right]

    def sample(self, seeds: Sequence[int]) -> tuple[Float, ...]:
        """Kinds of the walls (n,) each, if drawn, and u and v (n, frames, resolution), for each seed."""
        x, drawn = self.grid.axes[0].coordinates, [self.draw(seed) for seed in seeds]
        frames = np.stack(
            [
                reflected(x, self.times, center, left=left, right=right, speed=self.speed)
                for center, left, right in drawn
            ],
            axis=1,
        )
        if self.walls != "mixed":
            return frames[0], frames[1]
        flags = np.array([[float(kind == "neumann") for kind in kinds] for _, *kinds in drawn])
        return flags[:, 0], flags[:, 1], frames[0], frames[1]

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 difference, (n,), to the sum over sine and cosine waves, another exact solution.

        Both are exact but for rounding, which grows with speed * final_time.
        """
        parts = [_by_waves(self.grid, self.times, *self.draw(seed), self.speed) for seed in seeds]
        u, v = (
            relative_change(np.asarray(given), np.stack([part[i] for part in parts]))
            for i, given in enumerate(arrays[-2:])
        )
        return np.maximum(u, v)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Intervals between the walls."""
        return halved(self.resolution - 1, least=self.least)

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> WallSolver | None:
        """Sine or cosine series of fewer waves, exact in time; walls that are drawn must be known."""
        if self.walls != "mixed":
            return WallSolver(resolution, self.speed, ((self.walls, self.walls),))
        if not {"left", "right"} <= known.keys():
            return None
        kinds = get_args(Wall)
        flags = zip(known["left"].tolist(), known["right"].tolist(), strict=True)
        return WallSolver(resolution, self.speed, tuple((kinds[int(a)], kinds[int(b)]) for a, b in flags))


@describable
@dataclass(frozen=True)
class WallSolver:
    """Sine and cosine series of the wave equation on [-8, 8] between walls, for roll-outs.

    Between two different walls it is the series of twice the interval, on which the state is continued over
    the right wall, evenly or oddly.

    Parameters
    ----------
    intervals : int
        It holds the waves that so many intervals resolve.
    speed : float
    walls : tuple of (left, right)
        "dirichlet" or "neumann": one pair for all samples, or one for each.

    Examples
    --------
    >>> WallSolver(50, 2.0, (("neumann", "neumann"),)).name
    'series of waves, 50 intervals'
    """

    intervals: int
    speed: float
    walls: tuple[tuple[Wall, Wall], ...]

    @property
    def name(self) -> str:
        """For tables."""
        return f"series of waves, {self.intervals} intervals"

    def trajectory(self, initial: Tensor, times: Sequence[float]) -> Tensor:
        """Frames (n, len(times), 2, nodes) from (u, v) at ``times[0]``, (n, 2, nodes).

        Parameters
        ----------
        initial : (n, 2, nodes)
            At the nodes of [-8, 8], both ends included.
        times : increasing
            Frame 0 is ``initial`` as it is.

        Raises
        ------
        ShapeError
            If the shape does not fit, or there are neither one nor n pairs of walls.
        """
        import torch

        shape = tuple(initial.shape)
        if len(shape) != 3 or shape[1] != 2 or len(self.walls) not in (1, shape[0]):
            raise ShapeError(
                f"WallSolver: initial must have shape (n, 2, nodes) with n one of (any, {len(self.walls)}) "
                f"for {len(self.walls)} pairs of walls, got {shape}."
            )
        values = initial.detach().cpu().numpy().astype(np.float64)
        at = [float(t) for t in times]
        walls = self.walls if len(self.walls) == shape[0] else self.walls * shape[0]
        found = np.empty((shape[0], len(at), *shape[1:]))
        for frames, start, (left, right) in zip(found, values, walls, strict=True):
            sides, upper = 1, _UPPER
            if left != right:
                mirrored = start[:, -2::-1] * (1 if right == "neumann" else -1)
                start, sides, upper = np.concatenate([start, mirrored], axis=1), 2, 2 * _UPPER - _LOWER
            given = _line(start.shape[1], upper)
            own = _line(min(sides * self.intervals, start.shape[1] - 1) + 1, upper)
            coarse = resample(start, given, own, left)
            series = propagated(coarse, Series(own, left), self.speed, at)
            frames[:] = resample(series, own, given, left)[..., : shape[2]]
        found[:, 0] = values
        return torch.from_numpy(found).to(device=initial.device, dtype=initial.dtype)


def reflected(
    x: Float,
    times: Float,
    center: float,
    *,
    left: Wall,
    right: Wall,
    speed: float,
    direction: int = -1,
    lower: float = _LOWER,
    upper: float = _UPPER,
) -> Float:
    r"""u and u_t of a pulse between walls, (2, len(times), len(x)), exact to rounding.

    The pulse g(x - center) with g(y) = exp(-y^2) moves with ``direction`` c; a = -1 at a Dirichlet and +1 at
    a Neumann wall on the left, b on the right.  With its images

        u(x, t) = sum_m (a b)^m [G(x + 2 m L, t) + a G(2 lower - x + 2 m L, t)],  G(y, t) = g(y - center -
        direction c t),

    L = upper - lower, satisfies the wave equation and, term by term, both conditions.  Only the images near
    the interval are summed: others are below the smallest number.
    """
    a, b = (1.0 if wall == "neumann" else -1.0 for wall in (left, right))
    period = 2 * (upper - lower)
    pulse = center + direction * speed * np.asarray(times, dtype=np.float64)[:, None]
    found = np.zeros((2, pulse.size, x.size))
    for sign, mirrored in ((1.0, x), (a, 2 * lower - x)):
        nearest = np.rint((pulse - mirrored) / period)
        for m in (nearest - 1, nearest, nearest + 1):
            y = mirrored + m * period - pulse
            g = sign * (a * b) ** m * np.exp(-(y**2))
            found[0] += g
            found[1] += 2 * direction * speed * y * g
    return found


def solve(
    center: float = 0.0,
    *,
    left: Wall = "dirichlet",
    right: Wall = "dirichlet",
    speed: float = 2.0,
    direction: int = -1,
    times: Sequence[float] = (0.0, 1.0),
    resolution: int = 201,
) -> xarray.Dataset:
    """A traveling pulse exp(-(x - center)^2) between walls at -8 and 8; exact.

    For other starts between walls of one kind see `sciml.datasets.wave.solve`.

    Parameters
    ----------
    center : float
        Of the pulse at time 0, in [-8, 8].
    left, right : "dirichlet" or "neumann"
        u = 0 or u_x = 0 at the wall.
    speed : float, positive
    direction : -1 or 1
        Of the pulse: to the left or to the right.
    times : increasing
        Of the frames; any, also before the start.
    resolution : int
        Nodes, both walls included.

    Returns
    -------
    xarray.Dataset
        ``u`` and ``v`` = u_t, (time, x).

    Raises
    ------
    ConfigError
        If an argument is out of range.

    Examples
    --------
    After 16 time units of speed 2 the pulse has crossed the interval twice and met both walls:

    >>> found = solve(1.0, left="dirichlet", right="neumann", times=[0.0, 16.0])
    >>> bool(np.allclose(found["u"][1], -found["u"][0], atol=1e-12))
    True
    """
    kinds = get_args(Wall)
    if left not in kinds or right not in kinds or direction not in (-1, 1):
        raise ConfigError(
            f"bounded_waves.solve: left and right are among {kinds} and direction is -1 or 1, got {left!r}, "
            f"{right!r} and {direction}."
        )
    whole = isinstance(resolution, Integral) and resolution >= 2
    if not (_LOWER <= center <= _UPPER and 0 < speed < math.inf and whole):
        raise ConfigError(
            "bounded_waves.solve: needs center in [-8, 8], speed > 0 and a whole resolution >= 2, got "
            f"center={center}, speed={speed}, resolution={resolution}."
        )
    at, grid = instants("bounded_waves.solve", times), _line(resolution)
    x = grid.axes[0].coordinates
    u, v = reflected(x, np.array(at), center, left=left, right=right, speed=speed, direction=direction)
    dims = ("time", "x")
    return labelled(
        {
            "u": (dims, u, {"units": "1", "long_name": "displacement"}),
            "v": (dims, v, {"units": "1", "long_name": "velocity"}),
        },
        grid,
        times=at,
        attributes={
            "equation": _EQUATION,
            "boundary": f"{left} at -8, {right} at 8",
            "solver": _SOLVER,
            "speed": speed,
            "center": center,
            "direction": direction,
        },
    )


def _line(nodes: int, upper: float = _UPPER) -> Grid:
    return Grid((Axis("x", _LOWER, upper, nodes, location="node"),))


def _by_waves(grid: Grid, times: Float, center: float, left: Wall, right: Wall, speed: float) -> Float:
    """The same u and u_t, (2, len(times), *grid.shape), as sums of sine or cosine waves on a finer grid.

    Of two different walls the right one becomes the middle of an interval of twice the length, on which the
    solution is symmetric (or antisymmetric) and both walls are as the left one.
    """
    ratio = math.ceil(grid.axes[0].spacing / _SPACING)
    intervals = (grid.shape[0] - 1) * ratio
    upper = _UPPER if left == right else 2 * _UPPER - _LOWER
    nodes = intervals * round((upper - _LOWER) / (_UPPER - _LOWER)) + 1
    fine = _line(nodes, upper)
    x, zero = fine.axes[0].coordinates, np.zeros(1)
    start = reflected(x, zero, center, left=left, right=right, speed=speed)[:, 0]
    frames = propagated(start, Series(fine, left), speed, times.tolist())
    return np.moveaxis(frames[..., : intervals + 1 : ratio], 1, 0)
