"""``sciml evaluate`` and ``sciml predict``: a trained surrogate at work."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from sciml.assessment import assess
from sciml.cards import is_on_points
from sciml.cli import names
from sciml.cli.apply_points import apply_on_points
from sciml.cli.foreign import is_foreign, open_file
from sciml.cli.options import DataOptions, ModelOptions
from sciml.cli.output import emit_json
from sciml.cli.plan import operator_maker
from sciml.cli.status import say
from sciml.cli.train import numbers_of, show_assessment
from sciml.dataset import Dataset, open_dataset
from sciml.errors import ConfigError, DataError
from sciml.files import finite, temporary_name, write_json_atomic
from sciml.point_assessment import assess_points, task_of_surrogate
from sciml.point_surrogate import PointSurrogate
from sciml.presets import generator_of
from sciml.processes import device_of
from sciml.run import RunFolder
from sciml.surrogate import Surrogate

if TYPE_CHECKING:
    import xarray


def load_surrogate(run: Path, model: ModelOptions, device: str) -> Surrogate | PointSurrogate:
    """The surrogate in the folder of a run, or in its own folder.

    Raises
    ------
    ConfigError
        If there is none.
    """
    place = run if (run / "card.json").exists() else run / "surrogate"
    if not (place / "card.json").exists():
        record = RunFolder(run).read()
        why = "" if record is None else " The run in it is not finished; sciml train goes on."
        if record is not None and record["status"] == "finished":
            why = (
                " It has inputs that a surrogate does not take, such as functions on points of their own; "
                "the errors of this run are in assessment.json."
            )
        raise ConfigError(f"{run} holds no surrogate (surrogate/card.json).{why}")
    own, kind = _own_model(run, place, model), PointSurrogate if is_on_points(place) else Surrogate
    surrogate = kind.load(place, own)
    surrogate.model.to(device_of(device))
    return surrogate


def _own_model(run: Path, place: Path, model: ModelOptions) -> nn.Module | None:
    """A model of the user's own code for the weights; None if sciml can make it."""
    if model.operator is None:
        if model.settings:
            raise ConfigError("--set belongs to your own code: --operator file.py:build.")
        return None
    if not names.is_code(model.operator):
        raise ConfigError("the surrogate knows its operator; leave out --operator, or give file.py:build.")
    import json

    card = json.loads((place / "card.json").read_bytes())
    record = RunFolder(run).read()
    if record is None:
        raise ConfigError(f"{run} has no run.json, which says on which data {model.operator} is built.")
    data = open_dataset(record["settings"]["objective"]["arguments"]["dataset"]["arguments"]["path"])
    _, maker, _ = operator_maker(model)
    # Of a model that steps through time each field of the state goes in and out several times.
    evolution = card.get("evolution")
    states = {field["name"] for field in card["outputs"]} if evolution is not None else set()

    def channels(side: str, frames: str) -> int:
        times = [evolution[frames] if field["name"] in states else 1 for field in card[side]]
        return sum(n * field["components"] for n, field in zip(times, card[side], strict=True))

    return maker(channels("inputs", "window"), channels("outputs", "bundle"), data)


def evaluate(
    run: Path,
    file: Path,
    *,
    split: str | None,
    model: ModelOptions,
    device: str,
    output: Path | None,
    json: bool,
) -> int:
    """Test a surrogate on one split of a dataset."""
    surrogate = load_surrogate(run, model, device)
    data = open_file(file, _fields_of(surrogate))
    if split is None:
        split = "all" if is_foreign(data) and data.digest != _training_digest(run) else "test"
    part: Dataset = data if split == "all" else getattr(data, split)
    if not len(part):
        sizes = ", ".join(f"{name} {len(getattr(data, name))}" for name in ("train", "valid", "test"))
        raise DataError(f"{file} has no samples in the split {split!r} ({sizes}); choose with --split.")
    if isinstance(surrogate, PointSurrogate):
        say(f"judging on {len(part)} samples")
        assessment = assess_points(task_of_surrogate(surrogate, part), surrogate)
    else:
        generator = generator_of(data)
        baselines = generator.baselines() if generator is not None else []
        say(f"judging on {len(part)} samples, beside {len(baselines)} classical solvers")
        assessment = assess(surrogate, part, baselines=baselines, training=data.train)
    result: dict[str, Any] = {"run": str(run), "data": str(data.path), "split": split}
    if output is not None:
        write_json_atomic(output, {**result, "assessment": finite(assessment.to_dict())})
        say(f"wrote {output}")
    if json:
        emit_json({**result, **numbers_of(assessment)})
    else:
        show_assessment(assessment)
    return 0


