"""The page of a comparison: one HTML file without scripts that opens without a network, made from rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sciml.comparison.facts import looked_up, published
from sciml.comparison.field_figures import field_pictures
from sciml.comparison.figures import Picture, Sheet, pictures
from sciml.comparison.panels import Panel
from sciml.comparison.results import Results
from sciml.comparison.rows import Row
from sciml.comparison.summary import summary
from sciml.comparison.table import Section, Table
from sciml.figures import looks, pdf, svg
from sciml.files import write_bytes_atomic
from sciml.page import chart, data_table, escape, html_page, image
from sciml.report import Example

_SHOWN = 3  # tables; the others are folded away

_STYLE = """
body { max-width: 72rem }
nav { margin: 1rem 0 } nav a { margin-right: 1.2rem }
section { border-top: 1px solid var(--line); margin-top: 3rem }
section h2 { font-size: 1.45rem; margin: 1.2rem 0 .2rem } h3 { margin: 2.2rem 0 .4rem }
.scroll { overflow-x: auto; margin: 1.4rem 0 } .scroll table { min-width: 44rem }
caption { color: var(--ink); font-weight: 600 } tbody th { font-weight: 400 }
tr.best th, tr.best td:nth-child(2) { font-weight: 700 }
td:last-child, th:last-child { padding-right: 0 }
.words caption { color: var(--quiet); font-weight: 400 } .words td { text-align: left }
.words th:not(:first-child) { text-align: left }
.words td:nth-child(2), .words th:nth-child(2) { text-align: right }
.notes { color: var(--quiet); font-size: .9rem; padding-left: 1.2rem }
.charts { display: grid; gap: 1.8rem 2rem; margin-top: 2rem;
          grid-template-columns: repeat(auto-fill, minmax(min(28rem, 100%), 1fr)) }
figure { margin: 0 } figure img { width: 100% }
.wide { margin: 1.5rem 0; max-width: 54rem }
.wide img { min-width: 40rem } .wide .scroll { margin: .7rem 0 0 }
figcaption { color: var(--quiet); font-size: .86rem; line-height: 1.4; margin-top: .4rem }
code, pre { font-family: ui-monospace, monospace; font-size: .88rem }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--tint); padding: .7rem 1rem }
@media print { .charts { grid-template-columns: 1fr 1fr } section { break-before: page }
               .wide img, .scroll table { min-width: 0 } }
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
        That repeats the comparison; several lines where several commands made the rows.
    figures : Path, optional
        Folder for every figure as SVG and PDF.
    """
    listed = list(rows)
    table = Table.of(listed)
    found = [section.results for section in table.sections]
    drawn = looks(row["entry"] for results in found for row in (*results.units, *results.searches))
    parts = [_head(table, command)]
    for section, results in zip(table.sections, found, strict=True):
        own = {e: x for (name, e), x in (examples or {}).items() if name == results.benchmark}
        sheet = Sheet.of(results, drawn)
        shown = list(pictures(sheet))
        fields = list(field_pictures({entry: own[entry] for entry in results.entries if entry in own}))
        if figures is not None:
            _save(figures / anchor(results), [*shown, *fields])
        parts.append(_section(section, sheet, shown, fields))
    write_bytes_atomic(path, html_page(title, parts, style=_STYLE).encode())


def anchor(results: Results) -> str:
    """The name of a section and of the folder of its figures."""
    letters = "".join(c if c.isalnum() else "-" for c in results.benchmark)
    return f"{letters}-{results.fingerprint}"


def _save(folder: Path, shown: Sequence[Picture]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for picture in shown:
        write_bytes_atomic(folder / f"{picture.name}.svg", svg(picture.figure))
        write_bytes_atomic(folder / f"{picture.name}.pdf", pdf(picture.figure))


def _head(table: Table, command: str) -> str:
    """All benchmarks, the commands, and every entry on every benchmark where there are several."""
    links = "".join(
        f'<a href="#{anchor(s.results)}">{escape(s.results.benchmark)}</a>' for s in table.sections
    )
    told = f"<p>To repeat it:</p><pre>{escape(command)}</pre>" if command else ""
    every = _panel(table.overview()) if len(table.sections) > 1 else ""
    return f'<nav aria-label="benchmarks">{links}</nav>{told}{every}'


def _section(section: Section, sheet: Sheet, shown: Sequence[Picture], fields: Sequence[Picture]) -> str:
    results = sheet.results
    parts = [
        f"<h2>{escape(results.benchmark)}</h2>",
        f'<p class="quiet">fingerprint <code>{escape(results.fingerprint)}</code></p>',
        f'<p class="verdict">{escape(summary(results, sheet.equal))}</p>',
        _tables(section),
        f'<div class="charts">{"".join(_figure(p, chart(p.figure, p.alt)) for p in shown)}</div>',
    ]
    if fields:
        parts.append("<h3>Fields</h3>")
        parts += [
            _figure(p, f'<div class="scroll">{image(p.figure, p.alt)}</div>', wide=True) for p in fields
        ]
    parts += [published(results), looked_up(results)]
    return f'<section id="{anchor(results)}">{"".join(parts)}</section>'


def _figure(picture: Picture, inner: str, *, wide: bool = False) -> str:
    """What a wide figure shows is said before it, since it may be longer than a screen."""
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>"
    return f'<figure class="wide">{caption}{inner}</figure>' if wide else f"<figure>{inner}{caption}</figure>"


def _tables(section: Section) -> str:
    """Errors, costs and the solver at equal error; what else was measured is folded away."""
    shown = [_panel(panel) for panel in section.panels()]
    notes = "".join(f"<li>{escape(note)}</li>" for note in section.notes())
    more = "".join(shown[_SHOWN:])
    return (
        "".join(shown[:_SHOWN])
        + (f'<ul class="notes">{notes}</ul>' if notes else "")
        + (f"<details><summary>Further tables</summary>{more}</details>" if more else "")
    )


def _panel(panel: Panel) -> str:
    table = data_table(panel.heads, panel.cells, caption=panel.title, bold=panel.bold)
    return f'<div class="scroll">{table}</div>'
