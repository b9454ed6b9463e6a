"""Datasets: one HDF5 file that is also a valid netCDF-4 file, read lazily, and written whole or not at all.

The format is described in ``docs/dataset-format.md``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sciml.dataset_file import Layout, stored_statistics, summary, verify_file
from sciml.dataset_points import cell_types, coordinates_of, mesh_of, space_of, structural
from sciml.dataset_source import FileSource, MemorySource, check_finite, computed_statistics, positions_of
from sciml.dataset_writing import write_dataset
from sciml.description import describable
from sciml.errors import DataError, nearest
from sciml.grid import Grid
from sciml.locations import Location, time_first
from sciml.mesh import Mesh, Points, Space
from sciml.moments import moments
from sciml.padding import mask_of, padded
from sciml.schema import SPLITS, Field, Provenance, Statistics
from sciml.subsampling import Every, SubsampledSource, every_of, selection

if TYPE_CHECKING:
    import meshio
    import xarray

__all__ = ["Dataset", "Field", "Provenance", "Statistics", "open_dataset", "write_dataset"]

Rows = NDArray[np.int64]
Source = FileSource | MemorySource | SubsampledSource
_PARTS = ("all", *SPLITS)


@describable
class Dataset:
    """A lazy view of some samples of one dataset file; `open_dataset` makes one of all samples.

    Opening checks the structure, the attributes and all values along one dimension; fields are read when
    asked for, and their checksums are checked as they are read.  A view may be pickled and used in forked or
    spawned processes: each process opens the file for itself.

    Parameters
    ----------
    path : str or Path
    digest : str, optional
        Refuse the file if its digest is another.
    part : str
        "all", "train", "valid" or "test".
    indices : sequence of int, optional
        Positions in the file, instead of a part.
    every : mapping, optional
        Only every n-th point or frame, see `subsampled`.

    Attributes
    ----------
    path : Path
    kind : "grid", "mesh" or "points"
    grid : Grid
        Of the kind "grid"; the others have `space` and a `mesh` of each sample.
    fields : dict of str to Field
        Without the parameters, which have no place in space.
    indices : (n,) int64
        Positions in the file of this view's samples.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it is not a sciml dataset of a known version and kind, or incomplete, unsafe or damaged.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        digest: str | None = None,
        part: str = "all",
        indices: Sequence[int] | None = None,
        every: Every | None = None,
    ) -> None:
        self.path = Path(path).absolute()
        source = FileSource(self.path)
        self._every = dict(every or {})
        self._source: Source = SubsampledSource(source, self._every) if every else source
        if digest is not None and digest != self.digest:
            raise DataError(
                f"{self.path}: holds other data than asked for (digest {self.digest}, not {digest})."
            )
        if part not in _PARTS:
            raise DataError(
                f"Dataset: part must be one of {', '.join(_PARTS)}, got {part!r}.{nearest(part, _PARTS)}"
            )
        split = self._layout.small["split"]
        self._part: str | None = part
        self.indices: Rows = (
            np.flatnonzero(split == SPLITS.index(part)) if part != "all" else np.arange(len(split))
        )
        if indices is not None:
            self._part, self.indices = None, positions_of(indices, len(split), "Dataset: indices")

    # What the file says.

    @property
    def _layout(self) -> Layout:
        return self._source.layout

    @property
    def kind(self) -> str:
        """Where the values live: on a "grid", on a "mesh" or at "points"."""
        return str(self._layout.attributes["sciml_format"])

    @property
    def grid(self) -> Grid:
        """The grid of all samples.

        Raises
        ------
        DataError
            If the values live on meshes or points.
        """
        if not isinstance(self._layout.place, Grid):
            raise DataError(
                f"{self.path}: holds values on {self.kind}, not on a grid; see space and mesh(row)."
            )
        return self._layout.place

    @property
    def space(self) -> Space:
        """The box around the points of all samples, of whichever split.

        Raises
        ------
        DataError
            If the values live on a grid.
        """
        if not isinstance(self._layout.place, Space):
            raise DataError(f"{self.path}: holds values on a grid, see grid, not on meshes or points.")
        return self._layout.place

    @property
    def fields(self) -> dict[str, Field]:
        """The fields in space, by name."""
        return dict(self._layout.fields)

    @property
    def times(self) -> NDArray[np.float64] | None:
        """The times of the frames, (frames,), or None."""
        times = self._layout.small.get("time")
        return None if times is None else times.copy()

    @property
    def time_units(self) -> str:
        """The unit of `times`; "1" without times."""
        time = self._layout.variables.get("time")
        return "1" if time is None else str(time.attributes.get("units", "1"))

    @property
    def attributes(self) -> dict[str, Any]:
        """The root attributes; ``boundary``, ``domain`` and ``task`` are decoded."""
        return copy.deepcopy(dict(self._layout.attributes))

    @property
    def digest(self) -> str:
        """``sha256:...`` over attributes and values: equal for equal content, whatever the date."""
        return self._layout.digest

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """The names of the columns of `parameters`."""
        return self._layout.parameters

    def __len__(self) -> int:
        return len(self.indices)

    def description(self) -> dict[str, Any]:
        """For `describe`: what makes this view again, and notices when the file was replaced."""
        found: dict[str, Any] = {"path": str(self.path), "digest": self.digest}
        found |= {"part": self._part} if self._part else {"indices": self.indices.tolist()}
        return found | ({"every": self._every} if self._every else {})

    def __repr__(self) -> str:
        return summary(self._layout, self.path.name, self.indices)

    # Views.

    @property
    def train(self) -> Dataset:
        """The samples of this view that belong to the train split."""
        return self._of_split("train")

    @property
    def valid(self) -> Dataset:
        """The samples of this view that belong to the validation split."""
        return self._of_split("valid")

    @property
    def test(self) -> Dataset:
        """The samples of this view that belong to the test split."""
        return self._of_split("test")

    def _of_split(self, name: str) -> Dataset:
        chosen = self._layout.small["split"][self.indices] == SPLITS.index(name)
        part = name if self._part in ("all", name) else None
        return self._view(self._source, self.indices[chosen], part)

    def subset(self, indices: ArrayLike) -> Dataset:
        """The samples at these positions of this view (integers, or one truth value for each sample)."""
        return self._view(self._source, self.indices[positions_of(indices, len(self), "subset")], None)

    def subsampled(self, every: int | Mapping[str, int | slice]) -> Dataset:
        """Every n-th point and frame of the same samples, on the coarser grid, read as they are asked for.

        Of nodes the ends stay, of cells the middle one of n; see `sciml.subsampling.thinned`.  Statistics are
        those of what is left.

        Parameters
        ----------
        every : int or mapping
            A step for all axes of space; or the name of an axis to its step, and "time" to a step or a slice.

        Raises
        ------
        DataError
            If a step does not fit its axis, or the values live on meshes, or are sub-sampled already.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     fields = [(Field("u", "state", time=True), np.zeros((2, 11, 9)))]
        ...     settings = {"grid": Grid.box((9,)), "split": [0, 2], "times": np.arange(11.0)}
        ...     data = write_dataset(folder + "/u.h5", fields=fields, **settings)
        ...     data.subsampled({"x": 3, "time": 5}).load("u").shape
        (2, 3, 3)
        """
        if not isinstance(self._source, FileSource):
            raise DataError(f"{self.path}: is sub-sampled or in memory already; begin with open_dataset.")
        view = copy.copy(self)
        view._every = dict(every_of(every, self.grid))
        view._source = SubsampledSource(self._source, view._every)
        return view

    def _view(self, source: Source, indices: Rows, part: str | None) -> Dataset:
        view = copy.copy(self)
        view._source, view.indices, view._part = source, indices, part
        return view

    def in_memory(self, names: Sequence[str] | None = None) -> Dataset:
        """The same view with its fields (or those of ``names``) read once and held, for random access."""
        wanted = {name: self._layout.location(self._field(name)) for name in names or self.fields}
        unique = np.unique(self.indices)
        pieces: dict[str, Location] = dict(structural(self._layout.locations, self._layout.variables))
        pieces |= {name: spot for name, spot in wanted.items() if spot is not None and spot.ragged}
        source = MemorySource(
            self._layout,
            {name: self._source.read(name, unique) for name in wanted if name not in pieces},
            unique,
            {name: self._source.read_pieces(name, spot, unique) for name, spot in pieces.items()},
        )
        return self._view(source, self.indices, self._part)

    # Values.

    def load(self, name: str, rows: ArrayLike | slice | None = None) -> NDArray[Any]:
        """Values of a field, (n, [time,] [component,] *space), in the type that is stored.

        On points and meshes that all samples share (n, [time,] point[, component]).

        Parameters
        ----------
        name : str
        rows : sequence of int, truth values or slice, optional
            Positions in this view, in any order; by default all.

        Raises
        ------
        DataError
            For an unknown field, a row out of range, or values whose checksum does not match; or if every
            sample has points of its own.
        """
        item = self._field(name)
        location = self._layout.location(item)
        if location is not None and location.ragged:
            raise DataError(
                f"{self.path}: each sample has {name!r} on its own points; arrays({name!r}) gives an array "
                f"for each, tensor({name!r}) one that is filled up."
            )
        positions = self._rows(rows)
        values = self._source.read(name, positions)
        return values if item.sample else np.broadcast_to(values, (len(positions), *values.shape))

    def tensor(
        self,
        names: str | Sequence[str],
        rows: ArrayLike | slice | None = None,
        dtype: torch.dtype = torch.float32,
        *,
        frames: Tensor | None = None,
    ) -> Tensor:
        """Fields side by side in the channel axis: (n, channel, *space), or (n, time, channel, *space).

        On points, cells and functions (n, [time,] point, channel), filled up with 0 to the largest sample;
        `mask` says where.  Fields that are the same for all samples are repeated.  ``frames`` (n, time) are
        the positions along the time axis to take of each sample; on a grid no others are read.

        Raises
        ------
        DataError
            As `load`; or if only some of the fields have a time axis, or they live on different points.
        """
        listed = [self._field(name) for name in ([names] if isinstance(names, str) else names)]
        if len({item.time for item in listed}) != 1:
            raise DataError(
                f"{self.path}: tensor takes fields that all have a time axis, or all have none, got "
                f"{[item.name for item in listed]}; load them one by one."
            )
        if any(self._layout.location(item) is not None for item in listed):
            found = self._tensor_on_points(listed, rows, dtype)
            return found if frames is None else found[torch.arange(len(found))[:, None], frames]
        positions, picked = self._rows(rows), None if frames is None else frames.numpy()
        lead = 1 + listed[0].time
        steps = self._layout.variables[listed[0].name].shape[int(listed[0].sample)] if lead == 2 else 0
        steps = steps if picked is None else picked.shape[1]
        channels = sum(item.components for item in listed)
        shape = (len(positions), *([steps] if lead == 2 else []), channels, *self.grid.shape)
        out = torch.empty(shape, dtype=dtype)
        start = 0
        for item in listed:
            values = torch.from_numpy(self._source.read(item.name, positions, picked))
            if item.components == 1:
                values = values.unsqueeze(lead - (not item.sample and picked is None))
            out.narrow(lead, start, item.components).copy_(values)
            start += item.components
        return out

    def _tensor_on_points(
        self, listed: Sequence[Field], rows: ArrayLike | slice | None, dtype: torch.dtype
    ) -> Tensor:
        if len({self._layout.location(item) for item in listed}) != 1:
            raise DataError(
                f"{self.path}: tensor takes fields on the same points, got "
                f"{[f'{item.name} on {item.on}' for item in listed]}; load them one by one."
            )
        time = int(listed[0].time)
        parts = []
        for item in listed:
            arrays = self.arrays(item.name, rows)
            plain = item.components == 1
            parts.append(padded([a[..., None] if plain else a for a in arrays], axis=time, dtype=dtype))
        return torch.cat(parts, dim=-1)

    def arrays(self, name: str, rows: ArrayLike | slice | None = None) -> list[NDArray[Any]]:
        """One array for each sample, ([time,] point[, component]), of a field on points, cells or its own.

        Raises
        ------
        DataError
            As `load`; or for a field on a grid.
        """
        item, location, positions = self._field(name), self._location(name), self._rows(rows)
        if location.ragged:
            found = self._source.read_pieces(name, location, positions)
            return [time_first(values, time=item.time) for values in found]
        return list(self.load(name, rows))

    def count(self, rows: ArrayLike | slice | None = None, on: str | None = None) -> Rows:
        """How many points each sample has, (n,); or how many entries the field ``on``."""
        return self._location(on).count(self._rows(rows))

    def mask(self, rows: ArrayLike | slice | None = None, on: str | None = None) -> Tensor:
        """Where `tensor` and `coordinates` of these samples are real, (n, point) bool."""
        return mask_of(self.count(rows, on))

    def coordinates(
        self,
        rows: ArrayLike | slice | None = None,
        on: str | None = None,
        dtype: torch.dtype = torch.float32,
        *,
        unit: bool = False,
    ) -> Tensor:
        """Where the points of these samples are, (n, point, dim), filled up with 0; see `places`."""
        return padded(self.places(rows, on, unit=unit), dtype=dtype)

    def places(
        self, rows: ArrayLike | slice | None = None, on: str | None = None, *, unit: bool = False
    ) -> list[NDArray[np.float64]]:
        """The coordinates of each sample's points, (point, dim) each.

        Parameters
        ----------
        rows : sequence of int, truth values or slice, optional
        on : str, optional
            The name of a field, for the points that it lives on: a function's own, or the centers of cells.
        unit : bool
            Whether the box around all points of the file is scaled to the unit box.

        Raises
        ------
        DataError
            On a grid.
        """
        location, positions = self._location(on), self._rows(rows)
        if location.dim == "cell":
            meshes = [self._mesh(int(position)) for position in positions]
            arrays, box = [m.centers() for m in meshes if isinstance(m, Mesh)], self.space
        else:
            name = coordinates_of(location.dim)
            arrays = self._source.read_pieces(name, location, positions)
            box = space_of(self._layout.variables[name])
        return [box.unit(array) for array in arrays] if unit else arrays

    def weights(self, rows: ArrayLike | slice | None = None) -> Tensor:
        """Quadrature weights of the meshes' points, (n, point) float64, 0 at padding: see `Mesh.weights`.

        With these a metric is a norm of functions; with `mask` every point counts the same.

        Raises
        ------
        DataError
            If the file has no cells.
        """
        meshes = [self._mesh(int(position)) for position in self._rows(rows)]
        found = [mesh.weights() for mesh in meshes if isinstance(mesh, Mesh)]
        if len(found) < len(meshes):
            raise DataError(
                f"{self.path}: has points without cells, which have no measure; mask counts them."
            )
        return padded(found)

    def mesh(self, row: int) -> Points:
        """The `Mesh` of one sample; its `Points` if the file has no cells.

        Raises
        ------
        DataError
            On a grid, or for a row out of range.
        """
        return self._mesh(int(self._rows([row])[0]))

    def _mesh(self, position: int) -> Points:
        space, variables = self.space, self._layout.variables
        values = {
            name: self._source.read_pieces(name, location, np.array([position]))[0]
            for name, location in structural(self._layout.locations, variables)
            if location.dim in ("node", "cell")
        }
        return mesh_of(values, space, cell_types(variables))

    def _location(self, on: str | None) -> Location:
        """The points of a function, the cells of a field; by default the points of the samples."""
        found = self._layout.locations.get("node") if on is None else self._layout.location(self._field(on))
        if found is None:
            raise DataError(
                f"{self.path}: {'the samples' if on is None else repr(on)} lives on a grid, see grid."
            )
        return found

    def parameters(self, rows: ArrayLike | slice | None = None) -> NDArray[np.float64] | None:
        """Numbers per sample, (n, p), columns as in `parameter_names`; None without parameters."""
        if not self.parameter_names:
            return None
        positions = self._rows(rows)
        return np.stack([self._layout.small[n][positions] for n in self.parameter_names], axis=1).astype(
            np.float64
        )

    def variable(self, name: str) -> NDArray[Any]:
        """Numbers of this view's samples, (n,): ``split``, ``sample_seed``, ``status``, a parameter."""
        known = [
            n for n in self._layout.small if self._layout.variables[n].dims == ("sample",) and n != "sample"
        ]
        if name not in known:
            raise DataError(
                f"{self.path}: no variable {name!r} per sample; it has {known}.{nearest(name, known)}"
            )
        return self._layout.small[name][self.indices]

    def statistics(self, name: str) -> Statistics:
        """Moments of a field, or a parameter, over the train split of the whole file, whichever view this is.

        Raises
        ------
        DataError
            For an unknown name, or a file without training samples.
        """
        if name in self.parameter_names:
            training = self._layout.small[name][self._layout.small["split"] == 0]
            return moments(lambda: iter([training[:, None]]), name)
        item = self._field(name)
        stored = stored_statistics(self._layout, name, self.path)
        if stored is not None:
            return stored
        return computed_statistics(self._source, item, np.flatnonzero(self._layout.small["split"] == 0))

    # Checks.

    def scan(self, names: Sequence[str] | None = None) -> None:
        """Look at every value of these fields (by default all) in this view, block by block.

        Raises
        ------
        DataError
            At the first NaN or infinity: names file, field, sample (its position in the file), frame,
            component and grid index.
        """
        for name in self.fields if names is None else names:
            check_finite(self._source, self._field(name), self.indices, self.path)

    def verify(self) -> None:
        """Read the whole file and compare every checksum.

        Raises
        ------
        DataError
            If a value is not the one that was written; names the variable.
        """
        source = self._source if isinstance(self._source, FileSource) else FileSource(self.path)
        verify_file(source.handle().file, source.layout, self.path)

    # Other people's objects.

    def to_xarray(self) -> xarray.Dataset:
        """The samples of this view as an `xarray.Dataset`, read lazily from the file."""
        import xarray

        opened = xarray.open_dataset(self.path, engine="h5netcdf", decode_times=False, decode_timedelta=False)
        if self._every:
            opened = opened.isel(selection(self._every, Dataset(self.path).grid))
        if len(self) == opened.sizes["sample"] and np.array_equal(self.indices, np.arange(len(self))):
            return opened
        ragged = [spot for spot in self._layout.locations.values() if spot.ragged]
        return opened.isel(
            {"sample": self.indices} | {spot.dim: spot.places(self.indices) for spot in ragged}
        )

    @staticmethod
    def from_xarray(
        path: str | Path,
        data: xarray.Dataset,
        roles: Mapping[str, str] | None = None,
        *,
        split: ArrayLike | None = None,
        sample: str = "sample",
        provenance: Provenance | None = None,
    ) -> Dataset:
        """Write a dataset file from labelled arrays on uniform axes, and open it.

        Axes are found by name and may stand in any order and run in either direction; units, long names and
        attributes are kept, and what was decided is written into the attribute ``conversion_notes``.

        Parameters
        ----------
        path : str or Path
        data : xarray.Dataset
            Coordinates are nodes with both ends unless their attribute ``grid_location`` says "cell" or
            "left", or ``periodic`` says 1.
        roles : mapping of variable to role, optional
            Other variables are left out; by default those that say ``sciml_role``.
        split : (sample,) integers, optional
            0 train, 1 valid, 2 test; by default the variable ``split``.
        sample : str
            The dimension that counts samples.
        provenance : Provenance, optional

        Raises
        ------
        DataError
            If dimensions and coordinates are no grid with samples, or as `write_dataset`.

        Examples
        --------
        >>> import tempfile, xarray
        >>> x = xarray.DataArray(np.linspace(0, 1, 5), dims="x", attrs={"units": "m"})
        >>> u = xarray.DataArray(np.ones((5, 2)), dims=("x", "sample"), coords={"x": x}, attrs={"units": "K"})
        >>> whole = u.to_dataset(name="u")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = Dataset.from_xarray(folder + "/u.h5", whole, {"u": "output"}, split=[0, 2])
        ...     made.grid.axes[0].units, made.fields["u"].units, made.tensor("u").shape
        ('m', 'K', torch.Size([2, 1, 5]))
        """
        from sciml.labelled_fields import from_xarray

        return from_xarray(path, data, roles, split=split, sample=sample, provenance=provenance)

    def to_meshio(self, row: int, *, frame: int | None = None) -> meshio.Mesh:
        """The mesh of one sample with its fields, to be written in any format that meshio knows.

        Fields on points become point data, fields on cells cell data, the boundary the point data
        ``boundary_tag``.  Fields with a time axis are those of ``frame``, and left out without one; so are
        parameters and functions on points of their own.  Points without cells get vertices.

        Raises
        ------
        DataError
            On a grid, or for a row out of range.
        """
        from sciml.meshes import to_meshio

        return to_meshio(self, row, frame)

    @staticmethod
    def from_meshio(
        path: str | Path,
        meshes: Sequence[meshio.Mesh],
        fields: Mapping[str, Field] | Sequence[Field],
        *,
        split: ArrayLike,
        variables: Mapping[str, ArrayLike] | None = None,
        provenance: Provenance | None = None,
        units: str = "1",
        boundary_names: Sequence[str] = (),
    ) -> Dataset:
        """Write a dataset file from one `meshio.Mesh` for each sample, and open it.

        Equal meshes are stored once.  A last coordinate that is the same everywhere is left out: formats of
        space give one to plane meshes.

        Parameters
        ----------
        path : str or Path
        meshes : sequence of meshio.Mesh
        fields : sequence of Field, or mapping of names in the meshes to Field
            The point data, or cell data with ``Field(on="cells")``, to keep.
        split, variables, provenance
            As in `write_dataset`.
        units : str
            Of the coordinates.
        boundary_names : sequence of str
            What the integers in the point data ``boundary_tag`` mean, if there are any.

        Raises
        ------
        DataError
            If a mesh lacks a field, or as `write_dataset`.

        Examples
        --------
        >>> import meshio, tempfile
        >>> square = meshio.Mesh(
        ...     [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], [("quad", [[0, 1, 2, 3]])],
        ...     point_data={"T": np.ones(4)},
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     data = Dataset.from_meshio(folder + "/T.h5", [square], [Field("T", "output")], split=[0])
        ...     data.mesh(0).measures().tolist(), data.to_meshio(0).point_data["T"].shape
        ([1.0], (4,))
        """
        from sciml.meshes import from_meshio

        return from_meshio(
            path,
            meshes,
            fields,
            split=split,
            variables=variables,
            provenance=provenance,
            units=units,
            boundary_names=boundary_names,
        )

    def _field(self, name: str) -> Field:
        fields = self._layout.fields
        if name not in fields:
            hint = nearest(str(name), fields)
            if name in self.parameter_names:
                hint = " It is a parameter: see parameters()."
            raise DataError(
                f"{self.path}: has no field {name!r}; it has {', '.join(map(repr, fields))}.{hint}"
            )
        return fields[name]

    def _rows(self, rows: ArrayLike | slice | None) -> Rows:
        if rows is None:
            return self.indices
        if isinstance(rows, slice):
            return self.indices[rows]
        return self.indices[positions_of(rows, len(self), "rows")]


def open_dataset(path: str | Path) -> Dataset:
    """All samples of a dataset file.

    Raises
    ------
    FileNotFoundError, DataError
        As `Dataset`.
    """
    return Dataset(path)
