"""What an augmentation is: new exact samples from old ones, by a rule that the equation allows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.errors import DataError
from sciml.grid import Grid
from sciml.schema import Field

if TYPE_CHECKING:
    from sciml.dataset import Dataset

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Problem:
    """What is known of the samples of a dataset besides their values.

    Parameters
    ----------
    grid : Grid
    fields : mapping of name to Field
        Those in space, and the parameters.
    pde : str
        Machine name of the equation.
    boundary : mapping
        Axis to the pair of conditions at its ends.
    times : (frames,), optional
    attributes : mapping
        Further root attributes of the file, such as the settings of its generator.
    """

    grid: Grid
    fields: Mapping[str, Field]
    pde: str
    boundary: Mapping[str, Any]
    times: NDArray[np.float64] | None
    attributes: Mapping[str, Any]

    @classmethod
    def of(cls, dataset: Dataset) -> Problem:
        """That of a dataset.

        Raises
        ------
        DataError
            If the values live on points or a mesh.
        """
        if dataset.kind != "grid":
            raise DataError(
                f"{dataset.path}: augmentations move values on a grid; this dataset is on {dataset.kind}."
            )
        known = dataset.attributes
        parameters = {name: Field(name, "parameter") for name in dataset.parameter_names}
        return cls(
            dataset.grid,
            {**dataset.fields, **parameters},
            str(known.get("pde", "")),
            known.get("boundary", {}),
            dataset.times,
            known,
        )


class Augmentation(ABC):
    """Turns samples into other exact samples of the same equation, at random.

    A subclass is a describable frozen dataclass of settings.
    """

    @abstractmethod
    def check(self, problem: Problem) -> None:
        """Refuse, in one sentence, a problem that the rule does not fit."""

    @abstractmethod
    def apply(self, tensors: Tensors, problem: Problem, generator: torch.Generator) -> dict[str, Tensor]:
        """One new sample for each sample of the batch.

        Parameters
        ----------
        tensors : mapping of name to tensor
            Fields (batch, [time,] component, *space), one component too; parameters (batch,).  Float64 is
            computed in float64; of other types what comes back has the type that was given.
        problem : Problem
            With the times of the frames that are given.
        generator : torch.Generator
            All that is random is drawn from it, on the CPU.
        """


def folded(values: Tensor, rank: int) -> Tensor:
    """Fields with time (batch, time, component, *space) as (batch, time * component, *space)."""
    return values.flatten(1, values.ndim - rank - 1)
