"""The biharmonic equation between two spheres, in any dimension."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sciml.description import describable
from sciml.kernels.differential import biharmonic
from sciml.kernels.neighbor_sums import neighbor_sum
from sciml.pinns.conditions import Dirichlet, Function, Neumann, Robin
from sciml.pinns.domain import Domain
from sciml.pinns.problem import Ansatz, Estimate, Problem
from sciml.pinns.problems.interactions import Derivatives, ThreeBody
from sciml.pinns.radial_shell import RadialShell

_BETWEEN = 2.5  # squared radii on both sides of this are those of the outer and of the inner sphere

# Coefficients of polynomials of |x|^2, of 1, |x|^2, ...: (1 - s) (4 - s), and its square.
_ONCE = (4.0, -5.0, 1.0)
_TWICE = (16.0, -40.0, 33.0, -10.0, 1.0)


class ThreeBodyTwice(ThreeBody):
    """The three-body interaction, with what a Laplacian of a Laplacian needs of it."""

    def derivatives_twice(self, x: Tensor) -> Derivatives:
        """``E²S``, ``E L S`` and ``L²S`` at points (n, dim), (n,) each; E is x . grad, L the Laplacian."""
        return neighbor_sum(x, self._coefficients(x), _fourth_order, self.bodies)


@describable
@dataclass(frozen=True)
class Biharmonic(Problem):
    r"""``Laplace(Laplace(u)) = f`` for ``1 < |x| < 2``, with u and its slope on both spheres.

    Exactly ``u = (1 - |x|^2) (4 - |x|^2) sum_i c_i exp(x_i x_{i+1} x_{i+2})`` with normal c_i: zero on the
    spheres, with a slope there.  ``clamped`` squares the factor, so that the slope is zero too, and both are
    built in.

    Parameters
    ----------
    dim : int
        At least 3, 10 by default.
    clamped : bool
    seed : int
        Of the coefficients.

    Raises
    ------
    ConfigError
        If ``dim`` is below 3.

    Notes
    -----
    With ``s = |x|^2``, ``phi`` the factor, ``S`` the sum, ``E = x . grad`` and ``a = 2 d phi' + 4 s phi''``

        f = phi L²S + 8 phi' E L S + (2 a + 8 phi') L S + 16 phi'' E²S
            + (8 d phi'' + 16 s phi''' + 4 a') E S + (2 d a' + 4 s a'') S,   L the Laplacian,

    because ``L(psi T) = psi L T + 4 psi' E T + (2 d psi' + 4 s psi'') T`` and ``L E = E L + 2 L``.

    Points have distances from the origin that are uniform, not their volume.  Source: Hu et al.,
    arXiv:2312.14499, who ask for u = 0 alone; a fourth derivative needs two conditions on each sphere.

    Examples
    --------
    >>> problem = Biharmonic(dim=3)
    >>> problem.relative_l2(problem.exact)
    0.0
    """

    dim: int = 10
    clamped: bool = False
    seed: int = 0

    equation: ClassVar[str] = r"\Delta^2 u = f"
    source: ClassVar[str] = "Hu et al. (2023), with the slope on the boundary"

    def __post_init__(self) -> None:
        _ = self.inner  # which refuses a dimension that is too small

    @property
    def inner(self) -> ThreeBodyTwice:
        """S."""
        return ThreeBodyTwice(self.dim, self.seed)

    @property
    def domain(self) -> Domain:
        return Domain(RadialShell(self.dim))

    @property
    def conditions(self) -> tuple[Dirichlet, Robin]:
        return Dirichlet(0.0), Neumann(0.0 if self.clamped else self._slope, name="slope")

    @property
    def ansatz(self) -> Ansatz:
        satisfies = ("boundary", "slope") if self.clamped else ("boundary",)
        return Ansatz(satisfies, factor=self._factor)

    def residual(self, u: Function, x: Tensor, estimate: Estimate) -> Tensor:
        return biharmonic(u, x, **estimate) - self.forcing(x)

    def exact(self, x: Tensor) -> Tensor:
        return self._factor(x) * self.inner.values(x)

    def forcing(self, x: Tensor) -> Tensor:
        """f at points (n, dim), (n,)."""
        d = self.dim
        value, outward, laplacian = self.inner.derivatives(x)
        twice, both, squared = self.inner.derivatives_twice(x)
        s = (x * x).sum(1)
        phi, first, second, third, fourth = (_at(p, s) for p in _derivatives(self._polynomial, 4))
        a = 2 * d * first + 4 * s * second
        da = (2 * d + 4) * second + 4 * s * third
        dda = (2 * d + 8) * third + 4 * s * fourth
        return (
            phi * squared
            + 8 * first * both
            + (2 * a + 8 * first) * laplacian
            + 16 * second * twice
            + (8 * d * second + 16 * s * third + 4 * da) * outward
            + (2 * d * da + 4 * s * dda) * value
        )

    @property
    def _polynomial(self) -> tuple[float, ...]:
        return _TWICE if self.clamped else _ONCE

    def _factor(self, x: Tensor) -> Tensor:
        s = (x * x).sum(1)
        product = (1 - s) * (4 - s)
        return product * product if self.clamped else product

    def _slope(self, x: Tensor) -> Tensor:
        """Along the outward normal, on the spheres: ``2 |x| phi'`` times the sum, and the reverse inside."""
        s = (x * x).sum(1)
        outward = torch.where(s > _BETWEEN, 1.0, -1.0).to(x.dtype)
        phi_s = _at(_derivatives(self._polynomial, 1)[1], s)
        return 2 * outward * s.sqrt() * phi_s * self.inner.values(x)


def _fourth_order(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of ``s = exp(a b c)`` for neighbors: ``E²s``, ``E L s`` and ``L²s``, E the radial derivative x . grad.

    With ``p = a b c``, ``q = (bc)² + (ca)² + (ab)²`` and ``m = a² + b² + c²``: ``L s = q s``, ``E p = 3 p``,
    ``E q = 4 q``, ``L q = 4 m`` and ``grad q . grad p = 4 p m``.
    """
    a, b, c = x[:, :-2], x[:, 1:-1], x[:, 2:]
    p = a * b * c
    q = (b * c).square() + (c * a).square() + (a * b).square()
    m = a * a + b * b + c * c
    s = p.exp()
    return 9 * (p + p * p) * s, (4 + 3 * p) * q * s, (4 * m + 8 * p * m + q * q) * s


def _derivatives(polynomial: tuple[float, ...], order: int) -> list[tuple[float, ...]]:
    found = [polynomial]
    for _ in range(order):
        found.append(tuple(k * c for k, c in enumerate(found[-1]))[1:] or (0.0,))
    return found


def _at(polynomial: tuple[float, ...], s: Tensor) -> Tensor:
    value = torch.zeros_like(s)
    for c in reversed(polynomial):
        value = value * s + c
    return value
