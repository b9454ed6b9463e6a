"""One page about a trained surrogate: a single HTML file without scripts that opens without a network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import sciml.plots as plots
from sciml.animation import Film, gif, space_time
from sciml.assessment import Assessment, Row, milliseconds, percent
from sciml.evolution import evolution_of
from sciml.files import write_bytes_atomic
from sciml.grid import Grid
from sciml.mesh import Points
from sciml.page import embedded, escape, fact_table, html_page, image
from sciml.scores import Scores
from sciml.stepping import predict_from, start_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sciml.dataset import Dataset
    from sciml.surrogate import Surrogate

# Errors below are the rounding of the stored numbers: a solver that made the data.
ROUNDING = 1e-6

_MAP_CAPTION = (
    "Relative L2 error: mean, median and worst sample. H1: mean relative error with first derivatives. "
    "RMSE and largest error in the units of the output, means over samples."
)
_POINT_CAPTION = (
    "Relative L2 error over the points of each sample, every point counted once: mean, median and worst "
    "sample. RMSE and largest error in the units of the output, means over samples."
)
_ROLL_OUT_CAPTION = (
    "Relative L2 error of all predicted frames together: mean, median and worst trajectory; of the first and "
    "the last predicted frame: means. Valid time: until the error of a frame exceeds 0.4; correlation time: "
    "until the correlation with the truth falls below 0.8; both since the last frame given, means, ≥ where "
    "some trajectories ended before. RMSE and largest error in the units of the state, means."
)


@dataclass(frozen=True)
class Example:
    """One sample of a test set as arrays on the grid, with the relative L2 error of the prediction.

    ``inputs``, ``truth`` and ``prediction`` map names of scalar channels to arrays (*space); ``units`` has
    those of the outputs.  Of a roll-out ``inputs`` begin it, truth and prediction are the last frame, at
    ``time``, and ``films`` has all frames of each scalar, from the last one given on.  ``place`` is the mesh
    or the points of a sample that has its own, where arrays are (point,) or (cell,), or a grid of its own.
    """

    label: str
    sample: int
    error: float
    inputs: Mapping[str, NDArray[Any]]
    truth: Mapping[str, NDArray[Any]]
    prediction: Mapping[str, NDArray[Any]]
    units: Mapping[str, str]
    time: str = ""
    films: Mapping[str, Film] = field(default_factory=dict)
    place: Grid | Points | None = None


def pick_examples(surrogate: Surrogate, dataset: Dataset, errors: Sequence[float]) -> list[Example]:
    """The best, the median and the worst sample by ``errors``, one number for each sample of ``dataset``."""
    examples = []
    for label, row in chosen_rows(errors).items():
        pick = _pick_map if surrogate.evolution is None else _pick_roll_out
        values = pick(surrogate, dataset, row)
        units = units_of(surrogate.outputs)
        place = int(dataset.indices[row])
        examples.append(Example(label, place, float(errors[row]), units=units, **values))
    return examples


def chosen_rows(errors: Sequence[float]) -> dict[str, int]:
    """Which samples are shown."""
    order = [int(row) for row in np.argsort(np.asarray(errors), kind="stable")]
    return {"best": order[0], "median": order[(len(order) - 1) // 2], "worst": order[-1]}


def units_of(fields: Iterable[Any]) -> dict[str, str]:
    """The units of each scalar channel, by its label."""
    listed = list(fields)
    return dict(zip(_names(listed), [f.units for f in listed for _ in range(f.components)], strict=True))


def _pick_map(surrogate: Surrogate, dataset: Dataset, row: int) -> dict[str, Any]:
    """Inputs, truth and prediction of one sample."""
    x, y = (
        dataset.tensor([f.name for f in fields], [row], dtype=torch.float64)
        for fields in (surrogate.inputs, surrogate.outputs)
    )
    return {
        "inputs": named(surrogate.inputs, x[0]),
        "truth": named(surrogate.outputs, y[0]),
        "prediction": named(surrogate.outputs, surrogate.predict(x)[0]),
    }


def _pick_roll_out(surrogate: Surrogate, dataset: Dataset, row: int) -> dict[str, Any]:
    """First and last frames of one sample, and the film between them."""
    start = start_of(surrogate, dataset, [row])
    given = start.window[0, -1:]
    truth, prediction = (torch.cat([given, t[0]]) for t in (start.truth, predict_from(surrogate, start)))
    states = {f.name for f in surrogate.outputs}
    units = evolution_of(surrogate).units
    unit = "" if units in ("", "1") else f" {units}"
    inputs = {
        f"{name} at t = {start.times[0]:g}{unit}": values
        for name, values in named(surrogate.outputs, given[0]).items()
    }
    if start.inputs is not None:
        inputs |= named([f for f in surrogate.inputs if f.name not in states], start.inputs[0])
    films = {
        name: Film(start.times, units, truth[:, i].numpy(), prediction[:, i].numpy())
        for i, name in enumerate(_names(surrogate.outputs))
    }
    return {
        "inputs": inputs,
        "truth": named(surrogate.outputs, truth[-1]),
        "prediction": named(surrogate.outputs, prediction[-1]),
        "time": f"t = {start.times[-1]:g}{unit}",
        "films": films,
    }


def named(fields: Iterable[Any], values: Tensor) -> dict[str, NDArray[Any]]:
    """Name to array of each channel of (channel, *space)."""
    return dict(zip(_names(fields), values.numpy(), strict=True))


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
        Of the examples that have no place of their own; needed to show those.
    facts : mapping of mappings
        Further tables by heading, such as settings, versions, seeds, data and files.
    """
    sections = [
        f'<p class="quiet">{escape(_subtitle(assessment))}</p>',
        f'<p class="verdict">{escape(assessment.verdict)}</p>',
        "<h2>Errors and times</h2>" + _error_table(assessment),
    ]
    pictures = [
        image(time_figure(assessment), f"error against time per {assessment.noun}"),
        image(error_figure(assessment), "histogram of errors"),
    ]
    if assessment.timeline is not None:
        pictures.insert(0, image(course_figure(assessment), "error over time"))
        if assessment.timeline.spectrum is not None:
            pictures.append(image(spectrum_figure(assessment), "spectra at the last frame"))
    sections.append(f'<div class="pair">{"".join(pictures)}</div>')
    sections.append(_sample_table(assessment))
    placed = [(e, where) for e in examples if (where := grid if e.place is None else e.place) is not None]
    if placed:
        sections.append(f"<h2>Best, median and worst {assessment.noun}</h2>")
        sections += [_example(example, where) for example, where in placed]
    if history:
        sections.append("<h2>Training</h2>" + image(plots.history(history), "loss over optimizer steps"))
    for heading, table in (facts or {}).items():
        sections.append(f"<h2>{escape(heading)}</h2>{fact_table(table)}")
    write_bytes_atomic(path, html_page(title, sections).encode())


