"""The rows of a comparison by benchmark and by what they are; tables and figures are made from these."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.comparison.contest import Reference
from sciml.comparison.rows import Row, current

Float = NDArray[np.float64]

DECISIVE = "relative_l2"
DURATIONS = ("valid_time", "correlation_time")  # more is better, and the end of the data cuts them off


def own_metric(description: Mapping[str, Any]) -> str:
    """What a protocol itself judges by, where that is another metric than `DECISIVE`; else empty."""
    metric = str(description.get("metric", DECISIVE)).split(",")[0]
    return "" if metric == DECISIVE else metric


def read_by_sample(description: Mapping[str, Any]) -> tuple[str, ...]:
    """The metrics of references that tables and figures read sample by sample; of others they show means.

    Examples
    --------
    >>> read_by_sample({"metric": "accumulated_mse, in physical units"})
    ('relative_l2', 'valid_time', 'correlation_time', 'accumulated_mse')
    """
    own = own_metric(description)
    return (DECISIVE, *DURATIONS, own) if own else (DECISIVE, *DURATIONS)


def metric_name(name: str) -> str:
    """A metric of rows in the words of axes and tables.

    Examples
    --------
    >>> metric_name("relative_l2"), metric_name("boundary_rmse")
    ('relative L2', 'boundary RMSE')
    """
    for short, norm in (("_l1", " L1"), ("_l2", " L2"), ("_h1", " H1"), ("rmse", "RMSE")):
        name = name.replace(short, norm)
    return name.replace("_", " ")


@dataclass(frozen=True)
class Training:
    """The finished units of one entry with equal data and equal budget, one for each seed.

    Attributes
    ----------
    entry : str
    samples : int or None
        Training samples; None for all.
    steps : int
    units : tuple of rows
        By seed.
    """

    entry: str
    samples: int | None
    steps: int
    units: tuple[Row, ...]

    def values(self, metric: str = DECISIVE) -> Float:
        """Of each seed and sample, (seed, sample); NaN where a prediction was not finite."""
        return np.array([unit["metrics"][metric] for unit in self.units], dtype=np.float64)

    def has(self, metric: str) -> bool:
        """Whether every unit was judged by it."""
        return all(metric in unit["metrics"] for unit in self.units)

    def mean(self, metric: str = DECISIVE) -> float:
        """Over seeds and samples."""
        return float(self.values(metric).mean())

    def of(self, name: str) -> float | None:
        """The mean over seeds of a number of the units, such as ``train_seconds``; None if one lacks it."""
        found = [unit.get(name) for unit in self.units]
        return None if None in found else float(np.mean(np.array(found, dtype=np.float64)))


@dataclass(frozen=True)
class Results:
    """All rows of one benchmark with one fingerprint."""

    benchmark: str
    fingerprint: str
    description: Mapping[str, Any] = field(default_factory=dict)
    published: Sequence[Row] = ()
    units: Sequence[Row] = ()
    calibrations: Sequence[Row] = ()
    references: Sequence[Row] = ()
    searches: Sequence[Row] = ()

    @property
    def trainings(self) -> list[Training]:
        """Finished units, grouped; in the order of entries, of samples (all last) and of steps."""
        groups: dict[tuple[str, int | None, int], list[Row]] = {}
        for unit in self.units:
            if unit["status"] == "finished":
                groups.setdefault((unit["entry"], unit["samples"], unit["steps"]), []).append(unit)
        entries = self.entries

        def order(key: tuple[str, int | None, int]) -> tuple[int, float, int]:
            return entries.index(key[0]), math.inf if key[1] is None else key[1], key[2]

        return [
            Training(*key, tuple(sorted(groups[key], key=lambda unit: int(unit["seed"]))))
            for key in sorted(groups, key=order)
        ]

    @property
    def entries(self) -> list[str]:
        """Names, in the order in which they first appear."""
        return list(dict.fromkeys(unit["entry"] for unit in self.units))

    @property
    def main(self) -> list[Training]:
        """One for each entry that finished: the most training samples, then the most steps."""
        return list({training.entry: training for training in self.trainings}.values())

    @property
    def own_metric(self) -> str:
        """`own_metric` of the protocol."""
        return own_metric(self.description)

    @property
    def failures(self) -> list[Row]:
        """Units that did not finish."""
        return [unit for unit in self.units if unit["status"] != "finished"]

    def family(self, name: str) -> list[Reference]:
        """References that are "trivial" or "classical"; what was not finite is NaN."""
        return [_reference(row) for row in self.references if row["family"] == name]

    @property
    def training_samples(self) -> int | None:
        """How many there are in all, where the description counts the splits."""
        for key in ("split", "splits", "samples", "counts"):
            counts = self.description.get(key)
            while isinstance(counts, Mapping):
                if isinstance(counts.get("train"), int):
                    return int(counts["train"])
                counts = counts.get("counts")
        return None

    @property
    def resolution(self) -> str | None:
        """Of the grid that was trained on, such as "64x64", where the description states it."""
        shape = None if self.description.get("every") else self.description.get("grid")
        shape = shape.get("shape") if isinstance(shape, Mapping) else shape
        return "x".join(str(n) for n in shape) if isinstance(shape, list | tuple) else None


def _reference(row: Row) -> Reference:
    """The reference of a row; older rows have every metric by sample."""
    told = {field.name: row[field.name] for field in dataclasses.fields(Reference) if field.name in row}
    told["metrics"] = {name: [_number(v) for v in values] for name, values in row["metrics"].items()}
    told["means"] = {name: _number(value) for name, value in row.get("means", {}).items()}
    return Reference(**told)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def gather(rows: Iterable[Row]) -> list[Results]:
    """One `Results` for each benchmark and fingerprint, in the order in which they appear.

    Of rows that say the same thing twice, such as a unit that failed and was tried again, the last counts.
    """
    groups: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in current(rows):
        kinds = groups.setdefault((row["benchmark"], row["fingerprint"]), {})
        kinds.setdefault(row["kind"], []).append(row)
    found = []
    for (benchmark, fingerprint), kinds in groups.items():
        card = kinds.get("benchmark", [{}])[0]
        found.append(
            Results(
                benchmark,
                fingerprint,
                description=card.get("description") or {},
                published=card.get("published") or (),
                units=kinds.get("unit", []),
                calibrations=kinds.get("calibration", []),
                references=kinds.get("reference", []),
                searches=kinds.get("search", []),
            )
        )
    return found
