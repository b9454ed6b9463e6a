"""The product of two real matrices, by the fastest library at hand."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

# oneDNN's matrix product, which torch carries for its compiler. On processors that are not Intel's it uses
# wider registers than MKL, whose products `torch.mm` takes: twice as fast where one side is small. On Intel's
# MKL is as fast or faster.
_ONEDNN = (
    getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
)
# Multiply-adds from which the better product outweighs the longer way to it.
WORTH = 2**20


def plain() -> bool:
    """Whether only operations are wanted that autograd and tracers know.

    True while a graph is traced, and with ``SCIML_KERNELS=reference`` in the environment, which tests set.
    """
    return torch.compiler.is_compiling() or os.environ.get("SCIML_KERNELS") == "reference"


def writable(like: Tensor) -> bool:
    """Whether what is computed from a tensor may be written into tensors made beforehand.

    Not where steps are recorded, traced, transformed by ``torch.func`` or batched by autograd.
    """
    return not (
        torch.is_grad_enabled()
        or torch.autograd.forward_ad._current_level >= 0
        or torch._C._are_functorch_transforms_active()
        or torch._C._functorch.is_legacy_batchedtensor(like)
        or plain()
    )


def of_one_precision(*tensors: Tensor) -> bool:
    """Whether all are float32 or all float64 and autocast leaves it at that."""
    first = tensors[0].dtype
    return (
        first in (torch.float32, torch.float64)
        and all(tensor.dtype == first for tensor in tensors)
        and not torch.is_autocast_enabled(tensors[0].device.type)
    )


def precision() -> str:
    """How Triton kernels multiply, by ``torch.set_float32_matmul_precision``: "highest" is its default."""
    return {"highest": "tf32x3", "high": "tf32", "medium": "bf16"}[torch.get_float32_matmul_precision()]


def product(a: Tensor, b: Tensor, *, out: Tensor | None = None) -> Tensor:
    """``a @ b`` for (m, k) and (k, n).

    Parameters
    ----------
    a, b : real, of one dtype and device
        Differentiable where gradients are recorded; the faster route is taken where they are not, as inside
        of an ``autograd.Function``.
    out : (m, n), optional
        Where the result goes; for use where `writable` holds.
    """
    if (
        _ONEDNN is not None
        and a.dtype == torch.float32
        and a.device.type == "cpu"
        and not torch.is_grad_enabled()
        and not plain()
        and not _on_intel()
        and a.shape[0] * a.shape[1] * b.shape[1] >= WORTH
        and _is_dense(a)
        and _is_dense(b)
    ):
        result: Tensor = _ONEDNN(a, b.T, None, "none", [], "")
        return result if out is None else out.copy_(result)
    return a @ b if out is None else torch.mm(a, b, out=out)


@cache
def _on_intel() -> bool:
    cpus = Path("/proc/cpuinfo")
    name = cpus.read_text() if cpus.exists() else platform.processor()
    return "GenuineIntel" in name


def _is_dense(matrix: Tensor) -> bool:
    """Whether it or its transpose is contiguous; for other strides oneDNN has only its slow reference."""
    return matrix.is_contiguous() or matrix.T.is_contiguous()
