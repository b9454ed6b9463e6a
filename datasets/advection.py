"""Transport with constant velocity on a periodic box, exact: the generator and one instance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.generator import NOTHING, Generator, Values, richardson
from sciml.datasets.numerics.pseudo_spectral import Modes
from sciml.datasets.numerics.series import box, check_settings, instants
from sciml.datasets.numerics.spectral_solver import Bound, SpectralSolver
from sciml.datasets.numerics.starts import SineSum
from sciml.datasets.solutions import Function, labelled, on_grid
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.grid import Grid
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray

Float = NDArray[np.float64]

_SOLVER = "exact along characteristics; between the points of an array by its trigonometric interpolant"


@describable
@dataclass(frozen=True)
class Advection(Generator):
    r"""Transport u_t + beta (u_x + u_y + ...) = 0 on the periodic unit box of any rank.

    Everything is dimensionless.  The velocity beta, the same along every axis, is ``speed``, or drawn for
    each sample from U(speed - spread, speed + spread), and then a parameter of the sample.  Starts are sums
    of two sine waves, one in ten rectified and one in ten cut by a window (`SineSum`, which says how it
    differs from the law of PDEBench).

    Scheme: u(x, t) = u_0(x - beta t) is evaluated at the nodes i / resolution.  There is no error but that of
    rounding, at any resolution, time and velocity, and no step; the fields are those of the exact solution
    also where they have kinks, which no grid resolves.

    Parameters
    ----------
    resolution : int
        Points per axis, at least 2.
    rank : 1, 2 or 3
    speed : float
        beta; 0.1, 0.2, 0.4, 0.7, 1, 2, 4 and 7 in PDEBench.
    spread : float
        Half width of the range of beta, >= 0.
    rectified, windowed : float
        Probabilities; 0 and 0 leave smooth fields, which 16 points per axis resolve.
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
    Source of the problem: Takamoto et al., PDEBench (2022), arXiv:2210.07182, appendix D.1.  Its files hold
    cell centers of a finite-volume scheme of order 2; here the points are nodes and the solution is exact.

    Examples
    --------
    >>> (u,) = Advection(resolution=32, speed=0.5, final_time=2.0, frames=3).sample([0, 1])
    >>> u.shape, bool(np.allclose(u[:, 2], u[:, 0], atol=1e-14))  # once around
    ((2, 3, 32), True)
    """

    resolution: int = 256
    rank: int = 1
    speed: float = 1.0
    spread: float = 0.0
    rectified: float = 0.1
    windowed: float = 0.1
    final_time: float = 2.0
    frames: int = 41

    def __post_init__(self) -> None:
        check_settings(
            self,
            least={"resolution": 2, "frames": 2, "spread": 0},
            positive=("final_time",),
            finite=("speed", "spread"),
        )
        self._law()

    def _law(self) -> SineSum:
        return SineSum(rectified=self.rectified, windowed=self.windowed)

    @property
    def grid(self) -> Grid:
        """Nodes i / resolution of the periodic unit box."""
        return box(self.resolution, self.rank, "periodic")

    @property
    def fields(self) -> tuple[Field, ...]:
        """The state ``u``, with time; and the parameter ``beta`` where it varies."""
        state = Field("u", "state", long_name="concentration", time=True)
        return (state, Field("beta", "parameter", long_name="velocity")) if self.spread else (state,)

    @property
    def about(self) -> Provenance:
        """Equation and solver."""
        return Provenance(
            title="Transport with constant velocity",
            pde=f"advection_{self.rank}d",
            equation=r"u_t + \beta (1, .., 1) \cdot \nabla u = 0",
            solver=_SOLVER,
        )

    def sample(self, seeds: Sequence[int]) -> tuple[Float, ...]:
        """Frames for each seed, (n, frames, *space), and beta, (n,), where it varies."""
        law, grid = self._law(), self.grid
        u = np.empty((len(seeds), self.frames, *grid.shape))
        beta = np.full(len(seeds), self.speed)
        for i, seed in enumerate(seeds):
            if self.spread:
                beta[i] += self.spread * np.random.default_rng([seed, 1]).uniform(-1.0, 1.0)
            start = law.draw(seed, self.rank)
            u[i] = transported(start, grid, [float(beta[i])] * self.rank, self.times.tolist())
        return (u, beta) if self.spread else (u,)

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 distance to the values on twice the points: rounding."""
        return richardson(self, replace(self, resolution=2 * self.resolution), seeds, arrays, order=1)

    def evolve(
        self,
        initial: Float,
        times: ArrayLike,
        *,
        step: float = math.inf,
        known: Mapping[str, Float] = NOTHING,
    ) -> Float:
        """Frames (n, len(times), 1, *space) from values (n, 1, *space) on any grid; exact, without steps.

        With the velocities ``known["beta"]``, (n,), if they are given.
        """
        grid, at = self.grid.with_shape(initial.shape[2:]), np.asarray(times, dtype=np.float64).tolist()
        beta = np.broadcast_to(known.get("beta", self.speed), len(initial)).tolist()
        pairs = zip(initial, beta, strict=True)
        return np.stack([transported(u, grid, [one] * self.rank, at)[:, None] for (u,), one in pairs])

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> SpectralSolver | None:
        """The trigonometric interpolant, moved exactly, without steps; a beta that varies must be known."""
        if self.spread and "beta" not in known:
            return None
        return SpectralSolver(Bound(self, known) if self.spread else self, resolution, self.final_time)


