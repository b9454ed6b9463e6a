"""Fields of a comparison: the best, median and worst sample of every entry, on common color scales."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sciml import plots
from sciml.animation import space_time
from sciml.assessment import percent
from sciml.comparison.figures import Picture
from sciml.errors import ShapeError
from sciml.field_plots import FieldRow
from sciml.grid import Grid
from sciml.report import Example, middle_slice

LABELS = ("best", "median", "worst")
_FRAMES = 5  # of a roll-out, side by side


def field_pictures(examples: Mapping[str, Sequence[Example]]) -> Iterator[Picture]:
    """One picture for each label and output, with a row for each entry.

    Parameters
    ----------
    examples : mapping of entry to its examples
        An example without a place is drawn over the numbers of its points.
    """
    found: dict[tuple[str, str], list[tuple[str, Example]]] = {}
    for entry, listed in examples.items():
        for example in listed:
            for output in example.units:
                found.setdefault((example.label, output), []).append((entry, example))
    several = len({output for _, output in found}) > 1
    for label, output in sorted(found, key=lambda key: LABELS.index(key[0]) if key[0] in LABELS else 3):
        chosen = found[label, output]
        rows = [_row(entry, example, output) for entry, example in chosen]
        inputs = [name for name in rows[0].panels if name.startswith("input")]
        try:
            figure = plots.field_table(rows, units=_units(chosen[0][1], output), separate=inputs)
        except ShapeError:  # entries whose pictures have nothing in common have none
            continue
        said = ", ".join(
            f"{entry} {percent(example.error)} (sample {example.sample})" for entry, example in chosen
        )
        when = f", shown at {chosen[0][1].time}" if chosen[0][1].time else ""
        yield Picture(
            f"fields-{label}" + (f"-{output}" if several else ""),
            figure,
            f"{label} sample of each entry, {output}: truth, prediction and difference. {said}.",
            f"The {label} sample of each entry{when}: {said}. Truth and prediction share one color scale "
            "over all rows, differences (prediction minus truth) another one.",
        )
    for label, output in found:
        picture = _frames(found[label, output], output) if label == "median" else None
        if picture is not None:
            yield picture


def _frames(chosen: Sequence[tuple[str, Example]], output: str) -> Picture | None:
    """Frames of roll-outs in the plane or in space, truth above prediction for each entry."""
    rows, units = [], ""
    for entry, example in chosen:
        if output not in example.films or not isinstance(example.place, Grid) or example.place.rank < 2:
            return None
        film, place = example.films[output].sliced(example.place)
        units = "" if film.units == "1" else f" {film.units}"
        shown = np.unique(np.linspace(0, len(film.times) - 1, _FRAMES).round().astype(int))
        for name, values in (("truth", film.truth), ("prediction", film.prediction)):
            panels = {f"t = {film.times[i]:g}{units}": values[i] for i in shown}
            rows.append(FieldRow(f"{entry}\n{name}", panels, place))
    names = ", ".join(f"{entry} (sample {example.sample})" for entry, example in chosen)
    figure = plots.field_table(rows, units=_units(chosen[0][1], output))
    return Picture(
        f"frames-{output}",
        figure,
        f"Frames of the median sample of each entry, {output}, truth above prediction: {names}.",
        f"Frames of the median sample of each entry, {output}: {names}. All share one color scale.",
    )


def _units(example: Example, output: str) -> str:
    return "" if example.units[output] == "1" else example.units[output]


def _row(entry: str, example: Example, output: str) -> FieldRow:
    label = f"{entry}\nsample {example.sample}\n{percent(example.error)}"
    place = example.place
    film = example.films.get(output)
    if film is not None and isinstance(place, Grid) and place.rank == 1:
        filmed, both = space_time(film, place)
        filmed["difference"] = filmed.pop("error")
        return FieldRow(label, filmed, both)
    truth, prediction = (
        np.asarray(of[output], dtype=np.float64) for of in (example.truth, example.prediction)
    )
    panels: dict[str, Any] = {f"input {name}": values for name, values in example.inputs.items()}
    panels = {name: values for name, values in panels.items() if np.shape(values) == truth.shape}
    panels |= {"truth": truth, "prediction": prediction, "difference": prediction - truth}
    if place is None:
        place = Grid.box(truth.shape, upper=[float(n) for n in truth.shape])
    panels, place = middle_slice(panels, place)
    return FieldRow(label, panels, place)
