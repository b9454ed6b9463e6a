"""One page about a trained surrogate: a single HTML file without scripts that opens without a network."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

import sciml.plots as plots
from sciml.assessment import Assessment, Row, milliseconds, percent
from sciml.files import write_bytes_atomic
from sciml.grid import Grid
from sciml.scores import Scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sciml.dataset import Dataset
    from sciml.surrogate import Surrogate

# Errors below are the rounding of the stored numbers: a solver that made the data.
_ROUNDING = 1e-6

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 62rem;
       margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.7rem; margin-bottom: 0 } h2 { font-size: 1.2rem; margin-top: 2.2rem }
table { border-collapse: collapse; width: 100% }
caption { text-align: left; color: #555; padding-bottom: .4rem }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; border-bottom: 1px solid #ddd;
         vertical-align: top }
th:first-child, td:first-child { text-align: left } tr.surrogate { font-weight: 600; background: #eef4fb }
td.text { text-align: left; font-family: ui-monospace, monospace; font-size: .85rem; overflow-wrap: anywhere }
img { max-width: 100% } .pair { display: flex; flex-wrap: wrap } .pair img { width: 50%; min-width: 24rem }
.verdict { font-size: 1.1rem; border-left: 4px solid #2b6cb0; padding-left: .8rem }
.quiet { color: #555 }
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{sections}
</body>
</html>
"""


@dataclass(frozen=True)
class Example:
    """One sample of a test set as arrays on the grid, with the relative L2 error of the prediction.

    ``inputs``, ``truth`` and ``prediction`` map names of scalar channels to arrays (*space); ``units`` has
    those of the outputs.
    """

    label: str
    sample: int
    error: float
    inputs: Mapping[str, NDArray[Any]]
    truth: Mapping[str, NDArray[Any]]
    prediction: Mapping[str, NDArray[Any]]
    units: Mapping[str, str]


