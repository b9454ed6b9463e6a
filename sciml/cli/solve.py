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
from sciml.calling import parameter_count
from sciml.cli import names
from sciml.cli.conclusion import conclude
from sciml.cli.options import RunOptions, SolveOptions
from sciml.cli.output import emit_json, progress
from sciml.cli.solved import ASKED, RESULT, files_of, result_of, show
from sciml.cli.status import requeued_on_signals, say
from sciml.description import build, describe
from sciml.errors import ConfigError
from sciml.files import write_json_atomic
from sciml.kernels.estimators import Estimator, Exact, Hutchinson, SparseDirections
from sciml.pinns.marching import MarchAttempt
from sciml.pinns.naming import named_recipe, parts_by_kind, spelled_recipe
from sciml.pinns.problem import Problem
from sciml.pinns.recipe import Recipe
from sciml.pinns.recipes import RECIPES, suited
from sciml.pinns.report import terms_of
from sciml.pinns.solving import Attempt
from sciml.presets import short_hash
from sciml.processes import device_of
from sciml.run import differences

SAMPLES = 16  # directions of a step, as published


@dataclass(frozen=True)
class Asked:
    """What a run answers: enough to ask again, and to tell one question from another.

    ``arguments`` are descriptions by name (`sciml.describe`); ``mathematics`` is the problem's fingerprint,
    ``code`` the SHA-256 of the user's file.  Without ``estimator`` and ``samples`` those of the recipe count,
    without ``windows`` there is one network for all of the time.
    """

    problem: str
    arguments: dict[str, Any]
    mathematics: str
    recipe: str
    steps: int | None
    seed: int
    code: str | None = None
    estimator: str | None = None
    samples: int | None = None
    windows: int | None = None


AnyAttempt = Attempt | MarchAttempt


def solve(target: str | None, options: SolveOptions, run: RunOptions) -> int:
    """Train or go on, judge, write the report; of a finished run only print what is stored."""
    with requeued_on_signals(), processes.joined():
        problem, asked = _asked(target, options, run.like)
        attempt = _attempt(problem, asked, options.device)
        folder = run.output if run.output is not None else _default_folder(asked, attempt)
        _check_same(folder, asked, force=run.force)
        stored = None if run.force else _enough(attempt, folder, asked, options.time_limit)
        if stored is None:
            _fit(attempt, asked, folder, options.time_limit, force=run.force)
            if processes.rank() > 0:
                return 0  # process 0 judges, writes and prints
            last = attempt.run.history[-1]["step"]
            stored = _stored(folder, asked, last) or conclude(attempt, asked, folder)
    if run.json:
        emit_json(result_of(stored, folder))
    else:
        show(stored, folder)
    return 0


# What is asked for.


def _asked(target: str | None, options: SolveOptions, like: Path | None) -> tuple[Problem, Asked]:
    if (target is None) == (like is None):
        raise ConfigError("sciml solve needs a problem (sciml solve --list) or --like RUN; one of them.")
    if like is not None:
        return _like(like, options)
    assert target is not None
    arguments = names.parse_settings(options.settings)
    if options.dim is not None and arguments.setdefault("dim", options.dim) != options.dim:
        raise ConfigError(f"--dim {options.dim} and --set dim={arguments['dim']} contradict each other.")
    problem, code = _problem(target, arguments, allow_code=options.allow_code)
    recipe = None if options.recipe is None else spelled_recipe(options.recipe)
    windows = options.windows
    if recipe is None:
        estimated = options.estimator is not None or options.samples is not None
        chosen = suited(problem, estimated=estimated)
        recipe = next(name for name, known in RECIPES.items() if known is chosen)
        windows = problem.windows if windows is None else windows
    return problem, Asked(
        target,
        describe(arguments)["dict"],
        problem.fingerprint(),
        recipe,
        options.steps,
        options.seed or 0,
        code,
        options.estimator,
        options.samples,
        None if windows == 1 else windows,
    )


def _like(folder: Path, options: SolveOptions) -> tuple[Problem, Asked]:
    given = {
        "--set": options.settings or None,
        "--dim": options.dim,
        "--recipe": options.recipe,
        "--estimator": options.estimator,
        "--samples": options.samples,
        "--windows": options.windows,
        "--steps": options.steps,
    }
    if wrong := [option for option, value in given.items() if value is not None]:
        raise ConfigError(f"--like repeats a run with its own settings; leave out {', '.join(wrong)}.")
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


