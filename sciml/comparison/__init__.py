"""Comparisons of operators, solvers and recipes: equal data, equal budget, per-sample errors, intervals.

`compare` trains every entry on every contest with every seed, each in a process of its own, and appends what
it finds as rows to one file; tables and figures are made from rows.  `Contest` is what entries meet on,
`Entry` an operator that competes.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sciml.comparison.comparison import Comparison, compare
    from sciml.comparison.contest import Contest, Judgement, Plan, Reference
    from sciml.comparison.entry import Entry

__all__ = ["compare", "Comparison", "Contest", "Entry", "Judgement", "Plan", "Reference"]

_DEFINED_IN = {
    "compare": "comparison",
    "Comparison": "comparison",
    "Contest": "contest",
    "Entry": "entry",
    "Judgement": "contest",
    "Plan": "contest",
    "Reference": "contest",
}


def __getattr__(name: str) -> object:
    if name not in _DEFINED_IN:
        raise AttributeError(f"module 'sciml.comparison' has no attribute {name!r}")
    value = getattr(import_module(f"sciml.comparison.{_DEFINED_IN[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
