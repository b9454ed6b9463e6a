"""The same function on many arguments in child processes with one thread each."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, TypeVar

A = TypeVar("A")
R = TypeVar("R")

_ONE_THREAD = {
    name: "1"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
}


def available_cores() -> int:
    """Cores that this process may use, which a container or a scheduler limits."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_in_processes(
    function: Callable[[A], R], arguments: Sequence[A], *, workers: int
) -> Iterator[tuple[int, R]]:
    """Yield ``(i, function(arguments[i]))`` in the order in which they finish.

    The children run a fresh interpreter and talk over pipes.  Unlike `multiprocessing` with "spawn" they
    never import the caller's main module, so that scripts need no ``if __name__ == "__main__"``; unlike
    "fork" they inherit no threads and locks.  Linear algebra runs one thread in each, also for ``workers=1``:
    results do not depend on the number of workers, and workers do not fight for cores.

    Parameters
    ----------
    function : picklable
        Found by its import path in the child.
    arguments : sequence of picklable objects
    workers : int
        Child processes, at least 1.

    Raises
    ------
    ValueError
        If ``workers < 1``.
    RuntimeError
        If a child dies.  An exception of ``function`` is raised here as it is, with the child's traceback as
        a note.

    Examples
    --------
    >>> import math
    >>> sorted(map_in_processes(math.sqrt, [4.0, 9.0], workers=1))
    [(0, 2.0), (1, 3.0)]
    """
    if workers < 1:
        raise ValueError(f"map_in_processes: needs at least one worker, got {workers}.")
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Any] | BaseException] = queue.SimpleQueue()
    for i in range(len(arguments)):
        todo.put(i)
    children = [_start() for _ in range(min(workers, len(arguments)))]
    threads = [
        threading.Thread(target=_feed, args=(child, function, arguments, todo, done), daemon=True)
        for child in children
    ]
    try:
        for thread in threads:
            thread.start()
        for _ in arguments:
            item = done.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        for child in children:
            child.kill()  # idle by now, unless something failed or the caller stopped early
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        for child in children:
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    _close(pipe)


def _start() -> subprocess.Popen[bytes]:
    # As a script, so that a child loads what its function needs and not this whole package; -P keeps our
    # folder off its path until the parent's path arrives.
    return subprocess.Popen(
        [sys.executable, "-P", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **_ONE_THREAD},
    )


def _close(pipe: IO[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError):  # unsent bytes for a child that died
        pipe.close()


def _feed(
    child: subprocess.Popen[bytes],
    function: Callable[[Any], Any],
    arguments: Sequence[Any],
    todo: queue.SimpleQueue[int],
    done: queue.SimpleQueue[Any],
) -> None:
    """Give one child an argument at a time until none is left."""
    assert child.stdin is not None and child.stdout is not None
    try:
        pickle.dump(sys.path, child.stdin)
        pickle.dump(function, child.stdin)
        while True:
            try:
                i = todo.get_nowait()
            except queue.Empty:
                return
            pickle.dump(arguments[i], child.stdin)
            child.stdin.flush()
            result, error, trace = pickle.load(child.stdout)
            if error is not None:
                error.add_note(f"In a child process:\n{trace}")
                done.put(error)
                return
            done.put((i, result))
    except (EOFError, OSError, pickle.UnpicklingError):
        done.put(
            RuntimeError(
                f"map_in_processes: a child process ended (exit status {child.poll()}) before its work was "
                "done; its own message stands above. Status -9 is often the end of memory."
            )
        )
    except BaseException as problem:  # such as a function that cannot be pickled: the caller's to see
        done.put(problem)


def serve() -> None:
    """The child's side: read path, function and arguments from stdin, write results to what was stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent cleans up
    source = sys.stdin.buffer
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with results
    sys.path[:] = pickle.load(source)
    function = pickle.load(source)
    while True:
        try:
            argument = pickle.load(source)
        except EOFError:
            return
        try:
            answer: tuple[Any, Exception | None, str] = (function(argument), None, "")
        except Exception as problem:
            answer = (None, _portable(problem), traceback.format_exc())
        pickle.dump(answer, target)
        target.flush()


def _portable(problem: Exception) -> Exception:
    """The exception itself if it survives pickling, else its text."""
    try:
        pickle.loads(pickle.dumps(problem))
        return problem
    except Exception:
        return RuntimeError(f"{type(problem).__name__}: {problem}")


if __name__ == "__main__":
    serve()