def recipe_of(asked: Asked) -> Recipe:
    """The recipe of that name, with what is asked for besides."""
    recipe = named_recipe(asked.recipe)
    recipe = dataclasses.replace(recipe, estimator=_estimator(asked, recipe))
    return recipe if asked.steps is None else recipe.scaled(asked.steps)


def _estimator(asked: Asked, recipe: Recipe) -> Estimator:
    """What was asked for, over what the recipe has."""
    if asked.estimator is None and asked.samples is None:
        return recipe.estimator
    if asked.samples is not None and asked.samples < 1:
        raise ConfigError(f"--samples is a number of directions, at least 1, got {asked.samples}.")
    if asked.estimator == "exact" or (asked.estimator is None and isinstance(recipe.estimator, Exact)):
        if asked.samples is not None:
            raise ConfigError(
                f"--samples {asked.samples} belongs to a random estimator, but derivatives are exact here; "
                "choose --estimator sparse or --estimator hutchinson."
            )
        return Exact()
    usual: int = getattr(recipe.estimator, "samples", SAMPLES)
    samples = usual if asked.samples is None else asked.samples
    if asked.estimator is None:
        changed: Estimator = dataclasses.replace(recipe.estimator, samples=samples)  # type: ignore[type-var]
        return changed
    return SparseDirections(samples) if asked.estimator == "sparse" else Hutchinson(samples)


def _attempt(problem: Problem, asked: Asked, device: str) -> AnyAttempt:
    recipe, place = recipe_of(asked), device_of(device)
    if asked.windows is None:
        return Attempt(problem, recipe, seed=asked.seed, device=place)
    return MarchAttempt(problem, recipe, windows=asked.windows, seed=asked.seed, device=place)


def _default_folder(asked: Asked, attempt: AnyAttempt) -> Path:
    parts = (attempt.recipe.trainer(asked.seed), attempt.objective, attempt.model)
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
    record = _answered(folder)
    now = dataclasses.asdict(asked)
    if force or record is None or (changed := list(differences(record, now))) == []:
        return
    shown = "; ".join(f"{key}: {old} there, {new} now" for key, old, new in changed)
    raise ConfigError(
        f"{folder} holds a run with other settings ({shown}). Choose another output folder, or start anew "
        "there with --force."
    )


def _answered(folder: Path) -> dict[str, Any] | None:
    """What the folder answers, with what questions have learned to say since."""
    record = _read(folder / ASKED)
    added = {f.name: f.default for f in dataclasses.fields(Asked) if f.default is not dataclasses.MISSING}
    return None if record is None else added | record


def _enough(
    attempt: AnyAttempt, folder: Path, asked: Asked, time_limit: float | None
) -> dict[str, Any] | None:
    """The stored result of the same question that has used up its time already."""
    if time_limit is None or _answered(folder) != dataclasses.asdict(asked):
        return None
    history = attempt.history(folder)
    if not history or history[-1]["seconds"] < time_limit:
        return None
    return _stored(folder, asked, history[-1]["step"])


def _stored(folder: Path, asked: Asked, step: int) -> dict[str, Any] | None:
    """The stored result of this step; anything damaged is simply made again."""
    stored = _read(folder / RESULT)
    complete = all((folder / name).exists() for name in files_of(asked.windows))
    return stored if stored is not None and complete and stored.get("steps") == step else None


# Training and judging.


def _fit(attempt: AnyAttempt, asked: Asked, folder: Path, time_limit: float | None, *, force: bool) -> None:
    count = parameter_count(attempt.model)
    each = "" if asked.windows is None else f" in each of {asked.windows} windows"
    say(f"run: {folder} ({asked.recipe}, {count:,} parameters{each}, seed {asked.seed})")
    judged, written = "", processes.rank() > 0
    with progress("solving", attempt.total) as bar:
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
        emit_json({"problems": cards, "recipes": list(RECIPES), "parts": parts_by_kind()})
        return 0
    for name, card in cards.items():
        print(f"{name}: {card['summary']}")
        shown = ", ".join(f"{key}={value}" for key, value in card["arguments"].items())
        print(f"  {card['source']}" + (f"; {shown}" if shown else ""))
    print(f"recipes: {', '.join(RECIPES)}")
    for kind, parts in parts_by_kind().items():
        print(f"  + {kind}: {', '.join(parts)}")
    return 0
