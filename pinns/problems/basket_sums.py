"""Sums of correlated lognormal prices: their moments, and calls on laws that have the same."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

_ORDERS = 8  # of powers of variances over time: the rest is below (s^2 t)^9 / 9!
_CHUNK = 2**19  # numbers held together
_REACH = 8.0  # deviations of the common factor
_LEAST = 1e-6  # of a normal density
_SMALLEST = 1e-12  # the shortest time, at which all laws are still laws


class Matched(NamedTuple):
    """What the lognormal law with mean and variance of the sum says, each (n,).

    Attributes
    ----------
    forward : the mean of the sum
    deviation : the standard deviation of its logarithm
    discount
    distance : of the strike from the middle, in deviations
    vega : what the call gains with the deviation, times the square of the deviation
    means : (n, 2), of s and s^2 over the assets, each with its price as weight
    concentration : the sum of squared shares in the variance over that of the basket, a unit of time long
    """

    forward: Tensor
    deviation: Tensor
    discount: Tensor
    distance: Tensor
    vega: Tensor
    means: Tensor
    concentration: Tensor


def price_sums(x: Tensor, s: Tensor, correlation: float) -> Tensor:
    """What matters of the prices ``exp(x_i)`` and of their volatilities s (d,): sums over them, (n, 17).

    They are ``P_k = Σ p_i s_i^k`` for k = 0, ..., 8 with ``p_i = exp(x_i) / d``, and ``Q_k = (1 - ρ^k) / k! Σ
    p_i^2 s_i^{2k}`` for k = 1, ..., 8.
    """
    price = torch.exp(x[:, :-1]) * (1 / len(s))
    return torch.cat([price @ _powers(s), (price * price) @ _squares(s, correlation)], dim=1)


def sums_along_paths(x: Tensor, s: Tensor, rate: float, correlation: float) -> tuple[Tensor, Tensor, Tensor]:
    """The sums y (n, 17), ``(∂_t - L) y`` (n, 17) and ``Σ_ij c_ij ∂_i y_k ∂_j y_l`` (n, 17, 17).

    L is the generator of the prices.
    """
    price = (torch.exp(x[:, :-1]) * (1 / len(s)))[:, :, None]
    once, twice = price * _powers(s), price * price * _squares(s, correlation)
    slopes = torch.cat([once, 2 * twice], dim=2)
    curvature = torch.einsum("i,nik->nk", s.square(), torch.cat([once, 4 * twice], dim=2))
    drift = torch.einsum("i,nik->nk", rate - s.square() / 2, slopes)
    noise = s[:, None] * slopes
    common = noise.sum(1)
    covariance = (1 - correlation) * noise.mT @ noise + correlation * common[:, :, None] * common[:, None]
    return torch.cat([once, twice], dim=2).sum(1), -drift - curvature / 2, covariance


def _powers(s: Tensor) -> Tensor:
    return s[:, None] ** torch.arange(_ORDERS + 1, dtype=s.dtype, device=s.device)


def _squares(s: Tensor, correlation: float) -> Tensor:
    orders = torch.arange(1, _ORDERS + 1, dtype=s.dtype, device=s.device)
    return s[:, None] ** (2 * orders) * ((1 - correlation**orders) * torch.exp(-torch.lgamma(orders + 1)))


def matched(sums: Tensor, t: Tensor, rate: float, correlation: float) -> Matched:
    """Of the mean of prices after the time t (n,), from their sums now, see `price_sums`.

    The covariances ``exp(ρ s_i s_j t)`` are a series of products of sums.
    """
    mean = sums[:, 0]
    shares = sums[:, 1 : _ORDERS + 1] / mean[:, None]
    own = sums[:, _ORDERS + 1 :] / (mean * mean)[:, None]
    relative = 0 * t
    for k in range(_ORDERS, 0, -1):  # Horner's rule, in t
        term = correlation**k / math.factorial(k) * shares[:, k - 1] ** 2 + own[:, k - 1]
        relative = t * (term + relative)
    deviation = torch.sqrt(torch.log1p(relative) + 1e-30)
    forward, discount = mean * torch.exp(rate * t), torch.exp(-rate * t)
    distance = torch.log(forward) / deviation
    upper = distance + deviation / 2
    density = torch.exp(-upper * upper / 2) * (1 / math.sqrt(2 * math.pi))
    # The least is far below what is asked of accuracy, and above rounding: networks count everywhere.
    vega = discount * forward * (density + _LEAST) * deviation * deviation
    return Matched(forward, deviation, discount, distance, vega, shares[:, :2], own[:, 0])


def matched_call(parts: Matched) -> Tensor:
    """The discounted mean of ``max(S - 1, 0)``, (n,), S with that law."""
    upper = torch.special.ndtr(parts.distance + parts.deviation / 2)
    lower = torch.special.ndtr(parts.distance - parts.deviation / 2)
    value: Tensor = parts.discount * (parts.forward * upper - lower)
    return value


def by_factor(x: Tensor, s: Tensor, rate: float, correlation: float, *, moments: int = 4) -> Tensor:
    """The value (n,) of a call on the mean of prices, integrated over the common factor.

    Given the factor the prices are independent, and their mean is taken as a lognormal number with the same
    mean and variance, from three moments shifted such that it has the same skewness, and with four corrected
    for the difference in the fourth cumulant, to first order.  Differentiable.
    """
    d = len(s)
    # As a function of the factor the call turns within this; trapezoids of such a width leave exp(-2 pi^2).
    width = math.sqrt((1 - correlation) / max(correlation, 1e-6) / d)
    count = 2 * math.ceil(_REACH / min(0.25, 0.75 * width)) + 1
    nodes = torch.linspace(-_REACH, _REACH, count, dtype=x.dtype, device=x.device)
    weights = torch.exp(-nodes * nodes / 2)
    weights = weights / weights.sum()
    parts = []
    for part in x.split(max(1, _CHUNK // d)):
        t = part[:, -1:].clamp(min=_SMALLEST)
        growth = ((1 - correlation) * s.square() * t).expm1()
        start = torch.exp(part[:, :-1] + rate * t - correlation * s.square() * t / 2) / d
        slope = s * (correlation * t).sqrt()
        value = torch.zeros_like(t[:, 0])
        for node, weight in zip(nodes, weights, strict=True):
            price = start * torch.exp(slope * node)
            variance = price * price * growth
            cumulants = [price.sum(1), variance.sum(1)]
            if moments > 2:
                cumulants.append((variance * price * growth * (growth + 3)).sum(1))
            if moments > 3:
                cumulants.append((variance.square() * _excess(growth)).sum(1))
            value = value + weight * _call(*cumulants)
        parts.append(torch.exp(-rate * t[:, 0]) * value)
    return torch.cat(parts)


def _call(
    mean: Tensor, variance: Tensor, third: Tensor | None = None, fourth: Tensor | None = None
) -> Tensor:
    """The mean of ``max(S - 1, 0)`` for a lognormal S, shifted where there is a third cumulant."""
    if third is None:
        center, small = mean, variance / (mean * mean)
    else:
        # (w + 2)^2 (w - 1) = skewness^2 for w = exp(deviation^2): Cardano's formula, and the digits of w - 1.
        skewness = third / variance**1.5
        half = skewness * skewness / 2
        root = torch.exp(torch.log1p(half + skewness * (1 + half / 2).sqrt()) / 3)
        small = (root - 1).square() / root
        center = (variance / small).sqrt()
    deviation = torch.log1p(small).sqrt()
    strike = 1 - mean + center
    safe = strike.clamp(min=1e-300)  # of a mean that is shifted beyond the strike
    upper = torch.log(center / safe) / deviation + deviation / 2
    value = center * torch.special.ndtr(upper) - strike * torch.special.ndtr(upper - deviation)
    value = torch.where(strike > 0, value, mean - 1)
    if fourth is None:
        return value
    # A call has the second derivative of the density for each 4! of the cumulant; that of a normal law.
    z = (1 - mean) / variance.sqrt()
    density = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi) * (z * z - 1)
    return value + (fourth / variance.square() - _excess(small)) * variance.sqrt() * density / 24


def _excess(small: Tensor) -> Tensor:
    """``w^4 + 2 w^3 + 3 w^2 - 6``, the fourth cumulant of a lognormal number over its variance squared."""
    return small * (16 + small * (15 + small * (6 + small)))
