"""Folders of CFDBench: one folder for each case, with the two components of the velocity."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.readers.axes import unit_axis
from sciml.datasets.readers.containers import npy_header, room
from sciml.datasets.readers.foreign import Foreign
from sciml.datasets.readers.pieces import numbers_in
from sciml.description import describable
from sciml.errors import DataError
from sciml.grid import Grid
from sciml.schema import Field, Provenance, storable

_NAMES = ("u", "v")
_FACTS_BYTES = 2**20


@describable
@dataclass(frozen=True)
class CFDBench:
    """A folder with ``case0000/u.npy`` and ``v.npy``, (time, y, x), and ``case.json`` (Luo et al., 2023).

    The velocity is the state "u" with two components; the numbers that all cases have in JSON are parameters.

    Notes
    -----
    Rows of an image are y, so the axes are turned.  There are no coordinates and no times: the unit square,
    numbered frames.  Cases with more frames than the shortest one are cut.

    Examples
    --------
    >>> CFDBench().format
    'a CFDBench folder'
    """

    @property
    def format(self) -> str:
        """For messages and the converted file."""
        return "a CFDBench folder"

    def detect(self, path: Path) -> bool:
        """Whether it is a folder with a folder case* that holds u.npy or v.npy."""
        return any((case / f"{name}.npy").is_file() for case in _cases(path) for name in _NAMES)

    def read(self, path: Path) -> Foreign:
        """The content.

        Raises
        ------
        DataError
            If a case lacks a component, or holds pickled objects or other shapes than the first one.
        """
        cases = _cases(path)
        if not cases:
            raise DataError(f"{path}: no folder with folders case*.")
        for case in cases:
            if missing := [f"{name}.npy" for name in _NAMES if not (case / f"{name}.npy").is_file()]:
                raise DataError(f"{path}: {case.name} lacks {' and '.join(missing)}.")
        arrays = [[_array(case / f"{name}.npy") for name in _NAMES] for case in cases]
        space = arrays[0][0].shape[1:]
        for case, pair in zip(cases, arrays, strict=True):
            if len({a.shape for a in pair}) != 1 or len(space) != 2 or pair[0].shape[1:] != space:
                raise DataError(
                    f"{path}: u and v of {case.name} have the shapes {[a.shape for a in pair]}; expected "
                    f"(time, y, x) with {space} points."
                )
        notes = ["the arrays had the order y, x of images and are turned", "frames are numbered 0, 1, ..."]
        lengths = [pair[0].shape[0] for pair in arrays]
        frames = min(lengths)
        if max(lengths) > frames:
            notes.append(f"cases of up to {max(lengths)} frames are cut to the shortest, {frames}")
        velocity = room((len(cases), frames, 2, *space[::-1]), arrays[0][0].dtype)
        for i, pair in enumerate(arrays):
            for component, array in enumerate(pair):
                velocity[i, :, component] = array[:frames].swapaxes(1, 2)
        axes = [unit_axis(name, size, None, "cell") for name, size in zip("xy", space[::-1], strict=True)]
        facts = [_facts(case) for case in cases]
        return Foreign(
            Grid(tuple(axis for axis, _ in axes)),
            ((Field("u", "state", long_name="velocity", components=2, time=True),
              storable(path, "u", velocity, notes)),),
            times=np.arange(frames, dtype=np.float64),
            variables={
                name: np.array([numbers[name] for numbers in facts])
                for name in facts[0]
                if name != "u" and all(name in numbers for numbers in facts)
            },
            provenance=Provenance(title=f"{path.name}, a folder of CFDBench", dtype_compute="unknown"),
            notes=(*notes, *(note for _, note in axes)),
        )  # fmt: skip


def _cases(path: Path) -> list[Path]:
    return sorted(p for p in path.glob("case*") if p.is_dir()) if path.is_dir() else []


def _array(path: Path) -> NDArray[Any]:
    """A .npy file, mapped."""
    try:
        with path.open("rb") as file:
            shape, dtype = npy_header(file)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize > path.stat().st_size:
            raise DataError(f"{path}: holds pickled objects or claims more than it has; not read.")
        found: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return found
    except (ValueError, OSError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a whole .npy file ({error}).") from error


def _facts(case: Path) -> dict[str, float]:
    """The numbers in the JSON files of a case."""
    found: dict[str, float] = {}
    for path in sorted(case.glob("*.json")):
        try:
            if path.stat().st_size > _FACTS_BYTES:
                raise ValueError("too large")
            read = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError, RecursionError) as error:
            raise DataError(f"{path}: cannot be read as JSON ({error}).") from error
        found |= numbers_in(read) if isinstance(read, dict) else {}
    return found
