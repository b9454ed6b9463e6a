r"""Taylor coefficients ``f^(m)(u) / m!``, m = 0, 1, ..., of elementary functions, called ladders.

A ladder is what a function has to tell about itself to be applied to jets: from values u and the highest m it
makes the list of m + 1 tensors like u, None standing for zero. One or two transcendental functions are
evaluated, the rest are recurrences; all of it is differentiable by autograd.

Source: A. Griewank, A. Walther, Evaluating Derivatives (2008), table 13.2, for the recurrences.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb, factorial, log, pi, sqrt

import torch
from torch import Tensor
from torch.nn import functional as F

Coefficients = list[Tensor | None]
LadderFunction = Callable[[Tensor, int], Coefficients]


# How ladders are made of others.


def multiplied(a: Coefficients, b: Coefficients) -> Coefficients:
    """The ladder of a product f g."""
    result: Coefficients = []
    for m in range(len(a)):
        total: Tensor | None = None
        for x, y in zip(a[: m + 1], reversed(b[: m + 1]), strict=True):
            if x is not None and y is not None:
                total = x * y if total is None else total + x * y
        result.append(total)
    return result


def composed(outer: LadderFunction, inner: Coefficients) -> Coefficients:
    """The ladder of f(g(u)), from the ladder function of f and the ladder of g at u."""
    assert inner[0] is not None
    order = len(inner) - 1
    result = outer(inner[0], order)
    factors, power = result[1:], [None, *inner[1:]]
    total: Coefficients = [result[0]] + [None] * order
    for m, factor in enumerate(factors, start=1):
        if m > 1:
            power = multiplied(power, [None, *inner[1:]])
        for k in range(m, order + 1):
            coefficient = power[k]
            if factor is not None and coefficient is not None:
                term, so_far = factor * coefficient, total[k]
                total[k] = term if so_far is None else so_far + term
    return total


def primitive(value: Tensor, slope: Coefficients) -> Coefficients:
    """The ladder of f with value f(u), from that of f' (at least up to one order less)."""
    return [value, *(None if s is None else s / m if m > 1 else s for m, s in enumerate(slope, start=1))]


def by_itself(ladder: Coefficients, u: Tensor) -> Coefficients:
    """The ladder of u f(u)."""
    return multiplied([u, torch.ones_like(u), *[None] * (len(ladder) - 2)][: len(ladder)], ladder)


def scaled(ladder: Coefficients, factor: float) -> Coefficients:
    """The ladder of f(a u) from that of f at a u."""
    return [None if c is None else c * factor**m if m else c for m, c in enumerate(ladder)]


def negated(ladder: Coefficients) -> Coefficients:
    """The ladder of -f."""
    return [None if c is None else -c for c in ladder]


def polynomial(u: Tensor, order: int, coefficients: list[float]) -> Coefficients:
    """``Σ_n c_n u^n``, expanded about u by Horner's rule."""
    result: Coefficients = [None] * (order + 1)
    for m in range(min(order, len(coefficients) - 1) + 1):
        total = torch.zeros_like(u)
        for n in range(len(coefficients) - 1, m - 1, -1):
            total = total * u + coefficients[n] * comb(n, m)
        result[m] = total
    return result


# Elementary functions.


def exp(u: Tensor, order: int) -> Coefficients:
    value = torch.exp(u)
    return [value if m < 2 else value / factorial(m) for m in range(order + 1)]


def exp2(u: Tensor, order: int) -> Coefficients:
    return scaled(exp(log(2.0) * u, order), log(2.0))


def expm1(u: Tensor, order: int) -> Coefficients:
    return [torch.expm1(u), *exp(u, order)[1:]]


def reciprocal(u: Tensor, order: int) -> Coefficients:
    inverse = torch.reciprocal(u)
    result = [inverse]
    for _ in range(order):
        result.append(-result[-1] * inverse)
    return list(result)


def logarithm(u: Tensor, order: int) -> Coefficients:
    return primitive(torch.log(u), reciprocal(u, max(order - 1, 0))[:order])


def log2(u: Tensor, order: int) -> Coefficients:
    return [torch.log2(u), *(None if c is None else c / log(2.0) for c in logarithm(u, order)[1:])]


def log10(u: Tensor, order: int) -> Coefficients:
    return [torch.log10(u), *(None if c is None else c / log(10.0) for c in logarithm(u, order)[1:])]


def log1p(u: Tensor, order: int) -> Coefficients:
    return [torch.log1p(u), *logarithm(1.0 + u, order)[1:]]


