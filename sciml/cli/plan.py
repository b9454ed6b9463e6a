"""From the options of ``sciml train`` to the objects of a training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from sciml.cli import names
from sciml.cli.foreign import open_file
from sciml.cli.options import DataOptions, ModelOptions, RolloutOptions, RunOptions, TrainingOptions
from sciml.cli.output import progress
from sciml.cli.status import say
from sciml.cli.task import chosen_task
from sciml.dataset import Dataset, open_dataset
from sciml.description import build, describe
from sciml.errors import ConfigError, DataError, nearest
from sciml.operators.making import FROM_DATA, make_model, symmetrized
from sciml.operators.symmetrized import Symmetrized
from sciml.presets import DATA_FOLDER, PRESETS, Preset, Recipe, Stepping, short_hash
from sciml.processes import device_of
from sciml.rollout import Rollout
from sciml.run import RunFolder
from sciml.supervised import Supervised
from sciml.trainer import EarlyStop, Trainer

Maker = Callable[[int, int, Dataset], nn.Module]


@dataclass(frozen=True)
class Plan:
    """Everything that a training needs."""

    name: str
    operator: str
    model: nn.Module
    trainer: Trainer
    objective: Supervised | Rollout
    validation: Supervised | Rollout | None
    code: str | None = None  # SHA-256 of the user's own file
    every: int | None = None
    stop: EarlyStop | None = None

    @property
    def data(self) -> Dataset:
        """All samples of the file."""
        return open_dataset(self.objective.dataset.path)

    @property
    def folder(self) -> Path:
        """``runs/<name>-<hash of settings>``; the place of the data does not count, their digest does."""
        settings = {
            "trainer": describe(self.trainer),
            "model": describe(self.model),
            "objective": describe(self.objective),
            "code": self.code,
        }
        settings["objective"]["arguments"]["dataset"] = self.objective.dataset.digest
        return Path("runs") / f"{self.name}-{short_hash(settings)}"


def make_plan(
    target: str | None,
    model: ModelOptions,
    training: TrainingOptions,
    run: RunOptions,
    options: DataOptions,
    rollout: RolloutOptions,
) -> Plan:
    """The plan for a preset, a dataset file or an earlier run.

    Raises
    ------
    ConfigError
        For options that contradict each other or are unknown.
    DataError
        If the data are not what a map or a step in time can be learned from.
    """
    if (target is None) == (run.like is None):
        raise ConfigError(
            f"sciml train needs a preset ({', '.join(PRESETS)}), a dataset file, or --like RUN; one of them."
        )
    if target is not None:
        return _of_target(target, model, training, options, rollout)
    assert run.like is not None
    if options != DataOptions() or rollout != RolloutOptions():
        raise ConfigError(
            "--like repeats a run on its own data; leave out --inputs, --outputs, --window and the like."
        )
    return _like(run.like, model, training)


def _of_target(
    target: str,
    model: ModelOptions,
    training: TrainingOptions,
    options: DataOptions,
    rollout: RolloutOptions,
) -> Plan:
    preset = PRESETS.get(target)
    if preset is None and not Path(target).exists():
        raise ConfigError(
            f"there is no preset and no file {target!r}; presets are {', '.join(PRESETS)}."
            f"{nearest(target, PRESETS)}"
        )
    if preset is not None and options != DataOptions():
        raise ConfigError(
            f"the preset {target} has its own data; --inputs, --outputs and the like are for files."
        )
    recipe = _recipe(preset, training)
    seed = training.seed or 0
    trainer = recipe.trainer(seed)
    operator, maker, code = operator_maker(model, preset)
    data = open_file(Path(target), options) if preset is None else preset_data(preset)
    stepping = preset.stepping if preset is not None else Stepping()
    task = chosen_task(data, options, rollout, stepping)
    module, objective, validation = task.training(
        data, maker, seed=seed, batch_size=recipe.batch_size, workers=training.workers or 0
    )
    return Plan(
        name=preset.name if preset is not None else Path(target).stem,
        operator=operator,
        model=module.to(device_of(training.device)),
        trainer=trainer,
        objective=objective,
        validation=validation,
        code=code,
    )


def _recipe(preset: Preset | None, training: TrainingOptions) -> Recipe:
    """The preset's recipe with what the options change."""
    given = {
        name: getattr(training, name)
        for name in ("steps", "batch_size", "learning_rate", "ema", "precision", "optimizer")
        if getattr(training, name) is not None
    }
    for name in ("steps", "batch_size", "learning_rate"):
        if name in given and not given[name] > 0:
            raise ConfigError(f"--{name.replace('_', '-')} must be positive, got {given[name]}.")
    return dataclasses.replace(preset.recipe if preset is not None else Recipe(), **given)


