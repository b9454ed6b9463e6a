"""Two fluids that a vortex winds into a spiral."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sciml.description import describable
from sciml.kernels.derivatives import d
from sciml.kernels.evaluation import evaluate
from sciml.pinns.conditions import Dirichlet, Function, Initial
from sciml.pinns.domain import Box, Domain
from sciml.pinns.problem import Ansatz, Problem

_DERIVATIVES = [d(name, variables="xyt") for name in "txy"]
_FASTEST = 0.385


@describable
@dataclass(frozen=True)
class FlowMixing(Problem):
    r"""``u_t - w y u_x + w x u_y = 0`` on (-4, 4)^2 to t = 4, with w = tanh(r) / (0.385 r cosh(r)^2).

    Exactly u = -tanh((y cos(w t) - x sin(w t)) / 2), also at the start and on the boundary.

    Notes
    -----
    Source: Tamamidis and Assanis, Int. J. Numer. Methods Fluids 16 (1993) 931, as used by Kang et al.,
    physics-informed Gaussians, ICLR 2025.

    Examples
    --------
    >>> problem = FlowMixing()
    >>> problem.relative_l2(problem.exact)
    0.0
    """

    equation: ClassVar[str] = r"u_t + a u_x + b u_y = 0, (a, b) = \omega(r) (-y, x)"
    source: ClassVar[str] = "Kang et al. (2025)"
    grid: ClassVar[tuple[int, ...]] = (65, 65, 21)
    domain: ClassVar[Domain] = Domain(Box(((-4.0, 4.0), (-4.0, 4.0))), time=(0.0, 4.0))
    ansatz: ClassVar[Ansatz] = Ansatz(
        ("initial",), lift=lambda x: -torch.tanh(x[:, 1] / 2), factor=lambda x: x[:, 2]
    )

    @property
    def conditions(self) -> tuple[Dirichlet, Initial]:
        return Dirichlet(self.exact), Initial(self.exact)

    def residual(self, u: Function, x: Tensor) -> Tensor:
        _, u_t, u_x, u_y = evaluate(u, x, _DERIVATIVES)
        return u_t + _turn(x) * (x[:, 0] * u_y - x[:, 1] * u_x)

    def exact(self, x: Tensor) -> Tensor:
        angle = _turn(x) * x[:, 2]
        return -torch.tanh((x[:, 1] * torch.cos(angle) - x[:, 0] * torch.sin(angle)) / 2)


def _turn(x: Tensor) -> Tensor:
    """w.  What is added to r^2 keeps 0/0 out of the center, where tanh(r)/r is 1, and is below rounding."""
    r = torch.sqrt(x[:, 0] * x[:, 0] + x[:, 1] * x[:, 1] + 1e-20)
    return torch.tanh(r) / (_FASTEST * r * torch.cosh(r) ** 2)