def power(u: Tensor, order: int, exponent: float | Tensor) -> Coefficients:
    """``u^r``: ``binom(r, m) u^(r-m)``. For r = 0, 1, 2, ... also at u = 0."""
    whole = not isinstance(exponent, Tensor) and float(exponent).is_integer() and exponent >= 0
    if whole:
        r = int(exponent)
        lower = [comb(r, m) * u ** (r - m) if m < r else torch.ones_like(u) for m in range(min(order, r) + 1)]
        return [*lower, *[None] * (order + 1 - len(lower))]
    result = [torch.pow(u, exponent)]
    inverse = torch.reciprocal(u)
    for m in range(1, order + 1):
        result.append(result[-1] * inverse * ((exponent - (m - 1)) / m))
    return list(result)


def square(u: Tensor, order: int) -> Coefficients:
    return power(u, order, 2)


def root(u: Tensor, order: int) -> Coefficients:
    return power(u, order, 0.5)


def reciprocal_root(u: Tensor, order: int) -> Coefficients:
    return power(u, order, -0.5)


def sine(u: Tensor, order: int) -> Coefficients:
    return _cycle([torch.sin(u), torch.cos(u)], order, -1.0)


def cosine(u: Tensor, order: int) -> Coefficients:
    return _cycle([torch.cos(u), -torch.sin(u)], order, -1.0)


def sinh(u: Tensor, order: int) -> Coefficients:
    return _cycle([torch.sinh(u), torch.cosh(u)], order, 1.0)


def cosh(u: Tensor, order: int) -> Coefficients:
    return _cycle([torch.cosh(u), torch.sinh(u)], order, 1.0)


