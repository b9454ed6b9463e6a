"""What is at the start of time as the sizes of modes."""

from __future__ import annotations

import torch
from torch import nn

from sciml.errors import ConfigError
from sciml.pinns.conditions import Initial, names_of, value_at
from sciml.pinns.constrained import Constrained
from sciml.pinns.fingerprints import going_on
from sciml.pinns.networks.modes import Modes, at_rest
from sciml.pinns.problem import Problem


def start_modes(model: nn.Module, problem: Problem, *, points: int = 8) -> None:
    """Make the sizes of `Modes` what they are at the start, at all times.  ``Recipe(fit=start_modes)``.

    Where the start is not built in; `at_rest` is for where it is.

    Parameters
    ----------
    model : module
        ``problem.build(...)`` with `Modes` of all coordinates in space, whose network ends with a linear
        layer.
    problem : Problem
        In time, with one component.
    points : int
        For each mode, at which it and the start are compared.

    Raises
    ------
    ConfigError
        If there are no such modes, or no start for them.

    Examples
    --------
    >>> from functools import partial
    >>> from sciml.pinns import problems
    >>> problem = problems.Wave()
    >>> model = problem.build(partial(Modes, sines=(range(1, 5),)), hard=False).double()
    >>> start_modes(model, problem)
    >>> bool((model(problem.domain.start(going_on(), 5)) != 0).all())
    True
    """
    modes = model.network if isinstance(model, Constrained) else None
    space = problem.domain.space.dim
    if (
        not isinstance(model, Constrained)
        or not isinstance(modes, Modes)
        or modes.outputs != 1
        or len(modes.rates) != space
    ):
        raise ConfigError(
            "start_modes: needs Modes of one component, sines or cosines of all coordinates in space, got "
            f"{type(modes or model).__name__}."
        )
    named = zip(names_of(problem.conditions), problem.conditions, strict=True)
    starts = [
        c.value for name, c in named if isinstance(c, Initial) and not c.order and name not in model.satisfies
    ]
    if len(starts) != 1:
        raise ConfigError(
            f"start_modes: needs the start of {type(problem).__name__}, not built in: hard=False in the "
            "recipe."
        )
    at_rest(model)
    *_, last = modes.network.modules()
    x = problem.domain.start(going_on(), points * modes.count)
    y = 0 * x[:, 0] + value_at(starts[0], x)
    with torch.no_grad():
        shapes = modes.shapes(model.coordinates(x)[:, :space])
        last.bias.copy_(torch.linalg.lstsq(shapes, y[:, None]).solution[:, 0])  # type: ignore[operator]
