"""Curriculum training: one network that solves a sequence of problems, each a little harder than the last."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import torch
from torch import Tensor, nn

from sciml.errors import ConfigError
from sciml.pinns.problem import Problem
from sciml.pinns.recipe import Recipe
from sciml.pinns.recipes import SMALL
from sciml.run import Run
from sciml.streams import Streams


@dataclass(frozen=True)
class Climb:
    """What `climb` leaves behind.

    Attributes
    ----------
    model : module
        The solution of the last problem.
    runs : tuple of Run
        One for each problem.
    """

    model: nn.Module
    runs: tuple[Run, ...]


def climb(
    problems: Sequence[Problem],
    *,
    recipe: Recipe | Sequence[Recipe] = SMALL,
    seed: int = 0,
    output: Path | str | None = None,
    device: torch.device | str = "cpu",
) -> Climb:
    """Solve problems in order, each from the weights that solved the one before: a coefficient grows, say.

    Only the last solution is wanted.  Weights and unknown coefficients go on; optimizers, points and moving
    weights of the loss begin anew with each problem.

    Parameters
    ----------
    problems : sequence of Problem
        The easiest first, with equally many coordinates and outputs.
    recipe : Recipe or sequence of Recipe
        For every problem, or one for each: more steps for the last, say, as all with the same network.
    seed : int
        Of weights and points; each problem has points of its own.
    output : path, optional
        Folder of the runs, one for each problem, ``stage-00`` and so on.  An interrupted climb goes on in the
        middle of its stage, to the same bits.
    device : torch.device or str

    Raises
    ------
    ConfigError
        If there are no problems, as many recipes as problems are not given, or a network does not fit the
        weights of the one before.

    Notes
    -----
    Each problem's network has that problem's conditions and coordinates built in, around the same weights.

    Source: Krishnapriyan et al., Characterizing possible failure modes in physics-informed neural networks,
    NeurIPS 2021, section 4 (curriculum regularization): the speed of convection from 1 to 30 in steps of 1.

    Examples
    --------
    >>> from sciml.pinns.problems import Convection
    >>> found = climb([Convection(speed) for speed in (1.0, 2.0)], recipe=SMALL.scaled(2))
    >>> found.model(torch.zeros(3, 2, dtype=torch.float64)).shape, len(found.runs)
    (torch.Size([3]), 2)
    """
    runs: list[Run] = []
    for k, (problem, own) in enumerate(_stages(problems, recipe)):
        points = Streams(seed).of("stage").seed(k)
        model = own.model(problem, seed, device)
        objective = own.objective(problem, seed)
        objective.unknowns.to(device)
        if runs:
            _go_on(k, runs[-1], model, objective.parameters())
        folder = None if output is None else Path(output) / f"stage-{k:02d}"
        runs.append(own.trainer(points).fit(model, objective, validation=objective, output=folder))
    return Climb(runs[-1].model, tuple(runs))


def _stages(
    problems: Sequence[Problem], recipe: Recipe | Sequence[Recipe]
) -> Iterable[tuple[Problem, Recipe]]:
    if not problems:
        raise ConfigError("climb: needs at least one problem, got none.")
    if isinstance(recipe, Recipe):
        return zip(problems, repeat(recipe), strict=False)
    if len(recipe) != len(problems):
        raise ConfigError(f"climb: {len(problems)} problems take one recipe or as many, got {len(recipe)}.")
    return zip(problems, recipe, strict=True)


def _go_on(stage: int, before: Run, model: nn.Module, unknown: Iterable[Tensor]) -> None:
    """Give the model and the unknown coefficients the values that they had in the end of a run."""
    old = before.model.state_dict()
    shapes = [{name: tuple(w.shape) for name, w in state.items()} for state in (old, model.state_dict())]
    earlier = list(before.objective.parameters())
    now = list(unknown)
    if shapes[0] != shapes[1] or len(now) != len(earlier):
        raise ConfigError(
            f"climb: the network or the unknown coefficients of problem {stage} are not those of problem "
            f"{stage - 1}; give all problems the same coordinates, outputs and coefficients, and all recipes "
            "the same network."
        )
    model.load_state_dict(old)
    with torch.no_grad():
        for own, known in zip(now, earlier, strict=True):
            own.copy_(known)
