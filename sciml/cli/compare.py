"""``sciml compare``."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from sciml.cli import names
from sciml.cli.foreign import open_file
from sciml.cli.options import CompareOptions, DataOptions
from sciml.cli.output import emit_json, print_table
from sciml.cli.status import FAILED, requeued_on_signals, say, silent
from sciml.comparison.benchmark import Benchmark
from sciml.comparison.benchmarks import BENCHMARKS
from sciml.comparison.budget import Budget
from sciml.comparison.comparison import REPORT, Comparison, default_folder
from sciml.comparison.contest import Contest
from sciml.comparison.entry import Entry
from sciml.comparison.fields import FieldContest
from sciml.comparison.problems import RecipeEntry
from sciml.comparison.problems import named as problems
from sciml.comparison.rows import NAME as ROWS
from sciml.comparison.sweep import Sweep
from sciml.errors import ConfigError, nearest
from sciml.files import locked_folder, write_bytes_atomic
from sciml.kernels.estimators import Exact
from sciml.pinns.recipes import RECIPES
from sciml.presets import PRESETS
from sciml.processes import device_of

OPERATORS = "fno,unet,resnet"
COMMANDS = "command.sh"

Competitor = Entry | RecipeEntry


def compare(
    targets: Sequence[str],
    options: CompareOptions,
    data: DataOptions,
    *,
    output: Path | None,
    json: bool,
) -> int:
    """Do what is left of the comparison, write table and report, print the table."""
    if not targets:
        raise ConfigError("sciml compare needs a benchmark (see --list), a preset or a dataset file.")
    if options.seeds < 1 or options.jobs < 1 or options.search < 0:
        raise ConfigError(
            "--seeds and --jobs must be at least 1 and --search not negative, got "
            f"{options.seeds}, {options.jobs} and {options.search}."
        )
    if options.search_budget and not options.search:
        raise ConfigError("--search-budget is of the trials of a search; give their number: --search 8.")
    resolutions = _numbers("resolutions", options.resolutions)
    contests = [contest_of(target, data, resolutions) for target in targets]
    entries = entries_of(options, contests)
    seeds, budget = range(options.seeds), Budget.parse(options.budget or _budget(contests))
    counts: list[int | None] = [*_numbers("samples", options.samples)] or [None]
    trials: dict[str, Any] = {"trials": options.search}
    trials["trial_budget"] = Budget.parse(options.search_budget) if options.search_budget else None
    folder = output or default_folder(contests, entries, seeds, budget, counts, **trials)
    sweep = Sweep(
        contests,
        entries,
        seeds,
        budget,
        folder,
        samples=counts,
        jobs=options.jobs,
        device=str(device_of(options.device)),
        **trials,
        say=say,
    )
    with requeued_on_signals():
        found = Comparison.of(sweep)
    if silent():  # of several processes the first one writes and prints
        return 0
    _write(found)
    if json:
        emit_json({"folder": str(found.folder), "failed": len(found.failures), "rows": found.rows})
    else:
        print(found)
        print(f"Written to {found.folder}: {ROWS}, {REPORT}, {COMMANDS}, table.md, table.csv, table.tex.")
    return _judge(found)


def _judge(found: Comparison) -> int:
    """The exit status, and a sentence on what has no result."""
    for trouble in found.troubles:
        say(trouble)
    failed = found.failures
    if failed:
        units = [row for row in found.rows if row["kind"] == "unit"]
        first = failed[0]
        say(
            f"{len(failed)} of {len(units)} trainings have no result; the first: {first['entry']} on "
            f"{first['benchmark']}, seed {first['seed']}, {first['status']}: {first['message']} "
            "The command that asked for it tries it again."
        )
    return FAILED if failed or found.troubles else 0


def _write(found: Comparison) -> None:
    table = found.table()
    for name, text in (
        ("table.md", table.markdown()),
        ("table.csv", table.csv()),
        ("table.tex", table.latex()),
    ):
        write_bytes_atomic(found.folder / name, text.encode())
    found.report(command=_commands(found.folder / COMMANDS))


def _commands(path: Path) -> str:
    """All commands that have filled the folder, each on its line; this one is added if it is new."""
    own = shlex.join(["sciml", *sys.argv[1:]])
    with locked_folder(path.parent):
        known = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        listed = known if own in known else [*known, own]
        write_bytes_atomic(path, "".join(f"{line}\n" for line in listed).encode())
    return "\n".join(listed)


# From texts to objects.


def contest_of(target: str, options: DataOptions, resolutions: Sequence[int] = ()) -> Contest[Any]:
    """The contest that a name or a file stands for.

    Raises
    ------
    ConfigError
        For an unknown name, and options for files that meet a name.
    """
    named = BENCHMARKS.get(target)
    if named is None and target in PRESETS:
        named = Benchmark.of_preset(PRESETS[target])
    if named is not None or target in problems():
        if options != DataOptions():
            raise ConfigError(f"{target} has its own data; --inputs, --outputs and the like are for files.")
        if named is not None:
            return FieldContest(named, resolutions=resolutions)
        return problems()[target]()
    path = Path(target)
    if not path.exists():
        known = [*PRESETS, *BENCHMARKS, *problems()]
        raise ConfigError(
            f"there is no benchmark, preset or file {target!r}; sciml compare --list names the benchmarks."
            f"{nearest(target, known)}"
        )
    data = open_file(path, options)
    inputs, outputs = tuple(options.inputs), tuple(options.outputs)
    protocol = Benchmark.of_dataset(data, inputs=inputs, outputs=outputs, name=path.stem)
    return FieldContest(protocol, resolutions=resolutions)


def _budget(contests: Sequence[Contest[Any]]) -> str:
    budgets = {c.name: c.benchmark.budget for c in contests if isinstance(c, FieldContest)}
    if len(set(budgets.values())) != 1:
        shown = ", ".join(f"{budget} of {name}" for name, budget in budgets.items())
        raise ConfigError(f"--budget is needed where budgets differ: {shown or 'none is stated'}.")
    return next(iter(budgets.values()))


def _numbers(option: str, text: str | None) -> list[int]:
    """``100,300,1000`` as numbers."""
    parts = [] if text is None else [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ConfigError(f"--{option} takes whole numbers such as 32,64,128, got {text!r}.")
    return [int(part) for part in parts]


class OwnFunction:
    """A function in a user's file; it pickles as its place, and a child process loads the file again."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.function, self.code = names.load_code(place, allowed=True)
        self.__signature__ = inspect.signature(self.function)

    def __call__(self, *arguments: Any, **named: Any) -> nn.Module:
        module: nn.Module = self.function(*arguments, **named)
        return module

    def __reduce__(self) -> tuple[Any, ...]:
        return OwnFunction, (self.place,)


