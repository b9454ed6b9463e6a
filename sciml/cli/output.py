"""What a command prints: one JSON object, or tables for people; progress on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any, Protocol

from sciml.cli.status import silent
from sciml.files import finite

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PLAIN_SECONDS = 5.0  # between two lines of progress where there is no terminal


def emit_json(result: Mapping[str, Any]) -> None:
    """The one JSON object of a command, on one line of stdout."""
    print(json.dumps(finite(result), ensure_ascii=False, allow_nan=False), flush=True)


def print_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], *, bold: int = -1) -> None:
    """A table on stdout; all columns but the first are numbers.  ``bold`` is the row to stress."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i else "left", overflow="fold")
    for i, row in enumerate(rows):
        table.add_row(*(Text(cell) for cell in row), style="bold" if i == bold else None)
    # A pipe has no width; 80 columns would fold the lines that somebody wants to search.
    terminal, text = sys.stdout.isatty(), StringIO()
    Console(file=text, force_terminal=terminal, width=None if terminal else 140).print(table)
    print(text.getvalue(), end="")  # rich itself would end the process where nobody reads on


class Bar(Protocol):
    """Progress of one piece of work."""

    def update(self, done: int, note: str = "") -> None:
        """``done`` units are finished; ``note`` is shown beside."""
        ...


@contextmanager
def progress(what: str, total: int) -> Iterator[Bar]:
    """A bar on a terminal; elsewhere a line every five seconds and one at the end.  Both on stderr."""
    if silent():
        yield _Silent()
        return
    if not sys.stderr.isatty():
        yield _Lines(what, total)
        return
    from rich import progress as columns
    from rich.console import Console

    shown = columns.Progress(
        columns.TextColumn("{task.description}"),
        columns.BarColumn(bar_width=12),
        columns.MofNCompleteColumn(),
        columns.TextColumn("{task.fields[rate]}{task.fields[note]}"),
        columns.TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with shown:
        yield _Rich(shown, shown.add_task(what, total=total, rate="", note=""))


class _Rate:
    """Units per second since the first update: what was done before (a resumed run) does not count."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.start: tuple[int, float] | None = None
        self.value = 0.0

    def update(self, done: int) -> float:
        now = time.perf_counter()
        if self.start is None:
            self.start = (done, now)
        elif now > self.start[1]:
            self.value = (done - self.start[0]) / (now - self.start[1])
        return self.value


class _Rich:
    def __init__(self, shown: Progress, task: TaskID) -> None:
        self.shown, self.task, self.rate = shown, task, _Rate(0)

    def update(self, done: int, note: str = "") -> None:
        rate = self.rate.update(done)
        text = f"{rate:.3g}/s " if rate else ""
        self.shown.update(self.task, completed=done, rate=text, note=note)


class _Silent:
    def update(self, done: int, note: str = "") -> None:
        pass


class _Lines:
    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.rate = what, total, _Rate(total)
        self.last = time.perf_counter()

    def update(self, done: int, note: str = "") -> None:
        rate, now = self.rate.update(done), time.perf_counter()
        if now - self.last < PLAIN_SECONDS and done < self.total:
            return
        self.last = now
        left = f", {duration((self.total - done) / rate)} left" if rate and done < self.total else ""
        speed = f", {rate:.3g}/s" if rate else ""
        parts = f"{self.what} {done}/{self.total}{', ' + note if note else ''}{speed}{left}"
        print(parts, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Seconds as minutes and seconds, or hours and minutes.

    Examples
    --------
    >>> duration(75.4), duration(3 * 3600 + 60)
    ('1:15', '3:01 h')
    """
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
    return f"{whole // 60}:{whole % 60:02d}"
