"""``sciml solve``."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sciml import processes
from sciml.assessment import milliseconds
from sciml.calling import parameter_count
from sciml.cli import names
from sciml.cli.options import RunOptions, SolveOptions
from sciml.cli.output import duration, emit_json, print_table, progress
from sciml.cli.status import requeued_on_signals, say
from sciml.description import build, describe
from sciml.errors import ConfigError, nearest
from sciml.files import finite, write_json_atomic
from sciml.pinns.fields import fields_of
from sciml.pinns.problem import Problem
from sciml.pinns.recipe import Recipe
from sciml.pinns.recipes import RECIPES, suited
from sciml.pinns.report import terms_of, write_report
from sciml.pinns.solving import Attempt
from sciml.pinns.unknowns import numbers_of
from sciml.pinns.yardsticks import Yardstick, yardsticks
from sciml.presets import short_hash
from sciml.processes import device_of
from sciml.run import RunFolder, differences, versions

ASKED, RESULT, REPORT = "problem.json", "solution.json", "report.html"


@dataclass(frozen=True)
class Asked:
    """What a run answers: enough to ask again, and to tell one question from another.

    ``arguments`` are descriptions by name (`sciml.describe`); ``mathematics`` is the problem's fingerprint,
    ``code`` the SHA-256 of the user's file.
    """

    problem: str
    arguments: dict[str, Any]
    mathematics: str
    recipe: str
    steps: int | None
    seed: int
    code: str | None = None


def solve(target: str | None, options: SolveOptions, run: RunOptions) -> int:
    """Train or go on, judge, write the report; of a finished run only print what is stored."""
    with requeued_on_signals(), processes.joined():
        problem, asked = _asked(target, options, run.like)
        attempt = Attempt(problem, _recipe(asked), seed=asked.seed, device=device_of(options.device))
        folder = run.output if run.output is not None else _default_folder(asked, attempt)
        _check_same(folder, asked, force=run.force)
        stored = None if run.force else _enough(folder, asked, options.time_limit)
        if stored is None:
            _fit(attempt, asked, folder, options.time_limit, force=run.force)
            if processes.rank() > 0:
                return 0  # process 0 judges, writes and prints
            stored = _stored(folder, attempt.run.history[-1]["step"]) or _conclude(attempt, asked, folder)
    if run.json:
        emit_json(result_of(stored, folder))
    else:
        _show(stored, folder)
    return 0


# What is asked for.


def _asked(target: str | None, options: SolveOptions, like: Path | None) -> tuple[Problem, Asked]:
    if (target is None) == (like is None):
        raise ConfigError("sciml solve needs a problem (sciml solve --list) or --like RUN; one of them.")
    if like is not None:
        return _like(like, options)
    assert target is not None
    arguments = names.parse_settings(options.settings)
    problem, code = _problem(target, arguments, allow_code=options.allow_code)
    recipe = options.recipe
    if recipe is None:
        recipe = next(name for name, known in RECIPES.items() if known is suited(problem))
    told = describe(arguments)["dict"]
    return problem, Asked(target, told, problem.fingerprint(), recipe, options.steps, options.seed or 0, code)


def _like(folder: Path, options: SolveOptions) -> tuple[Problem, Asked]:
    if options.settings or options.recipe or options.steps is not None:
        raise ConfigError(
            "--like repeats a run with its own settings; leave out --set, --recipe and --steps."
        )
    record = _read(folder / ASKED)
    if record is None:
        raise ConfigError(f"--like {folder}: there is no {ASKED} of sciml solve in this folder.")
    asked = Asked(**record)
    problem, code = _problem(asked.problem, build({"dict": asked.arguments}), allow_code=options.allow_code)
    if (found := problem.fingerprint()) != asked.mathematics:
        raise ConfigError(
            f"--like {folder}: {asked.problem} has fingerprint {found} now, {asked.mathematics} then; it is "
            "another problem."
        )
    seed = asked.seed if options.seed is None else options.seed
    return problem, dataclasses.replace(asked, seed=seed, code=code)


def _problem(name: str, arguments: Mapping[str, Any], *, allow_code: bool) -> tuple[Problem, str | None]:
    """The problem of this name with these arguments, and the SHA-256 of the user's file."""
    code = None
    if names.is_code(name):
        form = "a subclass of sciml.pinns.Problem"
        cls, code = names.load_code(name, allowed=allow_code, option="sciml solve", form=form)
    else:
        cls = names.choose("problem", name, names.problems())
    if not (isinstance(cls, type) and issubclass(cls, Problem)):
        raise ConfigError(f"{name} is no subclass of sciml.pinns.Problem.")
    names.check_settings(f"problem {name}", cls, arguments, ())
    try:
        return cls(**arguments), code
    except TypeError as error:
        raise ConfigError(f"{name} does not accept {dict(arguments)}: {error}") from error


