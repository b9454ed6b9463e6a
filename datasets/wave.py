"""Waves in a box, periodic or with walls, of constant or variable speed: the generator and one instance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.generator import NOTHING, Generator, Values, richardson
from sciml.datasets.numerics.random_fields import Boundary, GaussianField
from sciml.datasets.numerics.series import Series, box, check_settings, instants
from sciml.datasets.numerics.spectral_solver import Bound, SpectralSolver, resample
from sciml.datasets.numerics.starts import smooth_field, subseeds
from sciml.datasets.solutions import Function, labelled, on_grid
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.grid import Grid
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray

Float = NDArray[np.float64]

_EQUATION = r"u_t = v, v_t = c^2 \Delta u"
_SOLVER = "Fourier, sine or cosine series in space; time exact, through Chebyshev polynomials where c varies"
_WAVES = 8  # per axis, of starts and speeds
_TINY = 2.0**-56
_REACH = 60.0  # phase of the fastest wave up to which frames share an expansion: about 50 polynomials


@describable
@dataclass(frozen=True)
class Wave(Generator):
    r"""Waves u_tt = c(x)^2 Laplacian(u) on the unit box of any rank, in the state (u, v) with v = u_t.

    Everything is dimensionless.  The box is periodic, or has walls with u = 0 ("dirichlet") or zero slope
    ("neumann").  The start u is a Gaussian field of that boundary condition with standard deviation about 1
    and correlation length 0.2 (`smooth_field`), at rest: v = 0.  The speed is c = ``speed`` exp(g times
    ``variation``) with an independent field g of the same kind (zero slope at walls), a coefficient of the
    sample unless variation = 0.

    Scheme (`propagated`): the Laplacian of the trigonometric series at the nodes, and the exact solution of
    the system of ordinary differential equations that this gives: there is no step, the error in time is that
    of rounding, and the discrete energy sum w (v^2 / c^2 - u Laplacian(u)) / 2 stays.  In space the scheme is
    exact for constant c and resolved starts, and spectrally accurate for variable c.

    Parameters
    ----------
    resolution : int
        Intervals per axis, at least 4: as many nodes if periodic, one more with walls (both ends included).
    rank : 1, 2 or 3
    boundary : "periodic", "dirichlet" or "neumann"
    speed : float, positive
    variation : float, >= 0
        About the standard deviation of log c.  The default error at 16 points is of some percent, at 32
        below 1e-3, at 64 below 1e-7; every file states its own.
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
    Source of the time scheme: Tal-Ezer, SIAM J. Numer. Anal. 23 (1986), section 4, with the expansion in
    c^2 Laplacian instead of its root.

    Examples
    --------
    >>> c, u, v = Wave(resolution=16, boundary="dirichlet", frames=3).sample([0, 1])
    >>> c.shape, u.shape, bool((v[:, 0] == 0).all())
    ((2, 17), (2, 3, 17), True)
    """

    resolution: int = 64
    rank: int = 1
    boundary: Boundary = "periodic"
    speed: float = 1.0
    variation: float = 0.2
    final_time: float = 1.0
    frames: int = 41

    def __post_init__(self) -> None:
        check_settings(
            self, least={"resolution": 4, "frames": 2, "variation": 0}, positive=("speed", "final_time")
        )
        self._series()

    def _series(self) -> Series:
        return Series(self.grid, self.boundary)

    @property
    def grid(self) -> Grid:
        """Nodes of the unit box."""
        return box(self.resolution, self.rank, self.boundary)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The speed ``c`` where it varies, and the states ``u`` and ``v`` with time."""
        speed = (Field("c", "coefficient", long_name="speed of waves"),) if self.variation else ()
        return (
            *speed,
            Field("u", "state", long_name="displacement", time=True),
            Field("v", "state", long_name="velocity", time=True),
        )

    @property
    def about(self) -> Provenance:
        """Equation, walls and solver."""
        return Provenance(
            title="Waves in a box",
            pde=f"wave_{self.rank}d",
            equation=_EQUATION,
            boundary={name: (self.boundary, self.boundary) for name in self.grid.names},
            solver=_SOLVER,
        )

    def sample(self, seeds: Sequence[int]) -> tuple[Float, ...]:
        """Speed (n, *space), if it varies, and frames of u and v (n, frames, *space) for each seed."""
        series, at = self._series(), self.times.tolist()
        held = self.resolution // 2 if self.boundary == "periodic" else self.resolution - 1
        u = _law(self.rank, self.boundary, held).sample(seeds, self.grid)
        starts = np.stack([u, np.zeros_like(u)], axis=1)
        if not self.variation:
            frames = np.stack([propagated(start, series, self.speed, at) for start in starts])
            return frames[:, :, 0].copy(), frames[:, :, 1].copy()
        law = _law(self.rank, _even(self.boundary), held)
        c = self.speed * np.exp(self.variation * law.sample(subseeds(seeds, 1), self.grid))
        frames = np.stack([propagated(s, series, each, at) for s, each in zip(starts, c, strict=True)])
        return c, frames[:, :, 0].copy(), frames[:, :, 1].copy()

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 error, (n,), of u or v, the larger: 16/15 of the change on twice the points."""
        return richardson(self, replace(self, resolution=2 * self.resolution), seeds, arrays, order=4)

    def evolve(
        self,
        initial: Float,
        times: ArrayLike,
        *,
        step: float = math.inf,
        known: Mapping[str, Float] = NOTHING,
    ) -> Float:
        """Frames (n, len(times), 2, *space) from (u, v), (n, 2, *space), on any grid; exact, without steps.

        With the speeds ``known["c"]`` (n, *space), on any grid too, if they are given.
        """
        grid, at = self.grid.with_shape(initial.shape[2:]), np.asarray(times, dtype=np.float64).tolist()
        series = Series(grid, self.boundary)
        speeds: Iterable[float | Float] = [self.speed] * len(initial)
        if "c" in known:
            given = self.grid.with_shape(known["c"].shape[1:])
            speeds = np.exp(resample(np.log(known["c"]), given, grid, _even(self.boundary)))
        pairs = zip(initial, speeds, strict=True)
        return np.stack([propagated(start, series, c, at) for start, c in pairs])

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> SpectralSolver | None:
        """The series of fewer points, exact in time, whatever the step; a speed that varies must be known."""
        if self.variation and "c" not in known:
            return None
        flow = Bound(self, known) if self.variation else self
        return SpectralSolver(flow, resolution, self.final_time, self.boundary)


def _even(boundary: Boundary) -> Boundary:
    """That of the logarithm of the speed."""
    return "periodic" if boundary == "periodic" else "neumann"


def _law(rank: int, boundary: Boundary, held: int) -> GaussianField:
    return smooth_field(rank, boundary=boundary, scale=0.2, modes=min(_WAVES, held))


def propagated(initial: Float, series: Series, speed: float | Float, times: Sequence[float]) -> Float:
    r"""Frames (len(times), 2, *grid.shape) of (u, v) from ``initial`` (2, *grid.shape) at ``times[0]``.

    With the operator A = -c^2 Laplacian on the nodes, after a time t,

        u(t) = cos(t sqrt(A)) u + sinc(t sqrt(A)) v,   v(t) = -A sinc(t sqrt(A)) u + cos(t sqrt(A)) v,

    sinc(t s) = sin(t s) / s.  For constant c both are diagonal in the series.  For variable c they are entire
    functions of A, whose eigenvalues lie in [0, R], R = max(c)^2 max(lambda): Chebyshev polynomials of degree
    t sqrt(R) / 2 and a little more give them to rounding.

    Parameters
    ----------
    initial : (2, *grid.shape)
    series : Series
    speed : float or (*grid.shape) array, positive
    times : increasing
    """
    state = initial.copy()
    if series.boundary == "dirichlet":
        state = series.to_values(series.to_modes(state))
    frames = np.empty((len(times), *initial.shape))
    frames[0] = state
    if np.ndim(speed) == 0:
        omega = float(speed) * np.sqrt(series.eigenvalues)
        modes = series.to_modes(state)
        for j, t in enumerate((np.asarray(times[1:]) - times[0]).tolist(), 1):
            cosine, sinc = np.cos(t * omega), _sinc(t, omega)
            turned = np.stack(
                [cosine * modes[0] + sinc * modes[1], cosine * modes[1] - omega**2 * sinc * modes[0]]
            )
            frames[j] = series.to_values(turned)
        return frames
    square = np.asarray(speed, dtype=np.float64) ** 2
    bound = float(square.max() * series.eigenvalues.max())
    first = 1
    while first < len(times):
        gaps = np.asarray(times[first:], dtype=np.float64) - times[first - 1]
        gaps = gaps[: max(1, int((gaps * math.sqrt(bound) <= _REACH).sum()))]
        frames[first : first + gaps.size] = _evolved(frames[first - 1], series, square, bound, gaps)
        first += gaps.size
    return frames


def _sinc(t: float | Float, omega: Float) -> Float:
    """sin(t omega) / omega, t where omega = 0."""
    return np.asarray(t * np.sinc(t * omega / math.pi))


def _expansions(gaps: Float, bound: float) -> tuple[Float, Float]:  # (len(gaps), degree + 1)
    """Chebyshev coefficients on [0, bound] of cos(t sqrt(z)) and sin(t sqrt(z)) / sqrt(z), for each t.

    Cut where all that follow are below rounding of the largest; the two have the same length.
    """
    import scipy.fft

    count = math.ceil(float(gaps.max()) * math.sqrt(bound)) + 64  # twice the degree that matters: no folding
    angles = math.pi * (np.arange(count) + 0.5) / count
    root = math.sqrt(bound) * np.cos(angles / 2)  # of z = bound (1 + cos(angle)) / 2
    t = gaps[:, None]
    both = [scipy.fft.dct(f, type=2, axis=1) / count for f in (np.cos(t * root), _sinc(t, root))]
    for found in both:
        found[:, 0] /= 2
    matter = [np.abs(f).max(axis=0) > _TINY * np.abs(f).max() for f in both]
    last = max(2, int(np.flatnonzero(matter[0] | matter[1])[-1]) + 1)
    return both[0][:, :last], both[1][:, :last]


def _evolved(state: Float, series: Series, square: Float, bound: float, gaps: Float) -> Float:
    """(u, v) at the times ``gaps`` after ``state``, (len(gaps), 2, *shape), for variable c."""

    def scaled(values: Float) -> Float:  # by 2 A / bound - 1, whose eigenvalues lie in [-1, 1]
        return -2 / bound * square * series.laplacian(values) - values

    cosine, sinc = _expansions(gaps, bound)
    before, now = state, scaled(state)
    by_cosine = np.multiply.outer(cosine[:, 0], before) + np.multiply.outer(cosine[:, 1], now)
    by_sinc = np.multiply.outer(sinc[:, 0], before) + np.multiply.outer(sinc[:, 1], now)
    for k in range(2, cosine.shape[1]):
        before, now = now, 2 * scaled(now) - before
        by_cosine += np.multiply.outer(cosine[:, k], now)
        by_sinc += np.multiply.outer(sinc[:, k], now)
    bent = square * series.laplacian(by_sinc[:, 0])
    return np.stack([by_cosine[:, 0] + by_sinc[:, 1], by_cosine[:, 1] + bent], axis=1)


def energy(state: Float, series: Series, speed: float | Float) -> Float:
    """Sum of w (v^2 / c^2 - u Laplacian(u)) / 2 over the nodes with their quadrature weights w, (...).

    Of states (..., 2, *grid.shape): the integral of (v^2 / c^2 + |grad u|^2) / 2, which waves keep.
    """
    axes = tuple(range(-series.grid.rank, 0))
    u, v = np.moveaxis(state, -series.grid.rank - 1, 0)
    density = (v / speed) ** 2 - u * series.laplacian(u)
    return np.asarray((series.grid.weights() * density).sum(axis=axes) / 2)


def solve(
    initial: ArrayLike | Function,
    grid: Grid,
    *,
    velocity: ArrayLike | Function = 0.0,
    boundary: Boundary = "periodic",
    speed: ArrayLike | Function = 1.0,
    times: Sequence[float] = (0.0, 1.0),
) -> xarray.Dataset:
    """Solve u_tt = speed^2 Laplacian(u) in a box.

    Parameters
    ----------
    initial, velocity : number, array or callable
        u and u_t at ``times[0]``: values (*grid.shape), or a function of the coordinates.
    grid : Grid
        Nodes, of any rank: ``Grid.box((65,), location="node")`` with walls, ``Grid.box((64,),
        location="node", periodic=True)`` without.
    boundary : "periodic", "dirichlet" or "neumann"
        u = 0 or zero slope at the walls; with "dirichlet" the values of ``initial`` there are not used.
    speed : number, array or callable, positive
        c; a number is solved exactly.
    times : increasing
        Of the frames.

    Returns
    -------
    xarray.Dataset
        ``u`` and ``v`` = u_t (time, *space), and the speed ``c`` (*space).

    Raises
    ------
    ShapeError
        If the grid does not fit the boundary condition, or shapes do not fit it.
    ConfigError
        If the speed is not positive or the times do not increase.

    Examples
    --------
    The one-dimensional wave of PINNacle, u_tt = 4 u_xx between walls:

    >>> grid = Grid.box((33,), location="node")
    >>> start = lambda x: np.sin(np.pi * x) + np.sin(4 * np.pi * x) / 2
    >>> found = solve(start, grid, boundary="dirichlet", speed=2.0, times=[0.0, 0.3])
    >>> x = grid.axes[0].coordinates
    >>> exact = np.sin(np.pi * x) * np.cos(0.6 * np.pi) + np.sin(4 * np.pi * x) * np.cos(2.4 * np.pi) / 2
    >>> bool(np.allclose(found["u"][-1], exact))
    True
    """
    at = instants("wave.solve", times)
    series = Series(grid, boundary)
    c = on_grid("wave.solve: speed", speed, grid)
    if not (c > 0).all():
        raise ConfigError(f"wave.solve: speed must be positive, its least value is {c.min()}.")
    start = [on_grid("wave.solve: initial", initial, grid), on_grid("wave.solve: velocity", velocity, grid)]
    given = float(c.flat[0]) if np.ptp(c) == 0 else c
    u, v = np.moveaxis(propagated(np.stack(start), series, given, at), 1, 0)
    dims = ("time", *grid.names)
    return labelled(
        {
            "u": (dims, u, {"units": "1", "long_name": "displacement"}),
            "v": (dims, v, {"units": "1", "long_name": "velocity"}),
            "c": (grid.names, c, {"units": "1", "long_name": "speed of waves"}),
        },
        grid,
        times=at,
        attributes={"equation": _EQUATION, "solver": _SOLVER, "boundary": boundary},
    )
