"""Heat that is made or lost where it is: semilinear parabolic equations in any number of dimensions."""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from sciml.description import describable
from sciml.pinns.conditions import Function, Initial
from sciml.pinns.diffusions import Diffusion
from sciml.pinns.domain import Domain
from sciml.pinns.problem import Ansatz, Classical, Estimate, Problem, Solution
from sciml.pinns.problems.parabolic import along_paths, check_numbers, evolution, squared_length, white
from sciml.pinns.problems.radial import TOP, WIDTH, radial

if TYPE_CHECKING:
    from sciml.pinns.monte_carlo.expected import Expected

_INSTANT = 1e-12  # of time, for a smoothing that has no width at the start


@dataclass(frozen=True)
class _Semilinear(Problem):
    """``u_t = Laplace(u) + f(u)`` in all of space, looked at along paths from the origin at t = end."""

    dim: int = 10
    end: float = 0.3

    def __post_init__(self) -> None:
        check_numbers(type(self).__name__, self.dim, end=self.end)

    @abstractmethod
    def reaction(self, u: Tensor) -> Tensor:
        """f, (n,)."""

    @abstractmethod
    def start(self, x: Tensor) -> Tensor:
        """u at t = 0, (n,) from points (n, dim + 1)."""

    @abstractmethod
    def lift(self, x: Tensor) -> Tensor:
        """What is smooth as soon as t > 0, and the start at t = 0: (n,)."""

    @property
    def domain(self) -> Domain:
        return along_paths(self.dim, self.end)

    @property
    def conditions(self) -> tuple[Initial]:
        return (Initial(self.start),)

    @property
    def ansatz(self) -> Ansatz:
        return Ansatz(("initial",), lift=self.lift, factor=lambda x: x[:, -1] * (1 / self.end))

    @property
    def diffusion(self) -> Diffusion:
        return Diffusion(self.start, white, driver=lambda x, u, z: self.reaction(u))

    def expected(self, x: Tensor, *, accuracy: float, seed: int = 0) -> Expected:
        from sciml.pinns.monte_carlo import multilevel_picard

        return multilevel_picard(self.diffusion, x, accuracy=accuracy, seed=seed)

    def residual(self, u: Function, x: Tensor, estimate: Estimate) -> Tensor:
        value, rate, laplacian = evolution(u, x, estimate)
        return rate - laplacian - self.reaction(value)


@dataclass(frozen=True)
class _FromBell(_Semilinear):
    """From ``1 / (2 + 0.4 |x|^2)``: a function of ``|x|`` and t, found with one coordinate of space.

    The start has a peak of width ``sqrt(5)`` at the origin, which is gone as soon as t > 1/d; the lift is the
    start at ``|x|^2 + 2 d t``, the mean of ``|X|^2`` over the paths.
    """

    def start(self, x: Tensor) -> Tensor:
        return TOP * WIDTH / (WIDTH + squared_length(x))

    def lift(self, x: Tensor) -> Tensor:
        return TOP * WIDTH / (WIDTH + squared_length(x) + 2 * self.dim * x[:, -1])

    def solve(self) -> Solution:
        x, shape = self.points()
        values, coarse = (self._radial(x, points) for points in (48, 32))
        error = float((values - coarse).norm() / values.norm())
        return Solution(x, values, error, "one coordinate of space, Chebyshev polynomials, refined", shape)

    def classical(self) -> Iterator[Classical]:
        for points in (4, 8, 16):
            solve = partial(self._radial, self.points()[0], points)
            yield Classical("Chebyshev polynomials of the radius", {"points": points}, solve)

    def _radial(self, x: Tensor, points: int) -> Tensor:
        found = radial(
            lambda u: self.reaction(torch.from_numpy(u)).numpy(),
            self.dim,
            squared_length(x).numpy(),
            x[:, -1].numpy(),
            points=points,
        )
        return torch.from_numpy(found)[:, None]


@describable
@dataclass(frozen=True)
class SemilinearHeat(_FromBell):
    """``u_t = Laplace(u) + (1 - u^2) / (1 + u^2)`` in all of space, from ``5 / (10 + 2 |x|^2)``.

    Parameters
    ----------
    dim : int
        10 by default.
    end : float, positive
        The last t, 0.3 by default.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Notes
    -----
    Source: Becker, Braunwarth, Hutzenthaler, Jentzen and von Wurstemberger, Commun. Comput. Phys. 28 (2020)
    2109, as in Shi et al. (STDE), arXiv:2412.00088, whose values at the origin at the end, 0.47006, 0.31674,
    0.28753 and 0.28433 in 10, 100, 1000 and 10000 dimensions, are means over random paths.  The reference
    here, radial and refined, is 0.46955, 0.31663, 0.28747 and 0.28431.

    Examples
    --------
    >>> problem = SemilinearHeat(dim=5)
    >>> known = problem.reference()
    >>> known.error < 1e-9
    True
    """

    equation: ClassVar[str] = r"u_t = \Delta u + (1 - u^2) / (1 + u^2)"
    source: ClassVar[str] = "Becker et al. (2020)"

    def reaction(self, u: Tensor) -> Tensor:
        return (1 - u * u) / (1 + u * u)


