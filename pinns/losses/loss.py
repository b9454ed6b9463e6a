"""What losses have in common: a problem; and those that share everything but the equation with a residual."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from sciml.calling import dtype_of
from sciml.errors import ConfigError, nearest
from sciml.objective import Batch, Objective, Term
from sciml.pinns.conditions import Function
from sciml.pinns.problem import Problem
from sciml.pinns.residual import EQUATION, Residual
from sciml.streams import Streams


class Loss(Objective):
    """An objective for one problem, `Residual` apart."""

    problem: Problem

    @property
    @abstractmethod
    def unknowns(self) -> nn.Module:
        """The unknown numbers and functions of the problem, as parameters."""

    @property
    @abstractmethod
    def coefficients(self) -> dict[str, Tensor | Function]:
        """The unknown numbers and functions as they are now."""


def check_weights(who: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise for a weight of a term that there is not."""
    listed = list(known)
    for name in given:
        if name not in listed:
            raise ConfigError(
                f"{who}: there is no term {name!r} to weigh; there is {', '.join(listed)}."
                f"{nearest(name, listed)}"
            )


class OnPoints(Loss):
    """A loss with the points and the conditions of a `Residual`, and something else for the equation.

    Parameters
    ----------
    inner : Residual
        Draws, keeps points, and has the terms of the conditions.
    omitted : set of str
        Conditions without a term.
    """

    def __init__(self, inner: Residual, omitted: frozenset[str] = frozenset()) -> None:
        self.problem = inner.problem
        self._inner = inner
        self._omitted = omitted | {EQUATION}

    @abstractmethod
    def equation(self, model: nn.Module, x: Tensor, batch: Batch) -> dict[str, Term]:
        """The terms that stand for the equation, at points (n, dim)."""

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        return self._inner.draw(step, model, streams)

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        found = self.equation(model, batch[f"{EQUATION}/rows"].to(dtype_of(model)), batch)
        if (weight := batch.tensors.get(f"{EQUATION}/weight")) is not None:
            found = {name: term.times(weight) for name, term in found.items()}
        rest = {
            key: rows for key, rows in batch.tensors.items() if key.rpartition("/")[0] not in self._omitted
        }
        return found | self._inner.terms(model, Batch(rest, batch.shared))

    def parameters(self) -> Iterable[nn.Parameter]:
        return self._inner.parameters()

    @property
    def unknowns(self) -> nn.Module:
        return self._inner.unknowns

    @property
    def coefficients(self) -> dict[str, Tensor | Function]:
        return self._inner.coefficients

    def modules(self) -> Iterable[nn.Module]:
        return self._inner.modules()

    def check(self, model: nn.Module) -> None:
        self._inner.check(model)

    def evaluate(self, model: nn.Module, streams: Streams) -> dict[str, float]:
        return self._inner.evaluate(model, streams)

    def facts(self) -> dict[str, Any]:
        return self._inner.facts()

    def state_dict(self) -> dict[str, Any]:
        return self._inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._inner.load_state_dict(state)
