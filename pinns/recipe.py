"""A recipe: network, points, weights, optimizers and precision as one value with a name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Adam
from torch.optim.lr_scheduler import LinearLR

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.kernels.estimators import Estimator, Exact
from sciml.pinns.losses.loss import Loss
from sciml.pinns.networks.mlp import MLP
from sciml.pinns.problem import Problem
from sciml.pinns.residual import Residual
from sciml.pinns.samplers.in_turn import InTurn
from sciml.pinns.samplers.sampler import Sampler
from sciml.pinns.samplers.uniform import Uniform
from sciml.pinns.weightings.fixed import Fixed
from sciml.pinns.weightings.weighting import Weighting
from sciml.streams import Streams
from sciml.trainer import OptimizerFactory, Phase, ScheduleFactory, Trainer

NetworkFactory = Callable[[int, int], nn.Module]
Fit = Callable[[nn.Module, Problem], object]
LossFactory = Callable[..., Residual | Loss]
"""``loss(problem, points=...)``, and of ``sampler, weights, weighting, estimator`` those that it names."""


@describable
@dataclass(frozen=True)
class Stage:
    """One optimizer and the points that suit it: `sciml.Phase` with a sampler.

    Parameters
    ----------
    optimizer : factory
    steps : int
        Scaled with all others when a recipe gets another budget.
    sampler : Sampler
    schedule : factory, optional
        Of the learning rate.
    fading : bool
        Whether the learning rate falls to zero over the stage, linearly, however many steps it has; instead
        of a schedule.

    Raises
    ------
    ConfigError
        If it is fading and has a schedule too.
    """

    optimizer: OptimizerFactory
    steps: int
    sampler: Sampler = field(default_factory=Uniform)
    schedule: ScheduleFactory | None = None
    fading: bool = False

    def __post_init__(self) -> None:
        if self.fading and self.schedule is not None:
            raise ConfigError(f"Stage: fading is a schedule; leave out schedule={self.schedule}.")

    @property
    def phase(self) -> Phase:
        """For the trainer."""
        schedule = self.schedule
        if self.fading:
            schedule = partial(LinearLR, start_factor=1.0, end_factor=0.0, total_iters=self.steps)
        return Phase(self.optimizer, self.steps, schedule)


ADAM = Stage(partial(Adam, lr=1e-3), 5000)


@describable
@dataclass(frozen=True)
class Recipe:
    """How a problem is solved, whichever it is.

    Parameters
    ----------
    network : factory
        ``network(inputs, outputs)``, such as ``partial(MLP, width=30, depth=3)``.
    stages : tuple of Stage
        One optimizer after the other.
    points : int or mapping
        See `Residual`.
    weights : mapping
        Of the terms of the loss, where the problem has them.
    weighting : Weighting
        How weights move, see `sciml.pinns.weightings`; they stay by default.
    hard : bool
        Build conditions into the network where the problem knows how.
    harmonics : int
        Of periodic coordinates, where ``hard``.
    estimator : Estimator
    dtype : torch.dtype
        float64 for quasi-Newton methods.
    loss : factory
        What is minimized: `Residual`, or one of `sciml.pinns.losses`, such as ``partial(BackwardSDE,
        steps=40)``.  Others than `Residual` get those samplers, weights, weightings and estimators that are
        not the default ones.
    fit : function (model, problem), optional
        What is done to a new model before the first step, as `sciml.pinns.networks.fit_to_start` does; a
        function of its arguments alone.

    Examples
    --------
    >>> Recipe().scaled(100).steps
    100
    """

    network: NetworkFactory = field(default_factory=lambda: partial(MLP, width=30, depth=3))
    stages: tuple[Stage, ...] = (ADAM,)
    points: int | Mapping[str, int] = 2000
    weights: Mapping[str, float] = field(default_factory=dict)
    weighting: Weighting = Fixed()  # noqa: RUF009 - a frozen value
    hard: bool = True
    harmonics: int = 1
    estimator: Estimator = field(default_factory=Exact)
    dtype: torch.dtype = torch.float64
    loss: LossFactory = Residual
    fit: Fit | None = None

    def __post_init__(self) -> None:
        if not self.stages or any(stage.steps < 1 for stage in self.stages):
            raise ConfigError(f"Recipe: every stage needs at least one step, got {self.stages}.")

    def description(self) -> dict[str, Any]:
        """For `describe`: estimators of the kernels are told by how they print, loss and fit if they are not
        the usual ones."""
        arguments: dict[str, Any] = dict(vars(self)["_arguments"])
        if self.loss is Residual:
            del arguments["loss"]
        if self.fit is None:
            del arguments["fit"]
        return {**arguments, "estimator": repr(self.estimator)}

    @property
    def steps(self) -> int:
        """Of all stages together."""
        return sum(stage.steps for stage in self.stages)

    def scaled(self, steps: int) -> Recipe:
        """The same recipe with this many steps, shared between the stages as before.

        Raises
        ------
        ConfigError
            If there are fewer steps than stages.
        """
        if steps < len(self.stages):
            raise ConfigError(f"Recipe: {len(self.stages)} stages need that many steps, got {steps}.")
        ends: list[int] = []
        before = 0
        for i, stage in enumerate(self.stages):
            before += stage.steps
            # At least one step for each stage, here and behind.
            most = steps - (len(self.stages) - 1 - i)
            ends.append(min(most, max((ends[-1] if ends else 0) + 1, round(steps * before / self.steps))))
        sizes = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
        changed = [replace(s, steps=n) for s, n in zip(self.stages, sizes, strict=True)]
        return replace(self, stages=tuple(changed))

    def model(self, problem: Problem, seed: int, device: torch.device | str = "cpu") -> nn.Module:
        """The network on the problem's domain, with weights of this seed, fitted.

        Raises
        ------
        ConfigError
            If the network or the problem does not have what it is fitted by.
        """
        with Streams(seed).of("init").applied():
            model = problem.build(self.network, hard=self.hard, harmonics=self.harmonics)
        model = model.to(device, self.dtype)
        if self.fit is not None:
            self.fit(model, problem)
        return model

    def objective(self, problem: Problem, seed: int = 0) -> Residual | Loss:
        """The loss, with weights of this seed where functions are unknown.

        Raises
        ------
        ConfigError
            If the problem does not have what the loss is made of, or the loss does not take what the recipe
            sets.
        """
        with Streams(seed).of("unknowns").applied():
            found = self.loss(problem, points=self.points, **self._settings_of_loss())
        found.unknowns.to(self.dtype)
        return found

    def _settings_of_loss(self) -> dict[str, Any]:
        """All of them for `Residual`; for others what differs from the defaults, which they must know."""
        stages = tuple((stage.steps, stage.sampler) for stage in self.stages)
        given: dict[str, Any] = {
            "sampler": stages[0][1] if len(stages) == 1 else InTurn(stages),
            "weights": self.weights,
            "weighting": self.weighting,
            "estimator": self.estimator,
        }
        if self.loss is Residual:
            return given
        if all(sampler == Uniform() for _, sampler in stages):
            del given["sampler"]
        for name, usual in (("weights", {}), ("weighting", Fixed()), ("estimator", Exact())):
            if given[name] == usual:
                del given[name]
        if foreign := sorted(given.keys() - inspect.signature(self.loss).parameters.keys()):
            made = getattr(self.loss, "func", self.loss)
            who = getattr(made, "__name__", type(made).__name__)
            raise ConfigError(f"Recipe: the loss {who} takes no {', '.join(foreign)}; leave it out.")
        return given

    def trainer(self, seed: int) -> Trainer:
        """The trainer."""
        return Trainer(optimizer=[stage.phase for stage in self.stages], seed=seed)
