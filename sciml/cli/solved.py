"""What ``sciml solve`` leaves behind and prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sciml.assessment import milliseconds
from sciml.cli.output import duration, print_table

ASKED, RESULT, REPORT = "problem.json", "solution.json", "report.html"

_OF_A_RUN = {
    "run.json": "settings, versions, status",
    "metrics.jsonl": "loss, its terms, seconds and error of every step",
    "checkpoints": "training state",
}
_OF_ALL = {
    ASKED: "what was asked: repeat it with sciml solve --like",
    "solution.nc": "solution, error and residual: xarray.open_dataset",
    "solution.vtu": "the same for ParaView and meshio",
    REPORT: "errors, times, pictures",
}


def files_of(windows: int | None) -> dict[str, str]:
    """Files and folders of a solution, and what they are; of a march the run of the first window."""
    if windows is None:
        return _OF_A_RUN | _OF_ALL
    return {"window-00": f"run of a window; {', '.join(_OF_A_RUN)}"} | _OF_ALL


def verdict(stored: Mapping[str, Any]) -> str:
    """The result in two sentences."""
    after = f"after {stored['steps']} steps in {duration(stored['seconds'])}"
    if not stored["finished"]:
        after += f" (of {stored['steps_asked']}: the time was over)"
    error = stored["relative_l2"]
    if error is None:
        return f"No solution is known to compare with; the loss is {stored['loss']:.3g} {after}."
    text = f"Relative L2 error {error:.3g} {after}."
    solvers = [y for y in stored["yardsticks"] if y["kind"] == "classical"]
    if not solvers:
        return text
    last = solvers[-1]
    least = "is as accurate" if last["error"] <= error else f"reaches {last['error']:.3g}"
    return f"{text} The classical solver ({last['name']}) {least} in {milliseconds(last['seconds'])}."


def unknowns_in_words(stored: Mapping[str, Any]) -> dict[str, str]:
    """Each unknown in words: its value with a standard error, how far that is off, and what is not known.

    Examples
    --------
    >>> found = {"value": 2.0, "standard_error": 0.01, "relative_error": 0.004, "determined": True}
    >>> unknowns_in_words({"unknowns": {"k": found}})["k"]
    '2, standard error 0.01 (0.50%), off by 0.40%'
    """
    known: Mapping[str, Mapping[str, Any]] = stored.get("unknowns") or {
        name: {"value": value} for name, value in stored["coefficients"].items()
    }  # runs of earlier versions have values alone
    return {name: _told(found) for name, found in known.items()}


def _told(found: Mapping[str, Any]) -> str:
    value, error, off = (found.get(key) for key in ("value", "standard_error", "relative_error"))
    parts = ["a function, in solution.nc" if value is None else f"{value:.6g}"]
    if error is not None:
        share = "" if not value else f" ({abs(error / value):.2%})"
        parts.append(f"standard error {error:.2g}{share}" + ("" if value is not None else " in the mean"))
    if off is not None:
        parts.append(f"off by {off:.2%}" + ("" if value is not None else " in L2"))
    if found.get("determined") is False:
        parts.append("not determined by the data")
    return ", ".join(parts)


def result_of(stored: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The machine-readable result of ``sciml solve --json``."""
    return {
        **stored,
        "run": str(folder),
        "files": [str(folder / name) for name in (*files_of(stored.get("windows")), RESULT)],
    }


def show(stored: Mapping[str, Any], folder: Path) -> None:
    if stored["relative_l2"] is not None:
        rows = [[stored["recipe"], f"{stored['relative_l2']:.3g}", f"{stored['seconds']:.3g} s"]]
        for y in stored["yardsticks"]:
            rows.append([y["name"], f"{y['error']:.3g}", milliseconds(y["seconds"])])
        title = f"{stored['problem']}, fingerprint {stored['fingerprint']}"
        print_table(title, ["", "relative L2", "time"], rows, bold=0)
    if stored.get("beside"):
        _show_beside(stored["beside"])
    for name, text in unknowns_in_words(stored).items():
        print(f"{name}: {text}")
    print(verdict(stored))
    print(f"Written to {folder}:")
    for name, what in files_of(stored.get("windows")).items():
        print(f"  {name:<18}{what}")


def _show_beside(rows: Sequence[Mapping[str, float]]) -> None:
    table = [
        [
            f"{row['network']:.6g}",
            f"{row['reference']:.6g}",
            f"({row['lower']:.6g}, {row['upper']:.6g})",
            milliseconds(row["network_seconds"]),
            milliseconds(row["reference_seconds"]),
        ]
        for row in rows
    ]
    header = ["network", "Monte Carlo", "3 standard errors", "time", "time of the reference"]
    print_table("at points drawn at random", header, table)
