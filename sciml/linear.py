"""A surrogate that is linear, as an operator of SciPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from sciml.calling import evaluating
from sciml.errors import ConfigError

if TYPE_CHECKING:
    from sciml.surrogate import Surrogate


def linear_operator(surrogate: Surrogate, shape: Sequence[int] | None = None) -> Any:
    """See `Surrogate.linear_operator`."""
    if not getattr(getattr(surrogate.model, "properties", None), "linear", False):
        raise ConfigError(
            f"Surrogate.linear_operator: {type(surrogate.model).__name__} does not declare itself linear, "
            "and a solver would trust it blindly. Use the prediction as a starting value instead."
        )
    from scipy.sparse.linalg import LinearOperator

    space = tuple(shape or surrogate.grid.shape)
    into, out = (
        (1, n.channels, *space) for n in (surrogate.input_normalization, surrogate.output_normalization)
    )
    zero = torch.zeros(into, dtype=torch.float64, device=surrogate.device)
    offset = surrogate.predict(zero)

    def forward(x: Any) -> Any:
        x = torch.as_tensor(x, dtype=torch.float64, device=surrogate.device).reshape(into)
        return (surrogate.predict(x) - offset).cpu().numpy().ravel()

    def adjoint(y: Any) -> Any:
        with evaluating(surrogate.model):
            x = zero.clone().requires_grad_()
            cotangent = torch.as_tensor(y, dtype=torch.float64, device=surrogate.device).reshape(out)
            return torch.autograd.grad(surrogate.physical(x), x, cotangent)[0].cpu().numpy().ravel()

    sizes = offset.numel(), zero.numel()
    return LinearOperator(sizes, matvec=forward, rmatvec=adjoint, dtype="float64")