def _example(example: Example, place: Grid | Points) -> str:
    error = f"relative L2 error {percent(example.error)}"
    error += f" over all frames, shown at {example.time}" if example.time else ""
    heading = f"{example.label}: sample {example.sample}, {error}"
    pictures = "".join(
        image(example_figure(example, name, place, units), f"{example.label} sample, {name}")
        + (_film(example, name, place, units) if isinstance(place, Grid) else "")
        for name, units in example.units.items()
    )
    return f"<h3>{escape(heading)}</h3>{pictures}"


def _film(example: Example, name: str, grid: Grid, units: str) -> str:
    """All frames of the median sample: a moving picture; of one axis in space time is the other axis."""
    if name not in example.films or example.label != "median":
        return ""
    shown, alt = "" if units == "1" else units, f"all frames of the median sample, {name}"
    if grid.rank == 1:
        panels, both = space_time(example.films[name], grid)
        return image(plots.fields(panels, both, units=shown), alt)
    return embedded(gif(example.films[name], grid, units=shown), alt, kind="gif", css="film")


def _subtitle(assessment: Assessment) -> str:
    interval = assessment.surrogate.metrics["relative_l2"]["interval"]
    over, nouns = "", "samples"
    if assessment.timeline is not None:
        over, nouns = f" over {len(assessment.timeline.times)} predicted frames", "trajectories"
    within = ""
    if math.isfinite(interval[0]):  # one sample has none
        within = f" (95% interval of the mean {percent(interval[0])} to {percent(interval[1])})"
    return (
        f"Relative L2 error {percent(assessment.surrogate.error)}{over}{within} on {assessment.samples} "
        f"{nouns} that were not trained on."
    )


def _error_table(assessment: Assessment) -> str:
    rolled = assessment.timeline is not None
    heads = ["", "mean", "median", "worst"]
    smooth = all("relative_h1" in row.metrics for row in assessment.rows)  # else on points
    heads += ["first frame", "last frame", "valid time", "correlation time"] if rolled else ["H1"] * smooth
    heads += ["RMSE", "largest error", f"time per {assessment.noun}"]
    lines = "".join(_error_row(row, rolled=rolled) for row in assessment.rows)
    if assessment.floor is not None:
        lines += (
            f"<tr><td>discretization error of the data</td><td>{percent(assessment.floor)}</td>"
            + "<td></td>" * (len(heads) - 2)
            + "</tr>"
        )
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    caption = _ROLL_OUT_CAPTION if rolled else _MAP_CAPTION if smooth else _POINT_CAPTION
    caption = f"{caption} {assessment.conditions}"
    return f"<table><caption>{escape(caption)}</caption><tr>{head}</tr>{lines}</table>"


