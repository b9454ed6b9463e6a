"""A network of ours inside DeepXDE."""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor, nn

from sciml.calling import dtype_of
from sciml.errors import ConfigError
from sciml.pinns.deepxde_import import imported


def to_deepxde(model: nn.Module) -> Any:
    """A module as a ``dde.nn.NN``, for ``dde.Model(data, to_deepxde(model))``.

    It holds the module itself: what DeepXDE trains is trained.  Transforms of features and outputs are taken
    as those of DeepXDE's own networks.

    Parameters
    ----------
    model : module
        Points (n, dim) to (n, outputs), or (n,) for one output, in DeepXDE's float type:
        ``dde.config.set_default_float("float64")`` for a network in float64.

    Returns
    -------
    dde.nn.NN

    Examples
    --------
    >>> import torch
    >>> from sciml.pinns.networks import MLP
    >>> to_deepxde(MLP(2, 3))(torch.zeros(5, 2)).shape
    torch.Size([5, 3])
    """
    return _class()(model)


@functools.cache
def _class() -> Any:
    deepxde: Any = imported()
    base: Any = deepxde.nn.NN

    class Network(base):  # type: ignore[misc]
        """See `to_deepxde`."""

        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, inputs: Tensor) -> Tensor:
            dtype = dtype_of(self.model)
            if inputs.dtype != dtype:
                wanted = str(dtype).removeprefix("torch.")
                raise ConfigError(
                    f"to_deepxde: the network computes in {wanted}, DeepXDE's points are {inputs.dtype}. "
                    f'Call dde.config.set_default_float("{wanted}") before making the data.'
                )
            x = inputs if self._input_transform is None else self._input_transform(inputs)
            value: Tensor = self.model(x)
            value = value[:, None] if value.ndim == 1 else value
            return value if self._output_transform is None else self._output_transform(inputs, value)

    return Network
