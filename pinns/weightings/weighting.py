"""The protocol of weightings: how much each term, or each point of it, counts in the loss of a step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from sciml.objective import Term
from sciml.streams import Stream

if TYPE_CHECKING:
    from sciml.pinns.problem import Problem

EQUATION = "equation"  # the site beside those of conditions
State = Mapping[str, Tensor]
"""What is kept between steps; float64 or whole numbers, saved with the run."""
Weights = Mapping[str, Tensor]
"""By name of a term, or of a site for all its terms: a scalar, or (n,) for all rows of the site."""


@dataclass(frozen=True)
class Scene:
    """The loss of one step, before the optimizer moves.

    Attributes
    ----------
    terms : callable
        Evaluates this process's part of the loss with the model as it is: site -> term -> `Term`, with the
        weights so far; with a graph where gradients are enabled.
    parameters : sequence of tensors
        What is trained.
    times : (n,), optional
        Of all rows of the equation, 0 at the start and 1 at the end; float64.
    initial : tuple of str
        The sites of initial conditions in the loss.
    own : callable
        The entries of this process, of a tensor with one for each row of a site.
    rows : mapping
        By site all rows, of all processes, (n, columns); on the processor.
    stream : Stream
        What a weighting draws is a function of it and the step.
    """

    terms: Callable[[], Mapping[str, Mapping[str, Term]]]
    parameters: Sequence[Tensor]
    times: Tensor | None
    initial: tuple[str, ...]
    own: Callable[[Tensor], Tensor]
    rows: Mapping[str, Tensor]
    stream: Stream


class Weighting(ABC):
    """Weighs the terms of the loss anew, once before each step of the optimizer.

    So a line search sees one loss.  Weights are constants: no gradient passes through them.  A weighting is a
    value; what it knows from earlier steps is in the state that it returned then.
    """

    @abstractmethod
    def weigh(self, state: State | None, scene: Scene, step: int) -> tuple[State, Weights]:
        """The new state and the weights of this step, 1 where there is none; ``state`` is None at first."""

    def check(self, problem: Problem) -> None:  # noqa: B027 - a default, not an omission
        """Raise, in one sentence, if it does not suit the problem."""

    def facts(self, state: State) -> dict[str, float]:
        """What the row of a step tells besides the weights."""
        return {}


def with_weights(terms: Mapping[str, Mapping[str, Term]], weights: Weights) -> dict[str, dict[str, Term]]:
    """Terms by site, times what their sites and they themselves weigh."""

    def weighed(site: str, name: str, term: Term) -> Term:
        for key in dict.fromkeys((site, name)):
            term = term.times(weights[key]) if key in weights else term
        return term

    return {
        site: {name: weighed(site, name, term) for name, term in found.items()}
        for site, found in terms.items()
    }


def part_of(state: State, name: str) -> dict[str, Tensor]:
    """What a state has under ``name/``, by the rest of its name; the inverse of `named`."""
    mine = f"{name}/"
    return {key.removeprefix(mine): value for key, value in state.items() if key.startswith(mine)}


def named(name: str, state: State) -> dict[str, Tensor]:
    """A state as part of another."""
    return {f"{name}/{key}": value for key, value in state.items()}