def _error_row(row: Row, *, rolled: bool) -> str:
    l2, means = row.metrics["relative_l2"], row.means
    cells = [percent(l2[name]) for name in ("mean", "median", "worst")]
    if rolled:
        cells += [percent(means["relative_l2_first"]), percent(means["relative_l2_last"])]
        cells += [duration_text(row, name) for name in ("valid_time", "correlation_time")]
    elif "relative_h1" in means:
        cells.append(percent(means["relative_h1"]))
    cells += [f"{means['rmse']:.3g}", f"{means['max_error']:.3g}", milliseconds(row.seconds)]
    inner = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr class="{row.kind}"><td>{escape(row.name)}</td>{inner}</tr>'


def duration_text(row: Row, name: str) -> str:
    """The mean of a valid or correlation time; with a sign where not all samples came to its end."""
    summary = row.metrics[name]
    return f"{'≥ ' if summary['censored'] else ''}{summary['mean']:.3g}"


def _sample_table(assessment: Assessment) -> str:
    """The errors of every sample, folded away."""
    rows = assessment.rows
    places = assessment.indices or list(range(assessment.samples))
    order = sorted(range(assessment.samples), key=lambda i: -_sortable(rows[0].errors[i]))
    head = "".join(f"<th>{escape(name)}</th>" for name in ("sample", *(row.name for row in rows)))
    lines = "".join(
        f"<tr><td>{places[i]}</td>" + "".join(f"<td>{percent(row.errors[i])}</td>" for row in rows) + "</tr>"
        for i in order
    )
    return (
        f"<details><summary>Relative L2 errors of all {assessment.samples} samples, the worst first</summary>"
        f"<table><tr>{head}</tr>{lines}</table></details>"
    )


def _sortable(error: float) -> float:
    return error if math.isfinite(error) else math.inf


def example_figure(example: Example, output: str, place: Grid | Points, units: str = "") -> Figure:
    """Inputs, truth, prediction and signed error of one output; of a field in space the middle slice."""
    panels = {f"input {name}": values for name, values in example.inputs.items()}
    inputs = list(panels)
    truth, prediction = example.truth[output], example.prediction[output]
    panels |= {f"{output}, truth": truth, f"{output}, prediction": prediction, "error": prediction - truth}
    panels, place = middle_slice(panels, place)
    return plots.fields(panels, place, units="" if units == "1" else units, separate=inputs)


def middle_slice(
    panels: dict[str, NDArray[Any]], place: Grid | Points
) -> tuple[dict[str, NDArray[Any]], Grid | Points]:
    """Fields on a grid in the middle of all axes but the first two."""
    while isinstance(place, Grid) and place.rank > 2:
        middle = place.axes[-1].size // 2
        panels = {name: values[..., middle] for name, values in panels.items()}
        place = Grid(place.axes[:-1])
    return panels, place


def error_figure(assessment: Assessment) -> Figure:
    """Histograms of the relative L2 errors of the surrogate and the trivial predictors."""
    rows = [row for row in assessment.rows if row.kind != "classical"]
    return plots.errors({row.name: Scores(row.errors) for row in rows})


def course_figure(assessment: Assessment) -> Figure:
    """The error of each frame of the roll-outs; without solvers that made the data."""
    assert assessment.timeline is not None
    curves = {
        row.name: {"mean": row.course.mean, "low": row.course.low, "high": row.course.high}
        for row in assessment.rows
        if row.course is not None and not row.error <= ROUNDING
    }
    return plots.over_time(curves, assessment.timeline.times, units=assessment.timeline.units)


def spectrum_figure(assessment: Assessment) -> Figure:
    """Spectra of the truth and of the predictions at the last frame; a mean of trajectories has none."""
    assert assessment.timeline is not None and assessment.timeline.spectrum is not None
    curves: dict[str, Any] = {"truth": assessment.timeline.spectrum}
    for row in assessment.rows:
        if row.kind != "trivial" and row.spectrum is not None and not row.error <= ROUNDING:
            curves[row.name] = row.spectrum
    return plots.spectra(curves, quantity=assessment.timeline.quantity)


def time_figure(assessment: Assessment) -> Figure:
    """Error against time per sample; classical solvers that differ in their numbers only are one line."""
    points = []
    for row in assessment.rows:
        if row.seconds is None or row.error <= ROUNDING or not math.isfinite(row.error):
            continue
        point: dict[str, Any] = {"seconds": row.seconds, "error": row.error, "kind": "surrogate"}
        name, note = row.name, ""
        if row.kind == "classical":
            point["kind"] = "solver"
            words = row.name.split(" ")
            first = next((i for i, word in enumerate(words) if word[:1].isdigit()), len(words))
            name, note = " ".join(words[:first]) or row.name, " ".join(words[first:])
        points.append({**point, "name": name, "note": note.partition(",")[0]})
    return plots.error_against_time(points, noun=assessment.noun)
