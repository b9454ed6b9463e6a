"""One page about a trained surrogate: a single HTML file without scripts that opens without a network."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from sciml.assessment import Assessment, Row, milliseconds
from sciml.files import write_bytes_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sciml.dataset import Dataset
    from sciml.grid import Grid
    from sciml.surrogate import Surrogate

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
img { max-width: 100% } .verdict { font-size: 1.1rem; border-left: 4px solid #2b6cb0; padding-left: .8rem }
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

    ``inputs``, ``truth`` and ``prediction`` map names of scalar channels to arrays (*space).
    """

    label: str
    sample: int
    error: float
    inputs: Mapping[str, NDArray[Any]]
    truth: Mapping[str, NDArray[Any]]
    prediction: Mapping[str, NDArray[Any]]


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
        prediction = surrogate.predict(x)
        named = [
            {name: values.numpy() for name, values in zip(_names(fields), tensor[0], strict=True)}
            for fields, tensor in (
                (surrogate.inputs, x),
                (surrogate.outputs, y),
                (surrogate.outputs, prediction),
            )
        ]
        examples.append(Example(label, int(dataset.indices[row]), float(errors[row]), *named))
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
        Shown as pictures; of a 3-D field the middle slice.
    grid : Grid, optional
        Of the examples, for their axes.
    facts : mapping of mappings
        Further tables by heading, such as settings, versions, seeds, data and files.
    """
    sections = [
        f'<p class="quiet">{_escape(_subtitle(assessment))}</p>',
        f'<p class="verdict">{_escape(assessment.verdict)}</p>',
        "<h2>Errors and times</h2>" + _error_table(assessment),
    ]
    if history:
        sections.append("<h2>Training</h2>" + _image(loss_figure(history), "loss over optimizer steps"))
    if examples:
        pictures = "".join(
            f"<h3>{_escape(e.label)}: sample {e.sample}, relative L2 error {e.error:.2%}</h3>"
            + _image(example_figure(e, grid), f"{e.label} sample: input, truth, prediction, error")
            for e in examples
        )
        sections.append("<h2>Test samples</h2>" + pictures)
    sections.append(
        "<h2>Distribution of errors</h2>" + _image(histogram_figure(assessment), "histogram of errors")
    )
    for heading, table in (facts or {}).items():
        sections.append(f"<h2>{_escape(heading)}</h2>{_fact_table(table)}")
    page = _PAGE.format(title=_escape(title), style=_STYLE, sections="\n".join(sections))
    write_bytes_atomic(path, page.encode())


def _subtitle(assessment: Assessment) -> str:
    interval = assessment.surrogate.metrics["relative_l2"]["interval"]
    return (
        f"Relative L2 error {assessment.surrogate.error:.2%} (95% interval of the mean {interval[0]:.2%} to "
        f"{interval[1]:.2%}) on {assessment.samples} samples that were not trained on."
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
    cells = [_percent(l2[name]) for name in ("mean", "median", "worst")]
    cells += [_percent(means["relative_h1"]), f"{means['rmse']:.3g}", f"{means['max_error']:.3g}"]
    cells.append(milliseconds(row.seconds))
    inner = "".join(f"<td>{_escape(cell)}</td>" for cell in cells)
    return f'<tr class="{row.kind}"><td>{_escape(row.name)}</td>{inner}</tr>'


def _percent(value: float) -> str:
    return f"{value:.2%}" if value >= 5e-5 or value == 0 else f"{100 * value:.0e}%"


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
    data = io.BytesIO()
    # Without these metadata equal figures are equal bytes.
    figure.savefig(data, format="png", dpi=110, metadata={"Software": None})
    encoded = base64.b64encode(data.getvalue()).decode()
    return f'<img alt="{_escape(alt)}" src="data:image/png;base64,{encoded}">'


# Figures.  `Figure` without pyplot needs no display and leaves no global state.


def loss_figure(history: Sequence[Mapping[str, Any]]) -> Figure:
    """The training loss of every step, its terms if there are several, and the validation, over steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    steps = [row["step"] for row in history]
    known = {"step", "loss", "lr", "seconds", "validation"}
    axes.semilogy(steps, [row["loss"] for row in history], lw=0.7, color="#9bb7d4", label="training loss")
    for name in [key for key in history[-1] if key not in known]:
        axes.semilogy(steps, [row.get(name, np.nan) for row in history], lw=0.7, label=f"training, {name}")
    judged = [row for row in history if "validation" in row]
    for name in judged[-1]["validation"] if judged else ():
        values = [row["validation"].get(name, np.nan) for row in judged]
        axes.semilogy([row["step"] for row in judged], values, "o-", ms=3, label=f"validation, {name}")
    axes.set(xlabel="optimizer step", ylabel="loss")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def histogram_figure(assessment: Assessment) -> Figure:
    """Relative L2 errors of all samples, one outline for each method but those that reproduce the data."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.8), layout="constrained")
    axes = figure.subplots()
    shown = [row for row in assessment.rows if min(row.errors) > 1e-5]
    if shown:
        low, high = min(min(row.errors) for row in shown), max(max(row.errors) for row in shown)
        bins = np.geomspace(0.9 * low, 1.1 * high, 60).tolist()
        for row in shown:
            axes.hist(row.errors, bins=bins, histtype="stepfilled", alpha=0.45, label=row.name)
        axes.set_xscale("log")
        axes.legend(frameon=False)
    axes.set(xlabel="relative L2 error", ylabel="samples")
    return figure


def example_figure(example: Example, grid: Grid | None = None) -> Figure:
    """Input, truth, prediction and signed error side by side, a row for each output channel."""
    from matplotlib.figure import Figure

    outputs = list(example.truth)
    columns = len(example.inputs) + 3
    figure = Figure(figsize=(2.6 * columns, 2.5 * len(outputs)), layout="constrained")
    panels = figure.subplots(len(outputs), columns, squeeze=False)
    for line, name in zip(panels, outputs, strict=True):
        truth, prediction = example.truth[name], example.prediction[name]
        low, high = float(min(truth.min(), prediction.min())), float(max(truth.max(), prediction.max()))
        error = prediction - truth
        largest = float(np.abs(error).max()) or 1.0
        for panel, (label, values) in zip(line, example.inputs.items(), strict=False):
            draw_field(panel, values, grid, title=f"input {label}", cmap="cividis")
        rest = line[len(example.inputs) :]
        draw_field(rest[0], truth, grid, title=f"truth {name}", limits=(low, high))
        draw_field(rest[1], prediction, grid, title=f"prediction {name}", limits=(low, high))
        draw_field(
            rest[2], error, grid, title="prediction - truth", limits=(-largest, largest), cmap="RdBu_r"
        )
    return figure


def draw_field(
    panel: Any,
    values: NDArray[Any],
    grid: Grid | None,
    *,
    title: str,
    limits: tuple[float, float] | None = None,
    cmap: str = "viridis",
) -> None:
    """One field on matplotlib axes: a curve in 1-D, a picture with x to the right in 2-D, else a slice."""
    panel.set_title(title, fontsize=9)
    panel.tick_params(labelsize=7)
    if values.ndim == 1:
        x = np.arange(len(values)) if grid is None else grid.axes[0].coordinates
        panel.plot(x, values, lw=1)
        panel.set_ylim(limits)
        return
    while values.ndim > 2:
        values = values[..., values.shape[-1] // 2]
    extent = None
    if grid is not None:
        across, up = grid.axes[:2]
        extent = (across.lower, across.upper, up.lower, up.upper)
    low, high = limits if limits is not None else (None, None)
    image = panel.imshow(values.T, origin="lower", extent=extent, vmin=low, vmax=high, cmap=cmap)
    bar = panel.figure.colorbar(image, ax=panel, shrink=0.8)
    bar.ax.tick_params(labelsize=7)
