"""What each training may cost: steps, seconds or floating-point operations."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from sciml.errors import ConfigError

Unit = Literal["steps", "seconds", "flops"]

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_TEXT = re.compile(r"(?P<amount>[0-9.]+(?:e[+]?[0-9]+)?) *(?P<unit>s|m|h|steps?|flops?)", re.IGNORECASE)


@dataclass(frozen=True)
class Budget:
    """An amount of one unit, the same for every contestant.

    Seconds and FLOPs become steps once, before training, see `sciml.comparison.calibration`: a training that
    is cut by a clock would never be the same twice.

    Examples
    --------
    >>> Budget.parse("10m"), str(Budget.parse("600s"))
    (Budget(amount=600.0, unit='seconds'), '600s')
    >>> Budget.parse("2e15flops"), Budget.parse(5000)
    (Budget(amount=2000000000000000.0, unit='flops'), Budget(amount=5000.0, unit='steps'))
    """

    amount: float
    unit: Unit

    def __post_init__(self) -> None:
        whole = self.unit != "steps" or self.amount == int(self.amount)
        if not (math.isfinite(self.amount) and self.amount > 0 and whole):
            raise ConfigError(
                f"budget: needs a positive amount, whole for steps, got {self.amount} {self.unit}."
            )

    @classmethod
    def parse(cls, text: str | int | Budget) -> Budget:
        """``"40s"``, ``"10m"``, ``"2h"``, ``"5000steps"``, ``"2e15flops"``; a whole number counts steps.

        Raises
        ------
        ConfigError
            For anything else.
        """
        if isinstance(text, Budget):
            return text
        if isinstance(text, int) and not isinstance(text, bool):
            return cls(float(text), "steps")
        found = _TEXT.fullmatch(str(text).strip())
        try:
            amount = float(found["amount"]) if found is not None else math.nan
        except ValueError:
            amount = math.nan
        if found is None or not math.isfinite(amount):
            raise ConfigError(
                f"budget: expected seconds, minutes, hours, steps or FLOPs, such as 40s, 10m, 2h, 5000steps "
                f"or 2e15flops, got {text!r}."
            )
        unit = found["unit"].lower()
        if unit in _SECONDS:
            return cls(amount * _SECONDS[unit], "seconds")
        return cls(amount, "steps" if unit.startswith("step") else "flops")

    def __str__(self) -> str:
        return f"{self.amount:.15g}{ {'seconds': 's'}.get(self.unit, self.unit) }"
