"""Kinks at known places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.networks.mlp import MLP


@describable
class Kinked(nn.Module):
    """``N([x, |x_i - p|, ...])``: continuous, with slopes that may jump where a coordinate is at a place p.

    For what is made of several materials: the lines or planes where they meet.

    Parameters
    ----------
    inputs, outputs : int
    places : sequence of sequences of float
        For each coordinate, scaled to [-1, 1], its p; coordinates that are left out at the end have none.
    network : factory
        Of N, called as ``network(inputs + places, outputs)``.

    Raises
    ------
    ConfigError
        If there is no place, or there are some for more coordinates than there are inputs.

    Examples
    --------
    >>> Kinked(2, 1, places=((0.0,), (-0.5, 0.5)))(torch.zeros(5, 2)).shape
    torch.Size([5, 1])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        places: Sequence[Sequence[float]],
        network: Callable[[int, int], nn.Module] = partial(MLP, width=30, depth=3),  # noqa: B008
    ) -> None:
        super().__init__()
        self._places = [(i, float(p)) for i, of_one in enumerate(places) for p in of_one]
        if not self._places or len(places) > inputs:
            raise ConfigError(f"Kinked: needs places of kinks in {inputs} coordinates at most, got {places}.")
        self.network = network(inputs + len(self._places), outputs)

    def forward(self, x: Tensor) -> Tensor:
        distances = [torch.abs(x[:, i : i + 1] - p) for i, p in self._places]
        value: Tensor = self.network(torch.cat([x, *distances], dim=1))
        return value
