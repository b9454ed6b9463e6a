"""Two phases that separate and coarsen, Allen and Cahn's equation: the generator and one instance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets import reaction_diffusion
from sciml.datasets.generator import NOTHING, Generator, Values, restrict, richardson
from sciml.datasets.numerics.pseudo_spectral import Modes
from sciml.datasets.numerics.series import box, check_settings
from sciml.datasets.numerics.spectral_solver import SpectralSolver
from sciml.datasets.numerics.starts import smooth_field
from sciml.datasets.reaction_diffusion import SOLVER, evolved
from sciml.datasets.solutions import Function
from sciml.description import describable
from sciml.grid import Grid
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray

Float = NDArray[np.float64]

_EQUATION = r"u_t = d \Delta u + r (u - u^3)"


@describable
@dataclass(frozen=True)
class AllenCahn(Generator):
    r"""Two phases: u_t = d Laplacian(u) + r (u - u^3) on the periodic unit box of any rank.

    Dimensionless.  With d = epsilon^2 and r = 1 the usual form; walls between the phases -1 and 1 are about 4
    sqrt(2 d / r) wide.  The start is tanh(g / 2) with a Gaussian field g of standard deviation about 1 and
    correlation length 0.15 (`smooth_field`, wave numbers up to 7); |u| stays below 1.  The energy, the mean
    of d |grad u|^2 / 2 + r (u^2 - 1)^2 / 4, never grows (`energy`).

    Scheme: Fourier-Galerkin with exact dealiasing of the cube (|k| < n / 4) on ``refinement * resolution``
    points per axis (2 hold all waves of the frames), spectrally accurate once the walls are resolved;
    `ETDRK4` of order 4 with steps of ``step / r`` at most, stable below 1.4 / r.

    Parameters
    ----------
    resolution : int
        Points per axis, at least 8.
    rank : 1, 2 or 3
    diffusivity : float, positive
        d.
    reaction : float, positive
        r.
    final_time : float, positive
        Of the last frame; the first has time 0.
    frames : int
        At least 2, equally spaced in time, both ends included.
    refinement : int
        At least 1: grid of the solver.
    step : float, positive
        Longest step, in units of 1 / r.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Source: Allen and Cahn, Acta Metallurgica 27 (1979), equation 11.  The benchmark of physics-informed
    networks is d = 1e-4, r = 5 on (-1, 1) from x^2 cos(pi x) (Raissi, Perdikaris and Karniadakis, J. Comput.
    Phys. 378 (2019), section 3.2.2), a start whose slope jumps at the ends: see `solve`.  Its file is a
    solution with 512 points without dealiasing (found again to 1e-9), which is 1.4e-6 off at t = 1.
    d = 1e-3 between walls u = -1, also called by this name, is another problem.

    Examples
    --------
    >>> (u,) = AllenCahn(resolution=32, rank=1, frames=3).sample([0, 1])
    >>> u.shape, bool(0.9 < np.abs(u[:, -1]).max() < 1.01)
    ((2, 3, 32), True)
    """

    resolution: int = 64
    rank: int = 2
    diffusivity: float = 1e-3
    reaction: float = 1.0
    final_time: float = 5.0
    frames: int = 21
    refinement: int = 2
    step: float = 0.125

    def __post_init__(self) -> None:
        check_settings(
            self,
            least={"resolution": 8, "frames": 2, "refinement": 1},
            positive=("diffusivity", "reaction", "final_time", "step"),
        )

    @property
    def grid(self) -> Grid:
        """Nodes i / resolution of the periodic unit box."""
        return box(self.resolution, self.rank, "periodic")

    @property
    def fields(self) -> tuple[Field, ...]:
        """The state ``u``, with time."""
        return (Field("u", "state", long_name="phase", time=True),)

    @property
    def about(self) -> Provenance:
        """Equation and solver."""
        return Provenance(
            title="Two phases that separate and coarsen",
            pde=f"allen_cahn_{self.rank}d",
            equation=_EQUATION,
            solver=f"{SOLVER}, steps <= {self.step / self.reaction:g}",
        )

    def rate(self, u: Float) -> Float:
        """The rate without diffusion."""
        return self.reaction * (u - u * u * u)

    def sample(self, seeds: Sequence[int]) -> tuple[Float]:
        """Frames for each seed, (n, frames, *space)."""
        fine = self.grid.with_shape([self.refinement * self.resolution] * self.rank)
        held = min(self.resolution // 2, (fine.shape[0] + 3) // 4)
        g = smooth_field(self.rank, modes=min(8, held)).sample(seeds, fine)
        start = np.tanh(g / 2)[:, None]
        return (np.ascontiguousarray(restrict(self.evolve(start, self.times), fine, self.grid)[:, :, 0]),)

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 error over all frames, (n,): from twice the points and half the steps."""
        fine = replace(self, resolution=2 * self.resolution, step=self.step / 2)
        return richardson(self, fine, seeds, arrays, order=4)

    def evolve(self, initial: Float, times: ArrayLike, *, step: float = math.inf) -> Float:
        """Frames (n, len(times), 1, *space) from values (n, 1, *space) on any grid of the unit box."""
        return evolved(
            initial,
            self.grid.with_shape(initial.shape[2:]),
            times,
            diffusivity=(self.diffusivity,),
            reaction=self.rate,
            degree=3,
            step=min(step, self.step / self.reaction),
        )

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> SpectralSolver:
        """The same solver on other points, with steps in units of the longest that are stable."""
        return SpectralSolver(replace(self, step=step), resolution, step / self.reaction)


