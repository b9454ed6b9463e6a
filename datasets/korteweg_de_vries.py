"""The equation of Korteweg and de Vries on a periodic interval: generator, solver, exact solitons."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.generator import NOTHING, Generator, Values, richardson
from sciml.datasets.numerics.periodic import solved
from sciml.datasets.numerics.pseudo_spectral import Modes
from sciml.datasets.numerics.semilinear import Semilinear, longest_steps, pointwise, run
from sciml.datasets.numerics.series import check_settings
from sciml.datasets.numerics.spectral_solver import SpectralSolver
from sciml.datasets.numerics.starts import smooth_field
from sciml.datasets.solutions import Function, labelled
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.grid import Grid
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray

Float = NDArray[np.float64]
Start = Literal["field", "solitons"]

_WAVES = 16  # of a random field, 0 .. 15
_SOLVER = "Fourier-Galerkin, exact dealiasing (|k| < n/3); ETDRK4 of order 4"


@describable
@dataclass(frozen=True)
class KortewegDeVries(Generator):
    r"""u_t + c u u_x + d u_xxx = 0 on a periodic interval of given length.

    Everything is dimensionless.  Mass, momentum and energy (the integrals of u, u^2 and d u_x^2 / 2 - c u^3 /
    6) are conserved.  The start is

    ==========  ==========================================================================================
    "field"     ``amplitude`` times a Gaussian field without mean, of Matern covariance, smoothness 2, length
                0.15 ``length`` and standard deviation about 1 (`sciml.datasets.numerics.starts.smooth_field`)
    "solitons"  the sum of three solitons of heights U(0.5, 2) ``amplitude`` at random places, which pass
                through each other; as a sum an exact solution only where they are far apart
    ==========  ==========================================================================================

    Scheme: Fourier-Galerkin with exact dealiasing (|k| < n/3).  The semi-discrete system conserves mass,
    momentum and energy exactly, the steps mass only.  In time `ETDRK4` of order 4, the third derivative
    exact; the step of a sample is the power of 2 below ``courant / (3 |c| U k_max)``, U the maximum of |u| at
    the start, with 3 as room to grow; stable up to ``courant`` = 2.8.  Frames are hit by whole steps.

    Parameters
    ----------
    resolution : int
        Points, at least 8.
    length : float, positive
        Of the interval, which begins at 0.
    convection, dispersion : float
        c and d, not 0; c = 6, d = 1 is the usual form.
    start : "field" or "solitons"
    amplitude : float, positive
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
    The order of the steps falls below 4 where h d k^3 is large for waves that matter (it is 4 on the tests'
    smooth waves); ``discretization_error`` says what is left.  Source of the scheme: Kassam and Trefethen,
    SIAM J. Sci. Comput. 26 (2005).

    Examples
    --------
    >>> (u,) = KortewegDeVries(resolution=32).sample([0, 1])
    >>> u.shape, bool(np.abs(u.mean(axis=2)).max() < 1e-15)
    ((2, 21, 32), True)
    """

    resolution: int = 128
    length: float = 20.0
    convection: float = 6.0
    dispersion: float = 1.0
    start: Start = "field"
    amplitude: float = 0.3
    final_time: float = 2.0
    frames: int = 21
    courant: float = 0.25

    def __post_init__(self) -> None:
        if self.start not in get_args(Start):
            raise ConfigError(f"KortewegDeVries: start is one of {get_args(Start)}, got {self.start!r}.")
        check_settings(
            self,
            least={"resolution": 8, "frames": 2},
            positive=("length", "amplitude", "final_time", "courant"),
        )
        _check("KortewegDeVries", self.convection, self.dispersion)

    @property
    def grid(self) -> Grid:
        """Nodes i length / resolution."""
        return Grid.box((self.resolution,), upper=self.length, location="node", periodic=True)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The state ``u``, with time."""
        return (Field("u", "state", long_name="elevation", time=True),)

    @property
    def about(self) -> Provenance:
        """Equation and solver."""
        return Provenance(
            title="Korteweg-de Vries equation",
            pde="korteweg_de_vries",
            equation=r"u_t + c u u_x + d u_{xxx} = 0",
            solver=f"{_SOLVER}, Courant number <= {self.courant:g}",
        )

    def sample(self, seeds: Sequence[int]) -> tuple[Float]:
        """Frames for each seed, (n, frames, resolution).  A sample that blows up is NaN from then on."""
        return (np.ascontiguousarray(self.evolve(self._starts(seeds)[:, None], self.times)[:, :, 0]),)

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 error over all frames, (n,): 16/15 of the change on twice the points, half the step."""
        return richardson(self, replace(self, resolution=2 * self.resolution), seeds, arrays, order=4)

    def evolve(self, initial: Float, times: ArrayLike, *, step: float = math.inf) -> Float:
        """Frames (n, len(times), 1, *space) from values (n, 1, *space) on any grid of the interval."""
        modes = Modes(self.grid.with_shape(initial.shape[2:]))
        largest = np.abs(initial).max(axis=(1, 2))
        steps = self.courant / (3 * abs(self.convection) * largest * modes.wavenumbers[0].max())
        equation = partial(system, modes, self.convection, self.dispersion)
        instants = np.asarray(times, dtype=np.float64)
        return run(equation, initial, instants, step=longest_steps(steps, instants, step))

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> SpectralSolver:
        """The same solver on other points, with long steps, at most from frame to frame."""
        flow, gap = replace(self, courant=2.0 * step), self.final_time / (self.frames - 1)
        return SpectralSolver(flow, resolution, step * gap)

    def _starts(self, seeds: Sequence[int]) -> Float:
        """At the nodes, (n, resolution), from waves that the solver holds."""
        if self.start == "field":
            held = min((self.resolution + 2) // 3, _WAVES)
            unit = Grid.box(self.grid.shape, location="node", periodic=True)
            values: Float = self.amplitude * smooth_field(1, modes=held).sample(seeds, unit)
            values -= values.mean(axis=1, keepdims=True)
            return values
        x = self.grid.coordinates()[0]
        scale = 12 * self.dispersion / self.convection
        u = np.zeros((len(seeds), x.size))
        for row, seed in zip(u, seeds, strict=True):
            rng = np.random.default_rng(seed)
            heights, places = self.amplitude * rng.uniform(0.5, 2.0, 3), self.length * rng.uniform(size=3)
            for height, place in zip(heights.tolist(), places.tolist(), strict=True):
                rate = math.sqrt(height / abs(scale))
                for image in (-1, 0, 1):
                    angle = rate * (x - place - image * self.length)
                    row += math.copysign(height, scale) / np.cosh(np.minimum(np.abs(angle), 300.0)) ** 2
        return u


def system(modes: Modes, convection: float | Float, dispersion: float | Float) -> Semilinear:
    """The equation in `Modes` of degree 2; coefficients are numbers or arrays (n, 1, 1)."""
    flux, slope = pointwise(modes, np.square), -0.5 * convection * modes.derivative(0)
    return Semilinear(modes, -dispersion * modes.derivative(0, order=3), lambda u, t: slope * flux(u, t))


def _check(who: str, convection: float, dispersion: float) -> None:
    if not (math.isfinite(convection) and math.isfinite(dispersion) and convection * dispersion != 0):
        raise ConfigError(
            f"{who}: convection and dispersion must be finite and not 0, got {convection} and {dispersion}."
        )


def solve(
    initial: ArrayLike | Function,
    grid: Grid,
    *,
    convection: float = 6.0,
    dispersion: float = 1.0,
    times: ArrayLike = (0.0, 1.0),
    step: float | None = None,
    refinement: int | None = None,
    tolerance: float = 1e-9,
) -> xarray.Dataset:
    """Solve u_t + convection u u_x + dispersion u_xxx = 0 on a periodic interval.

    Parameters
    ----------
    initial : number, array or callable
        At ``times[0]``: values (*grid.shape) or a function of x.
    grid : Grid
        One axis of periodic nodes, ``Grid.box((256,), lower=-1, location="node", periodic=True)``.
    convection, dispersion : float
    times : increasing
        Of the frames.
    step, refinement, tolerance : optional
        Longest step, and points of the solver per point of the grid; by default both are refined until the
        solution changes no more than the tolerance, see `sciml.datasets.numerics.periodic.solved`.

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
    >>> grid = Grid.box((128,), lower=-20, upper=20, location="node", periodic=True)
    >>> start = solitons(grid.axes[0].coordinates, [-2.0], speeds=[2.0])[0]
    >>> found = solve(start, grid, times=[-2.0, 2.0])
    >>> exact = solitons(grid.axes[0].coordinates, [2.0], speeds=[2.0])[0]
    >>> bool(np.allclose(found["u"][-1], exact, atol=1e-8))
    True
    """
    _check("korteweg_de_vries.solve", convection, dispersion)
    if grid.rank != 1:
        raise ConfigError(f"korteweg_de_vries.solve: needs a grid of one axis, got {grid.rank}.")
    frames, accuracy = solved(
        "korteweg_de_vries.solve",
        partial(system, convection=convection, dispersion=dispersion),
        initial,
        grid,
        times=times,
        step=step,
        refinement=refinement,
        tolerance=tolerance,
    )
    attributes = {
        "equation": "u_t + convection u u_x + dispersion u_xxx = 0",
        "solver": _SOLVER,
        "convection": convection,
        "dispersion": dispersion,
        **accuracy,
    }
    u = (("time", *grid.names), frames[:, 0], {"units": "1", "long_name": "elevation"})
    return labelled({"u": u}, grid, times=times, attributes=attributes)


def solitons(
    x: ArrayLike,
    times: ArrayLike,
    *,
    speeds: Sequence[float],
    centers: Sequence[float] | None = None,
    convection: float = 6.0,
    dispersion: float = 1.0,
) -> Float:
    r"""Hirota's exact solution with any number of solitons on the line, (len(times), len(x)).

    With wave numbers k_i = sqrt(v_i / d) and phases eta_i = k_i (x - v_i t - x_i),

        u = (12 d / c) (log F)_xx,  F = sum over subsets S of exp(sum_S eta_i) prod_{i<j in S} ((k_i - k_j) /
        (k_i + k_j))^2.

    (log F)_xx is the variance of sum_S k_i under the weights of the subsets, which loses no digits.

    Parameters
    ----------
    x : (points,)
    times : (frames,)
    speeds : sequence of float
        v_i, distinct, of the sign of the dispersion; alone a soliton is 3 v / c high.
    centers : sequence of float, optional
        x_i, by default 0.  Where F's other terms vanish the soliton is not at x_i but shifted by the others.
    convection, dispersion : float
        c and d.

    Raises
    ------
    ConfigError
        If speeds coincide, have the wrong sign, or are not as many as the centers.

    Notes
    -----
    Source: Hirota, Phys. Rev. Lett. 27 (1971) 1192.

    Examples
    --------
    >>> x = np.linspace(-5, 5, 101)
    >>> alone = 0.5 * 4.0 / np.cosh(0.5 * 2.0 * (x - 4.0 * 0.25)) ** 2
    >>> bool(np.allclose(solitons(x, [0.25], speeds=[4.0])[0], alone))
    True
    """
    _check("solitons", convection, dispersion)
    places = [0.0] * len(speeds) if centers is None else [float(c) for c in centers]
    ratios = [v / dispersion for v in speeds]
    if len(places) != len(ratios) or len(set(ratios)) != len(ratios) or not all(r > 0 for r in ratios):
        raise ConfigError(
            "solitons: speeds must be distinct, of the sign of the dispersion, and as many as the centers, "
            f"got speeds {list(speeds)}, dispersion {dispersion} and {len(places)} centers."
        )
    k = np.sqrt(np.array(ratios))
    points, instants = np.asarray(x, dtype=np.float64), np.asarray(times, dtype=np.float64)
    eta = [
        k[i] * (points - v * instants[:, None] - place)
        for i, (v, place) in enumerate(zip(speeds, places, strict=True))
    ]
    exponents, sums = [], []
    for subset in itertools.product((False, True), repeat=len(k)):
        chosen = [i for i, inside in enumerate(subset) if inside]
        pairs = itertools.combinations(chosen, 2)
        coupling = sum(2 * math.log(abs(k[i] - k[j]) / (k[i] + k[j])) for i, j in pairs)
        exponents.append(sum((eta[i] for i in chosen), np.full((instants.size, points.size), coupling)))
        sums.append(float(k[chosen].sum()))
    logs, wave = np.stack(exponents), np.array(sums)[:, None, None]
    weights = np.exp(logs - logs.max(axis=0))
    weights /= weights.sum(axis=0)
    mean = (weights * wave).sum(axis=0)
    found: Float = 12 * dispersion / convection * (weights * (wave - mean) ** 2).sum(axis=0)
    return found
