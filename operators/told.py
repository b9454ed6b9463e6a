"""Any operator on grids with numbers of the sample, such as a viscosity or the time, as further channels."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sciml.calling import EXTRAS
from sciml.description import describable
from sciml.errors import ConfigError, ShapeError
from sciml.operators.message_settings import Context


@describable
class Told(nn.Module):
    """``M([a, θ])`` with the numbers θ of the sample the same at all points.

    For operators that have no argument ``context`` themselves: so they know what those are told.

    Parameters
    ----------
    model : nn.Module
        An operator on grids whose ``in_channels`` are those of the fields and the numbers of the context.
    context : Context
        Its ``position`` does not count: who wants coordinates takes them itself.

    Attributes
    ----------
    rank, in_channels, requires, properties
        Those of the model, without the channels of the numbers, and with the extras that they come from.

    Raises
    ------
    ConfigError
        If the context has no numbers, or the model too few channels.

    Examples
    --------
    Steps of a state with the time, up to 4, and the second of two parameters:

    >>> from sciml.operators import FNO
    >>> context = Context(time=4.0, parameters=(None, 0.2))
    >>> model = Told(FNO(1, 1 + context.numbers, 1, modes=4, width=8, coordinates=False), context)
    >>> θ = torch.tensor([[1.0, 0.1], [1.0, 0.2]])
    >>> model(torch.zeros(2, 1, 16), parameters=θ, time=torch.zeros(2)).shape
    torch.Size([2, 1, 16])
    """

    def __init__(self, model: nn.Module, context: Context) -> None:
        super().__init__()
        self.model, self.context = model, context
        channels = int(getattr(model, "in_channels", 0))
        if not 0 < context.numbers < channels:
            raise ConfigError(
                f"Told: the model needs a channel for each of {context.numbers} numbers and for its fields, "
                f"got in_channels={channels}."
            )
        self.rank, self.in_channels = getattr(model, "rank", None), channels - context.numbers
        self.properties = getattr(model, "properties", None)
        self.requires = tuple(dict.fromkeys((*getattr(model, "requires", ()), *context.requires)))
        self._named = tuple(n for n in inspect.signature(type(model).forward).parameters if n in EXTRAS)

    def forward(
        self,
        x: Tensor,
        coordinates: Tensor | None = None,
        parameters: Tensor | None = None,
        time: Tensor | None = None,
    ) -> Tensor:
        """Apply the operator.

        Parameters
        ----------
        x : (batch, in_channels, *space)
        coordinates : (batch, rank, *space), optional
            For the model.
        parameters : (batch, p), time : (batch,)
            In physical units; needed if the context tells them.

        Returns
        -------
        (batch, out_channels, *space)

        Raises
        ------
        ShapeError
            If a shape does not fit, or something needed is missing.
        """
        if x.ndim < 3 or x.shape[1] != self.in_channels:
            raise ShapeError(
                f"Told: x must have shape (batch, {self.in_channels}, *space), got {tuple(x.shape)}."
            )
        numbers = self.context.told(x, time, parameters)
        numbers = numbers.reshape(*numbers.shape, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])
        given = {"coordinates": coordinates, "parameters": parameters, "time": time}
        extras = {name: value for name, value in given.items() if name in self._named and value is not None}
        y: Tensor = self.model(torch.cat((x, numbers), dim=1), **extras)
        return y

    def check_grid(self, shape: Sequence[int]) -> None:
        """Refuse a training grid that the model refuses."""
        check = getattr(self.model, "check_grid", None)
        if check is not None:
            check(shape)
