"""Two phases that keep their amounts, Cahn and Hilliard's equation: the generator and one instance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets import allen_cahn
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

_EQUATION = r"u_t = M \Delta (u^3 - u - \epsilon^2 \Delta u)"


@describable
@dataclass(frozen=True)
class CahnHilliard(Generator):
    r"""Two phases of a mixture: u_t = M Laplacian(u^3 - u - epsilon^2 Laplacian(u)), periodic unit box.

    Dimensionless.  The mean of u, the composition, is conserved to rounding; the energy, the mean of
    epsilon^2 |grad u|^2 / 2 + (u^2 - 1)^2 / 4, never grows (`energy`).  Walls between the phases are about 4
    sqrt(2) epsilon wide; near u = 0 waves of length 2 pi sqrt(2) epsilon grow fastest, by e in the time 4
    epsilon^2 / M.  The start is ``mean`` plus half a Gaussian field of mean zero, standard deviation about 1
    and correlation length 0.15 (`smooth_field`, wave numbers up to 7).

    Scheme: Fourier-Galerkin with exact dealiasing of the cube (|k| < n / 4) on ``refinement * resolution``
    points per axis (2 hold all waves of the frames), spectrally accurate once the walls are resolved;
    `ETDRK4` with -epsilon^2 Laplacian^2 exact, steps of ``step * 4 epsilon^2 / M`` at most, stable at 0.4.
    Its order is 4 for the waves that the steps resolve and falls towards 3 for longer steps, since the cubic
    term comes with two derivatives.

    Parameters
    ----------
    resolution : int
        Points per axis, at least 8.
    rank : 1, 2 or 3
    epsilon, mobility : float, positive
        epsilon and M.
    mean : float
        Composition, between -1 and 1.
    final_time : float, positive
        Of the last frame; the first has time 0.
    frames : int
        At least 2, equally spaced in time, both ends included.
    refinement : int
        At least 1: grid of the solver.
    step : float, positive
        Longest step, in units of 4 epsilon^2 / M.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Source: Cahn and Hilliard, J. Chem. Phys. 28 (1958); the quartic free energy and this form as in Elliott,
    The Cahn-Hilliard model for the kinetics of phase separation (1989), equation 1.1.

    Examples
    --------
    >>> (u,) = CahnHilliard(resolution=32, rank=1, mean=0.2, frames=3).sample([0, 1])
    >>> u.shape, bool(np.allclose(u.mean(axis=2), 0.2, rtol=0, atol=1e-14))
    ((2, 3, 32), True)
    """

    resolution: int = 64
    rank: int = 2
    epsilon: float = 0.03
    mobility: float = 0.004
    mean: float = 0.0
    final_time: float = 5.0
    frames: int = 21
    refinement: int = 2
    step: float = 0.2

    def __post_init__(self) -> None:
        check_settings(
            self,
            least={"resolution": 8, "frames": 2, "refinement": 1},
            positive=("epsilon", "mobility", "final_time", "step"),
        )
        if not abs(self.mean) < 1:
            raise ConfigError(f"CahnHilliard: mean must lie between -1 and 1, got {self.mean}.")

    @property
    def grid(self) -> Grid:
        """Nodes i / resolution of the periodic unit box."""
        return box(self.resolution, self.rank, "periodic")

    @property
    def fields(self) -> tuple[Field, ...]:
        """The state ``u``, with time."""
        return (Field("u", "state", long_name="composition", time=True),)

    @property
    def about(self) -> Provenance:
        """Equation and solver."""
        return Provenance(
            title="Two phases that separate and keep their amounts",
            pde=f"cahn_hilliard_{self.rank}d",
            equation=_EQUATION,
            solver=f"{SOLVER}, steps <= {self._step():g}",
        )

    def _step(self) -> float:
        return self.step * 4 * self.epsilon**2 / self.mobility

    def sample(self, seeds: Sequence[int]) -> tuple[Float]:
        """Frames for each seed, (n, frames, *space)."""
        fine = self.grid.with_shape([self.refinement * self.resolution] * self.rank)
        held = min(self.resolution // 2, (fine.shape[0] + 3) // 4)
        law = replace(smooth_field(self.rank, modes=min(8, held)), zero_mean=True)
        start = self.mean + 0.5 * law.sample(seeds, fine)[:, None]
        return (np.ascontiguousarray(restrict(self.evolve(start, self.times), fine, self.grid)[:, :, 0]),)

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 error over all frames, (n,): from twice the points and half the steps, for order 3."""
        fine = replace(self, resolution=2 * self.resolution, step=self.step / 2)
        return richardson(self, fine, seeds, arrays, order=3)

    def evolve(self, initial: Float, times: ArrayLike, *, step: float = math.inf) -> Float:
        """Frames (n, len(times), 1, *space) from values (n, 1, *space) on any grid of the unit box."""
        modes = Modes(self.grid.with_shape(initial.shape[2:]), degree=3)
        equation = partial(system, modes, epsilon=self.epsilon, mobility=self.mobility)
        return run(equation, initial, times, step=min(step, self._step()))

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> SpectralSolver:
        """The same solver on other points, with steps in units of the longest that are safe."""
        flow = replace(self, step=0.4 * step)
        return SpectralSolver(flow, resolution, flow._step())


