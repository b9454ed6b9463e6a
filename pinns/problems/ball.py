"""Elliptic equations in the unit ball, in any number of dimensions, with solutions that are zero outside."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from sciml.description import describable
from sciml.errors import ConfigError, nearest
from sciml.kernels.evaluation import evaluate
from sciml.kernels.forms import LineForm
from sciml.kernels.radial_product import RadialProduct, squared_length
from sciml.pinns.conditions import Dirichlet, Function
from sciml.pinns.domain import Domain
from sciml.pinns.problem import Ansatz, Estimate, Problem
from sciml.pinns.problems.interactions import INTERACTIONS, Interaction
from sciml.pinns.radial import RadialBall
from sciml.pinns.sources import Random
from sciml.streams import Streams

_POINTS = 20_000  # on which errors are measured, as published
_HELD = 2**22  # numbers of points that are in memory at a time: 32 MB in float64


@describable
class InsideBall(RadialProduct):
    """``u(x) = (1 - |x|^2) N(x)`` with one number per point, (n,).

    Parameters
    ----------
    network : module, (n, dim) -> (n,) or (n, 1)
        N.  If it is a `torch.nn.Sequential` that begins with a linear layer, derivatives start behind that.
    """

    satisfies = ("boundary",)

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)

    def forward(self, x: Tensor) -> Tensor:
        value = super().forward(x)
        return value[:, 0] if value.ndim == 2 else value


_FACTOR = RadialProduct(nn.Identity())


@dataclass(frozen=True)
class BallProblem(Problem):
    """``Laplace(u) + r(u) = g`` in the unit ball, u = 0 on its sphere, with ``u = (1 - |x|^2) S(x)``.

    A subclass gives r.  The right side g is that of the solution.
    """

    dim: int = 100
    interaction: Literal["two-body", "three-body", "hidden"] = "two-body"
    seed: int = 0

    conditions: ClassVar[tuple[Dirichlet, ...]] = (Dirichlet(0.0),)

    def __post_init__(self) -> None:
        if self.interaction not in INTERACTIONS:
            raise ConfigError(
                f"{type(self).__name__}: the interaction is one of {', '.join(INTERACTIONS)}, got "
                f"{self.interaction!r}.{nearest(self.interaction, INTERACTIONS)}"
            )
        _ = self.inner  # which refuses a dimension that is too small

    @staticmethod
    @abstractmethod
    def reaction(u: Tensor) -> Tensor:
        """r, elementwise."""

    @property
    def inner(self) -> Interaction:
        """S."""
        return INTERACTIONS[self.interaction](self.dim, self.seed)

    @property
    def domain(self) -> Domain:
        return Domain(RadialBall(self.dim))

    @property
    def ansatz(self) -> Ansatz:
        return Ansatz(("boundary",), factor=_inside)

    @property
    def flattens(self) -> bool:
        return self.inner.flattens

    @property
    def directions(self) -> int | None:
        return self.inner.directions

    def build(
        self, network: Callable[[int, int], nn.Module], *, hard: bool = True, harmonics: int = 1
    ) -> nn.Module:
        """See `Problem.build`; hard, it is `InsideBall`, whose Laplacian is that of the network alone."""
        if not hard:
            return super().build(network, hard=False, harmonics=harmonics)
        return InsideBall(network(self.dim, 1))

    def residual(self, u: Function, x: Tensor, estimate: Estimate) -> Tensor:
        value, laplacian = evaluate(u, x, [LineForm(2)], **estimate)
        return laplacian + self.reaction(value) - self.right_side(x)

    def right_side(self, x: Tensor) -> Tensor:
        """g at points (n, dim), (n,), without anything of the size of the points in between."""
        inner, outward, laplacian = self.inner.derivatives(x)
        value, whole = _FACTOR.combine(x, inner, outward, [laplacian])
        return whole + self.reaction(value)

    def exact(self, x: Tensor) -> Tensor:
        return _inside(x) * self.inner.values(x)

    def nearest_linear(self) -> tuple[Tensor, Tensor]:
        bias, weight = self.inner.nearest_linear()
        return torch.tensor([bias], dtype=torch.float64), weight[None]

    # What errors are measured on: made again from the seed whenever it is asked for.

    def points(self) -> tuple[Tensor, None]:
        """The first points of `pieces`, as many as fit."""
        return self._piece(0), None

    def pieces(self, points: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        left = _POINTS if points is None else min(points, _POINTS)
        # One tensor from the start: small ones between the pieces would keep memory from being used again.
        parts = _values(self.inner).split(_rows(self.dim))
        for k, values in enumerate(parts):
            x = self._piece(k)
            if values.isnan().any():
                values[:, 0] = self.exact(x)
            yield x[:left], values[:left]
            if (left := left - len(x)) <= 0:
                return

    def _piece(self, number: int) -> Tensor:
        """Rounded to float32, so that networks of either precision are asked at the very points."""
        rows = _rows(self.dim)
        source = Random(Streams(0).of("reference").generator(number), torch.float32)
        return self.domain.interior(source, min(rows, _POINTS - number * rows)).double()


def _inside(x: Tensor) -> Tensor:
    return 1 - (squared_length(x) if isinstance(x, Tensor) else (x * x).sum(1))


def _rows(dim: int) -> int:
    return min(_POINTS, max(1, _HELD // dim))


@lru_cache(maxsize=16)
def _values(interaction: Interaction) -> Tensor:
    """Of the solution at all points; where they are not known yet, not a number."""
    return torch.full((_POINTS, 1), torch.nan, dtype=torch.float64)
