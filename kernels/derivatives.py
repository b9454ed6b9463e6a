"""Polynomials in derivatives: the algebra in which differential operators are written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from math import factorial, prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from sciml.kernels.plans import Plan

VARIABLES = "xyzt"

Scalar = int | float | Fraction
MultiIndex = tuple[int, ...]
CoefficientFunction = Callable[[Tensor], Tensor]


class Factor:
    """A coefficient that is not a number, compared by identity: a tensor, or a function of the points."""

    __slots__ = ("value",)

    def __init__(self, value: Tensor | CoefficientFunction) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Factor) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)

    def __repr__(self) -> str:
        if isinstance(self.value, Tensor):
            return f"tensor{tuple(self.value.shape)}"
        return f"{getattr(self.value, '__name__', type(self.value).__name__)}(x)"

    def at(self, x: Tensor) -> Tensor:
        """Its values at the points x (batch, d): (batch,) or a single number ()."""
        value = self.value if isinstance(self.value, Tensor) else self.value(x)
        if not isinstance(value, Tensor):
            raise ValueError(
                f"Derivative: the coefficient {self!r} must return a tensor with one number per point, got "
                f"{type(value).__name__}."
            )
        if value.shape == (x.shape[0], 1):
            value = value.squeeze(1)
        if value.shape not in ((), (x.shape[0],)):
            raise ValueError(
                f"Derivative: the coefficient {self!r} must be one number per point, shape ({x.shape[0]},), "
                f"or a single number, shape (), got {tuple(value.shape)}."
            )
        return value.to(x) if value.dtype != x.dtype or value.device != x.device else value


# A product of factors, sorted; the empty one belongs to constant coefficients.
Coefficient = tuple[Factor, ...]


class Derivative:
    """A linear differential operator ``Σ c_α(x) ∂^α``: sums, differences, multiples and products of `d`.

    Coefficients are numbers (kept exactly, as fractions), tensors with one value per point ``(batch,)`` or a
    single one ``()`` (for instance an unknown of an inverse problem; gradients reach it), and functions from
    the points ``(batch, d)`` to ``(batch,)``. Terms with the same tensor or function are planned together.

    Parameters
    ----------
    terms : {(coefficient, multi-index): fraction}
        A multi-index lists the variables, sorted: ``(0, 0, 1)`` is ∂³/∂x_0²∂x_1; the empty one is u itself.
    variables : str
        The names of the variables, for printing; empty if they have none.

    Notes
    -----
    The product of two operators is their composition. The right factor must have constant coefficients,
    because otherwise the product rule would have to differentiate them.

    Examples
    --------
    >>> d("xx") + 2 * d("xy") - d("y") / 3
    u_xx + 2 u_xy - 1/3 u_y
    >>> (d("xx") + d("yy")) ** 2
    u_xxxx + 2 u_xxyy + u_yyyy
    >>> d(0, 0, 1) == d("xyx")
    True
    >>> def speed(x):
    ...     return x[:, 0] ** 2
    >>> d("t") + speed * d("x")
    u_t + speed(x) u_x
    """

    __slots__ = ("terms", "variables")

    def __init__(
        self, terms: Mapping[tuple[Coefficient, MultiIndex], Fraction], variables: str = VARIABLES
    ) -> None:
        self.terms = {key: value for key, value in terms.items() if value}
        self.variables = variables

    @property
    def order(self) -> int:
        """The highest order of its derivatives."""
        return max((len(index) for _, index in self.terms), default=0)

    def plan(self, dim: int) -> Plan:
        """The jets that evaluate it on functions of `dim` variables, see `sciml.kernels.plans.Plan`."""
        from sciml.kernels.plans import plan  # plans are built from derivatives

        return plan(self, dim)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Derivative) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(frozenset(self.terms.items()))

    def __add__(self, other: Derivative | Scalar) -> Derivative:
        other = _operator(other)
        terms = dict(self.terms)
        for key, value in other.terms.items():
            terms[key] = terms.get(key, Fraction(0)) + value
        return Derivative(terms, _common_names(self, other))

    __radd__ = __add__

    def __neg__(self) -> Derivative:
        return self * -1

    def __sub__(self, other: Derivative | Scalar) -> Derivative:
        return self + -_operator(other)

    def __rsub__(self, other: Scalar) -> Derivative:
        return -self + other

    def __mul__(self, other: Derivative | Scalar) -> Derivative:
        other = _operator(other)
        if any(coefficient for coefficient, _ in other.terms):
            raise ValueError(
                "Derivative: the right factor of a composition must have constant coefficients, got "
                f"{other!r}. Write the product rule out: ∂(c ∂u) = c ∂²u + (∂c) ∂u."
            )
        terms: dict[tuple[Coefficient, MultiIndex], Fraction] = {}
        for (coefficient, left), a in self.terms.items():
            for (_, right), b in other.terms.items():
                key = (coefficient, tuple(sorted(left + right)))
                terms[key] = terms.get(key, Fraction(0)) + a * b
        return Derivative(terms, _common_names(self, other))

    def __rmul__(self, other: Scalar | Tensor | CoefficientFunction) -> Derivative:
        if isinstance(other, int | float | Fraction):
            return self * other
        if not isinstance(other, Tensor) and not callable(other):
            return NotImplemented
        factor = Factor(other)
        terms = {
            (tuple(sorted((*coefficient, factor), key=hash)), index): value
            for (coefficient, index), value in self.terms.items()
        }
        return Derivative(terms, self.variables)

    def __truediv__(self, number: Scalar) -> Derivative:
        return self * (1 / _fraction(number))

    def __pow__(self, exponent: int) -> Derivative:
        if exponent < 0:
            raise ValueError(f"Derivative: a power must have an exponent of at least 0, got {exponent}.")
        result = _operator(1)
        for _ in range(exponent):
            result = result * self
        return result

    def __repr__(self) -> str:
        text = ""
        for (coefficient, index), value in self.terms.items():
            size = "" if abs(value) == 1 else f"{abs(value)} "
            sign = "-" if value < 0 else "+" if text else ""
            factors = "".join(f"{factor!r} " for factor in coefficient)
            text += f"{' ' if text else ''}{sign}{' ' if text else ''}{size}{factors}{self._name(index)}"
        return text or "0"

    def _name(self, index: MultiIndex) -> str:
        if not index:
            return "u"
        if max(index) < len(self.variables):
            return "u_" + "".join(self.variables[i] for i in index)
        return f"u_{{{','.join(map(str, index))}}}"


def d(*names: str | int, variables: str = VARIABLES) -> Derivative:
    """A single partial derivative, by the names or by the numbers of its variables.

    Parameters
    ----------
    names : one string or some integers
        ``d("xxy")`` and ``d(0, 0, 1)`` are both ∂³/∂x²∂y. Without any: u itself.
    variables : str
        The letter of each column of the points, in order: ``d("t", variables="xt")`` for points (x, t).

    Raises
    ------
    ValueError
        If a letter is no variable, or a number is negative.

    Examples
    --------
    >>> d("xt", variables="xt") == d(0, 1)
    True
    """
    if len(set(variables)) != len(variables):
        raise ValueError(f"d: the names of variables must differ, got variables={variables!r}.")
    letters = [letter for name in names for letter in (name if isinstance(name, str) else (name,))]
    for letter in letters:
        if isinstance(letter, str) and letter not in variables:
            raise ValueError(
                f"d: {letter!r} is none of the variables {variables!r}. Name them in the order of the "
                f'columns of the points, d("xt", variables="xt"), or give their numbers, d(0, 1).'
            )
        if not isinstance(letter, str) and (not isinstance(letter, int) or letter < 0):
            raise ValueError(f"d: variables are letters or numbers counted from 0, got {letter!r}.")
    index = [variables.index(letter) if isinstance(letter, str) else letter for letter in letters]
    named = any(isinstance(name, str) for name in names)
    return Derivative({((), tuple(sorted(index))): Fraction(1)}, variables if named else "")


def laplace(over: int | str, *, variables: str = VARIABLES) -> Derivative:
    """``Σ_i ∂²/∂x_i²`` over the first `over` variables, or over those named in `over`.

    Examples
    --------
    >>> d("t") - laplace("xy")
    u_t - u_xx - u_yy
    >>> laplace(2) ** 2
    u_{0,0,0,0} + 2 u_{0,0,1,1} + u_{1,1,1,1}
    """
    if isinstance(over, str):
        parts = [d(letter * 2, variables=variables) for letter in over]
    else:
        parts = [d(i, i) for i in range(over)]
    if not parts:
        raise ValueError(f"laplace: expected at least one variable, got {over!r}.")
    terms = {key: value for part in parts for key, value in part.terms.items()}
    return Derivative(terms, parts[0].variables)


def expand_jet(tangents: Mapping[int, Derivative], order: int) -> Derivative:
    """What the derivative of a jet measures: ``d^k/dt^k u(x + Σ_j t^j/j! x_j)`` at t = 0 as an operator on u.

    By the formula of Faà di Bruno it is the sum over all ways to write ``k = Σ_j j p_j`` with the slots j, of
    ``k! / Π_j (p_j! (j!)^{p_j}) Π_j (x_j·∇)^{p_j}``.

    Parameters
    ----------
    tangents : {j: first-order operator}
        The tangent x_j of each slot as the derivative along it, ``d("x")`` for a unit vector.
    order : int
        k.

    Examples
    --------
    The jet that Shi et al. (STDE, arXiv:2412.00088) use for the two-dimensional KdV equation. They read
    u_xxxy from it after division by 200200, which forgets a term:

    >>> expand_jet({3: d("x"), 4: d("y"), 7: d("t")}, 13)
    200200 u_xxxy + 17160 u_xxt
    """
    if order < 0 or any(slot < 1 for slot in tangents):
        raise ValueError(
            f"expand_jet: slots count from 1 and the order from 0, got {sorted(tangents)}, {order}."
        )
    result = Derivative({}, "")
    for partition in _partitions(order, sorted(tangents)):
        size = Fraction(
            factorial(order), prod(factorial(p) * factorial(slot) ** p for slot, p in partition.items())
        )
        term = _operator(size)
        for slot, p in partition.items():
            term = term * tangents[slot] ** p
        result = result + term
    return result


def _partitions(total: int, slots: list[int]) -> Iterator[dict[int, int]]:
    """All p with Σ_j j p_j = total over the slots j."""
    if not slots:
        if total == 0:
            yield {}
        return
    for p in range(total // slots[-1] + 1):
        for rest in _partitions(total - p * slots[-1], slots[:-1]):
            yield {**rest, slots[-1]: p} if p else rest


def evaluate_coefficient(coefficient: Coefficient, x: Tensor) -> Tensor:
    """The product of the factors at the points x: (batch,) or ()."""
    value = torch.ones((), dtype=x.dtype, device=x.device)
    for factor in coefficient:
        value = value * factor.at(x)
    return value


def _fraction(number: Scalar) -> Fraction:
    try:
        return Fraction(number)
    except (ValueError, OverflowError):
        raise ValueError(f"Derivative: a coefficient must be finite, got {number}.") from None


def _operator(value: Derivative | Scalar) -> Derivative:
    if isinstance(value, Derivative):
        return value
    if not isinstance(value, int | float | Fraction):
        raise ValueError(
            f"Derivative: expected an operator or a number, got {type(value).__name__}. A tensor or a "
            'function is a coefficient and stands on the left, c * d("xx").'
        )
    return Derivative({((), ()): _fraction(value)}, "")


def _common_names(left: Derivative, right: Derivative) -> str:
    if left.variables and right.variables and left.variables != right.variables:
        raise ValueError(
            f"Derivative: operators over the variables {left.variables!r} and {right.variables!r} do not "
            "combine. Pass the same variables=... to both."
        )
    return left.variables or right.variables
