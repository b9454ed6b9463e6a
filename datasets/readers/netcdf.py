"""netCDF and HDF5 files through xarray: named dimensions, coordinates and units."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciml.datasets.readers.foreign import Foreign
from sciml.datasets.readers.hdf5_probe import probe
from sciml.description import describable
from sciml.errors import ConfigError, DataError, nearest
from sciml.hdf5 import DAMAGE, SIGNATURE
from sciml.labelled_fields import labelled_fields, shapes_of
from sciml.schema import Provenance

if TYPE_CHECKING:
    import xarray

_CLASSIC = (b"CDF\x01", b"CDF\x02")
_ABOUT = ("title", "institution", "history", "license")


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
                    f"{path}: has no variable {name!r}; it has {shapes_of(opened)}.{nearest(name, known)}"
                )
        if self.inputs:
            return self.inputs, self.outputs
        roles = {str(name): opened[name].attrs.get("sciml_role") for name in opened.data_vars}
        inputs = tuple(name for name in known if roles[name] in ("input", "coefficient", "state"))
        outputs = tuple(name for name in known if roles[name] in ("output", "state"))
        if not inputs or not outputs:
            raise DataError(
                f"{path}: nothing says which variables are inputs and which outputs; it has "
                f"{shapes_of(opened)}. NetCDF(inputs=('a',), outputs=('u',)) says so, on the command line "
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
        roles = {
            str(name): "state"
            if name in inputs and name in outputs
            else "input"
            if name in inputs
            else "output"
            for name in data.data_vars
        }
        found = labelled_fields(str(path), data, roles, self.sample)
        notes = (*found.notes, f"left out: {', '.join(others)}") if others else found.notes
        return Foreign(
            found.grid,
            found.fields,
            times=found.times,
            attributes={key: str(data.attrs[key]) for key in _ABOUT if isinstance(data.attrs.get(key), str)},
            provenance=Provenance(dtype_compute="unknown", time_units=found.time_units),
            notes=notes,
        )


def _engine(path: Path) -> str | None:
    """xarray's engine for the first bytes."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        beginning = file.read(8)
    if beginning == SIGNATURE:
        return "h5netcdf"
    return "scipy" if beginning[:4] in _CLASSIC else None
