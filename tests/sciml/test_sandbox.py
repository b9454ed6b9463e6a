"""What a file does to the process that reads it happens in a child: crash, endless loop, greed, writing."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sciml import sandbox
from sciml.errors import DataError

# Functions that do what a crafted file makes a library do; a module of the test's own, found by the child.
BEHAVIOR = """
import os, signal, time
from sciml.errors import DataError
from sciml.sandbox_child import report

def crash(path): os.kill(os.getpid(), signal.SIGSEGV)
def loop(path):
    while True: pass
def sleep(path): time.sleep(600)
def swallow(path): return len(bytearray(2**40))
def write(path): path.with_name("written").write_bytes(b"x")
def talk(path):
    os.write(1, b'{"found": "forged"}'); print("noise", flush=True)
    return "said"
def refuse(path): raise DataError(f"{path}: no good")
def stumble(path): raise IndexError("7 of 3")
def count(path):
    for i in range(3): report(i + 1, 3)
    return {"process": os.getpid(), "size": len(path.read_bytes())}
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A server of the test's own, which finds the module above, with a second of time."""
    (tmp_path / "behavior.py").write_text(BEHAVIOR)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sandbox, "_examiner", None)
    monkeypatch.setattr(sandbox, "_known", {})
    monkeypatch.setattr(sandbox, "seconds_for", lambda path: 1)
    yield
    if sandbox._examiner is not None:
        sandbox._examiner.stop()
    sys.modules.pop("behavior", None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "some.h5"
    found.write_bytes(b"12345")
    os.utime(found, (1, 1))  # long settled
    return found


def behavior(name: str) -> Callable[[Path], Any]:
    import behavior

    return getattr(behavior, name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crash", "a child process that read it was ended by signal 11; it is damaged or hostile"),
        ("loop", "was ended by signal (9|24)"),  # SIGXCPU, or the kill that follows
        ("swallow", "cannot be read: MemoryError"),
        ("write", "cannot be read: OSError|was ended by signal 25"),  # SIGXFSZ
        ("refuse", r"some\.h5: no good"),
        ("stumble", r"cannot be read: IndexError: 7 of 3\. The file is damaged"),
    ],
)
def test_what_a_file_does_becomes_one_sentence(path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        sandbox.examine(path, behavior(name))
    assert sandbox.examine(path, behavior("count"))["size"] == 5  # the next file is read as ever
    written = path.with_name("written")
    assert not written.exists() or written.stat().st_size == 0


def test_a_child_that_sleeps_is_ended_by_the_clock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Soon(threading.Timer):
        def __init__(self, seconds: float, function: object) -> None:
            super().__init__(seconds / 20, function)

    monkeypatch.setattr(sandbox.threading, "Timer", Soon)
    with pytest.raises(DataError, match="gave no answer in time"):
        sandbox.examine(path, behavior("sleep"))
    assert sandbox.examine(path, behavior("count"))["size"] == 5


def test_libraries_that_print_do_not_forge_an_answer(path: Path) -> None:
    assert sandbox.examine(path, behavior("talk")) == "said"


def test_each_file_is_read_in_a_process_of_its_own_and_progress_is_told(path: Path) -> None:
    told: list[tuple[int, int]] = []
    first = sandbox.examine(path, behavior("count"), progress=lambda *now: told.append(now))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert sandbox.examine(path, behavior("count")) == first  # remembered: the same process number
    path.write_bytes(b"123")
    second = sandbox.examine(path, behavior("count"))
    assert (second["size"], second["process"] != first["process"]) == (3, True)
    path.write_bytes(b"456")  # within the same tick of the clock perhaps: what is new is not remembered
    assert sandbox.examine(path, behavior("count"))["process"] != second["process"]


def test_what_this_process_wrote_needs_no_examination(path: Path) -> None:
    sandbox.vouch(path, behavior("crash"), "mine")
    assert sandbox.examine(path, behavior("crash")) == "mine"
    path.write_bytes(b"changed")
    with pytest.raises(DataError):
        sandbox.examine(path, behavior("crash"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_a_server_of_its_own(path: Path) -> None:
    sandbox.examine(path, behavior("count"))
    mine = sandbox._examiner
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            path.write_bytes(b"1234567")
            found = sandbox.examine(path, behavior("count"))
            os.write(theirs, json.dumps([found["size"], sandbox._examiner is not mine]).encode())
            sandbox._examiner.stop()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert json.loads(os.read(ours, 100)) == [7, True]
    os.close(ours), os.close(theirs)
    assert mine is not None and mine.alive
    assert sandbox.examine(path, behavior("count"))["size"] == 7


def test_ctrl_c_leaves_no_half_an_answer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sandbox.examine(path, behavior("count"), progress=stop)
    os.utime(path, (2, 2))
    assert sandbox.examine(path, behavior("count"))["size"] == 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process groups")
def test_the_server_ends_with_its_owner(path: Path) -> None:
    script = textwrap.dedent(f"""
        import os, signal, sys
        from pathlib import Path
        from sciml import sandbox
        import behavior
        sandbox.examine(Path({str(path)!r}), behavior.count)
        print(sandbox._examiner.process.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    # Its input is closed now; it ends as soon as it is scheduled. Somebody else reaps it.
    state = Path(f"/proc/{int(done.stdout)}/stat")
    for _ in range(200):
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        threading.Event().wait(0.05)
    pytest.fail("the server outlived its owner")
