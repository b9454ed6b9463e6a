"""What a supervised objective reads of each sample: fields on a grid, or points and what belongs to them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.errors import ConfigError
from sciml.mesh import Mesh, PointSet
from sciml.neighbors import Neighborhood
from sciml.normalization import Normalization
from sciml.padding import mask_of, padded
from sciml.point_layout import Item, PointLayout, side_by_side
from sciml.reading import RESIDENT_BYTES, Samples
from sciml.schema import Statistics

if TYPE_CHECKING:
    from sciml.dataset import Dataset

Loss = Callable[[Tensor, Tensor], Tensor]

_UNIT = Statistics(*(np.array([value]) for value in (0.0, 1.0, 0.0, 1.0)))  # of what is left as it is


class Feed(Protocol):
    """Batches of a dataset as named tensors, and how a model's input and output are seen in them."""

    keys: tuple[str, ...]
    axis: int  # of the channels
    encoder: Normalization

    @property
    def resident(self) -> bool:
        """Whether what has been read is kept."""

    def read(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        """The tensors of ``keys`` for these samples, from memory where they are there."""

    def stored(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        """The same, in a process of its own."""

    def shared(self) -> dict[str, Tensor]:
        """What is the same for all samples."""

    def encode(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Any]]:
        """The model's normalized input and the extras that it may ask for."""

    def compare(self, loss: Loss, prediction: Tensor, target: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The loss of each sample, (batch,)."""


class Beside:
    """What goes in beside the fields: ``parameters`` (batch, p), and ``functions``, a tuple of `PointSet`.

    Parameters
    ----------
    dataset : Dataset
    names : names
        Of parameters and of functions on points of their own; the order is kept, other names are left alone.
    """

    def __init__(self, dataset: Dataset, names: Sequence[str]) -> None:
        fields = dataset.fields
        self.dataset = dataset
        self.parameters = [name for name in names if name in dataset.parameter_names]
        self.functions = [name for name in names if name in fields and fields[name].on == "own"]
        self.keys = (
            *(("parameters",) if self.parameters else ()),
            *(f"{name}/{part}" for name in self.functions for part in PointSet._fields),
        )
        self.normalization = _normalization(dataset, self.parameters)
        self._values = [_normalization(dataset, [name]) for name in self.functions]

    def __contains__(self, name: str) -> bool:
        return name in self.parameters or name in self.functions

    def read(self, rows: Sequence[int]) -> list[Item]:
        """The arrays of each sample, without padding."""
        data, items = self.dataset, [dict[str, NDArray[Any]]() for _ in rows]
        if self.parameters:
            table = np.stack([data.variable(name)[list(rows)] for name in self.parameters], axis=1)
            for item, numbers in zip(items, table, strict=True):
                item["parameters"] = numbers
        for name in self.functions:
            found = zip(items, data.arrays(name, rows), data.places(rows, name, unit=True), strict=True)
            for item, values, places in found:
                item[f"{name}/values"] = values.reshape(len(places), -1).astype(np.float32)
                item[f"{name}/coordinates"] = places.astype(np.float32)
        return items

    def encode(self, batch: Mapping[str, Tensor]) -> dict[str, Any]:
        """The extras, normalized."""
        extras: dict[str, Any] = {}
        if self.parameters:
            extras["parameters"] = _encoded(self.normalization, batch["parameters"])
        if self.functions:
            extras["functions"] = tuple(
                self._function(name, normalization, batch)
                for name, normalization in zip(self.functions, self._values, strict=True)
            )
        return extras

    def _function(self, name: str, normalization: Normalization, batch: Mapping[str, Tensor]) -> PointSet:
        values, coordinates, mask = (batch[f"{name}/{part}"] for part in PointSet._fields)
        return PointSet(cleared(_encoded(normalization, values), mask), coordinates, mask)


class GridFeed:
    """x and y (batch, channel, *space) of a dataset on a grid; the grid's coordinates are shared.

    ``plain`` tells whether fields are all that goes in, so that the trained map is a surrogate.
    """

    axis = 1

    def __init__(self, dataset: Dataset, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self._beside = Beside(dataset, inputs)
        fields = [name for name in inputs if name not in self._beside]
        if not fields:
            raise ConfigError("Supervised: inputs and outputs are lists of field names, such as ['a'].")
        foreign = [name for name in outputs if dataset.fields[name].on != "points"]
        if foreign:
            raise ConfigError(f"Supervised: the output {foreign[0]!r} of {dataset.path} is not on the grid.")
        self.encoder = _normalization(dataset, fields)
        self.plain = not self._beside.keys
        self.keys = ("x", "y", *self._beside.keys)
        self._samples = Samples(dataset, (fields, outputs))
        self._coordinates = torch.from_numpy(dataset.grid.unit_coordinates()).float()

    @property
    def resident(self) -> bool:
        return self._samples.resident

    def read(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        return (*self._samples.read(rows), *together(self._beside.read(rows), self._beside.keys))

    def stored(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        return (*self._samples.stored(rows), *together(self._beside.read(rows), self._beside.keys))

    def shared(self) -> dict[str, Tensor]:
        return {"coordinates": self._coordinates}

    def encode(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Any]]:
        x, coordinates = batch["x"], batch["coordinates"]
        every = {"coordinates": coordinates.to(x.dtype).expand(len(x), *coordinates.shape)}
        return self.encoder.to(x.device).encode(x), every | self._beside.encode(batch)

    def compare(self, loss: Loss, prediction: Tensor, target: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return loss(prediction, target)


class PointFeed:
    """x and y (batch, point, channel) of a dataset on points or meshes, with what belongs to the points.

    All outputs live on the points, or all on the cells, which then stand for their centers.  Of the inputs,
    fields on the same points become the channels of x (there may be none: a map of coordinates alone),
    functions on points of their own become ``functions``, and parameters ``parameters``, in the order given.
    The name of a boundary of meshes is a channel of x as well: how far each point is from it, see
    `distances`.  The ``weights`` of meshes are those of `Mesh.weights`, or the measures of the cells.

    Parameters
    ----------
    dataset : Dataset
    inputs, outputs : names
    neighbors : callable, optional
        The points of a sample, in the units of the file, to pairs (edge, 2); called once for each sample.

    Raises
    ------
    ConfigError, DataError
        If the fields live on different points, or have a time axis.
    """

    axis = -1

    def __init__(
        self,
        dataset: Dataset,
        inputs: Sequence[str],
        outputs: Sequence[str],
        neighbors: Neighborhood | None = None,
    ) -> None:
        self.dataset, self.neighbors = dataset, neighbors
        self.beside = Beside(dataset, inputs)
        self.inputs = [name for name in inputs if name not in self.beside]
        self._boundaries = boundaries_of(dataset)
        self.outputs = list(outputs)
        self._on = self._common([*self.outputs, *self.inputs])
        self.encoder = _normalization(dataset, self.inputs, as_they_are=self._boundaries)
        boundaries = tuple(name for name in self.inputs if name in self._boundaries)
        self.layout = PointLayout(
            dataset.space, boundaries, self._on is not None, dataset.kind == "mesh", neighbors
        )
        self._measured = ("weights",) if self.layout.measured else ()
        near = ("neighbors",) if neighbors is not None else ()
        self.keys = ("x", "y", "coordinates", "mask", *self._measured, *near, *self.beside.keys)
        self._kept: dict[int, Item] = {}
        self._orders: dict[int, Tensor] = {}
        self._bytes = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}, "_orders": {}, "_bytes": 0}  # another process reads for itself

    def _common(self, names: Sequence[str]) -> str | None:
        """The field whose points all these live on, or None for the points of the samples."""
        fields = self.dataset.fields
        known = [fields[name] for name in names if name in fields]
        timed = [f.name for f in known if f.time]
        if timed:
            raise ConfigError(
                f"Supervised: {timed[0]!r} has a time axis; on points it learns maps between fields without "
                "one. Write frames as components."
            )
        places = {f.on for f in known}
        if len(places) > 1 or "own" in places:
            raise ConfigError(
                f"Supervised: outputs and inputs must all live on the points or all on the cells, got "
                f"{', '.join(f'{f.name} on {f.on}' for f in known)}."
            )
        return known[0].name if known and known[0].on == "cells" else None

    @property
    def resident(self) -> bool:
        return bool(self._kept)

    def shared(self) -> dict[str, Tensor]:
        return {}

    def read(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        """As `Feed.read`; samples are kept, with their neighbors, until they fill `RESIDENT_BYTES`."""
        missing = sorted({int(row) for row in rows} - set(self._kept))
        fresh = dict(zip(missing, self._load(missing), strict=True)) if missing else {}
        for row, item in fresh.items():
            size = sum(array.nbytes for array in item.values())
            if self._bytes + size <= RESIDENT_BYTES:
                self._kept[row] = item
                self._bytes += size
        items = [self._kept[row] if row in self._kept else fresh[row] for row in map(int, rows)]
        return together(items, self.keys)

    stored = read

    def thinned(
        self, rows: Sequence[int], tensors: Sequence[Tensor], count: int, generator: torch.Generator
    ) -> tuple[Tensor, ...]:
        """The ``tensors`` of these samples with ``count`` random points of each, all where there are no more.

        The points lie spread evenly, one in each of ``count`` neighborhoods of about equally many: means over
        them are far closer to those over all points than those of independent draws.  Quadrature weights
        grow so that their sum is what it was, in the mean over draws.
        """
        batch = dict(zip(self.keys, tensors, strict=True))
        mask = batch["mask"]
        count = min(count, mask.shape[1])
        draws = torch.rand((len(mask), count + 1), generator=generator, dtype=torch.float64)
        chosen = zip(rows, batch["coordinates"], mask.sum(1).tolist(), draws, strict=True)
        picked = torch.stack([self._spread(int(row), p, n, count, d) for row, p, n, d in chosen])
        for name in ("x", "y", "coordinates", "mask", *self._measured):
            values = batch[name]
            index = picked.reshape(*picked.shape, *(1,) * (values.ndim - 2))
            batch[name] = values.gather(1, index.expand(*picked.shape, *values.shape[2:]))
        if self._measured:
            batch["weights"] = batch["weights"] * (mask.sum(1) / batch["mask"].sum(1))[:, None]
        return tuple(batch.values())

    def _spread(self, row: int, places: Tensor, real: int, count: int, draws: Tensor) -> Tensor:
        """Which of the points of a sample are taken, (count,); those behind the ``real`` ones are padding."""
        if real <= count:
            return torch.arange(count)
        if row not in self._orders:
            self._orders[row] = torch.from_numpy(along_boxes(places[:real].numpy()))
        ends = (torch.arange(count + 1) * (real / count) + draws[count]).long()
        ends[0], ends[-1] = 0, real
        return self._orders[row][ends[:-1] + (draws[:count] * ends.diff()).long()]

    def _load(self, rows: Sequence[int]) -> list[Item]:
        """The arrays of each sample, without padding."""
        data, items = self.dataset, self.beside.read(rows)
        fields = [name for name in (*self.inputs, *self.outputs) if name in data.fields]
        values = {name: data.arrays(name, rows) for name in dict.fromkeys(fields)}
        for i, (item, row) in enumerate(zip(items, rows, strict=True)):
            known = {name: arrays[i] for name, arrays in values.items()}
            item |= self.layout.item(data.mesh(row), self.inputs, known)
            item["y"] = side_by_side([known[name] for name in self.outputs], len(item["x"]))
        return items

    def encode(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Any]]:
        x, mask = batch["x"], batch["mask"]
        extras: dict[str, Any] = {"coordinates": batch["coordinates"], "mask": mask}
        extras |= {name: batch[name] for name in self._measured}
        extras |= {"neighbors": batch["neighbors"]} if self.neighbors is not None else {}
        return cleared(_encoded(self.encoder, x), mask), extras | self.beside.encode(batch)

    def compare(self, loss: Loss, prediction: Tensor, target: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        mask = batch["mask"]
        return masked(loss, cleared(prediction, mask), cleared(target, mask), mask)


def feed_of(
    dataset: Dataset, inputs: Sequence[str], outputs: Sequence[str], neighbors: Neighborhood | None
) -> Feed:
    """The feed that suits where the values of a dataset live."""
    if dataset.kind != "grid":
        return PointFeed(dataset, inputs, outputs, neighbors)
    if neighbors is not None:
        raise ConfigError("Supervised: neighbors are those of points or meshes; this dataset is on a grid.")
    return GridFeed(dataset, inputs, outputs)


def along_boxes(places: NDArray[Any]) -> NDArray[np.int64]:
    """An order of places (place, dim) in which a part is a box of space or a few: that of a balanced tree.

    Examples
    --------
    >>> along_boxes(np.array([[0.0], [3.0], [1.0], [2.0]])).tolist()
    [0, 2, 3, 1]
    """
    from scipy.spatial import cKDTree

    return np.asarray(cKDTree(places, leafsize=1).indices, dtype=np.int64)


def together(items: Sequence[Item], keys: Sequence[str]) -> tuple[Tensor, ...]:
    """The arrays of several samples side by side, padded, and the masks among the keys."""
    found = []
    for key in keys:
        if key == "parameters":
            found.append(torch.from_numpy(np.stack([item[key] for item in items])))
        elif key == "mask" or key.endswith("/mask"):
            values = key.removesuffix("mask") + "values" if "/" in key else "x"
            found.append(mask_of([len(item[values]) for item in items]))
        else:
            found.append(padded([item[key] for item in items], fill=-1 if key == "neighbors" else 0))
    return tuple(found)


def masked(loss: Loss, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """A loss of (batch, channel, point) over the real points of (batch, point, channel): (batch,).

    Padding counts for nothing, exactly.  A loss that takes ``weights``, as the metrics of sciml do, gets the
    mask; any other is called for one sample after the other, without padding.
    """
    p, y = prediction.movedim(-1, 1), target.movedim(-1, 1)
    if "weights" in inspect.signature(loss).parameters:
        weighted: Any = loss
        found: Tensor = weighted(p, y, weights=mask)
        return found
    rows = range(len(mask))
    return torch.cat([loss(p[i : i + 1, :, mask[i]], y[i : i + 1, :, mask[i]]) for i in rows])


def cleared(values: Tensor, mask: Tensor) -> Tensor:
    """Values (batch, point, ...) with 0 at padding, whatever was there."""
    return torch.where(mask.reshape(*mask.shape, *(1,) * (values.ndim - mask.ndim)), values, 0.0)


def boundaries_of(dataset: Dataset) -> tuple[str, ...]:
    """The names of the boundaries of meshes that may be inputs: not those of fields."""
    mesh = dataset.mesh(0) if dataset.kind == "mesh" and len(dataset) else None
    known = mesh.boundary_names if isinstance(mesh, Mesh) else ()
    return tuple(name for name in known if name not in dataset.fields)


def _normalization(dataset: Dataset, names: Iterable[str], as_they_are: Sequence[str] = ()) -> Normalization:
    return Normalization.from_statistics(
        [_UNIT if name in as_they_are else dataset.statistics(name) for name in names]
    )


def _encoded(normalization: Normalization, x: Tensor) -> Tensor:
    return normalization.to(x.device).encode(x, axis=x.ndim - 1)
