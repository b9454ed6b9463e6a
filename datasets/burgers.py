"""Burgers' equation on periodic boxes: generator, solver, and Cole and Hopf's exact solution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.generator import NOTHING, Generator, Values, restrict, richardson
from sciml.datasets.numerics.periodic import solved
from sciml.datasets.numerics.pseudo_spectral import Modes
from sciml.datasets.numerics.random_fields import GaussianField
from sciml.datasets.numerics.semilinear import Semilinear, longest_steps, run
from sciml.datasets.numerics.series import check_settings
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
Complex = NDArray[np.complex128]

_WAVES = 32  # of the start, 0 .. 31 per axis
_LARGE = 8 * math.pi  # waves up to 4, whose decay the steps resolve
_WEIGHTS = 2**18  # of the exact solution, held at a time
_SOLVER = "Fourier-Galerkin, exact dealiasing (|k| < n/3); ETDRK4 of order 4"


@describable
@dataclass(frozen=True)
class Burgers(Generator):
    r"""u_t + (u . grad) u = nu Laplacian(u) on the periodic unit interval or square.

    In one dimension u is a number, (u^2 / 2)_x is the flux, and the start is Gaussian with covariance 625
    (-D^2 + 25)^(-2), wave numbers up to 31: mean 0, **standard deviation 1.16 at a point**, of which 1 is the
    constant.  In two dimensions u is a vector of two independent Gaussian fields with Matern covariance of
    the same smoothness 3/2 and length 0.2, standard deviation 1.1 each.  Everything is dimensionless.

    Scheme: Fourier-Galerkin with exact dealiasing (|k| < n/3) on ``refinement * resolution`` points per axis,
    spectrally accurate once the fronts, 4 nu / jump wide, are resolved: h < nu / max|u|.  In time `ETDRK4` of
    order 4.  By the maximum principle max|u| is that of the start, so that a sample keeps one step, the power
    of 2 below ``courant / (U min(k_max, U / nu) + nu (8 pi)^2)`` with U = max(|u| + |v|): waves beyond U / nu
    are damped faster than they are carried, and the decay of the waves up to 4 is resolved.  It is stable up
    to ``courant`` = 2.8.  Frames are hit by whole steps.

    Parameters
    ----------
    resolution : int
        Points per axis, at least 8.
    rank : int
        1 or 2.
    viscosity : float, positive
        nu; 0.1 and 0.001 in the FNO papers.
    variation : float
        0 for one viscosity; else that of each sample is ``viscosity * exp(variation * U(-1, 1))``, stored as
        the parameter ``nu``.
    final_time : float, positive
        Of the last frame; the first has time 0.
    frames : int
        At least 2, equally spaced in time, both ends included; 2 for the map from start to end.
    refinement : int
        At least 1: grid of the solver.
    courant : float, positive

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Source of viscosity 0.1, law and final time: Li et al., Fourier Neural Operator for Parametric Partial
    Differential Equations (2021), arXiv:2010.08895, section 5.1; their file holds 8192 points and the end
    only.  The published script draws from another law (sigma 49, tau 7, alpha 2.5) with viscosity 0.001; and
    viscosities of PDEBench are divided by pi.  From 63 points and
    94 of the solver on, a seed means the same start.

    Examples
    --------
    >>> (u,) = Burgers(resolution=32).sample([0, 1])
    >>> u.shape, bool(np.ptp(u.mean(axis=2), axis=1).max() < 1e-14)  # momentum is conserved
    ((2, 11, 32), True)
    """

    resolution: int = 128
    rank: int = 1
    viscosity: float = 0.1
    variation: float = 0.0
    final_time: float = 1.0
    frames: int = 11
    refinement: int = 1
    courant: float = 0.5

    def __post_init__(self) -> None:
        check_settings(
            self,
            least={"resolution": 8, "frames": 2, "refinement": 1, "variation": 0},
            positive=("viscosity", "final_time", "courant"),
            finite=("variation",),
            ranks=(1, 2),
        )

    @property
    def grid(self) -> Grid:
        """Nodes i / resolution of the periodic unit box."""
        return Grid.box((self.resolution,) * self.rank, location="node", periodic=True)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The state ``u``, with time; and the parameter ``nu`` where it varies."""
        state = Field("u", "state", long_name="velocity", components=self.rank, time=True)
        return (state, Field("nu", "parameter", long_name="viscosity")) if self.variation else (state,)

    @property
    def about(self) -> Provenance:
        """Equation and solver."""
        return Provenance(
            title="Burgers' equation",
            pde=f"burgers_{self.rank}d",
            equation=r"u_t + (u \cdot \nabla) u = \nu \Delta u",
            solver=f"{_SOLVER}, Courant number <= {self.courant:g}",
        )

    def sample(self, seeds: Sequence[int]) -> tuple[Float, ...]:
        """Frames for each seed, (n, frames, [2,] *space), and nu, (n,), where it varies.

        A sample that blows up is NaN from that frame on.
        """
        fine = self.grid.with_shape([self.refinement * self.resolution] * self.rank)
        held = min((self.resolution + 1) // 2, (self.refinement * self.resolution + 2) // 3, _WAVES)
        if self.rank == 1:
            start = GaussianField(alpha=2.0, tau=5.0, sigma=25.0, modes=held).sample(seeds, fine)[:, None]
        else:
            law = smooth_field(2, smoothness=1.5, scale=0.2, modes=held)
            start = np.stack([law.sample(subseeds(seeds, stream), fine) for stream in (0, 1)], axis=1)
        draws = [np.random.default_rng([seed, 2]).uniform(-1.0, 1.0) for seed in seeds]
        nu = self.viscosity * np.exp(self.variation * np.array(draws))
        u = restrict(self._frames(start, self.times, nu, math.inf), fine, self.grid)
        u = np.ascontiguousarray(u[:, :, 0] if self.rank == 1 else u)
        return (u, nu) if self.variation else (u,)

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 error over all frames, (n,): 16/15 of the change on twice the points, half the step."""
        fine = replace(self, resolution=2 * self.resolution, courant=self.courant / 2)
        return richardson(self, fine, seeds, arrays, order=4)

    def evolve(
        self,
        initial: Float,
        times: ArrayLike,
        *,
        step: float = math.inf,
        known: Mapping[str, Float] = NOTHING,
    ) -> Float:
        """Frames (n, len(times), rank, *space) from values (n, rank, *space) on any grid of the unit box.

        With the viscosities ``known["nu"]``, (n,), if they are given.
        """
        return self._frames(initial, np.asarray(times, dtype=np.float64), known.get("nu"), step)

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> SpectralSolver | None:
        """The same solver on other points, with long steps; where nu varies, it must be known."""
        flow, gap = replace(self, courant=1.5 * step), self.final_time / (self.frames - 1)
        if self.variation and "nu" not in known:
            return None
        return SpectralSolver(Bound(flow, known) if self.variation else flow, resolution, step * gap)

    def _frames(self, initial: Float, times: Float, nu: Float | None, step: float) -> Float:
        modes = Modes(self.grid.with_shape(initial.shape[2:]))
        speed = np.abs(initial).sum(axis=1).max(axis=tuple(range(1, self.rank + 1)))
        viscosity = self.viscosity if nu is None else nu
        k_max = float(modes.wavenumbers[-1].max())
        rate = speed * np.minimum(k_max, speed / viscosity) + viscosity * min(k_max, _LARGE) ** 2
        steps = longest_steps(self.courant / rate, times, step)
        if nu is None:
            return run(partial(system, modes, self.viscosity), initial, times, step=steps)
        return run(partial(system, modes), initial, times, step=steps, parameters=(nu,))


def system(modes: Modes, viscosity: float | Float) -> Semilinear:
    """Burgers' equation in `Modes` of degree 2 on any periodic box; viscosity a number or (n, 1, ..)."""
    slopes = [modes.derivative(axis) for axis in range(modes.grid.rank)]

    def nonlinear(u: Complex, time: float) -> Complex:
        values = modes.to_values(u)
        if len(slopes) == 1:
            return -0.5 * slopes[0] * modes.to_modes(values**2)
        carried = np.zeros_like(values)
        for axis, slope in enumerate(slopes):
            carried -= values[:, axis : axis + 1] * modes.to_values(slope * u)
        return modes.to_modes(carried)

    return Semilinear(modes, viscosity * modes.laplacian, nonlinear)


def solve(
    initial: ArrayLike | Function,
    grid: Grid,
    *,
    viscosity: float,
    times: ArrayLike = (0.0, 1.0),
    step: float | None = None,
    refinement: int | None = None,
    tolerance: float = 1e-9,
) -> xarray.Dataset:
    """Solve u_t + (u . grad) u = viscosity Laplacian(u) on any periodic box.

    Parameters
    ----------
    initial : number, array or callable
        At ``times[0]``: values (*grid.shape), of two axes (2, *grid.shape), or a function of the coordinates;
        see `sciml.datasets.solutions.on_grid`.
    grid : Grid
        Periodic nodes, ``Grid.box((256,), lower=-1, location="node", periodic=True)``, where u is wanted.  Of
        a table that has both ends of the period, leave the last point out.
    viscosity : float, positive
    times : increasing
        Of the frames.
    step, refinement, tolerance : optional
        Longest step, and points of the solver per point of the grid and axis; by default both are refined
        until the solution changes no more than the tolerance, see `sciml.datasets.numerics.periodic.solved`.

    Returns
    -------
    xarray.Dataset
        ``u`` (time, [component,] *space), with ``relative_error`` and ``spectral_tail`` among the attributes.

    Raises
    ------
    ConfigError, DataError, ShapeError
        If an argument is out of range, or the solution blows up.

    Examples
    --------
    >>> grid = Grid.box((64,), lower=-1, location="node", periodic=True)
    >>> found = solve(lambda x: -np.sin(np.pi * x), grid, viscosity=0.1, times=[0, 0.5, 1])
    >>> exact = cole_hopf(lambda x: -np.sin(np.pi * x), grid, viscosity=0.1, times=[0, 0.5, 1])
    >>> bool(np.allclose(found["u"], exact, atol=1e-8))
    True
    """
    if not 0 < viscosity < math.inf:
        raise ConfigError(f"burgers.solve: viscosity must be positive and finite, got {viscosity}.")
    frames, accuracy = solved(
        "burgers.solve",
        partial(system, viscosity=viscosity),
        initial,
        grid,
        times=times,
        components=grid.rank,
        step=step,
        refinement=refinement,
        tolerance=tolerance,
    )
    attributes = {
        "equation": "u_t + (u . grad) u = viscosity Laplacian(u)",
        "solver": _SOLVER,
        "viscosity": viscosity,
        **accuracy,
    }
    dims = ("time", "component", *grid.names) if grid.rank > 1 else ("time", *grid.names)
    values = frames if grid.rank > 1 else frames[:, 0]
    told = {"units": "1", "long_name": "velocity"}
    return labelled({"u": (dims, values, told)}, grid, times=times, attributes=attributes)


def cole_hopf(
    initial: ArrayLike | Function,
    grid: Grid,
    *,
    viscosity: float,
    times: ArrayLike,
    points: ArrayLike | None = None,
) -> Float:
    r"""The exact solution of u_t + u u_x = nu u_xx on a periodic interval, (len(times), points).

    With the heat kernel, u(x, t) is the mean of u_0(y) with the weights exp(-G(y) / (2 nu)), G = integral of
    u_0 from 0 to y + (x - y)^2 / (2 t): a ratio of integrals over the line, here by the trapezoidal rule,
    which converges faster than any power for such integrands.  Exponents are shifted by their least before
    exp ("log-sum-exp"), so that any viscosity is possible.

    Parameters
    ----------
    initial : number, array or callable
        At time 0: values (size,), through which goes the trigonometric interpolant, or a function of x.  A
        function is sampled at the nodes of the grid, and of as many more as the viscosity asks for.
    grid : Grid
        One periodic axis of nodes.
    viscosity : float, positive
        nu.
    times : not negative, in any order
    points : (n,), optional
        Where u is wanted, by default at the nodes; other points of the line are taken back into the period.

    Notes
    -----
    The distance of the quadrature points is a quarter of the width sqrt(2 nu / (1/t + max u_0')) of the
    narrowest weight; weights below exp(-40) of the largest are left out.  The error is then rounding, about
    1e-16 max|integral of u_0| / (2 nu) of max|u_0|: compared with 60 digits, below 2e-14 for u_0 = -sin(pi x)
    and nu = 0.01/pi.  Source: Cole, Quart. Appl. Math. 9 (1951); Hopf, Comm. Pure Appl. Math. 3 (1950).

    Raises
    ------
    ConfigError
        If the viscosity is not positive, a time is negative, or the grid is not one periodic axis of nodes.
    DataError
        If values are not finite.

    Examples
    --------
    The shock of the benchmark of physics-informed networks has slope -152 at t = 0.5105:

    >>> grid = Grid.box((512,), lower=-1, location="node", periodic=True)
    >>> x = np.array([-1e-6, 1e-6])
    >>> u = cole_hopf(lambda x: -np.sin(np.pi * x), grid, viscosity=0.01 / np.pi, times=[0.5105], points=x)
    >>> round(float((u[0, 1] - u[0, 0]) / 2e-6))
    -152
    """
    instants = np.asarray(times, dtype=np.float64).ravel()
    if not (viscosity > 0 and (instants >= 0).all() and grid.rank == 1):
        raise ConfigError(
            "burgers.cole_hopf: needs viscosity > 0, times >= 0 and a grid of one axis, got "
            f"viscosity={viscosity}, times={instants.tolist()}, rank {grid.rank}."
        )
    axis = grid.axes[0]
    length = axis.upper - axis.lower
    x = axis.coordinates if points is None else np.asarray(points, dtype=np.float64).ravel()
    x = axis.lower + np.mod(x - axis.lower, length)
    modes = Modes(grid, degree=1)
    steepest = float(modes.to_values(modes.derivative(0) * modes.to_modes(_start(initial, grid, grid))).max())
    found = np.empty((instants.size, x.size))
    for frame, t in zip(found, instants.tolist(), strict=True):
        if t == 0:
            frame[:] = initial(x) if callable(initial) else _interpolant(_start(initial, grid, grid), grid, x)
        else:
            width = math.sqrt(2 * viscosity / (1 / t + steepest))
            fine = grid.with_shape([max(grid.shape[0], math.ceil(4 * length / width))])
            frame[:] = _averages(_start(initial, grid, fine), fine, x, t, viscosity)
    return found


def _start(initial: ArrayLike | Function, grid: Grid, fine: Grid) -> Float:
    """The start at the nodes of a finer grid of the interval."""
    if callable(initial):
        return on_grid("burgers.cole_hopf: initial", initial, fine)
    return resample(on_grid("burgers.cole_hopf: initial", initial, grid), grid, fine)


def _interpolant(values: Float, grid: Grid, x: Float) -> Float:
    modes = Modes(grid, degree=1)
    phases = np.exp(1j * np.multiply.outer(x - grid.axes[0].lower, modes.wavenumbers[0]))
    twice = np.where(modes.derivative(0) == 0, 1.0, 2.0)  # k and -k; 0 and half the points have no partner
    found: Float = (phases @ (twice * modes.to_modes(values))).real
    return found


def _averages(start: Float, grid: Grid, x: Float, t: float, viscosity: float) -> Float:
    """Means of the start's values (size,) with the weights of Cole and Hopf, one for each of the points."""
    modes, lower, spacing = Modes(grid, degree=1), grid.axes[0].lower, grid.axes[0].spacing
    waves = modes.to_modes(start)
    mean = float(waves[0].real)
    slope = modes.derivative(0)
    waves = np.divide(waves, slope, out=np.zeros_like(waves), where=slope != 0)
    periodic = modes.to_values(waves)  # the integral of start - mean
    farthest = float(np.abs(start).max()) * t
    reach = math.ceil((farthest + math.sqrt(farthest**2 + 160 * viscosity * t)) / spacing)
    offsets = np.arange(-reach, reach + 1)
    found = np.empty(x.size)
    chunk = max(1, _WEIGHTS // offsets.size)
    for first in range(0, x.size, chunk):
        part = x[first : first + chunk, None]
        at = np.floor((part - lower) / spacing).astype(np.int64) + offsets
        away, node = part - lower - at * spacing, at % start.size
        exponent = (away**2 / (2 * t) + mean * (at * spacing) + periodic[node]) / (-2 * viscosity)
        weights = np.exp(exponent - exponent.max(axis=1, keepdims=True))
        found[first : first + chunk] = (weights * start[node]).sum(axis=1) / weights.sum(axis=1)
    return found
