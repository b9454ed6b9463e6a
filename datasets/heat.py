"""Diffusion of heat in a box, periodic or with walls, exact in time: the generator and one instance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.generator import NOTHING, Generator, Values, richardson
from sciml.datasets.numerics.random_fields import Boundary
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

_EQUATION = r"u_t = \nu \Delta u + f"
_SOLVER = "Fourier, sine or cosine series of the start and the source; exact in time"
_WAVES = 8  # per axis, of starts and sources


@describable
@dataclass(frozen=True)
class Heat(Generator):
    r"""Temperature in a box with steady sources: u_t = nu Laplacian(u) + f on the unit box of any rank.

    Everything is dimensionless.  The box is periodic, or has walls with u = 0 ("dirichlet") or without flux
    ("neumann").  Start and source are independent Gaussian fields of that boundary condition with standard
    deviation about 1 and ``strength`` and correlation length 0.15 (`smooth_field`); without strength there is
    no source.

    Scheme: in the eigenfunctions of the Laplacian (`Series`) each coefficient obeys c' = -nu lambda c + f and
    is known exactly at every time; there is no step.  The solver is exact for functions that the grid
    resolves.  The starts and sources have wave numbers below 8 per axis (16 / 2 points of a periodic axis, or
    8 intervals of a bounded one), so that from 16 intervals on only rounding is left.

    Parameters
    ----------
    resolution : int
        Intervals per axis, at least 2: as many nodes if periodic, one more with walls (both ends included).
    rank : 1, 2 or 3
    boundary : "periodic", "dirichlet" or "neumann"
    diffusivity : float, positive
        nu.
    strength : float
        Of the source, >= 0.
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
    A diffusivity of its own along an axis is the same as another length of that axis, which `solve` takes
    through the grid: the multi-scale heat problem of PINNacle (Hao et al. 2024, arXiv:2306.08827), u_t =
    (500 pi)^(-2) u_xx + pi^(-2) u_yy on the unit square, is nu = 1 on (0, 500 pi) x (0, pi).

    Examples
    --------
    >>> f, u = Heat(resolution=16, rank=2, boundary="dirichlet", strength=1.0).sample([0, 1])
    >>> f.shape, u.shape, bool((u[:, :, 0] == 0).all())
    ((2, 17, 17), (2, 21, 17, 17), True)
    """

    resolution: int = 64
    rank: int = 2
    boundary: Boundary = "periodic"
    diffusivity: float = 0.01
    strength: float = 0.0
    final_time: float = 1.0
    frames: int = 21

    def __post_init__(self) -> None:
        check_settings(
            self,
            least={"resolution": 2, "frames": 2, "strength": 0},
            positive=("diffusivity", "final_time"),
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
        """The source ``f`` if there is one, and the state ``u`` with time."""
        source = (Field("f", "coefficient", long_name="source"),) if self.strength else ()
        return (*source, Field("u", "state", long_name="temperature", time=True))

    @property
    def about(self) -> Provenance:
        """Equation, walls and solver."""
        return Provenance(
            title="Diffusion of heat",
            pde=f"heat_{self.rank}d",
            equation=_EQUATION,
            boundary={name: (self.boundary, self.boundary) for name in self.grid.names},
            solver=_SOLVER,
        )

    def sample(self, seeds: Sequence[int]) -> tuple[Float, ...]:
        """Source (n, *space), if there is one, and frames (n, frames, *space) for each seed."""
        series, at = self._series(), self.times.tolist()
        held = self.resolution // 2 if self.boundary == "periodic" else self.resolution - 1
        law = smooth_field(self.rank, boundary=self.boundary, modes=min(_WAVES, held))
        starts = law.sample(seeds, self.grid)
        if not self.strength:
            return (np.stack([diffused(start, series, self.diffusivity, at) for start in starts]),)
        f = self.strength * law.sample(subseeds(seeds, 1), self.grid)
        pairs = zip(starts, f, strict=True)
        return f, np.stack([diffused(u, series, self.diffusivity, at, source) for u, source in pairs])

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 distance to the solution on twice the points: rounding from 16 intervals on."""
        return richardson(self, replace(self, resolution=2 * self.resolution), seeds, arrays, order=4)

    def evolve(
        self,
        initial: Float,
        times: ArrayLike,
        *,
        step: float = math.inf,
        known: Mapping[str, Float] = NOTHING,
    ) -> Float:
        """Frames (n, len(times), 1, *space) from values (n, 1, *space) on any grid; exact, without steps.

        With the sources ``known["f"]`` (n, *space), on any grid too, if they are given.
        """
        grid, at = self.grid.with_shape(initial.shape[2:]), np.asarray(times, dtype=np.float64).tolist()
        series = Series(grid, self.boundary)
        sources: Iterable[Float | None] = [None] * len(initial)
        if "f" in known:
            sources = resample(known["f"], self.grid.with_shape(known["f"].shape[1:]), grid, self.boundary)
        pairs = zip(initial, sources, strict=True)
        return np.stack([diffused(u, series, self.diffusivity, at, f)[:, None] for (u,), f in pairs])

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> SpectralSolver | None:
        """The series of fewer points, exact in time, whatever the step; a source must be known."""
        if self.strength and "f" not in known:
            return None
        flow = Bound(self, known) if self.strength else self
        return SpectralSolver(flow, resolution, self.final_time, self.boundary)


