"""Several weightings, one upon the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from sciml.description import describable
from sciml.objective import Term
from sciml.pinns.weightings.weighting import Scene, State, Weighting, Weights, named, part_of, with_weights

if TYPE_CHECKING:
    from sciml.pinns.problem import Problem


@describable
@dataclass(frozen=True)
class Together(Weighting):
    """The product of several weightings; each sees the loss with the weights of those before it.

    Parameters
    ----------
    weightings : tuple of Weighting

    Examples
    --------
    >>> from sciml.pinns.weightings import Causal, GradientNorm
    >>> balanced_and_causal = Together((Causal(epsilons=(1.0,)), GradientNorm()))
    """

    weightings: tuple[Weighting, ...]

    def weigh(self, state: State | None, scene: Scene, step: int) -> tuple[State, Weights]:
        found: dict[str, Tensor] = {}
        states: dict[str, Tensor] = {}
        for i, weighting in enumerate(self.weightings):
            part = None if state is None else part_of(state, str(i))
            # Each draws numbers of its own.
            stream = replace(scene.stream, purpose=f"{scene.stream.purpose}/{i}")
            seen = replace(scene, terms=partial(_seen, scene, dict(found)), stream=stream)
            new, weights = weighting.weigh(part, seen, step)
            states |= named(str(i), new)
            for name, weight in weights.items():
                found[name] = found[name] * weight if name in found else weight
        return states, found

    def check(self, problem: Problem) -> None:
        for weighting in self.weightings:
            weighting.check(problem)

    def facts(self, state: State) -> dict[str, float]:
        found: dict[str, float] = {}
        for i, weighting in enumerate(self.weightings):
            found |= weighting.facts(part_of(state, str(i)))
        return found


def _seen(scene: Scene, weights: Weights) -> Mapping[str, Mapping[str, Term]]:
    own = {name: weight if weight.ndim == 0 else scene.own(weight) for name, weight in weights.items()}
    return with_weights(scene.terms(), own)