def transported(
    initial: Float | Function, grid: Grid, velocity: Sequence[float], times: Sequence[float]
) -> Float:
    """Frames u_0(x - velocity (t - times[0])), (len(times), *grid.shape), at the nodes of a periodic grid.

    A function is evaluated at the points that the flow comes from, taken back into the domain.  Through
    values (*grid.shape) goes the trigonometric interpolant, whose waves turn their phase; that of half the
    points stands for its cosine.
    """
    elapsed = np.asarray(times, dtype=np.float64) - times[0]
    if callable(initial):
        frames = np.empty((elapsed.size, *grid.shape))
        for frame, t in zip(frames, elapsed.tolist(), strict=True):
            points = grid.coordinates()
            for x, axis, speed in zip(points, grid.axes, velocity, strict=True):
                x[:] = axis.lower + np.mod(x - axis.lower - speed * t, axis.upper - axis.lower)
            frame[:] = initial(*points)
        return frames
    modes = Modes(grid, degree=1)
    turned = np.broadcast_to(modes.to_modes(initial), (elapsed.size, *modes.shape))
    for i, (k, speed) in enumerate(zip(modes.wavenumbers, velocity, strict=True)):
        angle = (speed * elapsed).reshape(-1, *[1] * grid.rank) * k
        held = modes.derivative(i) != 0
        turned = turned * np.where(held, np.exp(-1j * angle), np.cos(angle))
    return modes.to_values(turned)


def solve(
    initial: ArrayLike | Function,
    grid: Grid,
    *,
    velocity: float | Sequence[float] = 1.0,
    times: Sequence[float] = (0.0, 1.0),
) -> xarray.Dataset:
    """Solve u_t + velocity . grad u = 0 on a periodic box, exactly.

    Parameters
    ----------
    initial : number, array or callable
        At ``times[0]``: values (*grid.shape), or a function of the coordinates.  A function is followed
        exactly, kinks and jumps included; through values goes the trigonometric interpolant.
    grid : Grid
        Periodic nodes, of any rank: ``Grid.box((256,), location="node", periodic=True)``.
    velocity : float or sequence of float
        One for all axes, or one per axis.
    times : increasing
        Of the frames.

    Returns
    -------
    xarray.Dataset
        ``u`` (time, *space).

    Raises
    ------
    ShapeError
        If the grid is not one of periodic nodes, or shapes do not fit it.
    ConfigError
        If the times do not increase, or the velocity is not finite.

    Examples
    --------
    >>> grid = Grid.box((8,), location="node", periodic=True)
    >>> found = solve(lambda x: np.sin(2 * np.pi * x), grid, velocity=30.0, times=[0.0, 0.1])
    >>> exact = np.sin(2 * np.pi * (grid.axes[0].coordinates - 3.0))
    >>> bool(np.allclose(found["u"][-1], exact))
    True
    """
    at = instants("advection.solve", times)
    Modes(grid, degree=1)  # refuses other grids
    given = np.asarray(velocity, dtype=np.float64)
    if given.shape not in ((), (grid.rank,)) or not np.isfinite(given).all():
        raise ConfigError(
            f"advection.solve: velocity is a number or one for each of {grid.rank} axes, got {velocity}."
        )
    speeds = np.broadcast_to(given, grid.rank).tolist()
    values = on_grid("advection.solve: initial", initial, grid)
    start = initial if callable(initial) else values
    return labelled(
        {"u": (("time", *grid.names), transported(start, grid, speeds, at), {"units": "1"})},
        grid,
        times=at,
        attributes={"equation": "u_t + velocity . grad u = 0", "solver": _SOLVER, "velocity": speeds},
    )
