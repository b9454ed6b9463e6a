"""The vocabulary of a dataset file, schema 1.0: fields, statistics, provenance, dimensions, chunks, digest.

Nothing here opens a file; `sciml.dataset_writer` and `sciml.dataset_file` do.  The format itself is
described in ``docs/dataset-format.md``.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sciml.errors import DataError, nearest
from sciml.grid import Grid
from sciml.mesh import Space

Float = NDArray[np.float64]
Role = Literal["input", "output", "state", "parameter", "coefficient", "mask", "static"]

SCHEMA = "1.0"
ROLES: tuple[str, ...] = ("input", "output", "state", "parameter", "coefficient", "mask", "static")
SPLITS: tuple[str, ...] = ("train", "valid", "test")  # the position is the value stored in `split`
KINDS = ("grid", "mesh", "points")
ON = ("points", "cells", "own")
# The NAME of a netCDF-4 dimension without values; its length follows in ten columns.
DIMENSION_ONLY = "This is a netCDF dimension but not a netCDF variable."
# Attributes by which HDF5 and netCDF-4 tie variables to dimensions: structure, not content.
STRUCTURE = frozenset(
    {
        "CLASS",
        "NAME",
        "DIMENSION_LIST",
        "REFERENCE_LIST",
        "_Netcdf4Dimid",
        "_Netcdf4Coordinates",
        "_NCProperties",
    }
)
# What may differ between two files of equal content.
NOT_CONTENT = frozenset({"date_created", "history", "sciml_digest", "sciml_complete"})
JSON_ATTRIBUTES = ("boundary", "domain", "task")

# Bookkeeping along `sample`: stored type and attributes.
FLAGGED = {"split": SPLITS, "status": ("ok", "regenerated", "suspect")}
BOOKKEEPING = {"split": "i1", "status": "i1", "sample_seed": "i8", "discretization_error": "f8"}
# Of meshes and points: their dimensions, and the variables that make them.
STRUCTURAL = ("node_coords", "node_count", "boundary_tag", "cells", "cell_type", "cell_count")
RESERVED = frozenset(
    {"sample", "time", "complex", "vertex", "n_time", "node", "cell", "corner", "space"}
    | {*BOOKKEEPING, *STRUCTURAL}
)

# What torch and netCDF both read, as little-endian: float16 kills a reader of the netCDF C library, 64-bit
# unsigned has no torch type, and complex numbers have no netCDF type.
DTYPES = ("f4", "f8", "i1", "i2", "i4", "i8", "u1")

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True)
class Field:
    """One physical quantity in space, or (role "parameter") one number per sample.

    Parameters
    ----------
    name : str
        Letters, digits and underscores.
    role : str
        "input", "output", "state" (both, in a rollout), "parameter", "coefficient", "mask" or "static".
    units : str
        As UDUNITS writes them; "1" for a quantity without dimension.
    long_name : str
        For axis labels.
    components : int
        Values per point; they form the channel axis in memory and the last axis in the file.
    time : bool
        Whether the values have a time axis.
    sample : bool
        Whether they differ from sample to sample.
    rank : int, optional
        0 scalar (or a list of scalars), 1 vector, 2 tensor; by default 0 for one component and 1 for more.
    on : str
        "points" of the grid, the mesh or the cloud; "cells" of a mesh; "own" for a function known at points
        of its own, such as a load on the boundary.

    Raises
    ------
    DataError
        If the name or the role is not admissible, or ``components`` or ``rank`` is out of range.

    Examples
    --------
    >>> Field("u", "output", units="m/s", components=2).rank
    1
    """

    name: str
    role: str
    units: str = "1"
    long_name: str = ""
    components: int = 1
    time: bool = False
    sample: bool = True
    rank: int | None = None
    on: str = "points"

    def __post_init__(self) -> None:
        check_name(self.name, "Field")
        if self.on not in ON:
            raise DataError(
                f"Field {self.name!r}: on must be one of {', '.join(ON)}, got {self.on!r}."
                f"{nearest(str(self.on), ON)}"
            )
        if self.role not in ROLES:
            raise DataError(
                f"Field {self.name!r}: role must be one of {', '.join(ROLES)}, got {self.role!r}."
                f"{nearest(str(self.role), ROLES)}"
            )
        if self.components < 1:
            raise DataError(f"Field {self.name!r}: needs at least one component, got {self.components}.")
        if self.rank is None:
            object.__setattr__(self, "rank", 0 if self.components == 1 else 1)
        if self.rank not in (0, 1, 2):
            raise DataError(f"Field {self.name!r}: rank must be 0, 1 or 2, got {self.rank}.")
        plain = self.components == 1 and not self.time and self.sample and self.on == "points"
        if self.role == "parameter" and not plain:
            raise DataError(
                f"Field {self.name!r}: a parameter is one number per sample; "
                "use one field per parameter, or role 'coefficient' for values in space."
            )


@dataclass(frozen=True)
class Statistics:
    """Moments of a field over samples, time and space of the train split, per component.

    All arrays have shape (components,) and type float64; ``std`` is the population value (division by n).
    ``mean_delta`` and ``std_delta`` are the moments of the difference of consecutive frames, for fields with
    time.
    """

    mean: Float
    std: Float
    min: Float
    max: Float
    mean_delta: Float | None = None
    std_delta: Float | None = None

    @property
    def rms(self) -> Float:
        """Root mean square, (components,)."""
        return np.hypot(self.mean, self.std)


@dataclass(frozen=True)
class Provenance:
    """Where a dataset comes from and what it is for; empty entries are left out of the file.

    Parameters
    ----------
    title, pde, equation : str
        For people; a machine name such as "darcy_2d"; the equation as text.
    boundary : mapping
        Axis name to the pair of conditions at its lower and upper end, e.g. ``{"x": ("dirichlet",
        "neumann")}``. Periodic axes are filled in.  Of a mesh the name of a boundary to its condition.
    generator, solver : str
        Name, version and revision; method, order and tolerances.
    dtype_compute : str
        The type the solver computed in.
    seed : int, optional
        From which all samples follow.
    task : mapping, optional
        ``{"kind": "map" | "rollout", "inputs": [...], "outputs": [...], "conditioning": [...]}``; by default
        read off the roles.
    license, institution, creator, history : str
        The license as an SPDX identifier.
    date_created : str
        ISO 8601.  Empty by default, so that equal content gives equal bytes.
    time_units : str
        Of the time axis.
    """

    title: str = ""
    pde: str = ""
    equation: str = ""
    boundary: Mapping[str, Sequence[str] | str] = field(default_factory=dict)
    generator: str = ""
    solver: str = ""
    dtype_compute: str = "float64"
    seed: int | None = None
    task: Mapping[str, Any] | None = None
    license: str = ""
    institution: str = ""
    creator: str = ""
    history: str = ""
    date_created: str = ""
    time_units: str = "1"

    def attributes(self, place: Grid | Space, fields: Sequence[Field]) -> dict[str, Any]:
        """The root attributes that these entries, the place of the values and the roles imply."""
        texts = (
            "title", "institution", "creator", "license", "history", "date_created",
            "pde", "equation", "generator", "solver", "dtype_compute",
        )  # fmt: skip
        found: dict[str, Any] = {name: getattr(self, name) for name in texts if getattr(self, name)}
        if self.seed is not None:
            found["seed"] = int(self.seed)
        if isinstance(place, Grid):
            found["boundary"] = dump(self._boundary(place))
            found["domain"] = dump({axis.name: [axis.lower, axis.upper] for axis in place.axes})
        else:
            found["boundary"] = dump(self._conditions(place.boundary_names))
            bounds = zip(place.names, place.lower, place.upper, strict=True)
            found["domain"] = dump({name: [lower, upper] for name, lower, upper in bounds})
        found["task"] = dump(default_task(fields) if self.task is None else dict(self.task))
        return found

    def _conditions(self, names: Sequence[str]) -> dict[str, str]:
        for name, condition in self.boundary.items():
            if name not in names or not isinstance(condition, str):
                raise DataError(
                    f"Provenance: boundary maps a boundary of the meshes, {tuple(names)}, to its condition, "
                    f"got {name!r}: {condition!r}."
                )
        return {name: str(self.boundary[name]) for name in names if name in self.boundary}

    def _boundary(self, grid: Grid) -> dict[str, list[str]]:
        known = {axis.name: ["periodic", "periodic"] for axis in grid.axes if axis.periodic}
        for name, pair in self.boundary.items():
            if name not in grid.names or isinstance(pair, str) or len(pair) != 2:
                raise DataError(
                    f"Provenance: boundary maps an axis of {grid.names} to two conditions, "
                    f"got {name!r}: {pair!r}."
                )
            if ("periodic" in pair) != grid.axis(name).periodic or (
                name in known and list(pair) != known[name]
            ):
                raise DataError(
                    f"Provenance: boundary says {list(pair)} for axis {name!r}, but the grid says "
                    f"periodic={grid.axis(name).periodic}. State it in the Axis as well."
                )
            known[name] = [str(side) for side in pair]
        return {name: known[name] for name in grid.names if name in known}


def default_task(fields: Sequence[Field]) -> dict[str, Any]:
    """What a model would learn from fields of these roles."""
    states = [f.name for f in fields if f.role == "state"]
    return {
        "kind": "rollout" if states else "map",
        "inputs": [f.name for f in fields if f.role in ("input", "coefficient")] + states,
        "outputs": [f.name for f in fields if f.role == "output"] + states,
        "conditioning": [f.name for f in fields if f.role == "parameter"],
    }


def check_name(name: str, who: str) -> None:
    """Refuse a name that HDF5, netCDF or a file system would not take as it is."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DataError(
            f"{who}: a name starts with a letter and has up to 64 letters, digits or underscores, "
            f"got {name!r}."
        )


