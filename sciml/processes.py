"""Several processes that train one model: `torchrun --nproc-per-node N -m sciml train ...`, or a script.

Every process draws the same batch, which is a function of (seed, step) alone, and works on its slice.  What
is added up over processes are sums, never means, so that slices of different size need no care.  In a single
process nothing is sent.

Gradients are averaged here and not by `DistributedDataParallel`, whose hooks miss the gradients of jets,
functional calls and nested derivatives without a word.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from sciml.errors import ConfigError
from sciml.objective import Batch, Term

T = TypeVar("T")


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, 0 for the one that writes."""
    return dist.get_rank() if count() > 1 else 0


def device_of(name: str) -> torch.device:
    """The device of that name; "auto" is the GPU where there is one.

    Raises
    ------
    ConfigError
        If torch does not know it or the machine lacks it.
    """
    if name == "auto":
        own = int(os.environ.get("LOCAL_RANK", "0"))  # of several processes each takes a GPU of its own
        return torch.device("cuda", own) if own < torch.cuda.device_count() else torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"the device {name} cannot be used here: {reason}") from error
    return device


def peak_bytes(device: torch.device) -> int:
    """The most memory that tensors on this GPU have taken so far; else that this process has held."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    if sys.platform == "win32":
        return 0
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Join the group that torchrun announced, and leave it afterwards; nothing in a single process.

    A group that the caller has made is used and left alone.  The back-end is NCCL where this process has a
    GPU of its own, else gloo.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    own_gpu = torch.cuda.is_available() and torch.cuda.device_count() > int(os.environ["LOCAL_RANK"])
    dist.init_process_group("nccl" if own_gpu else "gloo")
    try:
        yield
        # A process that leaves while another still talks to it ends that one in an abort.
        dist.barrier()
    finally:
        dist.destroy_process_group()


def own_part(batch: Batch) -> Batch:
    """The slice of a batch that this process works on: consecutive entries, sizes differ by at most one."""
    if count() == 1:
        return batch

    def cut(tensor: Tensor) -> Tensor:
        return tensor.tensor_split(count())[rank()]

    return Batch(
        {name: cut(tensor) for name, tensor in batch.tensors.items()},
        batch.shared,
        tuple(own_part(part) for part in batch.parts),
    )


def means(terms: Mapping[str, Term]) -> dict[str, Tensor]:
    """This process's share of each term's weighted mean: the shares of all processes add up to it.

    Divided is by the values of all processes, so it does not matter how they are spread; a term that every
    process computes whole counts as often as it is computed.
    """
    if count() == 1:
        return {name: term.mean() for name, term in terms.items()}
    device = next(iter(terms.values())).values.device
    sizes = add_up(torch.tensor([term.values.numel() for term in terms.values()], device=device)).tolist()
    return {name: term.sum() / size for (name, term), size in zip(terms.items(), sizes, strict=True)}


def add_up(values: Tensor) -> Tensor:
    """The sum over all processes, for each entry; a new tensor without history."""
    values = values.detach().clone()
    if count() > 1:
        dist.all_reduce(values)
    return values


def add_up_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace each gradient by its sum over all processes, in one transfer for each dtype.

    A parameter without a gradient here may have one elsewhere, so it takes part as zero; one without a
    gradient anywhere stays without.
    """
    if count() == 1:
        return
    parameters = list(parameters)
    device = parameters[0].device
    present = add_up(torch.tensor([p.grad is not None for p in parameters], device=device).int())
    used = [p for p, n in zip(parameters, present.tolist(), strict=True) if n]
    for dtype in sorted({p.dtype for p in used}, key=str):
        group = [p for p in used if p.dtype == dtype]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in group])
        dist.all_reduce(flat)
        for parameter, gradient in zip(group, flat.split([p.numel() for p in group]), strict=True):
            parameter.grad = gradient.view_as(parameter)


def same_everywhere(tensors: Iterable[Tensor]) -> None:
    """Give every process the values of process 0, in place."""
    if count() > 1:
        for tensor in tensors:
            dist.broadcast(tensor.data, 0)


def one_first(work: Callable[[], T]) -> T:
    """``work()`` in process 0, then in the others, which find the files that it has written.

    What it raises in process 0 is raised in all.
    """
    problem, done = None, None
    if rank() == 0:
        try:
            done = work()
        except Exception as error:  # the others must hear of it, or they would wait for ever
            problem = error
    problem = tell(problem)
    if problem is not None:
        raise problem
    return work() if done is None else done


def tell(value: Any) -> Any:
    """What process 0 passes here, in every process."""
    if count() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, 0)
    return box[0]
