"""MultiAdam: Adam with moments of their own for each group of terms of the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adam import adam

from sciml import processes
from sciml.errors import ConfigError, nearest
from sciml.objective import sum_of
from sciml.optimizers.asking import asked


class MultiAdam(Optimizer):
    r"""Adam for losses whose terms have different scales.

    With the gradient :math:`g_k` of each of n groups of terms

    .. math::

        m_k \leftarrow \beta_1 m_k + (1 - \beta_1) g_k, \quad
        v_k \leftarrow \beta_2 v_k + (1 - \beta_2) g_k^2, \quad
        \Delta\theta = -\frac{\text{lr}}{n} \sum_k \frac{\hat m_k}{\sqrt{\hat v_k} + \varepsilon},

    where hats divide by :math:`1 - \beta^t`.  So a factor before a group changes nothing, as long as its
    gradient is large beside :math:`\varepsilon`, and weights of terms matter within a group only.  One group
    is Adam.  A step costs one evaluation and a backward pass for each group, and holds the graphs of all
    parts of a batch.

    Parameters
    ----------
    params : iterable of parameters
        In one group.
    lr : float
        A group whose gradient is but noise still moves by ``lr / n``: let a schedule make it small.
    betas : (float, float)
        Decay of the means of gradients and of their squares.
    eps : float
        Smaller where losses end below 1e-12.
    groups : sequence of sequences of str
        Names of the terms that belong together; terms that are not named make one more group.  Each term is
        a group of its own by default.  The paper has two: ``(("equation",),)`` for a single equation.

    Raises
    ------
    ConfigError
        For settings out of range, names that the loss does not have, or a training that clips gradients.

    Notes
    -----
    The public code counts terms where this names them, and can take moments of the summed update once more,
    which the paper does not.

    Source: Yao et al., *MultiAdam: Parameter-wise Scale-invariant Optimizer for Multiscale Training of
    Physics-informed Neural Networks* (ICML 2023).

    Examples
    --------
    >>> x = torch.tensor([4.0, 4.0], requires_grad=True)
    >>> class Terms:
    ...     def means(self):
    ...         return {"small": 1e-3 * x[0] ** 2, "large": 1e3 * x[1] ** 2}
    >>> optimizer = MultiAdam([x], lr=0.1)
    >>> loss = optimizer.step(Terms())
    >>> [round(value, 4) for value in x.tolist()]  # Adam's steps, halved
    [3.95, 3.95]
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.99, 0.99),
        eps: float = 1e-8,
        groups: Sequence[Sequence[str]] = (),
    ) -> None:
        if not lr >= 0 or not all(0 <= beta < 1 for beta in betas) or not eps >= 0:
            raise ConfigError(
                f"MultiAdam: needs lr >= 0, 0 <= betas < 1 and eps >= 0, got {lr}, {betas} and {eps}."
            )
        names = [name for group in groups for name in group]
        if any(isinstance(group, str) or not group for group in groups) or len(set(names)) < len(names):
            raise ConfigError(
                "MultiAdam: groups are sequences of names of terms, each name in one of them, such as "
                f'(("equation",),); got {groups!r}.'
            )
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})
        if len(self.param_groups) != 1:
            raise ConfigError(f"MultiAdam: takes one group of parameters, got {len(self.param_groups)}.")
        self._groups = [list(group) for group in groups]

    def step(self, closure: Callable[[], float]) -> float:  # type: ignore[override]
        """One step.

        Parameters
        ----------
        closure : object
            Its ``means()`` returns the terms of the loss by name, scalars with their graph that add up to it.
            That of `sciml.Trainer` has it.

        Returns
        -------
        float
            The loss before the step.
        """
        means = asked(self, closure, "means", "the terms of the loss by name")()
        groups = self._divided(list(means))
        gradients = [self._gradient({name: means[name] for name in group}) for group in groups]
        with torch.no_grad():
            states = [self._state(p, len(groups)) for p in self.param_groups[0]["params"]]
            for k, gradient in enumerate(gradients):
                self._move(k, gradient, states)
            for state in states:
                state["step"] += 1
            return float(processes.add_up(sum_of(means)))

    def _divided(self, names: Sequence[str]) -> list[list[str]]:
        """The names of each group."""
        if not self._groups:
            return [[name] for name in names]
        named = [name for group in self._groups for name in group]
        for name in named:
            if name not in names:
                raise ConfigError(
                    f"MultiAdam: the loss has no term {name!r}; it has {', '.join(names)}."
                    f"{nearest(name, names)}"
                )
        rest = [name for name in names if name not in named]
        return [*self._groups, *([rest] if rest else [])]

    def _gradient(self, means: Mapping[str, Tensor]) -> list[Tensor]:
        """That of the sum, over all processes."""
        parts = torch.autograd.grad(
            sum_of(means), self.param_groups[0]["params"], retain_graph=True, materialize_grads=True
        )
        return [processes.add_up(part) for part in parts]

    def _move(self, k: int, gradient: Sequence[Tensor], states: Sequence[dict[str, Any]]) -> None:
        """The share of group k in the step: one of Adam, with its moments."""
        group = self.param_groups[0]
        adam(
            group["params"],
            list(gradient),
            [state["means"][k] for state in states],
            [state["squares"][k] for state in states],
            [],
            [torch.tensor(float(state["step"])) for state in states],
            has_complex=any(p.is_complex() for p in group["params"]),
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"] / len(states[0]["means"]),
            weight_decay=0.0,
            eps=group["eps"],
            maximize=False,
        )

    def _state(self, p: Tensor, count: int) -> dict[str, Any]:
        """The steps made, and both moments (groups, *shape) of one parameter."""
        state: dict[str, Any] = self.state[p]
        if not state:
            moments = torch.zeros((count, *p.shape), dtype=p.dtype, device=p.device)
            state.update(step=0, means=moments, squares=moments.clone())
        if len(state["means"]) != count:
            raise ConfigError(
                f"MultiAdam: the loss has {count} groups of terms and had {len(state['means'])} before; name "
                "them in groups."
            )
        return state
