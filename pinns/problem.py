"""A problem: an equation on a domain, its conditions, and what is known of its solution."""

from __future__ import annotations

import functools
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

import torch
from torch import Generator, Tensor, nn

from sciml.calling import dtype_of, evaluating
from sciml.errors import ConfigError, DataError
from sciml.kernels.estimators import Estimator, Exact
from sciml.pinns.conditions import Condition, Function, Periodic, names_of
from sciml.pinns.diffusions import Diffusion
from sciml.pinns.domain import Box, Domain
from sciml.pinns.sources import Random
from sciml.pinns.unknowns import Kind

if TYPE_CHECKING:
    from sciml.pinns.monte_carlo.expected import Expected

_POINTS = 20_000  # of a reference in many dimensions
_CHUNK = 2**14  # points that are evaluated together


class Estimate(TypedDict):
    """What `sciml.kernels.laplacian` and its like take besides u and x: ``laplacian(u, x, **estimate)``."""

    estimator: Estimator
    generator: Generator | int | None
    draws: int | None


EXACT: Estimate = {"estimator": Exact(), "generator": None, "draws": None}


@dataclass(frozen=True)
class Ansatz:
    """``u(x) = lift(x) + factor(x) N(x)``: conditions that hold whatever the network N.

    With a shift s it is ``lift(x) + factor(x) (2 N(x) - N(x + s(x)))``.  Where s is 0 and its normal
    derivative the normal, the normal derivative of the bracket is 0 and its value N(x): conditions on
    derivatives are built in without a derivative of the network.

    Attributes
    ----------
    satisfies : tuple of str
        Names of the conditions; the loss leaves them out.
    lift, factor : functions of points, optional
        To (n,), of a system (n, outputs); made of operations that jets know.  0 and 1 by default.
    shift : function of points, optional
        To (n, dim), made of operations that jets know.
    """

    satisfies: tuple[str, ...]
    lift: Function | None = None
    factor: Function | None = None
    shift: Function | None = None

    def around(self, network: Function) -> Function:
        """u for a network N from points (n, dim) to (n,), of a system (n, outputs)."""

        def u(x: Tensor) -> Tensor:
            value = network(x)
            if self.shift is not None:
                value = 2 * value - network(x + self.shift(x))
            if self.factor is not None:
                value = self.factor(x) * value
            return value if self.lift is None else self.lift(x) + value

        return u


@dataclass(frozen=True)
class Solution:
    """What a network is measured against.

    Attributes
    ----------
    x : (n, dim), float64
    values : (n, outputs), float64
    error : float
        Relative L2 error of these values, certified by refinement or by rounding.
    source : str
        How they were found.
    shape : tuple of int, optional
        Of the grid of which ``x`` is the list, first coordinate first.
    """

    x: Tensor = field(repr=False)
    values: Tensor = field(repr=False)
    error: float
    source: str
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Classical:
    """A classical solver at one setting: ``solve()`` gives u at the points of the reference, (n, outputs)."""

    name: str
    settings: Mapping[str, Any]
    solve: Callable[[], Tensor]


