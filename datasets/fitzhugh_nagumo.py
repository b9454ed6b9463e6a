"""Activator and inhibitor of FitzHugh and Nagumo in a box without flux: the generator and one instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets import reaction_diffusion
from sciml.datasets.generator import NOTHING, Generator, Values, richardson
from sciml.datasets.numerics.series import box, check_settings
from sciml.datasets.numerics.spectral_solver import SpectralSolver
from sciml.datasets.numerics.starts import smooth_field, subseeds
from sciml.datasets.reaction_diffusion import EVEN, SOLVER, evolved
from sciml.datasets.solutions import Function
from sciml.description import describable
from sciml.grid import Grid
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray

Float = NDArray[np.float64]


@describable
@dataclass(frozen=True)
class FitzHughNagumo(Generator):
    r"""Activator and inhibitor: u_t = D_u Laplacian(u) + u - u^3 - k - v, v_t = D_v Laplacian(v) + u - v.

    On (-1, 1)^rank without flux through the walls, dimensionless.  The starts of u and v are tanh(g) with
    independent Gaussian fields g with zero slope at the walls, standard deviation about 1 and correlation
    length 0.35 (`smooth_field`, up to 7 half waves per axis).

    Scheme: the fields are continued evenly to twice the interval, where they are periodic; Fourier-Galerkin
    on 2 ``resolution`` points per axis there with exact dealiasing of the cube (half waves below resolution /
    2), spectrally accurate; `ETDRK4` of order 4 with steps of ``step`` at most, stable below about 0.6.

    Parameters
    ----------
    resolution : int
        Intervals per axis, at least 8; one more node, both walls included.
    rank : 1, 2 or 3
    activator, inhibitor : float, positive
        D_u, D_v.
    threshold : float
        k.
    final_time : float, positive
        Of the last frame; the first has time 0.
    frames : int
        At least 2, equally spaced in time, both ends included.
    step : float, positive
        Longest step.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    The two-dimensional diffusion-reaction problem of PDEBench (Takamoto et al. 2022, arXiv:2210.07182,
    appendix D.5), whose files cannot be refined: their starts are independent normal numbers in each of 128 x
    128 cells, another function on every grid, with energy in all waves; space is of order 2, and the time
    integrator runs with a relative tolerance of 1e-3, so that its error hides that of the grid.  Here a seed
    is one smooth function at every resolution, the points are nodes, and every file states its error.

    Examples
    --------
    >>> u, v = FitzHughNagumo(resolution=16, final_time=1.0, frames=3).sample([0, 1])
    >>> u.shape, v.shape, bool(np.abs(u).max() < 1.5)
    ((2, 3, 17, 17), (2, 3, 17, 17), True)
    """

    resolution: int = 64
    rank: int = 2
    activator: float = 1e-3
    inhibitor: float = 5e-3
    threshold: float = 5e-3
    final_time: float = 5.0
    frames: int = 21
    step: float = 0.1

    def __post_init__(self) -> None:
        check_settings(
            self,
            least={"resolution": 8, "frames": 2},
            positive=("activator", "inhibitor", "final_time", "step"),
            finite=("threshold",),
        )

    @property
    def grid(self) -> Grid:
        """Nodes of (-1, 1)^rank, walls included."""
        return box(self.resolution, self.rank, "neumann", lower=-1.0)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The states ``u`` and ``v``, with time."""
        return (
            Field("u", "state", long_name="activator", time=True),
            Field("v", "state", long_name="inhibitor", time=True),
        )

    @property
    def about(self) -> Provenance:
        """Equation, walls and solver."""
        return Provenance(
            title="Activator and inhibitor of FitzHugh and Nagumo",
            pde=f"fitzhugh_nagumo_{self.rank}d",
            equation=r"u_t = D_u \Delta u + u - u^3 - k - v, v_t = D_v \Delta v + u - v",
            boundary={name: ("neumann", "neumann") for name in self.grid.names},
            solver=f"{SOLVER}, steps <= {self.step:g}; {EVEN}",
        )

    def reaction(self, u: Float, v: Float) -> tuple[Float, Float]:
        """The rates without diffusion."""
        return u - u * u * u - self.threshold - v, u - v

    def sample(self, seeds: Sequence[int]) -> tuple[Float, Float]:
        """Frames of u and v for each seed, (n, frames, *space)."""
        law = smooth_field(self.rank, boundary="neumann", scale=0.35, modes=8)
        drawn = [law.sample(subseeds(seeds, stream), self.grid) for stream in (0, 1)]
        found = self.evolve(np.tanh(np.stack(drawn, axis=1)), self.times, step=self.step)
        return found[:, :, 0].copy(), found[:, :, 1].copy()

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 error, (n,), of u or v, the larger: from twice the points and half the steps."""
        fine = replace(self, resolution=2 * self.resolution, step=self.step / 2)
        return richardson(self, fine, seeds, arrays, order=4)

    def evolve(self, initial: Float, times: ArrayLike, *, step: float) -> Float:
        """Frames (n, len(times), 2, *space) from (u, v), (n, 2, *space), on any grid of the box."""
        return evolved(
            initial,
            self.grid.with_shape(initial.shape[2:]),
            times,
            diffusivity=(self.activator, self.inhibitor),
            reaction=self.reaction,
            degree=3,
            step=step,
        )

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> SpectralSolver:
        """The same solver on other intervals, with steps in units of four of the data."""
        return SpectralSolver(self, resolution, 4 * step * self.step, "neumann")


def solve(
    activator: ArrayLike | Function,
    inhibitor: ArrayLike | Function,
    grid: Grid,
    *,
    diffusivity: tuple[float, float] = (1e-3, 5e-3),
    threshold: float = 5e-3,
    times: ArrayLike = (0.0, 1.0),
    step: float | None = None,
    refinement: int | None = None,
    tolerance: float = 1e-9,
) -> xarray.Dataset:
    """Solve u_t = D_u Laplacian(u) + u - u^3 - k - v, v_t = D_v Laplacian(v) + u - v from given starts.

    Parameters
    ----------
    activator, inhibitor : number, array or callable
        u and v at ``times[0]``: values (*grid.shape), or functions of the coordinates.
    grid : Grid
        Nodes, periodic or with both ends, which no flux crosses.
    diffusivity : (float, float)
        D_u, D_v.
    threshold : float
        k.
    times, step, refinement, tolerance
        See `sciml.datasets.reaction_diffusion.solve`.

    Returns
    -------
    xarray.Dataset
        ``u`` and ``v`` (time, *space).

    Examples
    --------
    Where u = v, u^3 = -k is a state of rest:

    >>> grid = Grid.box((9,), location="node")
    >>> found = solve(-0.5, -0.5, grid, threshold=0.125)
    >>> bool(np.allclose(found["u"], -0.5))
    True
    """
    return reaction_diffusion.solve(
        {"u": activator, "v": inhibitor},
        grid,
        diffusivity=diffusivity,
        reaction=FitzHughNagumo(threshold=float(threshold)).reaction,
        times=times,
        step=step,
        refinement=refinement,
        tolerance=tolerance,
    ).assign_attrs(equation=FitzHughNagumo().about.equation, threshold=float(threshold))
