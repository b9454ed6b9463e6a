r"""The few directions, of however many, along which a problem changes: its active subspace.

Nothing is asked but the equation: with the network at zero, what an ansatz leaves of it at a point x is a
number ``f(x)``, its right side in most cases, and slopes of f lie where f changes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sciml.errors import ConfigError
from sciml.pinns.conditions import Function
from sciml.pinns.networks.projected import Projected
from sciml.pinns.problem import Problem, residuals
from sciml.pinns.sources import Random
from sciml.pinns.unknowns import Unknowns
from sciml.streams import Streams

_HELD = 2**22  # numbers of points that are in memory at a time: 32 MB in float64
_FEWEST = 20  # slopes for each direction by default
_GAP = 3.0  # of the roots of mean squares, between what is a direction and what is not


@dataclass(frozen=True, eq=False)
class Subspace:
    """Directions along which a function changes.

    Attributes
    ----------
    vectors : (dim, k)
        Orthonormal columns, those along which it changes most first.
    slopes : (m,)
        Roots of the mean squares of the slopes along them and, where there are more, along all others that
        were found.
    """

    vectors: Tensor
    slopes: Tensor

    @property
    def gap(self) -> float:
        """How much more the function changes along the last of them than along the next direction."""
        count = self.vectors.shape[1]
        if count == len(self.slopes) or self.slopes[count] == 0:
            return math.inf
        return float(self.slopes[count - 1] / self.slopes[count])


def active_subspace(problem: Problem, directions: int, *, points: int | None = None) -> Subspace:
    r"""The directions along which the equation changes most.

    With f as above they are the leading eigenvectors of :math:`C = E[\nabla f \nabla f^T]`, a mean over
    points of the domain, by automatic differentiation; of several residuals C is the sum.

    Parameters
    ----------
    problem : Problem
        Unknown coefficients are what they start from.
    directions : int
        At most as many as there are coordinates.
    points : int, optional
        The same ones always.  By default 4 million numbers make them up, at least 20 points a direction.

    Raises
    ------
    ConfigError
        If there are too few points, or the number of directions is out of range.

    Notes
    -----
    If ``f(x) = h(Q^T x)``, the columns of Q orthonormal, any points with independent slopes give the span of
    Q, exactly.  If f depends on ``|x|`` besides, as right sides of solutions ``(1 - |x|^2) S(Q^T x)`` do, a
    slope has a part along x, too.  In a ball this part has no mean outside the span, so the span is still
    that of leading eigenvectors, with errors like ``1 / sqrt(points)``; and as the part is spread over all
    coordinates, they get smaller the more of these there are.

    Eigenvectors come from the Gram matrix of slopes, or of points, whichever is smaller.

    Source: Constantine, Dow and Wang, *Active subspace methods in theory and practice*, SIAM J. Sci. Comput.
    36 (2014) A1500, sections 2 and 3; Constantine and Gleich, *Computing active subspaces with Monte Carlo*
    (2015), arXiv:1408.0545, for the number of samples.

    Examples
    --------
    >>> from sciml.pinns.problems import SineGordon
    >>> found = active_subspace(SineGordon(dim=300, interaction="hidden"), directions=10, points=500)
    >>> found.vectors.shape, found.gap > 10
    (torch.Size([300, 10]), True)
    """
    dim = problem.domain.dim
    if not 1 <= directions <= dim:
        raise ConfigError(f"active_subspace: directions are 1 to {dim}, got {directions}.")
    count = _enough(dim, directions) if points is None else points
    if count < 2 * directions:
        raise ConfigError(
            f"active_subspace: {directions} directions need at least {2 * directions} points, got {count}: "
            "each gives one slope, and some must be left to show that there is nothing else."
        )
    slopes = _slopes(problem, count)
    few = len(slopes) < dim
    values, vectors = torch.linalg.eigh(slopes @ slopes.T if few else slopes.T @ slopes)
    values, leading = values.flip(0).clamp_min(0), vectors.flip(1)[:, :directions]
    # Once more orthonormal: roots of small eigenvalues have half of the digits.
    basis = torch.linalg.qr(slopes.T @ leading).Q if few else leading
    return Subspace(basis, (values / count).sqrt())


def fit_directions(model: nn.Module, problem: Problem, *, points: int | None = None) -> Subspace:
    """Let a `Projected` network look along the directions in which the equation changes most.

    Each is scaled so that coordinates along it have mean 0 and a variance of 1 over the points.  As a part
    of a recipe, ``Recipe(fit=fit_directions)``, it is made before the first step.

    Parameters
    ----------
    model : module
        ``problem.build(...)`` with one `Projected` inside, which says how many directions there are.
    problem : Problem
    points : int, optional
        See `active_subspace`.

    Raises
    ------
    ConfigError
        If there is no such network, it does not begin at the coordinates, or there is no gap behind the
        directions: the equation changes less than 3 times as much along the last as along the next one.

    Notes
    -----
    Whether the solution changes along the directions of the right side alone is not checked here, and is
    true of equations without a direction of their own, such as ``Laplace(u) + r(u) = g``, in a domain
    without one.  Elsewhere the residual shows what is missed.

    Examples
    --------
    >>> from functools import partial
    >>> from sciml.pinns.problems import SineGordon
    >>> problem = SineGordon(dim=300, interaction="hidden")
    >>> model = problem.build(partial(Projected, directions=10))
    >>> fit_directions(model, problem, points=500).gap > 10
    True
    """
    found = [m for m in model.modules() if isinstance(m, Projected)]
    if len(found) != 1:
        raise ConfigError(
            f"fit_directions: {type(model).__name__} must have one Projected inside, got {len(found)}."
        )
    (network,), dim = found, problem.domain.dim
    if network.projection.in_features != dim:
        raise ConfigError(
            f"fit_directions: the network must begin at the {dim} coordinates of {type(problem).__name__}, "
            f"got {network.projection.in_features} features of them."
        )
    count = network.projection.out_features
    subspace = active_subspace(problem, count, points=points)
    if subspace.gap < _GAP:
        last, following = subspace.slopes[count - 1 : count + 1].tolist()
        raise ConfigError(
            f"fit_directions: {type(problem).__name__} changes about as much along the next direction as "
            f"along the last of {count}: mean slopes are {following:.3g} and {last:.3g}. Take as many "
            "directions as active_subspace(problem, ...).slopes shows, or a recipe for many coordinates."
        )
    seen = torch.cat([x @ subspace.vectors for x in _points(problem, points or _enough(dim, count))])
    vectors = subspace.vectors / seen.std(0)
    center = subspace.vectors @ seen.mean(0)
    network.look_along(vectors, center)
    return subspace


def _enough(dim: int, directions: int) -> int:
    return max(_FEWEST * directions, _HELD // dim)


def _points(problem: Problem, count: int) -> Iterator[Tensor]:
    """In pieces, each with a seed of its own."""
    dim, stream = problem.domain.dim, Streams(0).of("directions")
    rows = max(1, _HELD // dim)
    for number, start in enumerate(range(0, count, rows)):
        yield problem.domain.interior(Random(stream.generator(number)), min(rows, count - start))


def _slopes(problem: Problem, count: int) -> Tensor:
    """Of all residuals at all points, (count * residuals, dim)."""
    model = problem.build(_nothing).double()
    found = []
    with Streams(0).of("unknowns").applied():  # no numbers of others are used up
        coefficients = Unknowns(problem.coefficients, problem.domain).double().values()
    known: dict[str, Tensor | Function] = dict(coefficients)
    for x in _points(problem, count):
        with torch.enable_grad():
            values = residuals(problem, model, x.requires_grad_(), coefficients=known).values()
            for value in values:
                (slope,) = torch.autograd.grad(value.sum(), x, retain_graph=True, materialize_grads=True)
                found.append(slope)
    return torch.cat(found)


def _nothing(inputs: int, outputs: int) -> nn.Module:
    """The network that is zero; of one neuron, behind which derivatives cost nothing."""
    layers = [
        nn.utils.skip_init(nn.Linear, inputs, 1),
        nn.Tanh(),
        nn.utils.skip_init(nn.Linear, 1, outputs),
    ]
    network = nn.Sequential(*layers).requires_grad_(False)
    for parameter in network.parameters():
        parameter.zero_()
    return network
