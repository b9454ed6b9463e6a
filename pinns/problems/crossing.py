"""Solitary waves that cross: solutions that are sums, at the price of a source term."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from sciml.pinns.conditions import Dirichlet, Initial, Neumann, Robin
from sciml.pinns.problem import Problem


class CrossingWaves(Problem):
    """``u_t + 6 u^p u_x + L u = f``, L linear, for a sum of waves that solve the equation without f.

    So f is what the waves w_i do to each other, ``6 (u^p u_x - sum_i w_i^p w_i,x)``, which needs first
    derivatives alone; with one wave it is zero.  u is given on the boundary and at the start, and its slope
    where x, the first coordinate, is largest.
    """

    power: int = 1
    """p."""

    @abstractmethod
    def waves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """All w_i and their slopes in x at points (n, dim), (n, waves) each."""

    @property
    def conditions(self) -> tuple[Dirichlet, Robin, Initial]:
        return (
            Dirichlet(self.exact),
            Neumann(self._slope, faces=("0+",), name="slope"),
            Initial(self.exact),
        )

    def exact(self, x: Tensor) -> Tensor:
        return self.waves(x)[0].sum(1)

    def forcing(self, x: Tensor) -> Tensor:
        """f at points (n, dim), (n,)."""
        waves, slopes = self.waves(x)
        together = waves.sum(1) ** self.power * slopes.sum(1)
        return 6 * (together - (waves**self.power * slopes).sum(1))

    def _slope(self, x: Tensor) -> Tensor:
        return self.waves(x)[1].sum(1)


def bell(angle: Tensor) -> Tensor:
    """``sech(angle)^2``, which overflows nowhere."""
    return 4 * torch.sigmoid(2 * angle) * torch.sigmoid(-2 * angle)