class Problem(ABC):
    r"""An equation ``residual(u) = 0`` on a domain, with conditions.

    A subclass gives `domain` and `residual`, usually `conditions`, and what else it knows.  Its arguments are
    the numbers of the equation; with ``@describable`` runs can be repeated from their record.

    ``residual(u, x)`` maps a function u, points (n, dim) to values (n,) ((n, outputs) for a system), and
    points x to what should be zero at each of them: (n,), or a mapping from names to that.  It may name
    further arguments: ``estimate``, to be passed on, ``laplacian(u, x, **estimate)``, if it may be estimated
    and returns (draws, n) then; and ``coefficients``, a mapping of the names of unknowns to what they are
    now: a tensor without axes, or a function of points like u.  Conditions take them as `Unknown`.

    Examples
    --------
    >>> from sciml.kernels import d, evaluate
    >>> from sciml.pinns import Box, Dirichlet
    >>> class Beam(Problem):
    ...     domain = Domain(Box(((0.0, 1.0),)))
    ...     conditions = (Dirichlet(0.0),)
    ...     def residual(self, u, x):
    ...         return evaluate(u, x, [d("xx")])[1] + 1.0
    ...     def exact(self, x):
    ...         return x[:, 0] * (1 - x[:, 0]) / 2
    >>> Beam().relative_l2(lambda x: 0 * x[:, 0])
    1.0
    """

    equation: ClassVar[str] = ""
    """The equation in words of mathematics, for tables."""
    source: ClassVar[str] = ""
    """Where this problem, with these numbers, comes from."""
    grid: ClassVar[tuple[int, ...] | None] = None
    """Points per coordinate of the reference; where there is none, as in many dimensions, it is sampled."""
    recipe: ClassVar[str | None] = None
    """The recipe of `sciml.pinns.recipes` that is the best known one here, where that has been measured."""
    windows: ClassVar[int | None] = None
    """Windows of time, one network after the other, in which that recipe solves it; None for one network."""

    @property
    @abstractmethod
    def domain(self) -> Domain:
        """Where the equation holds."""

    @abstractmethod
    def residual(self, u: Function, x: Tensor, *args: Any, **kwargs: Any) -> Tensor | Mapping[str, Tensor]:
        """What should be zero; see above."""

    @property
    def outputs(self) -> int:
        """Components of u."""
        return 1

    @property
    def origin(self) -> Problem:
        """The one of which this is a window of time; itself by default."""
        return self

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What holds besides the equation."""
        return ()

    @property
    def ansatz(self) -> Ansatz | None:
        """How conditions are built into a network, besides periodicity, if that is known."""
        return None

    @property
    def flattens(self) -> bool:
        """Whether the solution comes closer to polynomials of low degree the more coordinates there are."""
        return False

    @property
    def directions(self) -> int | None:
        """How many of space the solution changes along, besides what the ansatz holds, if known to be few."""
        return None

    @property
    def coefficients(self) -> Mapping[str, Kind]:
        """The unknown numbers and functions of an inverse problem."""
        return {}

    @property
    def truth(self) -> Mapping[str, float | Function]:
        """What the unknowns are, where that is known, as of data that were made."""
        return {}

    @property
    def diffusion(self) -> Diffusion | None:
        """The process behind a parabolic equation on all of space, with t counted from the given data."""
        return None

    def energy(self, u: Function, x: Tensor) -> Tensor:
        """The density (n,) whose integral over the domain is least for the solution, if there is one."""
        raise ConfigError(
            f"{type(self).__name__}: has no energy; its solution is not known to be a least one."
        )

    def expected(self, x: Tensor, *, accuracy: float, seed: int = 0) -> Expected:
        """The solution at points (n, dim) as means over random paths, of standard error ``accuracy |u|``.

        By default after Feynman and Kac, for a `diffusion` that is linear.

        Raises
        ------
        DataError
            If there is none.
        """
        from sciml.pinns.monte_carlo import feynman_kac

        if self.diffusion is None or not self.diffusion.linear:
            raise DataError(f"{type(self).__name__}: its solution is not known as a mean over random paths.")
        return feynman_kac(self.diffusion, x, accuracy=accuracy, seed=seed)

    def exact(self, x: Tensor) -> Tensor:
        """The solution at points (n, dim), (n,) or (n, outputs), if there is a formula."""
        raise NotImplementedError

    def solve(self) -> Solution:
        """The solution by a solver of ours; by default the formula on the points of `points`."""
        if type(self).exact is Problem.exact:
            raise DataError(f"{type(self).__name__}: has neither a formula nor a solver for its solution.")
        x, shape = self.points()
        values = self.exact(x).reshape(len(x), -1)
        return Solution(x, values, 1e-15, "formula", shape)

    def classical(self) -> Iterator[Classical]:
        """A classical solver, from coarse to fine; none by default."""
        return iter(())

    # What follows is made of the above.

    def reference(self) -> Solution:
        """What a network is measured against; found once, then kept in the cache folder.

        Raises
        ------
        DataError
            If nothing is known of the solution.
        """
        from sciml.pinns.references import cached

        return cached(self)

    @property
    def has_reference(self) -> bool:
        """Whether anything is known of the solution."""
        cls = type(self)
        return cls.exact is not Problem.exact or cls.solve is not Problem.solve

    def fingerprint(self) -> str:
        """Eight hexadecimal digits of the mathematics: domain, equation, conditions, whatever the code.

        Problems of one name differ between papers, and their errors belong into different tables.
        """
        from sciml.pinns.fingerprints import fingerprint

        return fingerprint(self)

    def points(self) -> tuple[Tensor, tuple[int, ...] | None]:
        """The points (n, dim) of the reference, and the shape of their grid if they are on a whole one.

        Of a region that is no box those of the grid around it that are inside.
        """
        domain = self.domain
        if self.grid is None:
            return self.sample(_POINTS, 0), None
        axes = [
            torch.linspace(a, b, n, dtype=torch.float64)
            for (a, b), n in zip(domain.bounds, self.grid, strict=True)
        ]
        grid = torch.cartesian_prod(*axes).reshape(-1, domain.dim)
        if isinstance(domain.space, Box):
            return grid, self.grid
        return grid[domain.contains(grid)], None

    def sample(self, count: int, seed: int) -> Tensor:
        """Independent points (count, dim), float64, as errors are measured on where there is no grid."""
        return self.domain.interior(Random(torch.Generator().manual_seed(seed)), count)

    def pieces(self, points: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """The reference piece by piece: points (n, dim) and values (n, outputs), float64.

        A problem in very many dimensions makes its points here when they are asked for; there `reference`
        has fewer of them.

        Parameters
        ----------
        points : int, optional
            So many from the start instead of all.
        """
        known = self.reference()
        x, values = known.x[:points], known.values[:points]
        yield from zip(x.split(_CHUNK), values.split(_CHUNK), strict=True)

    def nearest_linear(self) -> tuple[Tensor, Tensor] | None:
        """Bias (outputs,) and weight (outputs, features) of the linear network in the ansatz that is nearest
        to the solution in the mean over `sample`, where they are known; features as in `build`."""
        return None

    def relative_l2(self, u: Function | nn.Module, *, points: int | None = None) -> float:
        """‖u - reference‖ / ‖reference‖ in L2 over all points, or the first ones, and all components."""
        return relative_l2(self, [u], points)[0]

    @property
    def periods(self) -> tuple[int, ...]:
        """The coordinates in which all components are periodic."""
        axes = [(c.axis, c.component) for c in self.conditions if isinstance(c, Periodic)]
        wanted = range(self.outputs)
        return tuple(sorted({axis for axis, _ in axes if all((axis, k) in axes for k in wanted)}))

    def build(
        self, network: Callable[[int, int], nn.Module], *, hard: bool = True, harmonics: int = 1
    ) -> nn.Module:
        """A network as a function on the domain, (n, dim) to (n,), of a system (n, outputs).

        ``network(inputs, outputs)`` makes it; for the rest see `sciml.pinns.Constrained`.  A problem that
        knows a better ansatz makes its own module here, affine in the network, with the names of the
        conditions that it satisfies as attribute ``satisfies``.
        """
        from sciml.pinns.constrained import Constrained, Coordinates

        periodic = self.periods if hard else ()
        features = Coordinates(self.domain.bounds, periodic, harmonics).features
        return Constrained(self, network(features, self.outputs), hard=hard, harmonics=harmonics)

    def satisfied(self) -> tuple[str, ...]:
        """The names of the conditions that can be built into a network."""
        names = names_of(self.conditions)
        periodic = [
            name
            for name, c in zip(names, self.conditions, strict=True)
            if isinstance(c, Periodic) and c.axis in self.periods
        ]
        built = self.ansatz.satisfies if self.ansatz is not None else ()
        if unknown := set(built) - set(names):
            raise ConfigError(
                f"{type(self).__name__}: its ansatz satisfies {', '.join(sorted(unknown))}, but its "
                f"conditions are {', '.join(names) or 'none'}."
            )
        return tuple(name for name in names if name in {*built, *periodic})


def residuals(
    problem: Problem,
    u: Function,
    x: Tensor,
    *,
    coefficients: Mapping[str, Tensor | Function],
    estimate: Estimate = EXACT,
) -> dict[str, Tensor]:
    """The equation's residuals by name, ``equation`` if there is one, with the arguments that it names.

    Raises
    ------
    ConfigError
        If it cannot be estimated, requires what there is not, or does not return one number per point.
    """
    who = type(problem).__name__
    named = _named(type(problem).residual)
    given: dict[str, Any] = {"coefficients": coefficients, "estimate": estimate}
    if "estimate" not in named and not isinstance(estimate["estimator"], Exact):
        raise ConfigError(
            f"{who}: its residual takes no estimate, so {estimate['estimator']} cannot be used. Write "
            "residual(self, u, x, estimate) and pass it on: laplacian(u, x, **estimate)."
        )
    found = problem.residual(u, x, **{name: given[name] for name in given if name in named})
    values = dict(found) if isinstance(found, Mapping) else {"equation": found}
    shapes = [(len(x),)] if estimate["draws"] is None else [(len(x),), (estimate["draws"], len(x))]
    for name, value in values.items():
        if tuple(value.shape) not in shapes:
            raise ConfigError(
                f"{who}: residual {name!r} must be one number per point, shape ({len(x)},), got "
                f"{tuple(value.shape)}."
            )
    return values


@functools.lru_cache(maxsize=256)
def _named(residual: Any) -> frozenset[str]:
    return frozenset(inspect.signature(residual).parameters)


def relative_l2(
    problem: Problem, candidates: Sequence[Function | nn.Module], points: int | None = None
) -> list[float]:
    """`Problem.relative_l2` of several functions, for which the points are made once."""
    wrong, size = [0.0] * len(candidates), 0.0
    for x, values in problem.pieces(points):
        size += float(values.square().sum())
        for k, u in enumerate(candidates):
            wrong[k] += float((predict(u, x, problem.outputs) - values).square().sum())
    return [math.sqrt(error / size) for error in wrong]


def component(u: Function, k: int | None, outputs: int) -> Function:
    """One component of u, (n, dim) to (n,); u itself if it has one only, or for None."""
    if outputs == 1 or k is None:
        return u
    return lambda x: u(x)[:, k]


def predict(u: Function | nn.Module, x: Tensor, outputs: int) -> Tensor:
    """u at many points (n, dim), (n, outputs) in float64 on the processor, in chunks and without graphs."""
    if not isinstance(u, nn.Module):
        with torch.no_grad():
            return torch.cat([u(part).reshape(-1, outputs) for part in x.split(_CHUNK)]).double()
    device = next((p.device for p in u.parameters()), x.device)
    dtype = dtype_of(u) if any(True for _ in u.parameters()) else x.dtype
    with torch.no_grad(), evaluating(u):
        parts = [u(part.to(device, dtype)).reshape(-1, outputs) for part in x.split(_CHUNK)]
        return torch.cat(parts).double().cpu()
