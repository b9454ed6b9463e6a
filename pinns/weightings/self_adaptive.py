"""Weights of single points that are trained, upwards, while the network is trained downwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.optim import Adam

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.weightings.points import Sites, check_sites, moved
from sciml.pinns.weightings.weighting import Scene, State, Weighting, Weights

if TYPE_CHECKING:
    from sciml.pinns.problem import Problem
    from sciml.trainer import OptimizerFactory

_ADAM = partial(Adam, lr=5e-3, betas=(0.99, 0.999))
# Each mask with the number at which it is 1.
_MASKS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "square": (torch.square, 1.0),
    "softplus": (nn.functional.softplus, 0.5413248546129181),  # log(e - 1)
}


@describable
@dataclass(frozen=True)
class SelfAdaptive(Weighting):
    r"""Each point i weighs :math:`m(\lambda_i)`; the lambdas climb the loss that the network descends.

    .. math::

        L = \frac{1}{N} \sum_i m(\lambda_i)\, r_i^2, \qquad
        \frac{\partial L}{\partial \lambda_i} = \frac{1}{N} m'(\lambda_i)\, r_i^2 \ge 0,

    so a saddle point is sought.  The mask m is positive and grows, so weights never fall, and those of points
    grow fastest whose residuals stay.  All weights are 1 at first; ``weights`` of the loss multiply them: let
    initial conditions have 100 or more.  The lambdas take one step before each step of the network's
    optimizer, which sees them as constants.

    The points should be fixed, ``Sobol(every=10**9)`` say.  When they are drawn anew, a point that is new
    takes over lambda and its optimizer's moments from the nearest of the last ones, and one that stays, in R3
    say, keeps its own: weights belong to places and not to rows, and with new points at every step they are
    smeared by the distance between points.

    Parameters
    ----------
    mask : "square" or "softplus"
        m.
    ascent : factory
        Of the optimizer that climbs.  Adam's steps do not know the size of a residual: lambdas grow at a pace
        near its ``lr``, somewhat slower where the residual falls.  The steps of ``SGD`` are in proportion.
    sites : tuple of str, optional
        ``equation`` or names of conditions; all by default.
    until : int, optional
        The step after which weights stay: for a quasi-Newton method that follows.

    Raises
    ------
    ConfigError
        For an unknown mask or site.

    Notes
    -----
    An update costs an evaluation of the loss without gradients.

    Source: McClenny and Braga-Neto, Self-adaptive physics-informed neural networks, J. Comput. Phys. 474
    (2023), equations 7 to 12; Adam with the learning rate and momentum here is that of their code, which
    begins with random lambdas.

    Examples
    --------
    >>> from sciml.pinns import Recipe, Stage
    >>> from sciml.pinns.samplers import Sobol
    >>> fixed = Stage(partial(Adam, lr=5e-3), 10_000, Sobol(every=10**9))
    >>> recipe = Recipe(stages=(fixed,), hard=False, weights={"initial": 100.0}, weighting=SelfAdaptive())
    """

    mask: Literal["square", "softplus"] = "square"
    ascent: OptimizerFactory = _ADAM
    sites: Sites = None
    until: int | None = None

    def __post_init__(self) -> None:
        if self.mask not in _MASKS:
            raise ConfigError(f"SelfAdaptive: mask is {' or '.join(map(repr, _MASKS))}, got {self.mask!r}.")

    def check(self, problem: Problem) -> None:
        check_sites("SelfAdaptive", self.sites, problem)

    def weigh(self, state: State | None, scene: Scene, step: int) -> tuple[State, Weights]:
        climbs = self.until is None or step < self.until
        state, kept = moved(state, scene, self.sites, partial(self._moved, climbs))
        mask, _ = _MASKS[self.mask]
        return state, {name: mask(own["lambda"]) for name, own in kept.items()}

    def _moved(
        self, climbs: bool, kept: Mapping[str, Tensor] | None, squares: Tensor
    ) -> Mapping[str, Tensor]:
        mask, start = _MASKS[self.mask]
        known = {"lambda": torch.full_like(squares, start)} if kept is None else dict(kept)
        if not climbs:
            return known
        climber = nn.Parameter(known.pop("lambda").clone())
        with torch.enable_grad():
            loss = (mask(climber) * squares).mean()
        (slope,) = torch.autograd.grad(loss, climber)
        optimizer = self.ascent([climber])
        optimizer.state[climber] = {key: value.clone() for key, value in known.items()}
        climber.grad = -slope
        optimizer.step()
        found = {key: v for key, v in optimizer.state[climber].items() if isinstance(v, Tensor)}
        return {**found, "lambda": climber.detach()}
