"""The whole gradient of a function, by one pass backward."""

from __future__ import annotations

import torch
from torch import Tensor

from sciml.pinns.conditions import Function


def value_and_gradient(u: Function, x: Tensor) -> tuple[Tensor, Tensor]:
    """u (n,) and its gradient (n, dim) at points (n, dim), with graphs while gradients are recorded.

    In many dimensions this is what energies and drivers need: one pass, where jets need one direction for
    each coordinate.

    Parameters
    ----------
    u : (n, dim) -> (n,)
        Each value must depend on its own point only.
    x : (n, dim)

    Examples
    --------
    >>> with torch.no_grad():
    ...     value_and_gradient(lambda x: x[:, 0] * x[:, 1], torch.tensor([[2.0, 3.0]]))
    (tensor([6.]), tensor([[3., 2.]]))
    """
    recorded = torch.is_grad_enabled()
    with torch.enable_grad():
        x = x if x.requires_grad and recorded else x.detach().requires_grad_()
        value = u(x)
        if not value.requires_grad:  # a constant
            return value, torch.zeros_like(x)
        (gradient,) = torch.autograd.grad(value.sum(), x, create_graph=recorded, materialize_grads=True)
    return (value, gradient) if recorded else (value.detach(), gradient)
