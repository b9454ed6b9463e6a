"""A network that sees a basket through sums over its assets."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from sciml.description import describable
from sciml.kernels.evaluation import evaluate
from sciml.kernels.forms import LineForm
from sciml.kernels.jet import jet
from sciml.pinns.fingerprints import going_on
from sciml.pinns.problems.basket_sums import matched, matched_call, price_sums, sums_along_paths
from sciml.pinns.remembered import Remembered

if TYPE_CHECKING:
    from sciml.pinns.problems.basket import Basket

_SAMPLE = 512  # points that tell how large the features are
_CHUNK = 2**20  # numbers held together


@describable
class BasketNetwork(nn.Module):
    """``v = lift + factor N(z)`` for a `Basket`, z being six features made of sums over the assets.

    They are the distance of the strike in deviations, bent at 3, the deviation, the time, the part of
    variance that is not common, and the means of s and s^2 with prices as weights; shifted and scaled to mean
    0 and deviation 1.  The value of a basket does not depend on them alone, but the correction of the
    lognormal law does almost.

    Parameters
    ----------
    problem : Basket
    network : module, (n, 6) -> (n, 1)
    """

    features: ClassVar[int] = 6

    def __init__(self, problem: Basket, network: nn.Module) -> None:
        super().__init__()
        self.problem, self.network = problem, network
        self.satisfies = ("initial",)
        seen = self._raw(self._sums(problem.domain.interior(going_on(), _SAMPLE)))[:, 2:]
        # Features that are the same everywhere, as of assets that are all alike, stay at 0.
        varies = seen.std(0) > 1e-9 * seen.abs().amax(0)
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", seen.mean(0))
        self.register_buffer("scale", torch.where(varies, 1 / seen.std(0), torch.zeros_like(seen[0])))
        self._seen = Remembered(lambda x: self._parts(self._sums(x)))
        self._known = Remembered(self._operators)

    def forward(self, x: Tensor) -> Tensor:
        """Points (n, dim + 1) to (n,)."""
        parts = self._seen(x)
        value: Tensor = self.network(parts[:, 2:])
        return parts[:, 0] + parts[:, 1] * (value if value.ndim == 1 else value[:, 0])

    def residual(self, x: Tensor) -> Tensor:
        """That of the problem, (n,), by derivatives of the network along its features alone.

        The equation for lift and factor times N is one for N: with the operator ``E = ∂_t - L + r`` and the
        covariances G of lift, factor f and features, ``E(lift) + E(f) N + b . grad N - f/2 tr(G_zz Hess N)``,
        ``b = f (E - r) z - G_fz``.
        """
        known = self._known(x)
        z, b, rest = known[:, 2:8], known[:, 8:14], known[:, 14:]
        lines = rest.reshape(len(x), self.features, self.features)
        forms = [LineForm(1, b[None]), LineForm(2, lines.transpose(0, 1))]
        value, first, second = evaluate(self.network, z, forms)
        return known[:, 0] + known[:, 1] * value + first - second / 2

    def _sums(self, x: Tensor) -> Tensor:
        """Sums and time, (n, 18)."""
        problem = self.problem
        return torch.cat([price_sums(x, problem.deviations(x), problem.correlation), x[:, -1:]], dim=1)

    def _raw(self, y: Tensor) -> Tensor:
        """Lift, factor and features (n, 8) of sums and time (n, 18)."""
        law = matched(y[:, :-1], y[:, -1], self.problem.rate, self.problem.correlation)
        bent = law.distance / torch.sqrt(1 + law.distance * law.distance / 9)
        columns = [matched_call(law), law.vega, bent, law.deviation, y[:, -1], law.concentration]
        return torch.cat([torch.stack(columns, dim=1), law.means], dim=1)

    def _parts(self, y: Tensor) -> Tensor:
        raw = self._raw(y)
        return torch.cat([raw[:, :2], (raw[:, 2:] - self.mean) * self.scale], dim=1)

    def _operators(self, x: Tensor) -> Tensor:
        """E(lift), E(f), z, b and lines whose squares are f G_zz, in one row of 50 for each point."""
        return torch.cat([self._operators_of(part) for part in x.split(max(1, _CHUNK // (17 * x.shape[1])))])

    def _operators_of(self, x: Tensor) -> Tensor:
        problem = self.problem
        sums, rates, covariance = sums_along_paths(
            x, problem.deviations(x), problem.rate, problem.correlation
        )
        y = torch.cat([sums, x[:, -1:]], dim=1)
        lines = torch.cat(
            [_root(covariance), torch.zeros_like(x[:, :1, None]).expand(-1, sums.shape[1], 1)], 2
        )
        parts, once, twice = jet(self._parts, y, lines.transpose(0, 1), 2)
        rate = jet(self._parts, y, torch.cat([rates, torch.ones_like(rates[:, :1])], dim=1), 1)[1]
        along = rate - twice.sum(0) / 2
        gram = torch.einsum("rnk,rnl->nkl", once, once)
        factor = parts[:, 1:2]
        b = factor * along[:, 2:] - gram[:, 1, 2:]
        roots = factor.clamp(min=0).sqrt()[:, :, None] * _root(gram[:, 2:, 2:])
        equation = along[:, :2] + problem.rate * parts[:, :2]
        return torch.cat([equation, parts[:, 2:], b, roots.flatten(1)], dim=1)


def _root(matrices: Tensor) -> Tensor:
    """Rows r with ``Σ r r^T`` the symmetric positive matrices (n, k, k), (n, k, k)."""
    values, vectors = torch.linalg.eigh(matrices)
    root: Tensor = values.clamp(min=0).sqrt()[:, :, None] * vectors.mT
    return root
