"""Waves of known length beside the coordinates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.networks.mlp import MLP


@describable
class Waves(nn.Module):
    r"""``N([x, cos(k_1 . x), sin(k_1 . x), ...])`` with given wave vectors, which are not trained.

    For what the data of a problem tell: the wave lengths of its start, the periods of what drives it.

    Parameters
    ----------
    inputs, outputs : int
    vectors : (waves, inputs)
        For features x scaled to [-1, 1]: on an interval of length L the wave ``sin(q s)`` is ``q L / 2``.
        Components that are left out at the end of a vector are 0.
    network : factory
        Of N, called as ``network(inputs + 2 waves, outputs)``.

    Raises
    ------
    ConfigError
        If there is no vector, or one has more components than there are inputs.

    Examples
    --------
    >>> Waves(2, 1, vectors=((31.4,),))(torch.zeros(5, 2)).shape
    torch.Size([5, 1])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        vectors: Sequence[Sequence[float]],
        network: Callable[[int, int], nn.Module] = partial(MLP, width=30, depth=3),  # noqa: B008
    ) -> None:
        super().__init__()
        if not vectors or any(len(vector) > inputs for vector in vectors):
            raise ConfigError(f"Waves: needs vectors of {inputs} components, got {vectors}.")
        rows = [[*vector, *[0.0] * (inputs - len(vector))] for vector in vectors]
        # No buffer: rounded to float32 and back, the waves would drift apart from those of the data.
        self._vectors = torch.tensor(rows, dtype=torch.float64).T.contiguous()
        self.network = network(inputs + 2 * len(vectors), outputs)

    def forward(self, x: Tensor) -> Tensor:
        phase = x @ self._vectors.to(x.detach())
        value: Tensor = self.network(torch.cat([x, torch.cos(phase), torch.sin(phase)], dim=1))
        return value
