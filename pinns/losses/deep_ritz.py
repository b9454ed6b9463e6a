"""The deep Ritz method: least energy instead of a small residual."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.objective import Batch, Term
from sciml.pinns.conditions import Robin, names_of
from sciml.pinns.losses.loss import OnPoints
from sciml.pinns.problem import Problem
from sciml.pinns.residual import Residual
from sciml.pinns.samplers.grid import GridPoints
from sciml.pinns.samplers.halton import Halton
from sciml.pinns.samplers.in_turn import InTurn
from sciml.pinns.samplers.latin_hypercube import LatinHypercube
from sciml.pinns.samplers.on_device import OnDevice
from sciml.pinns.samplers.random_grid import RandomGrid
from sciml.pinns.samplers.sampler import Sampler
from sciml.pinns.samplers.sobol import Sobol
from sciml.pinns.samplers.uniform import Uniform

_EVEN = (Uniform, OnDevice, Sobol, Halton, LatinHypercube, GridPoints, RandomGrid)


@describable
class DeepRitz(OnPoints):
    r"""``mean e(u, x)`` over points of the domain, plus ``penalty * mean r^2`` for conditions not built in.

    e is the density of the problem's `energy`, such as ``|grad u|^2/2 - f u`` of ``-Laplace(u) = f``: first
    derivatives only.  The mean over uniform points is the energy over the volume, without bias, so points
    have to be even and new ones at every step; on fixed points a network finds less energy than there is.
    On a domain whose points are not uniform, such as a ball with uniform radii, e has to be divided by their
    density.

    Parameters
    ----------
    problem : Problem
        With an `energy`.
    sampler : Sampler
        One that gives even points.
    points : int or mapping
        As for `Residual`.
    weights : mapping, optional
        Of conditions, instead of the penalty.
    penalty : float, positive
        Of every condition that the model does not satisfy by construction.  The least value of the sum misses
        such a condition by the order of its inverse.

    Raises
    ------
    ConfigError
        If the problem has no energy, or one that would need integrals over the boundary, or the sampler
        prefers some points.

    Notes
    -----
    Conditions ``du/dn = 0`` are natural: they hold where the energy is least, so they have no term.

    Source: E and Yu, The deep Ritz method, Commun. Math. Stat. 6 (2018), arXiv:1710.00211, with the penalty
    of their section 3.1.

    Examples
    --------
    >>> from sciml import Streams
    >>> from sciml.pinns import problems
    >>> from sciml.pinns.networks import MLP
    >>> problem = problems.Poisson()
    >>> loss = DeepRitz(problem, points=100)
    >>> soft = problem.build(MLP, hard=False)
    >>> list(loss.terms(soft, loss.draw(0, soft, Streams(0))))
    ['energy', 'boundary']
    """

    def __init__(
        self,
        problem: Problem,
        *,
        sampler: Sampler = Uniform(),  # noqa: B008 - a frozen value
        points: int | Mapping[str, int] = 2000,
        weights: Mapping[str, float] | None = None,
        penalty: float = 500.0,
    ) -> None:
        who = type(problem).__name__
        if type(problem).energy is Problem.energy:
            raise ConfigError(
                f"DeepRitz: {who} has no energy; give the class energy(self, u, x) if its solution has the "
                "least one, or take the loss Residual."
            )
        if not _is_even(sampler):
            raise ConfigError(
                f"DeepRitz: a mean over points that {type(sampler).__name__} prefers is no energy; take "
                f"{', '.join(cls.__name__ for cls in _EVEN)}."
            )
        if not penalty > 0:
            raise ConfigError(f"DeepRitz: penalty is positive, got {penalty}.")
        names = names_of(problem.conditions)
        natural = set()
        for name, condition in zip(names, problem.conditions, strict=True):
            if isinstance(condition, Robin):
                if condition.coefficient != 0 or condition.value != 0:
                    raise ConfigError(
                        f"DeepRitz: the condition {name!r} of {who} belongs into the energy as an integral "
                        "over the boundary, which a density does not have; take the loss Residual."
                    )
                natural.add(name)
        weighed = dict.fromkeys(names, penalty) | dict(weights or {})
        inner = Residual(problem, sampler=sampler, points=points, weights=weighed)
        super().__init__(inner, frozenset(natural))

    def equation(self, model: nn.Module, x: Tensor, batch: Batch) -> dict[str, Term]:
        values = self.problem.energy(model, x)
        if values.shape != x.shape[:1]:
            raise ConfigError(
                f"{type(self.problem).__name__}: energy must be one number per point, shape ({len(x)},), got "
                f"{tuple(values.shape)}."
            )
        return {"energy": Term(values)}


def _is_even(sampler: Sampler) -> bool:
    if isinstance(sampler, InTurn):
        return all(_is_even(inner) for _, inner in sampler.stages)
    return isinstance(sampler, _EVEN)
