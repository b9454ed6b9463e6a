"""A trained model that knows its fields, units, scaling and domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from sciml import admission, cards, stepping
from sciml.calling import call, evaluating
from sciml.errors import ConfigError, ShapeError
from sciml.evolution import Evolution, evolution_of
from sciml.grid import Grid
from sciml.judging import judge
from sciml.labelled import Channel, read, write
from sciml.linear import linear_operator
from sciml.normalization import Normalization
from sciml.points import Method, checked_points, interpolate, interpolate_labelled
from sciml.scores import Scores

if TYPE_CHECKING:
    import xarray

    from sciml.artefact import Artefact
    from sciml.dataset import Dataset

__all__ = ["Channel", "Surrogate"]


class Surrogate:
    """The map from input fields to output fields in physical units that a model was trained to be.

    ``surrogate(tensor)`` maps (batch, channel, *space) to the same with the channels of the outputs;
    ``surrogate(dataset)`` maps an `xarray.Dataset` (or a DataArray, for a single input) to an
    `xarray.Dataset` on the same coordinates.  Either takes any resolution of the domain.  The model runs in
    evaluation mode, without gradients, in pieces of ``batch_size`` samples, on the device where it lies;
    results come back on the device and in the dtype of the argument.

    Parameters
    ----------
    model : nn.Module
        Normalized inputs to normalized outputs.
    inputs, outputs : sequence of Channel
        In the order of the model's channels.
    grid : Grid
        The domain, at the resolution of training.
    input_normalization, output_normalization : Normalization
        Of the model's channels.
    evolution : Evolution, optional
        Of a model that steps through time: it takes a window of frames of the outputs, and the other inputs
        as they are, to the next bundle of frames; the channels are those of `Evolution.stacked`.

    Raises
    ------
    ShapeError
        If components and channels of a normalization differ in number, or a tensor does not fit.
    DataError
        If an input is not finite or in other units.

    Examples
    --------
    >>> surrogate = Surrogate(
    ...     torch.nn.Identity(), inputs=[Channel("a")], outputs=[Channel("u")], grid=Grid.box((4,)),
    ...     input_normalization=Normalization([0.0], [1.0]), output_normalization=Normalization([5.0], [2.0]),
    ... )
    >>> surrogate(torch.ones(1, 1, 8)).tolist()
    [[[7.0, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0]]]
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        inputs: Sequence[Channel],
        outputs: Sequence[Channel],
        grid: Grid,
        input_normalization: Normalization,
        output_normalization: Normalization,
        evolution: Evolution | None = None,
        batch_size: int = 64,
    ) -> None:
        states = {field.name for field in outputs} if evolution is not None else set()
        window, bundle = (1, 1) if evolution is None else (evolution.window, evolution.bundle)
        for side, fields, normalization, frames in (
            ("inputs", inputs, input_normalization, window),
            ("outputs", outputs, output_normalization, bundle),
        ):
            count = sum(f.components * (frames if f.name in states else 1) for f in fields)
            if count != normalization.channels or len({field.name for field in fields}) != len(fields):
                raise ShapeError(
                    f"Surrogate: the {side} {[field.name for field in fields]} must have distinct names and "
                    f"as many components as their normalization has channels, got {count} and "
                    f"{normalization.channels}."
                )
        if batch_size < 1:
            raise ConfigError(f"Surrogate: batch_size must be at least 1, got {batch_size}.")
        self.model = model
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.grid = grid
        self.input_normalization = input_normalization
        self.output_normalization = output_normalization
        self.batch_size = batch_size
        self.evolution = evolution
        # Field and component of each input channel.
        self.columns = [
            (field, i)
            for field in inputs
            for _ in range(window if field.name in states else 1)
            for i in range(field.components)
        ]

    def __repr__(self) -> str:
        names = (", ".join(field.name for field in fields) for fields in (self.inputs, self.outputs))
        return f"Surrogate({type(self.model).__name__}: {' -> '.join(names)} on {self.grid.shape})"

    # Predicting.

    @overload
    def __call__(self, x: Tensor) -> Tensor: ...
    @overload
    def __call__(self, x: xarray.Dataset | xarray.DataArray) -> xarray.Dataset: ...
    def __call__(self, x: Tensor | xarray.Dataset | xarray.DataArray) -> Tensor | xarray.Dataset:
        if isinstance(x, Tensor):
            admission.check(self, x)
            admission.warn_outside(self, x)
            return self.predict(x)
        import xarray

        if not isinstance(x, xarray.Dataset | xarray.DataArray):
            raise TypeError(
                "Surrogate: expected a torch.Tensor (batch, channel, *space), an xarray.Dataset or a "
                f"DataArray, got {type(x).__name__}. torch.from_numpy makes a tensor of an array."
            )
        if self.evolution is not None:
            return self.roll_out(x, self.evolution.bundle)
        values, layout = read(x, self.inputs, self.grid)
        tensor = torch.from_numpy(values)
        admission.warn_outside(self, tensor)
        result = self.predict(tensor).numpy()
        digest = self.digest
        note = f"predicted by a sciml surrogate ({type(self.model).__name__}, weights {digest})"
        labelled = write(result, self.outputs, layout, note)
        labelled.attrs["sciml_surrogate"] = digest
        return labelled

    def predict(self, x: Tensor) -> Tensor:
        """Tensor to tensor like ``surrogate(x)``, but without checks and warnings."""
        parts = []
        with torch.no_grad(), evaluating(self.model):
            for piece in x.split(self.batch_size):
                parts.append(self.physical(piece.to(self.device)).to(x.device) if len(piece) else piece)
        if len(x) == 0:
            return x.new_zeros((0, self.output_normalization.channels, *x.shape[2:]))
        return torch.cat(parts)

    @overload
    def roll_out(
        self,
        window: Tensor,
        steps: int,
        *,
        inputs: Tensor | None = None,
        parameters: Tensor | None = None,
        time: Tensor | float = 0.0,
    ) -> Tensor: ...
    @overload
    def roll_out(self, window: xarray.Dataset | xarray.DataArray, steps: int) -> xarray.Dataset: ...
    def roll_out(
        self,
        window: Tensor | xarray.Dataset | xarray.DataArray,
        steps: int,
        *,
        inputs: Tensor | None = None,
        parameters: Tensor | None = None,
        time: Tensor | float = 0.0,
    ) -> Tensor | xarray.Dataset:
        """The ``steps`` frames after a window of frames, each made from predictions before it.

        An `xarray.Dataset` needs a dimension ``time``; parameters are variables or coordinates of it.  The
        result continues its times.

        Parameters
        ----------
        window : (batch, frames, channel, *space) or xarray
            The state, in physical units, as many frames as the model takes, ``evolution.dt`` apart.
        steps : int
            Frames to predict.
        inputs : (batch, channel, *space), optional
            The inputs that are no state.
        parameters : (batch, p), optional
            In the order of ``evolution.parameters``.
        time : (batch,) or float
            Of the last frame of the window.

        Returns
        -------
        (batch, steps, channel, *space) in physical units, or xarray

        Raises
        ------
        ConfigError
            If the model does not step through time.
        ShapeError, DataError
            If the window does not fit the model.
        """
        if not isinstance(window, Tensor):
            return stepping.predict_labelled(self, window, steps)
        admission.check_window(self, window, steps)
        admission.warn_outside(self, evolution_of(self).stacked(window))
        return stepping.predict_frames(self, window, steps, inputs=inputs, parameters=parameters, time=time)

    @overload
    def at(self, points: ArrayLike, inputs: Tensor, *, method: Method = "cubic") -> Tensor: ...
    @overload
    def at(
        self, points: ArrayLike, inputs: xarray.Dataset | xarray.DataArray, *, method: Method = "cubic"
    ) -> xarray.Dataset: ...
    def at(
        self,
        points: ArrayLike,
        inputs: Tensor | xarray.Dataset | xarray.DataArray,
        *,
        method: Method = "cubic",
    ) -> Tensor | xarray.Dataset:
        """The prediction ``surrogate(inputs)`` at any points of the domain, such as the nodes of a mesh.

        A spline through the prediction on the grid of the inputs, continued along periodic axes.  Between
        the last cell center and the wall its last piece is continued: extrapolated, not imposed.

        Parameters
        ----------
        points : (n, rank)
            Coordinates, such as ``mesh.points[:, :2]`` of meshio.
        inputs : (batch, channel, *space) or xarray
            What ``surrogate(inputs)`` takes.
        method : "cubic" or "linear"
            Of order h^4 for smooth fields, or h^2 but never beyond the neighbors, for fields that jump.

        Returns
        -------
        (batch, n, channel), or xarray with the dimension ``point`` in place of the axes

        Raises
        ------
        DataError, ShapeError, ConfigError
            If a point lies outside the domain, or points, inputs or method do not fit.
        """
        places = checked_points(points, self.grid)
        result = self(inputs)
        if not isinstance(result, Tensor):
            return interpolate_labelled(result, places, self.grid, method)
        values = result.movedim((0, 1), (-2, -1)).cpu().numpy()
        found = interpolate(values, places, self.grid.with_shape(result.shape[2:]), method)
        return torch.from_numpy(found).to(result).movedim(1, 0)

    def physical(self, x: Tensor, extras: Mapping[str, Tensor] | None = None) -> Tensor:
        """Decode(model(encode(x))) of one batch on the model's device, differentiable, in the model's mode.

        ``extras`` (batch, ...) besides coordinates go to a model that names them.
        """
        dtype = torch.promote_types(x.dtype, torch.float32)
        points = torch.from_numpy(self.grid.with_shape(x.shape[2:]).unit_coordinates())
        coordinates = points.to(self.device, self.dtype).expand(len(x), *points.shape)
        encoded = self.input_normalization.encode(x).to(self.dtype)
        others = {name: value.to(self.device, self.dtype) for name, value in (extras or {}).items()}
        result = call(self.model, encoded, {"coordinates": coordinates, **others})
        expected = (len(x), self.output_normalization.channels, *x.shape[2:])
        if tuple(result.shape) != expected:
            raise ShapeError(
                f"Surrogate: the model was to give {expected} (batch, channel, *space), "
                f"got {tuple(result.shape)}."
            )
        return self.output_normalization.decode(result.to(dtype))

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """In what the model computes: that of its first floating-point parameter."""
        found = (p.dtype for p in self.model.parameters() if p.is_floating_point())
        return next(found, torch.float32)

    # Judging.

    def evaluate(self, dataset: Dataset, batch_size: int | None = None) -> dict[str, Scores]:
        """Errors on a split, sample by sample: relative_l2, rmse, nrmse, vrmse, max_error.

        In physical units, float64, every grid point counted once; see `sciml.metrics`.  Warns of samples
        whose target is 0, where relative errors are absolute ones.

        Raises
        ------
        ConfigError
            If the dataset's domain is another one.
        DataError
            If a field has other units.
        """
        return judge(self, dataset, batch_size or self.batch_size)

    # Handing on.

    @property
    def digest(self) -> str:
        """ "sha256:..." of the weights and the normalizations, as `save` writes them."""
        return cards.digest(self)

    def save(self, folder: Path | str) -> Path:
        """Write ``weights.safetensors`` and ``card.json`` into ``folder``, whole or not at all; returns it.

        Raises
        ------
        FileExistsError
            If ``folder`` holds anything else than a saved surrogate, which would be lost.
        ConfigError
            If the model's state is not made of tensors, or its arguments cannot be described.
        """
        return cards.write_card(self, Path(folder))

    @classmethod
    def load(cls, folder: Path | str, model: nn.Module | None = None) -> Surrogate:
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
        parts = cards.read_card(Path(folder), model)
        surrogate = cls(
            parts.model,
            inputs=parts.inputs,
            outputs=parts.outputs,
            grid=parts.grid,
            input_normalization=parts.input_normalization,
            output_normalization=parts.output_normalization,
            evolution=parts.evolution,
        )
        cards.verify(surrogate, parts.answers, Path(folder))
        return surrogate

    def export(
        self, path: Path | str, *, to: Literal["pt2", "onnx"] | None = None, dynamic: bool = True
    ) -> Artefact:
        """Write one file that runs without sciml; returns its path, description and measured differences.

        It maps physical fields (batch, channel, *space), float32, to physical fields; a model that steps
        through time makes one step.  The file describes itself: names, units, axes, ranges, smallest grid,
        and an input with its answer.  docs/export.md shows how to run it from PyTorch, ONNX and C++.

        Parameters
        ----------
        path : path
            Ends in ``.pt2`` (`torch.export`) or ``.onnx``; an older file is replaced.
        to : "pt2" or "onnx", optional
            The same once more.
        dynamic : bool
            Whether grids of other sizes may come; batches of any size may.

        Raises
        ------
        ConfigError
            If the model cannot be exported.
        CheckpointError
            If the file, read back, differs by more than 1e-5 of the largest value of a channel on one of
            several grids; nothing is written then.
        ModuleNotFoundError
            If packages for ONNX are missing.
        """
        from sciml.export import export

        return export(self, path, to=to, dynamic=dynamic)

    def linear_operator(self, shape: Sequence[int] | None = None) -> Any:
        """The linear part A of the map on flattened fields: a float64 `scipy.sparse.linalg.LinearOperator`.

        ``surrogate(x) = A x + surrogate(0)``, on the grid of training or of the given shape.  The adjoint is
        exact, by automatic differentiation.

        Raises
        ------
        ConfigError
            If the model does not declare itself linear (``properties.linear``).
        """
        return linear_operator(self, shape)
