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
        units = chosen[0][1].units[output]
        try:
            figure = plots.field_table(rows, units="" if units == "1" else units, separate=inputs)
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
