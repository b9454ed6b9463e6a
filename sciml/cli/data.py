"""``sciml data``: make and inspect dataset files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sciml.cli import names
from sciml.cli.foreign import convert_file, open_file
from sciml.cli.options import DataOptions, SampleOptions
from sciml.cli.output import emit_json, print_table, progress
from sciml.cli.status import requeued_on_signals, say
from sciml.dataset import Dataset
from sciml.datasets.generation import discard_other_parts
from sciml.datasets.readers import to_pdebench as write_pdebench
from sciml.datasets.readers import to_well as write_well
from sciml.errors import ConfigError
from sciml.grid import Grid

SPLITS = ("train", "valid", "test")


def make(
    name: str,
    settings: Sequence[str],
    samples: SampleOptions,
    *,
    output: Path | None,
    force: bool,
    json: bool,
) -> int:
    """Generate a dataset file."""
    cls = names.choose("generator", name, names.generators())
    given = names.parse_settings(settings)
    names.check_settings(name, cls, given, ())
    if samples.workers is not None and samples.workers < 1:
        raise ConfigError(f"--workers must be at least 1, got {samples.workers}.")
    try:
        generator = cls(**given)
    except TypeError as error:
        raise ConfigError(f"{name} does not accept the settings {given}: {error}") from error
    train, valid, test = counts(samples, generator.counts)
    path = output if output is not None else Path(f"{name.lower()}.h5")
    if path.exists() and not force:
        raise ConfigError(f"{path} exists; replace it with --force, or choose another --output.")
    path.parent.mkdir(parents=True, exist_ok=True)
    if force:
        discard_other_parts(generator, path.absolute(), samples.seed)
    with (
        requeued_on_signals(),
        progress(f"generating {name}", train + valid + test) as bar,
    ):
        bar.update(0)
        data = generator.make(
            path,
            train=train,
            valid=valid,
            test=test,
            seed=samples.seed,
            workers=samples.workers,
            progress=lambda done, _total: bar.update(done),
        )
    say(f"wrote {path}, digest {data.digest}")
    if json:
        emit_json(facts(data))
    else:
        _show(facts(data))
    return 0


def counts(samples: SampleOptions, usual: Sequence[int]) -> tuple[int, int, int]:
    """Samples of each split, ``usual`` where nothing is said.

    Raises
    ------
    ConfigError
        If both --samples and the count of a split are given, or a count is out of range.
    """
    given = (samples.train, samples.valid, samples.test)
    if samples.samples is None:
        chosen = [d if n is None else n for d, n in zip(usual, given, strict=True)]
    elif any(n is not None for n in given):
        raise ConfigError("--samples is the number of all samples; leave out --train, --valid and --test.")
    else:
        valid, test = samples.samples // 13, 2 * samples.samples // 13
        chosen = [samples.samples - valid - test, valid, test]
    if chosen[0] < 1 or min(chosen) < 0:
        raise ConfigError(
            f"data make: needs at least one training sample and no negative number, got {chosen}."
        )
    return chosen[0], chosen[1], chosen[2]


def info(file: Path, options: DataOptions, *, json: bool) -> int:
    """Show a dataset file; one of another format as its conversion, which is not kept."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        found = facts(open_file(file, options, cache=Path(folder), tell=False))
    if Path(found["path"]).parent == Path(folder):
        found["path"] = str(file.absolute())
    if json:
        emit_json(found)
    else:
        _show(found)
    return 0


def convert(file: Path, output: Path, options: DataOptions, *, seed: int, force: bool, json: bool) -> int:
    """Write a file of another format as a dataset file."""
    check_output(output, force=force)
    data = convert_file(file, output, options, seed=seed)
    say(f"wrote {output}, digest {data.digest}")
    if json:
        emit_json(facts(data))
    else:
        _show(facts(data))
    return 0


def to_well(file: Path, output: Path, options: DataOptions, *, force: bool, json: bool) -> int:
    """Write a file as a folder of The Well."""
    return _export(file, output, options, write_well, "The Well", force=force, json=json)


def to_pdebench(file: Path, output: Path, options: DataOptions, *, force: bool, json: bool) -> int:
    """Write a file in a layout of PDEBench."""
    return _export(file, output, options, write_pdebench, "PDEBench", force=force, json=json)


