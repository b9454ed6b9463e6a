"""One pass through a function that evaluates it and any number of differential operators of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

import torch
from torch import Generator, Tensor

from sciml.kernels.derivatives import Derivative
from sciml.kernels.entrance import Entrance, Function, enter, is_laplacian, is_untouched, moved
from sciml.kernels.estimators import Estimator, Exact
from sciml.kernels.forms import (
    Form,
    LineForm,
    factors_of_u,
    forms_of,
    sweeps_of,
    values_of,
)
from sciml.kernels.plans import Plan, plan
from sciml.kernels.polynomial import FullPolynomial
from sciml.kernels.radial_product import RadialProduct
from sciml.kernels.sweeps import Sweep, sweep

__all__ = ["Function", "check_points", "evaluate"]


def evaluate(
    u: Function,
    x: Tensor,
    operators: Sequence[Plan | Derivative | Form],
    *,
    estimator: Estimator = Exact(),  # noqa: B008
    generator: Generator | int | None = None,
    draws: int | None = None,
) -> tuple[Tensor, ...]:
    """u and several operators of it, in one pass through u.

    Parameters
    ----------
    u, x, estimator, generator, draws
        As for `laplacian`.
    operators : sequence
        Plans, polynomials in derivatives, or forms of one order like ``LineForm(2)``, the Laplacian in all
        variables, which is not written out term by term. Polynomials in derivatives are planned together:
        with `Exact` each line is carried once, whatever reads it. A plan of several operators counts as all
        of them.

    Returns
    -------
    The values (batch,) of u, and (batch,) or (draws, batch) of each operator.

    Examples
    --------
    >>> import torch
    >>> from sciml.kernels.derivatives import d
    >>> u, u_x, u_yy = evaluate(lambda x: x[:, 0] * x[:, 1] ** 2, torch.ones(1, 2), [d("x"), d("yy")])
    >>> u, u_x, u_yy
    (tensor([1.]), tensor([1.]), tensor([2.]))
    """
    check_points("evaluate", x)
    if draws is not None and draws < 1:
        raise ValueError(f"evaluate: draws must be at least 1, got {draws}.")
    source = torch.Generator().manual_seed(generator) if isinstance(generator, int) else generator
    if all(is_laplacian(operator) for operator in operators):
        if isinstance(u, RadialProduct):
            return _of_product(u, x, len(operators), estimator, source, draws)
        if _is_closed(u, x, estimator):
            value, *laplacians, _ = _of_polynomial(u, x, len(operators), draws)
            return value, *laplacians
    return _evaluate(enter(u, x, operators, estimator), x, operators, estimator, source, draws)


def _of_product(
    u: RadialProduct,
    x: Tensor,
    count: int,
    estimator: Estimator,
    generator: Generator | None,
    draws: int | None,
) -> tuple[Tensor, ...]:
    """Value and Laplacians of a product by the product rule; only the factor that is a network is swept."""
    if _is_closed(u.network, x, estimator):
        value, *laplacians, outward = _of_polynomial(u.network, x, count, draws)
        return u.combine(x, value, outward, laplacians)
    operators = [LineForm(2)] * count
    inside = enter(u.network, x, operators, estimator)
    value, *laplacians, outward = _evaluate(inside, x, operators, estimator, generator, draws, outward=True)
    return u.combine(x, value, outward, laplacians)


def _is_closed(u: Function, x: Tensor, estimator: Estimator) -> TypeGuard[FullPolynomial]:
    """Whether its exact Laplacian is wanted and is known in closed form."""
    return (
        isinstance(u, FullPolynomial)
        and u.out_features == 1
        and is_untouched(u, FullPolynomial)
        and isinstance(estimator, Exact)
        and not torch.is_autocast_enabled(x.device.type)
    )


def _of_polynomial(u: FullPolynomial, x: Tensor, count: int, draws: int | None) -> tuple[Tensor, ...]:
    """Value, Laplacians and x·∇u, as of `_evaluate`."""
    value, outward, laplacian = u.derivatives(x)
    return value, *[laplacian if draws is None else laplacian.expand(draws, -1)] * count, outward


def _evaluate(
    u: Entrance,
    x: Tensor,
    operators: Sequence[Plan | Derivative | Form],
    estimator: Estimator,
    generator: Generator | None,
    draws: int | None,
    *,
    outward: bool = False,
) -> tuple[Tensor, ...]:
    """The values of `evaluate`, and x·∇u (batch,) behind them if `outward`."""
    collected = _Collected(u, estimator, generator, draws or 1)
    for operator in _planned(operators, x):
        collected.add(operator, x)
    if outward:
        collected.sweeps.append(Sweep(u.outward(), ((1, None),)))
    if collected.sweeps:
        value, sums = sweep(u, u.points, collected.sweeps)
    else:
        value, sums = u(u.points), []
    value, sums = _scalar(value, x), [_scalar(s, x) for s in sums]
    for g, scale in collected.scales.items():
        sums[g] = scale * sums[g]
    results = []
    for factor, places in collected.results:
        estimates = []
        for own in places:
            total = torch.zeros_like(value) if factor is None else factor * value
            for g in own:
                total = total + sums[g]
            estimates.append(total)
        results.append(estimates[0] if draws is None else torch.stack(estimates))
    return (value, *results, sums[-1]) if outward else (value, *results)


@dataclass
class _Collected:
    """What one pass has to compute, and where the results are found in it."""

    entrance: Entrance
    estimator: Estimator
    generator: Generator | None
    draws: int
    sweeps: list[Sweep] = field(default_factory=list)
    sums: int = 0
    # What the sums of these numbers are multiplied by.
    scales: dict[int, Tensor] = field(default_factory=dict)
    # For each operator its multiple of u, and for each draw the numbers of the sums that make it up.
    results: list[tuple[Tensor | None, list[list[int]]]] = field(default_factory=list)

    def add(self, operator: Plan | Form, x: Tensor) -> None:
        if not isinstance(operator, Plan):
            self.results.append((None, self._places([operator], x)))
            return
        values = values_of(operator, x)
        factors = factors_of_u(operator, values)
        if not isinstance(self.estimator, Exact):
            for o, factor in enumerate(factors):
                self.results.append((factor, self._places(forms_of(operator, o, values, x), x)))
            return
        sweeps, terms = sweeps_of(operator, values, x)
        for o, factor in enumerate(factors):
            own = [self.sums + k for k, (owner, _) in enumerate(terms) if owner == o]
            self.results.append((factor, [own] * self.draws))
        self.sweeps += [moved(self.entrance, s) for s in sweeps]
        self.scales.update({self.sums + k: scale for k, (_, scale) in enumerate(terms) if scale is not None})
        self.sums += len(terms)

    def _places(self, forms: Sequence[Form], x: Tensor) -> list[list[int]]:
        places: list[list[int]] = [[] for _ in range(self.draws)]
        for form in forms:
            again = self.estimator.is_random(form, x)
            own: list[int] = []
            for k, place in enumerate(places):
                if k == 0 or again:
                    new = self.entrance.estimate(form, self.estimator, self.generator)
                    self.sweeps += [Sweep(g.vectors, ((g.order, g.weights),)) for g in new]
                    own = list(range(self.sums, self.sums + len(new)))
                    self.sums += len(new)
                place += own
        return places


def _planned(operators: Sequence[Plan | Derivative | Form], x: Tensor) -> list[Plan | Form]:
    """Plans for what has none: one for neighbors together."""
    result: list[Plan | Form] = []
    waiting: list[Derivative] = []
    for operator in operators:
        if isinstance(operator, Derivative):
            waiting.append(operator)
            continue
        if isinstance(operator, Plan) and operator.dim != x.shape[1]:
            raise ValueError(
                f"evaluate: the plan is for {operator.dim} variables, the points have {x.shape[1]}. Make it "
                f"again with operator.plan({x.shape[1]})."
            )
        if waiting:
            result.append(plan(waiting, x.shape[1]))
            waiting = []
        result.append(operator)
    return [*result, plan(waiting, x.shape[1])] if waiting else result


def _scalar(value: Tensor, x: Tensor) -> Tensor:
    if value.shape not in ((x.shape[0],), (x.shape[0], 1)):
        raise ValueError(
            f"differential operators: u must map points {tuple(x.shape)} to one value each, shape "
            f"({x.shape[0]},) or ({x.shape[0]}, 1), got {tuple(value.shape)}. Select a component: "
            "lambda x: u(x)[:, 0]."
        )
    return value.reshape(-1)


def check_points(who: str, x: Tensor) -> None:
    if x.ndim != 2 or not x.is_floating_point():
        raise ValueError(
            f"{who}: x must be real points of shape (batch, d), got {tuple(x.shape)}, {x.dtype}."
        )
