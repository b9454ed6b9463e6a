"""Weights that give the gradients of all terms the same length."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sciml import processes
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.weightings.balancing import balanced, length
from sciml.pinns.weightings.weighting import Scene, State, Weighting, Weights


@describable
@dataclass(frozen=True)
class GradientNorm(Weighting):
    r"""Each term weighs the mean length of all terms' gradients over the length of its own.

    .. math::

        \hat\lambda_k = \frac{m}{\|\nabla L_k\| + 10^{-5} m}, \quad m = \text{mean}_j \|\nabla L_j\|,
        \qquad \lambda \leftarrow \text{memory} \cdot \lambda + (1 - \text{memory}) \hat\lambda,

    from 1 at the start.  The ``weights`` of the loss are factors in :math:`L_k`, so they are where balancing
    starts from, and are forgotten.

    Parameters
    ----------
    every : int
        Steps between updates.  A quasi-Newton method gathers the curvature of one loss: let it make many
        iterations between two of them.
    memory : float, 0 to 1
        0 balances at once.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Notes
    -----
    Source: Wang, Sankaran, Wang and Perdikaris, An expert's guide to training physics-informed neural
    networks, arXiv:2308.08468 (2023), with the mean of the lengths instead of their sum, as in its code.
    """

    every: int = 1000
    memory: float = 0.9

    def __post_init__(self) -> None:
        if self.every < 1 or not 0 <= self.memory < 1:
            raise ConfigError(f"GradientNorm: needs every >= 1 and 0 <= memory < 1, got {self}.")

    def weigh(self, state: State | None, scene: Scene, step: int) -> tuple[State, Weights]:
        if state is None or step % self.every == 0:
            state = balanced(state, self.norms(scene), self.memory)
        return state, state

    def norms(self, scene: Scene) -> dict[str, Tensor]:
        """The length of each term's gradient, float64 on the processor."""
        with torch.enable_grad():
            terms = {name: term for site in scene.terms().values() for name, term in site.items()}
            shares = processes.means(terms)
        return {name: length(share, scene.parameters) for name, share in shares.items()}
