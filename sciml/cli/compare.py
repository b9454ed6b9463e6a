"""``sciml compare``."""

from __future__ import annotations

import inspect
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
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
from sciml.comparison.problems import ProblemContest, RecipeEntry, contest_called
from sciml.comparison.problems import named as problem_contests
from sciml.comparison.published_problems import STUDY
from sciml.comparison.rows import NAME as ROWS
from sciml.comparison.sweep import Sweep
from sciml.errors import ConfigError, nearest
from sciml.files import locked_folder, write_bytes_atomic
from sciml.pinns.naming import expanded, named_recipe, spelled_recipe
from sciml.pinns.problem import Problem
from sciml.pinns.recipes import RECIPES
from sciml.pinns.suitability import contenders, refusal
from sciml.presets import PRESETS
from sciml.processes import device_of
from sciml.spelling import split_list

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
    """The contest that a name or a file stands for; problems take arguments, ``pinn/wave(mode=4)``.

    Raises
    ------
    ConfigError
        For an unknown name or argument, and options for files that meet a name.
    """
    named = BENCHMARKS.get(target)
    if named is None and target in PRESETS:
        named = Benchmark.of_preset(PRESETS[target])
    found: Contest[Any] | None = contest_called(target)
    if named is not None:
        found = FieldContest(named, resolutions=resolutions)
    if found is not None:
        if options != DataOptions():
            raise ConfigError(f"{target} has its own data; --inputs, --outputs and the like are for files.")
        return found
    path = Path(target)
    if not path.exists():
        known = [*PRESETS, *BENCHMARKS, *problem_contests()]
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
    listed: Iterator[Competitor] = _operators(options)
    if kinds != {Entry}:
        listed = _recipes(options, [c.problem for c in contests if isinstance(c, ProblemContest)])
    entries: dict[str, Competitor] = {}
    for entry in listed:
        if entry.name in entries:
            raise ConfigError(
                f"--operators: {entry.name} is named twice; give one another name, as in other={entry.name}."
            )
        entries[entry.name] = entry
    for name, settings in _settings(options.settings, entries).items():
        entries[name] = entries[name].changed(settings)
    return list(entries.values())


def _named(text: str) -> Iterator[tuple[str, str]]:
    """What --operators lists: each with the name that it is given, or none."""
    for part in split_list(text):
        alias, equals, what = part.partition("=")
        # In front of a bracket it is a name; behind, that of an argument.
        yield (alias.strip(), what.strip()) if equals and "(" not in alias else ("", part)


def _operators(options: CompareOptions) -> Iterator[Entry]:
    for alias, text in _named(options.operators or OPERATORS):
        name, factory, code = names.chosen_operator(text, allow_code=options.allow_code)
        if code is not None:
            file, _, function = text.rpartition(":")
            factory = OwnFunction(f"{Path(file).absolute()}:{function}")
        yield Entry(alias or name, factory, symmetry=options.symmetry, code=code)


def _recipes(options: CompareOptions, problems: Sequence[Problem]) -> Iterator[RecipeEntry]:
    """Those that are named, or are worth it on every problem."""
    if options.operators is None:
        able = [contenders(problem) for problem in problems]
        yield from (RecipeEntry(name, RECIPES[name]) for name in able[0] if all(name in a for a in able))
        return
    for alias, text in _named(options.operators):
        if len(each := expanded(text)) == 1:
            yield RecipeEntry(alias or spelled_recipe(text), named_recipe(text))
        elif alias:
            raise ConfigError(
                f"--operators: {alias}={text} are {len(each)} recipes, which cannot have one name."
            )
        else:
            yield from _all_of(each, problems)


def _all_of(texts: Sequence[str], problems: Sequence[Problem]) -> Iterator[RecipeEntry]:
    """Those of many that no problem refuses, each once; of the others a line says why they are left out."""
    seen = set()
    for text in texts:
        try:
            entry = RecipeEntry(spelled_recipe(text), named_recipe(text))
        except (ConfigError, ImportError) as error:
            say(f"{text} is left out: {error}")
            continue
        reasons = (refusal(entry.recipe, problem) for problem in problems)
        if (why := next((reason for reason in reasons if reason is not None), None)) is not None:
            say(f"{text} is left out: {why}")
        elif entry.name not in seen:
            seen.add(entry.name)
            yield entry


_SETTING = re.compile(r"(?P<entry>.+?)\.(?P<setting>[A-Za-z_]\w*)\s*=(?P<value>.*)", re.DOTALL)


def _settings(pairs: Sequence[str], entries: Mapping[str, Competitor]) -> dict[str, dict[str, Any]]:
    """``fno.width=64`` as ``{"fno": {"width": 64}}``."""
    given: dict[str, list[str]] = {}
    for pair in pairs:
        found = _SETTING.fullmatch(pair.strip())
        entry = found["entry"].strip() if found else pair.partition("=")[0].rpartition(".")[0]
        if found is None or entry not in entries:
            raise ConfigError(
                f"--set takes OPERATOR.NAME=VALUE such as fno.width=64, with an operator of this comparison "
                f"({', '.join(entries)}), got {pair!r}.{nearest(entry, entries)}"
            )
        given.setdefault(entry, []).append(f"{found['setting']}={found['value']}")
    return {entry: names.parse_settings(listed) for entry, listed in given.items()}


def show_benchmarks(*, json: bool) -> int:
    """Name all benchmarks."""
    named = {**BENCHMARKS, **{name: Benchmark.of_preset(preset) for name, preset in PRESETS.items()}}
    cards = {name: {"budget": b.budget, "source": b.source, "note": b.note} for name, b in named.items()}
    study = {ProblemContest(problem).name: title for title, problem in STUDY.items()}
    for name in dict.fromkeys([*problem_contests(), *study]):
        known = f", {study[name]} of the study of twenty" if name in study else ""
        cards[name] = {"budget": "", "source": f"a problem for recipes{known}", "note": ""}
    if json:
        emit_json({"benchmarks": cards})
        return 0
    rows = [
        [name, card["budget"] or "-", card["source"] or "a preset of sciml train"]
        for name, card in cards.items()
    ]
    print_table("", ["benchmark", "budget", "source"], rows)
    return 0
