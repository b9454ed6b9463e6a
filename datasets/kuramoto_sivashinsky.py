"""The equation of Kuramoto and Sivashinsky on a periodic interval: generator and solver."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.generator import NOTHING, Generator, Values, relative_change, restrict
from sciml.datasets.numerics.periodic import solved
from sciml.datasets.numerics.pseudo_spectral import Modes
from sciml.datasets.numerics.semilinear import Semilinear, longest_steps, pointwise, run
from sciml.datasets.numerics.series import check_settings
from sciml.datasets.numerics.spectral_solver import SpectralSolver, resample
from sciml.datasets.numerics.starts import smooth_field
from sciml.datasets.solutions import Function, labelled
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.grid import Grid
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray

Float = NDArray[np.float64]

_WAVES = 16  # of the start, 1 .. 15
_SOLVER = "Fourier-Galerkin, exact dealiasing (|k| < n/3); ETDRK4 of order 4"


@describable
@dataclass(frozen=True)
class KuramotoSivashinsky(Generator):
    r"""u_t + alpha u u_x + beta u_xx + gamma u_xxxx = 0 on a periodic interval of given length.

    Everything is dimensionless.  Waves below sqrt(beta / gamma) grow, at most with the rate beta^2 / (4
    gamma) of k = sqrt(beta / (2 gamma)); the others are damped, and the convection passes energy from the
    former to the latter.  Measured in the wave length l = 2 pi sqrt(2 gamma / beta) of fastest growth, the
    interval is ``length / l`` long; from about 2.5 on solutions are chaotic.  The mean, conserved, is 0.

    The start is ``amplitude`` times a Gaussian field of Matern covariance, smoothness 2 and length 0.15
    ``length``, without mean, standard deviation about 1.  With ``discard`` > 0 the first frame is the state
    at that time, on the attractor, instead of the start.

    Scheme: Fourier-Galerkin with exact dealiasing (|k| < n/3); in time `ETDRK4` of order 4.  The step of a
    sample is the power of 2 below ``courant / (|alpha| U min(k_max, 2 sqrt(beta / gamma)) + beta^2 / (4
    gamma))``, U the maximum of |u| at the start, at least 4 beta^(3/2) / (|alpha| gamma^(1/2)), which the
    attractor does not exceed; it is stable up to ``courant`` = 2.8.  Frames are hit by whole steps.

    Parameters
    ----------
    resolution : int
        Points, at least 8.
    length : float, positive
        Of the interval, which begins at 0.
    alpha, beta, gamma : float
        alpha not 0, beta and gamma positive.
    amplitude : float, positive
    discard : float
        Time before the first frame, not negative; 200 for the attractor of the usual equation.
    final_time : float, positive
        Of the last frame; the first has time 0.
    frames : int
        At least 2, equally spaced in time, both ends included.
    courant : float, positive

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    **Valid horizon.**  Errors grow as exp(lambda t), with lambda = 0.043 for length 22 and up to about 0.09
    for long intervals (alpha = beta = gamma = 1): an error of 1e-8 reaches 1 after some 200 to 400 units.
    ``discretization_error`` is that of the frames of a file, from the first one on; beyond the horizon it is
    of order 1, and only statistics can be compared.  Storage in float32 costs 6e-8 at the start.
    Source of the scheme: Kassam and Trefethen, SIAM J. Sci. Comput. 26 (2005); of lambda: Edson
    et al., ANZIAM J. 61 (2019).

    Examples
    --------
    >>> (u,) = KuramotoSivashinsky(resolution=32, discard=100.0, frames=3).sample([0])
    >>> u.shape, bool(1.0 < u.std() < 1.6), bool(np.abs(u.mean(axis=2)).max() < 1e-13)
    ((1, 3, 32), True, True)
    """

    resolution: int = 64
    length: float = 22.0
    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 1.0
    amplitude: float = 1.0
    discard: float = 0.0
    final_time: float = 10.0
    frames: int = 21
    courant: float = 0.5

    def __post_init__(self) -> None:
        check_settings(
            self,
            least={"resolution": 8, "frames": 2, "discard": 0},
            positive=("length", "amplitude", "final_time", "courant"),
            finite=("discard",),
        )
        _check("KuramotoSivashinsky", self.alpha, self.beta, self.gamma)

    @property
    def grid(self) -> Grid:
        """Nodes i length / resolution."""
        return Grid.box((self.resolution,), upper=self.length, location="node", periodic=True)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The state ``u``, with time."""
        return (Field("u", "state", long_name="slope of the front", time=True),)

    @property
    def about(self) -> Provenance:
        """Equation and solver."""
        return Provenance(
            title="Kuramoto-Sivashinsky equation",
            pde="kuramoto_sivashinsky",
            equation=r"u_t + \alpha u u_x + \beta u_{xx} + \gamma u_{xxxx} = 0",
            solver=f"{_SOLVER}, Courant number <= {self.courant:g}",
        )

    def sample(self, seeds: Sequence[int]) -> tuple[Float]:
        """Frames for each seed, (n, frames, resolution).  A sample that blows up is NaN from then on."""
        held = min((self.resolution + 2) // 3, _WAVES)
        unit = Grid.box(self.grid.shape, location="node", periodic=True)
        start = self.amplitude * smooth_field(1, modes=held).sample(seeds, unit)
        start = (start - start.mean(axis=1, keepdims=True))[:, None]
        if self.discard:
            start = self.evolve(start, [0.0, self.discard])[:, 1]
        return (np.ascontiguousarray(self.evolve(start, self.times)[:, :, 0]),)

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 error of the frames, (n,), given the first: 16/15 of the change on a finer grid.

        That has twice the points and half the step, and begins with the first frame, since the transient that
        leads there has another end on another grid.
        """
        u = np.asarray(arrays[0])
        fine = replace(self, resolution=2 * self.resolution, courant=self.courant / 2)
        start = resample(u[:, :1], self.grid, fine.grid)
        frames = fine.evolve(start, self.times)[:, :, 0]
        return 16 / 15 * relative_change(u, restrict(frames, fine.grid, self.grid))

    def evolve(self, initial: Float, times: ArrayLike, *, step: float = math.inf) -> Float:
        """Frames (n, len(times), 1, *space) from values (n, 1, *space) on any grid of the interval."""
        modes = Modes(self.grid.with_shape(initial.shape[2:]))
        usual = 4 * self.beta**1.5 / (abs(self.alpha) * math.sqrt(self.gamma))
        wave = min(float(modes.wavenumbers[0].max()), 2 * math.sqrt(self.beta / self.gamma))
        speed = abs(self.alpha) * np.fmax(np.abs(initial).max(axis=(1, 2)), usual)
        steps = self.courant / (speed * wave + self.beta**2 / (4 * self.gamma))
        equation = partial(system, modes, self.alpha, self.beta, self.gamma)
        instants = np.asarray(times, dtype=np.float64)
        return run(equation, initial, instants, step=longest_steps(steps, instants, step))

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> SpectralSolver:
        """The same solver on other points, with long steps, at most from frame to frame."""
        flow, gap = replace(self, courant=2.0 * step), self.final_time / (self.frames - 1)
        return SpectralSolver(flow, resolution, step * gap)


def system(modes: Modes, alpha: float | Float, beta: float | Float, gamma: float | Float) -> Semilinear:
    """The equation in `Modes` of degree 2; coefficients are numbers or arrays (n, 1, 1)."""
    flux, slope = pointwise(modes, np.square), -0.5 * alpha * modes.derivative(0)
    squares = -modes.laplacian
    return Semilinear(modes, beta * squares - gamma * squares**2, lambda u, t: slope * flux(u, t))


def _check(who: str, alpha: float, beta: float, gamma: float) -> None:
    if not (math.isfinite(alpha) and alpha != 0 and 0 < beta < math.inf and 0 < gamma < math.inf):
        raise ConfigError(
            f"{who}: needs alpha != 0, beta > 0 and gamma > 0, got alpha={alpha}, beta={beta}, gamma={gamma}."
        )


def solve(
    initial: ArrayLike | Function,
    grid: Grid,
    *,
    coefficients: tuple[float, float, float] = (1.0, 1.0, 1.0),
    times: ArrayLike = (0.0, 1.0),
    step: float | None = None,
    refinement: int | None = None,
    tolerance: float = 1e-9,
) -> xarray.Dataset:
    """Solve u_t + alpha u u_x + beta u_xx + gamma u_xxxx = 0 on a periodic interval.

    Parameters
    ----------
    initial : number, array or callable
        At ``times[0]``: values (*grid.shape) or a function of x.
    grid : Grid
        One axis of periodic nodes, ``Grid.box((256,), upper=22, location="node", periodic=True)``.
    coefficients : tuple of float
        (alpha, beta, gamma); (100/16, 100/16^2, 100/16^4) on [0, 2 pi) in the benchmark of physics-informed
        networks, with the start cos(x) (1 + sin(x)).
    times : increasing
        Of the frames.
    step, refinement, tolerance : optional
        Longest step, and points of the solver per point of the grid; by default both are refined until the
        solution changes no more than the tolerance, see
        `sciml.datasets.numerics.periodic.solved`.  Over hundreds of units of time,
        where errors grow beyond any tolerance, give both.

    Returns
    -------
    xarray.Dataset
        ``u`` (time, x), with ``relative_error`` and ``spectral_tail`` among the attributes.

    Raises
    ------
    ConfigError, DataError, ShapeError
        If an argument is out of range, or the solution blows up.

    Examples
    --------
    A wave so low that the convection does nothing grows with its own rate:

    >>> grid = Grid.box((32,), upper=4 * np.pi, location="node", periodic=True)
    >>> found = solve(lambda x: 1e-7 * np.cos(x / 2), grid, times=[0.0, 2.0])
    >>> bool(np.isclose(found["u"].max("x")[1], 1e-7 * np.exp(2 * (1 / 4 - 1 / 16)), rtol=1e-6))
    True
    """
    if len(coefficients) != 3:
        raise ConfigError(f"kuramoto_sivashinsky.solve: needs (alpha, beta, gamma), got {coefficients}.")
    _check("kuramoto_sivashinsky.solve", *coefficients)
    if grid.rank != 1:
        raise ConfigError(f"kuramoto_sivashinsky.solve: needs a grid of one axis, got {grid.rank}.")
    alpha, beta, gamma = coefficients
    frames, accuracy = solved(
        "kuramoto_sivashinsky.solve",
        partial(system, alpha=alpha, beta=beta, gamma=gamma),
        initial,
        grid,
        times=times,
        step=step,
        refinement=refinement,
        tolerance=tolerance,
    )
    attributes = {
        "equation": "u_t + alpha u u_x + beta u_xx + gamma u_xxxx = 0",
        "solver": _SOLVER,
        "alpha": alpha,
        "beta": beta,
        "gamma": gamma,
        **accuracy,
    }
    u = (("time", *grid.names), frames[:, 0], {"units": "1", "long_name": "slope of the front"})
    return labelled({"u": u}, grid, times=times, attributes=attributes)