@describable
@dataclass(frozen=True)
class SemilinearSineGordon(_FromBell):
    """``u_t = Laplace(u) + sin(u)`` in all of space, from ``5 / (10 + 2 |x|^2)``.

    Parameters
    ----------
    dim, end
        As of `SemilinearHeat`.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Notes
    -----
    Source as of `SemilinearHeat`.  Published values at the origin at the end: 0.3229470, 0.0528368, 0.0055896
    and 0.0005621 in 10, 100, 1000 and 10000 dimensions; the reference here is 0.3229264, 0.0528094, 0.0055889
    and 0.0005621.  The solution is small in many dimensions, and no sample of it is scaled up here.

    Examples
    --------
    >>> problem = SemilinearSineGordon(dim=5)
    >>> problem.relative_l2(problem.lift) < 0.3
    True
    """

    equation: ClassVar[str] = r"u_t = \Delta u + \sin u"
    source: ClassVar[str] = "Becker et al. (2020)"

    def reaction(self, u: Tensor) -> Tensor:
        return torch.sin(u)


@describable
@dataclass(frozen=True)
class RadialAllenCahn(_FromBell):
    """``u_t = Laplace(u) + u - u^3`` in all of space, from ``1 / (2 + 0.4 |x|^2)``.

    Parameters
    ----------
    dim, end
        As of `SemilinearHeat`.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Notes
    -----
    Source: E, Han and Jentzen, Commun. Math. Stat. 5 (2017) 349, section 4.2, with T - t in the place of t
    and dim = 100; there 0.0528 at the origin at the end, by a branching process.  The reference here is
    0.052781.

    Examples
    --------
    >>> RadialAllenCahn(dim=100).has_reference
    True
    """

    equation: ClassVar[str] = r"u_t = \Delta u + u - u^3"
    source: ClassVar[str] = "E, Han, Jentzen (2017), 4.2"

    def reaction(self, u: Tensor) -> Tensor:
        return u - u**3


@describable
@dataclass(frozen=True)
class SemilinearAllenCahn(_Semilinear):
    """``u_t = Laplace(u) + u - u^3`` in all of space, from ``arctan(max_i x_i)``.

    Parameters
    ----------
    dim, end
        As of `SemilinearHeat`.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Notes
    -----
    The start has a kink where two coordinates are the largest, and the Laplacian of a kink is no function: a
    lift that carried it along would lose what flows out of it, and no residual between the kinks would see
    that.  So the lift has ``s log(sum_i exp(x_i / s))`` in the place of the maximum, with s in proportion to
    sqrt(t) so that at the origin it is the mean of the maximum over all paths.

    There is no formula, and no reference but means over random paths.  Source as of `SemilinearHeat`; values
    at the origin at the end, published: 0.89060, 1.04510, 1.09100 and 1.11402 in 10, 100, 1000 and 10000
    dimensions.

    Examples
    --------
    >>> problem = SemilinearAllenCahn(dim=100)
    >>> origin = torch.tensor([[0.0] * 100 + [0.3]], dtype=torch.float64)
    >>> round(problem.lift(origin).item(), 2)  # what the flow of heat alone makes of it
    1.1
    """

    equation: ClassVar[str] = r"u_t = \Delta u + u - u^3"
    source: ClassVar[str] = "Becker et al. (2020)"

    def reaction(self, u: Tensor) -> Tensor:
        return u - u**3

    def start(self, x: Tensor) -> Tensor:
        return torch.atan(torch.amax(x[:, :-1], 1))

    def lift(self, x: Tensor) -> Tensor:
        ratio = _mean_of_largest(self.dim) / math.log(self.dim) if self.dim > 1 else 1.0
        width = ratio * torch.sqrt(2 * x[:, -1] + _INSTANT)
        return torch.atan(width * torch.logsumexp(x[:, :-1] / width[:, None], 1))


@functools.lru_cache(maxsize=16)
def _mean_of_largest(count: int) -> float:
    """The mean of the largest of so many normal numbers, by trapezoids: the integrand is analytic."""
    y = torch.linspace(-10, 10, 401, dtype=torch.float64)
    density = torch.exp((count - 1) * torch.special.log_ndtr(y) - y * y / 2) * (
        count / math.sqrt(2 * math.pi)
    )
    return float(torch.trapezoid(y * density, y))
