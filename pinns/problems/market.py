"""Correlated assets: where their prices are, how they move, and the equation of Black and Scholes."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.kernels.evaluation import evaluate
from sciml.kernels.forms import LineForm
from sciml.kernels.jet import Directions
from sciml.pinns.conditions import Function, Initial
from sciml.pinns.diffusions import Diffusion
from sciml.pinns.domain import Domain, Geometry
from sciml.pinns.monte_carlo.cosine_series import cosine_call
from sciml.pinns.problem import Estimate, Problem

_POINTS = 2000  # of the reference, each as costly as many of other problems


@describable
@dataclass(frozen=True)
class Together(Geometry):
    """Coordinates that move together: ``x_i = level + apart_i``, both uniform, around 0.

    In many dimensions the mean of independent coordinates hardly varies; here it does.  Equations without a
    boundary are looked at there: there are no faces.

    Parameters
    ----------
    dim : int
        At least 1.
    level, apart : float, positive
        The largest absolute values.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Examples
    --------
    >>> x = Together(1000, level=0.2).interior(torch.rand(500, 1001))
    >>> bool(x.mean(1).std() > 0.1)  # 0.2 / sqrt(3)
    True
    """

    dim: int = 1
    level: float = 0.2
    apart: float = 0.3

    def __post_init__(self) -> None:
        if self.dim < 1 or not (0 < self.level < math.inf and 0 < self.apart < math.inf):
            raise ConfigError(f"Together: needs dim >= 1 and positive level and apart, got {self}.")

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        end = self.level + self.apart
        return ((-end, end),) * self.dim

    @property
    def units(self) -> tuple[int, int]:
        return self.dim + 1, 0

    @property
    def faces(self) -> tuple[str, ...]:
        return ()

    def interior(self, unit: Tensor) -> Tensor:
        return self.level * (2 * unit[:, :1] - 1) + self.apart * (2 * unit[:, 1:] - 1)

    def boundary(self, unit: Tensor, faces: Sequence[str]) -> tuple[Tensor, Tensor]:
        raise ConfigError(
            "Together: nothing is known at its boundary, so no condition can be asked for there."
        )

    def contains(self, x: Tensor) -> Tensor:
        reach = x.amax(1) - x.amin(1) <= 2 * self.apart
        return reach & (x.amax(1) <= self.level + self.apart) & (x.amin(1) >= -self.level - self.apart)


@dataclass(frozen=True, eq=False)
class _Covariance(LineForm):
    """``Σ_i w_i ∂²/∂x_i² + w_d (Σ_i s_i ∂/∂x_i)²``: what equal correlations leave of a matrix.

    The vectors are unit vectors and one common to all assets; estimators never build their matrix.
    """

    deviations: Tensor = field(default_factory=lambda: torch.ones(0))

    def lines(self, x: Tensor) -> Directions:
        return Directions(
            2, self._placed(torch.eye(x.shape[1], dtype=x.dtype, device=x.device)), self.weights
        )

    def some(self, x: Tensor, index: Tensor, scale: float) -> Directions:
        chosen = x.new_zeros(*index.shape, x.shape[1]).scatter_(-1, index[..., None], 1.0)
        assert self.weights is not None
        return Directions(2, self._placed(chosen), scale * self.weights[index])

    def mix(self, noise: Tensor, factors: Tensor | None = None) -> Tensor:
        return self._placed(noise if factors is None else noise * factors)

    def _placed(self, parts: Tensor) -> Tensor:
        """Vectors of space and time: the last part is that of the common vector."""
        space = parts[..., :-1] + parts[..., -1:] * self.deviations
        return torch.cat([space, torch.zeros_like(parts[..., -1:])], dim=-1)


@dataclass(frozen=True)
class Market(Problem):
    r"""An option on assets in the logarithms x of their prices over the strike, t before it expires.

    ``v_t = 1/2 Σ_ij c_ij v_ij + Σ_i (r - s_i^2 / 2) v_i - r v`` with ``c_ij = s_i s_j ρ`` for i ≠ j and
    ``c_ii = s_i^2``, from the payoff.  The matrix of correlations has a root ``a I + b 1 1^T``, so that
    everything costs O(dim).
    """

    dim: int = 10
    rate: float = 0.05
    volatilities: tuple[float, float] = (0.15, 0.45)
    correlation: float = 0.3
    end: float = 1.0

    def __post_init__(self) -> None:
        low, high = self.volatilities
        if self.dim < 1 or not 0 < low <= high < math.inf or not 0 < self.end < math.inf:
            raise ConfigError(
                f"{type(self).__name__}: needs dim >= 1, volatilities 0 < lowest <= highest and a positive "
                f"end, got {self.dim}, {self.volatilities} and {self.end}."
            )
        if not 0 <= self.correlation < 1 or not math.isfinite(self.rate):
            raise ConfigError(
                f"{type(self).__name__}: needs 0 <= correlation < 1 and a finite rate, got "
                f"{self.correlation} and {self.rate}."
            )

    @property
    def domain(self) -> Domain:
        return Domain(Together(self.dim), time=(0.0, self.end))

    def points(self) -> tuple[Tensor, None]:
        generator = torch.Generator().manual_seed(0)

        def uniform(n: int, k: int) -> Tensor:
            return torch.rand(n, k, generator=generator, dtype=torch.float64)

        return self.domain.interior(uniform, _POINTS), None

    @property
    def conditions(self) -> tuple[Initial]:
        return (Initial(self.payoff),)

    @abstractmethod
    def payoff(self, x: Tensor) -> Tensor:
        """At expiry, (n,) for points (n, dim + 1)."""

    def deviations(self, x: Tensor) -> Tensor:
        """The volatilities s (dim,), evenly spread between the lowest and the highest."""
        low, high = self.volatilities
        places = torch.arange(self.dim, dtype=x.dtype, device=x.device) + 0.5
        return low + (high - low) / self.dim * places

    def residual(self, u: Function, x: Tensor, estimate: Estimate) -> Tensor:
        s = self.deviations(x)
        along = torch.cat([s.square() / 2 - self.rate, s.new_ones(1)])
        forms = [LineForm(1, along[None]), self._covariance(x)]
        value, first, second = evaluate(u, x, forms, **estimate)
        return first - second / 2 + self.rate * value

    def curvature(self, u: Function, x: Tensor) -> Tensor:
        """``Σ_ij c_ij u_ij``, (n,)."""
        return evaluate(u, x, [self._covariance(x)])[1]

    def _covariance(self, x: Tensor) -> LineForm:
        s = self.deviations(x)
        weights = torch.cat([(1 - self.correlation) * s.square(), s.new_full((1,), self.correlation)])
        return _Covariance(2, None, weights, True, s)

    @property
    def diffusion(self) -> Diffusion:
        return Diffusion(
            self.payoff,
            lambda x, w: self.deviations(x) * self.correlated(w),
            drift=lambda x: (self.rate - self.deviations(x).square() / 2).expand(len(x), -1),
            driver=lambda x, u, z: -self.rate * u,
            affine=True,
        )

    def correlated(self, w: Tensor) -> Tensor:
        """Independent increments (n, dim) made correlated."""
        own, common = self._root()
        return own * w + common * w.sum(1, keepdim=True)

    def uncorrelated(self, v: Tensor, w: Tensor) -> Tensor:
        """Products (n,) of vectors v (n, dim), made uncorrelated, with w."""
        own, common = self._root()
        # The inverse of a I + b 1 1^T is 1/a (I - b / (a + b d) 1 1^T).
        shared = common / (own + common * self.dim)
        return ((v * w).sum(1) - shared * v.sum(1) * w.sum(1)) / own

    def _root(self) -> tuple[float, float]:
        """a and b of the root of the matrix of correlations."""
        own = math.sqrt(1 - self.correlation)
        return own, (math.sqrt(1 - self.correlation + self.correlation * self.dim) - own) / self.dim


def normal_call(mean: Tensor, variance: Tensor) -> Tensor:
    """The mean of ``max(e^y - 1, 0)``, (n,), for normal y."""
    # At expiry, where the deviation is 0, this keeps 0/0 out of the kink; later it is below rounding.
    deviation = torch.sqrt(variance + 1e-30)
    upper = torch.exp(mean + variance / 2) * torch.special.ndtr(mean / deviation + deviation)
    value: Tensor = upper - torch.special.ndtr(mean / deviation)
    return value


def normal_series(mean: Tensor, variance: Tensor, terms: int) -> Tensor:
    """`normal_call` by a cosine series, Fourier's way, from the characteristic function."""
    variance = variance.clamp(min=1e-20)  # at expiry

    def characteristic(k: Tensor) -> Tensor:
        return torch.exp(1j * k * mean[:, None] - variance[:, None] / 2 * k.square())

    half = 10 * variance.sqrt()  # ten deviations: what is beyond is below rounding
    return cosine_call(characteristic, mean - half, mean + half, terms)
