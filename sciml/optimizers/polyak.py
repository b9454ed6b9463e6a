"""Gradient steps of Polyak's length, for losses whose least value is zero at every batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from sciml.errors import ConfigError


class Polyak(Optimizer):
    r"""Steps along the gradient g that would make the loss f zero, were it the square of a linear function.

    .. math:: \Delta\theta = -\text{lr} \cdot \frac{2 f}{|g|^2}\, g

    A factor before the loss changes nothing, and there is no rate to be found: of one residual
    :math:`f = r^2` the whole step is that of Kaczmarz.  Where weights enter the residuals linearly and some
    weights make all of them zero, no step with ``lr`` up to 2 leads away from those, whatever the batch.  The
    noise of a step falls with the loss, so that millions of weights are found by looking at every point once,
    where steps of Adam, whose size stays, would drown them.

    Parameters
    ----------
    params : iterable of parameters
    lr : float
        Share of the whole step.  What the network cannot express is noise: let a schedule make it small.

    Raises
    ------
    ConfigError
        If lr is negative, or the training clips gradients.

    Notes
    -----
    Source: Polyak, *Introduction to Optimization* (1987), section 5.3; Loizou et al., *Stochastic Polyak
    Step-size for SGD* (AISTATS 2021), whose c is 1/2 here.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([3.0, 4.0], requires_grad=True)
    >>> optimizer = Polyak([x])
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (x.sum() - 3) ** 2
    ...     loss.backward()
    ...     return loss.item()
    >>> loss = optimizer.step(closure)
    >>> [round(value, 4) for value in x.tolist()]
    [1.0, 2.0]
    """

    def __init__(self, params: Iterable[Tensor], *, lr: float = 1.0) -> None:
        if not lr >= 0:
            raise ConfigError(f"Polyak: needs lr >= 0, got {lr}.")
        super().__init__(params, {"lr": lr})

    def step(self, closure: Callable[[], float]) -> float:  # type: ignore[override]
        """One step.

        Parameters
        ----------
        closure : function
            Returns the loss and leaves its gradient in the parameters.

        Returns
        -------
        float
            The loss before the step.
        """
        with torch.enable_grad():
            loss = float(closure())
        gradients = [
            (p, p.grad, group["lr"])
            for group in self.param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        square = math.fsum(float(torch.linalg.vector_norm(g)) ** 2 for _, g, _ in gradients)
        if loss > 0 and 0 < square < math.inf:
            with torch.no_grad():
                for p, g, lr in gradients:
                    p.sub_(g, alpha=lr * 2 * loss / square)
        return loss

    def clip_gradient_norm(self, limit: float) -> None:
        """What the trainer asks for where it clips: refused, since a short gradient means a long step."""
        raise ConfigError(f"Polyak: the gradient decides how long a step is; leave out clip={limit}.")
