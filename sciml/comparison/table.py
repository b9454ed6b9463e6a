"""Rows of a comparison as tables: errors with intervals and significance, costs, and all that failed."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sciml.assessment import milliseconds, percent
from sciml.comparison.equal_error import break_even, equal_error, generation_seconds
from sciml.comparison.lines import LEVEL, Line, lines_of, notable
from sciml.comparison.overview import interval, or_dash, overview
from sciml.comparison.panels import Panel
from sciml.comparison.results import DURATIONS, Results, gather, metric_name
from sciml.comparison.rows import Row
from sciml.comparison.statistics import Estimate
from sciml.files import finite

# Metrics beside the deciding one that Markdown has room for, with their heads; the CSV has all of them.
_OTHERS = {
    "relative_h1": "H1",
    "fourier_low": "low k",
    "fourier_mid": "middle k",
    "fourier_high": "high k",
    "boundary_rmse": "boundary",
    "max_error": "largest",
    "relative_l2_first": "first frame",
    "relative_l2_last": "last frame",
}
_MOST = 7  # of them, in 110 columns
_MESSAGE = 160  # characters of a failure that are shown


@dataclass(frozen=True)
class Section:
    """The table of one benchmark under one protocol; ``lines`` as `lines_of` puts them."""

    results: Results
    lines: Sequence[Line]

    def records(self) -> list[dict[str, Any]]:
        """Every line with everything that is known of it, flat, and published numbers; None for not known."""
        place = {"benchmark": self.results.benchmark, "fingerprint": self.results.fingerprint}
        found = [{**place, **line.record()} for line in self.lines]
        for row in self.results.published:
            card = {k: v for k, v in row.items() if k not in ("system", "value")}
            found.append({**place, "name": row["system"], "kind": "published", "mean": row["value"], **card})
        return [finite(record) for record in found]

    def panels(self) -> list[Panel]:
        """The tables that have something in them: errors first, then costs, and what else was measured."""
        made = (
            self._errors(),
            self._own(),
            self._costs(),
            self._equal(),
            self._others(),
            self._durations(),
            self._estimates("Error at other resolutions", lambda line: line.transfer, str),
            self._efficiency(),
        )
        return [panel for panel in made if panel.cells]

    def notes(self) -> list[str]:
        """What has to be known to read the tables, in sentences."""
        return [note for note in (*self._scatter(), *self._failures(), *self._gaps()) if note]

    def published(self) -> Panel:
        """Numbers of others."""
        cells = [
            [
                str(row["system"]),
                _form(row["metric"])(row["value"]),
                str(row["metric"]),
                "yes" if row["same_protocol"] else f"no: {row['reason']}",
                f"{row['source']} ({row['grade']})",
            ]
            for row in self.results.published
        ]
        return Panel("Published numbers", ["", "error", "metric", "same protocol", "source"], cells)

    def published_lines(self) -> Iterator[str]:
        """The same as a list: a line for all numbers of one source under one protocol."""
        groups: dict[tuple[str, str, str], list[str]] = {}
        for name, value, metric, same, source in self.published().cells:
            groups.setdefault((metric, same, source), []).append(f"{name} {value}")
        by_protocol = sorted(groups.items(), key=lambda item: (item[0][1] != "yes", item[0][1]))
        for same, found in groupby(by_protocol, key=lambda item: item[0][1]):
            yield f"- Same protocol: {same}."
            for (metric, _, source), numbers in found:
                yield f"  - {source}, {metric}: {', '.join(numbers)}."

    @property
    def _entries(self) -> list[Line]:
        return [line for line in self.lines if line.kind == "entry"]

    def _errors(self) -> Panel:
        shown = notable(self.lines)
        cells = [
            [
                line.name,
                percent(line.error.value) if line.done or line.kind != "entry" else "failed",
                interval(line.error),
                or_dash(line.median, percent),
                or_dash(line.worst, percent),
                _standing(line),
                f"{line.done}/{line.done + line.failed}" if line.kind == "entry" else line.kind,
            ]
            for line in shown
        ]
        bold = {i for i, line in enumerate(shown) if line.place == "best"}
        heads = ["", "mean error", "95% interval", "median", "worst", "p vs best", "seeds"]
        return Panel("Relative L2 error on the test samples", heads, cells, bold)

    def _own(self) -> Panel:
        """The protocol's own metric, where it is another one."""
        metric = self.results.own_metric
        form = _form(metric)
        cells = [
            [line.name, form(line.own.value), f"{form(line.own.low)} to {form(line.own.high)}"]
            for line in notable(self.lines)
            if line.own is not None
        ]
        title = f"The protocol's own metric, {metric_name(metric)}"
        return Panel(title, ["", "mean", "95% interval"], cells)

    def _costs(self) -> Panel:
        epochs = any(line.costs.get("seconds_per_epoch") for line in self._entries)
        time = ("per epoch", "seconds_per_epoch") if epochs else ("per step", "seconds_per_step")
        columns: dict[str, tuple[str, Callable[[float], str]]] = {
            "parameters": ("parameters", "{:,.0f}".format),
            "steps": ("steps", "{:,.0f}".format),
            "training": ("train_seconds", milliseconds),
            time[0]: (time[1], milliseconds),
            "FLOPs/step": ("flops_per_step", "{:.2g}".format),
            "memory": ("memory_bytes", _bytes),
            "per sample": ("seconds_per_sample", milliseconds),
        }
        cells = []
        for line in notable(self.lines):
            costs = {**line.costs, "steps": line.steps}
            if any(costs.get(name) is not None for name, _ in columns.values()):
                cells.append(
                    [line.name, *(or_dash(costs.get(name), form) for name, form in columns.values())]
                )
        return Panel("Costs, means over seeds", ["", *columns], cells)

    def _equal(self) -> Panel:
        """The classical solver at the error of each entry."""
        solvers, cells = self.results.family("classical"), []
        for line in self._entries:
            own, trained = line.costs.get("seconds_per_sample"), line.costs.get("train_seconds")
            if not solvers or not own or not 0 < line.error.value < math.inf:
                continue
            found = equal_error(solvers, line.error.value)
            ratio = found.speed_up(own)
            if ratio is None or found.seconds is None:
                continue
            bound = {"cheaper": "< ", "not reached": "> "}.get(found.relation, "")
            data = generation_seconds(solvers, line.samples or self.results.training_samples)
            even = break_even(trained or 0.0, data or 0.0, own, found.seconds)
            cells.append(
                [
                    line.name,
                    milliseconds(own),
                    f"{bound}{milliseconds(found.seconds)}",
                    f"{bound}{ratio[0]:.3g}",
                    f"{ratio[1]:.3g} to {ratio[2]:.3g}",
                    _solves(even.training, known=trained is not None),
                    _solves(even.generation, known=trained is not None and data is not None),
                ]
            )
        heads = ["", "per sample", "solver", "speed-up", "95% interval", "repaid after", "with data"]
        return Panel("Classical solver at equal error, and solves that repay the training", heads, cells)

    def _others(self) -> Panel:
        names = [name for name in _OTHERS if any(name in line.means for line in self._entries)][:_MOST]
        cells = [
            [line.name, *(or_dash(line.means.get(name), _form(name)) for name in names)]
            for line in notable(self.lines)
            if any(name in line.means for name in names)
        ]
        return Panel(
            "Other errors, means over seeds and samples", ["", *map(_OTHERS.__getitem__, names)], cells
        )

    def _durations(self) -> Panel:
        """Means of times cut off at the end of the data, with the share that was cut off."""
        names = [name for name in DURATIONS if any(name in line.means for line in self._entries)]
        heads = [""]
        for name in names:
            heads += [name.replace("_", " "), "to the end"]
        cells = []
        for line in notable(self.lines):
            row = [line.name]
            for name in names:
                share = line.lasted.get(name)
                bound = "≥ " if share else ""
                row.append(or_dash(line.means.get(name), lambda v, bound=bound: f"{bound}{v:.3g}"))  # type: ignore[misc]
                row.append(or_dash(share, lambda v: f"{v:.0%}"))
            if any(name in line.means for name in names):
                cells.append(row)
        courses = (unit.get("course") for unit in self.results.units)
        units = next((str(course["units"]) for course in courses if course), "1")
        unit = "" if units in ("1", "") else f", in {units}"
        return Panel(f"How long predictions hold{unit}", heads, cells)

    def _estimates(
        self,
        title: str,
        of: Callable[[Line], Mapping[Any, Estimate]],
        head: Callable[[Any], str],
    ) -> Panel:
        """The mean errors of entries under several conditions."""
        keys = list(dict.fromkeys(key for line in self._entries for key in of(line)))
        cells = [
            [line.name, *(percent(of(line)[k].value) if k in of(line) else "-" for k in keys)]
            for line in self._entries
            if of(line)
        ]
        return Panel(title, ["", *map(head, keys)], cells)

    def _efficiency(self) -> Panel:
        every = self.results.training_samples

        def head(count: int | None) -> str:
            return str(count) if count is not None else "all" if every is None else str(every)

        plain = self._estimates("Error by number of training samples", lambda line: line.efficiency, head)
        slopes = [line.slope for line in self._entries if line.efficiency]
        cells = [
            [*row, "-" if slope is None else f"{slope.value:.2f}", _slope_interval(slope)]
            for row, slope in zip(plain.cells, slopes, strict=True)
        ]
        return Panel(plain.title, [*plain.heads, "exponent", "95% interval"], cells)

    def _scatter(self) -> list[str]:
        known = [line for line in self._entries if line.finite]
        if not known:
            return []
        most = max(line.done for line in known)
        told = {
            "seeds and samples": f"for a new seed and a new sample, from {most} seeds",
            "samples": "of these trained weights for a new sample; one seed says nothing about others",
            "seeds": f"for a new seed, from {most} seeds",
        }.get(known[0].error.over)
        said = f"Interval: of the mean error {told}." if told else ""
        tied = [line.name for line in known if line.place == "tied"]
        test = ""
        if any(line.place for line in known):
            test = (
                "p: that an entry is as good as the one with the smallest mean; sign flips of paired samples "
                "with the scatter of seeds, Holm's adjustment over all pairs."
            )
            test += f" Tied (p ≥ {LEVEL}): {', '.join(tied)}." if tied else ""
        return [said, test]

    def _failures(self) -> list[str]:
        return [
            f"{unit['entry']}, seed {unit['seed']}"
            + ("" if unit.get("samples") is None else f", {unit['samples']} training samples")
            + f": {unit['status']}. {_cut(unit.get('message') or '')}"
            for unit in self.results.failures
        ]

    def _gaps(self) -> list[str]:
        lost = [line.name for line in self._entries if line.done and line.failed]
        shared = [line.name for line in self._entries if not line.alone]
        plain = min(
            (line.error.value for line in self.lines if line.kind == "trivial" and line.finite),
            default=math.inf,
        )
        weak = [line.name for line in self._entries if line.finite and line.error.value >= plain]
        hidden = len(self.lines) - len(notable(self.lines))
        trials = [row for row in self.results.searches if row["status"] != "calibrated"]
        counts = Counter((row["entry"], row["budget"]) for row in trials)
        searched = ", ".join(f"{entry} ({n} trials of {budget})" for (entry, budget), n in counts.items())
        return [
            f"Means without the seeds that failed, so never best: {', '.join(lost)}." if lost else "",
            f"Times taken while other work ran: {', '.join(shared)}." if shared else "",
            f"No better than a trivial predictor: {', '.join(weak)}." if weak else "",
            f"Settings chosen on validation samples: {searched}." if searched else "",
            f"{hidden} other settings of classical solvers are in the CSV." if hidden else "",
        ]


