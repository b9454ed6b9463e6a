"""A dataset as a folder of The Well."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.readers.export import Rows, check_target, numbers_of, put, whole_folder
from sciml.datasets.readers.pieces import plain_name
from sciml.datasets.readers.well import GROUPS
from sciml.schema import SPLITS, Field

if TYPE_CHECKING:
    from sciml.dataset import Dataset

_OPEN = ("open", "outflow", "outgoing", "extrapolation")


def to_well(data: Dataset, path: str | Path, *, name: str = "") -> tuple[str, ...]:
    """Write a dataset as The Well keeps one: ``data/<split>/<name>.hdf5`` and ``stats.yaml``.

    Fields of rank 1 with as many components as axes are vectors, of rank 2 with their square tensors, and all
    others scalars, one for each component.  Fields without time or sample are marked as not varying.
    Parameters of samples become scalars, numbers for all of them simulation parameters.

    Parameters
    ----------
    data : Dataset
        On a grid.
    path : str or Path
        The new folder.
    name : str, optional
        Of the data set; by default the name of its file.

    Returns
    -------
    tuple of str
        What was changed.

    Raises
    ------
    DataError
        If the values live on meshes or points.
    FileExistsError, FileNotFoundError
        If the folder exists, or the one around it does not.

    Notes
    -----
    Values keep their type and their order.  Roles and units are attributes ``sciml_role`` and ``units`` of
    the fields, which The Well ignores and `TheWell` reads back.
    """
    import h5py

    target = Path(path)
    check_target("to_well", data, target)
    called = plain_name(name or data.path.stem) or "data"
    notes: list[str] = []
    with whole_folder(target) as folder:
        for number, split in enumerate(SPLITS):
            rows = np.flatnonzero(data.variable("split") == number)
            if not len(rows):
                continue
            part = folder / "data" / split
            part.mkdir(parents=True)
            with h5py.File(part / f"{called}.hdf5", "w") as file:
                _write(file, data, rows, called, notes)
        if len(data.train):
            (folder / "stats.yaml").write_text(_statistics(data), encoding="utf-8")
    return tuple(dict.fromkeys(notes))


def _write(file: Any, data: Dataset, rows: Rows, name: str, notes: list[str]) -> None:
    numbers = {key: value for key, value in numbers_of(data).items() if np.isfinite(value)}
    axes = data.grid.names
    file.attrs.update(
        dataset_name=name, grid_type="cartesian", n_spatial_dims=len(axes), n_trajectories=len(rows)
    )
    _texts(file, "simulation_parameters", list(numbers))
    for key, value in numbers.items():
        file.attrs[key] = value
    dimensions = file.create_group("dimensions")
    _texts(dimensions, "spatial_dims", list(axes))
    times = np.zeros(1) if data.times is None else data.times
    for key, points in (("time", times), *((axis.name, axis.coordinates) for axis in data.grid.axes)):
        dimensions[key] = points
        dimensions[key].attrs.update(sample_varying=False, time_varying=False)
    _boundaries(file.create_group("boundary_conditions"), data)
    scalars = file.create_group("scalars")
    _texts(scalars, "field_names", [*numbers, *data.parameter_names])
    for key, value in numbers.items():
        scalars[key] = value
        scalars[key].attrs.update(sample_varying=False, time_varying=False)
    for key in data.parameter_names:
        scalars[key] = data.variable(key)[rows]
        scalars[key].attrs.update(sample_varying=True, time_varying=False)
    listed: dict[str, list[str]] = {group: [] for group in GROUPS}
    for group in GROUPS:
        file.create_group(group)
    for item in data.fields.values():
        for group, key in _field(file, data, item, rows, notes):
            listed[group].append(key)
    for group, names in listed.items():
        _texts(file[group], "field_names", names)


def _field(file: Any, data: Dataset, item: Field, rows: Rows, notes: list[str]) -> list[tuple[str, str]]:
    """One field as a scalar, vector or tensor, or its components as scalars."""
    rank = data.grid.rank
    place = int(item.sample) + int(item.time)
    whole = item.components == 1 or (item.rank in (1, 2) and item.components == rank**item.rank)
    kind = 0 if item.components == 1 or not whole else int(item.rank or 0)
    parts: list[tuple[str, Any]] = []
    if item.components == 1:
        parts = [(item.name, lambda values: values)]
    elif whole:
        shape = (rank,) * kind
        parts = [(item.name, lambda v: np.moveaxis(v, place, -1).reshape(*np.delete(v.shape, place), *shape))]
    else:
        notes.append(f"{item.name} has {item.components} components, which are fields of their own")
        parts = [
            (f"{item.name}_{i}", lambda values, i=i: np.take(values, i, axis=place))
            for i in range(item.components)
        ]
    for key, turn in parts:
        if item.sample:
            dataset = put(file[GROUPS[kind]], key, data, item.name, rows, turn)
        else:
            dataset = file[GROUPS[kind]].create_dataset(key, data=turn(data.load(item.name, rows[:1])[0]))
        dataset.attrs.update(
            sample_varying=item.sample, time_varying=item.time, dim_varying=np.ones(rank, dtype=bool)
        )
        if kind == 2:
            dataset.attrs.update(symmetric=False, antisymmetric=False)
        dataset.attrs.update(sciml_role=item.role, units=item.units, long_name=item.long_name or key)
    return [(GROUPS[kind], key) for key, _ in parts]


def _boundaries(group: Any, data: Dataset) -> None:
    known: Mapping[str, Any] = data.attributes.get("boundary", {})
    for axis in data.grid.axes:
        pair = ["periodic"] * 2 if axis.periodic else list(known.get(axis.name, ("wall", "wall")))
        kinds = [
            "PERIODIC" if k == "periodic" else "OPEN" if str(k).lower() in _OPEN else "WALL" for k in pair
        ]
        for kind in dict.fromkeys(kinds):
            entry = group.create_group(f"{axis.name}_{kind.lower()}")
            entry.attrs.update(bc_type=kind, sample_varying=False, time_varying=False)
            _texts(entry, "associated_dims", [axis.name])
            _texts(entry, "associated_fields", [])
            mask = np.zeros(axis.size, dtype=bool)
            mask[[0, -1]] = [kinds[0] == kind, kinds[1] == kind]
            entry["mask"] = mask


def _texts(item: Any, name: str, values: list[str]) -> None:
    import h5py

    item.attrs.create(name, np.array(values, dtype=object), dtype=h5py.string_dtype())


def _statistics(data: Dataset) -> str:
    """Population moments of the training samples, as YAML: a number or a (nested) list for each field."""
    found: dict[str, dict[str, Any]] = {}
    for item in data.fields.values():
        moments = data.statistics(item.name)
        listed = {"mean": moments.mean, "std": moments.std, "rms": moments.rms}
        if moments.mean_delta is not None and moments.std_delta is not None:
            listed |= {"mean_delta": moments.mean_delta, "std_delta": moments.std_delta}
            listed |= {"rms_delta": np.hypot(moments.mean_delta, moments.std_delta)}
        for key, values in listed.items():
            for name, entry in _named(item, values, data.grid.rank).items():
                found.setdefault(key, {})[name] = entry
    lines = []
    for key, fields in found.items():
        lines.append(f"{key}:")
        lines += [f"  {name}: {json.dumps(value)}" for name, value in fields.items()]
    return "\n".join(lines) + "\n"


def _named(item: Field, values: NDArray[np.float64], rank: int) -> dict[str, Any]:
    if item.components == 1:
        return {item.name: float(values[0])}
    if item.rank in (1, 2) and item.components == rank**item.rank:
        return {item.name: values.reshape((rank,) * item.rank).tolist()}
    return {f"{item.name}_{i}": float(value) for i, value in enumerate(values)}
