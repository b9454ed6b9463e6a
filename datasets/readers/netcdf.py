"""netCDF and HDF5 files through xarray: named dimensions, coordinates and units."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.readers.foreign import Foreign
from sciml.datasets.readers.hdf5_probe import probe
from sciml.description import describable
from sciml.errors import ConfigError, DataError, nearest
from sciml.grid import Axis, Grid, Location
from sciml.hdf5 import DAMAGE, SIGNATURE
from sciml.schema import DTYPES, Field, Provenance, canonical

if TYPE_CHECKING:
    import xarray

_CLASSIC = (b"CDF\x01", b"CDF\x02")
_ABOUT = ("title", "institution", "history", "license")
_LOCATIONS: dict[str, Location] = {"node": "node", "cell": "cell", "left": "left"}


@describable
@dataclass(frozen=True)
class NetCDF:
    """netCDF-4 files (HDF5 with dimension scales) and classic netCDF-3 files, on uniform axes.

    Each variable has the sample dimension or not, perhaps a time dimension ("time", or one whose coordinate
    has the attribute axis "T"), one dimension with uniform coordinates for each axis, and perhaps one named
    "component".  Axes with the names or the attribute ``axis`` X, Y, Z come in this order, others as they
    stand; descending coordinates are turned.  Units and long names are kept.

    Parameters
    ----------
    inputs, outputs : tuple of str
        The variables to learn from and to learn.  A variable that is both is the state of a rollout.  By
        default those whose attribute ``sciml_role`` says so.  Other variables are left out.
    sample : str
        The dimension that counts samples.

    Raises
    ------
    ConfigError
        If only one of inputs and outputs is given, or a name comes twice in one of them.

    Notes
    -----
    Coordinates are nodes with both ends unless their attribute ``grid_location`` says "cell" or "left", or
    ``periodic`` says 1 (nodes without the right end), as `sciml.write_dataset` writes them.  The HDF5 library
    can be crashed by crafted files: a child process reads the file first, and links into other files,
    external storage, plug-in filters and sizes that were never written are refused.

    Examples
    --------
    >>> NetCDF(inputs=("a",), outputs=("u",)).sample
    'sample'
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    sample: str = "sample"

    def __post_init__(self) -> None:
        for side in ("inputs", "outputs"):
            object.__setattr__(self, side, tuple(getattr(self, side)))
        twice = any(len(set(side)) != len(side) for side in (self.inputs, self.outputs))
        if bool(self.inputs) != bool(self.outputs) or twice:
            raise ConfigError(
                "NetCDF: name both inputs and outputs, each once, or neither; "
                f"got inputs={self.inputs}, outputs={self.outputs}."
            )

    @property
    def format(self) -> str:
        """For messages and the converted file."""
        return "a netCDF file (through xarray)"

    def detect(self, path: Path) -> bool:
        """Whether it is netCDF-3, or HDF5 with variables on dimension scales (or too damaged to tell)."""
        engine = _engine(path)
        if engine != "h5netcdf":
            return engine is not None
        listed = probe(path)
        return bool(listed["scaled"] or listed["problem"])

    def read(self, path: Path) -> Foreign:
        """The content.

        Raises
        ------
        DataError
            For a damaged or unsafe file, an unknown variable, or dimensions and coordinates that are no grid
            with samples; names what is missing.
        """
        import xarray

        engine = _engine(path)
        if engine is None:
            raise DataError(f"{path}: neither HDF5 nor netCDF-3 by its first bytes.")
        if engine == "h5netcdf" and (problem := probe(path)["problem"]):
            raise DataError(problem)
        options: dict[str, Any] = {"mmap": False} if engine == "scipy" else {}
        try:
            with xarray.open_dataset(
                path, engine=engine, decode_times=False, decode_timedelta=False, **options
            ) as opened:
                inputs, outputs = self._names(path, opened)
                wanted = list(dict.fromkeys((*inputs, *outputs)))
                loaded = opened[wanted].load()
                others = [str(name) for name in opened.data_vars if name not in wanted]
        except (*DAMAGE, IndexError) as error:
            if isinstance(error, DataError):
                raise
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise DataError(f"{path}: xarray cannot read it: {reason}") from error
        return self._content(path, loaded, inputs, outputs, others)

    def _names(self, path: Path, opened: xarray.Dataset) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Input and output variables: those asked for, else those that say so."""
        known = [str(name) for name in opened.data_vars]
        for name in (*self.inputs, *self.outputs):
            if name not in known:
                raise DataError(
                    f"{path}: has no variable {name!r}; it has {_shapes(opened)}.{nearest(name, known)}"
                )
        if self.inputs:
            return self.inputs, self.outputs
        roles = {str(name): opened[name].attrs.get("sciml_role") for name in opened.data_vars}
        inputs = tuple(name for name in known if roles[name] in ("input", "coefficient", "state"))
        outputs = tuple(name for name in known if roles[name] in ("output", "state"))
        if not inputs or not outputs:
            raise DataError(
                f"{path}: nothing says which variables are inputs and which outputs; it has "
                f"{_shapes(opened)}. NetCDF(inputs=('a',), outputs=('u',)) says so, on the command line "
                "--inputs a --outputs u."
            )
        return inputs, outputs

    def _content(
        self,
        path: Path,
        data: xarray.Dataset,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        others: list[str],
    ) -> Foreign:
        notes: list[str] = []
        names = [str(name) for name in data.data_vars]
        if not any(self.sample in data[name].dims for name in names):
            raise DataError(
                f"{path}: no dimension {self.sample!r} counts samples; its variables are {_shapes(data)}. "
                "NetCDF(sample=...) names it, on the command line --sample; one sample teaches nothing."
            )
        time = _time(data)
        spatial = _spatial(path, data, names, (self.sample, time))
        axes = {}
        for name in spatial:
            data = _ascending(data, name, notes)
            axes[name] = _axis(path, data, name, notes)
        times = None
        if time is not None:
            times = np.asarray(
                data[time].values if time in data.coords else range(data.sizes[time]), np.float64
            )
        fields = []
        for name in names:
            role = "state" if name in inputs and name in outputs else "input" if name in inputs else "output"
            fields.append(_field(path, data[name], role, (self.sample, time), spatial, notes))
        if others:
            notes.append(f"left out: {', '.join(others)}")
        texts = {key: str(data.attrs[key]) for key in _ABOUT if isinstance(data.attrs.get(key), str)}
        units = str(data[time].attrs.get("units", "1")) if time in data.coords else "1"
        return Foreign(
            Grid(tuple(axes[name] for name in spatial)),
            tuple(fields),
            times=times,
            attributes=texts,
            provenance=Provenance(dtype_compute="unknown", time_units=units),
            notes=tuple(notes),
        )


def _engine(path: Path) -> str | None:
    """xarray's engine for the first bytes."""
    with path.open("rb") as file:
        beginning = file.read(8)
    if beginning == SIGNATURE:
        return "h5netcdf"
    return "scipy" if beginning[:4] in _CLASSIC else None