class Table:
    """The tables of a comparison, one for each benchmark and protocol.

    Examples
    --------
    >>> rows = [
    ...     {"kind": "unit", "benchmark": "heat", "fingerprint": "0", "entry": name, "seed": seed,
    ...      "samples": None, "steps": 9, "status": "finished", "metrics": {"relative_l2": errors}}
    ...     for name, errors in (("fno", [0.01, 0.02, 0.03]), ("unet", [0.02, 0.03, 0.05]))
    ...     for seed in range(2)
    ... ]
    >>> [(r["name"], r["mean"], r["done"]) for r in Table.of(rows).records()]
    [('fno', 0.02, 2), ('unet', 0.03333333333333333, 2)]
    """

    def __init__(self, sections: Sequence[Section]) -> None:
        self.sections = list(sections)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Table:
        """From the rows of a comparison."""
        return cls([Section(results, lines_of(results)) for results in gather(rows)])

    def records(self) -> list[dict[str, Any]]:
        """One JSON-able dictionary for each line of each section."""
        return [record for section in self.sections for record in section.records()]

    def csv(self) -> str:
        """The records; a column for everything that is known of any of them."""
        records = self.records()
        columns = list(dict.fromkeys(name for record in records for name in record))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        return text.getvalue()

    def markdown(self) -> str:
        """For people: at most 110 columns wide for up to 9 resolutions or numbers of samples."""
        parts = [self.overview().markdown()] if len(self.sections) > 1 else []
        for section, sentence in self._told():
            parts.append(f"## {section.results.benchmark} ({section.results.fingerprint})")
            parts += [sentence] if sentence else []
            parts += [panel.markdown() for panel in section.panels()]
            if notes := section.notes():
                parts.append("\n".join(f"- {note}" for note in notes))
            if section.results.published:
                parts += ["**Published numbers**", "\n".join(section.published_lines())]
        return "\n\n".join(parts) + "\n"

    def latex(self) -> str:
        """Tabulars for the package booktabs, with what has to be known as comments."""
        parts = [self.overview().latex()] if len(self.sections) > 1 else []
        for section, sentence in self._told():
            notes = [f"{section.results.benchmark} ({section.results.fingerprint})", sentence]
            parts.append("\n".join(f"% {note}" for note in [*notes, *section.notes()] if note))
            shown = [*section.panels(), section.published()]
            parts += [panel.latex() for panel in shown if panel.cells]
        return "\n\n".join(parts) + "\n"

    def overview(self) -> Panel:
        """Every entry of every section."""
        return overview((section.results.benchmark, section.lines) for section in self.sections)

    def _told(self) -> Iterable[tuple[Section, str]]:
        """Sections with a warning where one benchmark appears under several protocols."""
        names = [section.results.benchmark for section in self.sections]
        for section in self.sections:
            several = names.count(section.results.benchmark) > 1
            yield (
                section,
                f"{section.results.benchmark} was run under several protocols; numbers under different "
                "fingerprints must not be compared."
                if several
                else "",
            )


def _standing(line: Line) -> str:
    if line.kind != "entry" or not line.place:
        return "-"
    if math.isnan(line.p):
        return line.place
    p = "<0.001" if line.p < 0.001 else f"{line.p:.2g}"
    return f"tied, {p}" if line.place == "tied" else p


def _slope_interval(slope: Estimate | None) -> str:
    return "-" if slope is None or math.isnan(slope.low) else f"{slope.low:.2f} to {slope.high:.2f}"


def _form(metric: str) -> Callable[[float], str]:
    return percent if metric.startswith("relative") else lambda value: f"{value:.3g}"


def _solves(count: int | None, *, known: bool) -> str:
    return "-" if not known else "never" if count is None else f"{count:,}"


def _bytes(count: float) -> str:
    return f"{count / 2**20:,.0f} MiB"


def _cut(message: str) -> str:
    """On one line, and not too long."""
    message = " ".join(message.split())
    return message if len(message) <= _MESSAGE else f"{message[:_MESSAGE]}…"
