"""The chaotic systems of Lorenz, of 1963 and of 1996: generators and single orbits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.generator import NOTHING, Generator, Values, halved, richardson
from sciml.datasets.numerics.runge_kutta import integrate
from sciml.datasets.numerics.series import check_settings, instants
from sciml.datasets.solutions import labelled
from sciml.description import describable
from sciml.errors import ConfigError, DataError, ShapeError
from sciml.grid import Grid
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray
    from torch import Tensor

Float = NDArray[np.float64]

_SPIN_STEP = 1 / 64  # of the run on to the attractor, whatever the resolution: a seed means one start
_PARAMETERS = ("sigma", "rho", "beta", "forcing")
_SOLVER = "Runge-Kutta of order 8 (Dormand and Prince, 12 stages), fixed steps"


class System(Protocol):
    """What the solvers of this module ask of a generator."""

    @property
    def resolution(self) -> int:
        """Steps per unit of time."""
        ...

    @property
    def spin_up(self) -> float:
        """Time that starts run before the first frame."""
        ...

    @property
    def times(self) -> Float:
        """Of the frames."""
        ...

    def rate(self, state: Float) -> Float:
        """The right-hand side, in the shape of the state, value by value over leading axes."""
        ...


@describable
@dataclass(frozen=True)
class Lorenz63(Generator):
    r"""Three equations of convection: x' = sigma (y - x), y' = x (rho - z) - y, z' = x y - beta z.

    Everything is dimensionless.  A sample is an orbit on the attractor: a start with x, y ~ U(-15, 15) and z
    ~ U(10, 40) has run for ``spin_up`` units of time before the first frame.  For the default parameters
    neighbors part by e^(0.906 t), so that an error grows by 6 over the default 2 units of time.

    Scheme: Dormand and Prince's Runge-Kutta method of order 8 with steps 1 / ``resolution`` at most, that
    hit the frames; the run to the attractor takes steps of 1 / 64 at any resolution.  Stable for steps below
    about 0.1; with 1 / 16, 1 / 32 and 1 / 64 the relative error over 2 units of time is
    below 1e-5, 1e-8 and 1e-10.

    Parameters
    ----------
    resolution : int
        Least number of steps per unit of time, at least 1.
    sigma, rho, beta : float
        Prandtl number, relative Rayleigh number, aspect of the cells.
    final_time : float, positive
        Of the last frame; the first has time 0.
    frames : int
        At least 2, equally spaced in time, both ends included.
    spin_up : float, >= 0

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    The state is a field with three components on a grid of one point.  Source: Lorenz, J. Atmos. Sci. 20
    (1963), equations 25 to 27.

    Examples
    --------
    >>> (u,) = Lorenz63(frames=3).sample([0, 1])
    >>> u.shape, bool((np.abs(u) < 60).all())
    ((2, 3, 3, 1), True)
    """

    resolution: int = 64
    sigma: float = 10.0
    rho: float = 28.0
    beta: float = 8 / 3
    final_time: float = 2.0
    frames: int = 41
    spin_up: float = 4.0

    def __post_init__(self) -> None:
        check_settings(
            self,
            least={"resolution": 1, "frames": 2, "spin_up": 0},
            positive=("final_time",),
            finite=("sigma", "rho", "beta", "spin_up"),
        )

    @property
    def grid(self) -> Grid:
        """One site."""
        return _circle(1)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The state ``u`` = (x, y, z), with time."""
        return (Field("u", "state", long_name="convection, temperatures", components=3, time=True),)

    @property
    def about(self) -> Provenance:
        """Equation and solver."""
        return Provenance(
            title="Lorenz's equations of convection",
            pde="lorenz_63",
            equation=r"x' = \sigma (y - x), y' = x (\rho - z) - y, z' = x y - \beta z",
            solver=_SOLVER,
        )

    def rate(self, state: Float) -> Float:
        """(x', y', z') for (x, y, z), both (..., 3, 1)."""
        x, y, z = state[..., 0, :], state[..., 1, :], state[..., 2, :]
        slopes = [self.sigma * (y - x), x * (self.rho - z) - y, x * y - self.beta * z]
        return np.stack(slopes, axis=-2)

    def sample(self, seeds: Sequence[int]) -> tuple[Float]:
        """Orbits (n, frames, 3, 1)."""
        drawn = [np.random.default_rng(s).uniform([-15, -15, 10], [15, 15, 40]) for s in seeds]
        return (_orbits(self, np.array(drawn)[..., None]),)

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 error over all frames, (n,): 256/255 of the change with half the step."""
        return richardson(self, replace(self, resolution=2 * self.resolution), seeds, arrays, order=8)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Steps per unit of time, down to one from frame to frame."""
        return _fewer_steps(self)

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> OrbitSolver:
        """The same method with other steps, those of the resolution whatever ``step``."""
        return OrbitSolver(self, 1 / resolution)


