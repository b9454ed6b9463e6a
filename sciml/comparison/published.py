"""Numbers of others beside ours: where they come from, how sure they are, whether the protocol is ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sciml.errors import ConfigError

Grade = Literal["read", "quoted", "recalled"]
"""Read in the authors' own paper, code or figure; quoted by somebody else; recalled from memory."""


@dataclass(frozen=True)
class Published:
    """One number that somebody else has published.

    Attributes
    ----------
    system : str
        What was trained.
    value : float
    metric : str
        With its reduction, where that is not the mean over samples.
    source : str
        Paper and table, for people to find it.
    grade : "read", "quoted" or "recalled"
        Confirm a number that is not "read" before you quote it.
    same_protocol : bool
        Whether data, split, inputs, loss and metric are those of the benchmark.
    reason : str
        In what it differs; empty only if it is the same.

    Raises
    ------
    ConfigError
        If the value is not positive, or a differing protocol has no reason.
    """

    system: str
    value: float
    metric: str
    source: str
    grade: Grade
    same_protocol: bool
    reason: str = ""

    def __post_init__(self) -> None:
        if not self.value > 0 or self.same_protocol != (self.reason == ""):
            raise ConfigError(
                f"Published {self.system!r}: needs a positive value, and a reason exactly if the protocol "
                f"differs, got {self.value}, {self.same_protocol} and {self.reason!r}."
            )

    def to_dict(self) -> dict[str, Any]:
        """For a row."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
