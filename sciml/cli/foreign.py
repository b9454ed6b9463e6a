"""Dataset files on the command line: our own, and those of other programs through their readers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from sciml.cli.options import DataOptions
from sciml.cli.output import progress
from sciml.cli.status import say
from sciml.dataset import Dataset
from sciml.datasets.readers import READERS, Reader, convert, open_any
from sciml.errors import ConfigError
from sciml.presets import DATA_FOLDER


def open_file(path: Path, options: DataOptions, *, cache: Path = DATA_FOLDER, tell: bool = True) -> Dataset:
    """The dataset in a file; one of another format is converted to ``cache``, once.

    Raises
    ------
    ConfigError, DataError, FileNotFoundError
        As `sciml.datasets.readers.open_any`.
    """
    data = open_any(path, cache=cache, readers=readers(options), fractions=options.split)
    if tell and is_foreign(data):
        attributes = data.attributes
        say(f"data: {path} is {attributes['source_format']}, converted to {data.path}")
        say(f"notes: {attributes['conversion_notes']}")
    return data


def convert_file(path: Path, output: Path, options: DataOptions, *, seed: int) -> Dataset:
    """Write a file of another format as a dataset file, with progress."""
    with progress(f"converting {path.name}", 3) as bar:
        return convert(
            path,
            output,
            readers=readers(options),
            fractions=options.split,
            seed=seed,
            progress=lambda done, _total: bar.update(done),
        )


def readers(options: DataOptions) -> tuple[Reader, ...]:
    """All formats, each with those of the options that it has a setting for.

    Raises
    ------
    ConfigError
        If only inputs or only outputs are named, or a reader does not take a setting.
    """
    if bool(options.inputs) != bool(options.outputs):
        raise ConfigError("--inputs and --outputs belong together; got one without the other.")
    return tuple(_with(reader, options) for reader in READERS)


def _with(reader: Any, options: DataOptions) -> Reader:
    known = {item.name for item in dataclasses.fields(reader)}
    wanted = {name: getattr(options, name) for name in ("inputs", "outputs", "sample", "axes", "array")}
    changed: Reader = dataclasses.replace(reader, **{k: v for k, v in wanted.items() if k in known})
    return changed


def is_foreign(data: Dataset) -> bool:
    """Whether the file was converted from another format."""
    return "source_sha256" in data.attributes
