"""Weights of single points that follow their residuals: a bounded sum of what they were, recent ones most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.weightings.points import Sites, check_sites, moved
from sciml.pinns.weightings.variational import Potential, Power
from sciml.pinns.weightings.weighting import EQUATION, Scene, State, Weighting, Weights

if TYPE_CHECKING:
    from sciml.pinns.problem import Problem


@describable
@dataclass(frozen=True)
class ResidualAttention(Weighting):
    r"""Each point i weighs :math:`\lambda_i^2`, where lambda gathers the attention to the point.

    .. math::

        \lambda_i \leftarrow \text{memory} \cdot \lambda_i + \text{rate} \cdot q_i, \qquad
        q_i = \text{floor} + (1 - \text{floor}) \frac{\Phi'(|r_i|)}{\max_j \Phi'(|r_j|)}, \qquad
        L = \frac{1}{N} \sum_i (\lambda_i r_i)^2,

    each term by itself, so that lambda stays below ``rate / (1 - memory)``, 10 by default, and weights below
    its square.  Terms that are not weighed had better have a weight of that order, 100, or be balanced by
    what comes next in `Together`.

    With ``Power(2)`` this is RBA, attention in proportion to the residual; with another `Potential`, such as
    ``Exponential()``, it is vRBA.

    When points are drawn anew, a new one takes over lambda from the nearest of the last ones, and one that
    stays keeps its own.

    Parameters
    ----------
    potential : Potential
        Phi.
    memory : float, 0 to 1
    rate : float, positive
    start : float, not negative
        The first lambda, before the first update.
    sites : tuple of str, optional
        ``equation`` or names of conditions; None for all.
    floor : float, 0 to 1
        Attention that every point has; 1 is plain training.

    Raises
    ------
    ConfigError
        If a number is out of range, or a site unknown.

    Notes
    -----
    An update costs an evaluation of the loss without gradients.  Rows of a run tell ``effective_points``, the
    square of the sum of the weights over the sum of their squares, of the term with the fewest.

    A quasi-Newton method fits the points that count before they are weighed again, and takes the curvature of
    that loss for the curvature of the next.  Where these points are few, as under ``Exponential()`` after
    many steps, the residuals elsewhere grow without bound: give it a floor, 0.5 say.

    Source: Anagnostopoulos, Toscano, Stergiopulos and Karniadakis, Residual-based attention in
    physics-informed neural networks, Comput. Methods Appl. Mech. Eng. 421 (2024), equation 6 (RBA); Toscano
    et al., arXiv:2509.14198 (2025), algorithm 1, and its code for ``start`` and the floor, one minus its phi
    (vRBA).  There lambdas belong to the points of a fixed pool, of which each step sees some, and with a
    quasi-Newton method they are no weights but the density with which its points are drawn, as in
    `sciml.pinns.samplers.VRBA`.

    Examples
    --------
    >>> from sciml.pinns.weightings import Exponential
    >>> first, then = ResidualAttention(), ResidualAttention(Exponential(), memory=0.1, rate=0.9)
    >>> [round(one.rate / (1 - one.memory), 6) for one in (first, then)]  # bounds of lambda
    [10.0, 1.0]
    """

    potential: Potential = Power()  # noqa: RUF009 - a frozen value
    memory: float = 0.999
    rate: float = 0.01
    start: float = 0.1
    sites: Sites = (EQUATION,)
    floor: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.memory < 1 and self.rate > 0 and self.start >= 0 and 0 <= self.floor <= 1):
            raise ConfigError(
                "ResidualAttention: needs 0 <= memory < 1, rate > 0, start >= 0 and 0 <= floor <= 1, got "
                f"{self.memory}, {self.rate}, {self.start} and {self.floor}."
            )

    def check(self, problem: Problem) -> None:
        check_sites("ResidualAttention", self.sites, problem)

    def weigh(self, state: State | None, scene: Scene, step: int) -> tuple[State, Weights]:
        state, kept = moved(state, scene, self.sites, partial(self._moved, step))
        return state, {name: own["lambda"].square() for name, own in kept.items()}

    def facts(self, state: State) -> dict[str, float]:
        weights = [value.square() for key, value in state.items() if key.endswith("/lambda")]
        return {"effective_points": min(float(w.sum() ** 2 / w.square().sum()) for w in weights)}

    def _moved(self, step: int, kept: Mapping[str, Tensor] | None, squares: Tensor) -> Mapping[str, Tensor]:
        before = torch.full_like(squares, self.start) if kept is None else kept["lambda"]
        attention = self.floor + (1 - self.floor) * self.potential.attention(squares.sqrt(), step)
        return {"lambda": self.memory * before + self.rate * attention}
