"""Weights that stay as they are given."""

from __future__ import annotations

from dataclasses import dataclass

from sciml.description import describable
from sciml.pinns.weightings.weighting import Scene, State, Weighting, Weights


@describable
@dataclass(frozen=True)
class Fixed(Weighting):
    """The ``weights`` of the loss alone, see `sciml.pinns.Residual`; nothing moves."""

    def weigh(self, state: State | None, scene: Scene, step: int) -> tuple[State, Weights]:
        return {}, {}
