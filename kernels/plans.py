"""From a differential operator to the smallest set of jets that evaluates it, and their coefficients.

A jet along v gives all derivatives ``D^k u[v, …, v]``, k = 1..K, at once. Every homogeneous part of an
operator is written as ``Σ_r w_r D^k u[v_r, …, v_r]`` (`sciml.kernels.waring`), the highest order first; a
lower order takes the lines that are there already as far as they go, since their lower coefficients cost
nothing.

Nothing here is looked up: published jets for mixed derivatives have turned out to be wrong. Those that Shi et
al. (STDE, arXiv:2412.00088) print for the two-dimensional KdV equation forget terms
(`sciml.kernels.derivatives.expand_jet` shows which), and their value for u_xxxy is off by a multiple of
u_xxt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import torch
from torch import Tensor

from sciml.kernels.derivatives import VARIABLES, Coefficient, Derivative, MultiIndex
from sciml.kernels.lines import Number, absolute, is_exact
from sciml.kernels.planner import SparseLine, Weights, dense_lines, derive

# One operator of a plan, by its number, and one of its coefficients.
Part = tuple[int, Coefficient]


@dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """Jets and coefficients of one or several operators: each is ``Σ_K Σ_r w_r D^K u[v_r, …, v_r] + c u``.

    Parameters
    ----------
    operators : tuple of Derivative
        What it evaluates.
    dim : int
        Variables of the functions.
    lines : R tuples of (variable, entry)
        The directions v_r: coprime integers where possible, else floats with a largest entry of one.
    weights : {order K: {(operator, coefficient): {r: weight}}}
        One set of weights for each coefficient of each operator; the empty coefficient is the constant 1.
        Fractions wherever the lines are exact.

    Notes
    -----
    The number of lines is the least possible for single operators of order 1 (one line) and 2 (the rank of
    the matrix), in two variables (Sylvester), and for single mixed derivatives up to order 4. Among these are
    4 lines for ``d("xxyy")``: the real rank is larger than the complex one, 3, as for every monomial whose
    smallest exponent is above one. Otherwise it is the best that was found. Several orders, variable
    coefficients, or operators are planned one after the other.

    Examples
    --------
    >>> from sciml.kernels.derivatives import d, laplace
    >>> print(d("xxyy").plan(2))
    u_xxyy = -1/6 D⁴[x] - 1/6 D⁴[y] + 1/12 D⁴[x + y] + 1/12 D⁴[x - y]

    The dispersive part of the Zakharov-Kuznetsov equation takes two jets, irrational ones:

    >>> print((d("xxx") + d("xyy")).plan(2))
    u_xxx + u_xyy = 0.5 D³[x - 0.57735 y] + 0.5 D³[x + 0.57735 y]

    Diffusion and drift ride on the jets of a fourth order:

    >>> print(plan([d("xxxx") + d("xx"), d("x")], 1))
    u_xxxx + u_xx = D⁴[x] + D²[x]
    u_x = D¹[x]
    """

    operators: tuple[Derivative, ...]
    dim: int
    lines: tuple[SparseLine, ...]
    weights: Mapping[int, Mapping[Part, Weights]]
    _tensors: dict[object, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @cached_property
    def orders(self) -> tuple[int, ...]:
        """The order of the jet along each line: the highest one that reads it."""
        orders = [0] * len(self.lines)
        for order, parts in self.weights.items():
            for r in {r for weights in parts.values() for r in weights} if order else ():
                orders[r] = max(orders[r], order)
        return tuple(orders)

    @property
    def exact(self) -> bool:
        """Whether all lines are rational, and with them all weights."""
        return all(is_exact([e for _, e in line]) for line in self.lines)

    @cached_property
    def bundles(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Sets of lines, with their order, that are carried together: the same parts read that order."""
        readers: dict[int, set[Part]] = {r: set() for r in range(len(self.lines))}
        for order, parts in self.weights.items():
            for part, weights in parts.items():
                for r in weights if order else ():
                    if self.orders[r] == order:
                        readers[r].add(part)
        found: dict[tuple[int, frozenset[Part]], list[int]] = {}
        for r, order in enumerate(self.orders):
            # First derivatives are one derivative along one line for every operator, whatever reads which.
            found.setdefault((order, frozenset(readers[r] if order > 1 else ())), []).append(r)
        return tuple((order, tuple(lines)) for (order, _), lines in found.items())

    @property
    def columns(self) -> int:
        """Rows per point that an evaluation carries.

        One for u; ``R (K - 1) + 1`` for R lines of order K of which one weighted sum is asked, ``R K`` for
        lines of which several are (for several operators or variable coefficients); one for every operator
        that reads first derivatives along lines of order one.
        """
        total = 1
        for order, lines in self.bundles:
            parts = [part for part, w in self.weights[order].items() if any(r in w for r in lines)]
            if order == 1:
                total += len({operator for operator, _ in parts})
            else:
                total += len(lines) * (order - 1) + (1 if len(parts) == 1 else len(lines))
        return total

    def tensors(
        self, order: int, lines: tuple[int, ...], parts: tuple[Part, ...], like: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Some lines (R, d) and their weights of one order (parts, R), in dtype and device of `like`.

        The result is kept; it is not to be written to.
        """
        if torch.compiler.is_compiling() or type(like) not in (Tensor, torch.nn.Parameter):
            return self._build(order, lines, parts, like)  # a symbolic tensor must not be kept
        key = (order, lines, parts, like.dtype, like.device)
        if key not in self._tensors:
            with torch.inference_mode(False), torch.no_grad():
                self._tensors[key] = self._build(order, lines, parts, like)
        return self._tensors[key]

    def _build(
        self, order: int, lines: tuple[int, ...], parts: tuple[Part, ...], like: Tensor
    ) -> tuple[Tensor, Tensor]:
        vectors = dense_lines([self.lines[r] for r in lines], self.dim)
        table = self.weights[order]
        weights = [[float(table[part].get(r, 0)) for r in lines] for part in parts]
        return vectors.to(like), torch.tensor(weights, dtype=torch.float64).to(like)

    def __str__(self) -> str:
        return "\n".join(f"{operator!r} = {self._sum(o)}" for o, operator in enumerate(self.operators))

    def __repr__(self) -> str:
        operators = ", ".join(map(repr, self.operators))
        return f"Plan({operators}: {len(self.lines)} lines in {self.dim} dimensions)"

    def _sum(self, number: int) -> str:
        text = ""
        for order in sorted(self.weights, reverse=True):
            for (operator, coefficient), weights in self.weights[order].items():
                factors = "".join(f"{factor!r} " for factor in coefficient)
                for r, weight in weights.items() if operator == number else ():
                    sign = "-" if weight < 0 else "+" if text else ""
                    jet = "" if order == 0 else f"D{_superscript(order)}[{self._name(self.lines[r])}]"
                    size = _size(absolute(weight))
                    text += f"{' ' if text else ''}{sign}{' ' if text else ''}{size}{factors}{jet or 'u'}"
        return text or "0"

    def _name(self, line: SparseLine) -> str:
        names = next((o.variables for o in self.operators if o.variables), VARIABLES)
        text = ""
        for i, entry in line:
            sign = "-" if entry < 0 else "+" if text else ""
            name = names[i] if self.dim <= len(names) else f"x_{i}"
            text += f"{' ' if text else ''}{sign}{' ' if text else ''}{_size(absolute(entry))}{name}"
        return text


def plan(operators: Derivative | Sequence[Derivative], dim: int) -> Plan:
    """Derive the jets of one or several operators on functions of `dim` variables.

    Raises
    ------
    ValueError
        If an operator has variables that the functions do not have.

    Examples
    --------
    >>> from sciml.kernels.derivatives import d
    >>> print(plan(d("xxx") + d("x"), 1))
    u_xxx + u_x = D³[x] + D¹[x]
    """
    operators = (operators,) if isinstance(operators, Derivative) else tuple(operators)
    forms: dict[int, dict[Part, dict[MultiIndex, Fraction]]] = {}
    for o, operator in enumerate(operators):
        highest = max((i for _, index in operator.terms for i in index), default=-1)
        if dim < 1 or highest >= dim:
            raise ValueError(
                f"plan: {operator!r} has {highest + 1} variables, but the functions have {dim}. Pass the "
                "dimension of the points, or name their columns in order: d(..., variables=...)."
            )
        for (coefficient, index), value in operator.terms.items():
            forms.setdefault(len(index), {}).setdefault((o, coefficient), {})[index] = value
    orders = sorted(forms, reverse=True)
    structure = tuple(
        tuple(tuple(sorted(form.items())) for form in forms[order].values()) for order in orders
    )
    lines, found = derive(structure)
    weights = {
        order: dict(zip(forms[order], (dict(w) for w in parts), strict=True))
        for order, parts in zip(orders, found, strict=True)
    }
    return Plan(operators, dim, lines, weights)


def _superscript(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _size(number: Number) -> str:
    if isinstance(number, Fraction):
        return "" if number == 1 else f"{number} "
    return "" if abs(number - 1) < 5e-7 else f"{number:.6f}".rstrip("0") + " "