def diffused(
    initial: Float,
    series: Series,
    diffusivity: float,
    times: Sequence[float],
    source: Float | None = None,
) -> Float:
    """Frames (len(times), *grid.shape) of u_t = diffusivity Laplacian(u) + source, for `solve` and `Heat`."""
    elapsed = np.asarray(times, dtype=np.float64) - times[0]
    exponent = -diffusivity * np.multiply.outer(elapsed, series.eigenvalues)
    coefficients = np.exp(exponent) * series.to_modes(initial)
    if source is not None:
        # (e^z - 1) / z, 1 where z = 0: the mean grows with its source.
        safe = np.where(exponent == 0, 1.0, exponent)
        gain = np.where(exponent == 0, 1.0, np.expm1(safe) / safe)
        coefficients += (gain.T * elapsed).T * series.to_modes(source)
    return series.to_values(coefficients)


def solve(
    initial: ArrayLike | Function,
    grid: Grid,
    *,
    boundary: Boundary = "periodic",
    diffusivity: float = 1.0,
    source: ArrayLike | Function = 0.0,
    times: Sequence[float] = (0.0, 1.0),
) -> xarray.Dataset:
    """Solve u_t = diffusivity Laplacian(u) + source in a box.

    Parameters
    ----------
    initial : number, array or callable
        At ``times[0]``: values (*grid.shape), or a function of the coordinates.
    grid : Grid
        Nodes, of any rank: ``Grid.box((65, 65), location="node")`` with walls, ``Grid.box((64, 64),
        location="node", periodic=True)`` without.
    boundary : "periodic", "dirichlet" or "neumann"
        u = 0 or no flux at the walls; with "dirichlet" the values of ``initial`` there are not used.
    diffusivity : float, positive
    source : number, array or callable
        Constant in time.
    times : increasing
        Of the frames.

    Returns
    -------
    xarray.Dataset
        ``u`` (time, *space), and the source ``f`` (*space).

    Raises
    ------
    ShapeError
        If the grid does not fit the boundary condition, or shapes do not fit it.
    ConfigError
        If the diffusivity is not positive or the times do not increase.

    Notes
    -----
    Exact for finite series, and spectrally accurate for smooth data that satisfy the boundary condition; a
    start that violates it converges as its series does (order 1 in the mean for a jump at the wall).

    Examples
    --------
    >>> grid = Grid.box((9,), location="node")
    >>> found = solve(lambda x: np.sin(np.pi * x), grid, boundary="dirichlet", times=[0.0, 0.1])
    >>> round(found["u"].sel(x=0.5, time=0.1).item(), 12) == round(float(np.exp(-0.1 * np.pi**2)), 12)
    True
    """
    if not 0 < diffusivity < math.inf:
        raise ConfigError(f"heat.solve: diffusivity must be positive, got {diffusivity}.")
    at = instants("heat.solve", times)
    series = Series(grid, boundary)
    start = on_grid("heat.solve: initial", initial, grid)
    f = on_grid("heat.solve: source", source, grid)
    frames = diffused(start, series, float(diffusivity), at, f if f.any() else None)
    return labelled(
        {
            "u": (("time", *grid.names), frames, {"units": "1", "long_name": "temperature"}),
            "f": (grid.names, f, {"units": "1", "long_name": "source"}),
        },
        grid,
        times=at,
        attributes={
            "equation": _EQUATION,
            "solver": _SOLVER,
            "boundary": boundary,
            "diffusivity": float(diffusivity),
        },
    )
