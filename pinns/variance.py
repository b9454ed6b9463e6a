"""How much the gradient of a loss is spread, by directions and by points: which estimator pays.

``python -m sciml.pinns.variance poisson-of-sines --dim 100`` prints the table of one problem.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from sciml.errors import ConfigError, nearest
from sciml.kernels.estimators import DenseDirections, Estimator, Exact, Hutchinson, SparseDirections
from sciml.objective import Batch, Objective, total
from sciml.pinns.losses.loss import Loss
from sciml.pinns.losses.sdgd import SDGD
from sciml.pinns.networks.mlp import MLP
from sciml.pinns.problem import Problem
from sciml.pinns.recipe import Recipe, Stage
from sciml.pinns.residual import Residual
from sciml.streams import Streams


@dataclass(frozen=True)
class GradientVariance:
    """The spread of a gradient g about its mean.

    Attributes
    ----------
    directions : float
        ``E|g - E g|^2 / |E g|^2`` over independent directions at fixed points; 0 where none are drawn.
    overall : float
        The same where points are drawn anew as well: what a step of an optimizer sees.
    seconds : float
        Of one gradient, the median.
    """

    directions: float
    overall: float
    seconds: float

    @property
    def price(self) -> float:
        """``overall`` times seconds: gradients of n points averaged until their spread is as wanted take a
        time in proportion to this."""
        return self.overall * self.seconds


def gradient_variance(
    objective: Objective, model: nn.Module, *, draws: int = 16, seed: int = 0
) -> GradientVariance:
    """The relative variance of the gradient of a loss, at the present weights.

    Parameters
    ----------
    objective : Objective
        Left as it was.  Directions are those that it draws by the ``seed`` of its batches, as `Residual`
        does.
    model : module
    draws : int, at least 2
        Of directions, and of points.
    seed : int

    Raises
    ------
    ConfigError
        If there are less than two draws.

    Notes
    -----
    Both variances are sums of squares over ``draws - 1``.  The square of the mean gradient is estimated
    without bias too, by that of the sample mean less a ``draws``-th of the variance; where nothing is left of
    it the answer is infinite, and more draws are needed.

    Examples
    --------
    >>> from sciml.pinns import problems
    >>> problem = problems.Poisson()
    >>> model = problem.build(MLP).double()
    >>> found = gradient_variance(Residual(problem, points=20), model, draws=3)
    >>> found.directions, found.overall > 0
    (0.0, True)
    """
    if draws < 2:
        raise ConfigError(f"gradient_variance: a variance needs at least 2 draws, got {draws}.")
    device = next(model.parameters()).device
    kept = objective.state_dict()
    seconds: list[float] = []
    gradient = partial(_gradient, objective, model, seconds)
    try:
        batch = objective.draw(0, model, Streams(seed)).to(device)
        directions = variance_over_directions(objective, model, batch, draws=draws, seed=seed)
        points = Streams(seed).of("variance")
        fresh = (objective.draw(0, model, Streams(points.seed(k))).to(device) for k in range(draws))
        overall = _relative(gradient(own) for own in fresh)
    finally:
        objective.load_state_dict(kept)
    return GradientVariance(directions, overall, statistics.median(seconds))


def variance_over_directions(
    objective: Objective, model: nn.Module, batch: Batch, *, draws: int = 16, seed: int = 0
) -> float:
    """The part of `gradient_variance` on a batch as it is, of which only the ``seed`` is changed."""
    if "seed" not in batch.shared:
        return 0.0
    seeds = Streams(seed).of("estimator")
    again = (
        replace(batch, shared={**batch.shared, "seed": torch.tensor(seeds.seed(k))}) for k in range(draws)
    )
    return _relative(_gradient(objective, model, [], own) for own in again)


def _gradient(objective: Objective, model: nn.Module, seconds: list[float], batch: Batch) -> Tensor:
    weights = [p for p in (*model.parameters(), *objective.parameters()) if p.requires_grad]
    started = time.perf_counter()
    found = torch.autograd.grad(total(objective.terms(model, batch)), weights, materialize_grads=True)
    flat = torch.cat([g.flatten() for g in found]).double()
    if flat.is_cuda:
        torch.cuda.synchronize(flat.device)
    seconds.append(time.perf_counter() - started)
    return flat


def _relative(gradients: Iterator[Tensor]) -> float:
    """Variance over the square of the mean, of one gradient at a time."""
    mean, squares, count = torch.zeros(()), 0.0, 0
    for g in gradients:
        count += 1
        away = g - mean
        mean = mean + away / count
        squares += float((away * (g - mean)).sum())
    variance = max(squares, 0.0) / (count - 1)  # rounding of equal gradients may be below zero
    square = float(mean.square().sum()) - variance / count
    return variance / square if square > 0 else math.inf if variance > 0 else 0.0


# Methods beside each other.

Maker = Callable[[Problem, int], Residual | Loss]


@dataclass(frozen=True)
class Method:
    """One way to take derivatives, as a loss for a problem and a number of points."""

    name: str
    loss: Maker


@dataclass(frozen=True)
class Row:
    """What a method shows; without figures where it does not fit the equation, and why."""

    name: str
    found: GradientVariance | None
    reason: str = ""


def methods(samples: int) -> tuple[Method, ...]:
    """All derivatives, and the estimators with so many directions for a gradient.

    >>> [method.name for method in methods(16)][:2]
    ['exact', 'sparse 16']
    """
    estimators: dict[str, Estimator] = {
        "exact": Exact(),
        f"sparse {samples}": SparseDirections(samples),
        f"sparse {samples}, own for each point": SparseDirections(samples, per_point=True),
        f"hutchinson {samples}, signs": Hutchinson(samples),
        f"hutchinson {samples}, orthogonal": Hutchinson(samples, "orthogonal"),
        f"dense {samples}": DenseDirections(samples),
    }
    found = [Method(name, partial(_residual, estimator=estimator)) for name, estimator in estimators.items()]
    half = SparseDirections((samples + 1) // 2)
    return (*found, Method(f"sdgd {half.samples} + {half.samples}", partial(_sdgd, estimator=half)))


def _residual(problem: Problem, points: int, estimator: Estimator) -> Residual:
    return Residual(problem, points=points, estimator=estimator)


def _sdgd(problem: Problem, points: int, estimator: Estimator) -> SDGD:
    return SDGD(problem, points=points, estimator=estimator)


def compare(
    problem: Problem,
    model: nn.Module,
    *,
    samples: int = 16,
    points: int = 100,
    draws: int = 16,
    seed: int = 0,
) -> list[Row]:
    """The variance of the gradient by every one of `methods`, of the same model.

    Raises
    ------
    ConfigError
        If the equation takes no estimate.

    Examples
    --------
    >>> from sciml.pinns import problems
    >>> problem = problems.PoissonOfSines(dim=10)
    >>> rows = compare(problem, problem.build(MLP).double(), samples=4, points=10, draws=2)
    >>> rows[0].name, rows[0].found.directions, rows[1].found.directions > 0
    ('exact', 0.0, True)
    """
    rows = []
    for method in methods(samples):
        try:
            found = gradient_variance(method.loss(problem, points), model, draws=draws, seed=seed)
            rows.append(Row(method.name, found))
        except ValueError as error:  # an estimator without a law for this operator
            rows.append(Row(method.name, None, str(error)))
    return rows


def table(rows: Sequence[Row]) -> str:
    """The rows as text; prices relative to the least of them.

    >>> print(table([Row("exact", GradientVariance(0.0, 0.5, 0.01)), Row("sparse 2", None, "no law")]))
    method      directions   directions and points   ms   price
    exact                0                     0.5   10       1
    sparse 2    no law
    """
    prices = [row.found.price for row in rows if row.found is not None]
    least = min(prices, default=math.nan)
    head = ("method", "directions", "directions and points", "ms", "price")
    cells: list[tuple[str, ...]] = [head]
    for row in rows:
        if row.found is None:
            cells.append((row.name, row.reason))
            continue
        numbers = (
            row.found.directions,
            row.found.overall,
            1e3 * row.found.seconds,
            row.found.price / least if least > 0 else math.nan,
        )
        cells.append((row.name, *(f"{number:.3g}" for number in numbers)))
    whole = [line for line in cells if len(line) == len(head)]
    widths = [max(len(line[k]) for line in whole) for k in range(len(head))]
    first = max(len(line[0]) for line in cells)

    def shown(line: tuple[str, ...]) -> str:
        if len(line) < len(head):
            return f"{line[0]:<{first}}    {line[1]}"
        rest = "   ".join(f"{text:>{width}}" for text, width in zip(line[1:], widths[1:], strict=True))
        return f"{line[0]:<{first}}    {rest}"

    return "\n".join(shown(line) for line in cells)


def main(arguments: Sequence[str] | None = None) -> int:
    """The table of one problem, with a network that is new or trained for a while."""
    parser = argparse.ArgumentParser(
        prog="python -m sciml.pinns.variance",
        description="The relative variance of the gradient of the loss, and what it costs, by estimator.",
        epilog="example: python -m sciml.pinns.variance poisson-of-sines --dim 100 --samples 16",
    )
    parser.add_argument("problem", help="as in sciml solve --list, such as poisson-of-sines")
    parser.add_argument("--dim", type=int, help="of the problem, where it has one")
    parser.add_argument("--samples", type=int, default=16, help="directions for one gradient")
    parser.add_argument("--points", type=int, default=100, help="for one gradient")
    parser.add_argument("--draws", type=int, default=16, help="gradients of each kind")
    parser.add_argument("--steps", type=int, default=0, help="of training before, by the exact residual")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
    asked = parser.parse_args(arguments)
    try:
        rows = _asked(asked)
    except ConfigError as error:
        parser.error(str(error))
    if asked.json:
        told = [
            {"name": row.name, "reason": row.reason or None, **(asdict(row.found) if row.found else {})}
            for row in rows
        ]
        print(json.dumps({"problem": asked.problem, "dim": asked.dim, "rows": told}))
    else:
        print(table(rows))
    return 0


def _asked(asked: argparse.Namespace) -> list[Row]:
    problem = _problem(asked.problem, asked.dim)
    recipe = Recipe(
        network=partial(MLP, width=asked.width, depth=3),
        points=asked.points,
        dtype=torch.float32,
        stages=(Stage(partial(torch.optim.Adam, lr=1e-3), max(1, asked.steps)),),
    )
    model = recipe.model(problem, asked.seed)
    if asked.steps:
        model = recipe.trainer(asked.seed).fit(model, recipe.objective(problem)).model
    return compare(
        problem, model, samples=asked.samples, points=asked.points, draws=asked.draws, seed=asked.seed
    )


def _problem(name: str, dim: int | None) -> Problem:
    from sciml.pinns import problems

    known = {listed.lower(): listed for listed in problems.__all__}
    plain = name.replace("-", "").lower()
    if plain not in known:
        raise ConfigError(f"there is no problem {name!r}.{nearest(plain, known)} sciml solve --list has all.")
    cls: Callable[..., Problem] = getattr(problems, known[plain])
    try:
        return cls() if dim is None else cls(dim=dim)
    except TypeError as error:
        raise ConfigError(f"{name} has no dim.") from error


if __name__ == "__main__":
    raise SystemExit(main())
