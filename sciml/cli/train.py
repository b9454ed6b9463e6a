"""``sciml train``."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sciml import processes
from sciml.assessment import Assessment, Row, assess, milliseconds
from sciml.calling import parameter_count
from sciml.cli.options import DataOptions, ModelOptions, RolloutOptions, RunOptions, TrainingOptions
from sciml.cli.output import duration, emit_json, print_table, progress
from sciml.cli.plan import Plan, make_plan
from sciml.cli.status import requeued_on_signals, say
from sciml.dataset import Dataset
from sciml.files import finite, write_json_atomic
from sciml.point_assessment import assess_points, point_examples
from sciml.presets import generator_of
from sciml.report import duration_text, pick_examples, write_report
from sciml.run import Run, RunFolder
from sciml.supervised import Supervised

ASSESSMENT, REPORT = "assessment.json", "report.html"


def train(
    target: str | None,
    model: ModelOptions,
    training: TrainingOptions,
    run: RunOptions,
    data: DataOptions,
    rollout: RolloutOptions,
) -> int:
    """Train or go on, assess, write the report; of a finished run only print what is stored.

    Started by torchrun, all processes train, and the first one does the rest.
    """
    with requeued_on_signals(), processes.joined():
        plan = processes.one_first(lambda: make_plan(target, model, training, run, data, rollout))
        folder = run.output if run.output is not None else plan.folder
        finished = _fit(plan, folder, force=run.force)
        if processes.rank() > 0:
            return 0  # process 0 judges, writes and prints
        stored = _stored(folder)
        if stored is None:
            stored = _conclude(plan, finished, folder)
    if run.json:
        emit_json(result_of(stored, folder))
    else:
        _show(stored, folder)
    return 0


def _fit(plan: Plan, folder: Path, *, force: bool) -> Run:
    """All remaining steps; none if the run is finished."""
    loop = plan.trainer.iterate(
        plan.model,
        plan.objective,
        validation=plan.validation,
        every=plan.every,
        stop=plan.stop,
        output=folder,
        force=force,
    )
    count = parameter_count(plan.model)
    say(f"run: {folder} ({plan.operator}, {count:,} parameters, seed {plan.trainer.streams.seed})")
    judged = ""
    with progress("training", plan.trainer.steps) as bar:
        for step in loop:
            if "validation" in step.row:
                # The first metric, the relative L2 error: a line of a terminal is short.
                judged = f", validation {next(iter(step.row['validation'].values())):.4g}"
            bar.update(step.number, f"loss {step.loss:.4g}{judged}")
    return loop.run


def _stored(folder: Path) -> dict[str, Any] | None:
    """The stored result, if the run got as far; anything damaged is simply made again."""
    if not (folder / REPORT).exists():
        return None
    with contextlib.suppress(OSError, ValueError):
        stored: dict[str, Any] = json.loads((folder / ASSESSMENT).read_bytes())
        Assessment.from_dict(stored["assessment"])
        return stored
    return None


def _conclude(plan: Plan, run: Run, folder: Path) -> dict[str, Any]:
    """Judge on the test split and write report.html, then assessment.json, whose presence says "done"."""
    data = plan.data
    generator = generator_of(data)
    baselines = generator.baselines() if generator is not None else []
    judged = next(part for part in (data.test, data.valid, data.train) if len(part))
    split = next(name for name in ("test", "valid", "train") if len(getattr(data, name)))
    if split != "test":
        say(f"warning: {data.path} has no test samples; errors are those of the {split} split.")
    say(f"judging on {len(judged)} samples, beside {len(baselines)} classical solvers")
    if data.kind == "grid":
        surrogate = run.surrogate()
        assessment = assess(surrogate, judged, baselines=baselines, training=data.train)
        examples = pick_examples(surrogate, judged, assessment.surrogate.errors)
    else:
        assert isinstance(plan.objective, Supervised)  # roll-outs are on grids
        task = plan.objective.on(judged)
        assessment = assess_points(task, run.model)
        examples = point_examples(task, run.model, assessment.surrogate.errors)
    stored = {
        "operator": plan.operator,
        "parameters": parameter_count(plan.model),
        "train_seconds": run.seconds,
        "waiting": round(run.waiting, 4),
        "steps": plan.trainer.steps,
        "seed": plan.trainer.streams.seed,
        "split": split,
        "data": str(data.path),
        "assessment": finite(assessment.to_dict()),
    }
    write_report(
        folder / REPORT,
        title=f"{plan.name}: {type(plan.model).__name__}",
        assessment=assessment,
        history=run.history,
        examples=examples,
        grid=judged.grid if data.kind == "grid" else None,
        facts=_facts(plan, data, folder, stored),
    )
    write_json_atomic(folder / ASSESSMENT, stored)
    return stored


def _facts(plan: Plan, data: Dataset, folder: Path, stored: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    record = RunFolder(folder).read() or {}
    attributes = data.attributes
    about = ("title", "equation", "boundary", "generator", "solver", "seed")
    return {
        "Model": {
            "operator": plan.operator,
            "parameters": f"{stored['parameters']:,} real numbers",
            "training": f"{stored['steps']} steps in {_time(stored)}",
        },
        "Data": {
            "file": str(data.path),
            "digest": data.digest,
            "samples": ", ".join(f"{name} {len(getattr(data, name))}" for name in ("train", "valid", "test")),
            **_place(data),
            **{name: attributes[name] for name in about if name in attributes},
        },
        "Seeds": {"training": stored["seed"], "data": attributes.get("seed", "not stated")},
        "Settings": dict(_flat(record.get("settings", {}))),
        "Versions": record.get("versions", {}),
        "Files": {path: what for path, what in FILES.items() if path == REPORT or (folder / path).exists()},
    }


def _place(data: Dataset) -> dict[str, str]:
    if data.kind == "grid":
        return {"grid": f"{' x '.join(map(str, data.grid.shape))} ({', '.join(data.grid.names)})"}
    counts = data.count()
    return {data.kind: f"{counts.min()} to {counts.max()} points ({', '.join(data.space.names)})"}


FILES = {
    "run.json": "settings, versions, status: repeat it with sciml train --like",
    "metrics.jsonl": "loss, learning rate and validation of every step",
    "checkpoints": "training state",
    "surrogate": "the trained model: sciml.Surrogate.load",
    REPORT: "errors, times, pictures",
    ASSESSMENT: "the same as numbers, errors of every sample included",
}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as dotted keys, in the words of `sciml.run.differences`."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, path if key == "arguments" else f"{path}.{key}".lstrip("."))
    else:
        yield path, value


def result_of(stored: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The machine-readable result of ``sciml train --json``."""
    assessment = Assessment.from_dict(stored["assessment"])
    names = ("operator", "parameters", "train_seconds", "waiting", "steps", "seed", "split", "data")
    return {
        "run": str(folder),
        **{name: stored.get(name) for name in names},
        **numbers_of(assessment),
        "files": [str(folder / name) for name in FILES if (folder / name).exists()],
    }


