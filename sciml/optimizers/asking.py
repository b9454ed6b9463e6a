"""What an optimizer asks of a closure besides calling it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from sciml.errors import ConfigError


def asked(optimizer: Optimizer, closure: object, name: str, what: str) -> Callable[[], Any]:
    """The method of that name, with gradients enabled.

    Raises
    ------
    ConfigError
        If there is none.
    """
    found = getattr(closure, name, None)
    if found is None:
        raise ConfigError(
            f"{type(optimizer).__name__}: the closure has no {name}(), {what}; that of sciml.Trainer has it."
        )
    method: Callable[[], Any] = torch.enable_grad()(found)
    return method
