"""`compare`: the whole of a comparison in one call, and what it returns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from sciml.comparison.budget import Budget
from sciml.comparison.contest import Contest, Contestant
from sciml.comparison.entry import Entry
from sciml.comparison.examples import NAME as EXAMPLES
from sciml.comparison.examples import read_examples
from sciml.comparison.rows import current
from sciml.comparison.sweep import Sweep
from sciml.dataset import Dataset
from sciml.pinns.problem import Problem
from sciml.presets import short_hash
from sciml.processes import device_of

if TYPE_CHECKING:
    from sciml.comparison.table import Table
    from sciml.pinns.recipe import Recipe
    from sciml.report import Example

REPORT = "report.html"

Data = Dataset | Contest[Any] | Problem


@dataclass(frozen=True)
class Comparison:
    """What a comparison found: rows, from which tables and figures are made.

    Attributes
    ----------
    rows : list of dict
        Those of ``rows.jsonl`` that count, in the order in which they came.
    folder : Path
    troubles : list of str
        What went wrong besides units: classical solvers that stopped.
    """

    rows: list[dict[str, Any]]
    folder: Path
    troubles: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, sweep: Sweep) -> Comparison:
        """What the sweep found, once it has done what is left."""
        rows = sweep.run()
        return cls(current(rows), sweep.folder, sweep.troubles)

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The units without a result; calling `compare` again tries those that failed."""
        return [row for row in self.rows if row["kind"] == "unit" and row["status"] != "finished"]

    def table(self) -> Table:
        """Errors with intervals, significance, costs."""
        from sciml.comparison.table import Table

        return Table.of(self.rows)

    def examples(self) -> dict[tuple[str, str], list[Example]]:
        """By benchmark and entry: the best, median and worst sample of the first seed with all samples."""
        units = [row for row in self.rows if row["kind"] == "unit" and row["status"] == "finished"]
        found: dict[tuple[str, str], list[Example]] = {}
        for row in sorted(units, key=lambda row: (row["samples"] is not None, row["seed"], -row["steps"])):
            key, path = (row["benchmark"], row["entry"]), self.folder / row["folder"] / EXAMPLES
            if key not in found and path.exists():
                found[key] = read_examples(path)
        return found

    def report(self, path: Path | str | None = None, *, command: str = "") -> Path:
        """Write the page, by default ``report.html`` in the folder; it opens without a network.

        ``command`` is shown on it, as what repeats the comparison.
        """
        from sciml.comparison.page import write_page

        place = Path(path) if path is not None else self.folder / REPORT
        write_page(place, self.rows, self.examples(), command=command)
        return place

    def __str__(self) -> str:
        return str(self.table().markdown())


def compare(
    entries: Mapping[str, Callable[..., nn.Module] | Recipe] | Sequence[Contestant],
    data: Data | Sequence[Data],
    *,
    seeds: Iterable[int] = range(3),
    budget: str | int | Budget = "10m",
    output: Path | str | None = None,
    samples: Sequence[int] = (),
    jobs: int = 1,
    device: str = "auto",
) -> Comparison:
    """Train every entry on every data with every seed under one budget, and judge all on the test samples.

    Each training runs in a process of its own; called again with the same arguments, a comparison that was
    stopped goes on where it was, and a finished one returns at once.

    Parameters
    ----------
    entries : mapping or sequence
        Name to a class, partial or function that returns a module with fresh weights (`Entry`: which
        arguments it gets), name to a `sciml.pinns.Recipe` where problems are solved, or contestants.
    data : Dataset, Problem, Contest, or sequence of them
        A dataset stands for the task that it states, its splits, and the recipe of ``sciml train``; a
        problem for its residual, and the error against its reference.
    seeds : iterable of int
    budget : str or int
        Of each training: ``"40s"``, ``"10m"``, ``"2h"``, ``"5000steps"``, ``"2e15flops"``. Time becomes
        steps once, before training, see `sciml.comparison.calibration`.
    output : path, optional
        The folder; ``runs/compare-HASH`` with a hash of all settings by default.
    samples : sequence of int
        Numbers of training samples, for the error as a function of their number; all by default.
    jobs : int
        Units at a time, where the budget is not time.
    device : str
        "auto", "cpu", "cuda", ...

    Raises
    ------
    ConfigError
        For settings that contradict each other, see `Sweep`.

    Examples
    --------
    ::

        table = sciml.compare({"FNO": partial(FNO, modes=12, width=32), "mine": build}, data, budget="10m")
        table.report("darcy.html")
        recipes = {name: pinns.named_recipe(name) for name in ("plain+R3", "plain+RAD(every=50)")}
        sciml.compare(recipes, pinns.problems.Burgers(), budget="5m")
    """
    together = [data] if isinstance(data, Dataset | Contest | Problem) else data
    contests = [contest_of(item) for item in together]
    kind: Any = contests[0].entry_type if contests else Entry
    listed: list[Contestant] = (
        [kind(name, what) for name, what in entries.items()]
        if isinstance(entries, Mapping)
        else list(entries)
    )
    amount, numbers = Budget.parse(budget), list(seeds)
    counts: list[int | None] = list(samples) or [None]
    folder = Path(output) if output is not None else default_folder(contests, listed, numbers, amount, counts)
    sweep = Sweep(
        contests,
        listed,
        numbers,
        amount,
        folder,
        samples=counts,
        jobs=jobs,
        device=str(device_of(device)),
        say=lambda text: print(f"sciml: {text}", file=sys.stderr, flush=True),
    )
    return Comparison.of(sweep)


def contest_of(data: Data) -> Contest[Any]:
    """A dataset as a contest: the task that it states, all its samples.  A problem as one of recipes."""
    if isinstance(data, Contest):
        return data
    if isinstance(data, Problem):
        from sciml.comparison.problems import ProblemContest

        return ProblemContest(data)
    from sciml.comparison.benchmark import Benchmark
    from sciml.comparison.fields import FieldContest

    return FieldContest(Benchmark.of_dataset(data))


def default_folder(
    contests: Sequence[Contest[Any]],
    entries: Sequence[Contestant],
    seeds: Sequence[int],
    budget: Budget,
    samples: Sequence[int | None],
    *,
    trials: int = 0,
    trial_budget: Budget | None = None,
) -> Path:
    """``runs/compare-HASH``: the same command finds its folder again."""
    settings = {
        "contests": {c.name: list(getattr(c, "resolutions", ())) for c in contests},
        "entries": {entry.name: entry.description() for entry in entries},
        "seeds": list(seeds),
        "budget": str(budget),
        "samples": list(samples),
        "trials": trials,
        **({} if trial_budget is None else {"trial_budget": str(trial_budget)}),
    }
    return Path("runs") / f"compare-{short_hash(settings)}"
