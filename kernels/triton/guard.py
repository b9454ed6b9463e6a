"""Where the kernels may run, and what keeps their operators from being wrong. Imports no Triton."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

# TF32 and bfloat16 products, and copies that wait for nobody, came with compute capability 8.0.
OLDEST_CAPABILITY = (8, 0)

_FOUND = find_spec("triton") is not None


def available() -> bool:
    """Whether Triton is installed."""
    return _FOUND


def wanted(device: torch.device) -> bool:
    """Whether kernels run on a device, and nobody asked for the plain path."""
    return _FOUND and os.environ.get("SCIML_KERNELS") != "reference" and _fits(device)


def _fits(device: torch.device) -> bool:
    if device.type == "cpu":
        return os.environ.get("TRITON_INTERPRET") == "1"
    if device.type != "cuda" or torch.version.cuda is None:
        return False
    properties: Any = torch.cuda.get_device_properties(device)
    return (properties.major, properties.minor) >= OLDEST_CAPABILITY


@contextmanager
def on_device_of(x: Tensor) -> Iterator[None]:
    """Kernels start on the current device; products of matrices in the dtype of their factors."""
    with torch.cuda.device_of(x), torch.autocast(x.device.type, enabled=False):
        yield


def refuse_forward_mode(operator: str, instead: str) -> None:
    """Raise in forward mode: torch asks operators for no rule, and the tangent would silently be zero."""
    if forward_ad._current_level >= 0:
        raise NotImplementedError(
            f"{operator} has no forward-mode derivative. Call {instead}, which takes the plain path for it."
        )