@describable
@dataclass(frozen=True)
class Lorenz96(Generator):
    r"""Sites on a circle: x_i' = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + F.

    Everything is dimensionless; a unit of time stands for 5 days of weather.  A sample is an orbit on the
    attractor: a start x_i ~ N(F/4, F/2) has run for ``spin_up`` units of time before the first frame.  For 40
    sites and F = 8 neighbors part by about e^(1.7 t).

    Scheme: Dormand and Prince's Runge-Kutta method of order 8 with steps 1 / ``resolution`` at most, that
    hit the frames; the run to the attractor takes steps of 1 / 64 at any resolution.  Stable for steps below
    about 0.2 (F = 8); with 1 / 16 and 1 / 32 the relative error over 2 units of time is below
    1e-6 and 1e-8.

    Parameters
    ----------
    resolution : int
        Least number of steps per unit of time, at least 1.  The number of sites is part of the problem.
    sites : int
        At least 4.
    forcing : float
        F.
    final_time : float, positive
        Of the last frame; the first has time 0.
    frames : int
        At least 2, equally spaced in time, both ends included.
    spin_up : float, >= 0

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Source: Lorenz, Predictability, a problem partly solved (1996), equation 1.

    Examples
    --------
    >>> (x,) = Lorenz96(frames=3).sample([0, 1])
    >>> x.shape, bool((np.abs(x) < 30).all())
    ((2, 3, 40), True)
    """

    resolution: int = 32
    sites: int = 40
    forcing: float = 8.0
    final_time: float = 2.0
    frames: int = 41
    spin_up: float = 4.0

    def __post_init__(self) -> None:
        check_settings(
            self,
            least={"resolution": 1, "frames": 2, "sites": 4, "spin_up": 0},
            positive=("final_time",),
            finite=("forcing", "spin_up"),
        )

    @property
    def grid(self) -> Grid:
        """The sites 0, 1, .. on a circle."""
        return _circle(self.sites)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The state ``u``, with time."""
        return (Field("u", "state", long_name="quantity at a latitude", time=True),)

    @property
    def about(self) -> Provenance:
        """Equation and solver."""
        return Provenance(
            title="Lorenz's weather on a circle of latitude",
            pde="lorenz_96",
            equation=r"x_i' = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + F",
            solver=_SOLVER,
        )

    def rate(self, state: Float) -> Float:
        """x' for x, both (..., sites)."""
        before, after = np.roll(state, 1, axis=-1), np.roll(state, -1, axis=-1)
        found: Float = (after - np.roll(state, 2, axis=-1)) * before - state + self.forcing
        return found

    def sample(self, seeds: Sequence[int]) -> tuple[Float]:
        """Orbits (n, frames, sites)."""
        drawn = [np.random.default_rng(s).standard_normal(self.sites) for s in seeds]
        return (_orbits(self, self.forcing * (0.25 + 0.5 * np.array(drawn))),)

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 error over all frames, (n,): 256/255 of the change with half the step."""
        return richardson(self, replace(self, resolution=2 * self.resolution), seeds, arrays, order=8)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Steps per unit of time, down to one from frame to frame."""
        return _fewer_steps(self)

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> OrbitSolver:
        """The same method with other steps, those of the resolution whatever ``step``."""
        return OrbitSolver(self, 1 / resolution)