def _shapes(data: xarray.Dataset) -> str:
    listed = [f"{name} ({', '.join(map(str, array.dims))})" for name, array in data.data_vars.items()]
    return (", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")) or "no variables"


def _time(data: xarray.Dataset) -> str | None:
    for name in map(str, data.dims):
        if name == "time" or (name in data.coords and data[name].attrs.get("axis") == "T"):
            return name
    return None


def _is_component(name: str) -> bool:
    return name.split("_")[0] == "component"


def _spatial(
    path: Path, data: xarray.Dataset, names: list[str], taken: tuple[str | None, ...]
) -> tuple[str, ...]:
    """The dimensions of space, x first; the same for all variables."""
    found = {
        name: [str(d) for d in data[name].dims if d not in taken and not _is_component(str(d))]
        for name in names
    }
    first = found[names[0]]
    if not first or any(set(dims) != set(first) for dims in found.values()):
        raise DataError(
            f"{path}: the variables must have the same axes of space, at least one, got {_shapes(data)}."
        )
    lacking = [name for name in first if name not in data.coords]
    if lacking:
        raise DataError(
            f"{path}: the dimensions {', '.join(lacking)} have no coordinates, so nothing says where the "
            "values lie. dataset.assign_coords(...) sets them in xarray."
        )
    letters = [str(data[name].attrs.get("axis", name)).lower() for name in first]
    if set(letters) <= set("xyz") and len(set(letters)) == len(letters):
        return tuple(name for _, name in sorted(zip(letters, first, strict=True)))
    return tuple(first)


def _ascending(data: xarray.Dataset, name: str, notes: list[str]) -> xarray.Dataset:
    points = data[name].values
    if points.size > 1 and points[0] > points[-1]:
        notes.append(f"{name}: descended and is turned")
        return data.isel({name: slice(None, None, -1)})
    return data


def _axis(path: Path, data: xarray.Dataset, name: str, notes: list[str]) -> Axis:
    attributes = data[name].attrs
    location, periodic = _LOCATIONS.get(attributes.get("grid_location", "")), attributes.get("periodic")
    if location is None:
        notes.append(f"{name}: nodes with both ends, an assumption")
        location = "node"
    try:
        return Axis.from_coordinates(
            name,
            data[name].values,
            location=location,
            periodic=bool(periodic) if isinstance(periodic, int | np.integer) else False,
            units=str(attributes.get("units", "1")),
        )
    except ValueError as error:  # DataError and ShapeError
        raise DataError(f"{path}: {error}") from error


def _field(
    path: Path,
    variable: xarray.DataArray,
    role: str,
    leading: tuple[str, str | None],
    spatial: tuple[str, ...],
    notes: list[str],
) -> tuple[Field, NDArray[Any]]:
    """A variable in memory order, with its units."""
    sample, time = leading
    component = [str(d) for d in variable.dims if _is_component(str(d))]
    front = [d for d in (sample, time) if d is not None and d in variable.dims]
    if len(component) > 1:
        raise DataError(f"{path}: {variable.name} has several dimensions of components, {component}.")
    values = variable.transpose(*front, *component, *spatial).values
    item = Field(
        str(variable.name),
        role,
        units=str(variable.attrs.get("units", "1")),
        long_name=str(variable.attrs.get("long_name", "")),
        components=variable.sizes[component[0]] if component else 1,
        time=time in variable.dims,
        sample=sample in variable.dims,
    )
    return item, _storable(path, item.name, np.ascontiguousarray(values), notes)


def _storable(path: Path, name: str, values: NDArray[Any], notes: list[str]) -> NDArray[Any]:
    """The values in a type that a sciml dataset stores."""
    if values.dtype.kind not in "iufb":
        raise DataError(f"{path}: {name} has type {values.dtype}; fields are real numbers.")
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.dtype.kind == "b" or canonical(values.dtype).str[1:] in DTYPES:
        return native
    wide = np.float32 if values.dtype == np.float16 else np.float64
    notes.append(f"{name} was {values.dtype.name} and is {np.dtype(wide).name}")
    return native.astype(wide)
