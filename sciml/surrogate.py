"""A trained model that knows its fields, units, scaling and domain."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor, nn

from sciml import cards
from sciml.calling import call, evaluating
from sciml.errors import ConfigError, DataError, ShapeError
from sciml.grid import Grid
from sciml.labelled import Channel, check_same_domain, read, write
from sciml.metrics import max_error, nrmse, relative_l2, rmse, vrmse
from sciml.normalization import Normalization
from sciml.norms import zero_target
from sciml.scores import Scores

if TYPE_CHECKING:
    import xarray

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
        batch_size: int = 64,
    ) -> None:
        for side, fields, normalization in (
            ("inputs", inputs, input_normalization),
            ("outputs", outputs, output_normalization),
        ):
            count = sum(field.components for field in fields)
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
            self._check(x)
            self._warn_outside(x)
            return self.predict(x)
        import xarray

        if not isinstance(x, xarray.Dataset | xarray.DataArray):
            raise TypeError(
                "Surrogate: expected a torch.Tensor (batch, channel, *space), an xarray.Dataset or a "
                f"DataArray, got {type(x).__name__}. torch.from_numpy makes a tensor of an array."
            )
        values, layout = read(x, self.inputs, self.grid)
        tensor = torch.from_numpy(values)
        self._warn_outside(tensor)
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

    def physical(self, x: Tensor) -> Tensor:
        """Decode(model(encode(x))) of one batch on the model's device, differentiable, in the model's "
        "mode."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        points = torch.from_numpy(self.grid.with_shape(x.shape[2:]).unit_coordinates())
        coordinates = points.to(self.device, self.dtype).expand(len(x), *points.shape)
        encoded = self.input_normalization.encode(x).to(self.dtype)
        result = call(self.model, encoded, {"coordinates": coordinates})
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

    def _check(self, x: Tensor) -> None:
        channels, shape = self.input_normalization.channels, tuple(x.shape)
        if x.ndim != self.grid.rank + 2 or shape[1] != channels:
            hint = (
                " Channels come second; x.movedim(-1, 1) puts them there."
                if shape[-1:] == (channels,)
                else ""
            )
            raise ShapeError(
                f"Surrogate: x must have shape (batch, {channels}, *space) with {self.grid.rank} axes of "
                f"space ({', '.join(self.grid.names)}), got {shape}.{hint}"
            )
        if not x.is_floating_point():
            raise DataError(
                f"Surrogate: x must be real floating-point numbers, got {x.dtype}; use x.float()."
            )
        if not torch.isfinite(x).all():
            index = [int(i) for i in torch.nonzero(~torch.isfinite(x))[0]]
            raise DataError(
                f"Surrogate: x is {x[tuple(index)].item()} in sample {index[0]}, channel {index[1]} "
                f"({self._names()[index[1]]}), grid index {tuple(index[2:])}."
            )

    def _names(self) -> list[str]:
        """The field's name for each input channel."""
        return [field.name for field in self.inputs for _ in range(field.components)]

    def _warn_outside(self, x: Tensor) -> None:
        """One warning that names all fields beyond the range of training."""
        outside, start = [], 0
        for field in self.inputs:
            for i in range(field.components if x.numel() else 0):
                low, high = (float(v) for v in x[:, start + i].aminmax())
                least = -torch.inf if field.minimum is None else field.minimum[i]
                most = torch.inf if field.maximum is None else field.maximum[i]
                slack = 1e-6 * (abs(low) + abs(high))  # float32 rounding of the statistics' own extremes
                if low < least - slack or high > most + slack:
                    which = f"{field.name}[{i}]" if field.components > 1 else field.name
                    outside.append(
                        f"{which} in [{low:.4g}, {high:.4g}], trained on [{least:.4g}, {most:.4g}]"
                    )
            start += field.components
        if outside:
            warnings.warn(
                f"Surrogate: extrapolating, inputs leave the range of training: {'; '.join(outside)}.",
                UserWarning,
                stacklevel=3,
            )

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
        check_same_domain(f"Surrogate.evaluate: {dataset.path}", dataset.grid, self.grid)
        for field in (*self.inputs, *self.outputs):
            if field.name in dataset.fields and dataset.fields[field.name].units != field.units:
                raise DataError(
                    f"Surrogate.evaluate: {dataset.path} has {field.name!r} in "
                    f"{dataset.fields[field.name].units!r}, but training used {field.units!r}."
                )
        metrics = (relative_l2, rmse, nrmse, vrmse, max_error)
        scores = {metric.__name__: Scores() for metric in metrics}
        zeros: list[int] = []
        size = batch_size or self.batch_size
        for start in range(0, len(dataset), size):
            rows = list(range(start, min(start + size, len(dataset))))
            x = dataset.tensor([field.name for field in self.inputs], rows, dtype=torch.float64)
            y = dataset.tensor([field.name for field in self.outputs], rows, dtype=torch.float64)
            prediction = self.predict(x)
            for metric in metrics:
                scores[metric.__name__].add(metric(prediction, y))
            zeros += [start + int(i) for i in torch.nonzero(zero_target(y))]
        if zeros:
            warnings.warn(
                f"Surrogate.evaluate: the target is 0 in {len(zeros)} of {len(dataset)} samples (first: "
                f"{zeros[0]}); "
                "their relative errors are absolute ones.",
                UserWarning,
                stacklevel=2,
            )
        return scores

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
        )
        cards.verify(surrogate, parts.answers, Path(folder))
        return surrogate

    def linear_operator(self, shape: Sequence[int] | None = None) -> Any:
        """The linear part A of the map on flattened fields: a float64 `scipy.sparse.linalg.LinearOperator`.

        ``surrogate(x) = A x + surrogate(0)``, on the grid of training or of the given shape.  The adjoint is
        exact, by automatic differentiation.

        Raises
        ------
        ConfigError
            If the model does not declare itself linear (``properties.linear``).
        """
        if not getattr(getattr(self.model, "properties", None), "linear", False):
            raise ConfigError(
                f"Surrogate.linear_operator: {type(self.model).__name__} does not declare itself linear, and "
                "a solver would trust it blindly. Use the prediction as a starting value instead."
            )
        from scipy.sparse.linalg import LinearOperator

        space = tuple(shape or self.grid.shape)
        into, out = ((1, n.channels, *space) for n in (self.input_normalization, self.output_normalization))
        zero = torch.zeros(into, dtype=torch.float64, device=self.device)
        offset = self.predict(zero)

        def forward(x: Any) -> Any:
            x = torch.as_tensor(x, dtype=torch.float64, device=self.device).reshape(into)
            return (self.predict(x) - offset).cpu().numpy().ravel()

        def adjoint(y: Any) -> Any:
            with evaluating(self.model):
                x = zero.clone().requires_grad_()
                cotangent = torch.as_tensor(y, dtype=torch.float64, device=self.device).reshape(out)
                return torch.autograd.grad(self.physical(x), x, cotangent)[0].cpu().numpy().ravel()

        sizes = offset.numel(), zero.numel()
        return LinearOperator(sizes, matvec=forward, rmatvec=adjoint, dtype="float64")
