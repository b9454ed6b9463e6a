"""A trained model on points or meshes that knows its fields, units, scaling and space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from sciml import admission, point_cards
from sciml.calling import call, dtype_of, evaluating
from sciml.errors import DataError, ShapeError, nearest
from sciml.feeding import cleared, together
from sciml.labelled import Channel
from sciml.mesh import Points
from sciml.meshes import mesh_from, values_of, with_values
from sciml.normalization import Normalization
from sciml.point_layout import Item, PointLayout
from sciml.scores import Scores

if TYPE_CHECKING:
    import meshio

    from sciml.dataset import Dataset

BATCH_SIZE = 16
"""Samples in one call of the model."""

Fields = Mapping[str, ArrayLike]


class PointSurrogate:
    """The map from input to output fields on any points or mesh of its space, in physical units.

    ``surrogate(mesh, {"a": values, "c": 0.5})`` takes a `Mesh` or `Points` with the values of each input
    field there, (point,) or (point, component), and the numbers of the sample; it gives the outputs by name,
    float64.  ``surrogate(mesh)`` takes a `meshio.Mesh` with the input fields as point data, or as cell data
    if the model was trained on cells, and gives a `meshio.Mesh` of the same points and cells with the
    outputs.  The model runs in evaluation mode, without gradients, on the device where it lies.

    Parameters
    ----------
    model : nn.Module
        Normalized inputs to normalized outputs, as `Supervised` calls it on points.
    inputs, outputs : sequence of Channel
        In the order of the model's channels; inputs may be boundaries, see `PointLayout`.
    layout : PointLayout
    input_normalization, output_normalization : Normalization
        Of the model's channels.
    parameters : sequence of Channel
        The numbers of a sample that a model takes as ``parameters``.
    parameter_normalization : Normalization, optional
        Of these.

    Raises
    ------
    ShapeError
        If channels and those of a normalization differ in number.

    Examples
    --------
    >>> from sciml.mesh import Space
    >>> surrogate = PointSurrogate(
    ...     torch.nn.Identity(), inputs=[Channel("a")], outputs=[Channel("u")],
    ...     layout=PointLayout(Space(("x", "y"), (0.0, 0.0), (1.0, 1.0))),
    ...     input_normalization=Normalization([0.0], [1.0]), output_normalization=Normalization([5.0], [2.0]),
    ... )
    >>> surrogate(Points([[0.0, 0.0], [1.0, 0.5]]), {"a": [1.0, 2.0]})["u"].tolist()
    [7.0, 9.0]
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        inputs: Sequence[Channel],
        outputs: Sequence[Channel],
        layout: PointLayout,
        input_normalization: Normalization,
        output_normalization: Normalization,
        parameters: Sequence[Channel] = (),
        parameter_normalization: Normalization | None = None,
    ) -> None:
        self.model, self.layout = model, layout
        self.inputs, self.outputs, self.parameters = tuple(inputs), tuple(outputs), tuple(parameters)
        self.input_normalization, self.output_normalization = input_normalization, output_normalization
        self.parameter_normalization = parameter_normalization or Normalization.identity(len(parameters))
        for name, channels, normalization in (
            ("inputs", self.inputs, input_normalization),
            ("outputs", self.outputs, output_normalization),
            ("parameters", self.parameters, self.parameter_normalization),
        ):
            count = sum(channel.components for channel in channels)
            if count != normalization.channels:
                raise ShapeError(
                    f"PointSurrogate: the {name} {[channel.name for channel in channels]} must have as many "
                    f"components as their normalization has channels, got {count} and "
                    f"{normalization.channels}."
                )
        # Field and component of each input channel, then the numbers.
        self.columns = [(c, i) for c in (*self.inputs, *self.parameters) for i in range(c.components)]

    def __repr__(self) -> str:
        into, out = (", ".join(c.name for c in side) for side in (self.given, self.outputs))
        kind = "meshes" if self.layout.measured else "points"
        return f"PointSurrogate({type(self.model).__name__}: {into or 'coordinates'} -> {out} on {kind})"

    @property
    def given(self) -> tuple[Channel, ...]:
        """What a caller gives: fields and numbers; distances to boundaries come from the mesh."""
        fields = (channel for channel in self.inputs if channel.name not in self.layout.boundaries)
        return (*fields, *self.parameters)

    # Predicting.

    @overload
    def __call__(self, cloud: Points, fields: Fields | None = None) -> dict[str, NDArray[np.float64]]: ...
    @overload
    def __call__(self, cloud: meshio.Mesh, fields: Fields | None = None) -> meshio.Mesh: ...
    def __call__(
        self, cloud: Points | meshio.Mesh, fields: Fields | None = None
    ) -> dict[str, NDArray[np.float64]] | meshio.Mesh:
        """See the class.  Warns of points outside the box, and of values outside the range of training.

        Raises
        ------
        DataError
            If an input is missing or not finite, or the points are in other units.
        ShapeError
            If an input does not have a value for each point.
        """
        if isinstance(cloud, Points):
            item = self._item(cloud, fields or {})
            self._warn(item)
            return self._outputs([item])[0]
        space, cells = self.layout.space, self.layout.cells
        mesh = mesh_from(cloud, rank=space.rank, units=space.units, boundary_names=space.boundary_names)
        found = self(mesh, {**values_of(cloud, cells=cells), **(fields or {})})
        return with_values(cloud, found, cells=cells)

    def predict(
        self, clouds: Sequence[Points], fields: Sequence[Fields]
    ) -> list[dict[str, NDArray[np.float64]]]:
        """Like a call for each of several meshes or sets of points, of any sizes, but without warnings."""
        return self._outputs([self._item(cloud, given) for cloud, given in zip(clouds, fields, strict=True)])

    def _outputs(self, items: Sequence[Item]) -> list[dict[str, NDArray[np.float64]]]:
        found: list[dict[str, NDArray[np.float64]]] = []
        for start in range(0, len(items), BATCH_SIZE):
            some = items[start : start + BATCH_SIZE]
            with torch.no_grad(), evaluating(self.model):
                values = self.physical(self.batch(some)).cpu().numpy()
            found += [self._named(v[: len(item["x"])]) for v, item in zip(values, some, strict=True)]
        return found

    def _item(self, cloud: Points, given: Fields) -> Item:
        """The arrays of one sample, checked."""
        self.layout.check("PointSurrogate", cloud)
        count = len(self.layout.points(cloud))
        if missing := [c.name for c in self.given if c.name not in given]:
            raise DataError(
                f"PointSurrogate: {missing[0]!r} is missing; it takes "
                f"{', '.join(c.name for c in self.given)}, got {', '.join(given) or 'none'}."
                f"{nearest(missing[0], list(given))}"
            )
        values = {c.name: np.asarray(given[c.name], dtype=np.float64) for c in self.given}
        for channel in self.given:
            array = values[channel.name]
            shape = () if channel in self.parameters else (count, channel.components)
            if array.shape not in (shape, shape[:1] if channel.components == 1 else shape):
                raise ShapeError(
                    f"PointSurrogate: {channel.name!r} must have shape {shape}, got {array.shape}."
                )
            if not np.isfinite(array).all():
                raise DataError(f"PointSurrogate: {channel.name!r} has values that are not finite.")
        item = self.layout.item(cloud, [c.name for c in self.inputs], values)
        if self.parameters:
            item["parameters"] = np.array([float(values[c.name]) for c in self.parameters])
        return item

    def _warn(self, item: Item) -> None:
        numbers = np.tile(item.get("parameters", np.empty(0)), (len(item["x"]), 1))
        columns = np.concatenate([item["x"], numbers], axis=1)
        admission.warn_outside(self, torch.from_numpy(columns.T[None]))
        admission.warn_beyond(item["coordinates"])

    def batch(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """Samples side by side, padded, in the model's dtype on its device."""
        keys = ("mask", *items[0])
        named = dict(zip(keys, together(items, keys), strict=True))
        return {
            name: value.to(self.device, self.dtype if value.is_floating_point() else None)
            for name, value in named.items()
        }

    def physical(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Decode(model(encode(batch))) in the model's mode, (batch, point, channel), float64."""
        x = cleared(self.input_normalization.encode(batch["x"], axis=2), batch["mask"])
        extras = {name: value for name, value in batch.items() if name != "x"}
        if self.parameters:
            extras["parameters"] = self.parameter_normalization.encode(batch["parameters"])
        result = call(self.model, x, extras)
        expected = (*x.shape[:2], self.output_normalization.channels)
        if tuple(result.shape) != expected:
            raise ShapeError(
                f"PointSurrogate: the model was to give {expected} (batch, point, channel), got "
                f"{tuple(result.shape)}."
            )
        return self.output_normalization.decode(result.double(), axis=2)

    def _named(self, values: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        ends = np.cumsum([channel.components for channel in self.outputs])[:-1]
        parts = zip(self.outputs, np.split(values, ends, axis=1), strict=True)
        return {c.name: part if c.components > 1 else part[:, 0] for c, part in parts}

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """In what the model computes."""
        return dtype_of(self.model)

    # Judging and handing on.

    def evaluate(self, dataset: Dataset) -> dict[str, Scores]:
        """Errors on a split, sample by sample: relative_l2, nrmse, vrmse, rmse, max_error.

        In physical units, float64, every point counted once.

        Raises
        ------
        DataError
            If a field is missing, or has other units.
        """
        from sciml.point_assessment import point_scores, surrogate_predictor, task_of_surrogate

        task = task_of_surrogate(self, dataset)
        return point_scores(task, surrogate_predictor(task, self))

    @property
    def digest(self) -> str:
        """ "sha256:..." of the weights and the normalizations, as `save` writes them."""
        return point_cards.digest(self)

    def save(self, folder: Path | str) -> Path:
        """Write ``weights.safetensors`` and ``card.json`` into ``folder``, whole or not at all; returns it.

        Raises
        ------
        FileExistsError
            If ``folder`` holds anything else than a saved surrogate, which would be lost.
        ConfigError
            If the model's state is not made of tensors, or its arguments cannot be described.
        """
        return point_cards.write_card(self, Path(folder))

    @classmethod
    def load(cls, folder: Path | str, model: nn.Module | None = None) -> PointSurrogate:
        """Read what `save` wrote; checks every byte, and that the model still gives the stored answers.

        Parameters
        ----------
        folder : path
        model : nn.Module, optional
            Takes the weights; needed if the saved model is of a class that sciml does not know how to make.

        Raises
        ------
        CheckpointError
            If files are missing, damaged, of a newer format, or do not fit the model.
        """
        arguments, answers = point_cards.read_card(Path(folder), model)
        surrogate = cls(**arguments)
        point_cards.verify(surrogate, answers, Path(folder))
        return surrogate