def preset_data(preset: Preset) -> Dataset:
    """The data of a preset, generated on first use below the current folder."""
    path = DATA_FOLDER / preset.file_name
    if path.exists():
        data = preset.data.open(DATA_FOLDER, preset.name)
        say(f"data: {path}, digest {data.digest}")
        return data
    with progress(f"generating {preset.data.total} samples of {preset.name}", preset.data.total) as bar:
        bar.update(0)
        data = preset.data.open(DATA_FOLDER, preset.name, progress=lambda done, _total: bar.update(done))
    say(f"data: generated {path}, digest {data.digest}")
    return data


def operator_maker(model: ModelOptions, preset: Preset | None = None) -> tuple[str, Maker, str | None]:
    """Name of the operator, a function (in_channels, out_channels, data) -> module, SHA-256 of own code.

    Without a choice of symmetry it is the one that the file states, for operators of ours.

    Raises
    ------
    ConfigError
        For an unknown operator or setting, before any data are touched.
    """
    default = None if preset is None else preset.operator
    name, factory, code = names.chosen_operator(model.operator, default, allow_code=model.allow_code)
    given = names.parse_settings(model.settings)
    names.check_settings(name, factory, given, FROM_DATA)

    def maker(in_channels: int, out_channels: int, data: Dataset) -> nn.Module:
        stated: Any = "none" if code is not None else data.attributes.get("sciml_symmetry", "none")
        module = make_model(
            name, factory, given, in_channels=in_channels, out_channels=out_channels, data=data
        )
        return symmetrized(module, model.symmetry or stated, data)

    return name, maker, code


def _like(folder: Path, model: ModelOptions, training: TrainingOptions) -> Plan:
    """The plan that an earlier run followed, with another seed, device or code of one's own if given."""
    refused = [
        f"--{name.replace('_', '-')}"
        for name in ("steps", "batch_size", "learning_rate", "ema", "precision", "optimizer", "workers")
        if getattr(training, name) is not None
    ]
    own = model.operator is not None and names.is_code(model.operator)
    if refused or model.symmetry or (not own and (model.operator or model.settings)):
        shown = ", ".join(refused or ["--operator, --set or --symmetry"])
        raise ConfigError(f"--like repeats a run with its own settings; leave out {shown}.")
    record = RunFolder(folder).read()
    if record is None:
        raise ConfigError(f"--like {folder}: there is no run.json in this folder.")
    settings = record["settings"]
    if training.seed is not None:
        settings["trainer"]["arguments"]["seed"] = training.seed
    kinds = [
        settings[key] if isinstance(settings[key], str) else (settings[key] or {}).get("class")
        for key in ("objective", "validation")
    ]
    if set(kinds) - {"sciml.supervised.Supervised", "sciml.rollout.Rollout", None}:
        raise ConfigError(f"--like {folder}: only maps and roll-outs can be repeated here, not {kinds}.")
    _find_data(settings)
    trainer, objective, validation, stop = (
        build(settings[key]) for key in ("trainer", "objective", "validation", "stop")
    )
    described = settings["model"]
    if described["class"] == describe(Symmetrized)["name"]:
        described = described["arguments"]["model"]
    operator, code = _short_name(described["class"]), None
    with trainer.streams.of("init").applied():
        if own:
            operator, maker, code = operator_maker(model)
            channels = objective.encoder.channels, objective.decoder.channels
            module = maker(*channels, objective.dataset)
        else:
            module = build(settings["model"])
    return Plan(
        name=folder.name.rpartition("-")[0] or folder.name,
        operator=operator,
        model=module.to(device_of(training.device)),
        trainer=trainer,
        objective=objective,
        validation=validation,
        code=code,
        every=settings["every"],
        stop=stop,
    )


def _short_name(path: str) -> str:
    """The name on the command line of a class, or the path of a class that has none."""
    known = names.operators().items()
    return next((n for n, cls in known if describe(cls)["name"] == path), path)


def _find_data(settings: dict[str, Any]) -> None:
    """Where a preset's data are gone, make them anew here; their digest is compared by `Dataset`."""
    described = [
        settings[key]["arguments"]["dataset"]["arguments"]
        for key in ("objective", "validation")
        if settings[key] is not None
    ]
    path = Path(described[0]["path"])
    if path.exists():
        return
    preset = next((p for p in PRESETS.values() if p.file_name == path.name), None)
    if preset is None:
        raise DataError(f"the data of that run, {path}, are gone; put them back.")
    for arguments in described:
        arguments["path"] = str(preset_data(preset).path)
