"""A dataset as a file of PDEBench."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.readers.export import Rows, check_target, numbers_of, put, whole_file
from sciml.datasets.readers.pdebench import FLOW, SMOKE
from sciml.errors import DataError
from sciml.schema import Field

if TYPE_CHECKING:
    from sciml.dataset import Dataset

_FROM_FILE = "pdebench_config"  # files of groups have such a text


def to_pdebench(data: Dataset, path: str | Path) -> tuple[str, ...]:
    """Write the samples of a view as one HDF5 file in a layout of PDEBench.

    A map between two scalar fields in two dimensions becomes Darcy flow (``nu``, ``tensor``), a scalar state
    in one dimension ``tensor``, fields called density, pressure, Vx, ... compressible flow, velocity,
    particles and force incompressible flow, and any other states the components of groups ``0000``,
    ``0001``, ...  Test samples come first, but last in groups, where PDEBench's loaders look for them; the
    others keep their order.  A dataset that came from groups goes back to groups.

    Parameters
    ----------
    data : Dataset
        On a grid.
    path : str or Path
        The new file.

    Returns
    -------
    tuple of str
        What was left out or changed: PDEBench has no units, parameters of samples or splits.

    Raises
    ------
    DataError
        If the fields fit none of the layouts.
    FileExistsError, FileNotFoundError
        If the file exists, or its folder does not.

    Notes
    -----
    ``t-coordinate`` gets one entry more than there are frames, as in PDEBench's files.
    """
    target = Path(path)
    check_target("to_pdebench", data, target)
    fields = data.fields
    states = [n for n, f in fields.items() if f.time and f.sample]
    maps = [n for n, f in fields.items() if not f.time and f.sample and f.components == 1]
    flow = FLOW[: 2 + data.grid.rank]
    scalar = all(fields[name].components == 1 for name in states)
    notes = [f"parameter {name} left out" for name in data.parameter_names]
    rows = _order(data, first=True)
    with whole_file(target) as file:
        if set(flow) <= set(states) and scalar:
            used = list(flow)
            for name in flow:
                put(file, name, data, name, rows)
            _coordinates(file, data)
        elif set(SMOKE) <= set(fields):
            used = list(SMOKE)
            _smoke(file, data, rows)
        elif len(states) == 1 and scalar and data.grid.rank == 1 and _FROM_FILE not in data.attributes:
            used = states
            put(file, "tensor", data, states[0], rows)
            _coordinates(file, data)
        elif states:
            used = states
            rows = _order(data, first=False)
            notes += [f"{', '.join(states)}: components of data"] if len(states) > 1 else []
            _groups(file, data, states, rows)
        elif data.grid.rank == 2 and len(maps) >= 2 and (pair := _pair(data, maps)):
            used = list(pair)
            put(file, "nu", data, pair[0], rows)
            put(file, "tensor", data, pair[1], rows, lambda values: values[:, None])
            _coordinates(file, data)
        else:
            raise DataError(
                f"to_pdebench: {data.path} has the fields {', '.join(fields)} on {data.grid.rank} axes; "
                "PDEBench has layouts for states in time, and for one scalar input and output in two "
                "dimensions."
            )
        for name, value in _numbers(data).items():
            file.attrs[name] = value
        if _FROM_FILE in data.attributes and "0000" in file:
            for group in file.values():
                group.attrs["config"] = data.attributes[_FROM_FILE]
    notes += [f"field {name} left out" for name in fields if name not in used]
    if len(data.test) != int(0.1 * len(data)):
        notes.append(f"{len(data.test)} test samples, but PDEBench takes {int(0.1 * len(data))}")
    return tuple(notes)


def _order(data: Dataset, *, first: bool) -> Rows:
    """Positions in the view, with those of test samples first or last."""
    test = data.variable("split") == 2
    return np.argsort(~test if first else test, kind="stable")


def _pair(data: Dataset, names: list[str]) -> tuple[str, str] | None:
    """The scalar input and output."""
    roles = {name: data.fields[name].role for name in names}
    inputs = [n for n in names if roles[n] in ("input", "coefficient")]
    outputs = [n for n in names if roles[n] == "output"]
    return (inputs[0], outputs[0]) if len(inputs) == len(outputs) == 1 else None


def _coordinates(file: Any, data: Dataset) -> None:
    for axis, name in zip(data.grid.axes, ("x", "y", "z"), strict=False):
        file[f"{name}-coordinate"] = axis.coordinates
    if data.times is not None:
        file["t-coordinate"] = _one_more(data.times)


def _one_more(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """The times and the end of the last frame."""
    step = times[-1] - times[-2] if len(times) > 1 else 1.0
    return np.append(times, times[-1] + step)


def _smoke(file: Any, data: Dataset, rows: Rows) -> None:
    for name in SMOKE:
        item = data.fields[name]
        put(file, name, data, name, rows, _components_last(item, keep=name != "force"))
    assert data.times is not None
    file["t"] = np.tile(data.times, (len(rows), 1))


def _components_last(item: Field, *, keep: bool = True) -> Any:
    """([sample,] [time,] [component,] *space) to components last; one component as an axis of length one."""
    place = 1 + item.time

    def turn(values: NDArray[Any]) -> NDArray[Any]:
        if item.components > 1:
            return np.moveaxis(values, place, -1)
        return values[..., None] if keep else values

    return turn


def _groups(file: Any, data: Dataset, states: list[str], rows: Rows) -> None:
    width = max(4, len(str(len(rows) - 1)))
    turns = [_components_last(data.fields[name]) for name in states]
    for i, row in enumerate(rows):
        group = file.create_group(f"{i:0{width}d}")
        parts = [turn(data.load(name, [row]))[0] for name, turn in zip(states, turns, strict=True)]
        group["data"] = np.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
        group["grid/t"] = data.times
        for axis, name in zip(data.grid.axes, ("x", "y", "z"), strict=False):
            group[f"grid/{name}"] = axis.coordinates


def _numbers(data: Dataset) -> dict[str, float]:
    """Attributes; the coefficient of the Burgers equation becomes Nu again."""
    numbers = numbers_of(data)
    viscosity = numbers.pop("viscosity", None)
    if viscosity is not None and "Nu" not in numbers:
        burgers = data.attributes.get("pde") == "burgers_1d"
        numbers["Nu"] = viscosity * math.pi if burgers else viscosity
    return numbers