def pick_examples(surrogate: Surrogate, dataset: Dataset, errors: Sequence[float]) -> list[Example]:
    """The best, the median and the worst sample by ``errors``, one number for each sample of ``dataset``."""
    order = np.argsort(np.asarray(errors), kind="stable")
    chosen = {"best": order[0], "median": order[(len(order) - 1) // 2], "worst": order[-1]}
    examples = []
    for label, row in chosen.items():
        x, y = (
            dataset.tensor([f.name for f in fields], [int(row)], dtype=torch.float64)
            for fields in (surrogate.inputs, surrogate.outputs)
        )
        sides = ((surrogate.inputs, x), (surrogate.outputs, y), (surrogate.outputs, surrogate.predict(x)))
        inputs, truth, prediction = (
            {name: values.numpy() for name, values in zip(_names(side), tensor[0], strict=True)}
            for side, tensor in sides
        )
        units = [field.units for field in surrogate.outputs for _ in range(field.components)]
        labelled = dict(zip(_names(surrogate.outputs), units, strict=True))
        place = int(dataset.indices[row])
        examples.append(Example(label, place, float(errors[row]), inputs, truth, prediction, units=labelled))
    return examples


def _names(fields: Iterable[Any]) -> list[str]:
    """One label for each channel."""
    return [
        f"{field.name}[{i}]" if field.components > 1 else field.name
        for field in fields
        for i in range(field.components)
    ]


def write_report(
    path: Path,
    *,
    title: str,
    assessment: Assessment,
    history: Sequence[Mapping[str, Any]] = (),
    examples: Sequence[Example] = (),
    grid: Grid | None = None,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write the page, whole or not at all.

    Parameters
    ----------
    path : Path
    title : str
    assessment : Assessment
    history : rows of metrics.jsonl
        For the loss curves; left out when empty.
    examples : sequence of Example
        Shown as pictures.
    grid : Grid, optional
        Of the examples; needed to show them.
    facts : mapping of mappings
        Further tables by heading, such as settings, versions, seeds, data and files.
    """
    sections = [
        f'<p class="quiet">{_escape(_subtitle(assessment))}</p>',
        f'<p class="verdict">{_escape(assessment.verdict)}</p>',
        "<h2>Errors and times</h2>" + _error_table(assessment),
    ]
    sections.append(
        '<div class="pair">'
        + _image(time_figure(assessment), "error against time per sample")
        + _image(error_figure(assessment), "histogram of errors")
        + "</div>"
    )
    if examples and grid is not None:
        sections.append("<h2>Best, median and worst sample</h2>")
        sections += [_example(example, grid) for example in examples]
    if history:
        sections.append("<h2>Training</h2>" + _image(plots.history(history), "loss over optimizer steps"))
    for heading, table in (facts or {}).items():
        sections.append(f"<h2>{_escape(heading)}</h2>{_fact_table(table)}")
    page = _PAGE.format(title=_escape(title), style=_STYLE, sections="\n".join(sections))
    write_bytes_atomic(path, page.encode())


def _example(example: Example, grid: Grid) -> str:
    heading = f"{example.label}: sample {example.sample}, relative L2 error {percent(example.error)}"
    pictures = "".join(
        _image(example_figure(example, name, grid, units), f"{example.label} sample, {name}")
        for name, units in example.units.items()
    )
    return f"<h3>{_escape(heading)}</h3>{pictures}"


def _subtitle(assessment: Assessment) -> str:
    interval = assessment.surrogate.metrics["relative_l2"]["interval"]
    return (
        f"Relative L2 error {percent(assessment.surrogate.error)} (95% interval of the mean "
        f"{percent(interval[0])} to {percent(interval[1])}) on {assessment.samples} samples that were not "
        "trained on."
    )


def _error_table(assessment: Assessment) -> str:
    heads = ("", "mean", "median", "worst", "H1", "RMSE", "largest error", "time per sample")
    lines = "".join(_error_row(row) for row in assessment.rows)
    if assessment.floor is not None:
        lines += (
            f"<tr><td>discretization error of the data</td><td>{assessment.floor:.2%}</td>"
            + "<td></td>" * 6
            + "</tr>"
        )
    caption = (
        "Relative L2 error: mean, median and worst sample. H1: mean relative error with first derivatives. "
        "RMSE and largest error in the units of the output, means over samples. " + assessment.conditions
    )
    head = "".join(f"<th>{_escape(name)}</th>" for name in heads)
    return f"<table><caption>{_escape(caption)}</caption><tr>{head}</tr>{lines}</table>"


def _error_row(row: Row) -> str:
    l2, means = row.metrics["relative_l2"], row.means
    cells = [percent(l2[name]) for name in ("mean", "median", "worst")]
    cells += [percent(means["relative_h1"]), f"{means['rmse']:.3g}", f"{means['max_error']:.3g}"]
    cells.append(milliseconds(row.seconds))
    inner = "".join(f"<td>{_escape(cell)}</td>" for cell in cells)
    return f'<tr class="{row.kind}"><td>{_escape(row.name)}</td>{inner}</tr>'


def _fact_table(table: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><td>{_escape(str(key))}</td><td class="text">{_escape(_text(value))}</td></tr>'
        for key, value in table.items()
    )
    return f"<table>{rows}</table>"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _escape(text: str) -> str:
    return html.escape(text, quote=True)


def _image(figure: Figure, alt: str) -> str:
    encoded = base64.b64encode(plots.png(figure, dpi=110)).decode()
    return f'<img alt="{_escape(alt)}" src="data:image/png;base64,{encoded}">'


def example_figure(example: Example, output: str, grid: Grid, units: str = "") -> Figure:
    """Inputs, truth, prediction and signed error of one output; of a field in space the middle slice."""
    panels = {f"input {name}": values for name, values in example.inputs.items()}
    inputs = list(panels)
    truth, prediction = example.truth[output], example.prediction[output]
    panels |= {f"{output}, truth": truth, f"{output}, prediction": prediction, "error": prediction - truth}
    while grid.rank > 2:
        middle = grid.axes[-1].size // 2
        panels = {name: values[..., middle] for name, values in panels.items()}
        grid = Grid(grid.axes[:-1])
    return plots.fields(panels, grid, units="" if units == "1" else units, separate=inputs)


def error_figure(assessment: Assessment) -> Figure:
    """Histograms of the relative L2 errors of the surrogate and the trivial predictors."""
    rows = [row for row in assessment.rows if row.kind != "classical"]
    return plots.errors({row.name: Scores(row.errors) for row in rows})


def time_figure(assessment: Assessment) -> Figure:
    """Error against time per sample; classical solvers that differ in the last word are one line."""
    points = []
    for row in assessment.rows:
        if row.seconds is None or row.error <= _ROUNDING:
            continue
        point: dict[str, Any] = {"seconds": row.seconds, "error": row.error, "kind": "surrogate"}
        name, note = row.name, ""
        if row.kind == "classical":
            name, _, note = row.name.rpartition(" ")
            point["kind"] = "solver"
        points.append({**point, "name": name or note, "note": note if name else ""})
    return plots.error_against_time(points)
