"""Child processes: results, failures, and what they leave behind."""

from __future__ import annotations

import math
import operator
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info

from sciml.datasets.parallel import map_in_processes


@pytest.mark.parametrize("workers", [1, 2])
def test_every_result_with_its_position_and_linear_algebra_with_one_thread(workers):
    """The children have numpy loaded, by the import of our own function."""
    jobs = [partial(math.sqrt, i) for i in range(7)] + [threadpool_info] * 2
    found = dict(map_in_processes(operator.call, jobs, workers=workers))
    for i in (7, 8):
        libraries = found.pop(i)
        assert libraries
        assert all(library["num_threads"] == 1 for library in libraries)
    assert found == {i: math.sqrt(i) for i in range(7)}


def test_no_arguments():
    assert list(map_in_processes(math.sqrt, [], workers=2)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_arrives_as_it_is(workers):
    with pytest.raises(ZeroDivisionError):
        list(map_in_processes(partial(operator.truediv, 1.0), [1.0, 0.0], workers=workers))


def test_a_child_that_dies_is_reported():
    with pytest.raises(RuntimeError, match="worker process"):
        list(map_in_processes(os._exit, [3, 3], workers=2))


def test_an_early_stop_leaves_no_process():
    results = map_in_processes(operator.call, [os.getpid] * 50, workers=2)
    _, pid = next(results)
    with pytest.warns(UserWarning, match="cancelled"):
        results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_bad_requests():
    with pytest.raises(ValueError, match="at least one worker"):
        list(map_in_processes(math.sqrt, [1.0], workers=0))


def test_scripts_need_no_main_guard(tmp_path):
    """The children must not run the caller's script again."""
    script = tmp_path / "script.py"
    root = Path(__file__).resolve().parents[2]
    script.write_text(
        "import sys\n"
        f"sys.path.append({str(root)!r})\n"
        "from sciml.datasets.parallel import map_in_processes\n"
        "print('once', sorted(map_in_processes(abs, [-1, -2], workers=2)))\n"
    )
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert run.stdout == "once [(0, 1), (1, 2)]\n"