def _export(
    file: Path,
    output: Path,
    options: DataOptions,
    write: Callable[[Dataset, Path], tuple[str, ...]],
    layout: str,
    *,
    force: bool,
    json: bool,
) -> int:
    """Open a file of any format and write it in the layout of others."""
    check_output(output, force=force)
    if output.resolve() == file.resolve():
        raise ConfigError(f"{output} is the file to read; choose another name.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        data = open_file(file, options, cache=Path(folder), tell=False)
        if force and output.exists():  # of an interrupted run; complete files appear by renaming
            shutil.rmtree(output) if output.is_dir() else output.unlink()
        notes = write(data, output)
        digest, samples = data.digest, len(data)
    for note in notes:
        say(f"note: {note}")
    say(f"wrote {output} in the layout of {layout}")
    if json:
        emit_json({"path": str(output), "source_digest": digest, "samples": samples, "notes": list(notes)})
    return 0


def check_output(output: Path, *, force: bool) -> None:
    """Refuse to replace a file without being told.

    Raises
    ------
    ConfigError
    """
    if output.exists() and not force:
        raise ConfigError(f"{output} exists; replace it with --force, or choose another name.")


def facts(data: Dataset) -> dict[str, Any]:
    """What a file holds, as plain data."""
    fields = {}
    for name, field in data.fields.items():
        entry: dict[str, Any] = {"role": field.role, "units": field.units, "long_name": field.long_name}
        entry |= {"components": field.components, "time": field.time}
        if len(data.train):
            found = data.statistics(name)
            moments = {key: getattr(found, key).tolist() for key in ("mean", "std", "min", "max")}
            entry["train_statistics"] = moments
        fields[name] = entry
    attributes = {
        key: value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        for key, value in data.attributes.items()
    }
    return {
        "path": str(data.path),
        "digest": data.digest,
        "samples": {name: len(getattr(data, name)) for name in SPLITS},
        **_place(data),
        "fields": fields,
        "parameters": list(data.parameter_names),
        "attributes": attributes,
    }


def _place(data: Dataset) -> dict[str, Any]:
    """Where the values live: the grid, or the box around all points and how many there are."""
    if data.kind == "grid":
        return {"grid": data.grid.to_dict()}
    space = data.space
    axes = {n: [low, high] for n, low, high in zip(space.names, space.lower, space.upper, strict=True)}
    counts = {}
    for name, field in (("points", None), *((f.on, n) for n, f in data.fields.items() if f.on == "cells")):
        found = data.count(on=field)
        if len(found):
            counts[name] = {"least": int(found.min()), "most": int(found.max()), "all": int(found.sum())}
    return {"space": {"kind": data.kind, "axes": axes, "units": space.units, "counts": counts}}


def _show(found: Mapping[str, Any]) -> None:
    print(f"{found['path']}\ndigest   {found['digest']}")
    print("samples  " + ", ".join(f"{name} {count}" for name, count in found["samples"].items()))
    for axis in Grid.from_dict(found["grid"]).axes if "grid" in found else ():
        ends = "periodic" if axis.periodic else "bounded"
        print(
            f"axis     {axis.name}: {axis.size} {axis.kind} on [{axis.lower:g}, {axis.upper:g}], "
            f"{ends}, units {axis.units}"
        )
    if "space" in found:
        for name, (lower, upper) in found["space"]["axes"].items():
            print(f"axis     {name}: [{lower:g}, {upper:g}], units {found['space']['units']}")
        for name, counts in found["space"]["counts"].items():
            print(f"{name:<8} {counts['least']} to {counts['most']} in a sample, {counts['all']} in all")
    rows = []
    for name, field in found["fields"].items():
        moments = field.get("train_statistics", {})
        numbers = [_numbers(moments.get(key)) for key in ("mean", "std", "min", "max")]
        rows.append(
            [name, field["role"], field["units"], str(field["components"]), *numbers, field["long_name"]]
        )
    heads = ("field", "role", "units", "components", "mean", "std", "min", "max", "")
    print_table("", heads, rows)
    for key, value in found["attributes"].items():
        print(f"{key:<22} {value}")


def _numbers(values: list[float] | None) -> str:
    return "-" if values is None else ", ".join(f"{value:.4g}" for value in values)
