"""Patterns in the study: Gray and Scott's reaction, slow and narrow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from sciml.description import describable
from sciml.pinns.problem import Ansatz, Classical, Solution
from sciml.pinns.problems.gray_scott import GrayScott
from sciml.pinns.problems.tables import certified, unrefined


@describable
@dataclass(frozen=True)
class GrayScottForLong(GrayScott):
    r"""``u_t = 1e-5 Laplace(u) + 0.04 (1 - u) - u v^2``, ``v_t = 5e-6 Laplace(v) - 0.1 v + u v^2``.

    Periodic on (-1, 1)^2, from 1 - exp(-80 ((x + 0.05)^2 + (y + 0.02)^2)) and exp(-80 ((x - 0.05)^2 + (y -
    0.02)^2)), to t = ``end``.  Two outputs: u and v.

    Parameters
    ----------
    end : float, positive
        200 by default.

    Notes
    -----
    Source: problem GS of PINNacle, Hao et al., NeurIPS 2024, corrected: it asks for nothing on the boundary,
    where u = 1 and v = 0 all the time but for 1e-30; so any condition that they satisfy gives the same
    solution, of which periodicity is taken.  The constant state (1, 0) itself is 9.6 percent away from the
    solution, not much more than the best published figure.  Reference: 512^2 points and steps of 1; three
    quarters of the points or twice the step change it by less than 5e-4.

    Examples
    --------
    >>> GrayScottForLong().domain.time
    (0.0, 200.0)
    """

    end: float = 200.0

    source: ClassVar[str] = "Hao et al. (2024), GS, with periods"
    diffusivity: ClassVar[tuple[float, float]] = (1e-5, 5e-6)
    rates: ClassVar[tuple[float, float, float]] = (0.04, 0.1, 1.0)
    sharpness: ClassVar[float] = 80.0

    @property
    def ansatz(self) -> Ansatz:
        # Far from the middle the start is the solution.
        return Ansatz(("initial_u", "initial_v"), lift=self.start, factor=lambda x: x[:, 2:] / self.end)

    def solve(self) -> Solution:
        return certified(self, self._found, 512, 1.0)

    def classical(self) -> Iterator[Classical]:
        yield from unrefined(self, self._found, (128, 192, 256), steps=1 / 128)
