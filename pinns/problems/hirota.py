"""Solitons as second derivatives of logarithms, after Hirota."""

from __future__ import annotations

import torch
from torch import Tensor


def moment(exponents: Tensor, slopes: tuple[float, ...], order: int) -> Tensor:
    r"""``2 ∂^order log(F)``, order 2 or 3, along a coordinate x, for F a sum of exponentials linear in x.

    ``log F`` is the cumulant generating function of the slopes of its exponents, so that the second
    derivative is their variance under the weights of the exponentials, and the third their third moment about
    the mean: no digits are lost, and nothing overflows.

    Parameters
    ----------
    exponents : (n, k)
        Of the k exponentials at n points.
    slopes : k floats
        Their derivatives with respect to x.
    order : int

    Returns
    -------
    (n,)

    Notes
    -----
    Source: R. Hirota, Exact solution of the Korteweg-de Vries equation for multiple collisions of solitons,
    Phys. Rev. Lett. 27 (1971) 1192, for ``u = 2 ∂²log(F)``.

    Examples
    --------
    >>> moment(torch.zeros(1, 2), (1.0, -1.0), 2)  # 2 (log cosh)'' at 0
    tensor([2.])
    """
    weights = torch.softmax(exponents, dim=1)
    values = torch.tensor(slopes, dtype=exponents.dtype, device=exponents.device)
    away = values - (weights * values).sum(1)[:, None]
    return 2 * (weights * away**order).sum(1)
