"""A contest of milliseconds, and sweeps whose units run in this process."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module `tiny_contest`, on the path on which child processes find it too."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import tiny_contest

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tiny_contest
    torch.set_num_threads(threads)
    sys.modules.pop("tiny_contest", None)


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Functions for child processes run here, one at a time; the list holds the arguments of each."""
    calls: list[tuple[Any, ...]] = []
    lock = threading.Lock()  # torch's global generator is one for all threads

    def run(
        function: Callable[..., Any], *arguments: Any, threads: int, heard: Callable[..., None] | None = None
    ) -> Any:
        with lock:
            calls.append((function.__name__, *arguments))
            return function(heard or (lambda told: None), *arguments)

    monkeypatch.setattr("sciml.comparison.sweep.run_isolated", run)
    monkeypatch.setattr("sciml.comparison.unit.step_memory", lambda plan: 8)  # takes half a second
    return calls
