"""References that tests solve for stay out of the user's cache folder; trainings by two processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sciml.run import RunFolder


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCIML_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def alone_and_together(tmp_path: Path) -> Callable[[str], tuple[list[dict[str, Any]], ...]]:
    """The rows of a script of this folder, by the process that runs it alone and by two of torchrun."""
    two = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

    def rows(name: str) -> tuple[list[dict[str, Any]], ...]:
        script = Path(__file__).with_name(f"{name}.py")
        for place, start in (("one", []), ("two", ["-m", *two])):
            command = [sys.executable, *start, str(script), str(tmp_path / place)]
            subprocess.run(command, check=True, capture_output=True)
        return tuple(RunFolder(tmp_path / place).history() for place in ("one", "two"))

    return rows
