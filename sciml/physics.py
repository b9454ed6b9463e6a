"""Learning a map between fields from the equation that it solves, with or without examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sciml.calling import call, dtype_of
from sciml.description import describable
from sciml.errors import ConfigError, ShapeError
from sciml.feeding import GridFeed
from sciml.grid import Grid
from sciml.norms import root
from sciml.objective import Batch, Objective, Term
from sciml.reading import Samples, check_settings, rows_of_step
from sciml.streams import Streams
from sciml.supervised import Supervised

if TYPE_CHECKING:
    from sciml.dataset import Dataset

FieldResidual = Callable[[Mapping[str, Tensor], Grid], Tensor | Mapping[str, Tensor]]

NAME = "physics"


@describable
class Physics(Objective):
    r"""Minimize what an equation leaves of the model's outputs: ``Supervised(...) + 0.1 * Physics(...)``.

    The residual is a function of yours of physical fields.  With derivatives of `sciml.field_derivatives`
    Darcy flow is::

        def darcy(fields, grid):
            return diffusion(fields["a"], fields["u"], grid) + 1.0

        task = Supervised(data.train, ["a"], ["u"])
        trainer.fit(model, task + 0.1 * Physics(darcy, task))

    Inputs without a solution serve as well as those with one: give them as ``inputs``, also on a finer grid
    of the same domain, for models of any resolution.

    Parameters
    ----------
    residual : function
        Of a mapping of names to fields, inputs and outputs of ``task``, (batch, *space), of several
        components (batch, component, *space), and of their grid; returns what should be zero, (batch, ...),
        or a mapping of names to that.
    task : Supervised
        Which fields go in and come out, and their normalization; its labels are not looked at.
    inputs : Dataset, optional
        Where inputs are taken from, by default the dataset of ``task``.
    batch_size : int, optional
        Samples per step, by default that of ``task``.
    square : bool
        By default the loss is the mean over samples of the root mean square over space, which belongs to a
        relative error.  True gives the mean of squares, value by value, as least-squares optimizers need it.

    Raises
    ------
    ConfigError
        If ``task`` is not about fields on a grid alone, or there are no samples.

    Notes
    -----
    Li et al., Physics-informed neural operator for learning partial differential equations, ACM/JMS J. Data
    Sci. 1 (2024).  A residual of second order weighs short waves by their wave number squared;
    `sciml.field_derivatives.inverse_laplacian` of it is as large as the error itself.
    """

    def __init__(
        self,
        residual: FieldResidual,
        task: Supervised,
        *,
        inputs: Dataset | None = None,
        batch_size: int | None = None,
        square: bool = False,
    ) -> None:
        if not isinstance(task.feed, GridFeed) or not task.feed.plain:
            raise ConfigError(
                "Physics: needs a task between fields on a grid, without parameters or functions."
            )
        self.residual, self.task, self.square = residual, task, square
        self.dataset = task.dataset if inputs is None else inputs
        self.batch_size = task.batch_size if batch_size is None else batch_size
        check_settings("Physics", self.dataset, space="physical", batch_size=self.batch_size, workers=0)
        self.grid = self.dataset.grid
        self._samples = Samples(self.dataset, (task.inputs,))
        self._coordinates = torch.from_numpy(self.grid.unit_coordinates()).float()

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        # Other samples than those whose labels are learned in the same step.
        order = streams.of("physics")
        rows = rows_of_step(step, len(self.dataset), self.batch_size, order)
        return self._batch(rows, dtype_of(model))

    def _batch(self, rows: list[int], dtype: torch.dtype) -> Batch:
        (x,) = self._samples.read(rows)
        return Batch({"x": x.to(dtype)}, {"coordinates": self._coordinates})

    def fields(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Inputs and outputs by name, in their units: (batch, *space), or (batch, component, *space)."""
        x, task = batch["x"], self.task
        coordinates = batch["coordinates"].to(x.dtype).expand(len(x), *batch["coordinates"].shape)
        encoded = call(model, task.encoder.to(x.device).encode(x), {"coordinates": coordinates})
        y = task.decoder.to(x.device).decode(encoded.to(x.dtype))
        found: dict[str, Tensor] = {}
        for names, values in ((task.inputs, x), (task.outputs, y)):
            sizes = [task.dataset.fields[name].components for name in names]
            for name, part in zip(names, values.split(sizes, dim=1), strict=True):
                found[name] = part[:, 0] if part.shape[1] == 1 else part
        return found

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        left = self.residual(self.fields(model, batch), self.grid)
        named = dict(left) if isinstance(left, Mapping) else {NAME: left}
        count = len(batch["x"])
        for name, values in named.items():
            if values.ndim == 0 or len(values) != count:
                raise ShapeError(
                    f"Physics: the residual {name!r} must be ({count}, ...), one row for each sample, got "
                    f"shape {tuple(values.shape)}."
                )
        if self.square:
            return {name: Term(values, square=True) for name, values in named.items()}
        return {
            name: Term(root(values.square().reshape(count, -1).mean(1))) for name, values in named.items()
        }

    def check(self, model: nn.Module) -> None:
        """Finite inputs, an admissible grid, and a residual that can be found of one sample."""
        self.dataset.scan(self.task.inputs)
        check_grid = getattr(model, "check_grid", None)
        if callable(check_grid):
            check_grid(self.grid.shape)
        batch = self._batch([0], dtype_of(model)).to(next(model.parameters()).device)
        try:
            with torch.no_grad():
                self.terms(model, batch)
        except KeyError as error:
            known = ", ".join([*self.task.inputs, *self.task.outputs])
            raise ConfigError(f"Physics: the residual asks for {error}; the fields are {known}.") from error
