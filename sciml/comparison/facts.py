"""The parts of a comparison's page that are looked up: published numbers, protocol, budget, trainings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sciml.assessment import milliseconds, percent
from sciml.comparison.results import DECISIVE, Results, metric_name
from sciml.comparison.rows import Row
from sciml.comparison.search import validation_error
from sciml.page import data_table, escape, fact_table


def published(results: Results) -> str:
    """Numbers of others beside ours, from small to large; empty if there are none."""
    if not results.published:
        return ""
    reasons = list(dict.fromkeys(str(row["reason"]) for row in results.published if row["reason"]))
    lines = [(t.mean(), t.entry, "yes", metric_name(DECISIVE), "this comparison") for t in results.main]
    for row in results.published:
        same = "yes" if row["same_protocol"] else f"no ({reasons.index(str(row['reason'])) + 1})"
        found = f"{row['source']} ({row['grade']})"
        lines.append((float(row["value"]), str(row["system"]), same, metric_name(str(row["metric"])), found))
    lines.sort(key=lambda line: line[0])
    ours = [i for i, line in enumerate(lines) if line[-1] == "this comparison"]
    caption = (
        "Numbers of others beside ours. Only those of the same protocol compare; “read” is from the authors' "
        "own paper, code or figure, “quoted” by somebody else, “recalled” is to be confirmed."
    )
    heads = ("system", "error", "same protocol", "metric", "source")
    cells = [(name, percent(error), *rest) for error, name, *rest in lines]
    notes = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
    return (
        f'<h3>Published numbers</h3><div class="scroll words">'
        f"{data_table(heads, cells, caption=caption, bold=ours)}</div>"
        + (
            f'<p class="quiet">Why a protocol is another one:</p><ol class="notes">{notes}</ol>'
            if notes
            else ""
        )
    )


def looked_up(results: Results) -> str:
    """Everything that is folded away."""
    parts = {
        "Protocol": fact_table(flat(results.description)) if results.description else "",
        "Budget and calibration": _calibrations(results),
        "Every training": _units(results),
        "Predictors and solvers that need no training": _references(results),
        "Search for settings": _searches(results),
        "Environment": _environment(results),
    }
    return "".join(
        f'<details><summary>{heading}</summary><div class="scroll">{table}</div></details>'
        for heading, table in parts.items()
        if table
    )


def flat(table: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """Nested mappings as one, whose keys are paths.

    Examples
    --------
    >>> flat({"data": {"seed": 7, "split": {"train": 100}}, "loss": "relative_l2"})
    {'data.seed': 7, 'data.split.train': 100, 'loss': 'relative_l2'}
    """
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{at}{key}.")
        else:
            found[f"{at}{key}"] = value
    return found


def _table(rows: Sequence[Row], columns: Mapping[str, Callable[[Row], str]], caption: str) -> str:
    """A table of rows; columns in which nothing stands are left out."""
    cells = [[of(row) for of in columns.values()] for row in rows]
    kept = [i for i in range(len(columns)) if i == 0 or any(line[i] for line in cells)]
    heads = list(columns)
    lines = [[line[i] for i in kept] for line in cells]
    return data_table([heads[i] for i in kept], lines, caption=caption) if rows else ""


def _unit(row: Row) -> str:
    counted = "" if row.get("samples") is None else f", {row['samples']} samples"
    return f"{row['entry']}, seed {row['seed']}{counted}"


def _number(name: str, pattern: str = "{:,}") -> Callable[[Row], str]:
    return lambda row: "" if row.get(name) is None else pattern.format(row[name])


def _seconds(name: str) -> Callable[[Row], str]:
    return lambda row: "" if row.get(name) is None else milliseconds(row[name])


def _error(row: Row) -> str:
    if not row.get("metrics"):
        return ""
    return percent(float(np.array(row["metrics"][DECISIVE], dtype=np.float64).mean()))


def _calibrations(results: Results) -> str:
    columns: dict[str, Callable[[Row], str]] = {
        "entry": lambda row: str(row["entry"]),
        "samples": _number("samples"),
        "budget": _number("budget", "{}"),
        "per step": _seconds("seconds_per_step"),
        "per validation": _seconds("seconds_per_validation"),
        "steps": _number("steps"),
        "expected": _seconds("seconds_predicted"),
        "threads": _number("threads"),
        "FLOPs per step": _number("flops_per_step", "{:.3g}"),
    }
    return _table(results.calibrations, columns, "What the budget pays for, measured once before training.")


def _units(results: Results) -> str:
    columns: dict[str, Callable[[Row], str]] = {
        "training": _unit,
        "steps": _number("steps"),
        "status": lambda row: str(row["status"]),
        "error": _error,
        "parameters": _number("parameters"),
        "time": _seconds("train_seconds"),
        "per step": _seconds("seconds_per_step"),
        "per solve": _seconds("seconds_per_sample"),
        "timed alone": lambda row: "" if row.get("alone") is None else "yes" if row["alone"] else "no",
    }
    return _table(results.units, columns, "Mean relative L2 error over the test samples, and times.")


def _references(results: Results) -> str:
    def setting(name: str) -> Callable[[Row], str]:
        return lambda row: "" if row["settings"].get(name) is None else f"{row['settings'][name]}"

    columns: dict[str, Callable[[Row], str]] = {
        "method": lambda row: str(row["name"]),
        "resolution": setting("resolution"),
        "step (of the longest)": setting("step"),
        "error": _error,
        "per solve": _seconds("seconds_per_sample"),
        "one alone": lambda row: _seconds("latency")(row["settings"]),
        "threads": setting("threads"),
    }
    return _table(results.references, columns, "Mean relative L2 error over the test samples.")


def _searches(results: Results) -> str:
    columns: dict[str, Callable[[Row], str]] = {
        "trial": lambda row: f"{row['entry']} {row['trial'] + 1}",
        "validation error": lambda row: percent(validation_error(row)) if row["status"] == "finished" else "",
        "status": lambda row: str(row["status"]),
        "steps": _number("steps"),
        "settings": lambda row: ", ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in row["settings"].items()
        ),
    }
    ordered = sorted(results.searches, key=lambda row: (str(row["entry"]), validation_error(row)))
    return _table(ordered, columns, "Trials by their validation error, with equal budgets.")


def _environment(results: Results) -> str:
    """What all units share, and what differs as a list."""
    found: dict[str, list[Any]] = {}
    for row in (*results.units, *results.calibrations):
        told = {name: row[name] for name in ("device", "threads", "versions", "machine") if row.get(name)}
        for key, value in flat(told).items():
            if value not in found.setdefault(key, []):
                found[key].append(value)
    shown = {key: values[0] if len(values) == 1 else values for key, values in found.items()}
    return fact_table(shown) if shown else ""
