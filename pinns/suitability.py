"""Which recipes a problem takes, found out before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sciml.errors import ConfigError, DataError, ShapeError
from sciml.objective import roots
from sciml.optimizers.gauss_newton import GaussNewton
from sciml.pinns.problem import Problem
from sciml.pinns.recipe import Recipe
from sciml.pinns.recipes import FEW, RECIPES, suited
from sciml.streams import Streams

_ROOM = 2**21  # coordinates of all points on which a recipe is tried
_FEWEST = 16

_BASELINES = ("plain", "fresh", "r3", "rad")
_FOR_FEW = ("small", "robust", "sharp", "precise", *_BASELINES)
_FOR_MANY = ("high-dim", "huge-dim", "sdgd", *_BASELINES)
_LOSSES = ("deep-bsde", "fbsnn", "deep-ritz")


def refusal(recipe: Recipe, problem: Problem) -> str | None:
    """Why a problem cannot be solved by a recipe, in one sentence; None if it can.

    Network, points, loss, weights and optimizer of each stage are made once, and no step.  In many dimensions
    there are fewer points than the recipe has.

    Examples
    --------
    >>> from sciml.pinns import problems
    >>> from sciml.pinns.naming import named_recipe
    >>> refusal(named_recipe("plain+Causal"), problems.Poisson())[:40]
    'Causal: Poisson has no time to respect; '
    >>> refusal(named_recipe("plain+Causal"), problems.Wave()) is None
    True
    """
    points = recipe.points
    if not isinstance(points, Mapping):
        points = max(_FEWEST, min(points, _ROOM // problem.domain.dim))
    try:
        _rehearse(replace(recipe, points=points), problem)
    except (ConfigError, DataError, ShapeError, ImportError) as error:
        return " ".join(str(error).split())
    return None


def _rehearse(recipe: Recipe, problem: Problem) -> None:
    model = recipe.model(problem, 0)
    for stage in recipe.stages:
        objective = replace(recipe, stages=(stage,)).objective(problem)
        objective.check(model)
        batch = objective.draw(0, model, Streams(0))
        terms = objective.terms(model, batch)
        optimizer = stage.optimizer([*model.parameters(), *objective.parameters()])
        if isinstance(optimizer, GaussNewton):
            roots(terms)


def contenders(problem: Problem) -> list[str]:
    """The recipes that are worth a comparison on a problem, by name, without those that it refuses.

    They are its own, those for so many coordinates with the plain baselines, and other losses.  Recipes for
    one kind of solution, such as ``waves``, are there where the problem names them.

    Examples
    --------
    >>> from sciml.pinns import problems
    >>> contenders(problems.Wave())
    ['small', 'robust', 'sharp', 'precise', 'plain', 'fresh', 'r3', 'rad']
    """
    own = suited(problem)
    able = {*_LOSSES, *(_FOR_FEW if problem.domain.dim <= FEW else _FOR_MANY)}
    return [
        name
        for name, recipe in RECIPES.items()
        if (name in able or recipe is own) and refusal(recipe, problem) is None
    ]
