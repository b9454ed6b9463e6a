"""``sciml data check`` and ``sciml data show``."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from sciml.cli.foreign import open_file
from sciml.cli.options import DataOptions
from sciml.cli.output import emit_json, progress
from sciml.cli.status import DATA, say
from sciml.conformance import Conformance
from sciml.conformance import check as examined
from sciml.dataset import Dataset
from sciml.errors import ConfigError


def check(file: Path, *, json: bool) -> int:
    """Read a dataset file in full and list everything that is wrong with it."""
    with progress(f"checking {file.name}, percent", 100) as bar:
        found = examined(file, progress=lambda done, total: bar.update(100 * done // max(total, 1)))
    if json:
        emit_json(_facts(found))
    else:
        print(found)
    return 0 if found.conforms else DATA


def _facts(found: Conformance) -> dict[str, object]:
    listed = [dataclasses.asdict(item) for item in found.departures]
    return {
        "path": str(found.path),
        "conforms": found.conforms,
        "digest": found.digest,
        "variables": found.variables,
        "bytes": found.bytes,
        "departures": listed,
    }


def show(
    file: Path, options: DataOptions, *, output: Path | None, index: int, force: bool, json: bool
) -> int:
    """Write a picture of every field."""
    targets = _targets(file, output)
    for target in targets:
        if target.exists() and not force:
            raise ConfigError(f"{target} exists; replace it with --force, or choose another --output.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        data = open_file(file, options, cache=Path(folder), tell=False)
        fields = _write(data, targets, index)
        del data
    for target in targets:
        say(f"wrote {target}")
    if json:
        emit_json({"files": [str(target) for target in targets], "fields": fields, "index": index})
    else:
        print("\n".join(str(target) for target in targets))
    return 0


def _targets(file: Path, output: Path | None) -> list[Path]:
    """The files to write: one of the named kind, or a page and a picture beside each other."""
    if output is not None and output.suffix.lower() in (".png", ".html"):
        return [output]
    if output is not None and output.suffix:
        raise ConfigError(f"--output ends in .png or .html, or is a name without ending, got {output}.")
    stem = output if output is not None else Path(file.stem)
    return [stem.with_name(stem.name + ending) for ending in (".html", ".png")]


def _write(data: Dataset, targets: list[Path], index: int) -> list[str]:
    from sciml.gallery import pictures, write_html, write_png

    figures = pictures(data, index)
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix.lower() == ".png":
            write_png(figures, target)
        else:
            write_html(data, figures, target)
    return list(figures)
