"""Per-sample values of a metric over a whole set, and what may be said of them."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sciml.errors import ShapeError
from sciml.intervals import RESAMPLES, mean_interval

Float = NDArray[np.float64]


class Scores:
    """The values of one metric, sample by sample, float64; batches are joined, never averaged.

    One batch, many batches and a short last batch give the same numbers to the last bit: means are correctly
    rounded sums, so the order of the samples does not matter either.

    Values are (samples,) or, of a metric with ``per="channel"``, (samples, ...).  With further axes every
    statistic is taken over samples for each entry, then averaged over the entries; `interval` and
    `standard_error` are those of the samples' own means.

    Raises
    ------
    ShapeError
        If batches differ in their further axes, or a statistic of no samples is asked for.

    Examples
    --------
    >>> scores = Scores()
    >>> scores.add([1.0, 2.0])
    >>> scores.add([6.0])
    >>> scores.mean, scores.median, scores.worst, len(scores)
    (3.0, 2.0, 6.0, 3)
    """

    def __init__(self, values: ArrayLike | Tensor | None = None) -> None:
        self._parts: list[Float] = []
        if values is not None:
            self.add(values)

    def add(self, values: ArrayLike | Tensor) -> None:
        """Append the values (batch, ...) of one batch."""
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        part = np.array(array, dtype=np.float64)  # a copy: the caller may reuse its buffer
        if part.ndim == 0 or (self._parts and part.shape[1:] != self._parts[0].shape[1:]):
            wanted = self._parts[0].shape[1:] if self._parts else ("...",)
            raise ShapeError(f"Scores.add: expected values of shape {('batch', *wanted)}, got {part.shape}.")
        self._parts.append(part)

    @classmethod
    def join(cls, parts: Iterable[Scores]) -> Scores:
        """The scores of several sets together, such as those of the processes of one run."""
        joined = cls()
        for part in parts:
            joined._parts += part._parts
        return joined

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def __repr__(self) -> str:
        if not len(self):
            return "Scores(no samples)"
        return f"Scores({self.mean:.4g} ± {self.standard_error:.2g} over {len(self)} samples)"

    @property
    def values(self) -> Float:
        """All values, (samples, ...), in the order in which they came."""
        if not len(self):
            raise ShapeError("Scores: no samples were added, so there is nothing to state.")
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        return self._parts[0]

    @property
    def samples(self) -> Float:
        """One value for each sample, (samples,): the mean over further axes."""
        values = self.values
        return values if values.ndim == 1 else values.reshape(len(values), -1).mean(axis=1)

    @property
    def mean(self) -> float:
        """The mean over samples."""
        return _mean(self.samples)

    @property
    def standard_error(self) -> float:
        """Of the mean: sample standard deviation (n - 1) over sqrt(n); NaN for one sample."""
        samples, n = self.samples, len(self)
        if n < 2:
            return math.nan
        return math.sqrt(_mean((samples - self.mean) ** 2) / (n - 1))

    @property
    def median(self) -> float:
        """The median over samples."""
        return float(np.median(self.values, axis=0).mean())

    @property
    def worst(self) -> float:
        """The largest value over samples."""
        return float(self.values.max(axis=0).mean())

    @property
    def root_mean_square(self) -> float:
        """The root of the mean square over samples."""
        columns = self.values.reshape(len(self), -1).T
        return _mean(np.array([math.sqrt(_mean(column**2)) for column in columns]))

    def interval(
        self, level: float = 0.95, *, resamples: int = RESAMPLES, seed: int = 0
    ) -> tuple[float, float]:
        """Of the mean, see `sciml.intervals.mean_interval`; NaN for one sample."""
        low, high = mean_interval(np.sort(self.samples), level, resamples=resamples, seed=seed)
        return float(low), float(high)

    def summary(self) -> dict[str, float | int | list[float]]:
        """The statistics as plain numbers, for JSON."""
        return {
            "mean": self.mean,
            "standard_error": self.standard_error,
            "median": self.median,
            "worst": self.worst,
            "interval": list(self.interval()),
            "samples": len(self),
        }


def _mean(values: Float) -> float:
    """The correctly rounded sum over n; NaN and infinity pass through."""
    if not np.isfinite(values).all():
        return float(values.mean())
    return math.fsum(values.tolist()) / len(values)
