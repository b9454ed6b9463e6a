"""Two-dimensional incompressible flow, forced and viscous: the generator and its classical baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.generator import NOTHING, Generator, Values, relative_change
from sciml.datasets.numerics.compiled_vorticity import is_compiled
from sciml.datasets.numerics.pseudo_spectral import Modes, velocity
from sciml.datasets.numerics.random_fields import GaussianField
from sciml.datasets.numerics.vorticity import VorticitySolver
from sciml.datasets.solutions import Function, labelled, on_grid
from sciml.description import describable
from sciml.errors import ConfigError, DataError, ShapeError
from sciml.grid import Grid
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray
    from torch import Tensor

Float = NDArray[np.float64]
Forcing = Literal["diagonal", "kolmogorov", "none"]

_WAVES = 16  # of the initial vorticity, 0 .. 15 per axis
_COURANT = 1.5  # of the data; see NavierStokes
_STABLE = 2.0  # of coarser solvers
_EQUATION = r"w_t + u \cdot \nabla w = \nu \Delta w + f, u = (\psi_y, -\psi_x), -\Delta \psi = w"
_SOLVER = "Fourier-Galerkin, exact dealiasing (|k| < n/3); ETDRK4 of order 4, Courant number <= {courant:g}"


@describable
@dataclass(frozen=True)
class NavierStokes(Generator):
    r"""Vorticity of a viscous flow on the periodic unit square: w_t + u . grad w = nu Laplacian(w) + f.

    The velocity u has no divergence and no mean, curl w.  Everything is dimensionless.  The forcing is
    constant in time; with ``strength`` s and ``wavenumber`` m it is

    ==============  ================================================================================
    "diagonal"      f = s (sin 2 pi m (x + y) + cos 2 pi m (x + y)); s = 0.1, m = 1 in the FNO paper
    "kolmogorov"    f = -s cos(2 pi m y), the curl of the force s / (2 pi m) sin(2 pi m y) along x
    "none"          f = 0: decaying turbulence
    ==============  ================================================================================

    The initial vorticity is Gaussian without mean, covariance sigma^2 (-Laplacian + 49)^(-5/2) with sigma^2
    = 2 * 7^3 (`GaussianField`, wave numbers up to 15 per axis, which hold 99.95 percent of the variance):
    **the standard deviation at a point is 0.262**.  The thing to learn is the step from frame to frame.

    Scheme (`VorticitySolver`): pseudo-spectral with exact dealiasing (|k| < n/3 per axis) on ``refinement *
    resolution`` points per axis, spectrally accurate; ETDRK4, ORDER 4 in time.  STABLE STEP: viscosity sets
    none; advection allows a Courant number of 2.83, and at most 1.5 is used, chosen for each sample at each
    frame and at least once per unit of time.  Frames are hit by whole steps.  They hold the values at the
    nodes i / resolution: every ``refinement``-th point of the solver's grid, without a filter.

    Parameters
    ----------
    resolution : int
        Points per axis, at least 4.
    viscosity : float, positive
        nu; 1e-3, 1e-4 and 1e-5 in the FNO paper.
    forcing : "diagonal", "kolmogorov" or "none"
    strength : float
        s >= 0.
    wavenumber : int
        m >= 1, below a third of the solver's points.
    final_time : float, positive
        Of the last frame; the first has time 0.
    frames : int
        At least 2, equally spaced in time, both ends included.
    refinement : int
        At least 1.  The grid must resolve the flow: with 64 points of the solver the relative error of 21
        frames is 1e-7 for nu = 1e-3, 0.01 for 1e-4 and 0.1 for 1e-5; with 128 points it is 5e-4 for 1e-4.
        Every file states its own, ``discretization_error``.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Source of viscosities, forcing and initial law: Li et al., Fourier Neural Operator for Parametric Partial
    Differential Equations (2021), arXiv:2010.08895, section 5.3.  The amplitude of the initial law is that of
    the sampler that was in use when its files were published: there 7^(3/2) multiplies the standard
    deviation, and real and imaginary part have variance 1 each, which gives the factor 2 above.  The formula
    printed in the paper would give 0.043 instead of 0.262, the later sampler 0.185; compare the standard
    deviation before comparing errors with those on a downloaded file.  That solver is of order 1 in time.
    From 32 points per axis on, a seed means the same initial vorticity at every resolution.

    Examples
    --------
    >>> (w,) = NavierStokes(resolution=16, final_time=2.0, frames=3).sample([0, 1])
    >>> w.shape, bool(np.abs(w.mean(axis=(2, 3))).max() < 1e-15)
    ((2, 3, 16, 16), True)
    """

    resolution: int = 64
    viscosity: float = 1e-3
    forcing: Forcing = "diagonal"
    strength: float = 0.1
    wavenumber: int = 1
    final_time: float = 20.0
    frames: int = 21
    refinement: int = 1

    counts: ClassVar[tuple[int, int, int]] = (400, 50, 50)

    def __post_init__(self) -> None:
        if self.forcing not in get_args(Forcing):
            raise ConfigError(f"NavierStokes: forcing is one of {get_args(Forcing)}, got {self.forcing!r}.")
        if self.resolution < 4 or self.refinement < 1 or self.frames < 2:
            raise ConfigError(
                "NavierStokes: needs resolution >= 4, refinement >= 1 and frames >= 2, got "
                f"resolution={self.resolution}, refinement={self.refinement}, frames={self.frames}."
            )
        if not (self.viscosity > 0 and self.final_time > 0 and 0 <= self.strength < math.inf):
            raise ConfigError(
                "NavierStokes: needs viscosity > 0, final_time > 0 and strength >= 0, got "
                f"viscosity={self.viscosity}, final_time={self.final_time}, strength={self.strength}."
            )
        if not 1 <= self.wavenumber < self.resolution * self.refinement / 3:
            raise ConfigError(
                f"NavierStokes: wavenumber must be at least 1 and below a third of the "
                f"{self.resolution * self.refinement} points of the solver, got {self.wavenumber}."
            )

    @property
    def grid(self) -> Grid:
        """Nodes i / resolution of the periodic unit square."""
        return _torus(self.resolution)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The state ``w``, with time."""
        return (Field("w", "state", units="1", long_name="vorticity", time=True),)

    @property
    def about(self) -> Provenance:
        """Title, equation and solver."""
        return Provenance(
            title="Two-dimensional incompressible flow, vorticity",
            pde="navier_stokes_2d_vorticity",
            equation=_EQUATION,
            solver=_method(self.resolution * self.refinement, _COURANT),
        )

    def force(self, grid: Grid) -> Float:
        """The forcing f at the points of a grid, (*grid.shape)."""
        x, y = 2 * math.pi * self.wavenumber * grid.coordinates()
        if self.forcing == "diagonal":
            shape = np.sin(x + y) + np.cos(x + y)
        else:
            shape = -np.cos(y) if self.forcing == "kolmogorov" else np.zeros(grid.shape)
        force: Float = self.strength * shape
        return force

    def solver(self, resolution: int) -> VorticitySolver:
        """The solver of this flow on another grid."""
        return VorticitySolver(resolution, self.viscosity, self.force(_torus(resolution)))

    @property
    def initial(self) -> GaussianField:
        """The law of the initial vorticity, with the waves that both the solver and the frames hold."""
        held = min((self.resolution + 1) // 2, (self.resolution * self.refinement + 2) // 3)
        return GaussianField(
            alpha=2.5, tau=7.0, sigma=math.sqrt(2) * 7**1.5, modes=min(_WAVES, held), zero_mean=True
        )

    def sample(self, seeds: Sequence[int]) -> tuple[Float]:
        """Frames of the vorticity for each seed, (len(seeds), frames, resolution, resolution), float64.

        A sample that blows up is NaN from that frame on.
        """
        solver = self.solver(self.resolution * self.refinement)
        initial = self.initial.sample(seeds, solver.modes.grid)
        w = solver.run(initial, self.times.tolist(), courant=_COURANT)
        return (np.ascontiguousarray(w[..., :: self.refinement, :: self.refinement]),)

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 error over all frames, (n,): 16/15 of the change on twice the points and half the step.

        2^p / (2^p - 1) for order p = 4, that of the steps; the error in space falls faster.  The finer run
        starts from the first frame, not from the seed, whose start has more waves on some finer grids.
        """
        w = np.asarray(arrays[0])
        factor = 2 * self.refinement
        fine = self.solver(self.resolution * factor)
        waves = Modes(self.grid, degree=1)
        initial = fine.modes.to_values(waves.convert(waves.to_modes(w[:, 0]), fine.modes))
        frames = fine.run(initial, self.times.tolist(), courant=_COURANT)
        return 16 / 15 * relative_change(w, frames[..., ::factor, ::factor])

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> NavierStokesSolver | None:
        """The same solver on other points, with the longest safe steps; none where the forcing has no place.

        The cost differs by 8 from half the points to all of them.  It starts from a stored frame.
        """
        if 3 * self.wavenumber >= resolution:
            return None
        return NavierStokesSolver(resolution, step, self, courant=step * _STABLE)


@describable
@dataclass(frozen=True)
class NavierStokesSolver:
    """Classical solver of `NavierStokes` on its own grid and with its own step, for roll-outs.

    Parameters
    ----------
    resolution : int
        Points per axis, at least 4.  It holds the waves below a third of them and ignores the rest.
    step : float
        Longest step.  Shorter ones are used for a sample where the Courant number would be exceeded:
        ``step=1.0`` means "as long as is safe".
    flow : NavierStokes
        Viscosity and forcing.
    courant : float
        The limit of stability is 2.83.

    Examples
    --------
    >>> NavierStokesSolver(32, 0.05).name
    'pseudo-spectral 32x32, steps up to 0.05'
    """

    resolution: int
    step: float
    flow: NavierStokes = NavierStokes()
    courant: float = _STABLE

    @property
    def name(self) -> str:
        """For tables."""
        return f"pseudo-spectral {self.resolution}x{self.resolution}, steps up to {self.step:g}"

    def trajectory(self, initial: Tensor, times: Sequence[float]) -> Tensor:
        """Frames (n, len(times), *space) from the vorticity ``initial`` (n, *space) at ``times[0]``.

        Parameters
        ----------
        initial : (n, size, size)
            At the nodes i / size of the unit square, any size: cut to the waves of the solver's grid.
        times : increasing
            Frame 0 is ``initial`` as it is.

        Returns
        -------
        (n, len(times), size, size)
            Type and device of ``initial``; NaN from where a solution has blown up.

        Raises
        ------
        ShapeError
            If ``initial`` is not a batch of square fields.
        """
        import torch

        if initial.ndim != 3 or initial.shape[1] != initial.shape[2]:
            raise ShapeError(
                f"NavierStokesSolver: initial must have shape (n, size, size), got {tuple(initial.shape)}."
            )
        given = Modes(_torus(initial.shape[1]), degree=1)
        solver = self.flow.solver(self.resolution)
        values = initial.detach().cpu().numpy().astype(np.float64)
        start = solver.modes.to_values(given.convert(given.to_modes(values), solver.modes))
        frames = solver.run(start, times, step=self.step, courant=self.courant)
        found = given.to_values(solver.modes.convert(solver.modes.to_modes(frames), given))
        found[:, 0] = values
        return torch.from_numpy(found).to(device=initial.device, dtype=initial.dtype)


def solve(
    initial: ArrayLike | Function,
    grid: Grid,
    *,
    viscosity: float,
    times: Sequence[float] = (0.0, 1.0),
    forcing: ArrayLike | Function = 0.0,
    courant: float = _COURANT,
    step: float = math.inf,
) -> xarray.Dataset:
    """Solve w_t + u . grad w = viscosity Laplacian(w) + forcing on the periodic unit square.

    Parameters
    ----------
    initial : number, array or callable
        The vorticity at ``times[0]``: values (n, n), or a function of the coordinates.  Waves from n/3 on are
        dropped, from the first frame too.
    grid : Grid
        ``Grid.box((n, n), location="node", periodic=True)``, where the flow is wanted and solved.
    viscosity : float, at least 0
    times : increasing
        Of the frames.
    forcing : number, array or callable
        Constant in time; its mean is left out.
    courant, step : float
        Bounds of the step, see `VorticitySolver.run`.  A Courant number above 2.83 is unstable.

    Returns
    -------
    xarray.Dataset
        ``w``, and the components ``u`` along x and ``v`` along y of the velocity, each (time, x, y).

    Raises
    ------
    ShapeError
        If the grid is not of that kind, or shapes do not fit it.
    ConfigError
        If the viscosity is negative, the times do not increase or the step is not bounded.
    DataError
        If a value is not finite, or the solution blows up.

    Notes
    -----
    `VorticitySolver`: spectral in space, order 4 in time.  Halve ``courant`` and double n to see the error.

    Examples
    --------
    >>> grid = Grid.box((16, 16), location="node", periodic=True)
    >>> vortices = lambda x, y: np.cos(2 * np.pi * x) * np.cos(2 * np.pi * y)  # Taylor and Green's
    >>> flow = solve(vortices, grid, viscosity=0.01, times=[0.0, 0.5])
    >>> decay = np.exp(-0.01 * 8 * np.pi**2 * 0.5)
    >>> bool(np.allclose(flow["w"][1], decay * flow["w"][0], atol=1e-14))
    True
    >>> bool(np.isclose(flow["u"][0].sel(x=0, y=0.75), 1 / (4 * np.pi)))
    True
    """
    if grid != _torus(grid.shape[0]):
        raise ShapeError(
            "navier_stokes.solve: needs Grid.box((n, n), location='node', periodic=True) on the unit square, "
            f"got {grid}."
        )
    start = on_grid("navier_stokes.solve: initial", initial, grid)
    force = on_grid("navier_stokes.solve: forcing", forcing, grid)
    solver = VorticitySolver(grid.shape[0], viscosity, force)
    (w,) = solver.run(start[None], times, step=step, courant=courant)
    if not np.isfinite(w).all():
        raise DataError("navier_stokes.solve: the solution blows up. Lower courant, or step.")
    u, v = (solver.modes.to_values(c) for c in velocity(solver.modes, solver.modes.to_modes(w)))
    dims, names = ("time", "x", "y"), {"w": "vorticity", "u": "velocity along x", "v": "velocity along y"}
    return labelled(
        {
            name: (dims, values, {"units": "1", "long_name": names[name]})
            for name, values in zip(names, (w, u, v), strict=True)
        },
        grid,
        times=times,
        attributes={
            "equation": _EQUATION,
            "solver": _method(grid.shape[0], courant),
            "viscosity": viscosity,
        },
    )


def _method(n: int, courant: float) -> str:
    """For files; the last bits of compiled steps differ from those of NumPy."""
    return f"{_SOLVER.format(courant=courant)}; {'compiled' if is_compiled(n) else 'NumPy'}"


def _torus(n: int) -> Grid:
    return Grid.box((n, n), location="node", periodic=True)
