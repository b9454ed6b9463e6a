"""Files of The Well: fields by tensor rank, with flags for the axes along which they vary."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.readers.containers import Contents, attributes_of, contents, mapped, marks, opened, room
from sciml.datasets.readers.foreign import Foreign
from sciml.datasets.readers.pieces import grid_of, lacking, numbers_in, plain_name, times_of
from sciml.description import describable
from sciml.errors import DataError
from sciml.schema import ROLES, SPLITS, Field, Provenance, storable

GROUPS = ("t0_fields", "t1_fields", "t2_fields")
_KINDS = {"PERIODIC": "periodic", "WALL": "wall", "OPEN": "open"}


@dataclass(frozen=True)
class _Axes:
    """What one file says about samples, time and space."""

    samples: int
    frames: int
    names: tuple[str, ...]
    sizes: tuple[int, ...]


@describable
@dataclass(frozen=True)
class TheWell:
    """One HDF5 file of The Well (Ohana et al., NeurIPS 2024), or the folder with all files of a data set.

    Fields that vary in time are the states of a roll-out, the others its coefficients; a vector is one field
    with a component for each axis, a tensor one with the square of that.  Axes along which a field does not
    vary are absent in the file: along space values are repeated, along samples and time the dataset leaves
    them out as well.  Numbers for each sample are parameters, other numbers attributes.  The folder has
    ``train``, ``valid`` and ``test``, perhaps below ``data``, which are the split; numbers that differ from
    file to file are parameters.

    Notes
    -----
    Boundary conditions become the periodicity of the axes and their ``boundary``.  Numbers that change in
    time, and conditions inside of the domain, have no place in a dataset and are left out.

    Examples
    --------
    >>> TheWell().format
    'a file of The Well'
    """

    @property
    def format(self) -> str:
        """For messages and the converted file."""
        return "a file of The Well"

    def detect(self, path: Path) -> bool:
        """Whether an HDF5 file has a group of fields or the dimensions of The Well; or a folder has."""
        if path.is_dir():
            files = [file for part in _parts(path).values() for file in part]
            return bool(files) and self.detect(files[0])
        found = marks(path, "HDF5")
        return found is not None and _has_marks(found)

    def read(self, path: Path) -> Foreign:
        """The content.

        Raises
        ------
        DataError
            If groups or attributes are missing, shapes do not fit their flags, or the files of a folder do
            not belong together.
        """
        return _read_folder(path) if path.is_dir() else _read_file(path)


def _has_marks(found: Contents) -> bool:
    tops = {name.split("/")[0] for name in found.arrays}
    said = {"n_spatial_dims", "grid_type"} <= found.attributes.keys()
    return bool(tops & set(GROUPS)) or (said and "dimensions" in tops)


def _parts(path: Path) -> dict[str, list[Path]]:
    """The files of each split in a folder."""
    base = path / "data" if (path / "data").is_dir() else path
    return {
        split: sorted(f for f in (base / split).iterdir() if f.suffix in (".h5", ".hdf5"))
        for split in SPLITS
        if (base / split).is_dir()
    }


def _read_folder(path: Path) -> Foreign:
    """All files, one behind the other."""
    files = [(i, file) for i, split in enumerate(SPLITS) for file in _parts(path).get(split, ())]
    read = [_read_file(file) for _, file in files]
    first = read[0]
    counts = []
    for (_, file), other in zip(files, read, strict=True):
        mine, theirs = ([item for item, _ in found.fields] for found in (first, other))
        same_times = np.array_equal(
            np.asarray(first.times, dtype=float), np.asarray(other.times, dtype=float), equal_nan=True
        )
        if mine != theirs or first.grid != other.grid or not same_times:
            raise DataError(f"{file}: has other fields, another grid or other times than {files[0][1]}.")
        counts.append(other.samples)
    fields = []
    for place, (item, array) in enumerate(first.fields):
        arrays = [np.asarray(found.fields[place][1]) for found in read]
        if not item.sample and all(np.array_equal(array, other) for other in arrays):
            fields.append((item, array))
            continue
        if not item.sample:  # the same in a file, not in all of them
            arrays = [np.broadcast_to(a, (n, *a.shape)) for a, n in zip(arrays, counts, strict=True)]
        held = room((sum(counts), *arrays[0].shape[1:]), arrays[0].dtype)
        np.concatenate(arrays, out=held)
        fields.append((replace(item, sample=True), held))
    variables: dict[str, NDArray[np.float64]] = {
        name: np.concatenate([found.variables[name] for found in read])
        for name in first.variables
        if all(name in found.variables for found in read)
    }
    attributes = dict(first.attributes)
    for name, value in first.attributes.items():
        values = [found.attributes.get(name) for found in read]
        if any(other != value for other in values):
            del attributes[name]
            if all(isinstance(other, float) for other in values):
                variables[name] = np.repeat(np.asarray(values, dtype=float), counts)
    notes = (f"{len(files)} files in the folders {', '.join(_parts(path))}", *first.notes)
    split = np.repeat(np.array([part for part, _ in files], dtype=np.int8), counts)
    return replace(
        first,
        fields=tuple(fields),
        split=split,
        variables=variables,
        attributes=attributes,
        notes=notes,
    )


def _read_file(path: Path) -> Foreign:
    found = contents(path)
    if found is None or not _has_marks(found):
        raise DataError(f"{path}: not a file of The Well.")
    tops = {name.split("/")[0] for name in found.arrays}
    needed = {name for name in ("dimensions",) if name not in tops}
    needed |= {f"t0_fields, {GROUPS[1]} or {GROUPS[2]}"} if not tops & set(GROUPS) else set()
    needed |= {"dimensions/time"} if "dimensions/time" not in found.arrays else set()
    needed |= {"the root attribute n_trajectories"} if "n_trajectories" not in found.attributes else set()
    if needed:
        raise lacking(path, "a file of The Well", needed, found.listing())
    notes: list[str] = []
    with opened(path) as file:
        axes, times = _axes(path, file, found, notes)
        fields: list[tuple[Field, NDArray[Any]]] = []
        for rank, group in enumerate(GROUPS):
            for name in _field_names(path, file, group):
                fields.append(_field(path, file[group][name], f"{group}/{name}", rank, axes, notes))
        periodic, boundary = _boundary(file, axes, notes)
        variables, attributes = _numbers(file, axes, notes)
        coordinates = [(name, np.asarray(file["dimensions"][name][()])) for name in axes.names]
    if not any(item.sample for item, _ in fields):
        notes.append("no field varies from sample to sample: kept as one sample")
        fields = [(replace(item, sample=True), array[None]) for item, array in fields]
        variables = {}
    for name, points in coordinates:
        if points.shape != (axes.sizes[axes.names.index(name)],):
            raise DataError(f"{path}: the coordinate {name} has shape {points.shape}, no axis of a grid.")
    sample = next(array for item, array in fields if item.sample)
    grids = [
        grid_of(
            path, [pair], sample, [sample.ndim - len(axes.names) + i], notes, periodic=axis_name in periodic
        ).axes[0]
        for i, (axis_name, pair) in enumerate(zip(axes.names, coordinates, strict=True))
    ]
    from sciml.grid import Grid

    timed = any(item.time for item, _ in fields)
    return Foreign(
        Grid(tuple(grids)),
        tuple(fields),
        times=times if timed else None,
        variables=variables,
        attributes=attributes | numbers_in(_parameters(found)),
        provenance=Provenance(
            title=str(found.attributes.get("dataset_name", path.stem)),
            pde=str(found.attributes.get("dataset_name", "")),
            boundary=boundary,
            dtype_compute="unknown",
        ),
        notes=tuple(notes),
    )


def _axes(path: Path, file: Any, found: Contents, notes: list[str]) -> tuple[_Axes, NDArray[np.float64]]:
    names = attributes_of(file["dimensions"]).get("spatial_dims", [])
    names = names if isinstance(names, list) else [names]
    missing = {f"dimensions/{name}" for name in names} - found.names()
    if not names or missing:
        raise lacking(path, "a file of The Well", missing or {"spatial_dims of dimensions"}, found.listing())
    time = np.asarray(file["dimensions/time"][()])
    frames = time.shape[-1] if time.ndim else 1
    sizes = tuple(int(file["dimensions"][name].size) for name in names)
    samples = int(found.attributes["n_trajectories"])
    return _Axes(samples, frames, tuple(map(str, names)), sizes), times_of(path, time, frames, notes)


def _field_names(path: Path, file: Any, group: str) -> list[str]:
    if group not in file:
        return []
    names = attributes_of(file[group]).get("field_names", [])
    listed = [str(name) for name in (names if isinstance(names, list) else [names])] or list(file[group])
    for name in listed:
        if name not in file[group]:
            raise lacking(
                path,
                "a file of The Well",
                {f"{group}/{name}"},
                ", ".join(map(repr, file[group])) or "nothing",
            )
    return listed


def _field(
    path: Path, dataset: Any, name: str, rank: int, axes: _Axes, notes: list[str]
) -> tuple[Field, NDArray[Any]]:
    """A field in memory order, (sample, [time,] [component,] *space), tiled along the axes it lacks."""
    flags = attributes_of(dataset)
    sample, time = (bool(flags.get(f"{what}_varying", True)) for what in ("sample", "time"))
    varying = [bool(flag) for flag in flags.get("dim_varying", [True] * len(axes.names))]
    values = mapped(dataset, path)
    dim = len(axes.names)
    space = [size for size, flag in zip(axes.sizes, varying, strict=False) if flag]
    lead = [axes.samples] * sample + [axes.frames] * time
    ends = [(), (dim,), (dim, dim)][rank]
    shapes = [(*lead, *space, *ends)] + ([(*lead, *space, dim**rank)] if rank == 2 else [])
    if values.shape not in shapes or len(varying) != dim:
        raise DataError(
            f"{path}: {name} has shape {values.shape}; expected {shapes[0]} from its flags "
            f"sample_varying={sample}, time_varying={time}, dim_varying={varying}."
        )
    values = values.reshape(*lead, *space, dim**rank)
    for place, flag in enumerate(varying):
        if not flag:
            values = np.expand_dims(values, len(lead) + place)
            notes.append(f"{name} does not vary along {axes.names[place]} and is repeated")
    values = np.broadcast_to(values, (*lead, *axes.sizes, dim**rank))
    values = np.moveaxis(values, -1, len(lead))
    plain = plain_name(name.split("/")[1])
    if plain is None:
        raise DataError(f"{path}: {name} has a name without letters.")
    role = str(flags.get("sciml_role", "state" if time else "coefficient"))  # as `to_well` wrote it
    item = Field(
        plain,
        role if role in ROLES else "static",
        units=str(flags.get("units", "1")),
        long_name=str(flags.get("long_name", "")),
        components=dim**rank,
        time=time,
        sample=sample,
        rank=rank,
    )
    if dim**rank == 1:
        values = values[(slice(None),) * len(lead) + (0,)]
    return item, storable(path, plain, values, notes)


def _boundary(file: Any, axes: _Axes, notes: list[str]) -> tuple[set[str], dict[str, tuple[str, str]]]:
    """Which axes are periodic, and the conditions at both ends of the others where both are known."""
    ends: dict[str, list[str]] = {name: ["", ""] for name in axes.names}
    for name in file.get("boundary_conditions", ()):
        item = file["boundary_conditions"][name]
        flags = attributes_of(item)
        kind = _KINDS.get(str(flags.get("bc_type", "")).upper(), str(flags.get("bc_type", "unknown")).lower())
        dims = flags.get("associated_dims", [])
        dims = [str(dim) for dim in (dims if isinstance(dims, list) else [dims])]
        mask = np.asarray(item["mask"][()]) if "mask" in item else None
        if len(dims) != 1 or dims[0] not in ends or kind == "periodic" or mask is None or mask.ndim != 1:
            for dim in set(dims) & ends.keys():
                if kind == "periodic":
                    ends[dim] = [kind, kind]
            if kind != "periodic":
                notes.append(f"boundary condition {name} ({kind}) is not that of one axis and is left out")
            continue
        for side, place in enumerate((0, -1)):
            if mask[place]:
                ends[dims[0]][side] = kind
        if not mask[0] and not mask[-1]:
            notes.append(f"boundary condition {name} ({kind}) lies inside and is left out")
    periodic = {name for name, (lower, upper) in ends.items() if "periodic" in (lower, upper)}
    known = {name: (lower, upper) for name, (lower, upper) in ends.items() if lower and upper}
    return periodic, {name: pair for name, pair in known.items() if name not in periodic}


def _numbers(
    file: Any, axes: _Axes, notes: list[str]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, Any]]:
    """Scalars: one for each sample is a parameter, one for all an attribute."""
    variables: dict[str, NDArray[np.float64]] = {}
    attributes: dict[str, Any] = {}
    for name in file.get("scalars", ()):
        item = file["scalars"][name]
        flags, plain = attributes_of(item), plain_name(name)
        if plain is None or item.dtype.kind not in "iufb":
            notes.append(f"scalar {name} is left out")
        elif flags.get("time_varying") and item.shape != ():
            notes.append(f"scalar {name} changes in time and is left out")
        elif item.shape == (axes.samples,) and flags.get("sample_varying", True):
            variables[plain] = np.asarray(item[()], dtype=np.float64)
        elif item.size == 1:
            attributes |= numbers_in({plain: float(np.ravel(item[()])[0])})
    return variables, attributes


def _parameters(found: Contents) -> dict[str, Any]:
    """The numbers among the root attributes, without those about the layout."""
    layout = ("n_spatial_dims", "n_trajectories")
    return {name: value for name, value in found.attributes.items() if name not in layout}
