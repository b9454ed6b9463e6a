"""What an optimizer may ask of one batch: the loss with its gradient, terms, residuals and their Jacobian."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sciml import processes
from sciml.errors import ConfigError
from sciml.jacobian import jacobian
from sciml.objective import Batch, Objective, Term, roots, sum_of

TOTAL = ""  # beside the names of terms


@dataclass(eq=False)
class Closure:
    """The closure of one optimizer step: called as often as a line search likes, always on the same batch.

    Parameters
    ----------
    optimizer : Optimizer
    objective : Objective
    model : module
    parts : sequence of Batch
        Of equal size; the loss is the mean of theirs.
    parameters : sequence of tensors
        The trainable ones of the model, then those of the objective.
    autocast : torch.autocast
    clip : float, optional
        Greatest norm of the whole gradient.

    """

    optimizer: Optimizer
    objective: Objective
    model: nn.Module
    parts: Sequence[Batch]
    parameters: Sequence[Tensor]
    autocast: torch.autocast
    clip: float | None = None

    def __post_init__(self) -> None:
        # Means of the terms before a line search moves on, and those without weights.
        self._first: dict[str, float] = {}
        self._plain: dict[str, float] = {}
        self._last: list[tuple[Mapping[str, Term], Mapping[str, Tensor]]] = []

    @property
    def row(self) -> dict[str, Any]:
        """The terms of the loss where the optimizer began, if there are several.

        Those that have weights are told also without them, under ``unweighted``.
        """
        shown: dict[str, Any] = dict(self._first) if len(self._first) > 1 else {}
        return shown | ({"unweighted": self._plain} if self._plain else {})

    def __call__(self) -> float:
        """The loss, over all processes; its gradient is left in the parameters."""
        self.optimizer.zero_grad(set_to_none=True)
        losses: dict[str, float] = {}
        count = len(self.parts)
        for part in self.parts:
            means = self._means(part)
            with self.autocast:
                loss = sum_of(means) / count
            loss.backward()
            shares = processes.add_up(torch.stack([loss, *means.values()])).tolist()
            for name, share in zip([TOTAL, *means], shares, strict=True):
                losses[name] = losses.get(name, 0.0) + share / (1 if name == TOTAL else count)
        processes.add_up_gradients(self.parameters)
        if self.clip is not None:
            self._clip_gradients(self.clip)
        self._first = self._first or {name: value for name, value in losses.items() if name != TOTAL}
        return losses[TOTAL]

    def means(self) -> dict[str, Tensor]:
        """The weighted mean of each term, with its graph: they add up to the loss.

        Each of several processes has its own share; values and gradients of the shares add up.

        Raises
        ------
        ConfigError
            If the training clips gradients.
        """
        if self.clip is not None:
            raise ConfigError(
                f"Trainer: an optimizer that takes the loss apart runs without clip; got clip={self.clip}."
            )
        found: dict[str, Tensor] = {}
        for part in self.parts:
            for name, mean in self._means(part).items():
                share = mean / len(self.parts)
                found[name] = found[name] + share if name in found else share
        values = processes.add_up(torch.stack([*found.values()])).tolist()
        self._first = self._first or dict(zip(found, values, strict=True))
        return found

    def residuals(self) -> Tensor:
        """r (n,) with its graph: ``r @ r`` is the loss, with all weights and means in it and no factor 1/2.

        Raises
        ------
        ConfigError
            If a term is no mean of squares, or the training clips gradients or has several processes.
        """
        if processes.count() > 1 or self.clip is not None:
            raise ConfigError(
                "Trainer: least-squares optimizers run in one process and without clip; "
                f"got {processes.count()} processes and clip={self.clip}."
            )
        found: list[Tensor] = []
        losses: dict[str, float] = {}
        self._last = []
        for part in self.parts:
            with self.autocast:
                terms = self.objective.terms(self.model, part)
                own = roots(terms)
            self._note_unweighted(terms)
            self._last.append((terms, own))
            for name, r in own.items():
                found.append(r / math.sqrt(len(self.parts)))
                losses[name] = losses.get(name, 0.0) + float(found[-1].detach().square().sum())
        self._first = self._first or losses
        return torch.cat(found)

    def jacobian(self) -> Tensor:
        """The derivatives (n, P) of what `residuals` returned last by the parameters."""
        rows = [
            jacobian(self.objective, self.model, part, *last, self.parameters)
            for part, last in zip(self.parts, self._last, strict=True)
        ]
        return torch.cat(rows) / math.sqrt(len(self.parts))

    def _means(self, part: Batch) -> dict[str, Tensor]:
        with self.autocast:
            terms = self.objective.terms(self.model, part)
            found = processes.means(terms)
        self._note_unweighted(terms)
        return found

    def _note_unweighted(self, terms: Mapping[str, Term]) -> None:
        """Add one part's share of the means without weights, of the terms that have weights."""
        weighted = {name: term.plain() for name, term in terms.items() if term.weighted}
        if not weighted or self._first:
            return
        means = processes.means(weighted)
        shares = processes.add_up(torch.stack([*means.values()])).tolist()
        for name, share in zip(means, shares, strict=True):
            self._plain[name] = self._plain.get(name, 0.0) + share / len(self.parts)

    def _clip_gradients(self, limit: float) -> None:
        # An optimizer that keeps gradients elsewhere than in `.grad` knows their norm.
        clip = getattr(self.optimizer, "clip_gradient_norm", None)
        if clip is None:
            torch.nn.utils.clip_grad_norm_(self.parameters, limit)
        else:
            clip(limit)