def _recipe(asked: Asked) -> Recipe:
    if asked.recipe not in RECIPES:
        listed = ", ".join(RECIPES)
        raise ConfigError(
            f"there is no recipe {asked.recipe!r}; there is {listed}.{nearest(asked.recipe, RECIPES)}"
        )
    recipe = RECIPES[asked.recipe]
    return recipe if asked.steps is None else recipe.scaled(asked.steps)


def _default_folder(asked: Asked, attempt: Attempt) -> Path:
    parts = (attempt.trainer, attempt.objective, attempt.model)
    settings = [dataclasses.asdict(asked), *(describe(part) for part in parts)]
    stem = asked.problem.rpartition(":")[2].lower()
    return Path("runs") / f"{stem}-{short_hash(settings)}"


# What is there already.


def _read(path: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads(path.read_bytes())
        return found
    return None


def _check_same(folder: Path, asked: Asked, *, force: bool) -> None:
    """Refuse a folder that answers something else: the trainer compares settings, which tell little of a
    class of the user's own."""
    record = _read(folder / ASKED)
    now = dataclasses.asdict(asked)
    if force or record is None or (changed := list(differences(record, now))) == []:
        return
    shown = "; ".join(f"{key}: {old} there, {new} now" for key, old, new in changed)
    raise ConfigError(
        f"{folder} holds a run with other settings ({shown}). Choose another output folder, or start anew "
        "there with --force."
    )


def _enough(folder: Path, asked: Asked, time_limit: float | None) -> dict[str, Any] | None:
    """The stored result of the same question that has used up its time already."""
    if time_limit is None or _read(folder / ASKED) != dataclasses.asdict(asked):
        return None
    history = RunFolder(folder).history()
    if not history or history[-1]["seconds"] < time_limit:
        return None
    return _stored(folder, history[-1]["step"])


def _stored(folder: Path, step: int) -> dict[str, Any] | None:
    """The stored result of this step; anything damaged is simply made again."""
    stored = _read(folder / RESULT)
    complete = all((folder / name).exists() for name in FILES)
    return stored if stored is not None and complete and stored.get("steps") == step else None


# Training and judging.


def _fit(attempt: Attempt, asked: Asked, folder: Path, time_limit: float | None, *, force: bool) -> None:
    count = parameter_count(attempt.model)
    say(f"run: {folder} ({asked.recipe}, {count:,} parameters, seed {asked.seed})")
    judged, written = "", processes.rank() > 0
    with progress("solving", attempt.trainer.steps) as bar:
        for step in attempt.steps(time_limit=time_limit, output=folder, force=force):
            if not written:  # the folder is ours now
                write_json_atomic(folder / ASKED, dataclasses.asdict(asked))
                written = True
            if error := step.row.get("validation", {}).get("relative_l2"):
                judged = f", error {error:.3g}"
            terms = terms_of(step.row)
            told = " (" + ", ".join(f"{n} {v:.2g}" for n, v in terms.items()) + ")" if terms else ""
            clock = "" if time_limit is None else f", {step.row['seconds']:.0f} of {time_limit:g} s"
            bar.update(
                step.number, f"{attempt.stage(step.number)}, loss {step.loss:.3g}{told}{judged}{clock}"
            )
    if not attempt.finished:
        say("the time is over; the same command with a larger --time-limit goes on.")


def _conclude(attempt: Attempt, asked: Asked, folder: Path) -> dict[str, Any]:
    """Judge, write files and report, then solution.json, whose presence says "done"."""
    problem, run = attempt.problem, attempt.run
    error = problem.relative_l2(run.model) if problem.has_reference else None
    found: list[Yardstick] = []
    if error is not None:
        say("judging beside trivial predictors and the classical solver")
        found = list(yardsticks(problem, error))
    coefficients = attempt.objective.coefficients
    values = numbers_of(coefficients)
    about = {
        "title": f"{asked.problem}, solved by a physics-informed network",
        "equation": problem.equation,
        "source": problem.source,
        "sciml_problem": asked.mathematics,
        "sciml_version": versions()["sciml"],
        **({} if error is None else {"relative_l2": error}),
        **values,
    }
    fields = fields_of(problem, run.model, coefficients=coefficients, about=about)
    fields.write(folder)
    last = run.history[-1]
    reference = problem.reference() if error is not None else None
    numbers = {
        "problem": asked.problem,
        "arguments": asked.arguments,
        "fingerprint": asked.mathematics,
        "relative_l2": error,
        "loss": last["loss"],
        "seconds": run.seconds,
        "steps": last["step"],
        "steps_asked": attempt.trainer.steps,
        "finished": attempt.finished,
        "parameters": parameter_count(run.model),
        "coefficients": values,
        "recipe": asked.recipe,
        "seed": asked.seed,
        "stopped": last.get("stopped"),
        "reference": reference and {"source": reference.source, "error": reference.error},
        "yardsticks": [dataclasses.asdict(y) for y in found],
    }
    stored: dict[str, Any] = finite(numbers)
    write_report(
        folder / REPORT,
        title=f"{asked.problem}: {problem.source or type(problem).__name__}",
        verdict=verdict(stored),
        error=error,
        fields=fields,
        points=attempt.points().numpy(),
        history=run.history,
        yardsticks=found,
        facts=_facts(attempt, asked, stored),
    )
    write_json_atomic(folder / RESULT, stored)
    return stored


def _facts(attempt: Attempt, asked: Asked, stored: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    problem = attempt.problem
    known = stored["reference"]
    reference = f"{known['source']}, error below {known['error']:.1g}" if known else "none"
    bounds = ", ".join(f"({low:g}, {high:g})" for low, high in problem.domain.bounds[:6])
    return {
        "Problem": {
            "name": asked.problem,
            **{name: value for name, value in stored["arguments"].items()},
            "equation": problem.equation,
            "source": problem.source,
            "fingerprint": asked.mathematics,
            "domain": bounds + (", ..." if problem.domain.dim > 6 else ""),
            "reference": reference,
            **{f"found {name}": f"{value:.6g}" for name, value in stored["coefficients"].items()},
        },
        "Training": {
            "recipe": asked.recipe,
            "network": f"{type(attempt.model).__name__}, {stored['parameters']:,} parameters",
            "steps": f"{stored['steps']} of {stored['steps_asked']} in {duration(stored['seconds'])}",
            "stages": ", ".join(attempt.stages()),
            "points": str(len(attempt.points())),
            "seed": asked.seed,
            **({"stopped": stored["stopped"]} if stored["stopped"] else {}),
        },
        "Versions": versions(),
        "Files": FILES,
    }


FILES = {
    "run.json": "settings, versions, status",
    ASKED: "what was asked: repeat it with sciml solve --like",
    "metrics.jsonl": "loss, its terms, seconds and error of every step",
    "checkpoints": "training state",
    "solution.nc": "solution, error and residual: xarray.open_dataset",
    "solution.vtu": "the same for ParaView and meshio",
    REPORT: "errors, times, pictures",
}


# What is printed.


def verdict(stored: Mapping[str, Any]) -> str:
    """The result in two sentences."""
    after = f"after {stored['steps']} steps in {duration(stored['seconds'])}"
    if not stored["finished"]:
        after += f" (of {stored['steps_asked']}: the time was over)"
    error = stored["relative_l2"]
    if error is None:
        return f"No solution is known to compare with; the loss is {stored['loss']:.3g} {after}."
    text = f"Relative L2 error {error:.3g} {after}."
    solvers = [y for y in stored["yardsticks"] if y["kind"] == "classical"]
    if not solvers:
        return text
    last = solvers[-1]
    least = "is as accurate" if last["error"] <= error else f"reaches {last['error']:.3g}"
    return f"{text} The classical solver ({last['name']}) {least} in {milliseconds(last['seconds'])}."


def result_of(stored: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The machine-readable result of ``sciml solve --json``."""
    return {**stored, "run": str(folder), "files": [str(folder / name) for name in (*FILES, RESULT)]}


def _show(stored: Mapping[str, Any], folder: Path) -> None:
    if stored["relative_l2"] is not None:
        rows = [[stored["recipe"], f"{stored['relative_l2']:.3g}", f"{stored['seconds']:.3g} s"]]
        for y in stored["yardsticks"]:
            rows.append([y["name"], f"{y['error']:.3g}", milliseconds(y["seconds"])])
        title = f"{stored['problem']}, fingerprint {stored['fingerprint']}"
        print_table(title, ["", "relative L2", "time"], rows, bold=0)
    for name, value in stored["coefficients"].items():
        print(f"{name} = {value:.6g}")
    print(verdict(stored))
    print(f"Written to {folder}:")
    for name, what in FILES.items():
        print(f"  {name:<18}{what}")


def show_problems(*, json: bool) -> int:
    """Name all problems, with their arguments, and all recipes."""
    cards: dict[str, dict[str, Any]] = {}
    for name, cls in names.problems().items():
        arguments = {p.name: p.default for p in inspect.signature(cls).parameters.values()}
        cards[name] = {
            "summary": " ".join((inspect.getdoc(cls) or "").partition("\n\n")[0].split()),
            "source": getattr(cls, "source", ""),
            "arguments": {key: None if v is inspect.Parameter.empty else v for key, v in arguments.items()},
        }
    if json:
        emit_json({"problems": cards, "recipes": list(RECIPES)})
        return 0
    for name, card in cards.items():
        print(f"{name}: {card['summary']}")
        shown = ", ".join(f"{key}={value}" for key, value in card["arguments"].items())
        print(f"  {card['source']}" + (f"; {shown}" if shown else ""))
    print(f"recipes: {', '.join(RECIPES)}")
    return 0
