"""Time marching: one network after the other, each on a window of time, from where the one before ends."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sciml.errors import ConfigError
from sciml.pinns.conditions import Condition, Function, Initial, names_of
from sciml.pinns.domain import Domain
from sciml.pinns.losses.loss import Loss
from sciml.pinns.measurements import PointData
from sciml.pinns.problem import Ansatz, Problem, Solution, component, residuals
from sciml.pinns.recipe import Recipe
from sciml.pinns.recipes import SMALL
from sciml.pinns.residual import Residual
from sciml.pinns.solving import Attempt
from sciml.run import Run, RunFolder
from sciml.streams import Streams
from sciml.training import Step

Settle = Callable[[nn.Module, Problem, float], nn.Module]

_REACH = 0.1  # of a window: how far beyond its end a network is followed, for its rate to be handed over


@dataclass(frozen=True)
class March:
    """What `march` leaves behind.

    Attributes
    ----------
    model : Windows
        The solution on the whole domain.
    runs : tuple of Run
        One for each window.
    """

    model: Windows
    runs: tuple[Run, ...]


def march(
    problem: Problem,
    *,
    windows: int | Sequence[float],
    recipe: Recipe = SMALL,
    overlap: float = 0.01,
    warm: bool = False,
    settle: Settle | None = None,
    seed: int = 0,
    output: Path | str | None = None,
    device: torch.device | str = "cpu",
) -> March:
    """Solve a problem in time window by window.

    Each window starts from the network before it, frozen and in float64: where the recipe and the problem's
    ansatz build initial conditions in, so is this one, else the loss asks for it.

    Parameters
    ----------
    problem : Problem
    windows : int or sequence of float
        Number of windows of equal length, or the times between them, in order.
    recipe : Recipe
        For each window.
    overlap : float, not negative
        Part of its length by which a window goes on beyond its end, so that it is handed over inside.
    warm : bool
        Start each network from the weights of the one before.
    settle : function (network, problem, time), optional
        What a window starts from instead of the whole network before, a module, such as
        `sciml.pinns.fourier_series`.
    seed : int
        Of weights and points; each window has its own.
    output : path, optional
        Folder of the runs, one for each window, ``window-00`` and so on.  A march that was interrupted goes
        on in the middle of its window, to the same bits.
    device : torch.device or str

    Raises
    ------
    ConfigError
        If the problem has no time, has unknown coefficients or measured values, which belong to all windows
        at once, or the windows are not inside its time.

    Notes
    -----
    An error at the end of a window grows in all later ones as any perturbation does; in chaotic flow no
    window should be longer than a Lyapunov time.  A network with conditions built in stands upon all before
    it, so the last of K windows costs K times the first; ``hard=False`` in the recipe avoids that, and
    so does ``settle``.

    Sequence-to-sequence training as published is a march with ``overlap=0``, ``warm=False`` and a recipe with
    ``hard=False``: the loss of each window asks for what the network before has at its start.

    Source: Krishnapriyan et al., Characterizing possible failure modes in physics-informed neural networks,
    NeurIPS 2021, section 5 (sequence to sequence); for the overlap Wang, Sankaran and Perdikaris, Comput.
    Methods Appl. Mech. Eng. 421 (2024).

    Examples
    --------
    >>> from sciml.pinns import problems
    >>> problem = problems.Reaction()
    >>> found = march(problem, windows=2, recipe=SMALL.scaled(2))
    >>> found.model(torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)).shape
    torch.Size([2])
    """
    attempt = MarchAttempt(
        problem,
        recipe,
        windows=windows,
        overlap=overlap,
        warm=warm,
        settle=settle,
        seed=seed,
        device=device,
    )
    for _ in attempt.steps(every=max(1, recipe.steps // 20), output=output):
        pass
    return March(attempt.model, attempt.runs)


class MarchAttempt:
    """A march, ready to be trained step by step: what `march` runs, and used like `sciml.pinns.Attempt`.

    Parameters
    ----------
    problem, recipe, windows, overlap, warm, settle, seed, device
        As for `march`.

    Examples
    --------
    >>> from sciml.pinns import problems
    >>> attempt = MarchAttempt(problems.Reaction(), SMALL.scaled(2), windows=2)
    >>> [(step.number, step.row["window"]) for step in attempt.steps()]
    [(1, 0), (2, 0), (3, 1), (4, 1)]
    """

    def __init__(
        self,
        problem: Problem,
        recipe: Recipe,
        *,
        windows: int | Sequence[float],
        overlap: float = 0.01,
        warm: bool = False,
        settle: Settle | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.problem, self.recipe, self.seed, self.device = problem, recipe, seed, device
        self.overlap, self.warm, self.settle = overlap, warm, settle
        self.times = _times(problem, windows, overlap)
        self._attempts = [self._of_window(None)]

    def _of_window(self, before: nn.Module | None) -> Attempt:
        k = 0 if before is None else len(self._attempts)
        start = before
        if self.settle is not None and before is not None:
            start = self.settle(before, self.problem, self.times[k])
        window = Window(self.problem, (self.times[k], self.times[k + 1]), self.overlap, start)
        own = Streams(self.seed).of("window").seed(k)
        attempt = Attempt(window, self.recipe, seed=own, device=self.device)
        if self.warm and before is not None:
            attempt.model.load_state_dict(before.state_dict())
        return attempt

    def steps(
        self,
        *,
        time_limit: float | None = None,
        every: int | None = None,
        output: Path | str | None = None,
        force: bool = False,
    ) -> Iterator[Step]:
        """As of `sciml.pinns.Attempt`, over all windows; each row tells its ``window``.

        A limit of time counts for all windows together, and a validation looks at its own window.
        """
        while True:
            k, attempt = len(self._attempts) - 1, self._attempts[-1]
            spent = self.run.seconds if k else 0.0
            folder = None if output is None else _folder(output, k)
            left = None if time_limit is None else time_limit - spent
            for step in attempt.steps(time_limit=left, every=every, output=folder, force=force):
                number = k * self.recipe.steps + step.number
                yield Step(number, self.total, step.loss, self._row(k, spent, step.row))
            if not attempt.finished:
                return
            before = attempt.run.model.double().eval().requires_grad_(False)
            over = time_limit is not None and self.run.seconds >= time_limit
            if over or len(self._attempts) == len(self.times) - 1:
                return
            self._attempts.append(self._of_window(before))

    @property
    def total(self) -> int:
        """Steps of all windows."""
        return self.recipe.steps * (len(self.times) - 1)

    @property
    def runs(self) -> tuple[Run, ...]:
        """One for each window so far."""
        return tuple(attempt.run for attempt in self._attempts)

    @property
    def model(self) -> Windows:
        """The solution, up to the end of the last window so far."""
        return Windows([run.model for run in self.runs], self.times[: len(self._attempts) + 1])

    @property
    def objective(self) -> Residual | Loss:
        """That of the last window so far."""
        return self._attempts[-1].objective

    @property
    def run(self) -> Run:
        """All windows as one, with their rows one after the other."""
        histories = [run.history for run in self.runs]
        return Run(self.model, self.objective, self._joined(histories))

    @property
    def finished(self) -> bool:
        """Whether all steps of all windows have been made."""
        return len(self._attempts) == len(self.times) - 1 and self._attempts[-1].finished

    def history(self, folder: Path | str) -> list[dict[str, Any]]:
        """The rows that are stored in a folder."""
        windows = range(len(self.times) - 1)
        return self._joined([RunFolder(_folder(folder, k)).history() for k in windows])

    def stages(self) -> list[str]:
        """The optimizers of each window, in turn."""
        return self._attempts[-1].stages()

    def stage(self, step: int) -> str:
        """The optimizer that made this step, counted from 1 over all windows."""
        return self._attempts[-1].stage((step - 1) % self.recipe.steps + 1)

    def points(self) -> Tensor:
        """Where the equation was looked at last, (n, dim)."""
        return self._attempts[-1].points()

    def _joined(self, histories: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for k, history in enumerate(histories):
            spent = float(rows[-1]["seconds"]) if rows else 0.0
            rows += [self._row(k, spent, row) for row in history]
        return rows

    def _row(self, k: int, spent: float, row: Mapping[str, Any]) -> dict[str, Any]:
        step = k * self.recipe.steps + row["step"]
        return {**row, "step": step, "seconds": round(spent + row["seconds"], 3), "window": k}


def _folder(output: Path | str, k: int) -> Path:
    return Path(output) / f"window-{k:02d}"


class Window(Problem):
    """A problem between two times, from where a network is at the first of them.

    Parameters
    ----------
    problem : Problem
    time : (start, end)
    overlap : float
        Part of the length by which its domain goes on beyond the end, within the time of the problem.
    before : module, optional
        In float64; without it the window starts as the problem does.

    Notes
    -----
    Of an ansatz ``lift(x, t) + factor(x, t) N`` the factor is stretched from the time of the problem to that
    of the window, so that it vanishes at its start s.  The lift becomes ``lift + D(x, s)``, where D is
    ``before - lift``: it keeps the conditions on the boundary, and takes up ``before`` at s.  If the ansatz
    builds in the rate too, D is followed a little, ``D(x, s + h tanh((t - s) / h))``: value, rate and
    acceleration at s are those of ``before``.
    """

    def __init__(
        self, problem: Problem, time: tuple[float, float], overlap: float, before: nn.Module | None
    ) -> None:
        self.problem, self.time, self.overlap, self.before = problem, time, overlap, before

    def description(self) -> dict[str, Any]:
        """For `describe`: the network before by the digest of its weights."""
        before = None if self.before is None else _digest(self.before)
        return {
            "problem": self.problem,
            "time": list(self.time),
            "overlap": self.overlap,
            "before": before,
        }

    @property
    def domain(self) -> Domain:
        start, end = self.time
        return Domain(
            self.problem.domain.space, (start, min(end + self.overlap * (end - start), self._whole[1]))
        )

    @property
    def outputs(self) -> int:
        return self.problem.outputs

    @property
    def origin(self) -> Problem:
        return self.problem.origin

    def residual(
        self, u: Function, x: Tensor, coefficients: Mapping[str, Tensor], estimate: Any
    ) -> Mapping[str, Tensor]:
        return residuals(self.problem, u, x, coefficients=coefficients, estimate=estimate)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        if self.before is None:
            return self.problem.conditions
        return tuple(
            replace(c, value=partial(self._handed_over, c)) if isinstance(c, Initial) else c
            for c in self.problem.conditions
        )

    @property
    def ansatz(self) -> Ansatz | None:
        known = self.problem.ansatz
        conditions = self.problem.conditions
        if known is None:
            return None
        built_in = [
            c.order
            for name, c in zip(names_of(conditions), conditions, strict=True)
            if isinstance(c, Initial) and name in known.satisfies
        ]
        if not built_in:
            return known
        factor = None if known.factor is None else partial(self._stretched, known.factor)
        if self.before is None:
            return replace(known, factor=factor)
        lift = partial(self._lift, known.lift, self.before, max(built_in) > 0)
        return replace(known, lift=lift, factor=factor)

    @property
    def has_reference(self) -> bool:
        return self.problem.has_reference and len(self.reference().x) > 0

    def reference(self) -> Solution:
        """That of the problem, at the times of the window."""
        whole = self.problem.reference()
        t = whole.x[:, -1]
        inside = (t >= self.time[0]) & (t <= self.time[1])
        return Solution(whole.x[inside], whole.values[inside], whole.error, whole.source)

    @property
    def _whole(self) -> tuple[float, float]:
        time = self.problem.domain.time
        assert time is not None
        return time

    def _handed_over(self, condition: Initial, x: Tensor) -> Tensor:
        """What the network before has at the start, (n,)."""
        assert self.before is not None
        u = component(self.before, condition.component, self.outputs)
        with torch.no_grad():
            found = replace(condition, value=0.0).residual(u, x.double(), self.domain)
        return found.to(x.dtype)

    def _stretched(self, factor: Function, x: Tensor) -> Tensor:
        first, last = self._whole
        start, end = self.domain.bounds[-1]
        return factor(_at(x, first + (x[:, -1:] - start) * ((last - first) / (end - start))))

    def _lift(self, lift: Function | None, before: nn.Module, followed: bool, x: Tensor) -> Tensor:
        start, end = self.time
        if followed:
            h = _REACH * (end - start)
            y = _at(x, start + h * torch.tanh((x[:, -1:] - start) / h))
        else:
            y = _at(x, torch.full_like(x[:, -1:], start))
        handed_over: Tensor = before(y.to(torch.float64)).to(x.dtype)
        return handed_over if lift is None else lift(x) + (handed_over - lift(y))


class Windows(nn.Module):
    """Several networks as one function: at each point the one whose window of time it is in.

    Parameters
    ----------
    models : sequence of modules
        Points (n, dim) to (n,) or (n, outputs).
    times : sequence of float
        Where the first begins, and where each ends.

    Examples
    --------
    >>> early, late = nn.Linear(1, 1), nn.Linear(1, 1)
    >>> Windows([early, late], [0.0, 1.0, 2.0]).window(torch.tensor([0.0, 1.0, 1.5, 2.0])).tolist()
    [0, 0, 1, 1]
    """

    def __init__(self, models: Sequence[nn.Module], times: Sequence[float]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.satisfies: tuple[str, ...] = getattr(models[0], "satisfies", ())
        self._ends = torch.tensor(times[1:-1], dtype=torch.float64)

    def window(self, t: Tensor) -> Tensor:
        """The number of the window of each time (n,), to which its end belongs; outside, the nearest."""
        return torch.bucketize(t.detach().double().contiguous(), self._ends.to(t.device))

    def forward(self, x: Tensor) -> Tensor:
        number = self.window(x[:, -1])
        rows = [torch.nonzero(number == k)[:, 0] for k in range(len(self.models))]
        parts = [
            model(x.index_select(0, own))
            for model, own in zip(self.models, rows, strict=True)
            if len(own) or not len(x)
        ]
        return torch.cat(parts).index_select(0, torch.cat(rows).argsort())


def _at(x: Tensor, t: Tensor) -> Tensor:
    """The points at other times (n, 1)."""
    return torch.cat([x[:, :-1], t], dim=1)


def _digest(model: nn.Module) -> str:
    """Of all bits of the weights."""
    weights = b"".join(w.detach().cpu().numpy().tobytes() for w in model.state_dict().values())
    return hashlib.sha256(weights).hexdigest()[:16]


def _times(problem: Problem, windows: int | Sequence[float], overlap: float) -> list[float]:
    """Where the first window begins, and where each ends."""
    who, time = type(problem).__name__, problem.domain.time
    if time is None:
        raise ConfigError(f"march: {who} has no time to march through; solve(problem) is for it.")
    if problem.coefficients or any(isinstance(c, PointData) for c in problem.conditions):
        raise ConfigError(
            f"march: {who} has unknown coefficients or measured values, which are found from all times at "
            "once; use solve(problem)."
        )
    if overlap < 0:
        raise ConfigError(f"march: overlap must not be negative, got {overlap}.")
    start, end = time
    if isinstance(windows, int):
        if windows < 1:
            raise ConfigError(f"march: needs at least one window, got {windows}.")
        return [start + (end - start) * k / windows for k in range(windows)] + [end]
    times = [start, *map(float, windows), end]
    if any(a >= b for a, b in pairwise(times)):
        raise ConfigError(
            f"march: the times between windows must grow and lie inside {time}, got {tuple(windows)}."
        )
    return times