def entries_of(options: CompareOptions, contests: Sequence[Contest[Any]]) -> list[Competitor]:
    """The operators or recipes that compete, with what ``--set`` says of each.

    Raises
    ------
    ConfigError
        For an unknown name or setting, a user's file without permission, and contests of both kinds.
    """
    kinds = {contest.entry_type for contest in contests}
    if len(kinds) != 1:
        raise ConfigError(
            "sciml compare takes data or problems of physics-informed networks, not both at once."
        )
    fields = kinds == {Entry}
    # Few equations may be estimated; the others would refuse such a recipe.
    exact = [name for name, recipe in RECIPES.items() if isinstance(recipe.estimator, Exact)]
    standard = OPERATORS if fields else ",".join(exact)
    entries: dict[str, Competitor] = {}
    for text in (part.strip() for part in (options.operators or standard).split(",")):
        alias, _, what = text.rpartition("=")
        entry = _operator(alias, what, options) if fields else _recipe(alias, what)
        if entry.name in entries:
            raise ConfigError(
                f"--operators: {entry.name} is named twice; give one another name, as in other={what}."
            )
        entries[entry.name] = entry
    for name, settings in _settings(options.settings, entries).items():
        entries[name] = entries[name].changed(settings)
    return list(entries.values())


def _operator(alias: str, text: str, options: CompareOptions) -> Entry:
    name, factory, code = names.chosen_operator(text, allow_code=options.allow_code)
    if code is not None:
        file, _, function = text.rpartition(":")
        factory = OwnFunction(f"{Path(file).absolute()}:{function}")
    return Entry(alias or name, factory, symmetry=options.symmetry, code=code)


def _recipe(alias: str, text: str) -> RecipeEntry:
    if text not in RECIPES:
        listed = ", ".join(RECIPES)
        raise ConfigError(f"there is no recipe {text!r}; there is {listed}.{nearest(text, RECIPES)}")
    return RecipeEntry(alias or text, RECIPES[text])


def _settings(pairs: Sequence[str], entries: Mapping[str, Competitor]) -> dict[str, dict[str, Any]]:
    """``fno.width=64`` as ``{"fno": {"width": 64}}``."""
    given: dict[str, list[str]] = {}
    for pair in pairs:
        left, equals, value = pair.partition("=")
        entry, dot, name = left.strip().rpartition(".")
        if not equals or not dot or entry not in entries:
            raise ConfigError(
                f"--set takes OPERATOR.NAME=VALUE such as fno.width=64, with an operator of this comparison "
                f"({', '.join(entries)}), got {pair!r}.{nearest(entry, entries)}"
            )
        given.setdefault(entry, []).append(f"{name}={value}")
    return {entry: names.parse_settings(listed) for entry, listed in given.items()}


def show_benchmarks(*, json: bool) -> int:
    """Name all benchmarks."""
    named = {**BENCHMARKS, **{name: Benchmark.of_preset(preset) for name, preset in PRESETS.items()}}
    cards = {name: {"budget": b.budget, "source": b.source, "note": b.note} for name, b in named.items()}
    cards |= {name: {"budget": "", "source": "a problem for recipes", "note": ""} for name in problems()}
    if json:
        emit_json({"benchmarks": cards})
        return 0
    rows = [
        [name, card["budget"] or "-", card["source"] or "a preset of sciml train"]
        for name, card in cards.items()
    ]
    print_table("", ["benchmark", "budget", "source"], rows)
    return 0
