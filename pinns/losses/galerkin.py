"""Galerkin's method: the equation holds when tested with modes, instead of at points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add, mul
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from sciml.calling import dtype_of
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.kernels.partials import Partials
from sciml.objective import Batch, Term
from sciml.pinns.conditions import Condition, Dirichlet, Function, Initial, Robin, Value, names_of, value_at
from sciml.pinns.constrained import Constrained
from sciml.pinns.domain import Box
from sciml.pinns.losses.loss import OnPoints
from sciml.pinns.networks.modes import Modes
from sciml.pinns.problem import Problem, residuals
from sciml.pinns.residual import EQUATION, Residual
from sciml.pinns.samplers.sampler import Sampler
from sciml.pinns.samplers.uniform import Uniform

_Wave = Callable[[Tensor], Tensor]  # sine or cosine
_Bounds = tuple[tuple[float, float], ...]
_CHUNK = 2**18  # points at which modes are evaluated together
_IN_TIME = Partials([(0,), (0, 0)], dim=1)
_FOUND: WeakKeyDictionary[Problem, dict[Any, Weak]] = WeakKeyDictionary()  # for windows of one march


@describable
class Galerkin(OnPoints):
    r"""``mean over times of sum_k r_k(t)^2``, with ``r_k = <phi_k, R[u](., t)>`` for the equation R[u] = 0.

    Residuals at points are large where second derivatives are not resolved, as at the jump of a coefficient
    or in a layer, however near a function is to the solution.  Their products with smooth modes are small.

    The network is a `sciml.pinns.networks.Modes` of all coordinates in space, without an ansatz: ``u = sum_k
    c_k(t) phi_k(x)``.  In R derivatives have to stand linearly and without functions of time; whatever there
    is besides, such as ``u^3`` or a source, only knows u at the same point.  Then r is ``A_0 c + A_1 c' + A_2
    c''`` with matrices that are found once, and the rest g(x, t, u), tested at all nodes of a quadrature.
    Initial conditions are tested with the modes too; one point is enough for them.

    Parameters
    ----------
    problem : Problem
        On a box, and in time.
    sampler : Sampler
    points : int or mapping
        As for `Residual`; of the points of the equation only their times count.
    weights : mapping, optional
        Of terms, 1 by default.
    nodes : int or sequence of int
        Of the quadrature along each axis, midpoints of equal cells.
    cell : ((lower, upper), ...), optional
        A part of the box that tells all by symmetry, in which the modes are orthogonal too: where the nodes
        are.

    Raises
    ------
    ConfigError
        If the problem or the network is not of that kind.

    Notes
    -----
    For cosines and conditions ``u_n = 0``, sines and ``u = 0``, integration by parts leaves no terms at the
    boundary: this is the weak form.  Modes are orthogonal, and are divided by their norms here.

    Source: Kharazmi, Zhang and Karniadakis, Variational physics-informed neural networks, arXiv:1912.00873,
    for networks under test functions.

    Examples
    --------
    >>> from functools import partial
    >>> from sciml import Streams
    >>> from sciml.pinns import problems
    >>> problem = problems.Wave()
    >>> model = problem.build(partial(Modes, sines=(range(1, 5),)), hard=False).double()
    >>> loss = Galerkin(problem, points=30, nodes=32)
    >>> loss.terms(model, loss.draw(0, model, Streams(0)))["equation"].values.shape
    torch.Size([30, 4])
    """

    def __init__(
        self,
        problem: Problem,
        *,
        sampler: Sampler = Uniform(),  # noqa: B008 - a frozen value
        points: int | Mapping[str, int] = 40,
        weights: Mapping[str, float] | None = None,
        nodes: int | Sequence[int] = 128,
        cell: Sequence[tuple[float, float]] | None = None,
    ) -> None:
        domain, dim = problem.domain, problem.domain.space.dim
        counts = (nodes,) * dim if isinstance(nodes, int) else tuple(nodes)
        bounds = domain.space.bounds if cell is None else tuple(cell)
        fits = len(counts) == len(bounds) == dim and min(counts, default=0) >= 1
        if not isinstance(domain.space, Box) or domain.time is None or problem.outputs != 1 or not fits:
            raise ConfigError(
                "Galerkin: needs one unknown function on a box and in time, and nodes and a cell along each "
                f"axis; {type(problem).__name__} has {problem.outputs} in {domain}, nodes are {nodes}, the "
                f"cell {cell}."
            )
        self._weights = dict(weights or {})
        others = {name: weight for name, weight in self._weights.items() if name != EQUATION}
        super().__init__(Residual(problem, sampler=sampler, points=points, weights=others))
        self._starts = {
            name: condition
            for name, condition in zip(names_of(problem.conditions), problem.conditions, strict=True)
            if isinstance(condition, Initial)
        }
        axes = [
            lower + (torch.arange(count, dtype=torch.float64) + 0.5) * ((upper - lower) / count)
            for count, (lower, upper) in zip(counts, bounds, strict=True)
        ]
        self._nodes = torch.cartesian_prod(*axes).reshape(-1, dim)
        self._setting = (counts, bounds)
        self._begun: dict[str, Tensor] = {}

    def check(self, model: nn.Module) -> None:
        self._modes(model)
        super().check(model)

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        self._omitted = frozenset({EQUATION, *self._starts, *self._held(self._modes(model))})
        starts = {
            name: self._start(name, model, batch[f"{name}/rows"].to(dtype_of(model))) for name in self._starts
        }
        return super().terms(model, batch) | starts

    def equation(self, model: nn.Module, x: Tensor, batch: Batch) -> dict[str, Term]:
        known, sizes = self.weak(model), self._sizes(model, x)
        r = 0 * sizes[0]
        for size, matrix in zip(sizes, known.matrices, strict=True):
            r = r + size @ matrix.T.to(x)
        if known.semilinear:
            values = self._at_rest(sizes[0] @ known.shapes.T.to(x), x[:, -1])
            r = r + values @ known.tests.to(x)
        return {EQUATION: self._term(EQUATION, r)}

    def weak(self, model: nn.Module) -> Weak:
        """What is found once for a problem and these modes, whatever the window of time."""
        modes, of = self._modes(model), _FOUND.setdefault(self.problem.origin, {})
        key = (modes.wave, tuple(tuple(rates.tolist()) for rates in modes.rates), self._setting)
        if key not in of:
            of[key] = self._found(modes)
        return of[key]

    def _start(self, name: str, model: nn.Module, x: Tensor) -> Term:
        """``<phi_k, u - u_0>`` at the start, or of the rates."""
        known, condition = self.weak(model), self._starts[name]
        if name not in self._begun:
            start = torch.full_like(self._nodes[:, :1], self.problem.domain.bounds[-1][0])
            places = torch.cat([self._nodes, start], dim=1)
            value = 0 * places[:, 0] + torch.as_tensor(value_at(condition.value, places)).detach()
            self._begun[name] = value @ known.tests
        sizes = self._sizes(model, x)[condition.order]
        return self._term(name, sizes * known.norms.to(x) - self._begun[name].to(x))

    def _term(self, name: str, r: Tensor) -> Term:
        # The mean over modes would belittle their sum, which is the mean of R^2 over space.
        return Term(r * r.shape[1] ** 0.5, self._weights.get(name, 1.0), square=True)

    def _sizes(self, model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """c, c' and c'' at the times of points, each (n, modes)."""
        modes = self._modes(model)
        assert isinstance(model, Constrained)
        center, scale = (t[-1].to(x) for t in model.coordinates.scaling)
        c, by = _IN_TIME(lambda t: modes.network((t - center) * scale), x[:, -1:])
        return c, by[0,], by[0, 0]

    def _modes(self, model: nn.Module) -> Modes:
        network = model.network if isinstance(model, Constrained) else None
        if (
            not isinstance(model, Constrained)
            or not isinstance(network, Modes)
            or len(network.rates) != self.problem.domain.space.dim
            or model.ansatz is not None
            or model.coordinates.periodic
        ):
            raise ConfigError(
                "Galerkin: needs problem.build(Modes with sines or cosines of all coordinates, hard=False), "
                f"without periods, got {type(model if network is None else network).__name__}."
            )
        return network

    def _held(self, modes: Modes) -> list[str]:
        """Conditions at the boundary that sines or cosines satisfy."""
        conditions = self.problem.conditions
        return [n for n, c in zip(names_of(conditions), conditions, strict=True) if _holds(c, modes.wave)]

    def _at_rest(self, values: Tensor, t: Tensor) -> Tensor:
        """g at all nodes for values (n, nodes) at times (n,): R of functions without derivatives."""
        n, nodes = values.shape
        places = self._nodes.to(values)
        x = torch.cat([places.repeat(n, 1), t.repeat_interleave(nodes)[:, None]], dim=1)
        return self._residual(lambda x: values.reshape(-1) + 0 * x[:, 0], x).reshape(n, nodes)

    def _residual(self, u: Function, x: Tensor) -> Tensor:
        found = residuals(self.problem.origin, u, x, coefficients=self.coefficients)
        if list(found) != [EQUATION]:
            raise ConfigError(f"Galerkin: {type(self.problem).__name__} has the residuals {list(found)}.")
        return found[EQUATION]

    @torch.no_grad()
    def _found(self, modes: Modes) -> Weak:
        start, end = self.problem.origin.domain.bounds[-1]
        lower, upper = torch.tensor(self.problem.domain.space.bounds, dtype=torch.float64).T
        shapes = modes.shapes((2 * self._nodes - (lower + upper)) / (upper - lower))
        norms = shapes.square().mean(0).sqrt()
        tests = shapes / norms / len(shapes)
        columns = [self._columns(modes, power, start) for power in range(3)]
        # Those of the first and the last mode must add up, at the end as at the start.
        told = torch.stack([column[:, k] for column in columns for k in (0, -1)]).sum(0)
        for t in (start, end):
            found = self._moving(_both(modes, self._bounds, t), t)
            # Rounding of second derivatives leaves 1e-10 or so.
            if not torch.allclose(found, told, rtol=0, atol=1e-6 * float(told.abs().max())):
                raise ConfigError(
                    f"Galerkin: in {type(self.problem).__name__} derivatives do not stand linearly, or not "
                    "with the same coefficients at all times; take the loss Residual."
                )
        trial = (0.1 + shapes.sum(1))[None]
        times = torch.tensor([start, end], dtype=torch.float64)
        semilinear = bool(self._at_rest(trial.expand(2, -1), times).any())
        return Weak(tuple(tests.T @ column for column in columns), shapes, norms, tests, semilinear)

    @property
    def _bounds(self) -> tuple[tuple[float, float], ...]:
        return self.problem.domain.space.bounds

    def _columns(self, modes: Modes, power: int, start: float) -> Tensor:
        """What derivatives bring to R of each mode times ``(t - start)^power / power!``, (nodes, modes)."""
        rates = torch.cartesian_prod(*modes.rates).reshape(modes.count, -1)
        n = len(self._nodes)
        parts = [
            self._moving(
                _moved(modes.wave, part.repeat_interleave(n, 0).unbind(1), self._bounds, power, start),
                start,
                len(part),
            )
            for part in rates.split(max(1, _CHUNK // n))
        ]
        return torch.cat([part.reshape(-1, n) for part in parts]).T

    def _moving(self, u: Function, t: float, times: int = 1) -> Tensor:
        """R without g at the nodes, so many times over, and one time."""
        x = torch.cat([self._nodes, torch.full_like(self._nodes[:, :1], t)], dim=1).repeat(times, 1)
        at_rest = self._at_rest(u(x).reshape(times, -1), torch.full((times,), t, dtype=torch.float64))
        return self._residual(u, x) - at_rest.reshape(-1)


def _holds(condition: Condition, wave: _Wave) -> bool:
    """Whether each sine, or cosine, satisfies a condition at the boundary."""
    if isinstance(condition, Dirichlet):
        return wave is torch.sin and _zero(condition.value)
    slope = isinstance(condition, Robin) and _zero(condition.coefficient) and _zero(condition.value)
    return wave is torch.cos and slope


def _zero(value: Value) -> bool:
    return isinstance(value, int | float) and value == 0


def _moved(
    wave: _Wave, rates: Sequence[Tensor | float], bounds: _Bounds, power: int, start: float
) -> Function:
    """``phi(x) (t - start)^power / power!`` with the rates of the mode along each axis, or at each point."""

    def u(x: Tensor) -> Tensor:
        factors = [
            wave((x[:, i] - lower) * (rates[i] * (2 / (upper - lower))))
            for i, (lower, upper) in enumerate(bounds)
        ]
        return reduce(mul, [*factors, *[x[:, -1] - start] * power]) * (0.5 if power == 2 else 1.0)

    return u


def _both(modes: Modes, bounds: _Bounds, start: float) -> Function:
    """The first and the last mode, times ``1 + (t - start) + (t - start)^2 / 2``."""
    rates = torch.cartesian_prod(*modes.rates).reshape(modes.count, -1)
    parts = [
        _moved(modes.wave, rates[k].tolist(), bounds, p, start)
        for k in (0, modes.count - 1)
        for p in range(3)
    ]
    return lambda x: reduce(add, [part(x) for part in parts])


@dataclass(frozen=True)
class Weak:
    """What `Galerkin` needs of an equation and modes.

    Attributes
    ----------
    matrices : (A_0, A_1, A_2), each (modes, modes)
    shapes : (nodes, modes)
        Modes at the nodes.
    norms : (modes,)
        Roots of the means of their squares.
    tests : (nodes, modes)
        By which what is at the nodes is tested.
    semilinear : bool
        Whether there is anything besides derivatives.
    """

    matrices: tuple[Tensor, ...]
    shapes: Tensor
    norms: Tensor
    tests: Tensor
    semilinear: bool
