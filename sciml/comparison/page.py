"""The page of a comparison: one HTML file without scripts that opens without a network, made from rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sciml.assessment import milliseconds, percent
from sciml.comparison.field_figures import field_pictures
from sciml.comparison.figures import Picture, Sheet, pictures
from sciml.comparison.results import Results, gather
from sciml.comparison.rows import Row
from sciml.comparison.statistics import mean_error
from sciml.comparison.summary import summary
from sciml.figures import looks, pdf, svg
from sciml.files import write_bytes_atomic
from sciml.page import chart, data_table, escape, fact_table, html_page, image
from sciml.report import Example

_STYLE = """
body { max-width: 72rem }
nav { margin: 1rem 0 } nav a { margin-right: 1.2rem }
section { border-top: 1px solid var(--line); margin-top: 3rem }
section h2 { font-size: 1.45rem; margin: 1.2rem 0 .2rem } h3 { margin: 2rem 0 .4rem }
.scroll { overflow-x: auto } .scroll table { min-width: 40rem }
.charts { display: grid; gap: 1.6rem 2rem;
          grid-template-columns: repeat(auto-fill, minmax(min(28rem, 100%), 1fr)) }
figure { margin: 0 } figure img { width: 100% }
.wide { margin: 1.5rem 0; max-width: 54rem } .wide img { min-width: 40rem }
figcaption { color: var(--quiet); font-size: .86rem; line-height: 1.4; margin-top: .4rem }
tbody th { font-weight: 400 } tr.best th, tr.best td { font-weight: 600 }
table.words td { text-align: left } .failed { border-left: 4px solid #c53030; padding-left: .8rem }
code, pre { font-family: ui-monospace, monospace; font-size: .88rem }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--tint); padding: .7rem 1rem }
"""


def write_page(
    path: Path,
    rows: Iterable[Row],
    examples: Mapping[tuple[str, str], Sequence[Example]] | None = None,
    *,
    title: str = "Comparison",
    command: str = "",
    figures: Path | None = None,
) -> None:
    """Write the page, whole or not at all.

    Parameters
    ----------
    path : Path
    rows : rows of a comparison
        As `sciml.comparison.rows.Rows.read` returns them; every benchmark and fingerprint has a section.
    examples : mapping of (benchmark, entry) to examples, optional
        Fields to be shown, see `sciml.comparison.examples.read_examples`.
    title : str
    command : str
        That repeats the comparison.
    figures : Path, optional
        Folder for every figure as SVG and PDF.
    """
    listed = list(rows)
    found = gather(listed)
    drawn = looks(unit["entry"] for results in found for unit in results.units)
    sections = [_head(found, command)]
    for results in found:
        own = {e: x for (name, e), x in (examples or {}).items() if name == results.benchmark}
        sheet = Sheet.of(results, drawn)
        shown = list(pictures(sheet))
        fields = list(field_pictures({entry: own[entry] for entry in results.entries if entry in own}))
        if figures is not None:
            _save(figures / anchor(results), [*shown, *fields])
        sections.append(_section(sheet, shown, fields))
    write_bytes_atomic(path, html_page(title, sections, style=_STYLE).encode())


def anchor(results: Results) -> str:
    """The name of a section and of the folder of its figures."""
    letters = "".join(c if c.isalnum() else "-" for c in results.benchmark)
    return f"{letters}-{results.fingerprint}"


def _save(folder: Path, shown: Sequence[Picture]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for picture in shown:
        write_bytes_atomic(folder / f"{picture.name}.svg", svg(picture.figure))
        write_bytes_atomic(folder / f"{picture.name}.pdf", pdf(picture.figure))


def _head(found: Sequence[Results], command: str) -> str:
    links = "".join(f'<a href="#{anchor(r)}">{escape(r.benchmark)}</a>' for r in found)
    told = f"<p>To repeat it:</p><pre>{escape(command)}</pre>" if command else ""
    return f'<nav aria-label="benchmarks">{links}</nav>{told}'


def _section(sheet: Sheet, shown: Sequence[Picture], fields: Sequence[Picture]) -> str:
    results = sheet.results
    parts = [
        f"<h2>{escape(results.benchmark)}</h2>",
        f'<p class="quiet">fingerprint <code>{escape(results.fingerprint)}</code></p>',
        f'<p class="verdict">{escape(summary(results, sheet.equal))}</p>',
        _failures(results),
        f'<div class="scroll">{_table(results)}</div>',
        f'<div class="charts">{"".join(_figure(p, chart(p.figure, p.alt)) for p in shown)}</div>',
    ]
    if fields:
        parts.append("<h3>Fields</h3>")
        parts += [
            _figure(p, f'<div class="scroll">{image(p.figure, p.alt)}</div>', css="wide") for p in fields
        ]
    parts += [_published(results), _facts(results)]
    return f'<section id="{anchor(results)}">{"".join(parts)}</section>'


def _figure(picture: Picture, inner: str, *, css: str = "") -> str:
    style = f' class="{css}"' if css else ""
    return f"<figure{style}>{inner}<figcaption>{escape(picture.caption)}</figcaption></figure>"


def _table(results: Results) -> str:
    heads = ("", "mean error", "95% interval", "parameters", "training", "per solve")
    lines = []
    for training in results.main:
        e = mean_error(training.values())
        count, seconds = training.of("parameters"), training.of("train_seconds")
        lines.append(
            (
                training.entry,
                percent(e.value),
                f"{percent(e.low)} to {percent(e.high)}",
                "" if count is None else f"{count:,.0f}",
                milliseconds(seconds),
                milliseconds(training.of("seconds_per_sample")),
            )
        )
    return data_table(heads, lines, caption="Relative L2 error on the test samples.")


def _failures(results: Results) -> str:
    if not results.failures:
        return ""
    items = "".join(
        f"<li>{escape(unit['entry'])}, seed {unit['seed']}: {escape(unit['status'])}. "
        f"{escape(unit.get('message') or '')}</li>"
        for unit in results.failures
    )
    return f'<div class="failed"><p>Trainings that did not finish:</p><ul>{items}</ul></div>'


def _published(results: Results) -> str:
    if not results.published:
        return ""
    heads = ("system", "error", "metric", "same protocol", "difference", "source", "found")
    lines = [
        (
            str(row["system"]),
            percent(row["value"]),
            str(row["metric"]),
            "yes" if row["same_protocol"] else "no",
            str(row["reason"]),
            str(row["source"]),
            str(row["grade"]),
        )
        for row in results.published
    ]
    return f'<h3>Published numbers</h3><div class="scroll">{data_table(heads, lines)}</div>'


def _facts(results: Results) -> str:
    first: Mapping[str, Any] = results.units[0] if results.units else {}
    names = ("device", "threads", "versions")
    environment = {name: first[name] for name in names if name in first}
    parts = [("Protocol", results.description), ("Environment", environment)]
    return "".join(
        f"<details><summary>{heading}</summary>{fact_table(table)}</details>"
        for heading, table in parts
        if table
    )
