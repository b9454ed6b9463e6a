"""Contestants of a training step: whole Fourier neural operators with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from sciml.kernels.bench.harness import Contestant, Prepared, find, stopwatch
from sciml.kernels.bench.layers import PEER_HINT, FourierByFFT, Size, draw_weight, with_spare_column

OURS = "sciml.operators.fno:FNO"
PEER = "neuralop.models:FNO"
OURS_HINT = "a training step needs the operators"
DEPTH = 4
PROJECTION = 128  # hidden channels of the last two maps, as in `sciml.operators.FNO`
IN_CHANNELS = OUT_CHANNELS = 1

Weights = dict[str, Tensor]


class FNOByFFT(nn.Module):
    """The architecture of `sciml.operators.FNO` as one writes it with ``torch.fft`` and 1x1 convolutions."""

    def __init__(self, weights: Weights, size: Size) -> None:
        super().__init__()
        self.lifting = self._affine(weights, "lifting", size.rank)
        self.spectral = nn.ModuleList(
            FourierByFFT(weights[f"layers.{i}.spectral_weight"], size.modes) for i in range(DEPTH)
        )
        self.local = nn.ModuleList(
            self._affine(weights, f"layers.{i}.pointwise", size.rank) for i in range(DEPTH)
        )
        self.first = self._affine(weights, "projection.first", size.rank)
        self.second = self._affine(weights, "projection.second", size.rank)

    @staticmethod
    def _affine(weights: Weights, name: str, rank: int) -> nn.Module:
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        layer = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1](weight.shape[1], weight.shape[0], 1)
        with torch.no_grad():
            layer.weight.copy_(weight.reshape(layer.weight.shape))
            layer.bias.copy_(bias)  # type: ignore[union-attr]
        return layer

    def forward(self, x: Tensor, coordinates: Tensor) -> Tensor:
        """(batch, 1, *grid), (batch, rank, *grid) -> (batch, 1, *grid)."""
        v = self.lifting(torch.cat((x, coordinates), dim=1))
        for number, (spectral, local) in enumerate(zip(self.spectral, self.local, strict=True)):
            v = spectral(v) + local(v)
            if number < DEPTH - 1:
                v = gelu(v)
        u: Tensor = self.second(gelu(self.first(v)))
        return u


class EveryOther:
    """GELU at every first call, nothing at every second one.

    Without its channel MLP a block of neuraloperator 2.0.0 applies the activation twice in a row. With this
    one it computes what the others compute, and is spared the second pass over its fields.
    """

    def __init__(self) -> None:
        self.second = False

    def __call__(self, x: Tensor) -> Tensor:
        """x or GELU(x)."""
        self.second = not self.second
        return gelu(x) if self.second else x


def draw_weights(size: Size) -> Weights:
    """One set of weights for every contestant, under the names of `sciml.operators.FNO`."""
    weights = {f"layers.{i}.spectral_weight": draw_weight(size, torch.device("cpu")) for i in range(DEPTH)}
    torch.manual_seed(2)
    affine = {
        "lifting": (size.width, IN_CHANNELS + size.rank),
        **{f"layers.{i}.pointwise": (size.width, size.width) for i in range(DEPTH)},
        "projection.first": (PROJECTION, size.width),
        "projection.second": (OUT_CHANNELS, PROJECTION),
    }
    for name, (rows, columns) in affine.items():
        bound = 1.0 / sqrt(columns)
        weights[f"{name}.weight"] = torch.empty(rows, columns).uniform_(-bound, bound)
        weights[f"{name}.bias"] = torch.empty(rows).uniform_(-bound, bound)
    return weights


def relative_l2(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean over samples of the relative L2 error."""
    error = (prediction - target).flatten(1).norm(dim=1)
    return torch.mean(error / target.flatten(1).norm(dim=1))