@describable
@dataclass(frozen=True)
class OrbitSolver:
    """Classical solver of a system of ordinary differential equations, for roll-outs.

    Parameters
    ----------
    system : Lorenz63 or Lorenz96
    step : float
        Longest step.

    Examples
    --------
    >>> OrbitSolver(Lorenz63(), 0.02).name
    'Runge-Kutta of order 8, steps up to 0.02'
    """

    system: System
    step: float

    @property
    def name(self) -> str:
        """For tables."""
        return f"Runge-Kutta of order 8, steps up to {self.step:g}"

    def trajectory(self, initial: Tensor, times: Sequence[float]) -> Tensor:
        """Frames (n, len(times), ..) from the state ``initial`` (n, ..) at ``times[0]``."""
        import torch

        values = initial.detach().cpu().numpy().astype(np.float64)
        frames = integrate(self.system.rate, values, list(times), step=self.step)
        found = torch.from_numpy(np.moveaxis(frames, 0, 1).copy())
        return found.to(device=initial.device, dtype=initial.dtype)


def _fewer_steps(system: System) -> tuple[int, ...]:
    gap = system.times[1] - system.times[0]
    return halved(system.resolution, least=max(1, min(system.resolution, math.ceil(1 / gap - 1e-9))))


def _circle(sites: int) -> Grid:
    return Grid.box((sites,), upper=sites, location="node", periodic=True, names=("site",))


def _orbits(system: System, start: Float) -> Float:
    """Frames (n, frames, ..) of the system after its run to the attractor from starts (n, ..)."""
    if system.spin_up:
        start = integrate(system.rate, start, [0.0, system.spin_up], step=_SPIN_STEP)[-1]
    frames = integrate(system.rate, start, system.times.tolist(), step=1 / system.resolution)
    return np.ascontiguousarray(np.moveaxis(frames, 0, 1))


def solve(
    initial: ArrayLike,
    *,
    system: Lorenz63 | Lorenz96 | None = None,
    times: Sequence[float] = (0.0, 1.0),
    step: float = 1 / 128,
) -> xarray.Dataset:
    """One orbit of either system from a given start.

    Parameters
    ----------
    initial : (3,) or (sites,)
        At ``times[0]``.
    system : Lorenz63 or Lorenz96, optional
        With its parameters; by default ``Lorenz63()``.
    times : increasing
        Of the frames.
    step : float, positive
        Longest step of the method of order 8.

    Returns
    -------
    xarray.Dataset
        ``x``, ``y``, ``z`` (time,), or ``u`` (time, site).

    Raises
    ------
    ShapeError
        If there are not as many numbers as unknowns.
    ConfigError
        If the step is not positive or the times do not increase.

    Examples
    --------
    >>> found = solve([1.0, 1.0, 1.0], times=[0.0, 0.5, 1.0])
    >>> [round(found[name][-1].item(), 6) for name in "xyz"]
    [-9.37857, -8.357034, 29.362325]
    >>> rest = solve(8 * np.ones(40), system=Lorenz96())
    >>> bool((rest["u"] == 8).all())
    True
    """
    system = Lorenz63() if system is None else system
    at = instants("lorenz.solve", times)
    if not 0 < step < math.inf:
        raise ConfigError(f"lorenz.solve: step must be positive and finite, got {step}.")
    count = 3 if isinstance(system, Lorenz63) else system.sites
    values = np.asarray(initial, dtype=np.float64)
    if values.shape != (count,):
        raise ShapeError(f"lorenz.solve: initial must have shape ({count},), got {values.shape}.")
    if not np.isfinite(values).all():
        raise DataError(f"lorenz.solve: initial must be finite, got {values.tolist()}.")
    about = {"equation": system.about.equation, "solver": _SOLVER, "step": float(step)}
    about |= {key: value for key, value in system.settings().items() if key in _PARAMETERS}
    units = {"units": "1"}
    if isinstance(system, Lorenz63):
        orbit = integrate(system.rate, values[:, None], at, step=step)
        one = {name: (("time",), orbit[:, i, 0], units) for i, name in enumerate("xyz")}
        return labelled(one, system.grid, times=at, attributes=about).drop_vars("site")
    orbit = integrate(system.rate, values, at, step=step)
    return labelled({"u": (("time", "site"), orbit, units)}, system.grid, times=at, attributes=about)
