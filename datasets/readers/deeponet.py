"""Aligned data of DeepONets: input functions at sensors, points, and the outputs at them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.readers.axes import grid_points, is_uniform
from sciml.datasets.readers.containers import Contents, contents, load, marks
from sciml.datasets.readers.foreign import Foreign
from sciml.datasets.readers.pieces import AXES, grid_of, lacking
from sciml.description import describable
from sciml.errors import DataError
from sciml.mesh import Points, PointSet
from sciml.schema import SPLITS, Field, Provenance, storable

_NAME = re.compile(r"X_?(?P<a>train|valid|test)?_?(?P<part>[01])|[yY]_?(?P<b>train|valid|test)?")


@describable
@dataclass(frozen=True)
class DeepONetFile:
    """.npz or .mat with ``X_train0`` (n, m), ``X_train1`` (p, dim) and ``y_train`` (n, p), as DeepXDE's
    ``TripleCartesianProd`` takes them; perhaps the same with valid and test, or ``X0``, ``X1``, ``y`` alone.

    The output "u" lives at the points, on a grid if they are one.  The input "v" was measured at m sensors,
    of which the file says nothing: if there are as many as points on a grid, they are the same, else they are
    equally spaced on the unit interval, by assumption.

    Examples
    --------
    >>> DeepONetFile().format
    'an aligned DeepONet file (X0, X1, y)'
    """

    @property
    def format(self) -> str:
        """For messages and the converted file."""
        return "an aligned DeepONet file (X0, X1, y)"

    def detect(self, path: Path) -> bool:
        """Whether an .npz or .mat has an X with the number 0 and one with 1, and no numbered Y."""
        found = marks(path, "npz", "MATLAB 5", "MATLAB 7.3")
        if found is None or any(re.fullmatch(r"[yY]_?\d+", name) for name in found.arrays):
            return False
        return any({"0", "1"} <= parts.keys() for parts in _parts(found).values())

    def read(self, path: Path) -> Foreign:
        """The content.

        Raises
        ------
        DataError
            If an array is missing, shapes do not belong together, or the splits have different points.
        """
        found = contents(path)
        if found is None:
            raise DataError(f"{path}: no .npz or .mat.")
        parts = _parts(found)
        given = [split for split in (*SPLITS, "") if split in parts]
        arrays: dict[str, list[NDArray[Any]]] = {"0": [], "1": [], "y": []}
        for split in given:
            if missing := {
                f"{'y' if k == 'y' else f'X{k}'} {split}".strip() for k in "01y" if k not in parts[split]
            }:
                raise lacking(path, self.format, missing, found.listing())
            loaded = load(path, parts[split].values())
            for key, name in parts[split].items():
                arrays[key].append(loaded[name])
        points = arrays["1"][0].reshape(len(arrays["1"][0]), -1).astype(np.float64)
        for split, v, x, y in zip(given, *(arrays[key] for key in "01y"), strict=True):
            if v.ndim != 2 or y.shape != (len(v), len(x)) or v.shape[1] != arrays["0"][0].shape[1]:
                raise DataError(
                    f"{path}: X0, X1 and y {split} have the shapes {v.shape}, {x.shape}, {y.shape}; expected "
                    "(sample, sensor), (point, dim), (sample, point)."
                )
            if not np.array_equal(x, arrays["1"][0]):
                raise DataError(f"{path}: X1 {split} has other points than X1 {given[0]}; one set is needed.")
        notes: list[str] = []
        v, u = (np.concatenate(arrays[key]) for key in "0y")
        v, u = storable(path, "X0", v, notes), storable(path, "y", u, notes)
        several = len(given) > 1
        return Foreign(
            *_placed(path, points, v, u, notes),
            split=(
                np.repeat([SPLITS.index(s) for s in given], [len(a) for a in arrays["y"]]).astype(np.int8)
                if several
                else None
            ),
            provenance=Provenance(title=f"{path.name}, data of a DeepONet", dtype_compute="unknown"),
            notes=tuple(notes),
        )


def _parts(found: Contents) -> dict[str, dict[str, str]]:
    """Split ("" if there is none) to "0", "1" or "y" to the name of the array; only splits with an X."""
    listed: dict[str, dict[str, str]] = {}
    for name in found.arrays:
        if match := _NAME.fullmatch(name):
            listed.setdefault(match["a"] or match["b"] or "", {})[match["part"] or "y"] = name
    return {split: parts for split, parts in listed.items() if parts.keys() & {"0", "1"}}


def _placed(
    path: Path, points: NDArray[np.float64], v: NDArray[Any], u: NDArray[Any], notes: list[str]
) -> tuple[Any, tuple[tuple[Field, Any], ...]]:
    """Both fields on a grid, or the output at points and the input at sensors of its own."""
    if not np.isfinite(points).all() or points.shape[1] > len(AXES):
        raise DataError(f"{path}: X1 {points.shape} is not finite, or has more than {len(AXES)} coordinates.")
    output, source = Field("u", "output", long_name="y of the file"), "X0 of the file"
    found = grid_points(points)
    if found is not None and v.shape[1] == len(points) and all(is_uniform(axis) for axis in found[0]):
        axes, order = found
        notes.append("as many sensors as points: taken to be the same")
        pairs = list(zip(AXES, axes, strict=False))
        grid = grid_of(path, pairs, u[:, order], range(1, 1 + len(pairs)), notes)
        return grid, ((Field("v", "input", long_name=source), v[:, order]), (output, u[:, order]))
    notes.append(f"the {v.shape[1]} sensors are assumed equally spaced on the unit interval")
    sensors = PointSet(v, np.linspace(0, 1, v.shape[1])[:, None])
    return Points(points, AXES[: points.shape[1]]), (
        (output, u),
        (Field("v", "input", long_name=source, on="own"), sensors),
    )
