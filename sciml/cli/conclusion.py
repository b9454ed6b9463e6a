"""What ``sciml solve`` makes of a finished training: judgments, fields, the report, numbers."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from sciml.calling import parameter_count
from sciml.cli.output import duration
from sciml.cli.solved import REPORT, RESULT, files_of, unknowns_in_words, verdict
from sciml.cli.status import say
from sciml.errors import DataError
from sciml.files import finite, write_json_atomic
from sciml.pinns.fields import fields_of
from sciml.pinns.monte_carlo.beside import Beside, beside
from sciml.pinns.problem import Problem
from sciml.pinns.report import write_report
from sciml.pinns.solving import steps_per_second
from sciml.pinns.uncertainty import findings
from sciml.pinns.yardsticks import Yardstick, yardsticks
from sciml.processes import peak_bytes
from sciml.run import versions

if TYPE_CHECKING:
    from sciml.cli.solve import AnyAttempt, Asked

_SHOWN, _ACCURACY = 5, 1e-3  # points beside Monte Carlo, and its relative standard error there
# Points on which a network is judged: so many coordinates in all, so many points at least, so many at most.
_JUDGED, _FEWEST, _ALL = 2**29, 200, 20_000


def conclude(attempt: AnyAttempt, asked: Asked, folder: Path) -> dict[str, Any]:
    """Judge, write files and report, then solution.json, whose presence says "done"."""
    problem, run = attempt.problem, attempt.run
    peak = peak_bytes(next(run.model.parameters()).device)  # before anything is judged
    points = _points_to_judge_on(problem)
    error = problem.relative_l2(run.model, points=points) if problem.has_reference else None
    found: list[Yardstick] = []
    if error is not None:
        say("judging beside trivial predictors and the classical solver")
        found = list(yardsticks(problem, error, points=points))
    at_points = list(_beside(problem, run.model))
    unknowns = findings(run.model, attempt.objective)
    values = {name: found.value for name, found in unknowns.items() if found.value is not None}
    about = {
        "title": f"{asked.problem}, solved by a physics-informed network",
        "equation": problem.equation,
        "source": problem.source,
        "sciml_problem": asked.mathematics,
        "sciml_version": versions()["sciml"],
        **({} if error is None else {"relative_l2": error}),
        **values,
    }
    fields = fields_of(problem, run.model, coefficients=attempt.objective.coefficients, about=about)
    fields.write(folder)
    reference = problem.reference() if error is not None else None
    numbers = {
        "problem": asked.problem,
        "arguments": asked.arguments,
        "fingerprint": asked.mathematics,
        "relative_l2": error,
        "judged_on": points,
        **_training(attempt),
        "peak_memory_bytes": peak,
        "coefficients": values,
        "unknowns": {name: dataclasses.asdict(found) for name, found in unknowns.items()},
        "recipe": asked.recipe,
        "windows": asked.windows,
        "seed": asked.seed,
        "reference": reference and {"source": reference.source, "error": reference.error},
        "yardsticks": [dataclasses.asdict(y) for y in found],
        "beside": [dataclasses.asdict(row) for row in at_points],
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


def _training(attempt: AnyAttempt) -> dict[str, Any]:
    """Numbers of it."""
    run = attempt.run
    last = run.history[-1]
    return {
        "loss": last["loss"],
        "seconds": run.seconds,
        "steps_per_second": steps_per_second(run.history),
        "steps": last["step"],
        "steps_asked": attempt.total,
        "finished": attempt.finished,
        "parameters": parameter_count(run.model),
        "estimator": repr(attempt.recipe.estimator),
        "stopped": last.get("stopped"),
    }


def _points_to_judge_on(problem: Problem) -> int | None:
    """All of the reference, unless they are made as they are asked for and would take minutes."""
    count = max(_FEWEST, _JUDGED // problem.domain.dim)
    return None if problem.grid or count >= _ALL else count


def _beside(problem: Problem, model: nn.Module) -> Iterator[Beside]:
    """The network beside Monte Carlo, at points of the domain drawn at random, where that is known."""
    if problem.outputs != 1 or type(problem).exact is not Problem.exact:
        return
    x = problem.sample(_SHOWN, seed=1)
    with contextlib.suppress(DataError):
        yield from beside(problem, model, x, accuracy=_ACCURACY)


def _facts(attempt: AnyAttempt, asked: Asked, stored: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
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
            **{f"found {name}": text for name, text in unknowns_in_words(stored).items()},
        },
        "Training": {
            "recipe": asked.recipe,
            "derivatives": stored["estimator"],
            **({"windows": asked.windows} if asked.windows else {}),
            "network": f"{type(attempt.model).__name__}, {stored['parameters']:,} parameters",
            "steps": f"{stored['steps']} of {stored['steps_asked']} in {duration(stored['seconds'])}",
            "stages": ", ".join(attempt.stages()),
            "points": str(len(attempt.points())),
            "speed": f"{stored['steps_per_second']:.3g} steps per second",
            "memory": f"{stored['peak_memory_bytes'] / 2**20:.0f} MiB at most, of the process",
            "seed": asked.seed,
            **({"stopped": stored["stopped"]} if stored["stopped"] else {}),
        },
        "Versions": versions(),
        "Files": files_of(asked.windows),
    }
