"""Fokker and Planck's equation of a process that returns to the mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sciml.description import describable
from sciml.kernels.evaluation import evaluate
from sciml.kernels.jet import jet
from sciml.pinns.conditions import Function, Initial
from sciml.pinns.diffusions import Diffusion
from sciml.pinns.domain import Domain
from sciml.pinns.gaussian import Gaussian
from sciml.pinns.problem import Ansatz, Estimate, Problem
from sciml.pinns.problems.parabolic import check_numbers, space_laplacian, steepened, white

_NARROW, _WIDE = 0.5, 2.0


@describable
@dataclass(frozen=True)
class FokkerPlanck(Problem):
    r"""``u_t = Laplace(u) - x . grad u + d |grad u|^2`` in all of space, to t = end.

    p, the density of ``dX = -X dt + sqrt(2) dW``, solves ``p_t = Laplace(p) + div(x p)`` and tends to a
    normal one, q.  In d dimensions both are of the size exp(-d), so u is ``log(p / q) / d``: of order 1 in
    every dimension.  X starts normal, with variances v_i from 1/2 to 2, in geometric progression; then

        u = sum_i (x_i^2 (1 - 1/v_i(t)) - log v_i(t)) / (2 d),   v_i(t) = 1 + (v_i - 1) exp(-2 t).

    Points are normal with variance 1, as q.

    Parameters
    ----------
    dim : int
        10 by default.
    end : float, positive
        1 by default.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Notes
    -----
    The squared gradient and the Laplacian are one Laplacian of ``exp(d u)``, p / q itself, taken relative to
    its value at each point, so that nothing over- or underflows.  The lift is the start times ``exp(-2 t)``,
    the rate at which small differences of variances die away.  Sources: Uhlenbeck and Ornstein, Phys. Rev. 36
    (1930) 823, for the process; Hu, Zhang, Karniadakis and Kawaguchi, arXiv:2402.07465, for the logarithm.

    Examples
    --------
    >>> problem = FokkerPlanck(dim=1000)
    >>> x = problem.domain.interior(torch.rand, 100)
    >>> bool(problem.exact(x).abs().max() < 1)
    True
    """

    dim: int = 10
    end: float = 1.0

    equation: ClassVar[str] = r"u_t = \Delta u - x \cdot \nabla u + d |\nabla u|^2"
    source: ClassVar[str] = "Uhlenbeck, Ornstein (1930), logarithm relative to equilibrium"

    def __post_init__(self) -> None:
        check_numbers(type(self).__name__, self.dim, end=self.end)

    @property
    def domain(self) -> Domain:
        return Domain(Gaussian(self.dim), time=(0.0, self.end))

    @property
    def conditions(self) -> tuple[Initial]:
        return (Initial(self._start),)

    @property
    def ansatz(self) -> Ansatz:
        return Ansatz(("initial",), lift=self.lift, factor=lambda x: x[:, -1] * (1 / self.end))

    @property
    def diffusion(self) -> Diffusion:
        return Diffusion(
            self._start,
            white,
            drift=lambda x: -x[:, :-1],
            driver=lambda x, u, z: self.dim / 2 * torch.einsum("nk,nk->n", z, z),
            transition=_transition,
        )

    def residual(self, u: Function, x: Tensor, estimate: Estimate) -> Tensor:
        along = torch.cat([x[:, :-1], torch.ones_like(x[:, -1:])], dim=1)
        _, transport = jet(u, x, along, 1)
        ratio, laplacian = evaluate(steepened(u, x, self.dim), x, [space_laplacian(x)], **estimate)
        return transport - laplacian / (self.dim * ratio)

    def exact(self, x: Tensor) -> Tensor:
        return self._logarithm(x, torch.exp(-2 * x[:, -1:]))

    def lift(self, x: Tensor) -> Tensor:
        return torch.exp(-2 * x[:, -1]) * self._start(x)

    def _start(self, x: Tensor) -> Tensor:
        return self._logarithm(x, 1.0)

    def _logarithm(self, x: Tensor, left: Tensor | float) -> Tensor:
        """u where variances differ from 1 by so much (n, 1) of what they did."""
        places = torch.linspace(0, 1, self.dim, dtype=x.dtype, device=x.device)
        variances = 1 + left * (_NARROW * (_WIDE / _NARROW) ** places - 1)
        space = x[:, :-1]
        squares = torch.einsum("nd,nd->n", space * (1 - 1 / variances), space)
        return (squares - torch.log(variances).sum(-1)) * (0.5 / self.dim)


def _transition(x: Tensor, duration: Tensor, w: Tensor) -> Tensor:
    """Normal, of mean ``x exp(-t)`` and variance ``1 - exp(-2 t)``."""
    scale = torch.sqrt(-torch.expm1(-2 * duration) / duration.clamp_min(torch.finfo(duration.dtype).tiny))
    return x[:, :-1] * torch.exp(-duration)[:, None] + scale[:, None] * w