def _cycle(pair: list[Tensor], order: int, sign: float) -> Coefficients:
    """From f and f' if f'' = ± f."""
    return [pair[m] if m < 2 else pair[m % 2] * (sign ** (m // 2) / factorial(m)) for m in range(order + 1)]


def tanh(u: Tensor, order: int) -> Coefficients:
    """``v' = 1 - v^2``."""
    v = [torch.tanh(u)]
    if order:
        v.append(torch.addcmul(u.new_ones(()), v[0], v[0], value=-1.0))
    for k in range(1, order):
        if k == 1:
            v.append(torch.mul(v[0], v[1]).neg_())
        elif k == 2:  # -v v_2 - v_1 / 3
            v.append(torch.addcmul(v[1] * (-1.0 / 3.0), v[0], v[2], value=-1.0))
        else:
            v.append(_square(v, k) * (-1.0 / (k + 1)))
    return list(v)


def tan(u: Tensor, order: int) -> Coefficients:
    """``v' = 1 + v^2``."""
    v = [torch.tan(u)]
    if order:
        v.append(1.0 + v[0] * v[0])
    for k in range(1, order):
        v.append(_square(v, k) * (1.0 / (k + 1)))
    return list(v)


def sigmoid(u: Tensor, order: int) -> Coefficients:
    """``v' = v - v^2``."""
    v = [torch.sigmoid(u)]
    for k in range(order):
        v.append((v[k] - _square(v, k)) * (1.0 / (k + 1)))
    return list(v)


def _square(v: list[Tensor], k: int) -> Tensor:
    """``Σ_j v_j v_{k-j}``, every product once."""
    if k == 0:
        return v[0] * v[0]
    total = v[0] * v[k]
    for j in range(1, (k + 1) // 2):
        total = torch.addcmul(total, v[j], v[k - j])
    total = 2.0 * total
    return total if k % 2 else torch.addcmul(total, v[k // 2], v[k // 2])


def _gaussian(u: Tensor, order: int, rate: float, height: float) -> Coefficients:
    """``g = c exp(-a u^2)`` by ``g' = -2 a u g``."""
    g = [height * torch.exp(-rate * u * u)]
    for k in range(order):
        total = u * g[k]
        if k:
            total = total + g[k - 1]
        g.append(total * (-2.0 * rate / (k + 1)))
    return list(g)


def erf(u: Tensor, order: int) -> Coefficients:
    return primitive(torch.erf(u), _gaussian(u, max(order - 1, 0), 1.0, 2.0 / sqrt(pi))[:order])


def erfc(u: Tensor, order: int) -> Coefficients:
    return [torch.erfc(u), *negated(erf(u, order)[1:])]


def normal_cdf(u: Tensor, order: int) -> Coefficients:
    return primitive(
        torch.special.ndtr(u), _gaussian(u, max(order - 1, 0), 0.5, 1.0 / sqrt(2.0 * pi))[:order]
    )


def arctan(u: Tensor, order: int) -> Coefficients:
    return _of_slope(torch.atan(u), u, order, [1.0, 0.0, 1.0], -1.0)


def artanh(u: Tensor, order: int) -> Coefficients:
    return _of_slope(torch.atanh(u), u, order, [1.0, 0.0, -1.0], -1.0)


def arcsin(u: Tensor, order: int) -> Coefficients:
    return _of_slope(torch.asin(u), u, order, [1.0, 0.0, -1.0], -0.5)


def arccos(u: Tensor, order: int) -> Coefficients:
    return [torch.acos(u), *negated(arcsin(u, order)[1:])]


def arsinh(u: Tensor, order: int) -> Coefficients:
    return _of_slope(torch.asinh(u), u, order, [1.0, 0.0, 1.0], -0.5)


def arcosh(u: Tensor, order: int) -> Coefficients:
    return _of_slope(torch.acosh(u), u, order, [-1.0, 0.0, 1.0], -0.5)


def _of_slope(
    value: Tensor, u: Tensor, order: int, coefficients: list[float], exponent: float
) -> Coefficients:
    """f with ``f' = p(u)^r``, p a polynomial."""
    if not order:
        return [value]
    inner = polynomial(u, order - 1, coefficients)
    return primitive(value, composed(lambda p, m: power(p, m, exponent), inner))


# Activations.


def silu(u: Tensor, order: int) -> Coefficients:
    return by_itself(sigmoid(u, order), u)


def gelu(u: Tensor, order: int) -> Coefficients:
    return by_itself(normal_cdf(u, order), u)


def gelu_tanh(u: Tensor, order: int) -> Coefficients:
    """``u (1 + tanh(√(2/π) (u + 0.044715 u^3))) / 2``."""
    c = sqrt(2.0 / pi)
    inner = composed(tanh, polynomial(u, order, [0.0, c, 0.0, 0.044715 * c]))
    assert inner[0] is not None
    return by_itself([0.5 + 0.5 * inner[0], *(None if i is None else 0.5 * i for i in inner[1:])], u)


def mish(u: Tensor, order: int) -> Coefficients:
    return by_itself(composed(tanh, softplus(u, order)), u)


def softplus(u: Tensor, order: int, beta: float = 1.0, threshold: float = 20.0) -> Coefficients:
    """``log(1 + exp(β u)) / β``; above β u = threshold torch continues it by u, and so do we."""
    value = F.softplus(u, beta, threshold)
    slopes = scaled(sigmoid(beta * u, max(order - 1, 0)), beta)[:order]
    linear = beta * u > threshold
    masked = [None if s is None else torch.where(linear, float(m == 0), s) for m, s in enumerate(slopes)]
    return primitive(value, list(masked))


def logsigmoid(u: Tensor, order: int) -> Coefficients:
    return primitive(F.logsigmoid(u), scaled(sigmoid(-u, max(order - 1, 0)), -1.0)[:order])


def tanhshrink(u: Tensor, order: int) -> Coefficients:
    first, *others = negated(tanh(u, order))
    assert first is not None
    slope = [1.0 + others[0]] if others and others[0] is not None else []
    return [u + first, *slope, *others[1:]]


# Piecewise functions: the piece is chosen by the value, and derivatives are those of the piece.


def piecewise_linear(value: Tensor, slope: Tensor, order: int) -> Coefficients:
    return [value, slope.to(value.dtype), *[None] * order][: order + 1]


def relu(u: Tensor, order: int) -> Coefficients:
    return piecewise_linear(torch.relu(u), u > 0, order)


def absolute(u: Tensor, order: int) -> Coefficients:
    return piecewise_linear(torch.abs(u), torch.sign(u), order)


def leaky_relu(u: Tensor, order: int, negative_slope: float = 0.01) -> Coefficients:
    slope = torch.ones_like(u).masked_fill(u <= 0, negative_slope)
    return piecewise_linear(F.leaky_relu(u, negative_slope), slope, order)


def clamp(u: Tensor, order: int, low: float | None, high: float | None) -> Coefficients:
    inside = torch.ones_like(u, dtype=torch.bool)
    if low is not None:
        inside = inside & (u >= low)
    if high is not None:
        inside = inside & (u <= high)
    return piecewise_linear(torch.clamp(u, low, high), inside, order)


def elu(u: Tensor, order: int, alpha: float = 1.0) -> Coefficients:
    return _exponential_unit(u, order, alpha, 1.0, 1.0)


def celu(u: Tensor, order: int, alpha: float = 1.0) -> Coefficients:
    return _exponential_unit(u, order, alpha, 1.0, 1.0 / alpha)


def selu(u: Tensor, order: int) -> Coefficients:
    """With the constants of Klambauer et al., Self-normalizing neural networks (2017), equation 14."""
    return _exponential_unit(u, order, 1.6732632423543772, 1.0507009873554805, 1.0)


def _exponential_unit(u: Tensor, order: int, alpha: float, scale: float, rate: float) -> Coefficients:
    """``s u`` for u > 0, else ``s α (exp(r u) - 1)``."""
    positive = u > 0
    low = u.clamp(max=0.0)
    below = scaled(exp(rate * low, order), rate)
    result: Coefficients = [torch.where(positive, scale * u, scale * alpha * torch.expm1(rate * low))]
    for m, coefficient in enumerate(below[1:], start=1):
        assert coefficient is not None
        result.append(torch.where(positive, scale if m == 1 else 0.0, scale * alpha * coefficient))
    return result
