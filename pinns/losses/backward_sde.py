"""Deep BSDE: follow u along paths by its gradient, and miss the given values as little as possible."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from sciml.description import describable
from sciml.objective import Batch, Term
from sciml.pinns.losses.paths import PathLoss
from sciml.pinns.problem import Problem


@describable
class BackwardSDE(PathLoss):
    r"""``mean (Y_N - g(X_N))^2`` over paths of Euler and Maruyama.

    .. math::

        Y_0 = u(X_0, t_0), \quad
        Y_{i+1} = Y_i - f(X_i, Y_i, Z_i)\,\Delta t + Z_i \cdot \Delta W_i, \quad
        Z_i = \sigma^T \nabla u(X_i, t_i)

    One network in (x, t) is both: its value where a path begins is Y_0, its gradient in space at every later
    point Z.  (As published Y_0 is a number and Z a network of its own for each time, so that u is known at
    one point only.)  Paths begin at all times by default, so that u is learned everywhere.

    Parameters
    ----------
    problem, points, steps, at, anytime, weights
        See `sciml.pinns.losses.paths.PathLoss`.  The term is called ``final``.

    Raises
    ------
    ConfigError
        If the problem has no diffusion, or a number is out of range.

    Notes
    -----
    For a linear equation without sources this is the regression of g(X) on u with Z as control variate: the
    least loss is of the order of the step, not zero, and where it is least u is the exact one for Euler's
    paths.

    Source: Han, Jentzen and E, Solving high-dimensional partial differential equations using deep learning,
    PNAS 115 (2018), arXiv:1707.02568.

    Examples
    --------
    >>> from sciml import Streams
    >>> from sciml.pinns.networks import MLP
    >>> from sciml.pinns.problems import HeatInSpace
    >>> problem = HeatInSpace(dim=3)
    >>> loss = BackwardSDE(problem, points=5, steps=4)
    >>> model = problem.build(MLP)
    >>> {name: term.values.shape for name, term in loss.terms(model, loss.draw(0, model, Streams())).items()}
    {'final': torch.Size([5])}
    """

    names = ("final",)

    def __init__(
        self,
        problem: Problem,
        *,
        points: int | Mapping[str, int] = 256,
        steps: int = 20,
        at: float | tuple[float, ...] | None = None,
        anytime: bool = True,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(problem, points, steps, at, anytime, weights)

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        paths = batch["paths"]
        found = self.along(model, paths, batch["increments"])
        durations = self.durations(paths)
        y = found.values[:, 0]
        for i in range(self.steps):
            y = y - self.drive(paths[:, i], y, found.z[:, i]) * durations[:, i] + found.moves[:, i]
        return {"final": Term(y - self.process.start(paths[:, -1]), self.weights["final"], square=True)}
