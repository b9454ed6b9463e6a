"""Periodic semilinear systems u_t = L u + N(u, t) with diagonal L: two time schemes, any rank."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.numerics.pseudo_spectral import ETDRK4, Modes
from sciml.errors import ConfigError

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]

_BLOCK = 8  # samples that run together; see `run`
_SMALL = 2**11  # values of a sample up to which they do


@dataclass(frozen=True)
class Semilinear:
    r"""The system u_t = L u + N(u, t) in the Fourier coefficients of its components.

    Coefficients are arrays (samples, components, *modes.shape) of `Modes`, whose ``degree`` is that of N: 2
    for u u_x, 3 for u^3.  Products of that degree are then free of aliasing.

    Parameters
    ----------
    modes : Modes
    linear : array
        Eigenvalues of L, real or complex, of any shape that broadcasts to (samples, components,
        *modes.shape): ``modes.shape`` if all components and samples share them, (components, *modes.shape),
        or with a leading axis of samples.
    nonlinear : callable
        Coefficients and time to coefficients; see `pointwise`.
    mix : (components, components) array, optional
        Where L couples components, the matrix that takes their coefficients to those of eigenvectors, to
        which ``linear`` then belongs.  ``nonlinear`` always speaks of the components themselves.

    Examples
    --------
    Burgers' equation, u_t = 0.1 u_xx - (u^2 / 2)_x, and a reaction, u_t = 0.1 u_xx + u - u^3:

    >>> from sciml.grid import Grid
    >>> modes = Modes(Grid.box((32,), location="node", periodic=True), degree=2)
    >>> slope = modes.derivative(0)
    >>> flow = pointwise(modes, lambda u: -(u**2) / 2)
    >>> burgers = Semilinear(modes, 0.1 * modes.laplacian, lambda u, t: slope * flow(u, t))
    >>> modes = Modes(modes.grid, degree=3)
    >>> reaction = Semilinear(modes, 0.1 * modes.laplacian + 1, pointwise(modes, lambda u: -(u**3)))
    """

    modes: Modes
    linear: NDArray[Any]
    nonlinear: Callable[[Complex, float], Complex]
    mix: NDArray[Any] | None = None

    def start(self, values: Float) -> Complex:
        """Values (samples, components, *grid) to coefficients of eigenvectors of L."""
        coefficients = self.modes.to_modes(values)
        return coefficients if self.mix is None else _times(self.mix, coefficients)

    def values(self, state: Complex) -> Float:
        """Coefficients of eigenvectors to values."""
        return self.modes.to_values(self._components(state))

    def rate(self, state: Complex, time: float) -> Complex:
        """N in the coefficients of eigenvectors."""
        found = self.nonlinear(self._components(state), time)
        return found if self.mix is None else _times(self.mix, found)

    def _components(self, state: Complex) -> Complex:
        return state if self.mix is None else _times(self._unmix, state)

    @cached_property
    def _unmix(self) -> NDArray[Any]:
        assert self.mix is not None
        return np.linalg.inv(self.mix)


def _times(matrix: NDArray[Any], coefficients: Complex) -> Complex:
    """A matrix applied to the components; one product per sample, so that bits do not depend on the batch."""
    flat = coefficients.reshape(*coefficients.shape[:2], -1)
    found: Complex = np.matmul(matrix + 0j, flat).reshape(coefficients.shape)
    return found


def pointwise(modes: Modes, function: Callable[[Float], Float]) -> Callable[[Complex, float], Complex]:
    """The term N(u) = function(u), given by values (samples, components, *grid), for `Semilinear`."""
    return lambda u, time: modes.to_modes(function(modes.to_values(u)))


class AdditiveRungeKutta:
    r"""Implicit-explicit Runge-Kutta method of order 4: L implicit and L-stable, N explicit.

    Stages v_i = u + h sum_{j<i} (a_ij N(v_j) + b_ij L v_j) + h b_ii L v_i, i <= 6, with N at the times t +
    c_i h; the last one is stiffly accurate in L.  Next to `ETDRK4` it takes six evaluations of N instead of
    four; it shares none of its formulas, so that two runs check each other.

    Parameters
    ----------
    linear : array
        The eigenvalues of L, real or complex.
    step : float
        h.

    Notes
    -----
    Source: Kennedy and Carpenter, Appl. Numer. Math. 44 (2003), "ARK4(3)6L[2]SA".  Stages are of order
    2, so that the order falls below 4 for waves with h |L| >> 1 that N feeds.

    Examples
    --------
    >>> u = np.array([1.0 + 0j])
    >>> for _ in range(10):
    ...     u = AdditiveRungeKutta(np.array([-2.0]), 0.1).advance(u, lambda v: np.ones_like(v))
    >>> bool(np.isclose(u[0], 0.5 + 0.5 * np.exp(-2.0), rtol=1e-6))
    True
    """

    nodes = (0.0, 1 / 2, 83 / 250, 31 / 50, 17 / 20, 1.0)
    weights = (82889 / 524892, 0.0, 15625 / 83664, 69875 / 102672, -2260 / 8211, 1 / 4)
    explicit = (
        (),
        (1 / 2,),
        (13861 / 62500, 6889 / 62500),
        (
            -116923316275 / 2393684061468,
            -2731218467317 / 15368042101831,
            9408046702089 / 11113171139209,
        ),
        (
            -451086348788 / 2902428689909,
            -2682348792572 / 7519795681897,
            12662868775082 / 11960479115383,
            3355817975965 / 11060851509271,
        ),
        (
            647845179188 / 3216320057751,
            73281519250 / 8382639484533,
            552539513391 / 3454668386233,
            3354512671639 / 8306763924573,
            4040 / 17871,
        ),
    )
    implicit = (
        (),
        (1 / 4,),
        (8611 / 62500, -1743 / 31250),
        (5012029 / 34652500, -654441 / 2922500, 174375 / 388108),
        (
            15267082809 / 155376265600,
            -71443401 / 120774400,
            730878875 / 902184768,
            2285395 / 8070912,
        ),
        weights[:5],
    )
    """Without the diagonal, 1/4 in all stages but the first, which is explicit."""

    def __init__(self, linear: NDArray[Any], step: float) -> None:
        z = step * np.asarray(linear) + 0j
        self.step = step
        self._linear, self._solve = z, 1 / (1 - z / 4)

    def advance(self, u: Complex, nonlinear: Callable[..., Complex], time: float | None = None) -> Complex:
        """One step from u (..., *shape); ``nonlinear`` also takes the time if that is given."""
        at = [() if time is None else (time + node * self.step,) for node in self.nodes]
        stage, explicit, implicit = u, [self.step * nonlinear(u, *at[0])], [self._linear * u]
        for a, b, instant in zip(self.explicit[1:], self.implicit[1:], at[1:], strict=True):
            known = u + _combination(a, explicit) + _combination(b, implicit)
            stage = self._solve * known
            implicit.append(4 * (stage - known))  # z v, without the loss of digits where z is large
            explicit.append(self.step * nonlinear(stage, *instant))
        last = [w - a for w, a in zip(self.weights, (*self.explicit[-1], 0.0), strict=True)]
        return stage + _combination(last, explicit)


def _combination(factors: Sequence[float], terms: Sequence[Complex]) -> Complex:
    total: Complex = factors[0] * terms[0]
    for factor, term in zip(factors[1:], terms[1:], strict=True):
        if factor:
            total = total + factor * term
    return total


Scheme = type[ETDRK4] | type[AdditiveRungeKutta]


def run(
    equation: Callable[..., Semilinear],
    initial: Float,
    times: ArrayLike,
    *,
    step: float | Float,
    parameters: Sequence[Float] = (),
    scheme: Scheme = ETDRK4,
    block: int | None = None,
) -> Float:
    """Frames (samples, len(times), components, *grid) of a system, from values at the first time.

    Parameters
    ----------
    equation : callable
        ``equation(*parameters)`` returns the `Semilinear` system; each parameter comes as an array (samples,
        1, .., 1) that broadcasts against coefficients and values.  Without parameters it is called once.
    initial : (samples, components, *grid)
        At the nodes; waves that the modes leave out are dropped, from the first frame too.
    times : increasing, the first is that of ``initial``
    step : float or (samples,) array, positive
        Longest step, of all or of each sample; frames are hit by whole steps, never interpolated.  Steps of
        their own are shortened to powers of 2, so that samples can run together.
    parameters : sequence of (samples,) arrays
    scheme : ETDRK4 or AdditiveRungeKutta
        Both of order 4.
    block : int, optional
        Samples that run together.  By default 8 for small grids, else 1.  The last block is filled up to a
        multiple of 8: then the bits of a sample depend neither on its neighbors nor on its place among them,
        since every place of such a block runs through the same vector instructions.

    Returns
    -------
    array
        float64.  A sample that blows up is NaN from that frame on.

    Raises
    ------
    ConfigError
        If the step is not positive, or the times do not increase.
    """
    instants = np.asarray(times, dtype=np.float64).ravel()
    if not np.all((np.asarray(step) > 0) & np.isfinite(step)):
        raise ConfigError(f"semilinear.run: step must be positive and finite, got {step}.")
    if instants.size == 0 or not all(b > a for a, b in pairwise(instants.tolist())):
        raise ConfigError(f"semilinear.run: times must increase, got {instants.tolist()}.")
    if block is None:
        block = _BLOCK if math.prod(initial.shape[1:]) <= _SMALL else 1
    frames = np.empty((len(initial), instants.size, *initial.shape[1:]))
    axes = (1,) * (initial.ndim - 1)
    methods: dict[float, Any] = {}
    system = equation() if not parameters else None
    for h, rows in _blocks(step, len(initial), block):
        if parameters:
            system = equation(*(np.asarray(p, dtype=np.float64)[rows].reshape(-1, *axes) for p in parameters))
            methods = {}
        assert system is not None
        for j, values in enumerate(_march(system, initial[rows], instants, h, scheme, methods)):
            frames[rows, j] = values
    return frames


def _blocks(step: float | Float, samples: int, size: int) -> Iterator[tuple[float, NDArray[np.int64]]]:
    """Longest step and at most ``size`` rows of each block; the last row of a kind fills the last one up."""
    steps = np.full(samples, step) if np.ndim(step) == 0 else 2.0 ** np.floor(np.log2(step))
    for h in np.unique(steps).tolist():
        rows = np.flatnonzero(steps == h)
        for first in range(0, len(rows), size):
            count = min(size, -(-(len(rows) - first) // _BLOCK) * _BLOCK)
            yield h, rows[np.minimum(np.arange(first, first + count), len(rows) - 1)]


def _march(
    system: Semilinear,
    initial: Float,
    times: Float,
    step: float,
    scheme: Scheme,
    methods: dict[float, Any],
) -> Iterator[Float]:
    """The frames of one block, one after the other."""
    linear = np.asarray(system.linear)
    linear = np.broadcast_to(linear, np.broadcast_shapes(linear.shape, system.modes.shape))
    u = system.start(initial)
    yield system.values(u)
    with np.errstate(over="ignore", invalid="ignore"):
        for begin, duration in zip(times[:-1].tolist(), _durations(times).tolist(), strict=True):
            count = max(1, math.ceil(duration / step * (1 - 1e-9)))
            h = duration / count
            if h not in methods:
                methods[h] = scheme(linear, h)
            for i in range(count):
                if i % 8 == 0 and not np.isfinite(u).any():
                    break
                u = methods[h].advance(u, system.rate, begin + i * h)
            values = system.values(u)
            lost = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
            values[lost] = np.nan
            u[lost] = np.nan
            yield values


def _durations(times: Float) -> Float:
    """Between frames; equal ones to the bit where they are equal but for the rounding of the times."""
    found: Float = np.diff(times)
    rounding = 4 * np.finfo(np.float64).eps * np.abs(times).max(initial=0.0)
    if found.size and np.ptp(found) <= rounding:
        found[:] = (times[-1] - times[0]) / found.size
    return found


def longest_steps(steps: Float, times: Float, step: float) -> Float:
    """Steps (samples,) for `run` that are at most ``step`` and the whole time; also where they are NaN."""
    return np.fmin(steps, min(step, float(np.ptp(times)) or 1.0))
