"""Trains operators with their parameters or their optimizer states spread over processes, and alone.

torchrun --nproc-per-node 2 sharding_child.py FOLDER DTYPE NAME [NAME ...]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Optimizer

from sciml.grid import Grid
from sciml.operators import FFNO, FNO, TFNO, Symmetrized
from sciml.operators.spectral_weights import BlockDiagonalWeights, CPWeights, SeparableWeights, TuckerWeights

METHODS = ("alone", "fsdp", "zero")
STEPS, BATCH, SIZE = 5, 4, 12
LARGEST_NORM = 0.04  # below that of all gradients here: every step is clipped
# AdamW divides by |gradient| + eps. Its default of 1e-8 is about the rounding of a float32 gradient here,
# which would become a step of the size of lr wherever the true gradient is zero.
EPS = 1e-5
# Width 5 and one output channel do not divide by two: unequal shards, and empty ones.
MODELS: dict[str, Callable[[], nn.Module]] = {
    "fno": lambda: FNO(2, 2, 1, modes=(3, 2), width=5, depth=3, padding=0.2),
    "tfno": lambda: TFNO(2, 2, 1, modes=TuckerWeights(3, rank=0.5), width=5, depth=2),
    "cp": lambda: FNO(2, 2, 1, modes=CPWeights(3, rank=0.3), width=5, depth=2),
    "separable": lambda: FNO(2, 2, 1, modes=SeparableWeights(3), width=5, depth=2),
    "blocks": lambda: FNO(2, 2, 1, modes=BlockDiagonalWeights(3, groups=2), width=6, depth=2),
    "ffno": lambda: FFNO(2, 2, 1, modes=3, width=5, depth=2),
    "symmetrized": lambda: Symmetrized(FNO(2, 2, 1, modes=3, width=5, depth=2)),
}


def build(name: str, dtype: torch.dtype, seed: int = 0) -> nn.Module:
    """The model with start values that depend on the seed alone."""
    torch.manual_seed(seed)
    return MODELS[name]().to(dtype)


def problem(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, targets and coordinates of the whole batch; the samples differ much."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(BATCH, 2, SIZE, SIZE, generator=generator, dtype=torch.float64)
    y = (x[:, :1] * x[:, 1:]).roll(1, 2) + torch.arange(1.0 * BATCH).reshape(-1, 1, 1, 1)
    ξ = torch.as_tensor(Grid.box((SIZE, SIZE)).unit_coordinates(), dtype=dtype)
    return x.to(dtype), y.to(dtype), ξ.expand(BATCH, -1, -1, -1)


def sharded(name: str, dtype: torch.dtype) -> nn.Module:
    """The model cut among the processes, with the whole start values of the first one."""
    rank = dist.get_rank()
    model = build(name, dtype, seed=rank)
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in (model.model if isinstance(model, Symmetrized) else model).layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(model, build(name, dtype).state_dict() if rank == 0 else {}, options=options)
    return model


def train(name: str, method: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """Losses, norms of gradients, prediction, whole weights, and which share of what is held here."""
    model = sharded(name, dtype) if method == "fsdp" else build(name, dtype)
    (x, y, ξ), total = problem(dtype), sum(p.numel() for p in model.parameters())
    rank, count = (0, 1) if method == "alone" else (dist.get_rank(), dist.get_world_size())
    own = slice(rank * BATCH // count, (rank + 1) * BATCH // count)
    optimizer: Optimizer
    if method == "zero":
        optimizer = ZeroRedundancyOptimizer(model.parameters(), optimizer_class=AdamW, lr=1e-2, eps=EPS)
    else:
        optimizer = AdamW(model.parameters(), lr=1e-2, eps=EPS)
    losses, norms = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = (model(x[own], ξ[own]) - y[own]).square().mean()
        loss.backward()
        if method == "zero":
            mean(parameter.grad for parameter in model.parameters())
        norm = nn.utils.clip_grad_norm_(model.parameters(), LARGEST_NORM)
        optimizer.step()
        losses.append(loss.detach())
        norms.append(norm.full_tensor() if isinstance(norm, DTensor) else norm)
    if count > 1:
        mean(losses)
    inner = optimizer.optim if isinstance(optimizer, ZeroRedundancyOptimizer) else optimizer
    moments = [state["exp_avg"] for state in inner.state.values()]
    result = {"losses": torch.stack(losses), "norms": torch.stack(norms)}
    result["held.parameters"] = torch.tensor(numbers(model.parameters()) / total)
    result["held.moments"] = torch.tensor(numbers(moments) / total)
    with torch.no_grad():
        result["prediction"] = model.eval()(x, ξ)
    whole = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if whole:  # in the first process
        result["reloaded"] = predict_unsharded(name, whole, x, ξ)
    return result | {f"weights.{key}": value.clone() for key, value in whole.items()}


def predict_unsharded(name: str, weights: dict[str, Any], x: Tensor, ξ: Tensor) -> Tensor:
    """By a new model that takes the gathered weights; strict: no name may be missing or new."""
    model = build(name, x.dtype, seed=7).eval()
    model.load_state_dict(weights)
    with torch.no_grad():
        prediction: Tensor = model(x, ξ)
    return prediction


def mean(tensors: Iterable[Tensor]) -> None:
    """Replace each by its mean over the processes."""
    for tensor in tensors:
        dist.all_reduce(tensor)
        tensor /= dist.get_world_size()


def numbers(tensors: Iterable[Tensor]) -> int:
    """How many are in the memory of this process."""
    return sum((t.to_local() if isinstance(t, DTensor) else t).numel() for t in tensors)


def main() -> None:
    folder, dtype = Path(sys.argv[1]), getattr(torch, sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for name in sys.argv[3:]:
        for method in METHODS:
            save_file(train(name, method, dtype), folder / f"{name}-{method}-{dist.get_rank()}.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
