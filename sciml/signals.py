"""Stopping on a signal at the next step boundary, with a checkpoint written."""

from __future__ import annotations

import signal
import threading
from types import FrameType

REQUEUE = 75  # EX_TEMPFAIL: schedulers read it as "start me again"
CTRL_C = 130


class Interrupted(SystemExit):
    """Training stopped on a signal after saving a checkpoint; the exit code is 75, or 130 after Ctrl-C."""


class StopSignals:
    """While entered: SIGTERM, SIGUSR1 and the first Ctrl-C set `code`; a second Ctrl-C stops at once.

    A signal on which nobody stopped, as it came in the last step, is sent once more on leaving: whatever
    follows, such as the next of several trainings, must not begin.  Handlers can only be set in the main
    thread; elsewhere `code` simply stays None.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self._number: int | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGTERM", "SIGUSR1", "SIGINT"):
                number = getattr(signal, name, None)
                if number is not None:
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._previous.items():
                signal.signal(number, handler)  # type: ignore[arg-type]
        self._previous.clear()
        if self._number is not None and kind is None:
            signal.raise_signal(self._number)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._number = number
        if number == signal.SIGINT:
            if self.code == CTRL_C:
                raise KeyboardInterrupt
            self.code = CTRL_C
        else:
            self.code = REQUEUE
