"""Datasets: one HDF5 file that is also a valid netCDF-4 file, read lazily, and written whole or not at all.

The format is described in ``docs/dataset-format.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sciml.dataset_points import cell_types, coordinates_of, mesh_of, space_of, structural
from sciml.dataset_view import View
from sciml.dataset_writing import write_dataset
from sciml.description import describable
from sciml.errors import DataError
from sciml.locations import time_first
from sciml.mesh import Mesh, Points
from sciml.padding import padded
from sciml.reading import room
from sciml.schema import Field, Provenance, Statistics
from sciml.subsampling import selection

if TYPE_CHECKING:
    import meshio
    import xarray

__all__ = ["Dataset", "Field", "Provenance", "Statistics", "open_dataset", "write_dataset"]


@describable
class Dataset(View):
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
    split : str, optional
        Instead of that of the file: a character for each sample, 0 train, 1 valid, 2 test, - none; see
        `resplit`.

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
        out, start = room(shape, dtype), 0
        for item in listed:
            place = out.narrow(lead, start, item.components)
            start += item.components
            stored = self._layout.variables[item.name].dtype.newbyteorder("=")
            if item.sample and item.components == 1 == channels and place.numpy().dtype == stored:
                self._source.read(item.name, positions, picked, out=place.squeeze(lead).numpy())
                continue
            values = torch.from_numpy(self._source.read(item.name, positions, picked))
            if item.components == 1:
                values = values.unsqueeze(lead - (not item.sample and picked is None))
            place.copy_(values)
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


def open_dataset(path: str | Path) -> Dataset:
    """All samples of a dataset file.

    Raises
    ------
    FileNotFoundError, DataError
        As `Dataset`.
    """
    return Dataset(path)
