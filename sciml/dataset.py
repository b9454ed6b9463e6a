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

from sciml.dataset_content import prepare
from sciml.dataset_file import Layout, stored_statistics, summary, verify_file
from sciml.dataset_source import FileSource, MemorySource, check_finite, computed_statistics, positions_of
from sciml.dataset_writer import write_file
from sciml.description import describable
from sciml.errors import DataError, nearest
from sciml.grid import Grid
from sciml.schema import SPLITS, Field, Provenance, Statistics

if TYPE_CHECKING:
    import xarray

__all__ = ["Dataset", "Field", "Provenance", "Statistics", "open_dataset", "write_dataset"]

Rows = NDArray[np.int64]
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

    Attributes
    ----------
    path : Path
    grid : Grid
    fields : dict of str to Field
        Without the parameters, which have no place on the grid.
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
    ) -> None:
        self.path = Path(path).absolute()
        self._source: FileSource | MemorySource = FileSource(self.path)
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
    def grid(self) -> Grid:
        """Where the values live."""
        return self._layout.grid

    @property
    def fields(self) -> dict[str, Field]:
        """The fields on the grid, by name."""
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
        return found | ({"part": self._part} if self._part else {"indices": self.indices.tolist()})

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

    def _view(self, source: FileSource | MemorySource, indices: Rows, part: str | None) -> Dataset:
        view = copy.copy(self)
        view._source, view.indices, view._part = source, indices, part
        return view

    def in_memory(self, names: Sequence[str] | None = None) -> Dataset:
        """The same view with its fields (or those of ``names``) read once and held, for random access."""
        wanted = list(self.fields) if names is None else list(names)
        unique = np.unique(self.indices)
        arrays = {name: self._source.read(self._field(name).name, unique) for name in wanted}
        return self._view(MemorySource(self._layout, arrays, unique), self.indices, self._part)

    # Values.

    def load(self, name: str, rows: ArrayLike | slice | None = None) -> NDArray[Any]:
        """Values of a field, (n, [time,] [component,] *space), in the type that is stored.

        Parameters
        ----------
        name : str
        rows : sequence of int, truth values or slice, optional
            Positions in this view, in any order; by default all.

        Raises
        ------
        DataError
            For an unknown field, a row out of range, or values whose checksum does not match.
        """
        item = self._field(name)
        positions = self._rows(rows)
        values = self._source.read(name, positions)
        return values if item.sample else np.broadcast_to(values, (len(positions), *values.shape))

    def tensor(
        self,
        names: str | Sequence[str],
        rows: ArrayLike | slice | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Fields side by side in the channel axis: (n, channel, *space), or (n, time, channel, *space).

        Fields that are the same for all samples are repeated.

        Raises
        ------
        DataError
            As `load`; or if only some of the fields have a time axis.
        """
        listed = [self._field(name) for name in ([names] if isinstance(names, str) else names)]
        if len({item.time for item in listed}) != 1:
            raise DataError(
                f"{self.path}: tensor takes fields that all have a time axis, or all have none, got "
                f"{[item.name for item in listed]}; load them one by one."
            )
        positions = self._rows(rows)
        lead = 1 + listed[0].time
        steps = self._layout.variables[listed[0].name].shape[int(listed[0].sample)] if lead == 2 else 0
        channels = sum(item.components for item in listed)
        shape = (len(positions), *([steps] if lead == 2 else []), channels, *self.grid.shape)
        out = torch.empty(shape, dtype=dtype)
        start = 0
        for item in listed:
            values = torch.from_numpy(self._source.read(item.name, positions))
            if item.components == 1:
                values = values.unsqueeze(lead - 1 if not item.sample else lead)
            out.narrow(lead, start, item.components).copy_(values)
            start += item.components
        return out

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
        """Moments of a field over the train split of the whole file, whichever view this is.

        Raises
        ------
        DataError
            For an unknown field, or a file without training samples.
        """
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
        whole = len(self) == opened.sizes["sample"] and np.array_equal(self.indices, np.arange(len(self)))
        return opened if whole else opened.isel(sample=self.indices)

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


def write_dataset(
    path: str | Path,
    *,
    grid: Grid,
    fields: Sequence[tuple[Field, NDArray[Any]]],
    split: ArrayLike,
    times: ArrayLike | None = None,
    variables: Mapping[str, ArrayLike] | None = None,
    attributes: Mapping[str, Any] | None = None,
    provenance: Provenance | None = None,
) -> Dataset:
    """Write a dataset file and open it.

    The file appears under its name only after it was written, synced, read back and compared with the
    checksums. Equal content gives equal bytes.

    Parameters
    ----------
    path : str or Path
    grid : Grid
    fields : sequence of (Field, array)
        Arrays in memory order: (sample, [time,] [component,] *space); (sample,) for a parameter.  Stored in
        their type, except that truth values become int8 and parameters float64.
    split : (sample,) integers
        0 train, 1 valid, 2 test.
    times : (time,) increasing, optional
    variables : mapping, optional
        One number per sample: ``sample_seed``, ``status`` (0 ok, 1 regenerated, 2 suspect),
        ``discretization_error``; any other name is a parameter without unit.
    attributes : mapping, optional
        Further root attributes; entries named as those of `Provenance` replace them.
    provenance : Provenance, optional

    Raises
    ------
    DataError
        For anything that does not fit, and for NaN or infinity.
    FileNotFoundError
        If the folder does not exist.

    Examples
    --------
    >>> import tempfile
    >>> u = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fields = [(Field("u", "output"), u)]
    ...     data = write_dataset(folder + "/u.h5", grid=Grid.box((4,)), fields=fields, split=[0, 0, 2])
    ...     data.train.tensor(["u"]).shape
    torch.Size([2, 1, 4])
    """
    content = prepare(
        grid,
        fields,
        split,
        times=times,
        variables=variables or {},
        attributes=attributes or {},
        provenance=provenance or Provenance(),
    )
    target = Path(path).absolute()
    write_file(target, content)
    return Dataset(target)
