"""Patterns of two substances, Gray and Scott's system: the generator and one instance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets import reaction_diffusion
from sciml.datasets.generator import NOTHING, Generator, Values, restrict, richardson
from sciml.datasets.numerics.series import box, check_settings
from sciml.datasets.numerics.spectral_solver import SpectralSolver
from sciml.datasets.numerics.starts import subseeds
from sciml.datasets.reaction_diffusion import SOLVER, evolved
from sciml.datasets.solutions import Function
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.grid import Grid
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray

Float = NDArray[np.float64]
Pattern = Literal["gliders", "bubbles", "maze", "worms", "spirals", "spots"]

PATTERNS: Mapping[Pattern, tuple[float, float]] = {
    "gliders": (0.014, 0.054),
    "bubbles": (0.098, 0.057),
    "maze": (0.029, 0.057),
    "worms": (0.058, 0.065),
    "spirals": (0.018, 0.051),
    "spots": (0.030, 0.062),
}
"""Feed and kill rates, f and k, of The Well."""

_EQUATION = r"u_t = D_u \Delta u - u v^2 + f (1 - u), v_t = D_v \Delta v + u v^2 - (f + k) v"


@describable
@dataclass(frozen=True)
class GrayScott(Generator):
    r"""A substance u that is fed and a substance v that eats it:

        u_t = D_u Laplacian(u) - u v^2 + f (1 - u),    v_t = D_v Laplacian(v) + u v^2 - (f + k) v.

    On the periodic box (0, length)^rank; all quantities as in The Well, whose seconds and lengths have no
    scale.  ``pattern`` names f and k (`PATTERNS`).  The start is u = exp(-g), v = 1 - exp(-h) with clusters g
    and h of Gaussian bumps a exp(-s |x - c|^2): a ~ U(1, 3), s ~ U(150, 300), c anywhere, 10 to 100 of them
    in a box of length 2, and as dense in others.

    Scheme: Fourier-Galerkin with exact dealiasing of the cubes (|k| < n / 4) on ``refinement * resolution``
    points per axis (2 hold all waves of the frames), spectrally accurate once the edges, about 0.03 wide, are
    resolved; `ETDRK4` of order 4 with steps of ``step`` at most, stable up to 2.

    Parameters
    ----------
    resolution : int
        Points per axis, at least 8.  Edges ask for 64 points of the solver per unit of length, better 128.
    rank : 1, 2 or 3
    pattern : "gliders", "bubbles", "maze", "worms", "spirals" or "spots"
    diffusivity : float, positive
        D_u; D_v is half of it.
    length : float, positive
        Of the box.
    final_time : float, positive
        Of the last frame; the first has time 0.
    frames : int
        At least 2, equally spaced in time, both ends included.
    refinement : int
        At least 1: grid of the solver.
    step : float, positive
        Longest step.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Source: Pearson, Science 261 (1993); rates, diffusivities and clusters of The Well (Ohana et al. 2024,
    arXiv:2412.00568).  Its files are ``GrayScott(resolution=128, length=2.0, final_time=1e4, frames=1001,
    step=1.0, refinement=1)`` for each pattern, but for the start: there a cluster is shifted and scaled to
    the range from 0 to 1, which a grid would have to look for, and half of the runs begin with noise.  The
    equation printed beside those files has -u v^2 in the second line; their generator has + u v^2, as here.

    Examples
    --------
    >>> u, v = GrayScott(resolution=16, final_time=40.0, frames=3).sample([0, 1])
    >>> u.shape, bool((u > -0.1).all() and (u < 1.1).all())
    ((2, 3, 16, 16), True)
    """

    resolution: int = 64
    rank: int = 2
    pattern: Pattern = "maze"
    diffusivity: float = 2e-5
    length: float = 0.4
    final_time: float = 100.0
    frames: int = 21
    refinement: int = 2
    step: float = 1.0

    def __post_init__(self) -> None:
        if self.pattern not in get_args(Pattern):
            raise ConfigError(f"GrayScott: pattern is one of {get_args(Pattern)}, got {self.pattern!r}.")
        check_settings(
            self,
            least={"resolution": 8, "frames": 2, "refinement": 1},
            positive=("diffusivity", "length", "final_time", "step"),
        )

    @property
    def grid(self) -> Grid:
        """Periodic nodes of the box."""
        return box(self.resolution, self.rank, "periodic", upper=self.length)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The states ``u`` and ``v``, with time."""
        return (
            Field("u", "state", long_name="substance that is fed", time=True),
            Field("v", "state", long_name="substance that eats it", time=True),
        )

    @property
    def about(self) -> Provenance:
        """Equation and solver."""
        return Provenance(
            title="Patterns of two substances that feed on each other",
            pde=f"gray_scott_{self.rank}d",
            equation=_EQUATION,
            solver=f"{SOLVER}, steps <= {self.step:g}",
        )

    def reaction(self, u: Float, v: Float) -> tuple[Float, Float]:
        """The rates without diffusion."""
        feed, kill = PATTERNS[self.pattern]
        return reaction(u, v, feed, feed + kill, 1.0)

    def sample(self, seeds: Sequence[int]) -> tuple[Float, Float]:
        """Frames of u and v for each seed, (n, frames, *space)."""
        fine = self.grid.with_shape([self.refinement * self.resolution] * self.rank)
        first = [np.exp(-clusters(seed, fine)) for seed in subseeds(seeds, 0)]
        second = [1 - np.exp(-clusters(seed, fine)) for seed in subseeds(seeds, 1)]
        start = np.stack([np.stack(first), np.stack(second)], axis=1)
        found = restrict(self.evolve(start, self.times), fine, self.grid)
        return np.ascontiguousarray(found[:, :, 0]), np.ascontiguousarray(found[:, :, 1])

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 error, (n,), of u or v, the larger: from twice the points and half the steps."""
        fine = replace(self, resolution=2 * self.resolution, step=self.step / 2)
        return richardson(self, fine, seeds, arrays, order=4)

    def evolve(self, initial: Float, times: ArrayLike, *, step: float = math.inf) -> Float:
        """Frames (n, len(times), 2, *space) from (u, v), (n, 2, *space), on any grid of the box."""
        return evolved(
            initial,
            self.grid.with_shape(initial.shape[2:]),
            times,
            diffusivity=(self.diffusivity, self.diffusivity / 2),
            reaction=self.reaction,
            degree=3,
            step=min(step, self.step),
        )

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> SpectralSolver:
        """The same solver on other points, with steps in units of twice those of the data."""
        flow = replace(self, step=2 * step * self.step)
        return SpectralSolver(flow, resolution, flow.step)


def reaction(u: Float, v: Float, feed: float, removal: float, rate: float) -> tuple[Float, Float]:
    """(-rate u v^2 + feed (1 - u), rate u v^2 - removal v)."""
    eaten = rate * u * v * v
    return feed * (1 - u) - eaten, eaten - removal * v


def clusters(seed: int, grid: Grid) -> Float:
    """Periodic sums of Gaussian bumps (*grid.shape); see `GrayScott`.

    A bump and its images are products of sums over the axes, so that each costs a product of vectors.
    """
    rng = np.random.default_rng(seed)
    volume = math.prod((axis.upper - axis.lower) / 2 for axis in grid.axes)
    count = max(1, round(rng.uniform(10, 100) * volume))
    total = np.zeros(grid.shape)
    for _ in range(count):
        height, sharpness, *centers = rng.uniform(
            [1.0, 150.0] + [0.0] * grid.rank, [3.0, 300.0] + [1.0] * grid.rank
        )
        bump = np.asarray(height)
        for axis, center in zip(grid.axes, centers, strict=True):
            length = axis.upper - axis.lower
            images = range(
                -math.ceil(0.6 / length) - 1, math.ceil(0.6 / length) + 2
            )  # exp(-150 0.6^2) = 1e-24
            away = axis.coordinates - axis.lower - center * length
            shape = sum(np.exp(-sharpness * (away + j * length) ** 2) for j in images)
            bump = np.multiply.outer(bump, shape)
        total += bump
    return total


def solve(
    fed: ArrayLike | Function,
    eater: ArrayLike | Function,
    grid: Grid,
    *,
    diffusivity: tuple[float, float] = (2e-5, 1e-5),
    rates: tuple[float, float, float] = (0.029, 0.086, 1.0),
    times: ArrayLike = (0.0, 1.0),
    step: float | None = None,
    refinement: int | None = None,
    tolerance: float = 1e-9,
) -> xarray.Dataset:
    """Solve u_t = D_u Laplacian(u) - c u v^2 + b (1 - u), v_t = D_v Laplacian(v) + c u v^2 - d v.

    Parameters
    ----------
    fed, eater : number, array or callable
        u and v at ``times[0]``: values (*grid.shape), or functions of the coordinates.
    grid : Grid
        Nodes, periodic or with both ends, which no flux crosses.
    diffusivity : (float, float)
        D_u, D_v.
    rates : (float, float, float)
        b = f, d = f + k and c; (40, 100, 1000) with diffusivities (0.2, 0.1) on (-1, 1)^2 in a benchmark of
        physics-informed networks.
    times, step, refinement, tolerance
        See `sciml.datasets.reaction_diffusion.solve`.

    Returns
    -------
    xarray.Dataset
        ``u`` and ``v`` (time, *space).

    Examples
    --------
    Without v, u returns to 1 by itself:

    >>> grid = Grid.box((8, 8), location="node", periodic=True)
    >>> found = solve(0.0, 0.0, grid, rates=(0.5, 1.0, 1.0), times=[0.0, 2.0])
    >>> bool(np.allclose(found["u"][-1], 1 - np.exp(-1.0)))
    True
    """
    if len(rates) != 3 or not all(map(math.isfinite, rates)):
        raise ConfigError(f"gray_scott.solve: rates are three finite numbers (b, d, c), got {rates}.")
    feed, removal, rate = (float(r) for r in rates)
    return reaction_diffusion.solve(
        {"u": fed, "v": eater},
        grid,
        diffusivity=diffusivity,
        reaction=lambda u, v: reaction(u, v, feed, removal, rate),
        times=times,
        step=step,
        refinement=refinement,
        tolerance=tolerance,
    ).assign_attrs(equation=_EQUATION, rates=[feed, removal, rate])
