"""SOAP, by the library that keeps it well."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from sciml.errors import ConfigError


def soap(
    params: Iterable[Tensor],
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.99, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    frequency: int = 2,
    largest: int = 10_000,
) -> Optimizer:
    r"""Adam in the eigenbases of Shampoo's preconditioner: a first-order method for large networks.

    For a weight matrix with gradient G it keeps means of :math:`G G^T` and :math:`G^T G`, turns G into their
    eigenvectors, :math:`Q_L^T G Q_R`, divides there as Adam does, and turns back.  Vectors are left to Adam.
    The first step gathers and moves nothing.

    Parameters
    ----------
    params : iterable of parameters
        Real.
    lr : float
        A warm-up over the first thousand steps or two is usual.
    betas : (float, float)
        Decay of the means of the gradient, and of its squares and the two matrices.
    eps : float
        Beside the root of the mean square; smaller where losses end below 1e-12.
    weight_decay : float
    frequency : int
        Steps between two updates of the eigenvectors.
    largest : int
        Axes that are longer are not turned.

    Raises
    ------
    ConfigError
        If a setting is out of range.
    ImportError
        Without the library pytorch_optimizer.

    Notes
    -----
    The defaults are those of Wang et al. for physics-informed networks; images and text take less inertia.

    Source: Vyas et al., *SOAP: Improving and Stabilizing Shampoo using Adam* (2024), algorithm 3; Wang et
    al., *Gradient Alignment in Physics-informed Neural Networks: A Second-Order Optimization Perspective*
    (2025).

    Examples
    --------
    >>> import torch
    >>> from functools import partial
    >>> from sciml import Trainer
    >>> trainer = Trainer(100, optimizer=partial(soap, lr=3e-3))
    """
    try:
        from pytorch_optimizer import SOAP
    except ImportError as error:
        raise ImportError('soap needs pytorch_optimizer: pip install "sciml-pde[opt]".') from error
    if frequency < 1 or largest < 1:
        raise ConfigError(f"soap: needs frequency >= 1 and largest >= 1, got {frequency} and {largest}.")
    try:
        found: Optimizer = SOAP(
            list(params),
            lr=lr,
            betas=betas,
            weight_decay=weight_decay,
            precondition_frequency=frequency,
            max_precondition_dim=largest,
            eps=eps,
        )
    except ValueError as error:
        raise ConfigError(f"soap: {error}.") from error
    found.register_step_post_hook(_order)
    return found


def _order(optimizer: Optimizer, *_: Any) -> None:
    """Store the bases by rows, as a checkpoint does: products with columns as rows round differently."""
    for state in optimizer.state.values():
        state["Q"] = [basis.contiguous() if isinstance(basis, Tensor) else basis for basis in state["Q"]]
