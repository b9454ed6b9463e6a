"""Weights that are given, others in each stage of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import torch

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.weightings.points import check_sites
from sciml.pinns.weightings.weighting import Scene, State, Weighting, Weights

if TYPE_CHECKING:
    from sciml.pinns.problem import Problem


@describable
@dataclass(frozen=True)
class Staged(Weighting):
    """Given weights for a number of steps each, the last ones to the end; 1 where none is given.

    An inverse problem begins with a light equation, so that the network learns the measurements before a
    wrong constant can bend it.  A `Recipe` makes one from the weights of its stages.

    Parameters
    ----------
    stages : tuple of (steps, weights)
        Weights by ``equation``, for all its terms, or by the name of a condition; not negative.

    Raises
    ------
    ConfigError
        If there is no stage, one has no step, a weight is negative, or there is nothing of its name.

    Examples
    --------
    >>> data_first = Staged(((10, {"equation": 1e-3}), (20, {})))
    """

    stages: tuple[tuple[int, Mapping[str, float]], ...]

    def __post_init__(self) -> None:
        if not self.stages or any(steps < 1 for steps, _ in self.stages):
            raise ConfigError(f"Staged: needs stages with at least one step each, got {self.stages}.")
        if any(not weight >= 0 for _, weights in self.stages for weight in weights.values()):
            raise ConfigError(f"Staged: weights are not negative, got {self.stages}.")

    def weigh(self, state: State | None, scene: Scene, step: int) -> tuple[State, Weights]:
        ends = accumulate(steps for steps, _ in self.stages)
        found = next((i for i, end in enumerate(ends) if step < end), len(self.stages) - 1)
        weights = self.stages[found][1]
        return {}, {name: torch.tensor(weight, dtype=torch.float64) for name, weight in weights.items()}

    def check(self, problem: Problem) -> None:
        check_sites("Staged", tuple(name for _, weights in self.stages for name in weights), problem)
