"""A network of few linear functions of very many coordinates."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from sciml.description import describable
from sciml.errors import ConfigError, ShapeError
from sciml.kernels.wide_linear import LinearMap
from sciml.pinns.networks.mlp import MLP


class Projection(nn.Linear):
    """``x W^T + b`` that is set and not trained: a random orthonormal W at first, b zero.

    Attributes
    ----------
    root : (outputs, outputs)
        Its rows are the lines along which the Laplacian is seen: T with ``T^T T = W W^T``.
    """

    root: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        columns = torch.linalg.qr(self.weight.detach().T).Q
        del self.weight, self.bias
        self.register_buffer("weight", columns.T.contiguous())
        self.register_buffer("bias", columns.new_zeros(outputs))
        self.register_buffer("root", torch.eye(outputs))


@describable
class Projected(nn.Sequential):
    r"""``N(V^T x + b)``: a network N of so many linear functions of x, which are not trained.

    They are random at first; `sciml.pinns.fit_directions` finds those along which a problem changes.  Behind
    them nothing depends on the number of coordinates: neither weights nor derivatives, as the Laplacian is
    taken along as many lines as there are directions (`sciml.kernels.laplacian`).

    Parameters
    ----------
    inputs, outputs : int
    directions : int
        Columns of V; all coordinates where there are not as many.
    network : factory
        Of N, a `torch.nn.Sequential`, called as ``network(directions, outputs)``.

    Raises
    ------
    ConfigError
        If the number of directions is below 1, or N is something else.

    Examples
    --------
    >>> network = Projected(100_000, 1, directions=10, network=partial(MLP, width=8, depth=2))
    >>> sum(p.numel() for p in network.parameters())
    169
    >>> network(torch.zeros(2, 100_000)).shape
    torch.Size([2, 1])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        directions: int = 10,
        network: Callable[[int, int], nn.Module] = partial(MLP, width=32, depth=3),  # noqa: B008
    ) -> None:
        if directions < 1:
            raise ConfigError(f"Projected: directions must be at least 1, got {directions}.")
        projection = Projection(inputs, min(directions, inputs))
        inner = network(projection.out_features, outputs)
        if not isinstance(inner, nn.Sequential):
            raise ConfigError(
                f"Projected: network must make a torch.nn.Sequential such as MLP, got {type(inner).__name__}."
            )
        super().__init__(projection, *inner)

    @property
    def projection(self) -> Projection:
        """The first layer."""
        first = self[0]
        assert isinstance(first, Projection)
        return first

    @torch.no_grad()
    def look_along(self, vectors: Tensor, center: Tensor | None = None) -> None:
        """Set V (inputs, directions), and b so that the center (inputs,), if there is one, is seen as zero.

        Raises
        ------
        ShapeError
            If there are not as many directions.
        """
        layer = self.projection
        if vectors.shape != layer.weight.T.shape:
            raise ShapeError(
                f"Projected: directions must have shape {tuple(layer.weight.T.shape)}, got "
                f"{tuple(vectors.shape)}."
            )
        layer.weight.copy_(vectors.T)
        layer.root.copy_(LinearMap(vectors).root())
        if center is None:
            layer.bias.zero_()
        else:
            layer.bias.copy_(-center @ vectors)
