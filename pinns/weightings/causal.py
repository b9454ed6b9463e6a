"""Weights that respect causality: a time counts as far as all earlier times are solved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from sciml import processes
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.objective import Term
from sciml.pinns.weightings.weighting import EQUATION, Scene, State, Weighting, Weights

if TYPE_CHECKING:
    from sciml.pinns.problem import Problem


@describable
@dataclass(frozen=True)
class Causal(Weighting):
    r"""Slab i of time weighs ``exp(-epsilon * (loss of the start and of all slabs before i))``.

    The points of the equation are sorted into M slabs of time with mean squares :math:`\ell_i`, and

    .. math::

        L = \frac{1}{M} \sum_i w_i \ell_i, \qquad
        w_i = \exp\Bigl(-\epsilon \bigl(\ell_0 + \sum_{k < i} \ell_k\bigr)\Bigr),

    where :math:`\ell_0` is the weighted loss of initial conditions that the loss asks for; give them a weight
    of 100 or more, so that nothing counts before they hold.  Of a system each slab takes the smallest weight
    of all residuals.  Slabs without points are left out.

    Training has converged when the least weight is near 1 at the last epsilon.  Rows of the run tell, under
    ``weighting``: ``epsilon``; ``least``, the least weight; ``mean_least``, its moving average; and
    ``converged``, whether that is above delta at the last epsilon.  Who wants to stop there leaves the loop,
    ``for step in Attempt(problem, recipe).steps()``; nothing stops by itself, since with a single epsilon of
    1 losses of a hundredth are enough for it.

    Parameters
    ----------
    epsilons : tuple of float, positive
        One after the other; a single one is kept.  The larger, the longer later times wait: those whose
        weights vanish in the precision of the model learn nothing.  With a fixed one, 1 is usual (Allen-Cahn,
        Grey-Scott), 0.1 for Korteweg-de Vries and Kuramoto-Sivashinsky, 5 for Ginzburg-Landau.
    slabs : int
        M.
    by : "rows" or "time"
        Slabs with equally many points (points of one time stay together), or of equal length.
    every : int
        Steps between updates.
    delta : float, 0 to 1
        The next epsilon comes when the moving average of the least weight is above.
    memory : float, 0 to 1
        Of that average, which begins at 0 for each epsilon: one lucky draw of points ends none.
    budget : int, optional
        Steps after which the next epsilon comes anyway.
    relative : bool
        Divide epsilon by the mean of the slabs at the first step: for residuals that are not of order 1.

    Raises
    ------
    ConfigError
        If a number is out of range, or the problem has no time.

    Notes
    -----
    Source: Wang, Sankaran and Perdikaris, Respecting causality for training physics-informed neural networks,
    Comput. Methods Appl. Mech. Eng. 421 (2024), section 3; the defaults of epsilon and delta are theirs.

    Examples
    --------
    >>> losses = torch.tensor([[1.0, 2.0, 5.0]])
    >>> causal_weights(losses, torch.tensor(0.0), 0.5).log().tolist()  # each waits for what is before it
    [0.0, -0.5, -1.5]
    """

    epsilons: tuple[float, ...] = (1e-2, 1e-1, 1.0, 10.0, 100.0)
    slabs: int = 32
    by: Literal["rows", "time"] = "rows"
    every: int = 1
    delta: float = 0.99
    memory: float = 0.9
    budget: int | None = None
    relative: bool = False

    def __post_init__(self) -> None:
        if not self.epsilons or min(self.epsilons) <= 0 or self.slabs < 2 or self.every < 1:
            raise ConfigError(
                f"Causal: needs positive epsilons, slabs >= 2 and every >= 1, got {self.epsilons}, "
                f"{self.slabs} and {self.every}."
            )
        if (
            not 0 < self.delta < 1
            or not 0 <= self.memory < 1
            or (self.budget is not None and self.budget < 1)
        ):
            raise ConfigError(
                "Causal: needs 0 < delta < 1, 0 <= memory < 1 and a budget of at least a step, got "
                f"{self.delta}, {self.memory} and {self.budget}."
            )
        if self.by not in ("rows", "time"):
            raise ConfigError(f"Causal: by is 'rows' or 'time', got {self.by!r}.")

    def check(self, problem: Problem) -> None:
        if problem.domain.time is None:
            raise ConfigError(
                f"Causal: {type(problem).__name__} has no time to respect; give its Domain one, or take "
                "another weighting."
            )

    def weigh(self, state: State | None, scene: Scene, step: int) -> tuple[State, Weights]:
        assert scene.times is not None
        slab = self.slab(scene.times)
        counts = torch.bincount(slab, minlength=self.slabs)
        if state is None or step % self.every == 0:
            state = self._renewed(state, scene, slab, counts, step)
        # A mean over slabs, not over points, of which slabs may have different numbers.
        share = len(slab) / (counts * (counts > 0).sum())
        return state, {EQUATION: (state["weights"] * share)[slab]}

    def slab(self, times: Tensor) -> Tensor:
        """The number of the slab of each time in [0, 1]."""
        if self.by == "time":
            return (times * self.slabs).long().clamp(0, self.slabs - 1)
        earlier = torch.searchsorted(times.sort().values, times.contiguous())
        return earlier * self.slabs // len(times)

    def facts(self, state: State) -> dict[str, float]:
        level, mean = int(state["level"]), float(state["mean_least"])
        return {
            "epsilon": self.epsilons[level],
            "least": float(state["weights"].min()),
            "mean_least": mean,
            "converged": level + 1 == len(self.epsilons) and mean > self.delta,
        }

    def _renewed(self, state: State | None, scene: Scene, slab: Tensor, counts: Tensor, step: int) -> State:
        losses, start = self._losses(scene, slab, counts)
        if state is None:
            unit = losses.sum() / (losses.shape[0] * (counts > 0).sum())
            state = {
                "level": torch.tensor(0),
                "since": torch.tensor(step),
                "mean_least": torch.zeros((), dtype=torch.float64),
                "unit": unit if self.relative and unit > 0 else torch.ones((), dtype=torch.float64),
            }
        level, since, mean = int(state["level"]), int(state["since"]), state["mean_least"]
        spent = self.budget is not None and step - since >= self.budget
        if level + 1 < len(self.epsilons) and (spent or mean > self.delta):
            level, since, mean = level + 1, step, torch.zeros_like(mean)
        weights = causal_weights(losses, start, self.epsilons[level] / float(state["unit"]))
        return {
            **state,
            "level": torch.tensor(level),
            "since": torch.tensor(since),
            "mean_least": self.memory * mean + (1 - self.memory) * weights.min(),
            "weights": weights,
        }

    def _losses(self, scene: Scene, slab: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of each slab for each residual (terms, M), and the loss of the start: of all processes."""
        with torch.no_grad():
            sites = scene.terms()
            terms = list(sites[EQUATION].values())
            sums = [self._sums(term, scene.own(slab)) for term in terms]
            initial = {name: term for site in scene.initial for name, term in sites[site].items()}
            shares = [mean.double().cpu() for mean in processes.means(initial).values()] if initial else []
            start = torch.stack(shares).sum() if shares else sums[0].new_zeros(())
            # The exponential is not linear: what processes know is added up before.
            sent = torch.cat([*sums, start[None]]).to(terms[0].values.device)
            found = processes.add_up(sent).cpu()
        # An estimated square is a product of two estimates, and may be negative.
        means = found[:-1].reshape(len(sums), -1) / counts.clamp(min=1)
        return means.clamp(min=0), found[-1]

    def _sums(self, term: Term, slab: Tensor) -> Tensor:
        """The sum of a term over the points of each slab."""
        # On the processor: sums of a GPU come in another order each time, and a run could not be repeated.
        summands = term.summands().double().cpu()
        return summands.new_zeros(self.slabs).index_add(0, slab, summands)


def causal_weights(losses: Tensor, start: Tensor, epsilon: float) -> Tensor:
    """The weights (M,) of slabs with these losses (terms, M), earliest first, after that of the start."""
    before = torch.cat([torch.zeros_like(losses[:, :1]), losses[:, :-1].cumsum(1)], dim=1)
    return torch.exp(-epsilon * (start + before)).amin(0)
