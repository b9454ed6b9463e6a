"""Contestants of the spectral layer: ours, plain ``torch.fft``, neuraloperator's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod, sqrt

import torch
from torch import Tensor, nn

from sciml.kernels.bench.harness import Contestant, Prepared, find
from sciml.kernels.spectral import spectral_conv

PEER_LAYER = "neuralop.layers.spectral_convolution:SpectralConv"
PEER_HINT = "pip install 'sciml-pde[peers]'"


@dataclass(frozen=True)
class Size:
    """Grid, modes on every axis, channels, samples."""

    shape: tuple[int, ...]
    modes: int
    width: int
    batch: int

    @property
    def rank(self) -> int:
        """Axes of the grid."""
        return len(self.shape)

    @property
    def frequencies(self) -> tuple[int, ...]:
        """Kept frequencies per axis."""
        return (*(2 * self.modes,) * (self.rank - 1), self.modes)

    @property
    def settings(self) -> dict[str, int | str]:
        """As a table shows them."""
        grid = "x".join(map(str, self.shape))
        return {"grid": grid, "modes": self.modes, "width": self.width, "batch": self.batch}

    @property
    def weight_numbers(self) -> int:
        """Real numbers of one spectral weight."""
        return 2 * prod(self.frequencies) * self.width**2

    @property
    def floor_bytes(self) -> int:
        """What a forward and backward pass in float32 cannot but move.

        Forward reads x and the weight and writes y; backward reads the gradient of y and the weight and
        writes both gradients.
        """
        field = self.batch * self.width * prod(self.shape)
        return 4 * (4 * field + 3 * self.weight_numbers)


class FourierByFFT(nn.Module):
    """The layer as one writes it with ``torch.fft``: a complex weight for each corner of the spectrum."""

    def __init__(self, weight: Tensor, modes: int) -> None:
        super().__init__()
        rank = weight.ndim - 3
        self.axes = tuple(range(2, 2 + rank))
        self.corners: list[tuple[slice, ...]] = []
        blocks = []
        for signs in product((False, True), repeat=rank - 1):
            self.corners.append(
                (*(slice(-modes, None) if s else slice(0, modes) for s in signs), slice(0, modes))
            )
            block = tuple(slice(0, modes) if s else slice(modes, None) for s in signs)
            blocks.append(nn.Parameter(as_complex(weight[block])))
        self.weights = nn.ParameterList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, c_in, *grid) -> (batch, c_out, *grid)."""
        spectrum = torch.fft.rfftn(x, dim=self.axes, norm="forward")
        mixed = spectrum.new_zeros(x.shape[0], self.weights[0].shape[1], *spectrum.shape[2:])
        for corner, weight in zip(self.corners, self.weights, strict=True):
            place = (slice(None), slice(None), *corner)
            mixed[place] = torch.einsum("bi...,io...->bo...", spectrum[place], weight)
        y: Tensor = torch.fft.irfftn(mixed, s=x.shape[2:], dim=self.axes, norm="forward")
        return y


def as_complex(weight: Tensor) -> Tensor:
    """(*frequencies, c_in, c_out, 2) real -> (c_in, c_out, *frequencies) complex, contiguous."""
    return torch.view_as_complex(weight).movedim((-2, -1), (0, 1)).contiguous()


def with_spare_column(weight: Tensor) -> Tensor:
    """The complex weight for ``n_modes = 2m``, which keeps 0..m on the last axis: zero at m."""
    return nn.functional.pad(as_complex(weight), (0, 1))


def draw_weight(size: Size, device: torch.device) -> Tensor:
    """The same spectral weight for every contestant, (*frequencies, width, width, 2)."""
    torch.manual_seed(0)
    std = sqrt(0.5 / size.width)
    return (std * torch.randn(*size.frequencies, size.width, size.width, 2)).to(device)


def passes(
    size: Size, device: torch.device, layer: Callable[[Tensor], Tensor], weights: Sequence[Tensor]
) -> Prepared:
    """Forward, and backward to x and the weights."""
    torch.manual_seed(1)
    x, gradient = torch.randn(2, size.batch, size.width, *size.shape).to(device).unbind()
    x = x.clone().requires_grad_()
    gradient = gradient.clone()

    def run() -> tuple[Tensor, ...]:
        return torch.autograd.grad(layer(x), (x, *weights), gradient)

    def values() -> tuple[Tensor, ...]:
        y = layer(x)
        return y.detach(), *torch.autograd.grad(y, (x,), gradient)

    return Prepared(run, values)


def layer_contestants(size: Size, device: torch.device, *, peers: bool = True) -> list[Contestant]:
    """Ours first."""

    def ours() -> Prepared:
        weight = draw_weight(size, device).requires_grad_()
        modes = (size.modes,) * size.rank
        return passes(size, device, lambda x: spectral_conv(x, weight, modes), [weight])

    def plain() -> Prepared:
        layer = FourierByFFT(draw_weight(size, device), size.modes)
        return passes(size, device, layer, list(layer.parameters()))

    def peer() -> Prepared:
        layer_class = find(PEER_LAYER, PEER_HINT)
        layer = layer_class(size.width, size.width, (2 * size.modes,) * size.rank, bias=False).to(device)
        with torch.no_grad():
            layer.weight.tensor.copy_(with_spare_column(draw_weight(size, device)))
        return passes(size, device, layer, list(layer.parameters()))

    contestants = [Contestant("sciml", ours), Contestant("torch.fft", plain)]
    return [*contestants, Contestant("neuraloperator", peer)] if peers else contestants
