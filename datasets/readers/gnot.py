"""Lists of samples with points of their own, as GNOT uses them, in files that hold nothing but arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.readers.containers import Contents, contents, load, marks
from sciml.datasets.readers.foreign import Foreign
from sciml.datasets.readers.pieces import lacking, plain_name
from sciml.datasets.readers.torch_file import as_array, load_saved, structure
from sciml.description import describable
from sciml.errors import DataError
from sciml.mesh import Points, PointSet
from sciml.schema import RESERVED, Field, Provenance, storable

_PART = re.compile(
    r"(?:(?P<a>\d+)[/._])?(?P<part>X|Y|theta|inputs?|f)(?:_?(?P<b>\d+))?(?:[/._](?P<c>\d+))?", re.ASCII
)
_POINTS = ("X", "x", "pos", "points", "vertices", "coords", "coordinates", "nodes")


@dataclass
class _Sample:
    """Points, values at them by name, numbers, functions on points of their own."""

    points: NDArray[Any]
    values: dict[str, NDArray[Any]]
    numbers: NDArray[Any] = field(default_factory=lambda: np.empty(0))
    functions: list[NDArray[Any] | None] = field(default_factory=list)


@describable
@dataclass(frozen=True)
class PointLists:
    """Samples with their own points: lists ``[X, Y, theta, (f1, f2, ...)]`` (GNOT, Hao et al., ICML 2023).

    ``X`` (n, dim) are the points, ``Y`` (n, c) the output "u", ``theta`` (p,) the parameters ``theta_0``,
    ..., and each f (m, dim + k) an input function with k values at m points of its own, ``input_0``, ...;
    without values it is a shape, and its value is 1.  Three containers hold such lists without
    pickled objects:

    - ``torch.save`` of a list with a list or tuple of tensors for each sample (None for no function), or
      with a dictionary, whose points are called X, x, pos, points or vertices; its other tensors of as many
      rows are inputs, but "Y", "y", "press" and "pressure" are outputs;
    - .npz with names ``X_0``, ``Y_0``, ``theta_0``, ``input_0_0``, ``input_0_1``, ``X_1``, ...;
    - HDF5 with a group for each sample, ``0/X``, ``0/Y``, ``0/theta``, ``0/input_0``.

    Pickles, GNOT's own form, can run any code and are not read.

    Examples
    --------
    >>> PointLists().format
    'a list of samples on their own points (GNOT)'
    """

    @property
    def format(self) -> str:
        """For messages and the converted file."""
        return "a list of samples on their own points (GNOT)"

    def detect(self, path: Path) -> bool:
        """Whether it is a torch archive of a list, or has numbered X or Y."""
        found = marks(path, "npz", "HDF5")
        if found is not None:
            return bool(_numbered(found))
        return path.is_file() and structure(path) == "list"

    def read(self, path: Path) -> Foreign:
        """The content.

        Raises
        ------
        DataError
            For an unsafe file, a sample without points or values, or samples of different kinds.
        """
        found = contents(path)
        samples = _from_torch(path) if found is None else _from_arrays(path, found)
        return _foreign(path, samples)


def _numbered(found: Contents) -> dict[int, dict[tuple[str, int], str]]:
    """Sample to (part, number of the function) to name of the array."""
    listed: dict[int, dict[tuple[str, int], str]] = {}
    for name in found.arrays:
        match = _PART.fullmatch(name)
        if match is None:
            continue
        places = [int(match[key]) for key in "abc" if match[key]]
        part = {"f": "input", "inputs": "input"}.get(match["part"], match["part"])
        if not places or (part == "input") != (len(places) == 2):
            continue
        listed.setdefault(places[0], {})[(part, places[1] if len(places) == 2 else 0)] = name
    parts = {(number, part) for number, each in listed.items() for part, _ in each}
    deeponet = {number for number, _ in parts} == {0, 1} and {part for _, part in parts} == {"X"}
    return listed if not deeponet and any(part in ("X", "Y") for _, part in parts) else {}


def _from_arrays(path: Path, found: Contents) -> list[_Sample]:
    samples = []
    for number, parts in sorted(_numbered(found).items()):
        if missing := {f"{part} of sample {number}" for part in ("X", "Y") if (part, 0) not in parts}:
            raise lacking(path, "a list of samples on their own points", missing, found.listing())
        arrays = load(path, parts.values())
        functions = sorted(place for part, place in parts if part == "input")
        samples.append(
            _Sample(
                arrays[parts["X", 0]],
                {"u": arrays[parts["Y", 0]]},
                arrays[parts["theta", 0]].ravel() if ("theta", 0) in parts else np.empty(0),
                [arrays[parts["input", place]] for place in functions],
            )
        )
    return samples


def _from_torch(path: Path) -> list[_Sample]:
    saved = load_saved(path)
    if not isinstance(saved, list | tuple) or not saved:
        raise DataError(f"{path}: holds a {type(saved).__name__}, not a list of samples.")
    return [_sample(f"{path}: sample {i}", one) for i, one in enumerate(saved)]


def _sample(who: str, given: Any) -> _Sample:
    import torch

    if isinstance(given, Mapping):
        return _of_mapping(who, {str(k): v for k, v in given.items() if isinstance(v, torch.Tensor)})
    if not isinstance(given, Sequence) or not 2 <= len(given) <= 4:
        raise DataError(
            f"{who} is a {type(given).__name__}; expected [X, Y, theta, functions] or a dictionary."
        )
    tensors = given[:3]
    if not all(isinstance(one, torch.Tensor) for one in tensors):
        kinds = [type(one).__name__ for one in given]
        raise DataError(f"{who} holds {kinds}; expected tensors X, Y, theta and a tuple of tensors or None.")
    functions = given[3] if len(given) == 4 else ()
    functions = functions if isinstance(functions, Sequence) else (functions,)
    if not all(one is None or isinstance(one, torch.Tensor) for one in functions):
        raise DataError(f"{who}: an input function is neither a tensor nor None.")
    return _Sample(
        as_array(tensors[0]),
        {"u": as_array(tensors[1])},
        as_array(tensors[2]).ravel() if len(tensors) > 2 else np.empty(0),
        [None if one is None else as_array(one) for one in functions],
    )


def _of_mapping(who: str, tensors: dict[str, Any]) -> _Sample:
    """A dictionary: the tensors with a row for each point."""
    name = next((n for n in _POINTS if n in tensors and tensors[n].ndim == 2), None)
    if name is None:
        raise DataError(
            f"{who} has no points, a tensor (n, dim) called {', '.join(_POINTS)}; it has {sorted(tensors)}."
        )
    points = as_array(tensors[name])
    values = {}
    for key, tensor in tensors.items():
        array = as_array(tensor)
        if array.ndim == 2 and array.shape[0] == 1 and array.shape[1] == len(points):
            array = array.T
        if key != name and array.ndim in (1, 2) and len(array) == len(points):
            values[key] = array
    return _Sample(points, values)


_OUTPUTS = ("u", "Y", "y", "press", "pressure")


def _foreign(path: Path, samples: list[_Sample]) -> Foreign:
    notes: list[str] = []
    first = samples[0]
    for i, sample in enumerate(samples):
        same = sample.values.keys() == first.values.keys() and len(sample.functions) == len(first.functions)
        if not same or sample.numbers.size != first.numbers.size or not sample.values:
            raise DataError(
                f"{path}: sample {i} has {sorted(sample.values)}, {sample.numbers.size} numbers and "
                f"{len(sample.functions)} functions, sample 0 {sorted(first.values)}, "
                f"{first.numbers.size} and {len(first.functions)}; expected the same, "
                "at least one value a point."
            )
        for name, values in sample.values.items():
            if values.shape[0] != len(sample.points) or sample.points.ndim != 2 or values.ndim > 2:
                raise DataError(
                    f"{path}: sample {i} has points {sample.points.shape} and {name} {values.shape}; "
                    "expected (n, dim) and (n, channel)."
                )
    dim = first.points.shape[1]
    names = ("x", "y", "z") if dim <= 3 else tuple(f"x{i}" for i in range(dim))
    clouds = [Points(sample.points, names[:dim]) for sample in samples]
    fields: list[tuple[Field, Any]] = []
    for name, values in first.values.items():
        plain = plain_name(name) or "u"
        plain = f"{plain}_value" if plain in RESERVED else plain
        width = 1 if values.ndim == 1 else values.shape[1]
        role = "output" if name in _OUTPUTS or len(first.values) == 1 else "input"
        arrays = [s.values[name].reshape(len(s.points), -1) for s in samples]
        if any(array.shape[1] != width for array in arrays):
            raise DataError(f"{path}: {name} has different numbers of channels in the samples.")
        squeezed = [array[:, 0] if width == 1 else array for array in arrays]
        stored = [storable(path, name, array, notes if i == 0 else []) for i, array in enumerate(squeezed)]
        fields.append((Field(plain, role, long_name=name, components=width, rank=0), stored))
    for place in range(len(first.functions)):
        function = _function(path, place, [s.functions[place] for s in samples], dim, notes)
        if function is not None:
            fields.append(function)
    if first.numbers.size:
        notes.append(f"theta is {first.numbers.size} parameters, theta_0, ...")
    return Foreign(
        clouds,
        tuple(fields),
        variables={
            f"theta_{i}": np.array([float(s.numbers[i]) for s in samples]) for i in range(first.numbers.size)
        },
        provenance=Provenance(title=f"{path.name}, samples on their own points", dtype_compute="unknown"),
        notes=tuple(notes),
    )


def _function(
    path: Path, place: int, arrays: list[NDArray[Any] | None], dim: int, notes: list[str]
) -> tuple[Field, list[PointSet]] | None:
    """An input function of all samples: the first ``dim`` columns are its points."""
    if all(array is None for array in arrays):
        return None
    found: list[NDArray[Any]] = []
    for i, array in enumerate(arrays):
        if array is None or array.ndim != 2 or not len(array) or array.shape[1] < dim:
            shape = None if array is None else array.shape
            raise DataError(
                f"{path}: input {place} of sample {i} is {shape}; expected (m, {dim} coordinates and values)."
            )
        found.append(array)
    width = found[0].shape[1] - dim
    if any(array.shape[1] != dim + width for array in found):
        raise DataError(f"{path}: input {place} has different numbers of values in the samples.")
    if width == 0:
        notes.append(f"input {place} has points alone: its value is 1")
    sets = [
        PointSet(
            array[:, dim] if width == 1 else array[:, dim:] if width else np.ones(len(array), array.dtype),
            array[:, :dim],
        )
        for array in found
    ]
    return Field(f"input_{place}", "input", components=max(width, 1), on="own", rank=0), sets