def energy(u: Float, grid: Grid, *, diffusivity: float, reaction: float) -> Float:
    """Mean of diffusivity |grad u|^2 / 2 + reaction (u^2 - 1)^2 / 4 over a periodic box, (...).

    Of values (..., *grid.shape); the gradient is that of the trigonometric interpolant.
    """
    modes = Modes(grid, degree=1)
    coefficients = modes.to_modes(u)
    density = reaction * (u**2 - 1) ** 2 / 4
    for i in range(grid.rank):
        density += diffusivity * modes.to_values(modes.derivative(i) * coefficients) ** 2 / 2
    return np.asarray(density.mean(axis=tuple(range(-grid.rank, 0))))


def solve(
    initial: ArrayLike | Function,
    grid: Grid,
    *,
    diffusivity: float,
    reaction: float = 1.0,
    times: ArrayLike = (0.0, 1.0),
    step: float | None = None,
    refinement: int | None = None,
    tolerance: float = 1e-9,
) -> xarray.Dataset:
    """Solve u_t = diffusivity Laplacian(u) + reaction (u - u^3).

    Parameters
    ----------
    initial : number, array or callable
        At ``times[0]``: values (*grid.shape), or a function of the coordinates.
    grid : Grid
        Nodes, periodic or with both ends, which no flux crosses.
    diffusivity, reaction : float
    times, step, refinement, tolerance
        See `sciml.datasets.reaction_diffusion.solve`.

    Returns
    -------
    xarray.Dataset
        ``u`` (time, *space).

    Examples
    --------
    The benchmark of physics-informed networks.  2048 points, of which the fronts need that many, are 512
    refined by 4:

    >>> grid = Grid.box((512,), lower=-1, location="node", periodic=True)
    >>> found = solve(
    ...     lambda x: x**2 * np.cos(np.pi * x), grid, diffusivity=1e-4, reaction=5.0, step=0.01, refinement=4
    ... )
    >>> round(found["u"].sel(x=0.0, time=1.0).item(), 6)
    0.02958
    """
    return reaction_diffusion.solve(
        {"u": initial},
        grid,
        diffusivity=(diffusivity,),
        reaction=AllenCahn(reaction=reaction).rate,
        times=times,
        step=step,
        refinement=refinement,
        tolerance=tolerance,
    ).assign_attrs(equation=_EQUATION, reaction=float(reaction))
