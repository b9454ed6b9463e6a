"""Named protocols: data, split, fields, steps in time, loss, metric and recipe, frozen under a version."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sciml.comparison.published import Published
from sciml.dataset import Dataset
from sciml.datasets.readers import Reader, open_any
from sciml.description import describe
from sciml.errors import ConfigError, DataError
from sciml.feeding import Loss
from sciml.grid import Grid
from sciml.metrics import relative_l2
from sciml.operators.message_settings import Context
from sciml.presets import Generated, Preset, Progress, Recipe, short_hash
from sciml.schema import SPLITS
from sciml.splitting import held_out, letters_of
from sciml.unroll import Stepping

Parts = tuple[int, int]

SELECTION = "the weights after the last step; the validation split is only watched"
HELD_OUT = {"test": 0.15, "valid": 0.1}
"""Shares of the training samples that stand in for a split which a file lacks."""


class Source(Protocol):
    """Where the data of a benchmark come from."""

    def open(self, folder: Path, *, progress: Progress | None = None) -> Dataset:
        """All samples, divided as the protocol says; made in ``folder`` if they can be made."""
        ...

    def describe(self) -> dict[str, Any]:
        """What decides on their content, JSON-able."""
        ...


@dataclass(frozen=True)
class Made:
    """Data that one of our generators makes; the splits are in the order train, valid, test."""

    generated: Generated

    def open(self, folder: Path, *, progress: Progress | None = None) -> Dataset:
        """As `Source.open`.  The file is named after the generator: protocols on equal data share it."""
        return self.generated.open(folder, self.generated.generator.name.replace("_", "-"), progress=progress)

    def describe(self) -> dict[str, Any]:
        """Generator, settings, seed and split."""
        generated, grid = self.generated, self.generated.generator.grid
        counts = [generated.train, generated.valid, generated.test]
        return {
            "data": {"generator": describe(generated.generator), "seed": generated.seed},
            "split": split_card(letters_of(np.repeat([0, 1, 2], counts))),
            **({"grid": list(grid.shape)} if isinstance(grid, Grid) else {}),
        }


@dataclass(frozen=True)
class Fetched:
    """A file of others, which the user has fetched.

    Attributes
    ----------
    file : str
        Its name, or that of a folder.
    where : str
        Who offers it, and under what name.
    reader : Reader
    samples : int
        How many it holds.
    train, valid, test : pairs of int, optional
        Ranges of positions, the end not included; without them the split is that of the file.
    """

    file: str
    where: str
    reader: Reader
    samples: int
    train: Parts | None = None
    valid: Parts | None = None
    test: Parts | None = None

    def open(self, folder: Path, *, progress: Progress | None = None) -> Dataset:
        """As `Source.open`; the file is looked for in ``folder`` and in the current one, and converted.

        Raises
        ------
        DataError
            If it is not there, or holds another number of samples.
        """
        places = [folder / self.file, Path(self.file)]
        path = next((place for place in places if place.exists()), None)
        if path is None:
            raise DataError(
                f"{self.file} is neither in {folder} nor in the current folder. {self.where}. It is not ours "
                "to hand on; fetch it and put it there."
            )
        data = open_any(path, cache=folder, readers=(self.reader,))
        if len(data) != self.samples:
            raise DataError(
                f"{path}: holds {len(data)} samples, but the protocol is for {self.samples}. Fetch the "
                f"original. {self.where}."
            )
        return data if self.train is None else data.resplit(self._split())

    def _split(self) -> np.ndarray[Any, Any]:
        split = np.full(self.samples, -1)
        for index, part in enumerate((self.train, self.valid, self.test)):
            split[slice(*(part or (0, 0)))] = index
        return split

    def describe(self) -> dict[str, Any]:
        """Format, file and split."""
        own = {"rule": "the split of the file"}
        return {
            "data": {"file": self.file, "reader": describe(self.reader), "samples": self.samples},
            "split": own if self.train is None else split_card(letters_of(self._split())),
        }


@dataclass(frozen=True)
class Given:
    """A dataset that somebody has; what it lacks of splits is taken from its training samples.

    A missing test split takes 15 percent of them, a missing validation split 10 percent of what is left,
    chosen by `held_out` with seed 0.
    """

    dataset: Dataset

    def open(self, folder: Path, *, progress: Progress | None = None) -> Dataset:
        """As `Source.open`.

        Raises
        ------
        DataError
            If there are fewer than two training samples to take a test split from.
        """
        return self._divided[0]

    @cached_property
    def _divided(self) -> tuple[Dataset, list[str]]:
        data, said = self.dataset, list[str]()
        for part, share in HELD_OUT.items():
            if len(getattr(data, part)):
                continue
            training = len(data.train)
            if training < 2:
                raise DataError(
                    f"{data.path}: has no {part} samples and {training} for training, so there is nothing to "
                    "be judged on."
                )
            data = data.resplit(held_out(data.variable("split"), part, share))
            count = len(getattr(data, part))
            said.append(f"the file has no {part} split: {count} of {training} training samples, seed 0")
        return data, said

    def describe(self) -> dict[str, Any]:
        """Digest, split, and how it came about."""
        data, said = self._divided
        rule = {"rule": "; ".join(said)} if said else {}
        return {
            "data": {"digest": self.dataset.digest},
            "split": {**split_card(letters_of(data.variable("split"))), **rule},
            **({"grid": list(data.grid.shape)} if data.kind == "grid" else {}),
        }


def split_card(letters: str) -> dict[str, Any]:
    """Counts of the splits and a hash of which sample is where.

    Examples
    --------
    >>> split_card("0012")
    {'train': 2, 'valid': 1, 'test': 1, 'hash': '84b2a5d8'}
    """
    counts = {name: letters.count(str(i)) for i, name in enumerate(SPLITS)}
    return {**counts, "hash": hashlib.sha256(letters.encode()).hexdigest()[:8]}


@dataclass(frozen=True)
class Benchmark:
    """A protocol under a name that changes with it: all that must be equal for errors to be comparable.

    Attributes
    ----------
    name : str
        With a version, such as "darcy/smooth-85/v1".
    data : Source
    inputs, outputs : names of fields
        By default what the file states.
    stepping : Stepping, optional
        For states in time: what one call sees, and how training chains calls; one frame to one by default.
    every : mapping
        Only every n-th point or frame, see `Dataset.subsampled`.
    start : int
        Frame, of those that ``every`` leaves, at which the judged roll-outs begin; training sees all.
    context : Context, optional
        Numbers that all operators of ours are told beside the fields: time, parameters of the samples.
    points : int, optional
        Random points of each sample that a step of the training sees, on points and meshes.
    loss : callable
    metric : str
        That decides; the mean over test samples.
    recipe : Recipe
        What contestants start from; its steps follow from the budget.
    budget : str
        Of one training, if nobody says otherwise.
    source : str
        Of the protocol.
    note : str
        In what it departs from its source, and what its data cost.
    published : tuple of Published
        Numbers of others; they are no part of the protocol.
    """

    name: str
    data: Source
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    stepping: Stepping | None = None
    every: Mapping[str, Any] = field(default_factory=dict)
    start: int = 0
    context: Context | None = None
    points: int | None = None
    loss: Loss = relative_l2
    metric: str = "relative_l2"
    recipe: Recipe = field(default_factory=Recipe)
    budget: str = "10m"
    source: str = ""
    note: str = ""
    published: tuple[Published, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.inputs) != bool(self.outputs) or self.start < 0:
            raise ConfigError(
                f"Benchmark {self.name!r}: needs inputs and outputs or neither, and start >= 0, got "
                f"{self.inputs}, {self.outputs}, {self.start}."
            )

    def describe(self) -> dict[str, Any]:
        """All that is frozen, JSON-able; without the data where they can be made."""
        recipe = describe(self.recipe)["arguments"]
        return {
            "name": self.name,
            **self.data.describe(),
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "stepping": None if self.stepping is None else stepping_card(self.stepping),
            "every": dict(self.every),
            "start": self.start,
            **({} if self.context is None else {"context": describe(self.context)["arguments"]}),
            **({} if self.points is None else {"points": self.points}),
            "loss": describe(self.loss),
            "metric": f"{self.metric}, in physical units, mean over test samples",
            "recipe": {name: value for name, value in recipe.items() if name != "steps"},
            "budget": self.budget,
            "selection": SELECTION,
        }

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits of `describe`."""
        return short_hash(self.describe())

    def open(self, folder: Path, *, progress: Progress | None = None) -> Dataset:
        """The data, divided as the protocol says; `learned` and `judged` are what it takes of them."""
        return self.data.open(folder, progress=progress)

    def learned(self, data: Dataset) -> Dataset:
        """The points and frames of the protocol."""
        return self._subsampled(data, dict(self.every))

    def judged(self, data: Dataset) -> Dataset:
        """The points of the protocol, and its frames from ``start`` on."""
        if not self.start:
            return self.learned(data)
        given = self.every.get("time", 1)
        cut = slice(None, None, given) if isinstance(given, int) else slice(*given)
        step = cut.step or 1
        later = [(cut.start or 0) + self.start * step, cut.stop, step]
        return self._subsampled(data, {**self.every, "time": later})

    def _subsampled(self, data: Dataset, every: dict[str, Any]) -> Dataset:
        return data.subsampled(every) if every else data

    @classmethod
    def of_preset(cls, preset: Preset) -> Benchmark:
        """The data and settings of a preset of ``sciml train``."""
        return cls(preset.name, Made(preset.data), stepping=preset.stepping, recipe=preset.recipe)

    @classmethod
    def of_dataset(
        cls,
        dataset: Dataset,
        *,
        inputs: tuple[str, ...] = (),
        outputs: tuple[str, ...] = (),
        stepping: Stepping | None = None,
        recipe: Recipe = Recipe(),  # noqa: B008 - frozen
        name: str = "",
    ) -> Benchmark:
        """A protocol for one file, named after it."""
        return cls(
            name or dataset.path.stem,
            Given(dataset),
            inputs=inputs,
            outputs=outputs,
            stepping=stepping,
            recipe=recipe,
        )


def stepping_card(stepping: Stepping) -> dict[str, Any]:
    """JSON-able settings."""
    parts = {"frames": stepping.frames, "unroll": stepping.unroll}
    return {name: describe(part)["arguments"] for name, part in parts.items()}
