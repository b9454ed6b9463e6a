"""The wavelet activation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sciml.description import describable


@describable
class Wavelet(nn.Module):
    r"""``a sin(x) + b cos(x)`` with two trained numbers, 1 at first.

    That is ``hypot(a, b) sin(x + atan2(b, a))``: a wave whose height and phase are learned, while its
    frequency comes from the layer in front.  An activation for any network, as in
    ``MLP(2, 1, activation=Wavelet)``; each instance has numbers of its own.

    Notes
    -----
    Source: Zhao, Ding and Prakash, PINNsFormer, ICLR 2024, arXiv:2307.11833.

    Examples
    --------
    >>> Wavelet()(torch.zeros(2, 1)).tolist()
    [[1.0], [1.0]]
    """

    def __init__(self) -> None:
        super().__init__()
        self.sine, self.cosine = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.sine * torch.sin(x) + self.cosine * torch.cos(x)
