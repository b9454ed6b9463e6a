"""What a reader hands over, and what it promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sciml.dataset_content import Place, Values
from sciml.schema import Field, Provenance


@dataclass(frozen=True)
class Foreign:
    """The content of somebody else's file in the terms of `sciml.write_dataset`.

    Attributes
    ----------
    grid : Grid, Points, Mesh, or a sequence of Points or Meshes
    fields : tuple of (Field, values)
        As `sciml.write_dataset` takes them.
    split : (sample,) integers, optional
        0 train, 1 valid, 2 test, if the file has such a thing.
    times : (time,), optional
    variables : mapping
        Numbers per sample: parameters.
    attributes : mapping
        Further root attributes.
    provenance : Provenance
    notes : tuple of str
        One sentence for each thing that was changed, assumed or left out.
    """

    grid: Place
    fields: tuple[tuple[Field, Values], ...]
    split: NDArray[np.int8] | None = None
    times: NDArray[np.float64] | None = None
    variables: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=Provenance)
    notes: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        """How many there are."""
        return next(len(values) for item, values in self.fields if item.sample and item.on != "own")


class Reader(Protocol):
    """A foreign format.  Instances are frozen and describable: their settings decide the name of a cache."""

    @property
    def format(self) -> str:
        """What it reads, in a few words, for messages and for the converted file."""
        ...

    def detect(self, path: Path) -> bool:
        """Whether the content of a file or folder, whatever its name, has the marks of this format.

        Reads little, executes nothing, and answers False rather than raise for anything else.
        """
        ...

    def read(self, path: Path) -> Foreign:
        """The content.

        Raises
        ------
        DataError
            For a file that is damaged, unsafe, or has the marks but not the content.
        """
        ...
