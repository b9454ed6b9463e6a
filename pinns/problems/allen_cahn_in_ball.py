"""The elliptic Allen-Cahn equation in the unit ball of any dimension."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sciml.description import describable
from sciml.pinns.problems.ball import BallProblem


@describable
@dataclass(frozen=True)
class AllenCahnInBall(BallProblem):
    """``Laplace(u) + u - u^3 = g`` in the unit ball, zero on its sphere, solved by ``u = (1 - |x|^2) S(x)``.

    Parameters
    ----------
    dim : int
        100 by default; a million is possible.
    interaction : "two-body", "three-body" or "hidden"
        S, see `sciml.pinns.problems.interactions`.  The first two are those of the literature; the last one
        is hard at every dimension.
    seed : int
        Of the coefficients of S.

    Raises
    ------
    ConfigError
        If there are too few coordinates for the interaction: it needs 2, 3 and 10.

    Notes
    -----
    Points have a uniform direction and a uniform distance from the center.  The best constant and the best
    linear network in the ansatz alone reach small errors in many dimensions, except for "hidden".
    Source: Shi et al., Stochastic Taylor derivative estimator, NeurIPS 2024, appendix; the right side of the
    three-body solution is derived here, as the released one is not that of its solution.

    Examples
    --------
    >>> problem = AllenCahnInBall(dim=20, interaction="hidden")
    >>> problem.relative_l2(problem.exact, points=100) < 1e-14
    True
    """

    equation: ClassVar[str] = r"\Delta u + u - u^3 = g"
    source: ClassVar[str] = "Shi et al. (2024), arXiv:2412.00088"

    @staticmethod
    def reaction(u: Tensor) -> Tensor:
        return u - u**3
