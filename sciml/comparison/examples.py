"""The fields that a report shows, in one file beside the unit that made them: arrays and JSON, no pickle."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.animation import Film
from sciml.errors import DataError
from sciml.files import write_bytes_atomic
from sciml.grid import Grid
from sciml.mesh import Mesh, Points
from sciml.report import Example

NAME = "examples.npz"
_FIELDS = ("inputs", "truth", "prediction")


def write_examples(path: Path, examples: Sequence[Example], grid: Grid | None = None) -> None:
    """Write the examples, whole or not at all, in float32: they are looked at, not computed with.

    Parameters
    ----------
    path : Path
        Of the file, `NAME` in the folder of a unit.
    examples : sequence of Example
    grid : Grid, optional
        Of those that have no place of their own.
    """
    arrays: dict[str, NDArray[Any]] = {}
    cards = [_pack(example, grid, f"{i}/", arrays) for i, example in enumerate(examples)]
    arrays["examples"] = np.array(json.dumps(cards, ensure_ascii=False))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_bytes_atomic(path, buffer.getvalue())


def read_examples(path: Path) -> list[Example]:
    """What `write_examples` wrote; each example now has its place.

    Raises
    ------
    DataError
        If the file is damaged or of another kind.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        cards = json.loads(str(arrays["examples"][()]))
        return [_unpack(card, f"{i}/", arrays) for i, card in enumerate(cards)]
    except OSError as error:
        raise DataError(f"{path}: cannot be read as examples of a comparison: {error}.") from error
    except Exception as error:  # what a damaged archive raises depends on the damage
        raise DataError(f"{path}: is not a file of examples: {error!r}. Remove it to do without.") from error


def _pack(example: Example, grid: Grid | None, at: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """The example without its arrays, which go to ``arrays`` under names that begin with ``at``."""
    card: dict[str, Any] = {
        name: getattr(example, name) for name in ("label", "sample", "error", "units", "time")
    }
    for group in _FIELDS:
        fields = getattr(example, group)
        card[group] = list(fields)
        for i, values in enumerate(fields.values()):
            arrays[f"{at}{group}/{i}"] = np.asarray(values, dtype=np.float32)
    card["films"] = {name: film.units for name, film in example.films.items()}
    for i, film in enumerate(example.films.values()):
        arrays[f"{at}films/{i}/times"] = np.asarray(film.times, dtype=np.float64)
        for part in ("truth", "prediction"):
            arrays[f"{at}films/{i}/{part}"] = np.asarray(getattr(film, part), dtype=np.float32)
    place = grid if example.place is None else example.place
    card["place"] = None if place is None else _pack_place(place, at, arrays)
    return card


def _unpack(card: Mapping[str, Any], at: str, arrays: Mapping[str, NDArray[Any]]) -> Example:
    fields = {
        group: {name: arrays[f"{at}{group}/{i}"] for i, name in enumerate(card[group])} for group in _FIELDS
    }
    films = {
        name: Film(
            arrays[f"{at}films/{i}/times"],
            units,
            arrays[f"{at}films/{i}/truth"],
            arrays[f"{at}films/{i}/prediction"],
        )
        for i, (name, units) in enumerate(card["films"].items())
    }
    return Example(
        label=card["label"],
        sample=card["sample"],
        error=card["error"],
        units=card["units"],
        time=card["time"],
        films=films,
        place=None if card["place"] is None else _unpack_place(card["place"], at, arrays),
        **fields,
    )


def _pack_place(place: Grid | Points, at: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    if isinstance(place, Grid):
        return {"kind": "grid", **place.to_dict()}
    arrays[f"{at}coordinates"] = place.coordinates
    card: dict[str, Any] = {"kind": "points", "names": list(place.names), "units": place.units}
    if isinstance(place, Mesh):
        card |= {"kind": "mesh", "cells": [kind for kind, _ in place.cells]}
        for i, (_, corners) in enumerate(place.cells):
            arrays[f"{at}cells/{i}"] = corners
    return card


def _unpack_place(card: Mapping[str, Any], at: str, arrays: Mapping[str, NDArray[Any]]) -> Grid | Points:
    if card["kind"] == "grid":
        return Grid.from_dict(card)
    points = Points(arrays[f"{at}coordinates"], tuple(card["names"]), card["units"])
    if card["kind"] == "points":
        return points
    cells = tuple((kind, arrays[f"{at}cells/{i}"]) for i, kind in enumerate(card["cells"]))
    shared = {f.name: getattr(points, f.name) for f in dataclasses.fields(points)}
    return Mesh(**shared, cells=cells)