def system(modes: Modes, *, epsilon: float, mobility: float) -> Semilinear:
    """The equation in the `Modes` of any periodic box, of degree 3."""
    bend, well = mobility * modes.laplacian, pointwise(modes, lambda u: u * u * u - u)
    return Semilinear(modes, -(epsilon**2) * modes.laplacian * bend, lambda u, time: bend * well(u, time))


def energy(u: Float, grid: Grid, *, epsilon: float) -> Float:
    """Mean of epsilon^2 |grad u|^2 / 2 + (u^2 - 1)^2 / 4 on a periodic box, of (..., *grid.shape)."""
    return allen_cahn.energy(u, grid, diffusivity=epsilon**2, reaction=1.0)


def solve(
    initial: ArrayLike | Function,
    grid: Grid,
    *,
    epsilon: float,
    mobility: float = 1.0,
    times: ArrayLike = (0.0, 1.0),
    step: float | None = None,
    refinement: int | None = None,
    tolerance: float = 1e-9,
) -> xarray.Dataset:
    """Solve u_t = mobility Laplacian(u^3 - u - epsilon^2 Laplacian(u)) on a periodic box.

    Parameters
    ----------
    initial : number, array or callable
        At ``times[0]``: values (*grid.shape), or a function of the coordinates.
    grid : Grid
        Periodic nodes, of any rank.
    epsilon, mobility : float, positive
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
    A small wave grows by exp(mobility k^2 (1 - epsilon^2 k^2) t):

    >>> grid = Grid.box((16,), upper=2 * np.pi, location="node", periodic=True)
    >>> found = solve(lambda x: 1e-5 * np.cos(2 * x), grid, epsilon=0.3, times=[0.0, 0.5])
    >>> growth = found["u"][1, 0] / found["u"][0, 0]
    >>> bool(np.isclose(growth, np.exp(0.5 * 4 * (1 - 0.36)), rtol=1e-8))
    True
    """
    if not (0 < epsilon < math.inf and 0 < mobility < math.inf):
        raise ConfigError(
            f"cahn_hilliard.solve: epsilon and mobility must be positive, got {epsilon} and {mobility}."
        )
    return solved_field(
        "cahn_hilliard.solve",
        partial(system, epsilon=epsilon, mobility=mobility),
        initial,
        grid,
        times=times,
        step=step,
        refinement=refinement,
        tolerance=tolerance,
        about={"equation": _EQUATION, "epsilon": float(epsilon), "mobility": float(mobility)},
    )