def fastest_adamw(parameters: Iterable[Tensor], device: torch.device) -> tuple[torch.optim.Optimizer, str]:
    """The quickest of torch's three AdamW loops that takes these parameters, and its name.

    The fused one refuses complex parameters.
    """
    parameters = list(parameters)
    clock = stopwatch(device)
    found = []
    for name in ("fused", "foreach", "for-loop"):
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        try:
            # A rate of zero leaves the weights as they are while the loops are timed.
            optimizer = torch.optim.AdamW(
                parameters, lr=0.0, fused=name == "fused", foreach=name == "foreach"
            )
            seconds = min(clock(optimizer.step, 1) for _ in range(4))
        except RuntimeError:
            continue
        found.append((seconds, name, optimizer))
    _, name, best = min(found, key=lambda entry: entry[0])
    for group in best.param_groups:
        group["lr"] = 1e-3
    best.zero_grad(set_to_none=True)
    return best, name


def training(
    size: Size, device: torch.device, model: nn.Module, *, coordinates: bool, comparable: bool = True
) -> Prepared:
    """Forward, relative L2 loss, backward, AdamW; one batch, the coordinates j/n as second argument."""
    model = model.to(device)
    optimizer, loop = fastest_adamw(model.parameters(), device)
    torch.manual_seed(3)
    x = torch.randn(size.batch, IN_CHANNELS, *size.shape).to(device)
    target = torch.randn(size.batch, OUT_CHANNELS, *size.shape).to(device)
    axes = torch.meshgrid(*(torch.arange(n) / n for n in size.shape), indexing="ij")
    places = torch.stack(axes).expand(size.batch, *(-1,) * (size.rank + 1)).to(device)
    call: Callable[[Tensor], Tensor] = (lambda v: model(v, places)) if coordinates else model

    def run() -> None:
        relative_l2(call(x), target).backward()
        optimizer.step()
        # At the end: a pass that freed the gradients of the one before would look as if it needed none.
        optimizer.zero_grad(set_to_none=True)

    def values() -> tuple[Tensor, ...]:
        variable = x.clone().requires_grad_()
        y = call(variable)
        return y.detach(), *torch.autograd.grad(relative_l2(y, target), (variable,))

    return Prepared(run, values if comparable else None, note=f"AdamW {loop}")


def load_peer(model: nn.Module, weights: Weights) -> None:
    """Our weights under neuraloperator's names; its bias stands on the spectral layer."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(_for_peer(name, weights).reshape(parameter.shape))


def _for_peer(name: str, weights: Weights) -> Tensor:
    head, *rest = name.split(".")
    if head == "lifting":
        return weights[f"lifting.{rest[-1]}"]
    if head == "projection":
        return weights[f"projection.{('first', 'second')[int(rest[1])]}.{rest[-1]}"]
    layer = f"layers.{rest[1]}"
    if rest[0] == "fno_skips":
        return weights[f"{layer}.pointwise.weight"]
    if rest[-1] == "bias":
        return weights[f"{layer}.pointwise.bias"]
    return with_spare_column(weights[f"{layer}.spectral_weight"])


def step_contestants(size: Size, device: torch.device) -> list[Contestant]:
    """Ours first."""

    def ours() -> Prepared:
        model = find(OURS, OURS_HINT)(
            size.rank, IN_CHANNELS, OUT_CHANNELS, modes=size.modes, width=size.width, depth=DEPTH
        )
        model.load_state_dict(draw_weights(size))
        return training(size, device, model, coordinates=True)

    def plain() -> Prepared:
        return training(size, device, FNOByFFT(draw_weights(size), size), coordinates=True)

    def peer() -> Prepared:
        model = find(PEER, PEER_HINT)(
            (2 * size.modes,) * size.rank,
            IN_CHANNELS,
            OUT_CHANNELS,
            size.width,
            n_layers=DEPTH,
            lifting_channel_ratio=0,  # an affine lifting
            projection_channel_ratio=PROJECTION / size.width,
            use_channel_mlp=False,
            non_linearity=EveryOther(),
        )
        model.projection.non_linearity = gelu
        load_peer(model, draw_weights(size))
        return training(size, device, model, coordinates=False)

    def defaults() -> Prepared:
        torch.manual_seed(0)
        model = find(PEER, PEER_HINT)((2 * size.modes,) * size.rank, IN_CHANNELS, OUT_CHANNELS, size.width)
        return training(size, device, model, coordinates=False, comparable=False)

    return [
        Contestant("sciml", ours),
        Contestant("torch.fft", plain),
        Contestant("neuraloperator, our architecture", peer),
        Contestant("neuraloperator, its defaults", defaults),
    ]
