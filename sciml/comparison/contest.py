"""What contestants meet on: data, loss, metric and what is judged, all frozen, and known by a fingerprint."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from sciml.errors import ConfigError
from sciml.objective import Objective
from sciml.presets import Progress, short_hash
from sciml.run import Run
from sciml.trainer import Trainer
from sciml.training import Validation

if TYPE_CHECKING:
    from sciml.comparison.published import Published
    from sciml.grid import Grid
    from sciml.report import Example

Metrics = Mapping[str, list[float]]


class Contestant(Protocol):
    """What competes: an operator (`sciml.comparison.entry.Entry`), a recipe for a physics-informed network.

    It travels to child processes, so it must pickle, with cloudpickle's help for lambdas and ``__main__``.
    """

    @property
    def name(self) -> str:
        """What tables call it; rows of one name in one folder have one description."""
        ...

    def description(self) -> dict[str, Any]:
        """JSON-able settings: two contestants that could train differently have different ones."""
        ...


E = TypeVar("E", bound=Contestant)


@dataclass(frozen=True)
class Plan:
    """One training, ready to run: ``trainer.fit(model, objective, validation=validation, every=every)``.

    Attributes
    ----------
    model : nn.Module
        With its initial weights, on its device.
    trainer : Trainer
    objective : Objective
    validation : Objective or callable, optional
        Looks at the validation split only.
    every : int, optional
        Steps between validations; a twentieth of all steps by default.
    """

    model: nn.Module
    trainer: Trainer
    objective: Objective
    validation: Validation | None = None
    every: int | None = None


def _check(who: str, metrics: Metrics, samples: int | None = None) -> None:
    if "relative_l2" not in metrics:
        raise ConfigError(f"{who}: metrics must have 'relative_l2', got {', '.join(metrics) or 'none'}.")
    counts = {name: len(values) for name, values in metrics.items()}
    if len({*counts.values(), *([] if samples is None else [samples])}) != 1:
        raise ConfigError(
            f"{who}: every metric needs one value per sample{'' if samples is None else f', {samples}'}, "
            f"got {counts}."
        )


@dataclass(frozen=True)
class Judgement:
    """One trained model on the samples that decide; every number in physical units.

    Attributes
    ----------
    split : str
        ``"test"``, or what stands in for it where a file has no test samples.
    indices : list of int
        Positions of the samples in the data; ``[0]`` for a problem with one solution.
    metrics : mapping
        Metric to one value per sample, NaN where a prediction is not finite; ``relative_l2`` is among them.
    seconds_per_sample : float or None
        Of inference, samples in one batch; None where a time would mean nothing.
    course : dict, optional
        Of roll-outs: ``times`` (since the last frame given), ``units``, and ``mean``, the mean relative L2
        error of each frame.
    spectrum : dict, optional
        ``k``, ``truth``, ``prediction`` (lists over shells of wavenumbers) and ``quantity``.
    transfer : mapping
        Another resolution, such as ``"128x128"``, to its metrics, per sample.

    Raises
    ------
    ConfigError
        If ``relative_l2`` is missing, or a metric has not one value for each index.
    """

    split: str
    indices: list[int]
    metrics: Metrics
    seconds_per_sample: float | None = None
    course: dict[str, Any] | None = None
    spectrum: dict[str, Any] | None = None
    transfer: Mapping[str, Metrics] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        _check("Judgement", self.metrics, len(self.indices))


@dataclass(frozen=True)
class Reference:
    """A method that needs no training: a trivial predictor, or a classical solver at one setting.

    Attributes
    ----------
    name : str
    family : "trivial" or "classical"
    metrics : mapping
        As in `Judgement`, on the same samples in the same order.
    seconds_per_sample : float or None
        Of one solve; None where a time would mean nothing.
    settings : dict
        JSON-able, such as ``{"resolution": 32, "step": 0.1, "order": 2}``.
    means : mapping
        Further metrics of which only the mean over the samples is known.

    Raises
    ------
    ConfigError
        If ``relative_l2`` is missing, or metrics differ in length.
    """

    name: str
    family: Literal["trivial", "classical"]
    metrics: Metrics
    seconds_per_sample: float | None = None
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    means: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(f"Reference {self.name!r}", self.metrics)

    def thinned(self, kept: Container[str]) -> Reference:
        """With the values of each sample for the metrics in ``kept``, and of the others their means.

        Examples
        --------
        >>> full = Reference("zero", "trivial", {"relative_l2": [1.0, 1.0], "rmse": [2.0, 3.0]})
        >>> thin = full.thinned(["relative_l2"])
        >>> thin.metrics, thin.means
        ({'relative_l2': [1.0, 1.0]}, {'rmse': 2.5})
        """
        metrics = {name: values for name, values in self.metrics.items() if name in kept}
        rest = {name: float(np.mean(v)) for name, v in self.metrics.items() if name not in kept}
        return dataclasses.replace(self, metrics=metrics, means={**self.means, **rest})


class Contest(ABC, Generic[E]):
    """What contestants meet on.  It pickles: it holds paths and settings, never an open file.

    `prepare` is called once before anything else, in the parent; children then open what it made.  Only
    `judge`, `references` and `examples` may look at the test split.
    """

    entry_type: ClassVar[type[Any]]
    """The class of contestants that `plan` takes."""

    @property
    @abstractmethod
    def name(self) -> str:
        """``"darcy/64/v1"``, or the stem of a file."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """All that is frozen, JSON-able: data (generator, settings and seed, or digest), counts of the splits
        and hash of their indices, inputs, outputs, loss, metrics with reduction, recipe, selection rule.

        Callable after `prepare`.
        """

    def fingerprint(self) -> str:
        """Eight hexadecimal digits of `describe`; rows that differ in it never share a table."""
        return short_hash(self.describe())

    @abstractmethod
    def prepare(self, progress: Progress | None = None) -> None:
        """Make or open the data; called again it finds them made.

        ``progress`` is called with (finished, all) samples as they are made.
        """

    @abstractmethod
    def plan(
        self, entry: E, *, seed: int, steps: int, samples: int | None = None, device: torch.device | str
    ) -> Plan:
        """The training of ``entry`` in ``steps`` steps, on the first ``samples`` of the training split.

        A pure function of its arguments: called again, in another process, it gives the same bits.

        Raises
        ------
        ConfigError
            If the entry does not fit the data, or ``samples`` exceeds the split.
        """

    @abstractmethod
    def judge(self, run: Run) -> Judgement:
        """The trained model on the test split."""

    def references(self) -> Iterator[Reference]:
        """Trivial predictors, then classical solvers from cheap to costly; none by default."""
        return iter(())

    def published(self) -> list[Published]:
        """Numbers of others on these data, with source and whether the protocol is the same."""
        return []

    def examples(self, run: Run) -> list[Example] | None:
        """The best, the median and the worst sample as fields, for the report."""
        return None

    @property
    def grid(self) -> Grid | None:
        """Where the fields of `examples` live, unless each has a ``place`` of its own."""
        return None
