"""Muon: steps of weight matrices whose singular values are all about one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw

from sciml.errors import ConfigError

_QUINTIC = (
    3.4445,
    -4.7750,
    2.0315,
)  # of the odd polynomial: published, steep at 0, about 1 between 0.3 and 1
_TIMES = 5  # it is applied: 3.4445^5 = 485, the factor by which small singular values grow
_HALVES = (torch.float16, torch.bfloat16)


class Muon(Optimizer):
    r"""Momentum made orthogonal for weight matrices, Adam for all other parameters.

    For a matrix W (out, in) with gradient G

    .. math::

        M \leftarrow \mu M + G, \quad
        W \leftarrow (1 - \text{lr} \cdot \text{decay}) W
        - \text{lr} \sqrt{\max(1, \text{out} / \text{in})}\; \mathrm{orth}(G + \mu M),

    where :math:`\mathrm{orth}(U S V^T) \approx U V^T`: the steepest descent for a bound on the spectral norm
    of the step, so that all directions of the features of a layer move alike, also those whose gradients are
    small.  It comes from five Newton-Schulz iterations, products of matrices alone, that leave singular
    values between 0.68 and 1.21 if they were above 0.0015 of the Frobenius norm.  Matrices of one shape,
    and its transpose, are turned together.

    Parameters
    ----------
    params : iterable of parameters
        Real.
    lr : float
        Of matrices, a hundred times that of Adam or so: the relative change of a layer in a step.
    momentum : float
        μ.
    weight_decay : float
        As of AdamW, of all parameters.
    ratio : float
        The rate of Adam over ``lr``, so that one schedule serves both.
    betas : (float, float)
        Of Adam.
    smallest : int
        Matrices with a shorter axis, such as those of a last layer, are left to Adam.
    kernels : bool
        Whether parameters of more axes are kernels (out, in, \*taps) of convolutions, that is matrices with
        as many rows as outputs; otherwise they are left to Adam, as weights of Fourier modes should be.

    Raises
    ------
    ConfigError
        If a setting is out of range or a parameter complex.

    Notes
    -----
    What differs from the author's code: singular values are found in the precision of the parameter, at least
    float32, which CPUs are fast at; the momentum is that of the paper's algorithm, without a factor
    :math:`1 - \mu`, on which the step does not depend.

    Source: Jordan et al., *Muon: An optimizer for hidden layers in neural networks* (2024); Bernstein and
    Newhouse, *Old Optimizer, New Norm* (2024, arXiv:2409.20325), appendix A.

    Examples
    --------
    >>> from functools import partial
    >>> from sciml import Trainer
    >>> trainer = Trainer(100, optimizer=partial(Muon, lr=0.02))
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        ratio: float = 0.15,
        betas: tuple[float, float] = (0.9, 0.999),
        smallest: int = 4,
        kernels: bool = False,
    ) -> None:
        if not (lr >= 0 and weight_decay >= 0 and ratio >= 0 and smallest >= 1):
            raise ConfigError(
                f"Muon: needs lr, weight_decay and ratio >= 0 and smallest >= 1, got {lr}, {weight_decay}, "
                f"{ratio} and {smallest}."
            )
        if not all(0 <= value < 1 for value in (momentum, *betas)):
            raise ConfigError(f"Muon: needs 0 <= momentum and betas < 1, got {momentum} and {betas}.")
        settings = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "ratio": ratio,
            "adam_betas": tuple(betas),
            "smallest": smallest,
            "kernels": kernels,
        }
        super().__init__(params, settings)
        if any(p.is_complex() for group in self.param_groups for p in group["params"]):
            raise ConfigError("Muon: takes real parameters; keep real and imaginary parts.")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; the loss before it if there is a closure."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            matrices = [p for p in moved if _is_matrix(p, group)]
            known = {id(p) for p in matrices}
            self._turn(matrices, group)
            self._adam([p for p in moved if id(p) not in known], group)
        return loss

    def _turn(self, matrices: Sequence[Tensor], group: dict[str, Any]) -> None:
        """The step of the matrices, those that are alike together."""
        alike: dict[Any, list[Tensor]] = {}
        for p in matrices:
            rows, columns = _matrix(p).shape
            alike.setdefault((min(rows, columns), max(rows, columns), p.dtype, p.device), []).append(p)
        for same in alike.values():
            steps = orthogonal(torch.stack([_flat(self._pushed(p, group["momentum"])) for p in same]))
            for p, step in zip(same, steps.unbind(), strict=True):
                rows, columns = _matrix(p).shape
                p.mul_(1 - group["lr"] * group["weight_decay"])
                size = group["lr"] * max(1.0, rows / columns) ** 0.5
                p.sub_((step if rows <= columns else step.mT).reshape(p.shape), alpha=size)

    def _pushed(self, p: Tensor, momentum: float) -> Tensor:
        """The gradient with its momentum, which is updated."""
        assert p.grad is not None
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        mean: Tensor = state["momentum"].mul_(momentum).add_(p.grad)
        return p.grad.add(mean, alpha=momentum)

    def _adam(self, others: Sequence[Tensor], group: dict[str, Any]) -> None:
        for p in others:
            if not self.state[p]:
                zero = torch.zeros((), dtype=torch.float32, device=p.device)
                self.state[p].update(step=zero, mean=torch.zeros_like(p), square=torch.zeros_like(p))
        states = [self.state[p] for p in others]
        adamw(
            list(others),
            [p.grad for p in others if p.grad is not None],
            [state["mean"] for state in states],
            [state["square"] for state in states],
            [],
            [state["step"] for state in states],
            amsgrad=False,
            beta1=group["adam_betas"][0],
            beta2=group["adam_betas"][1],
            lr=group["lr"] * group["ratio"],
            weight_decay=group["weight_decay"] / group["ratio"] if group["ratio"] else 0.0,
            eps=1e-8,
            maximize=False,
        )


def orthogonal(x: Tensor) -> Tensor:
    """About U V^T of each matrix U S V^T in (batch, rows, columns), rows at most columns.

    Examples
    --------
    >>> orthogonal(torch.eye(4)[None] * 3)[0].diagonal().sub(1).abs().max().item() < 0.35
    True
    """
    a, b, c = _QUINTIC
    x = x.float() if x.dtype in _HALVES else x
    size: Tensor = torch.linalg.matrix_norm(x, keepdim=True)
    x = x / size.clamp(min=torch.finfo(x.dtype).tiny)
    for _ in range(_TIMES):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x


def _is_matrix(p: Tensor, group: dict[str, Any]) -> bool:
    wanted = p.ndim >= 2 if group["kernels"] else p.ndim == 2
    return wanted and min(_matrix(p).shape) >= group["smallest"]


def _matrix(x: Tensor) -> Tensor:
    """(out, everything else)."""
    return x.flatten(1)


def _flat(x: Tensor) -> Tensor:
    x = _matrix(x)
    return x if x.shape[0] <= x.shape[1] else x.mT
