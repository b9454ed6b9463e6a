"""Heat in all of space, in any number of dimensions."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from sciml.description import describable
from sciml.pinns.conditions import Function, Initial
from sciml.pinns.diffusions import Diffusion
from sciml.pinns.domain import Domain
from sciml.pinns.gaussian import Gaussian
from sciml.pinns.problem import Ansatz, Estimate, Problem
from sciml.pinns.problems.parabolic import check_numbers, evolution, white

_END = 0.5


@describable
@dataclass(frozen=True)
class HeatInSpace(Problem):
    r"""``u_t = Laplace(u)`` in all of space, from a sum of plane waves, to t = 1/2.

    Exactly ``u = sqrt(2/m) sum_k exp(-|w_k|^2 t) cos(w_k . x + p_k)`` over m waves, with random directions
    and phases, and lengths of w_k from 1 to 2.  Points are normal with variance 1.

    Parameters
    ----------
    dim : int
        10 by default.
    waves : int
        m, 10 by default.
    seed : int
        Of the waves.

    Raises
    ------
    ConfigError
        If ``dim`` or ``waves`` is below 1.

    Notes
    -----
    Closed forms that are radial or sums over all coordinates (``|x|^2 + 2 d t``, a bell, a sum of sines)
    become constant on most points as the dimension grows, and products of d factors vanish.  Here ``w_k . x``
    has the same law in every dimension, and so has u: values of order 1 that no constant and no linear
    function comes near to, along few directions that a network has to find.

    Examples
    --------
    >>> problem = HeatInSpace(dim=1000)
    >>> x = problem.domain.interior(torch.rand, 500)
    >>> bool(0.2 < problem.exact(x).std() < 0.8)
    True
    """

    dim: int = 10
    waves: int = 10
    seed: int = 0

    equation: ClassVar[str] = r"u_t = \Delta u"
    source: ClassVar[str] = "sciml: plane waves that do not flatten"

    def __post_init__(self) -> None:
        check_numbers(type(self).__name__, self.dim, waves=self.waves)

    @property
    def domain(self) -> Domain:
        return Domain(Gaussian(self.dim), time=(0.0, _END))

    @property
    def conditions(self) -> tuple[Initial]:
        return (Initial(self._start),)

    @property
    def ansatz(self) -> Ansatz:
        return Ansatz(("initial",), lift=self._start, factor=lambda x: x[:, -1] * (1 / _END))

    @property
    def diffusion(self) -> Diffusion:
        return Diffusion(self._start, white)

    def residual(self, u: Function, x: Tensor, estimate: Estimate) -> Tensor:
        _, rate, laplacian = evolution(u, x, estimate)
        return rate - laplacian

    def exact(self, x: Tensor) -> Tensor:
        vectors, phases = _waves(self.dim, self.waves, self.seed, x.dtype, x.device)
        decay = torch.exp(-x[:, -1:] * vectors.square().sum(1))
        amplitude = math.sqrt(2 / self.waves)
        found: Tensor = amplitude * (decay * torch.cos(x[:, :-1] @ vectors.T + phases)).sum(1)
        return found

    def _start(self, x: Tensor) -> Tensor:
        vectors, phases = _waves(self.dim, self.waves, self.seed, x.dtype, x.device)
        found: Tensor = math.sqrt(2 / self.waves) * torch.cos(x[:, :-1] @ vectors.T + phases).sum(1)
        return found


@functools.lru_cache(maxsize=4)
def _waves(
    dim: int, count: int, seed: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Vectors (count, dim) and phases (count,)."""
    generator = Generator().manual_seed(seed)
    vectors = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    lengths = torch.linspace(1, 2, count, dtype=torch.float64)
    vectors *= lengths[:, None] / vectors.norm(dim=1, keepdim=True)
    phases = 2 * math.pi * torch.rand(count, generator=generator, dtype=torch.float64)
    return vectors.to(device, dtype), phases.to(device, dtype)