def _fields_of(surrogate: Surrogate | PointSurrogate) -> DataOptions:
    """The names to look for in a file of another program."""
    given = surrogate.given if isinstance(surrogate, PointSurrogate) else surrogate.inputs
    names_in, names_out = (tuple(c.name for c in side) for side in (given, surrogate.outputs))
    return DataOptions(inputs=names_in, outputs=names_out)


def _training_digest(run: Path) -> str | None:
    """The digest of the data that a run was trained on; None for a surrogate on its own."""
    record = RunFolder(run).read()
    return (
        None
        if record is None
        else record["settings"]["objective"]["arguments"]["dataset"]["arguments"]["digest"]
    )


def predict(
    run: Path,
    field: Path,
    output: Path,
    *,
    frames: int | None,
    numbers: Sequence[str],
    model: ModelOptions,
    device: str,
    force: bool,
    json: bool,
) -> int:
    """Apply a surrogate to the fields in a file."""
    if output.exists() and not force:
        raise ConfigError(f"{output} exists; replace it with --force, or choose another --output.")
    if not field.exists():
        raise DataError(f"there is no file {field}.")
    surrogate = load_surrogate(run, model, device)
    evolution = None if isinstance(surrogate, PointSurrogate) else surrogate.evolution
    if frames is not None and (evolution is None or frames < 1):
        raise ConfigError(
            "--frames counts the frames that a surrogate which steps through time is to predict, at least 1; "
            f"got {frames} and {surrogate}."
        )
    if numbers and not isinstance(surrogate, PointSurrogate):
        raise ConfigError("--number gives the numbers of a sample to a surrogate on points or meshes.")
    start = time.perf_counter()
    if isinstance(surrogate, PointSurrogate):
        shapes = apply_on_points(surrogate, field, output, names.parse_settings(numbers, "--number"))
    else:
        shapes = _apply_on_grid(surrogate, field, output, frames)
    seconds = time.perf_counter() - start
    if json:
        told = {"run": str(run), "input": str(field), "output": str(output)}
        emit_json({**told, "fields": shapes, "seconds": seconds})
    else:
        shown = ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())
        print(f"{output}: {shown}, predicted in {seconds:.3g} s")
    return 0


def _apply_on_grid(
    surrogate: Surrogate, field: Path, output: Path, frames: int | None
) -> dict[str, list[int]]:
    """The shapes of the predicted fields."""
    import xarray

    try:
        with xarray.open_dataset(field) as opened:
            given = opened.load()
    except ValueError as error:  # xarray's word for "no engine reads this"
        raise DataError(f"{field} is not a netCDF file that xarray can read: {error}") from error
    try:
        result = _apply(surrogate, given, frames)
    except KeyError as error:
        raise DataError(f"{field}: {error.args[0]}") from error
    temporary = temporary_name(output)
    try:
        result.to_netcdf(temporary, engine="h5netcdf")
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
    return {str(name): list(array.shape) for name, array in result.data_vars.items()}


def _apply(surrogate: Surrogate, given: xarray.Dataset, frames: int | None) -> xarray.Dataset:
    """One prediction, or the frames after the last ones in the file."""
    if surrogate.evolution is None:
        return surrogate(given)
    window = surrogate.evolution.window
    if given.sizes.get("time", 0) > window:
        given = given.isel(time=slice(-window, None))
        say(f"going on from the last {window} frames of the file")
    return surrogate.roll_out(given, frames or surrogate.evolution.bundle)
