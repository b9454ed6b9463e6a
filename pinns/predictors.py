"""What an ansatz reaches with almost no network: the yardstick without which a small error says nothing.

A linear network with as many weights as points fits anything at those points.  So it is fitted to the mean
over the points' law, where the problem knows that, or on other points than those on which it is judged, many
for each weight; only where the solution is known on a grid alone, the grid counts as all there is.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from sciml.pinns.problem import Problem

_FEATURES = 2000  # whose products with each other are made; above them the problem has to know more
_EACH = 20  # points for each weight: the error is larger than the least one by about 1 / (2 _EACH)
_FEWEST = 1000
_HELD = 2**22  # numbers of points in memory at a time


class _Probe(nn.Module):
    """The zero network, which keeps what it was asked and what it said."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.features, self.outputs = features, outputs
        self.calls: list[tuple[Tensor, Tensor]] = []

    def forward(self, z: Tensor) -> Tensor:
        said = z.new_zeros(len(z), self.outputs, requires_grad=True)
        self.calls.append((z, said))
        return said


def best_constant(problem: Problem) -> nn.Module:
    """The ansatz with the constant network that is nearest to the solution, in float64.

    Examples
    --------
    >>> from sciml.pinns.problems import SineGordon
    >>> problem = SineGordon(dim=100)
    >>> problem.relative_l2(best_constant(problem)) < 0.2
    True
    """
    if (known := problem.nearest_linear()) is not None:
        return _network(problem, known[0], None)
    return _fitted(problem, linear=False)


def best_linear(problem: Problem) -> nn.Module | None:
    """The ansatz with the nearest network that is linear in its features; None if it cannot be told.

    Its features are scaled coordinates, of periodic ones cosine and sine.  It cannot be told with more than
    2000 of them by fitting, and from a reference without formula that has less than 20 points for each.
    """
    if (known := problem.nearest_linear()) is not None:
        return _network(problem, *known)
    _, probe = _probed(problem)
    enough = _sampled(problem) or len(problem.reference().x) >= _EACH * (probe.features + 1)
    return _fitted(problem, linear=True) if enough and probe.features <= _FEATURES else None


def _probed(problem: Problem) -> tuple[nn.Module, _Probe]:
    """The ansatz around a probe."""
    made: list[_Probe] = []

    def network(features: int, outputs: int) -> nn.Module:
        made.append(_Probe(features, outputs))
        return made[-1]

    model = problem.build(network)
    return model, made[-1]


def _sampled(problem: Problem) -> bool:
    """Whether there are other points than those of the reference, and values at them."""
    return problem.grid is None and type(problem).exact is not Problem.exact


def _network(problem: Problem, bias: Tensor, weight: Tensor | None) -> nn.Module:
    def network(features: int, outputs: int) -> nn.Module:
        # Without initial values, which would be drawn from the global generator.
        layer: nn.Linear = nn.utils.skip_init(nn.Linear, features, outputs, dtype=torch.float64)
        with torch.no_grad():
            layer.bias.copy_(bias)
            layer.weight.zero_() if weight is None else layer.weight.copy_(weight)
        return layer

    return problem.build(network)


def _fitted(problem: Problem, *, linear: bool) -> nn.Module:
    """By least squares, as the ansatz is affine in the network; in pieces, by normal equations.

    Their columns are scaled, and small eigenvalues cut off: features may depend on each other.
    """
    model, probe = _probed(problem)
    size = probe.outputs * (1 + (probe.features if linear else 0))
    products = torch.zeros(size, size + 1, dtype=torch.float64)
    for x, values in _to_fit(problem, size):
        base, matrix = _columns(model, probe, x, linear=linear)
        products += matrix.T @ torch.cat([matrix, (values - base).reshape(-1, 1)], dim=1)
    gram, right = products[:, :-1], products[:, -1]
    scale = gram.diagonal().clamp_min(1e-300).rsqrt()
    eigenvalues, vectors = torch.linalg.eigh(scale[:, None] * gram * scale)
    inverse = torch.where(eigenvalues > 1e-13 * eigenvalues[-1], 1 / eigenvalues, 0.0)
    found = scale * (vectors @ (inverse * (vectors.T @ (scale * right))))
    found = found.reshape(probe.outputs, -1)
    return _network(problem, found[:, 0], found[:, 1:] if linear else None)


def _to_fit(problem: Problem, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Points and values, piece by piece, of which there are enough for so many weights."""
    rows = max(1, _HELD // max(size, problem.domain.dim))
    if not _sampled(problem):
        known = problem.reference()
        yield from zip(known.x.split(rows), known.values.split(rows), strict=True)
        return
    left, seed = max(_FEWEST, _EACH * size), 0
    while left > 0:
        seed += 1  # 0 is that of the reference
        x = problem.sample(min(rows, left), seed)
        left -= len(x)
        yield x, problem.exact(x).reshape(len(x), -1)


def _columns(model: nn.Module, probe: _Probe, x: Tensor, *, linear: bool) -> tuple[Tensor, Tensor]:
    """The values (n, outputs) of the ansatz with the zero network, and their slopes (n outputs, weights).

    A weight of output j works through the answers of the network where it was asked: ``du/dN_j`` times the
    feature there.
    """
    probe.calls.clear()
    with torch.enable_grad():
        u = model(x).reshape(len(x), probe.outputs)
    asked, said = zip(*probe.calls, strict=True)
    features = [
        torch.cat([torch.ones_like(z[:, :1]), z], 1) if linear else z.new_ones(len(z), 1) for z in asked
    ]
    slopes = []
    for k in range(probe.outputs):
        of_answers = torch.autograd.grad(u[:, k].sum(), said, retain_graph=True, materialize_grads=True)
        parts = [g[:, :, None] * z.detach()[:, None, :] for g, z in zip(of_answers, features, strict=True)]
        slopes.append(torch.stack(parts).sum(0))
    return u.detach(), torch.stack(slopes, dim=1).reshape(len(x) * probe.outputs, -1)
