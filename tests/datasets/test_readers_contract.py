"""The contract of every reader in `sciml.datasets.readers.READERS`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sciml.dataset import open_dataset
from sciml.datasets.readers import READERS, convert
from sciml.datasets.readers.conversion import recognize
from sciml.description import build, describe

Example = tuple[str, Callable[[Path], Path]]


def test_every_reader_has_an_example_and_describes_itself(foreign: Any) -> None:
    assert set(foreign.examples) == {type(reader).__name__ for reader in READERS}
    for reader in READERS:
        assert build(describe(reader)) == reader
        assert reader.format.split()[0] in ("a", "an")
    assert len({reader.format for reader in READERS}) == len(READERS)


def test_only_its_reader_recognizes_a_file_whatever_its_name(example: Example, tmp_path: Path) -> None:
    name, write = example
    path = write(tmp_path / "strange.nc")
    assert [type(reader).__name__ for reader in READERS if reader.detect(path)] == [name]


def test_conversions_are_whole_open_and_equal_byte_by_byte(example: Example, tmp_path: Path) -> None:
    _, write = example
    path = write(tmp_path / "strange.nc")
    reader = recognize(path)
    made = [convert(path, tmp_path / f"{i}.h5") for i in range(2)]
    data = open_dataset(made[0].path)
    data.verify()
    data.scan()
    assert made[0].path.read_bytes() == made[1].path.read_bytes()
    assert data.attributes["source_format"] == reader.format
    assert data.attributes["history"].endswith(data.attributes["conversion_notes"])
    assert data.attributes["source_file"] == "strange.nc" and data.attributes["conversion_notes"]
    assert len(data.train) + len(data.valid) + len(data.test) == len(data) == reader.read(path).samples
