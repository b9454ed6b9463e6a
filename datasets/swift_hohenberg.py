"""Rolls and hexagons above a threshold, Swift and Hohenberg's equation: the generator and one instance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.generator import NOTHING, Generator, Values, restrict, richardson
from sciml.datasets.numerics.pseudo_spectral import Modes
from sciml.datasets.numerics.semilinear import Semilinear, pointwise, run
from sciml.datasets.numerics.series import box, check_settings
from sciml.datasets.numerics.spectral_solver import SpectralSolver
from sciml.datasets.numerics.starts import smooth_field
from sciml.datasets.reaction_diffusion import SOLVER, solved_field
from sciml.datasets.solutions import Function
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.grid import Grid
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray

Float = NDArray[np.float64]

_EQUATION = r"u_t = r u - (1 + \Delta)^2 u + g u^2 - u^3"


@describable
@dataclass(frozen=True)
class SwiftHohenberg(Generator):
    r"""Convection just above its threshold: u_t = r u - (1 + Laplacian)^2 u + g u^2 - u^3, periodic.

    Dimensionless, on (0, 2 pi ``waves``)^rank, in which that many wave lengths of the rolls fit; the waves of
    wave number 1 grow fastest, by e in the time 1 / r.  Rolls for g = 0, hexagons for larger g.  The start is
    0.3 times a Gaussian field of standard deviation about 1 and correlation length 2 (`smooth_field`, two
    wave numbers per wave length).  The energy, the mean of ((u + Laplacian(u))^2 - r u^2) / 2 - g u^3 / 3 +
    u^4 / 4, never grows (`energy`).

    Scheme: Fourier-Galerkin with exact dealiasing of the cube (|k| < n / 4) on ``refinement * resolution``
    points per axis (2 hold all waves of the frames), spectrally accurate; `ETDRK4` of order 4, the linear
    part exact, with steps of ``step`` at most, stable below about 2.

    Parameters
    ----------
    resolution : int
        Points per axis, at least 8.  Rolls ask for 8 per wave length.
    rank : 1, 2 or 3
    control : float
        r.
    asymmetry : float
        g.
    waves : int
        At least 1.
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
    Source: Swift and Hohenberg, Phys. Rev. A 15 (1977), equation 42; in these units Cross and Hohenberg, Rev.
    Mod. Phys. 65 (1993), section V.B.1.

    Examples
    --------
    >>> (u,) = SwiftHohenberg(resolution=32, rank=1, final_time=30.0, frames=3).sample([0, 1])
    >>> u.shape, bool(np.allclose(np.abs(u[:, -1]).max(axis=1), 2 * np.sqrt(0.3 / 3), rtol=0.3))
    ((2, 3, 32), True)
    """

    resolution: int = 64
    rank: int = 2
    control: float = 0.3
    asymmetry: float = 0.0
    waves: int = 4
    final_time: float = 20.0
    frames: int = 21
    refinement: int = 2
    step: float = 0.25

    def __post_init__(self) -> None:
        check_settings(
            self,
            least={"resolution": 8, "frames": 2, "refinement": 1, "waves": 1},
            positive=("final_time", "step"),
            finite=("control", "asymmetry"),
        )

    @property
    def grid(self) -> Grid:
        """Periodic nodes of the box."""
        return box(self.resolution, self.rank, "periodic", upper=2 * math.pi * self.waves)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The state ``u``, with time."""
        return (Field("u", "state", long_name="amplitude of convection", time=True),)

    @property
    def about(self) -> Provenance:
        """Equation and solver."""
        return Provenance(
            title="Rolls and hexagons above the threshold of convection",
            pde=f"swift_hohenberg_{self.rank}d",
            equation=_EQUATION,
            solver=f"{SOLVER}, steps <= {self.step:g}",
        )

    def sample(self, seeds: Sequence[int]) -> tuple[Float]:
        """Frames for each seed, (n, frames, *space)."""
        fine = self.grid.with_shape([self.refinement * self.resolution] * self.rank)
        held = min(self.resolution // 2, (fine.shape[0] + 3) // 4, 2 * self.waves)
        start = 0.3 * smooth_field(self.rank, scale=2.0, modes=held).sample(seeds, fine)[:, None]
        return (np.ascontiguousarray(restrict(self.evolve(start, self.times), fine, self.grid)[:, :, 0]),)

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 error over all frames, (n,): from twice the points and half the steps."""
        fine = replace(self, resolution=2 * self.resolution, step=self.step / 2)
        return richardson(self, fine, seeds, arrays, order=4)

    def evolve(self, initial: Float, times: ArrayLike, *, step: float = math.inf) -> Float:
        """Frames (n, len(times), 1, *space) from values (n, 1, *space) on any grid of the box."""
        modes = Modes(self.grid.with_shape(initial.shape[2:]), degree=3)
        equation = partial(system, modes, control=self.control, asymmetry=self.asymmetry)
        return run(equation, initial, times, step=min(step, self.step))

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> SpectralSolver:
        """The same solver on other points, with steps in units of four of the data."""
        flow = replace(self, step=4 * step * self.step)
        return SpectralSolver(flow, resolution, flow.step)


def system(modes: Modes, *, control: float, asymmetry: float) -> Semilinear:
    """The equation in the `Modes` of any periodic box, of degree 3."""
    linear = control - (1 + modes.laplacian) ** 2
    return Semilinear(modes, linear, pointwise(modes, lambda u: (asymmetry - u) * u * u))


def energy(u: Float, grid: Grid, *, control: float, asymmetry: float = 0.0) -> Float:
    """Mean of ((u + Laplacian(u))^2 - r u^2) / 2 - g u^3 / 3 + u^4 / 4 on a periodic box."""
    modes = Modes(grid, degree=1)
    bent = modes.to_values((1 + modes.laplacian) * modes.to_modes(u))
    density = (bent**2 - control * u**2) / 2 - asymmetry * u**3 / 3 + u**4 / 4
    return np.asarray(density.mean(axis=tuple(range(-grid.rank, 0))))


def solve(
    initial: ArrayLike | Function,
    grid: Grid,
    *,
    control: float,
    asymmetry: float = 0.0,
    times: ArrayLike = (0.0, 1.0),
    step: float | None = None,
    refinement: int | None = None,
    tolerance: float = 1e-9,
) -> xarray.Dataset:
    """Solve u_t = control u - (1 + Laplacian)^2 u + asymmetry u^2 - u^3 on a periodic box.

    Parameters
    ----------
    initial : number, array or callable
        At ``times[0]``: values (*grid.shape), or a function of the coordinates.
    grid : Grid
        Periodic nodes, of any rank.
    control, asymmetry : float
    times, step, refinement, tolerance
        Of the frames; longest step, points of the solver per point of the grid and wanted relative error, see
        `sciml.datasets.numerics.periodic.solved`.

    Returns
    -------
    xarray.Dataset
        ``u`` (time, *space), with the estimated accuracy among the attributes.

    Raises
    ------
    ConfigError, DataError, ShapeError
        If an argument is out of range, or the solution blows up.

    Examples
    --------
    A small wave grows by exp((r - (1 - k^2)^2) t):

    >>> grid = Grid.box((16,), upper=4 * np.pi, location="node", periodic=True)
    >>> found = solve(lambda x: 1e-5 * np.cos(1.5 * x), grid, control=2.0, times=[0.0, 1.0])
    >>> growth = found["u"][1, 0] / found["u"][0, 0]
    >>> bool(np.isclose(growth, np.exp(2.0 - 1.25**2), rtol=1e-8))
    True
    """
    if not (math.isfinite(control) and math.isfinite(asymmetry)):
        raise ConfigError(f"swift_hohenberg.solve: needs finite numbers, got {control} and {asymmetry}.")
    return solved_field(
        "swift_hohenberg.solve",
        partial(system, control=control, asymmetry=asymmetry),
        initial,
        grid,
        times=times,
        step=step,
        refinement=refinement,
        tolerance=tolerance,
        about={"equation": _EQUATION, "control": float(control), "asymmetry": float(asymmetry)},
    )
