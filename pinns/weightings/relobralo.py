"""Weights that make all terms fall at the same pace: relative balancing with random lookback."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sciml import processes
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.weightings.weighting import Scene, State, Weighting, Weights, named, part_of

_FLOOR = 1e-30  # below, a loss is zero; what grew by more than 1e30 has grown without bound


@describable
@dataclass(frozen=True)
class ReLoBRaLo(Weighting):
    r"""A term weighs the more, the less of its loss has gone: since the last step, or since the first.

    Of m terms with losses :math:`L_k(t)` at step t,

    .. math::

        \hat\lambda_k(t, t') = m\, \text{softmax}_k \frac{L_k(t)}{\tau L_k(t')}, \qquad
        \lambda(t) = \alpha \bigl(\rho \lambda(t-1) + (1 - \rho) \hat\lambda(t, 0)\bigr)
                     + (1 - \alpha) \hat\lambda(t, t - 1),

    where rho is 1 or, at random, 0: then it looks back to the first step.  All weights are 1 there, and their
    sum is always m.

    Parameters
    ----------
    memory : float, 0 to 1
        alpha.
    saved : float, 0 to 1
        The probability of rho = 1.
    temperature : float, positive
        tau: the smaller, the more the slowest term gets; of infinitely many, each gets the same.
    every : int
        Steps between updates; t counts them.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Notes
    -----
    An update costs an evaluation of the loss without gradients.  The losses are those with the ``weights`` so
    far; only their ratios in time count.

    Source: Bischof and Kraus, Multi-objective loss balancing for physics-informed deep learning,
    arXiv:2110.09813 (2021), equations 8 to 10.  Their code sets alpha to 1 and then to 0 in its first two
    calls; here the equation holds from the first update.

    Examples
    --------
    >>> now, before = torch.tensor([[2.0, 1.0], [2.0, 2.0]]).double()  # one term stays, one is halved
    >>> relative(now, before, 0.5).round(decimals=2).tolist()
    [1.46, 0.54]
    """

    memory: float = 0.999
    saved: float = 0.999
    temperature: float = 0.1
    every: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.memory <= 1 or not 0 <= self.saved <= 1:
            raise ConfigError(f"ReLoBRaLo: memory and saved are from 0 to 1, got {self}.")
        if not self.temperature > 0 or self.every < 1:
            raise ConfigError(f"ReLoBRaLo: needs temperature > 0 and every >= 1, got {self}.")

    def weigh(self, state: State | None, scene: Scene, step: int) -> tuple[State, Weights]:
        if state is None or step % self.every == 0:
            state = self._renewed(state, scene, step)
        return state, part_of(state, "weight")

    def _renewed(self, state: State | None, scene: Scene, step: int) -> State:
        with torch.no_grad():
            shares = processes.means({n: t for site in scene.terms().values() for n, t in site.items()})
        losses = processes.add_up(torch.stack([*shares.values()])).double().cpu()
        if state is None:
            weights, first = torch.ones_like(losses), losses
        else:
            draw = torch.rand((), generator=scene.stream.generator(step), dtype=torch.float64)
            before, first = torch.stack([*part_of(state, "weight").values()]), state["first"]
            kept = before if draw < self.saved else relative(losses, first, self.temperature)
            now = relative(losses, state["last"], self.temperature)
            weights = self.memory * kept + (1 - self.memory) * now
        return {"first": first, "last": losses, **named("weight", dict(zip(shares, weights, strict=True)))}


def relative(losses: Tensor, before: Tensor, temperature: float) -> Tensor:
    """Weights (m,), of sum m, from the losses (m,) now and then."""
    # An estimated square may be negative, and infinities would end as no numbers.
    ratio = (losses / before.clamp_min(_FLOOR)).clamp(0, 1 / _FLOOR)
    return len(losses) * torch.softmax(ratio / temperature, dim=0)
