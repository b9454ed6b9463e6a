"""Symmetry transforms: shifts, symmetries of the box, Galilean boosts and scalings of whole samples.

Each asks `declared.symmetries_of` (or what the user states) whether the problem has the symmetry, and refuses
others in one sentence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from sciml.datasets.augmentation.augmentation import Augmentation, Problem, Tensors
from sciml.datasets.augmentation.declared import Symmetries, symmetries_of
from sciml.description import describable
from sciml.errors import ConfigError, DataError
from sciml.grid import Grid
from sciml.signed_permutations import GROUPS, SignedPermutation, signed_permutations


@describable
@dataclass(frozen=True)
class Shift(Augmentation):
    """All fields moved along periodic axes, each sample by a distance of its own, uniform over the period.

    By whole points the values only change places; by a fraction of a spacing their trigonometric interpolant
    is shifted, exact for fields that the grid resolves.

    Parameters
    ----------
    axes : names of axes, optional
        By default all along which the problem is the same.
    whole : bool
        Only by whole points: for fields with jumps, or data of a scheme that knows its grid.
    symmetries : Symmetries, optional
        What the user states of an equation that `symmetries_of` does not know.

    Examples
    --------
    >>> grid = Grid.box((4,), periodic=True)
    >>> found = shifted(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]), grid, torch.tensor([[0.25]]))
    >>> found.round(decimals=5).tolist()
    [[[4.0, 1.0, 2.0, 3.0]]]
    """

    axes: tuple[str, ...] = ()
    whole: bool = False
    symmetries: Symmetries | None = None

    def check(self, problem: Problem) -> None:
        known = _known("Shift", self.symmetries, problem)
        wanted = self.axes or known.shifts
        bad = [name for name in wanted if name not in known.shifts]
        if bad or not wanted:
            raise DataError(
                f"Shift: {_named(problem)} allows shifts along {', '.join(known.shifts) or 'no axis'}, not "
                f"along {bad[0] if bad else 'any'}: something that its samples do not carry along depends on "
                "the place."
            )
        bounded = [name for name in wanted if not problem.grid.axis(name).periodic]
        if bounded:
            raise DataError(f"Shift: the axis {bounded[0]!r} is not periodic, so that nothing enters it.")

    def apply(self, tensors: Tensors, problem: Problem, generator: torch.Generator) -> dict[str, Tensor]:
        grid, wanted = problem.grid, self.axes or _known("Shift", self.symmetries, problem).shifts
        count = len(next(iter(tensors.values())))
        part = torch.rand(count, grid.rank, generator=generator, dtype=torch.float64)
        if self.whole:
            sizes = torch.tensor(grid.shape)
            part = (part * sizes).floor() / sizes
        amount = part * _lengths(grid) * torch.tensor([float(a.name in wanted) for a in grid.axes])
        return {
            name: values if _is_number(problem, name) else shifted(values, grid, amount)
            for name, values in tensors.items()
        }


@describable
@dataclass(frozen=True)
class BoxSymmetry(Augmentation):
    """Reflections, quarter turns and permutations of axes, one element of the group for each sample.

    Components of vectors and tensors turn along, pseudoscalars change sign under mirroring.

    Parameters
    ----------
    group : str
        "reflections", "permutations", "rotations" or "full" (the eight symmetries of a square).
    symmetries : Symmetries, optional
        What the user states of an equation that `symmetries_of` does not know.

    Raises
    ------
    ConfigError
        For another group.

    Examples
    --------
    >>> mirror = signed_permutations("reflections", 1)[1]
    >>> velocity = torch.tensor([[1.0, 2.0, 3.0]])
    >>> moved(mirror, velocity, Grid.box((3,)), "vector").tolist()
    [[-3.0, -2.0, -1.0]]
    """

    group: str = "full"
    symmetries: Symmetries | None = None

    def __post_init__(self) -> None:
        if self.group not in GROUPS:
            raise ConfigError(f"BoxSymmetry: group is one of {', '.join(GROUPS)}, got {self.group!r}.")

    def check(self, problem: Problem) -> None:
        known = _known("BoxSymmetry", self.symmetries, problem)
        if known.group not in ("full", self.group):
            raise DataError(
                f"BoxSymmetry: {_named(problem)} has the symmetries {known.group!r} of the box, not "
                f"{self.group!r}."
            )
        grid, sides = problem.grid, [problem.boundary.get(name) for name in problem.grid.names]
        if self.group != "permutations":
            left = [a.name for a in grid.axes if a.location == "left"]
            unequal = [n for n, pair in zip(grid.names, sides, strict=True) if pair and pair[0] != pair[1]]
            if left or unequal:
                what = "boundary, whose right end is not among the points" if left else "boundary conditions"
                raise DataError(
                    f"BoxSymmetry: reflecting the axis {(left or unequal)[0]!r} would move its {what}."
                )
        if self.group != "reflections":
            for (a, on_a), (b, on_b) in pairwise(zip(grid.axes, sides, strict=True)):
                same = (a.size, a.location, a.periodic) == (b.size, b.location, b.periodic)
                if not same or on_a != on_b or not math.isclose(a.upper - a.lower, b.upper - b.lower):
                    raise DataError(
                        f"BoxSymmetry: the group {self.group!r} exchanges axes, but {a.name!r} and "
                        f"{b.name!r} differ in length, points or boundary conditions; use "
                        "group='reflections'."
                    )

    def apply(self, tensors: Tensors, problem: Problem, generator: torch.Generator) -> dict[str, Tensor]:
        kinds = _known("BoxSymmetry", self.symmetries, problem).kinds
        elements = signed_permutations(self.group, problem.grid.rank)
        count = len(next(iter(tensors.values())))
        picked = torch.randint(len(elements), (count,), generator=generator).tolist()
        return {
            name: values
            if _is_number(problem, name)
            else torch.stack(
                [
                    moved(elements[g], part, problem.grid, kinds.get(name, "scalar"))
                    for g, part in zip(picked, values, strict=True)
                ]
            )
            for name, values in tensors.items()
        }


@describable
@dataclass(frozen=True)
class Galilean(Augmentation):
    """The same motion seen from a moving frame: u'(x, t) = u(x - s b t, t) + b, with s of `Symmetries`.

    Time runs from the first frame.  Every field needs a time axis, all axes are periodic, and the velocity of
    the frame along each, b, is uniform in (-speed, speed).  Fields that are no velocity are moved only.

    Parameters
    ----------
    speed : float, positive
    symmetries : Symmetries, optional
        What the user states of an equation that `symmetries_of` does not know.

    Examples
    --------
    >>> from sciml.datasets.burgers import Burgers
    >>> burgers = Burgers(resolution=16, frames=2)
    >>> made = {item.name: item for item in burgers.fields}
    >>> problem = Problem(burgers.grid, made, burgers.about.pde, {}, burgers.times, {})
    >>> Galilean().check(problem)
    """

    speed: float = 1.0
    symmetries: Symmetries | None = None

    def check(self, problem: Problem) -> None:
        known = _known("Galilean", self.symmetries, problem)
        if not known.galilean or not known.velocity:
            raise DataError(f"Galilean: {_named(problem)} is not the same in moving frames.")
        wall = [a.name for a in problem.grid.axes if not a.periodic]
        still = [n for n, f in problem.fields.items() if f.role != "parameter" and not f.time]
        absent = [name for name in known.velocity if name not in problem.fields]
        if wall or still or absent or problem.times is None:
            reason = (
                f"the axis {wall[0]!r} has walls"
                if wall
                else f"the field {still[0]!r} has no time axis"
                if still
                else f"the velocity {absent} is not among the fields"
            )
            raise DataError(f"Galilean: {reason}, so that a moving frame sees another problem.")

    def apply(self, tensors: Tensors, problem: Problem, generator: torch.Generator) -> dict[str, Tensor]:
        known, rank = _known("Galilean", self.symmetries, problem), problem.grid.rank
        count = len(next(iter(tensors.values())))
        boost = self.speed * (2 * torch.rand(count, rank, generator=generator, dtype=torch.float64) - 1)
        assert problem.times is not None
        times = torch.from_numpy(problem.times - problem.times[0])
        amount = known.galilean * boost[:, None] * times[:, None]
        found = dict(tensors)
        for name, values in tensors.items():
            if not _is_number(problem, name):
                found[name] = shifted(values, problem.grid, amount)
        for i, name in enumerate(known.velocity):
            values = found[name]
            added = boost.to(values)
            if _is_number(problem, name):
                found[name] = values + added[:, i]
            else:
                found[name] = values + added.reshape(
                    count, *[1] * (values.ndim - rank - 2), rank, *[1] * rank
                )
        return found


@describable
@dataclass(frozen=True)
class Scaling(Augmentation):
    """Fields and numbers multiplied by powers of one λ for each sample, log-uniform in (1/factor, factor).

    Linear equations scale with their sources; Darcy flow with a fixed source by a' = λ a, u' = u / λ; flows
    whose viscosity and duration are numbers of each sample by u' = λ u, ν' = λ ν, T' = T / λ.

    Parameters
    ----------
    factor : float, at least 1
    symmetries : Symmetries, optional
        What the user states of an equation that `symmetries_of` does not know.

    Raises
    ------
    ConfigError
        If the factor is below 1.

    Examples
    --------
    >>> from sciml.schema import Field
    >>> made = {"f": Field("f", "input"), "u": Field("u", "output")}
    >>> problem = Problem(Grid.box((4,)), made, "poisson", {}, None, {})
    >>> how = Scaling(2.0, Symmetries(powers={"f": 1.0, "u": 1.0}))
    >>> how.check(problem)
    >>> given = {name: torch.ones(1, 1, 4) for name in made}
    >>> new = how.apply(given, problem, torch.Generator().manual_seed(0))
    >>> torch.equal(new["f"], new["u"]), 0.5 < new["u"].max().item() < 2.0
    (True, True)
    """

    factor: float = 2.0
    symmetries: Symmetries | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.factor < math.inf:
            raise ConfigError(f"Scaling: factor must be at least 1 and finite, got {self.factor}.")

    def check(self, problem: Problem) -> None:
        powers = _known("Scaling", self.symmetries, problem).powers
        absent = [name for name in powers if name not in problem.fields]
        if absent or not powers:
            what = f"needs {absent[0]!r} among the fields" if absent else "has no scaling with fixed numbers"
            raise DataError(f"Scaling: {_named(problem)} {what}.")

    def apply(self, tensors: Tensors, problem: Problem, generator: torch.Generator) -> dict[str, Tensor]:
        powers = _known("Scaling", self.symmetries, problem).powers
        count = len(next(iter(tensors.values())))
        exponent = 2 * torch.rand(count, generator=generator, dtype=torch.float64) - 1
        found = dict(tensors)
        for name, power in powers.items():
            values = tensors[name]
            scale = torch.exp(power * math.log(self.factor) * exponent).reshape(-1, *[1] * (values.ndim - 1))
            found[name] = (values * scale.to(values.device)).to(values.dtype)
        return found


def shifted(values: Tensor, grid: Grid, amount: Tensor) -> Tensor:
    """Periodic fields moved, u(x - amount): the trigonometric interpolant at the points, in float64.

    Parameters
    ----------
    values : (batch, [time,] component, *space)
    grid : Grid
    amount : (batch, d) or (batch, time, d)
        Along each axis, in its units; axes that are not to move have zero.  The highest wave of an even
        number of points keeps what a shift leaves of it at the points, its cosine.
    """
    lead = values.ndim - grid.rank
    found = values.double()
    for i, axis in enumerate(grid.axes):
        along = amount[..., i].to(values.device)
        if not along.any():
            continue
        dim = lead + i
        wave = torch.arange(axis.size // 2 + 1, device=values.device)
        angle = 2 * math.pi / (axis.upper - axis.lower) * along[..., None] * wave
        factor = torch.polar(torch.ones_like(angle), -angle)
        if axis.size % 2 == 0:
            factor[..., -1] = angle[..., -1].cos().to(factor.dtype)
        shape = [*along.shape, *[1] * (dim - along.ndim), len(wave), *[1] * (values.ndim - dim - 1)]
        found = torch.fft.irfft(torch.fft.rfft(found, dim=dim) * factor.reshape(shape), axis.size, dim=dim)
    return found.to(values.dtype)


def moved(g: SignedPermutation, values: Tensor, grid: Grid, kind: str = "scalar") -> Tensor:
    """The image of one sample's field ([time,] component, *space) under a symmetry of the box."""
    lead = values.ndim - grid.rank
    image = values.permute(*range(lead), *(lead + axis for axis in g.permutation))
    for i, axis in enumerate(grid.axes):
        if g.flips[i]:
            image = image.flip(lead + i)
            # Of periodic nodes, which leave out the right end, the first one stays where it is.
            image = image.roll(1, lead + i) if axis.periodic and axis.location == "node" else image
    count = image.shape[lead - 1]
    sources, signs = g.channels((kind,) if kind != "scalar" else (), "BoxSymmetry: kind", count)
    sign = image.new_tensor(signs).reshape(-1, *[1] * grid.rank)
    return image.index_select(lead - 1, torch.tensor(sources, device=image.device)) * sign


def _known(who: str, stated: Symmetries | None, problem: Problem) -> Symmetries:
    found = symmetries_of(problem) if stated is None else stated
    if found is None:
        raise DataError(
            f"{who}: the symmetries of {_named(problem)} are not known; state them with "
            "symmetries=Symmetries(...), forcing and walls taken into account."
        )
    return found


def _named(problem: Problem) -> str:
    return f"the equation {problem.pde!r}" if problem.pde else "an equation without a name"


def _is_number(problem: Problem, name: str) -> bool:
    return problem.fields[name].role == "parameter"


def _lengths(grid: Grid) -> Tensor:
    lengths: Sequence[float] = [axis.upper - axis.lower for axis in grid.axes]
    return torch.tensor(lengths, dtype=torch.float64)
