"""Finite volumes for hyperbolic systems on boxes of any rank, for many samples at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid

Float = NDArray[np.float64]
Limiter = Literal["minmod", "mc", "van_leer"]
Boundary = Literal["outflow", "wall", "held"]
Boundaries = Boundary | Mapping[str, Boundary | tuple[Boundary, Boundary]]

COURANT = 0.4
"""Of the sum over axes of speed * step / spacing."""

_CHUNK = 1 << 15  # values of a state per chunk of samples: what a step works on stays in the cache
_MOST_STEPS = 10**5  # between two frames; a sample that needs more has blown up
# Strong-stability-preserving Runge-Kutta methods (Gottlieb, Shu and Tadmor 2001, equations 4.1 and 4.2): each
# stage is a * start + b * (forward Euler step from the stage before).
_STAGES = {2: ((0.0, 1.0), (1 / 2, 1 / 2)), 3: ((0.0, 1.0), (3 / 4, 1 / 4), (1 / 3, 2 / 3))}


class Law(Protocol):
    """A system u_t + sum_i F_i(u)_i = S, as the scheme sees it.

    Every array has the component first, then samples, then space: conserved and primitive values
    (components, n, *space).  All work is elementwise: a sample never feels its neighbors in the batch.
    """

    @property
    def rank(self) -> int:
        """Axes of space."""
        ...

    @property
    def components(self) -> int:
        """Of the conserved values and of the primitive ones."""
        ...

    def primitive(self, conserved: Float) -> Float:
        """The values that are reconstructed; those of index 1 + i are the velocities along the axes i."""
        ...

    def speed(self, primitive: Float, axis: int) -> Float:
        """Largest speed of a signal along an axis, (n, *space)."""
        ...

    def fluxes(self, left: Float, right: Float, axis: int) -> tuple[Float, Float]:
        """What leaves the cell left of each face, and what enters the one right of it; the same without S."""
        ...

    def source(self, low: Float, high: Float, axis: int) -> Float | None:
        """Spacing times what S adds inside the cells, from the primitive values at their two faces."""
        ...

    def restore(self, conserved: Float) -> NDArray[np.bool_]:
        """Lift values below the floors in place; where, (n, *space)."""
        ...


def half_slopes(values: Float, axis: int, limiter: Limiter) -> Float:
    """From center to upper face: half the limited difference per cell, for all but the ends of ``axis``.

    ==========  ==============================================================================
    minmod      the smaller of the two one-sided differences a and b, 0 where their signs differ
    van_leer    their harmonic mean 2 a b / (a + b), 0 where their signs differ
    mc          (a + b) / 2, at most 2 |a| and 2 |b|, 0 where their signs differ
    ==========  ==============================================================================

    All keep the values at faces between those of the neighboring cells.  Source: LeVeque, *Finite Volume
    Methods for Hyperbolic Problems* (2002), sections 6.9 to 6.11.

    Examples
    --------
    >>> half_slopes(np.array([0.0, 1.0, 4.0, 3.0]), 0, "mc").tolist()
    [1.0, 0.0]
    """
    size = values.shape[axis]
    change = part(values, axis, 1, size) - part(values, axis, 0, size - 1)
    a, b = part(change, axis, 0, size - 2), part(change, axis, 1, size - 1)
    if limiter == "van_leer":
        product = a * b
        return np.divide(product, a + b, out=np.zeros_like(a), where=product > 0)
    # Where a and b agree in sign one of these bounds is 0 and the other the smaller of them, else both are 0.
    above, below = np.minimum(a, b), np.maximum(a, b)
    np.maximum(above, 0.0, out=above)
    np.minimum(below, 0.0, out=below)
    if limiter == "minmod":
        above += below
        above *= 0.5
        return above
    found = a + b
    found *= 0.25
    np.minimum(found, above, out=found)
    np.maximum(found, below, out=found)
    return found


def weno5(averages: Float, axis: int) -> tuple[Float, Float]:
    """Values at the lower and the upper face of each cell from cell averages, order 5; jumps do not ring.

    For all but two cells at each end of ``axis``.  The weights of the three parabolas are those of
    Borges, Carmona, Costa and Don (2008), J. Comput. Phys. 227, equations 28 and 29 with power 2: order 5
    also at extrema, where the weights of Jiang and Shu (1996) fall to 3.

    Examples
    --------
    >>> edges = np.linspace(0.0, 1.0, 6)
    >>> low, high = weno5(np.diff(edges**3) / 0.2 / 3, 0)  # averages of x^2
    >>> np.round([low.item(), high.item()], 12).tolist()
    [0.16, 0.36]
    """
    size = averages.shape[axis]
    center = part(averages, axis, 2, size - 2)
    change = part(averages, axis, 1, size) - part(averages, axis, 0, size - 1)
    bend = part(change, axis, 1, size - 1) - part(change, axis, 0, size - 2)
    bend *= bend
    bend *= 13 / 12
    a, b, c, d = (part(change, axis, i, size - 4 + i) for i in range(4))  # far below, below, above, far above
    smooth = [part(bend, axis, i, size - 4 + i) for i in range(3)]
    for i, slope in enumerate(
        (1.5 * b - a / 2, (b + c) / 2, 1.5 * c - d / 2)
    ):  # of each parabola at the center
        smooth[i] = smooth[i] + slope * slope
    difference = np.abs(smooth[0] - smooth[2])
    weights = []
    for item in smooth:
        ratio = difference / (item + 1e-40)
        weights.append(1 + ratio * ratio)
    lower = ((a - 4 * b) / 6, (-2 * b - c) / 6, (2 * d - 5 * c) / 6)  # from the average to the face
    upper = ((5 * b - 2 * a) / 6, (b + 2 * c) / 6, (4 * c - d) / 6)
    found = []
    for steps, ideal in ((lower, (0.3, 0.6, 0.1)), (upper, (0.1, 0.6, 0.3))):
        shares = [share * weight for share, weight in zip(ideal, weights, strict=True)]
        mixed = shares[0] * steps[0] + shares[1] * steps[1] + shares[2] * steps[2]
        found.append(center + mixed / (shares[0] + shares[1] + shares[2]))
    return found[0], found[1]


@dataclass(frozen=True)
class FiniteVolumes:
    """The unsplit MUSCL scheme of order 2 for a system, on the cells of a box.

    Primitive values are reconstructed linearly in every cell with a limiter; the law's Riemann solver gives
    the fluxes through the faces; Runge-Kutta steps that preserve strong stability take the averages on.
    Every sample has its own step, from its largest sum over axes of speed / spacing and the Courant number,
    and reaches every frame after a whole number of steps.  What leaves a cell enters its neighbor: sums
    change by rounding only.

    Order 2 in the mean where the solution is smooth; at extrema the limiter sets the slope to zero, so that
    the largest error falls with 1.2 to 1.5 only.  Order 1 at shocks, 2/3 at contacts.

    Parameters
    ----------
    grid : Grid
        Of cells.
    law : Law
    limiter : "minmod", "mc" or "van_leer"
    boundary : text, or axis name to text or to a pair (lower, upper)
        Of axes that are not periodic: "outflow", the last cell goes on outside; "wall", mirrored; "held", the
        last cell of the start goes on outside, for inflow.
    stages : int
        2 or 3, of the Runge-Kutta method and its order.
    courant : float
        Positive, at most 1/2: beyond, positivity is not certain and smooth waves turn into stairs.

    Raises
    ------
    ShapeError
        If the grid has not the law's rank, no cells, or fewer than two of them along an axis.
    ConfigError
        If a setting is none of these.

    Notes
    -----
    Source: van Leer (1979), J. Comput. Phys. 32; Toro, *Riemann Solvers and Numerical Methods for Fluid
    Dynamics* (2009), chapters 10, 13 and 16; Gottlieb, Shu and Tadmor (2001), SIAM Review 43.
    """

    grid: Grid
    law: Law
    limiter: Limiter = "mc"
    boundary: Boundaries = "outflow"
    stages: int = 2
    courant: float = COURANT

    def __post_init__(self) -> None:
        if self.grid.rank != self.law.rank:
            raise ShapeError(f"FiniteVolumes: the law has {self.law.rank} axes, the grid {self.grid.rank}.")
        if any(axis.location != "cell" or axis.size < 2 for axis in self.grid.axes):
            raise ShapeError("FiniteVolumes: every axis needs at least two points, which are cells.")
        if self.limiter not in get_args(Limiter):
            raise ConfigError(f"FiniteVolumes: limiter is one of {get_args(Limiter)}, got {self.limiter!r}.")
        if self.stages not in _STAGES or not 0 < self.courant <= 0.5:
            raise ConfigError(
                "FiniteVolumes: needs 2 or 3 stages and a Courant number in (0, 1/2], got "
                f"stages={self.stages}, courant={self.courant}."
            )
        _ = self.sides

    @cached_property
    def sides(self) -> list[tuple[Boundary, Boundary] | None]:
        """Conditions at the lower and upper end of every axis, None where it is periodic."""
        return boundary_pairs(self.boundary, self.grid)

    def run(self, initial: Float, times: Sequence[float]) -> tuple[Float, NDArray[np.int64]]:
        """Cell averages at the given times.

        Parameters
        ----------
        initial : (n, components, *space)
            Conserved values at ``times[0]``.
        times : increasing

        Returns
        -------
        frames : (n, len(times), components, *space)
            NaN from where a sample has blown up.
        floored : (n,)
            How often a value below a floor was lifted: cells times stages.  Zero unless something is wrong
            with the start or the step, since the scheme keeps positive values positive.
        """
        n = len(initial)
        shape = (self.law.components, *self.grid.shape)
        if initial.shape[1:] != shape:
            raise ShapeError(f"FiniteVolumes: initial must have shape (n, *{shape}), got {initial.shape}.")
        if any(b <= a for a, b in pairwise(times)):
            raise ConfigError(f"FiniteVolumes: times must increase, got {list(times)}.")
        frames = np.empty((n, len(times), *shape))
        floored = np.zeros(n, dtype=np.int64)
        chunk = max(1, _CHUNK // math.prod(shape))
        for first in range(0, n, chunk):
            rows = slice(first, min(first + chunk, n))
            u = np.array(np.moveaxis(initial[rows], 1, 0), order="C")
            frames[rows, 0] = initial[rows]
            with np.errstate(invalid="ignore", over="ignore", divide="ignore"):  # of samples that blow up
                held = self._edges(self.law.primitive(u))
                for i, (now, then) in enumerate(pairwise(times)):
                    floored[rows] += self._advance(u, then - now, held)
                    frames[rows, i + 1] = np.moveaxis(u, 0, 1)
        return frames, floored

    def _advance(self, u: Float, duration: float, held: dict[tuple[int, int], Float]) -> NDArray[np.int64]:
        """Take ``u`` (components, n, *space) on in place, each sample with steps of its own; floored (n,)."""
        floored = np.zeros(u.shape[1], dtype=np.int64)
        remaining = np.full(u.shape[1], float(duration))
        rows = np.arange(u.shape[1])
        while rows.size:
            some = u[:, rows]
            w = self.law.primitive(some)
            # A hair more than a whole number is that number: rounding shall not cost a step.
            count = np.maximum(np.ceil(remaining[rows] * self._rate(w) / self.courant - 1e-9), 1)
            lost = ~(count <= _MOST_STEPS)
            some[:, lost] = np.nan
            step = remaining[rows] / count
            edges = {key: value[:, rows] for key, value in held.items()}
            floored[rows] += self._step(some, w, step.reshape(-1, *[1] * self.grid.rank), edges)
            u[:, rows] = some
            remaining[rows] -= step
            rows = rows[(count > 1) & ~lost]
        return floored

    def _rate(self, w: Float) -> Float:
        """Largest sum over axes of speed / spacing, (n,)."""
        total = sum(self.law.speed(w, i) / axis.spacing for i, axis in enumerate(self.grid.axes))
        found: Float = np.asarray(total).reshape(w.shape[1], -1).max(axis=1)
        return found

    def _step(self, u: Float, w: Float, step: Float, held: dict[tuple[int, int], Float]) -> NDArray[np.int64]:
        start = u.copy()
        floored = np.zeros(u.shape[1], dtype=np.int64)
        for stage, (a, b) in enumerate(_STAGES[self.stages]):
            change = self.change(w if stage == 0 else self.law.primitive(u), held)
            change *= step
            u += change
            if stage:
                u *= b
                u += a * start
            floored += self.law.restore(u).reshape(len(floored), -1).sum(axis=1)
        return floored

    def change(self, w: Float, held: Mapping[tuple[int, int], Float] | None = None) -> Float:
        """Time derivative of the conserved averages (components, n, *space) for primitive values."""
        total: Float | None = None
        for i, axis in enumerate(self.grid.axes):
            at, size = i + 2, axis.size
            padded = self._padded(w, i, held or {})
            middle = part(padded, at, 1, size + 3)
            half = half_slopes(padded, at, self.limiter)
            low, high = middle - half, middle + half
            out, into = self.law.fluxes(part(high, at, 0, size + 1), part(low, at, 1, size + 2), i)
            change = part(into, at, 0, size) - part(out, at, 1, size + 1)
            source = self.law.source(part(low, at, 1, size + 1), part(high, at, 1, size + 1), i)
            if source is not None:
                change += source
            change /= axis.spacing
            if total is None:
                total = change
            else:
                total += change
        assert total is not None
        return total

    def _padded(self, w: Float, i: int, held: Mapping[tuple[int, int], Float]) -> Float:
        """Two more cells at each end of axis i."""
        at, size = i + 2, w.shape[i + 2]
        pair = self.sides[i]
        if pair is None:
            return np.concatenate([part(w, at, size - 2, size), w, part(w, at, 0, 2)], axis=at)
        outside = []
        for side, kind in enumerate(pair):
            if kind == "wall":
                mirrored = np.flip(part(w, at, size - 2, size) if side else part(w, at, 0, 2), axis=at).copy()
                mirrored[1 + i] *= -1
                outside.append(mirrored)
            else:
                edge = held[i, side] if kind == "held" else _edge(w, at, side)
                outside.append(np.repeat(edge, 2, axis=at))
        return np.concatenate([outside[0], w, outside[1]], axis=at)

    def _edges(self, w: Float) -> dict[tuple[int, int], Float]:
        """The outermost cells that "held" boundaries go on with."""
        return {
            (i, side): _edge(w, i + 2, side).copy()
            for i, pair in enumerate(self.sides)
            for side, kind in enumerate(pair or ())
            if kind == "held"
        }


def boundary_pairs(boundary: Boundaries, grid: Grid) -> list[tuple[Boundary, Boundary] | None]:
    """The conditions at the lower and upper end of every axis of the grid, None for periodic axes.

    Raises
    ------
    ConfigError
        If a condition is unknown, or the axes named are not those that have ends.

    Examples
    --------
    >>> boundary_pairs({"x": ("held", "outflow")}, Grid.box((4, 4), periodic=(False, True)))
    [('held', 'outflow'), None]
    """
    bounded = [axis.name for axis in grid.axes if not axis.periodic]
    if not isinstance(boundary, str | Mapping):
        raise ConfigError(
            f"boundary: text, or a mapping such as {{'x': ('wall', 'outflow')}}, got {boundary!r}."
        )
    given = dict.fromkeys(bounded, boundary) if isinstance(boundary, str) else dict(boundary)
    if sorted(given) != sorted(bounded):
        raise ConfigError(
            f"boundary: the axes that are not periodic are {bounded}, conditions came for {sorted(given)}."
        )
    pairs: list[tuple[Boundary, Boundary] | None] = []
    for axis in grid.axes:
        item = given.get(axis.name, "outflow")
        pair = tuple(item) if isinstance(item, Sequence) and not isinstance(item, str) else (item, item)
        if len(pair) != 2 or not all(kind in get_args(Boundary) for kind in pair):
            raise ConfigError(f"boundary of {axis.name}: one or two of {get_args(Boundary)}, got {item!r}.")
        pairs.append(None if axis.periodic else (pair[0], pair[1]))
    return pairs


def part(values: Float, axis: int, start: int, stop: int) -> Float:
    """A view of the points ``start`` to ``stop`` along an axis."""
    index = [slice(None)] * values.ndim
    index[axis] = slice(start, stop)
    return values[tuple(index)]


def _edge(w: Float, at: int, side: int) -> Float:
    return part(w, at, w.shape[at] - 1, w.shape[at]) if side else part(w, at, 0, 1)


def cell_averages(values: Float, factor: int, rank: int) -> Float:
    """Means over blocks of ``factor`` cells along each of the last ``rank`` axes.

    Examples
    --------
    >>> cell_averages(np.arange(8.0).reshape(2, 4), 2, 2).tolist()
    [[2.5, 4.5]]
    """
    for axis in range(values.ndim - rank, values.ndim):
        shape = (*values.shape[:axis], values.shape[axis] // factor, factor, *values.shape[axis + 1 :])
        values = values.reshape(shape).mean(axis=axis + 1)
    return values
