"""A polynomial in place of a network: for many small coordinates, of which no few decide."""

from __future__ import annotations

import copy
import math
from functools import partial

import torch
from torch import nn

from sciml.calling import evaluating
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.kernels.polynomial import FullPolynomial
from sciml.objective import total
from sciml.optimizers.least_squares import LevenbergMarquardt
from sciml.pinns.problem import Problem
from sciml.pinns.residual import Residual
from sciml.streams import Streams
from sciml.trainer import Trainer

_MOST = 1_000_000  # coefficients of one degree
_HIGHEST = 4
# Of the linear fit: points for each weight, linearizations of the equation, the accuracy to which each of
# them is solved, and inputs up to which the points are no more than 800 MB.
_POINTS, _ITERATIONS, _ACCURACY, _INPUTS = 4, 5, 1e-3, 5000


@describable
class Polynomial(FullPolynomial):
    """A polynomial with all its coefficients, whatever they are.

    In many dimensions points have coordinates of size ``1 / sqrt(inputs)``, and a smooth function that does
    not depend on few directions is close to its Taylor polynomial.  Neurons find the hundreds of directions
    of a quadratic form slowly; here every pair of coordinates has a weight, and so has every triple where
    there are not too many.  Weights enter linearly, and the Laplacian is known in closed form.

    Parameters
    ----------
    inputs, outputs : int
    degree : int, optional
        `highest_degree` by default: 3 for 100 inputs, 2 for 1000.

    Raises
    ------
    ConfigError
        If a number is below 1.

    Notes
    -----
    It knows nothing of a solution but that it lies near a polynomial of that degree.  It is of no use for
    functions that bend along few directions, whatever the dimension: `WideMLP` sees these.

    Examples
    --------
    >>> import torch
    >>> Polynomial(1000, 1).degree, Polynomial(30, 1, degree=2)(torch.zeros(5, 30)).shape
    (2, torch.Size([5, 1]))
    """

    def __init__(self, inputs: int, outputs: int, *, degree: int | None = None) -> None:
        if min(inputs, outputs, 1 if degree is None else degree) < 1:
            raise ConfigError(
                f"Polynomial: inputs, outputs and degree must be at least 1, got {inputs}, {outputs} and "
                f"{degree}."
            )
        super().__init__(inputs, outputs, highest_degree(inputs) if degree is None else degree)


def highest_degree(inputs: int) -> int:
    """The highest degree, up to 4, of which there are at most a million coefficients.

    Examples
    --------
    >>> [highest_degree(inputs) for inputs in (31, 100, 1000, 1001)]
    [4, 3, 2, 1]
    """
    return max((k for k in range(1, _HIGHEST + 1) if inputs**k <= _MOST), default=1)


def fit_linear(model: nn.Module, problem: Problem) -> float:
    """Let the `Polynomial` of a model begin with the linear one that solves a problem best.

    As a part of a recipe, ``Recipe(fit=fit_linear)``, it is made before the first step.  Otherwise the first
    steps, which are as large as a missing constant makes them, leave noise in millions of other weights.
    It is found by least squares of the equation, and of conditions that are not built in, made linear
    several times; coefficients of higher degree become zero, and nothing else changes.

    Parameters
    ----------
    model : module
        ``problem.build(...)`` with a `Polynomial` inside.
    problem : Problem
        Its unknown coefficients are what they start from.

    Returns
    -------
    float
        The root of the loss after the fit by that of the polynomial zero.

    Raises
    ------
    ConfigError
        If there is no `Polynomial` in the model, or more than one, or it has more than 5000 inputs, of which
        enough points need gigabytes.

    Examples
    --------
    >>> from sciml.pinns.problems import PoissonInBall
    >>> problem = PoissonInBall(dim=20)
    >>> model = problem.build(Polynomial)
    >>> fit_linear(model, problem) < 0.5
    True
    """
    target = _polynomial(model)
    if target.in_features > _INPUTS:
        raise ConfigError(
            f"fit_linear: takes at most {_INPUTS} inputs, got {target.in_features}; leave out fit, or take "
            "the recipe that suits the problem."
        )
    streams = Streams(0)
    with streams.of("unknowns").applied():  # no numbers of others are used up
        loss = Residual(problem, points=_POINTS * (target.in_features + 1))
    linear = copy.deepcopy(model).double().requires_grad_(False)
    found = _polynomial(linear)
    found.weights = found.weights[:1]
    for weight in (found.bias, found.weights[0]):
        nn.init.zeros_(weight).requires_grad_()
    for unknown in loss.parameters():
        unknown.requires_grad_(False)
    loss.unknowns.to(found.bias)
    batch = loss.draw(0, linear, streams).to(found.bias.device)
    with torch.no_grad(), evaluating(linear):
        before = float(total(loss.terms(linear, batch)))
    optimizer = partial(LevenbergMarquardt, system="matrix-free", iterations=_ITERATIONS, accuracy=_ACCURACY)
    Trainer(1, optimizer=optimizer).fit(linear, loss)
    with torch.no_grad(), evaluating(linear):
        target.bias.copy_(found.bias)
        target.weights[0].copy_(found.weights[0])
        for weight in target.weights[1:]:
            weight.zero_()
        after = float(total(loss.terms(linear, batch)))
    return math.sqrt(after / before) if before else math.sqrt(after)


def _polynomial(model: nn.Module) -> Polynomial:
    """The one in a model."""
    inside = [module for module in model.modules() if isinstance(module, Polynomial)]
    if len(inside) != 1:
        raise ConfigError(
            f"fit_linear: {type(model).__name__} must have one Polynomial inside, got {len(inside)}."
        )
    return inside[0]
