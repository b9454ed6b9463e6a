"""What a dataset file says, and views of some of its samples."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sciml.dataset_file import Layout, stored_statistics, summary, verify_file
from sciml.dataset_points import structural
from sciml.dataset_source import FileSource, MemorySource, check_finite, computed_statistics, positions_of
from sciml.errors import DataError, nearest
from sciml.grid import Grid
from sciml.locations import Location
from sciml.mesh import Space
from sciml.moments import moments
from sciml.padding import mask_of
from sciml.schema import SPLITS, Field, Statistics
from sciml.splitting import checked_split, letters_of, resplit_source
from sciml.subsampling import Every, SubsampledSource, every_of

Rows = NDArray[np.int64]
Source = FileSource | MemorySource | SubsampledSource
_PARTS = ("all", *SPLITS)


class View:
    """Some samples of one dataset file; see `sciml.dataset.Dataset`, which adds the values."""

    def __init__(
        self,
        path: str | Path,
        *,
        digest: str | None = None,
        part: str = "all",
        indices: Sequence[int] | None = None,
        every: Every | None = None,
        split: str | None = None,
    ) -> None:
        self.path = Path(path).absolute()
        file = FileSource(self.path)
        self._every = dict(every or {})
        source = SubsampledSource(file, self._every) if every else file
        self._source: Source = source
        if digest is not None and digest != self.digest:
            raise DataError(
                f"{self.path}: holds other data than asked for (digest {self.digest}, not {digest})."
            )
        if part not in _PARTS:
            raise DataError(
                f"Dataset: part must be one of {', '.join(_PARTS)}, got {part!r}.{nearest(part, _PARTS)}"
            )
        own = self._layout.small["split"]
        self._split = split
        if split is not None:
            own = checked_split(split, len(own), f"Dataset: {self.path}")
            self._source = resplit_source(source, own)
        self._part: str | None = part
        self.indices: Rows = (
            np.flatnonzero(own == SPLITS.index(part)) if part != "all" else np.arange(len(own))
        )
        if indices is not None:
            self._part, self.indices = None, positions_of(indices, len(own), "Dataset: indices")

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
    def rank(self) -> int:
        """The number of axes of space."""
        return self._layout.place.rank

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
        found |= {"split": self._split} if self._split is not None else {}
        return found | ({"every": self._every} if self._every else {})

    def __repr__(self) -> str:
        return summary(self._layout, self.path.name, self.indices)

    # Views.

    @property
    def train(self) -> Self:
        """The samples of this view that belong to the train split."""
        return self._of_split("train")

    @property
    def valid(self) -> Self:
        """The samples of this view that belong to the validation split."""
        return self._of_split("valid")

    @property
    def test(self) -> Self:
        """The samples of this view that belong to the test split."""
        return self._of_split("test")

    def _of_split(self, name: str) -> Self:
        chosen = self._layout.small["split"][self.indices] == SPLITS.index(name)
        part = name if self._part in ("all", name) else None
        return self._view(self._source, self.indices[chosen], part)

    def subset(self, indices: ArrayLike) -> Self:
        """The samples at these positions of this view (integers, or one truth value for each sample)."""
        return self._view(self._source, self.indices[positions_of(indices, len(self), "subset")], None)

    def subsampled(self, every: int | Mapping[str, int | slice]) -> Self:
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
        >>> from sciml.dataset import write_dataset
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

    def resplit(self, split: ArrayLike) -> Self:
        """The same samples, divided in another way than the file says; all others belong to no split.

        Statistics, and what is normalized by them, are those of the training samples of this split.

        Parameters
        ----------
        split : (n,) integers
            For each sample of this view 0 train, 1 valid, 2 test, -1 none of them.

        Raises
        ------
        DataError
            If there is not one of these for each sample, or the values are in memory already.

        Examples
        --------
        >>> import tempfile
        >>> from sciml.dataset import write_dataset
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     fields = [(Field("u", "output"), np.arange(8.0).reshape(4, 2))]
        ...     data = write_dataset(folder + "/u.h5", grid=Grid.box((2,)), fields=fields, split=[0, 0, 0, 0])
        ...     other = data.resplit([2, -1, 0, 0])
        ...     [data.statistics("u").mean.item(), other.statistics("u").mean.item()], other.test.indices
        ([3.5, 5.5], array([0]))
        """
        if isinstance(self._source, MemorySource):
            raise DataError(f"{self.path}: is in memory already; begin with open_dataset.")
        parts = np.full(len(self._layout.small["split"]), -1)
        parts[self.indices] = checked_split(split, len(self), f"resplit: {self.path}")
        part = "all" if self._part == "all" else None
        view = self._view(resplit_source(self._source, parts), self.indices, part)
        view._split = letters_of(parts)
        return view

    def _view(self, source: Source, indices: Rows, part: str | None) -> Self:
        view = copy.copy(self)
        view._source, view.indices, view._part = source, indices, part
        return view

    def in_memory(self, names: Sequence[str] | None = None) -> Self:
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

    def count(self, rows: ArrayLike | slice | None = None, on: str | None = None) -> Rows:
        """How many points each sample has, (n,); or how many entries the field ``on``."""
        return self._location(on).count(self._rows(rows))

    def mask(self, rows: ArrayLike | slice | None = None, on: str | None = None) -> Tensor:
        """Where `tensor` and `coordinates` of these samples are real, (n, point) bool."""
        return mask_of(self.count(rows, on))

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

    def _location(self, on: str | None) -> Location:
        """The points of a function, the cells of a field; by default the points of the samples."""
        found = self._layout.locations.get("node") if on is None else self._layout.location(self._field(on))
        if found is None:
            raise DataError(
                f"{self.path}: {'the samples' if on is None else repr(on)} lives on a grid, see grid."
            )
        return found

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