def component_dimensions(fields: Sequence[Field]) -> dict[int, str]:
    """Names of the dimensions of components: ``component``, or ``component_<n>`` when the counts differ."""
    counts = sorted({f.components for f in fields if f.components > 1})
    return {n: "component" if len(counts) == 1 else f"component_{n}" for n in counts}


def location_of(item: Field) -> str:
    """The dimension of the points or cells that a field off the grid lives on."""
    return {"points": "node", "cells": "cell"}.get(item.on, f"{item.name}_point")


def dimensions(
    item: Field, space: Sequence[str], component: Mapping[int, str], *, ragged: bool = False
) -> tuple[str, ...]:
    """The dimensions of a field in the file: sample, time, space, component, or space, time, component where
    the samples lie one behind the other along space.
    """
    if item.role == "parameter":
        return ("sample",)
    time = ("time",) if item.time else ()
    last = (component[item.components],) if item.components > 1 else ()
    if ragged:
        return (*space, *time, *last)
    return (*(("sample",) if item.sample else ()), *time, *space, *last)


def chunk_shape(dims: Sequence[str], shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Chunks that never cross samples: whole frames, as many as make 128 KiB, cut below 4 MiB.

    Where all samples lie one behind the other along the points, chunks of 128 KiB.

    Examples
    --------
    >>> chunk_shape(("sample", "time", "x", "y"), (256, 21, 64, 64), 4)
    (1, 8, 64, 64)
    >>> chunk_shape(("sample", "x", "y", "z"), (8, 256, 256, 256), 4)
    (1, 16, 256, 256)
    >>> chunk_shape(("sample",), (10**6,), 8)
    (16384,)
    """
    chunk = list(shape)
    if len(shape) == 1:  # coordinates and numbers per sample: read as a whole, so 128 KiB pieces
        return (min(shape[0], 2**17 // itemsize),)
    if begins_with_points(dims):
        chunk[0] = min(chunk[0], max(1, 2**17 // (math.prod(chunk[1:]) * itemsize)))
    if "sample" in dims:
        chunk[dims.index("sample")] = 1
    if "time" in dims:
        time = dims.index("time")
        frame = math.prod(chunk) // chunk[time] * itemsize
        chunk[time] = min(chunk[time], max(1, -(-(2**17) // frame)))
    for i in range(len(chunk)):  # slowest axes first, so that what is left of a chunk is contiguous in space
        rest = math.prod(chunk) // chunk[i] * itemsize
        chunk[i] = max(1, min(chunk[i], 2**22 // rest))
    return tuple(chunk)


def begins_with_points(dims: Sequence[str]) -> bool:
    """Whether the first dimension counts points or cells, of all samples or shared by them."""
    return len(dims) > 0 and (dims[0] in ("node", "cell") or dims[0].endswith("_point"))


def dump(value: Any) -> str:
    """JSON text in one spelling, with exact floats; NaN and infinity are refused by ValueError."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def canonical(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The same type, little-endian: the bytes that are hashed."""
    return dtype.newbyteorder("<")


@dataclass(frozen=True)
class Variable:
    """One variable of a file: everything but its values."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    dims: tuple[str, ...]
    attributes: Mapping[str, Any]


def storable(source: object, name: str, values: NDArray[Any], notes: list[str]) -> NDArray[Any]:
    """The values in a type that a dataset stores: complex numbers have no imaginary part here.

    Raises
    ------
    DataError
        If they are no numbers.
    """
    if values.dtype.kind not in "iufb":
        raise DataError(f"{source}: {name} has type {values.dtype}; fields are real numbers.")
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.dtype.kind == "b" or canonical(values.dtype).str[1:] in DTYPES:
        return native
    wide = np.float32 if values.dtype == np.float16 else np.float64
    notes.append(f"{name} was {values.dtype.name} and is {np.dtype(wide).name}")
    return native.astype(wide)


def content_digest(attributes: Mapping[str, Any], variables: Sequence[Variable]) -> str:
    """SHA-256 over the attributes and, through each variable's own ``sha256``, over all values.

    The date, the history and the storage (chunks, filters) do not count, so the digest names the content.
    """
    content = {
        "attributes": {k: _plain(v) for k, v in attributes.items() if k not in NOT_CONTENT | STRUCTURE},
        "variables": {
            v.name: {
                "dtype": np.dtype(v.dtype).name,
                "shape": list(v.shape),
                "dims": list(v.dims),
                "attributes": {k: _plain(a) for k, a in v.attributes.items() if k not in STRUCTURE},
            }
            for v in variables
        },
    }
    return "sha256:" + hashlib.sha256(dump(content).encode()).hexdigest()


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
