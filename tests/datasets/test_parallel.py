"""Child processes: results, failures, and what they leave behind."""

from __future__ import annotations

import math
import operator
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from sciml.datasets.parallel import map_in_processes


@pytest.mark.parametrize("workers", [1, 2])
def test_every_result_with_its_position(workers):
    arguments = [float(i) for i in range(7)]
    assert dict(map_in_processes(math.sqrt, arguments, workers=workers)) == {
        i: math.sqrt(a) for i, a in enumerate(arguments)
    }
    assert threading.active_count() == 1 or not any("_feed" in t.name for t in threading.enumerate())


def test_no_arguments():
    assert list(map_in_processes(math.sqrt, [], workers=2)) == []


def test_linear_algebra_has_one_thread_in_children():
    assert dict(map_in_processes(os.getenv, ["OMP_NUM_THREADS"], workers=1)) == {0: "1"}


def test_an_exception_arrives_as_it_is():
    with pytest.raises(ZeroDivisionError) as caught:
        list(map_in_processes(partial(operator.truediv, 1.0), [1.0, 0.0], workers=1))
    assert "In a child process" in caught.value.__notes__[0]


def test_a_child_that_dies_is_reported():
    with pytest.raises(RuntimeError, match="a child process ended"):
        list(map_in_processes(os._exit, [3], workers=1))


def test_an_early_stop_leaves_no_process():
    results = map_in_processes(math.sqrt, [1.0] * 50, workers=2)
    next(results)
    results.close()
    assert not [t for t in threading.enumerate() if "_feed" in t.name]


def test_bad_requests():
    with pytest.raises(ValueError, match="at least one worker"):
        list(map_in_processes(math.sqrt, [1.0], workers=0))
    with pytest.raises(Exception, match=r"pickle|local"):
        list(map_in_processes(lambda x: x, [1.0], workers=1))


def test_scripts_need_no_main_guard_and_printing_does_no_harm(tmp_path):
    """The child must not run the caller's script again, and what it prints goes to stderr."""
    script = tmp_path / "script.py"
    root = Path(__file__).resolve().parents[2]
    script.write_text(
        "import sys\n"
        f"sys.path.append({str(root)!r})\n"
        "from sciml.datasets.parallel import map_in_processes\n"
        "print(list(map_in_processes(print, ['from the child'], workers=1)))\n"
    )
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert run.stdout == "[(0, None)]\n"
    assert "from the child" in run.stderr
