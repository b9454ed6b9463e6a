"""Potentials: how attention, of a weighting or of a sampler, grows with the residual."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError


class Potential(ABC):
    r"""A convex function :math:`\Phi`; attention to a point is :math:`q = \Phi'(|r|)` over its maximum.

    The gradient of the mean of :math:`\Phi(|r|)` is that of :math:`|r|` with weights
    :math:`\Phi'(|r|)`: the more convex it is, the more the largest residuals count.  Points are weighed with
    q, or drawn with density q.  Only ratios of residuals enter.

    Source: Toscano, Chen, Oommen, Darbon and Karniadakis, A variational framework for residual-based
    adaptivity in neural PDE solvers and operator learning, arXiv:2509.14198 (2025), section 3.
    """

    @abstractmethod
    def slope(self, relative: Tensor, step: int) -> Tensor:
        """q, 1 for the largest residual, from residuals over their maximum, 0 to 1."""

    def attention(self, sizes: Tensor, step: int) -> Tensor:
        """q (n,) at points with residuals of these sizes, none negative; 1 everywhere where all are zero."""
        largest = sizes.max()
        return self.slope(sizes / largest, step) if largest > 0 else torch.ones_like(sizes)


@describable
@dataclass(frozen=True)
class Power(Potential):
    r"""``|r|^exponent``: attention in proportion to ``|r|^(exponent - 1)``.

    Parameters
    ----------
    exponent : float, at least 1
        1 is plain training, 2 the residual-based attention of the first paper.

    Raises
    ------
    ConfigError
        For an exponent below 1, which is not convex.

    Examples
    --------
    >>> Power(3.0).attention(torch.tensor([0.0, 1.0, 2.0]), 0).tolist()
    [0.0, 0.25, 1.0]
    """

    exponent: float = 2.0

    def __post_init__(self) -> None:
        if not self.exponent >= 1:
            raise ConfigError(f"Power: an exponent below 1 is not convex, got {self.exponent}.")

    def slope(self, relative: Tensor, step: int) -> Tensor:
        return relative ** (self.exponent - 1)


@describable
@dataclass(frozen=True)
class Exponential(Potential):
    r"""``exp(|r| / s)``, which leads to the largest residual, with a temperature that falls.

    At step t it is ``s = scale * max|r| / log(t + 2)``, so the attention to a point is
    ``(t + 2)^((|r| / max|r| - 1) / scale)``: from half of the largest for a residual of zero at the first
    step, to a thousandth after a thousand.

    Parameters
    ----------
    scale : float, positive

    Raises
    ------
    ConfigError
        If the scale is not positive.

    Notes
    -----
    The schedule is that of the authors' code.

    Examples
    --------
    >>> Exponential().attention(torch.tensor([0.0, 1.0, 2.0]), 2).tolist()
    [0.25, 0.5, 1.0]
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ConfigError(f"Exponential: scale must be positive, got {self.scale}.")

    def slope(self, relative: Tensor, step: int) -> Tensor:
        return torch.exp((relative - 1) * (math.log(step + 2) / self.scale))
