"""The same function on many arguments in child processes with one thread each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

A = TypeVar("A")
R = TypeVar("R")


def map_in_processes(
    function: Callable[[A], R], arguments: Sequence[A], *, workers: int
) -> Iterator[tuple[int, R]]:
    """Yield ``(i, function(arguments[i]))`` in the order in which they finish.

    joblib's loky processes run a fresh interpreter that never imports the caller's main module, so that
    scripts need no ``if __name__ == "__main__"``, and inherit no threads and locks.  Linear algebra runs one
    thread in each, also for ``workers=1``, which stays in this process: results do not depend on the number
    of workers, and workers do not fight for cores.

    Parameters
    ----------
    function : picklable
    arguments : sequence of picklable objects
    workers : int
        Processes, at least 1.

    Raises
    ------
    ValueError
        If ``workers < 1``.
    RuntimeError
        (joblib's TerminatedWorkerError) if a child dies; an exception of ``function`` is raised as it is.

    Examples
    --------
    >>> import math
    >>> sorted(map_in_processes(math.sqrt, [4.0, 9.0], workers=1))
    [(0, 2.0), (1, 3.0)]
    """
    if workers < 1:
        raise ValueError(f"map_in_processes: needs at least one worker, got {workers}.")
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky import get_reusable_executor

    jobs = [delayed(_numbered)(function, i, argument) for i, argument in enumerate(arguments)]
    try:
        with parallel_config(backend="loky", inner_max_num_threads=1):
            yield from Parallel(
                n_jobs=min(workers, max(1, len(jobs))), return_as="generator_unordered", batch_size=1
            )(jobs)
    finally:
        if workers > 1:  # idle processes would hold their memory while a model trains
            get_reusable_executor().shutdown(wait=True, kill_workers=True)


def _numbered(function: Callable[[A], R], i: int, argument: A) -> tuple[int, R]:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        return i, function(argument)
