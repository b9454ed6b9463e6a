"""What a search may choose from: ranges of settings, and points of the unit cube as settings."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sciml.errors import ConfigError

if TYPE_CHECKING:
    from sciml.comparison.contest import Contest, Contestant


class Range(Protocol):
    """The values of one setting."""

    def at(self, share: float) -> Any:
        """The value below which lies this share, in [0, 1), of the range."""
        ...

    def distribution(self) -> Any:
        """For optuna."""
        ...

    def value(self, drawn: Any) -> Any:
        """The setting, from what optuna draws from the distribution."""
        ...


@dataclass(frozen=True)
class Log:
    """Positive numbers; every ratio counts the same.

    Examples
    --------
    >>> Log(1e-4, 1e-2).at(0.5)
    0.001
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < math.inf:
            raise ConfigError(f"Log: needs 0 < low < high, got {self.low} and {self.high}.")

    def at(self, share: float) -> float:
        """See `Range`; rounded to six digits, so that settings are legible."""
        return float(f"{self.low * (self.high / self.low) ** share:.6g}")

    def distribution(self) -> Any:
        """See `Range`."""
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, log=True)

    def value(self, drawn: Any) -> float:
        """See `Range`."""
        return float(f"{drawn:.6g}")


@dataclass(frozen=True)
class Whole:
    """Multiples of ``step`` from ``low`` to ``high``, both of which are among them.

    Examples
    --------
    >>> [Whole(16, 64, step=16).at(share) for share in (0.0, 0.3, 0.99)]
    [16, 32, 64]
    """

    low: int
    high: int
    step: int = 1

    def __post_init__(self) -> None:
        if self.step < 1 or self.high < self.low or (self.high - self.low) % self.step:
            raise ConfigError(
                f"Whole: needs low <= high, whole steps apart, got {self.low}, {self.high} and {self.step}."
            )

    def at(self, share: float) -> int:
        """See `Range`."""
        count = (self.high - self.low) // self.step + 1
        return self.low + self.step * min(int(share * count), count - 1)

    def distribution(self) -> Any:
        """See `Range`."""
        from optuna.distributions import IntDistribution

        return IntDistribution(self.low, self.high, step=self.step)

    def value(self, drawn: Any) -> int:
        """See `Range`."""
        return int(drawn)


@dataclass(frozen=True)
class Choice:
    """One of several values, without an order.

    Examples
    --------
    >>> Choice(["gelu", "tanh"]).at(0.7)
    'tanh'
    """

    values: Sequence[Any]

    def __post_init__(self) -> None:
        if not len(self.values):
            raise ConfigError("Choice: needs at least one value.")

    def at(self, share: float) -> Any:
        """See `Range`."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]

    def distribution(self) -> Any:
        """See `Range`: of positions, since optuna takes no objects."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(list(range(len(self.values))))

    def value(self, drawn: Any) -> Any:
        """See `Range`."""
        return self.values[drawn]


@dataclass(frozen=True)
class Space:
    """Settings by name, each with its range.

    Raises
    ------
    ConfigError
        If there is none.

    Examples
    --------
    >>> space = Space({"learning_rate": Log(1e-3, 1e-1), "width": Whole(16, 64, step=16)})
    >>> space.at([0.5, 0.9])
    {'learning_rate': 0.01, 'width': 64}
    """

    ranges: Mapping[str, Range]

    def __post_init__(self) -> None:
        if not self.ranges:
            raise ConfigError("Space: needs at least one setting with its range.")

    def at(self, point: Sequence[float]) -> dict[str, Any]:
        """The settings of a point of the unit cube."""
        return {
            name: found.at(float(share))
            for (name, found), share in zip(self.ranges.items(), point, strict=True)
        }


def space_of(entry: Contestant, contest: Contest[Any]) -> Space:
    """What is searched where nobody says otherwise: few settings that matter, the same for everybody.

    The learning rate, from a tenth to ten thirds of 3e-3; and of the arguments of the operator those that
    carry these names: ``width``, half to twice the usual 32; ``modes``, up to half the grid points of the
    shortest axis; ``levels`` (two to four resolutions).  A class with a static method ``search_space(grid)``
    that returns a mapping of names to ranges suggests its own ones besides the learning rate.

    Raises
    ------
    ConfigError
        If the contestant is no `Entry`: a recipe has no settings that everybody shares.
    """
    from sciml.comparison.entry import Entry

    if not isinstance(entry, Entry):
        raise ConfigError(f"search: say which settings of {entry.name!r} are searched: space=Space({{...}}).")
    base = entry.factory.func if isinstance(entry.factory, functools.partial) else entry.factory
    ranges: dict[str, Range] = {"learning_rate": Log(3e-4, 1e-2)}
    grid = contest.grid
    if hasattr(base, "search_space"):
        return Space({**ranges, **base.search_space(grid)})
    named = inspect.signature(entry.factory).parameters
    if "width" in named:
        ranges["width"] = Whole(16, 64, step=8)
    if "modes" in named and grid is not None and min(grid.shape) >= 8:
        ranges["modes"] = Whole(4, min(24, min(grid.shape) // 2))
    if "levels" in named:
        ranges["levels"] = Choice(((1, 2), (1, 2, 2), (1, 2, 2, 2)))
    return Space(ranges)
