"""Limited-memory BFGS that says why it stopped."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from sciml.errors import ConfigError
from sciml.optimizers.quasi_newton import QuasiNewton


class LBFGS(QuasiNewton):
    """BFGS from the last ``history`` steps: for more parameters than a dense matrix allows.

    Unlike `torch.optim.LBFGS` it has no tolerances that end it long before the loss is at rounding, keeps its
    history when the points of the loss change, tells in ``stopped`` why a step ended, and resumes to the same
    bits.

    Parameters
    ----------
    params : iterable of parameters
        Real; float64 if it shall be precise.
    history : int
        Pairs of steps and changes of the gradient that are kept.
    iterations, decrease, curvature, tolerance
        See `sciml.optimizers.quasi_newton.QuasiNewton`.

    Source: Nocedal and Wright, *Numerical Optimization* (2006), algorithms 7.4 and 7.5.

    Examples
    --------
    >>> x = torch.full((10,), 3.0, dtype=torch.float64, requires_grad=True)
    >>> optimizer = LBFGS([x], iterations=50)
    >>> def loss():
    ...     optimizer.zero_grad()
    ...     value = (torch.arange(1, 11) * x**2).sum()
    ...     value.backward()
    ...     return value.item()
    >>> optimizer.step(loss)
    495.0
    >>> bool(x.abs().max() < 1e-10)
    True
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        history: int = 100,
        iterations: int = 20,
        decrease: float = 1e-4,
        curvature: float = 0.9,
        tolerance: float = 0.0,
    ) -> None:
        if history < 1:
            raise ConfigError(f"LBFGS: needs history >= 1, got {history}.")
        super().__init__(
            params,
            iterations=iterations,
            decrease=decrease,
            curvature=curvature,
            tolerance=tolerance,
            history=history,
        )

    def _forget(self) -> None:
        self._memory.clear()

    def _learn(self, s: Tensor, y: Tensor, step: float, gradient: Tensor) -> Tensor:
        memory, most = self._memory, self.param_groups[0]["history"]
        if float(y @ s) > torch.finfo(s.dtype).eps * float(s.norm() * y.norm()):
            for name, row in (("steps", s), ("changes", y)):
                kept = memory.get(name)
                memory[name] = (
                    row[None] if kept is None else torch.cat([kept[-(most - 1) or most :], row[None]])
                )
            memory["learned"] = memory.get("learned", 0) + 1
        return self._direction(gradient)

    def _direction(self, gradient: Tensor) -> Tensor:
        memory = self._memory
        if "steps" not in memory:
            return -gradient
        steps: Tensor = memory["steps"]
        changes: Tensor = memory["changes"]
        turns = (steps * changes).sum(1)
        direction: Tensor = -gradient
        shares = []
        for s, y, turn in zip(reversed(steps), reversed(changes), reversed(turns), strict=True):
            shares.append((s @ direction) / turn)
            direction = direction - shares[-1] * y
        direction = direction * (turns[-1] / (changes[-1] @ changes[-1]))
        for s, y, turn, share in zip(steps, changes, turns, reversed(shares), strict=True):
            direction = direction + (share - (y @ direction) / turn) * s
        return direction
