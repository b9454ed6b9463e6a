"""Forced Burgers and Korteweg-de Vries flow on a circle: E1, E2 and E3 of the message-passing paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.generator import NOTHING, Generator, Values, richardson
from sciml.datasets.numerics.cells import redistributed
from sciml.datasets.numerics.finite_volume import cell_averages, weno5
from sciml.datasets.numerics.forced_cells import averages, sines, system_of
from sciml.datasets.numerics.semilinear import Semilinear, run
from sciml.datasets.numerics.series import check_settings, instants
from sciml.datasets.solutions import Function, labelled, on_grid
from sciml.description import describable
from sciml.errors import ConfigError, DataError, ShapeError
from sciml.grid import Grid
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray
    from torch import Tensor

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]
Experiment = Literal["E1", "E2", "E3"]

_LENGTH = 16.0
_TERMS = 5  # of the forcing
_COURANT = 1.0  # of the bound on the speed; the scheme is stable up to 1.4
_BLOCK = 32  # samples that run together
_MOST_STEPS = 10**5  # between two frames of one solution
_EQUATION = r"u_t + (\alpha u^2 / 2 - \beta u_x + \gamma u_{xx})_x = \delta(t, x)"
_SOLVER = "finite volumes, WENO5 and Godunov's flux; linear terms exact, ETDRK4 of order 4"


@describable
@dataclass(frozen=True)
class ForcedBurgers(Generator):
    r"""u_t + (alpha u^2 / 2 - beta u_x + gamma u_xx)_x = delta(t, x) on a circle of length 16.

    Everything is dimensionless.  The forcing and the start are

        delta(t, x) = sum_j A_j sin(w_j t + 2 pi l_j x / 16 + p_j),  j = 1 .. 5,   u(0, x) = delta(0, x),

    A ~ U(-1/2, 1/2), w ~ U(-0.4, 0.4), l from 1 .. ``waves``, p ~ U(0, 2 pi).  Parameters of the samples are

    ==========  ===========  ============  ==========
    experiment  alpha        beta          gamma
    ==========  ===========  ============  ==========
    E1          1            0             0
    E2          1            U(0, 0.2)     0
    E3          U(0, 6)      U(0, 0.4)     U(0, 1)
    ==========  ===========  ============  ==========

    Scheme: averages over ``refinement * resolution`` cells; values at faces by WENO5 (`weno5`), Godunov's
    flux (exact, so that sonic points are no exception), diffusion and dispersion exact in Fourier space,
    forcing averaged exactly; `ETDRK4` in time, which for E1 is the classical Runge-Kutta method.  ORDER 5 in
    space and 4 in time where u is smooth, 1 at shocks; STABLE STEP spacing / (alpha U) with the bound U =
    max|u(0)| + T sum|A_j|, shortened to a power of 2 and to whole steps between frames.  The mean of u, which
    is that of delta, 0, changes by rounding only.  Frames are averages over blocks of ``refinement`` cells.

    Parameters
    ----------
    resolution : int
        Cells, at least 8.
    experiment : "E1", "E2" or "E3"
    waves : int
        Largest l, at least 1.
    refinement : int
        Cells of the solver per cell of the frames, at least 1.
    final_time : float, positive
        Of the last frame; the first has time 0.
    frames : int
        At least 2, equally spaced, both ends included.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Source: Brandstetter, Worrall and Welling, Message Passing Neural PDE Solvers (2022), arXiv:2202.03376,
    section 4.1 and appendix C, which has 250 frames on 100 cells (and 50, 40).  Its generator is followed
    where it agrees with the text, and differs otherwise:

    - The text draws l from 1, 2, 3; the code's upper bound is exclusive, and its files hold l = 1, 2 only
      (``waves=2``).
    - The text writes the flux alpha u^2 with alpha ~ U(0, 3) in E3; the code halves it and draws from U(0,
      6).  Both are the same equation, that above.  The code draws beta of E3 from U(0.1, 0.4), not U(0, 0.4),
      and ends E3 at time 2, not 4 (``final_time=2.0``).
    - The code mixes point values (start, forcing, coarse grids) with averages (WENO fluxes); here all are
      averages, and coarse frames are means over whole cells, so that they conserve u on every grid.  There a
      filter of five points is sampled, which does not.
    - Its steps are those of an adaptive Dormand-Prince method; here they follow from the bound above.  Their
      error was at most 2e-5 of u in 12 samples, where that of the grid is 1e-4 to 1e-2 if there are shocks.

    `estimate_error` counts on order 1, that of shocks; for smooth solutions it is twice too careful.

    Examples
    --------
    >>> u, alpha, beta, gamma = ForcedBurgers(resolution=16, experiment="E2", frames=5).sample([0, 1])
    >>> u.shape, beta.shape, bool(np.abs(u.mean(axis=-1)).max() < 1e-15)
    ((2, 5, 16), (2,), True)
    """

    resolution: int = 100
    experiment: Experiment = "E1"
    waves: int = 3
    refinement: int = 2
    final_time: float = 4.0
    frames: int = 101

    def __post_init__(self) -> None:
        if self.experiment not in get_args(Experiment):
            raise ConfigError(
                f"ForcedBurgers: experiment is one of {get_args(Experiment)}, got {self.experiment!r}."
            )
        least = {"resolution": 8, "waves": 1, "refinement": 1, "frames": 2}
        check_settings(self, least=least, positive=("final_time",))

    @property
    def grid(self) -> Grid:
        """Cells of the circle [0, 16)."""
        return Grid.box((self.resolution,), upper=_LENGTH, periodic=True)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The state ``u``, with time, and the parameters."""
        return (
            Field("u", "state", long_name="velocity", time=True),
            Field("alpha", "parameter", long_name="strength of the nonlinear flux"),
            Field("beta", "parameter", long_name="diffusivity"),
            Field("gamma", "parameter", long_name="dispersion"),
        )

    def parameters(self, seeds: Sequence[int]) -> tuple[Float, Float]:
        """alpha, beta, gamma of the samples, (3, n), and A, w, 2 pi l / 16, p of the forcing, (4, 5, n)."""
        coefficients, forcing = np.zeros((3, len(seeds))), np.zeros((4, _TERMS, len(seeds)))
        for i, seed in enumerate(seeds):
            rng = np.random.default_rng(seed)
            draw = rng.uniform(size=3)
            forcing[0, :, i] = rng.uniform(-0.5, 0.5, _TERMS)
            forcing[1, :, i] = rng.uniform(-0.4, 0.4, _TERMS)
            forcing[3, :, i] = rng.uniform(0, 2 * math.pi, _TERMS)
            forcing[2, :, i] = 2 * math.pi / _LENGTH * rng.integers(1, self.waves + 1, _TERMS)
            ranges = {"E1": (0.0, 0.0, 0.0), "E2": (0.0, 0.2, 0.0), "E3": (6.0, 0.4, 1.0)}[self.experiment]
            coefficients[:, i] = draw * ranges
            if self.experiment != "E3":
                coefficients[0, i] = 1.0
        return coefficients, forcing

    def sample(self, seeds: Sequence[int]) -> tuple[Float, ...]:
        """u (n, frames, resolution), and alpha, beta, gamma, each (n,).  A solution that blows up is NaN."""
        grid = self.grid.with_shape([self.refinement * self.resolution])
        coefficients, forcing = self.parameters(seeds)
        initial = sines(grid, forcing[..., None, None])(0.0)
        frames = self.evolve(initial, self.times, coefficients, forcing)
        return (cell_averages(frames[:, :, 0], self.refinement, 1), *coefficients)

    def evolve(
        self, initial: Float, times: ArrayLike, coefficients: Float, forcing: Float, *, step: float = 1.0
    ) -> Float:
        """Frames (n, len(times), 1, cells) from averages (n, 1, cells) on any cells of the circle.

        ``coefficients`` and ``forcing`` are `parameters`; ``step`` is in units of the steps of the data.
        """
        grid = self.grid.with_shape(initial.shape[2:])
        duration = float(np.ptp(times))
        size = np.abs(initial).max(axis=(1, 2)) + duration * np.abs(forcing[0]).sum(axis=0)
        speed = np.maximum(coefficients[0] * size, 1e-3)

        def equation(alpha: Float, beta: Float, gamma: Float, *terms: Float) -> Semilinear:
            known = np.reshape(terms, (4, _TERMS, *alpha.shape))
            return system_of(grid, alpha, beta, gamma, sines(grid, known))

        return run(
            equation,
            initial,
            times,
            step=step * _COURANT * grid.axes[0].spacing / speed,
            parameters=[*coefficients, *forcing.reshape(-1, len(initial))],
            block=_BLOCK,
        )

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> ForcedBurgersSolver | None:
        """The same solver on other cells; the seeds of the samples tell the forcing.

        A reference, not a competitor on equal terms: a model sees frames and coefficients, not the forcing.
        """
        if "sample_seed" not in known:
            return None
        return ForcedBurgersSolver(self, resolution, step, tuple(known["sample_seed"].tolist()))

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 error of u over all frames, (n,): twice the change on twice the cells."""
        return richardson(self, replace(self, resolution=2 * self.resolution), seeds, arrays, order=1)

    @property
    def about(self) -> Provenance:
        """Title, equation and solver."""
        return Provenance(
            title=f"Forced Burgers and Korteweg-de Vries flow, {self.experiment}",
            pde="forced_burgers_1d",
            equation=_EQUATION,
            solver=_SOLVER,
        )


@describable
@dataclass(frozen=True)
class ForcedBurgersSolver:
    """The solver of certain samples of `ForcedBurgers`, on its own cells and with its own steps.

    Frames are taken to its cells and back by the parabolas that WENO5 sees in them.

    Parameters
    ----------
    flow : ForcedBurgers
    cells : int
        At least 6.
    step : float
        In units of the steps of the data.
    seeds : tuple of int
        Of the samples.

    Examples
    --------
    >>> ForcedBurgersSolver(ForcedBurgers(), 40, 1.0, (0,)).name
    'WENO5, 40 cells, Courant number 1'
    """

    flow: ForcedBurgers
    cells: int
    step: float
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        """For tables."""
        return f"WENO5, {self.cells} cells, Courant number {_COURANT * self.step:g}"

    def trajectory(self, initial: Tensor, times: Sequence[float]) -> Tensor:
        """Frames (n, len(times), cells) from averages ``initial`` (n, cells) at ``times[0]``.

        Type and device of ``initial``; NaN from where a solution has blown up.

        Raises
        ------
        ShapeError
            If there is not one row for each seed.
        """
        import torch

        if initial.ndim != 2 or len(initial) != len(self.seeds):
            raise ShapeError(
                f"ForcedBurgersSolver: initial must have shape ({len(self.seeds)}, cells), got "
                f"{tuple(initial.shape)}."
            )
        values = initial.detach().cpu().numpy().astype(np.float64)
        start = _redistributed(values, self.cells)[:, None]
        coefficients, forcing = self.flow.parameters(self.seeds)
        frames = self.flow.evolve(start, times, coefficients, forcing, step=self.step)
        found = _redistributed(frames[:, :, 0], values.shape[1])
        found[:, 0] = values
        return torch.from_numpy(found).to(device=initial.device, dtype=initial.dtype)


def _redistributed(averages: Float, count: int) -> Float:
    """Averages (..., cells) over other cells of the circle."""
    at = averages.ndim - 1
    padded = np.concatenate([averages[..., -2:], averages, averages[..., :2]], axis=at)
    return redistributed(averages, *weno5(padded, at), count, at)


def solve(
    initial: ArrayLike | Function,
    grid: Grid,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    gamma: float = 0.0,
    forcing: Callable[[float, Float], ArrayLike] | None = None,
    times: Sequence[float] = (0.0, 1.0),
) -> xarray.Dataset:
    """One solution of u_t + (alpha u^2 / 2 - beta u_x + gamma u_xx)_x = f(t, x), as in `ForcedBurgers`.

    Parameters
    ----------
    initial : number, array or callable
        Averages over cells at ``times[0]``, (cells,), or a function of x, which is averaged.
    grid : Grid
        One periodic axis of at least eight cells, of any length.
    alpha, beta, gamma : float
        alpha >= 0, beta >= 0.
    forcing : callable, optional
        ``forcing(t, x)`` for an array x; averaged over the cells.
    times : increasing
        Of the frames.

    Returns
    -------
    xarray.Dataset
        ``u`` (time, x), averages over cells.

    Raises
    ------
    ShapeError
        If the grid is not one, or a shape does not fit it.
    DataError
        If a value is not finite, or the solution blows up.
    ConfigError
        If the times do not increase, alpha or beta is negative, or a frame is more than 100 000 steps away.

    Examples
    --------
    Without forcing the mean stays, and a shock takes energy away:

    >>> grid = Grid.box((64,), periodic=True)
    >>> flow = solve(lambda x: np.sin(2 * np.pi * x), grid, times=[0.0, 0.5])
    >>> bool(abs(flow["u"][-1].mean()) < 1e-15), round(float((flow["u"][-1] ** 2).mean()), 2)
    (True, 0.19)
    """
    who, at = "forced_burgers.solve", instants("forced_burgers.solve", times)
    axis = grid.axes[0]
    if grid.rank != 1 or axis.location != "cell" or not axis.periodic or axis.size < 8:
        raise ShapeError(f"{who}: needs one periodic axis of at least eight cells, got {grid}.")
    if forcing is not None and not callable(forcing):
        raise ConfigError(
            f"{who}: forcing is a function of t and x, such as lambda t, x: 1.0, got {forcing!r:.99}."
        )
    if not (0 <= alpha < math.inf and 0 <= beta < math.inf and math.isfinite(gamma)):
        raise ConfigError(f"{who}: needs alpha >= 0 and beta >= 0, got {alpha=}, {beta=}, {gamma=}.")
    averaged = None if forcing is None else partial(averages, grid, forcing)
    u = on_grid(who, averages(grid, lambda _, x: initial(x), 0.0) if callable(initial) else initial, grid)
    system = system_of(grid, alpha, beta, gamma, averaged)
    frames = [u]
    for now, then in pairwise(at):
        # Bounded by the start and what the forcing adds until the next frame, seen at nine instants.
        seen = [0.0] if averaged is None else [np.abs(averaged(t)).max() for t in np.linspace(now, then, 9)]
        if not np.isfinite(seen).all():
            raise DataError(f"{who}: forcing has values that are not finite, from time {now:g} to {then:g}.")
        speed = alpha * (np.abs(frames[-1]).max() + (then - now) * max(seen))
        step = _COURANT * axis.spacing / max(speed, axis.spacing / (then - now))
        if not (then - now) <= _MOST_STEPS * step:
            raise ConfigError(
                f"{who}: from time {now:g} to {then:g} it needs {(then - now) / step:.3g} steps, more than "
                f"{_MOST_STEPS}, for speeds up to {speed:.3g}. Take fewer cells or more frames."
            )
        found = run(lambda: system, frames[-1].reshape(1, 1, -1), [now, then], step=float(step), block=1)
        frames.append(found[0, -1, 0])
        if not np.isfinite(frames[-1]).all():
            raise DataError(f"{who}: the solution blows up before time {then:g}.")
    return labelled(
        {"u": (("time", *grid.names), np.stack(frames), {"units": "1", "long_name": "velocity"})},
        grid,
        times=at,
        attributes={"equation": _EQUATION, "solver": _SOLVER, "alpha": alpha, "beta": beta, "gamma": gamma},
    )
