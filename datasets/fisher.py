"""Growth and diffusion of a population, Fisher's equation: the generator and one instance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets import reaction_diffusion
from sciml.datasets.generator import NOTHING, Generator, Values, restrict, richardson
from sciml.datasets.numerics.series import box, check_settings
from sciml.datasets.numerics.spectral_solver import SpectralSolver
from sciml.datasets.numerics.starts import SineSum
from sciml.datasets.reaction_diffusion import SOLVER, evolved
from sciml.datasets.solutions import Function
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.grid import Grid
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray

Float = NDArray[np.float64]

_RANGE = {1: 1024, 2: 64, 3: 32}  # points per axis at which the range of a start is looked for


@describable
@dataclass(frozen=True)
class Fisher(Generator):
    r"""Growth and diffusion of a population: u_t = nu Laplacian(u) + rho u (1 - u) on the periodic unit box.

    Dimensionless.  The start is a sum of sine waves (`SineSum`), shifted and scaled to the range from 0 to 1,
    which u does not leave.

    Scheme: Fourier-Galerkin with exact dealiasing (|k| < n / 3) on ``refinement * resolution`` points per
    axis, spectrally accurate; `ETDRK4` of order 4 with steps of ``step / rho`` at most, stable below 2.8 /
    rho.  A rectified or cut start has kinks, which diffusion removes; their truncation is the error of the
    first frames.

    Parameters
    ----------
    resolution : int
        Points per axis, at least 8.
    rank : 1, 2 or 3
    diffusivity : float, positive
        nu; 0.5, 1, 2 and 5 in PDEBench.
    growth : float, positive
        rho; 1, 2, 5 and 10 there.
    rectified, windowed : float
        Probabilities of starts with kinks and of those cut by a window; 0.1 and 0.1 there.
    final_time : float, positive
        Of the last frame; the first has time 0.
    frames : int
        At least 2, equally spaced in time, both ends included.
    refinement : int
        At least 1: grid of the solver.
    step : float, positive
        Longest step, in units of 1 / rho.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Source: PDEBench (Takamoto et al. 2022, arXiv:2210.07182, appendix D.3), where the solver has order 2.
    With its diffusivities a start is flat after a time of 1 / (40 nu), and what is left is the growth of its
    mean.  Here the range of a start is that at 1024 points, 64 per axis in two and 32 in three dimensions,
    whatever the resolution.

    Examples
    --------
    >>> (u,) = Fisher(resolution=32, frames=3).sample([0, 1])
    >>> u.shape, bool((np.diff(u.mean(axis=2), axis=1) > 0).all())  # it grows
    ((2, 3, 32), True)
    """

    resolution: int = 128
    rank: int = 1
    diffusivity: float = 0.01
    growth: float = 5.0
    rectified: float = 0.0
    windowed: float = 0.0
    final_time: float = 1.0
    frames: int = 21
    refinement: int = 1
    step: float = 0.1

    def __post_init__(self) -> None:
        check_settings(
            self,
            least={"resolution": 8, "frames": 2, "refinement": 1},
            positive=("diffusivity", "growth", "final_time", "step"),
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
        """The state ``u``, with time."""
        return (Field("u", "state", long_name="density of the population", time=True),)

    @property
    def about(self) -> Provenance:
        """Equation and solver."""
        return Provenance(
            title="Growth and diffusion of a population",
            pde=f"fisher_{self.rank}d",
            equation=r"u_t = \nu \Delta u + \rho u (1 - u)",
            solver=f"{SOLVER}, steps <= {self.step / self.growth:g}",
        )

    def reaction(self, u: Float) -> Float:
        """The rate without diffusion."""
        return self.growth * u * (1 - u)

    def sample(self, seeds: Sequence[int]) -> tuple[Float]:
        """Frames for each seed, (n, frames, *space)."""
        fine = self.grid.with_shape([self.refinement * self.resolution] * self.rank)
        law, points = self._law(), fine.coordinates()
        everywhere = box(_RANGE[self.rank], self.rank, "periodic").coordinates()
        starts = np.empty((len(seeds), 1, *fine.shape))
        for start, seed in zip(starts, seeds, strict=True):
            draw = law.draw(seed, self.rank)
            values = draw(*everywhere)
            start[0] = (draw(*points) - values.min()) / np.ptp(values)
        return (np.ascontiguousarray(restrict(self.evolve(starts, self.times), fine, self.grid)[:, :, 0]),)

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
            reaction=self.reaction,
            degree=2,
            step=min(step, self.step / self.growth),
        )

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> SpectralSolver:
        """The same solver on other points, with steps in units of the longest that are stable."""
        return SpectralSolver(replace(self, step=2 * step), resolution, 2 * step / self.growth)


def solve(
    initial: ArrayLike | Function,
    grid: Grid,
    *,
    diffusivity: float,
    growth: float,
    times: ArrayLike = (0.0, 1.0),
    step: float | None = None,
    refinement: int | None = None,
    tolerance: float = 1e-9,
) -> xarray.Dataset:
    """Solve u_t = diffusivity Laplacian(u) + growth u (1 - u).

    Parameters
    ----------
    initial : number, array or callable
        At ``times[0]``: values (*grid.shape), or a function of the coordinates.
    grid : Grid
        Nodes, periodic or with both ends, which no flux crosses.
    diffusivity, growth : float
    times, step, refinement, tolerance
        See `sciml.datasets.reaction_diffusion.solve`.

    Returns
    -------
    xarray.Dataset
        ``u`` (time, *space).

    Examples
    --------
    >>> grid = Grid.box((8,), location="node", periodic=True)
    >>> found = solve(0.25, grid, diffusivity=1.0, growth=5.0)
    >>> exact = 0.25 * np.exp(5.0) / (0.25 * np.exp(5.0) + 0.75)
    >>> bool(np.allclose(found["u"][-1], exact))
    True
    """
    if not math.isfinite(growth):
        raise ConfigError(f"fisher.solve: growth must be finite, got {growth}.")
    return reaction_diffusion.solve(
        {"u": initial},
        grid,
        diffusivity=(diffusivity,),
        reaction=lambda u: growth * u * (1 - u),
        degree=2,
        times=times,
        step=step,
        refinement=refinement,
        tolerance=tolerance,
    ).assign_attrs(equation=r"u_t = \nu \Delta u + \rho u (1 - u)", growth=float(growth))
