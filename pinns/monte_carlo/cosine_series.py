"""Values of calls from characteristic functions, by cosine series."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Characteristic = Callable[[Tensor], Tensor]


def cosine_call(characteristic: Characteristic, lower: Tensor, upper: Tensor, terms: int) -> Tensor:
    r"""``E max(e^y - 1, 0)`` for a real random number y at each of n points.

    The density on (lower, upper) is a cosine series, whose coefficients are the real part of the
    characteristic function; those of the payoff are known.  The error of a smooth density falls exponentially
    with the number of terms.

    Parameters
    ----------
    characteristic : function of k (terms,) to E exp(i k y), complex (n, terms), for k (n, terms)
    lower, upper : (n,)
        An interval beyond which y hardly is.
    terms : int

    Notes
    -----
    Source: Fang and Oosterlee, SIAM J. Sci. Comput. 31 (2008) 826, equations 19, 22 and 23.

    Examples
    --------
    y normal with mean -1/2 and variance 1, so that ``E max(e^y - 1, 0) = 2 Phi(1/2) - 1``:

    >>> normal = lambda k: torch.exp(-0.5j * k - k.square() / 2)
    >>> ends = torch.tensor([-10.5], dtype=torch.float64), torch.tensor([9.5], dtype=torch.float64)
    >>> round(cosine_call(normal, *ends, terms=64).item(), 10)
    0.3829249225
    """
    a, b = lower[:, None], upper[:, None]
    c = a.clamp(min=0)  # where the payoff begins
    end = torch.maximum(b, c)
    k = torch.arange(terms, dtype=lower.dtype, device=lower.device) * math.pi / (b - a)
    weight = 2 / (b - a) * (_exponential(k, a, c, end) - _plain(k, a, c, end))
    series = (characteristic(k) * torch.exp(-1j * k * a)).real * weight
    return series.sum(1) - series[:, 0] / 2


def _exponential(k: Tensor, a: Tensor, c: Tensor, b: Tensor) -> Tensor:
    r"""``\int_c^b e^y cos(k (y - a)) dy``."""

    def primitive(y: Tensor) -> Tensor:
        return torch.exp(y) * (torch.cos(k * (y - a)) + k * torch.sin(k * (y - a))) / (1 + k.square())

    return primitive(b) - primitive(c)


def _plain(k: Tensor, a: Tensor, c: Tensor, b: Tensor) -> Tensor:
    r"""``\int_c^b cos(k (y - a)) dy``."""
    first = k == 0
    safe = torch.where(first, 1.0, k)
    waves = (torch.sin(k * (b - a)) - torch.sin(k * (c - a))) / safe
    return torch.where(first, b - c, waves)
