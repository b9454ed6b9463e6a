"""Reaction and diffusion of several species on an interval with walls: a reference solver for PINNs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from numbers import Integral
from typing import TYPE_CHECKING, Literal, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.numerics.chebyshev import Chebyshev
from sciml.datasets.numerics.pseudo_spectral import ETDRK4
from sciml.datasets.numerics.series import instants
from sciml.datasets.solutions import labelled
from sciml.errors import ConfigError, DataError, DivergedError, ShapeError
from sciml.grid import Axis, Grid

if TYPE_CHECKING:
    import xarray

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]
Kind = Literal["dirichlet", "neumann"]
Reaction = Callable[[Float, Float, float], ArrayLike]
"""Of the values (species, points), the points and the time: ``lambda u, x, t: 5 * (u - u**3)``."""

Start = Callable[[Float], ArrayLike] | float

_WHO = "bounded_reaction.solve"
_LEAST, _MOST_POINTS = 33, 1025
_MOST_STEPS = 2048  # between frames, before the tolerance counts as out of reach


@dataclass(frozen=True)
class Wall:
    """A boundary condition that does not change with time: u = value, or u_x = value.

    Examples
    --------
    >>> Wall("neumann").value
    0.0
    """

    kind: Kind = "dirichlet"
    value: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} {self.value:g}"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind) or not math.isfinite(self.value):
            raise ConfigError(
                f"Wall: needs a kind among {get_args(Kind)} and a finite value, got {self.kind!r} and "
                f"{self.value}."
            )


Pair = tuple[Wall, Wall]


class Diffusion:
    r"""The operator D d^2/dx^2 on the polynomials that satisfy two boundary conditions, diagonalized.

    A polynomial u of degree n - 1 (`Chebyshev`) is w + z: w, of degree 2, satisfies the conditions, and z the
    homogeneous ones, so that its values at the inner points determine it.  The collocated z -> z'' has real,
    distinct eigenvalues <= 0 and well-conditioned eigenvectors (condition number below 6 for n <= 257).

    Parameters
    ----------
    line : Chebyshev
    diffusivity : float
        D >= 0.
    left, right : Wall

    Attributes
    ----------
    eigenvalues : (n - 2,) array
    lift, source : (n,) arrays
        w and D w''.

    Examples
    --------
    >>> heat = Diffusion(Chebyshev(24, 0.0, 1.0), 1.0, Wall(), Wall("neumann", 2.0))
    >>> bool(np.allclose(sorted(heat.eigenvalues)[-2:], [-((1.5 * np.pi) ** 2), -((0.5 * np.pi) ** 2)]))
    True
    >>> bool(np.allclose(heat.lift, 2 * heat.line.points))
    True
    """

    def __init__(self, line: Chebyshev, diffusivity: float, left: Wall, right: Wall) -> None:
        if not 0 <= diffusivity < math.inf:
            raise ConfigError(f"Diffusion: needs finite diffusivity >= 0, got {diffusivity}.")
        self.line, self.diffusivity = line, diffusivity
        slope, second = line.derivative(), line.derivative(2)
        ends = [0, line.size - 1]
        inner = slice(1, -1)
        rows = np.stack(
            [
                slope[end] if wall.kind == "neumann" else np.eye(line.size)[end]
                for end, wall in zip(ends, (left, right), strict=True)
            ]
        )
        self._ends = -np.linalg.solve(rows[:, ends], rows[:, inner])  # end values of z from the inner ones
        matrix = second[inner, inner] + second[inner][:, ends] @ self._ends
        values, vectors = np.linalg.eig(matrix)
        self.eigenvalues: Float = diffusivity * values.real
        self._vectors = np.ascontiguousarray(vectors.real)
        self._inverse = np.linalg.inv(self._vectors)
        self.lift = self._lift((left, right))
        self.source: Float = diffusivity * (second @ self.lift)

    def _lift(self, walls: tuple[Wall, Wall]) -> Float:
        """The shortest combination of 1, s and (between two slopes only) s^2 that fits, s from 0 to 1."""
        length = self.line.upper - self.line.lower
        degree = 2 if all(wall.kind == "neumann" for wall in walls) else 1
        power = np.arange(degree + 1)
        rows = [
            power * end ** np.maximum(power - 1, 0) / length if wall.kind == "neumann" else end**power
            for end, wall in zip((0.0, 1.0), walls, strict=True)
        ]
        factors = np.linalg.lstsq(np.stack(rows), np.array([wall.value for wall in walls]), rcond=None)[0]
        s = (self.line.points - self.line.lower) / length
        found: Float = np.vander(s, degree + 1, increasing=True) @ factors
        return found

    def to_modes(self, inner: Float) -> Float:
        """Coefficients of the eigenvectors from values of z, or of a rate, at the inner points."""
        found: Float = self._inverse @ inner
        return found

    def to_values(self, modes: Float) -> Float:
        """u at all points."""
        inner = self._vectors @ modes
        z = np.concatenate([self._ends[:1] @ inner, inner, self._ends[1:] @ inner])
        values: Float = self.lift + z
        return values


@dataclass(frozen=True)
class ReactionSystem:
    """u_t = D u_xx + R(u, x, t), each species in the eigenvectors of its `Diffusion`."""

    species: tuple[Diffusion, ...]
    reaction: Reaction

    def run(self, initial: Float, times: Sequence[float], *, step: float) -> Float:
        """Frames (len(times), species, points) from values (species, points) at ``times[0]``.

        By `ETDRK4` in whole steps of at most ``step``.  Conditions at the walls replace the values there; NaN
        from where the solution has blown up.
        """
        linear = np.stack([each.eigenvalues for each in self.species])
        modes = self._modes(row - each.lift for each, row in self._rows(initial))
        frames = [self._values(modes)]
        methods: dict[float, ETDRK4] = {}
        for begin, end in pairwise(times):
            count = max(1, math.ceil((end - begin) / step * (1 - 1e-9)))
            h = float(f"{(end - begin) / count:.13e}")  # equal gaps give equal steps
            if h not in methods:
                methods[h] = ETDRK4(linear, h)
            with np.errstate(over="ignore", invalid="ignore"):
                for i in range(count):
                    stages = iter([begin + (i + node) * h for node in (0.0, 0.5, 0.5, 1.0)])
                    modes = methods[h].advance(modes, lambda v, stages=stages: self._rate(v, next(stages)))
                    if not np.isfinite(modes).all():
                        modes[:] = np.nan
                        break
            frames.append(self._values(modes))
        return np.stack(frames)

    def _values(self, modes: Complex) -> Float:
        return np.stack([each.to_values(row) for each, row in self._rows(modes.real)])

    def _rate(self, modes: Complex, time: float) -> Complex:
        """Coefficients of R + D w''."""
        u = self._values(modes)
        given = np.asarray(self.reaction(u, self.species[0].line.points, time), dtype=np.float64)
        try:
            rate = np.broadcast_to(given, u.shape)
        except ValueError:
            raise ShapeError(
                f"bounded_reaction: the reaction must return the shape of u, {u.shape}, got {given.shape}."
            ) from None
        return self._modes(row + each.source for each, row in self._rows(rate))

    def _modes(self, values: Iterable[Float]) -> Complex:
        """Complex, as `ETDRK4` computes; the imaginary part is zero."""
        found = [each.to_modes(row[1:-1]) for each, row in zip(self.species, values, strict=True)]
        return np.stack(found).astype(np.complex128)

    def _rows(self, values: Float) -> Iterable[tuple[Diffusion, Float]]:
        return zip(self.species, values, strict=True)


def solve(
    reaction: Reaction,
    initial: Start | Mapping[str, Start],
    *,
    diffusivity: float | Sequence[float],
    walls: Pair | Sequence[Pair] = (Wall(), Wall()),
    interval: tuple[float, float] = (0.0, 1.0),
    times: Sequence[float] = (0.0, 1.0),
    resolution: int = 101,
    points: int | None = None,
    tolerance: float = 1e-8,
) -> xarray.Dataset:
    r"""Solve u_t = D u_xx + R(u, x, t) for one or several species between two walls.

    Scheme: polynomials through Chebyshev points, spectrally accurate for smooth solutions; in time `ETDRK4`
    in the eigenvectors of the diffusion, exact for the linear part.  The points are doubled until the last
    tenth of the Chebyshev coefficients is below ``tolerance`` of the largest and twice the points (at most
    1025) change the frames by less than ``tolerance`` of the largest value; then the steps between frames,
    by the same measure.  The order is 4 where R vanishes at Dirichlet walls; where it does not, stiff modes
    reduce it, and the doubling goes on.  Where a start jumps, its place is known to the distance of the
    points: take a tolerance of that size, or a steep but smooth start.

    Parameters
    ----------
    reaction : callable
        R(u, x, t) with u (species, points), x (points,), to an array that broadcasts to the shape of u.  With
        slopes it may be, for example, -u u_x: ``-u * (u @ Chebyshev(x.size, lower, upper).derivative().T)``.
    initial : callable or number, or mapping of names to these
        The start as a function of an array x; several species have names.  It should satisfy the conditions
        at the walls, which replace its values there.
    diffusivity : float, or one per species
    walls : pair of Wall, or one pair per species
        Left and right.
    interval : (lower, upper)
    times : increasing
        Of the frames; hit by whole steps.
    resolution : int
        Equally spaced nodes of the result, ends included; the polynomials are evaluated there.
    points : int, optional
        Of the polynomials, at least 4, instead of doubling.
    tolerance : float, positive

    Returns
    -------
    xarray.Dataset
        ``u``, or the names of the mapping, (time, x).  Attributes: ``points`` and ``steps`` (of the shortest
        time between frames); ``time_change``, what the last doubling of steps changed, relative; ``tail``,
        the relative size of the last tenth of the Chebyshev coefficients after the start, which tells how
        well the points resolve a solution with a smooth start.

    Raises
    ------
    ConfigError, ShapeError, DataError
        If an argument is out of range, of another length or shape, or not finite.
    DivergedError
        If the solution blows up, or the tolerance is not reached, in space or in time.

    Notes
    -----
    Source: Kassam and Trefethen, SIAM J. Sci. Comput. 26 (2005) 1214, section 6 (Allen-Cahn with walls).
    Order reduction: Hochbruck and Ostermann, SIAM J. Numer. Anal. 43 (2005) 1069, section 5.

    Examples
    --------
    Heat between walls at 0 decays at the rate pi^2:

    >>> found = solve(lambda u, x, t: 0.0, lambda x: np.sin(np.pi * x), diffusivity=1.0, points=24)
    >>> bool(np.isclose(found["u"][-1].sel(x=0.5), np.exp(-np.pi**2), rtol=1e-9))
    True
    """
    named = initial if isinstance(initial, Mapping) else {"u": initial}
    pairs = _pairs(walls, len(named))
    rates = np.atleast_1d(np.asarray(diffusivity, dtype=np.float64))
    if not named or rates.shape not in ((1,), (len(named),)):
        raise ShapeError(f"{_WHO}: {len(named)} species need one diffusivity, or one each, got {rates.size}.")
    whole = all(isinstance(n, Integral | None) for n in (points, resolution))
    if not (whole and (points is None or points >= 4) and tolerance > 0 and len(interval) == 2):
        raise ConfigError(
            f"{_WHO}: needs whole points >= 4 and resolution, tolerance > 0 and interval = (lower, upper), "
            f"got points={points}, resolution={resolution}, tolerance={tolerance}, interval={interval}."
        )
    at = instants(_WHO, times)
    grid = Grid((Axis("x", *interval, resolution, location="node"),))
    rates = np.broadcast_to(rates, len(named))

    def system(size: int) -> tuple[ReactionSystem, Float]:
        line = Chebyshev(size, *interval)
        species = tuple(Diffusion(line, d, *pair) for d, pair in zip(rates.tolist(), pairs, strict=True))
        return ReactionSystem(species, reaction), np.stack(
            [_start(*each, line.points) for each in named.items()]
        )

    frames, steps, change = _converged(system, at, points, tolerance)
    found = frames @ Chebyshev(frames.shape[-1], *interval).interpolation(grid.axes[0].coordinates).T
    conditions = [f"{name}: {a}, {b}" for name, (a, b) in zip(named, pairs, strict=True)]
    about = [{"units": "1", "long_name": name} for name in named]
    return labelled(
        {name: (("time", "x"), found[:, i], about[i]) for i, name in enumerate(named)},
        grid,
        times=at,
        attributes={
            "equation": r"u_t = D u_{xx} + R(u, x, t)",
            "boundary": "; ".join(conditions),
            "solver": "Chebyshev collocation; ETDRK4",
            "diffusivity": rates.tolist(),
            "points": frames.shape[-1],
            "steps": steps,
            "time_change": change,
            "tail": _tail(frames),
        },
    )


def _pairs(walls: Pair | Sequence[Pair], species: int) -> list[Pair]:
    """One pair of walls per species."""
    given = list(walls) if isinstance(walls, Sequence) else []
    pairs = cast("list[Pair]", [given] * species if [type(wall) for wall in given] == [Wall, Wall] else given)
    right = [isinstance(pair, Sequence) and [type(wall) for wall in pair] == [Wall, Wall] for pair in pairs]
    if not (right and all(right)):
        raise ConfigError(
            f"{_WHO}: walls is a pair such as (Wall(), Wall('neumann')), or one per species, got {walls!r}."
        )
    if len(pairs) != species:
        raise ShapeError(f"{_WHO}: {species} species need as many pairs of walls, got {len(pairs)}.")
    return pairs


def _start(name: str, value: Start, x: Float) -> Float:
    """Of one species, at the points."""
    if not callable(value) and np.ndim(value):
        raise ConfigError(
            f"{_WHO}: initial {name} is a number or a function of an array x; for values at nodes give "
            "scipy.interpolate.make_interp_spline(nodes, values)."
        )
    raw = np.asarray(value(x) if callable(value) else value, dtype=np.float64)
    if raw.shape not in ((), x.shape):
        raise ShapeError(f"{_WHO}: initial {name} must return shape {x.shape}, got {raw.shape}.")
    if not np.isfinite(raw).all():
        raise DataError(f"{_WHO}: initial {name} has values that are not finite.")
    return np.broadcast_to(raw, x.shape)


def _converged(
    system: Callable[[int], tuple[ReactionSystem, Float]],
    times: list[float],
    points: int | None,
    tolerance: float,
) -> tuple[Float, int, float]:
    """Frames (len(times), species, points), steps per shortest gap, and what the last doubling changed."""
    gap = float(min(np.diff(times), default=1.0))

    @cache
    def at(size: int) -> tuple[ReactionSystem, Float]:
        return system(size)

    def frames(size: int, steps: int) -> Float:
        equation, start = at(size)
        return equation.run(start, times, step=gap / steps)

    size, steps = points or _LEAST, 1
    found = frames(size, steps)
    while steps < _MOST_STEPS and not np.isfinite(found).all():
        steps *= 2
        found = frames(size, steps)
    while points is None and np.isfinite(found).all():
        if size >= _MOST_POINTS:
            raise DivergedError(
                f"{_WHO}: {size} points do not reach tolerance={tolerance:g}. The solution has a layer or a "
                "jump; take a larger tolerance, or name the points."
            )
        finer = frames(2 * size - 1, steps)
        if _tail(found) <= tolerance and _change(found, finer[..., ::2]) <= tolerance:
            break
        size, found = 2 * size - 1, finer
    change = math.nan
    while steps < _MOST_STEPS:
        steps *= 2
        last, found = found, frames(size, steps)
        change = _change(last, found)
        if change <= tolerance:
            return found, steps, change
    raise DivergedError(
        f"{_WHO}: {steps} steps between frames still change the solution by {change:.1e}, more than "
        f"tolerance={tolerance:g}. It may blow up, the reaction may be too fast, or the tolerance may lie "
        "below rounding."
    )


def _change(coarse: Float, fine: Float) -> float:
    """The largest difference, relative to the largest value."""
    return float(np.abs(fine - coarse).max() / max(np.abs(fine).max(), 1e-300))


def _tail(frames: Float) -> float:
    """The last tenth of the Chebyshev coefficients relative to the largest, frames after the start."""
    from scipy.fft import dct

    coefficients = np.abs(dct(frames[1:], type=1, axis=-1)) if len(frames) > 1 else np.zeros((1, 1))
    last = max(1, frames.shape[-1] // 10)
    return float(coefficients[..., -last:].max() / max(coefficients.max(), 1e-300))