def numbers_of(assessment: Assessment) -> dict[str, Any]:
    """What ``train`` and ``evaluate`` print alike: ``test``, ``baselines``, speed-up, digest."""

    def timed(row: Row) -> dict[str, Any]:
        return {**row.means, "seconds_per_sample": row.seconds}

    equal = assessment.equal
    return {
        "digest": assessment.digest,
        "samples": assessment.samples,
        "test": assessment.surrogate.means,
        **_over_time(assessment),
        "interval": list(assessment.surrogate.metrics["relative_l2"]["interval"]),
        "seconds_per_sample": assessment.surrogate.seconds,
        "baselines": {row.name: {"kind": row.kind, **timed(row)} for row in assessment.rows[1:]},
        "discretization_error": assessment.floor,
        "speed_up": assessment.speed_up,
        "equal_error_solver": None if equal is None else equal.name,
        "verdict": assessment.verdict,
        "conditions": assessment.conditions,
    }


def _over_time(assessment: Assessment) -> dict[str, Any]:
    """Of roll-outs: mean errors of every frame, and how many durations were not over at the end."""
    if assessment.timeline is None:
        return {}
    courses = {row.name: dataclasses.asdict(row.course) for row in assessment.rows if row.course is not None}
    metrics = assessment.surrogate.metrics
    return {
        "times": assessment.timeline.times,
        "time_units": assessment.timeline.units,
        "error_over_time": courses,
        "censored": {name: m["censored"] for name, m in metrics.items() if "censored" in m},
    }


def _show(stored: Mapping[str, Any], folder: Path) -> None:
    assessment = Assessment.from_dict(stored["assessment"])
    show_assessment(assessment)
    print(f"Training: {stored['steps']} steps in {_time(stored)}.")
    print(f"Written to {folder}:")
    for name, what in FILES.items():
        if (folder / name).exists():
            shown = f"{name}/" if (folder / name).is_dir() else name
            print(f"  {shown:<18}{what}")


def _time(stored: Mapping[str, Any]) -> str:
    waiting = f", {100 * stored['waiting']:.1f} % of it waiting for data" if "waiting" in stored else ""
    return duration(stored["train_seconds"]) + waiting


def show_assessment(assessment: Assessment) -> None:
    """The table of errors and times, and the honest speed-up."""
    rolled = assessment.timeline is not None
    rows = []
    for row in assessment.rows:
        means = row.means
        cells = [_cell(row.metrics["relative_l2"][name]) for name in ("mean", "worst")]
        if rolled:
            cells += [_cell(means["relative_l2_first"]), _cell(means["relative_l2_last"])]
            cells.append(duration_text(row, "valid_time"))
        rows.append([row.name, *cells, f"{means['rmse']:.3g}", milliseconds(row.seconds)])
    if assessment.floor is not None:
        rows.append(["(discretization error of the data)", _cell(assessment.floor)])
        rows[-1] += [""] * (len(rows[0]) - 2)
    heads = ["", "relative L2", "worst", *(["first frame", "last frame", "valid time"] if rolled else [])]
    heads += ["RMSE", f"per {assessment.noun}"]
    title = f"{assessment.samples} {'trajectories' if rolled else 'samples'}"
    print_table(title, heads, rows, bold=0)
    print(assessment.verdict)
    print(assessment.conditions)


def _cell(error: float) -> str:
    """Four decimals; errors of rounding in powers of ten."""
    return f"{error:.4f}" if not error < 1e-4 else f"{error:.0e}"
