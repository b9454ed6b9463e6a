"""Exit statuses, and errors as one clean line on stderr."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from sciml.errors import CheckpointError, ConfigError, DataError, DivergedError, RunLockedError, ShapeError
from sciml.signals import CTRL_C, REQUEUE, Interrupted

if TYPE_CHECKING:
    from cyclopts import App

BUG, USAGE, DATA, DIVERGED, MISSING, FAILED = 1, 2, 3, 4, 5, 6

_STATUS: tuple[tuple[type[BaseException], int], ...] = (
    # ShapeError: a setting such as modes=64 that does not fit the grid; what a file holds raises DataError.
    (ConfigError, USAGE),
    (ShapeError, USAGE),
    (RunLockedError, USAGE),
    (FileExistsError, USAGE),
    (DataError, DATA),
    (CheckpointError, DATA),
    (OSError, DATA),
    (DivergedError, DIVERGED),
    (ModuleNotFoundError, MISSING),
)


def guarded(app: App, arguments: list[str]) -> int:
    """Run the command in ``arguments`` and turn whatever it raises into an exit status.

    With ``SCIML_DEBUG=1`` in the environment the traceback is printed as well.
    """
    from cyclopts import CycloptsError

    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            status = app(
                arguments,
                exit_on_error=False,
                print_error=False,
                result_action="return_value",
            )
            sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except CycloptsError as error:
        say(f"{' '.join(str(error).split())} See --help.")
        return USAGE
    except Interrupted as stop:
        say("stopped by a signal; the same command goes on where this one was.")
        return int(stop.code) if isinstance(stop.code, int) else REQUEUE
    except KeyboardInterrupt:
        say("stopped by Ctrl-C.")
        return CTRL_C
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python flushes stdout once more at exit: into nothing.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _report(error)


def _report(error: Exception) -> int:
    if os.environ.get("SCIML_DEBUG") == "1":
        traceback.print_exc()
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), BUG)
    if status == MISSING and (getattr(error, "name", None) or "").split(".")[0] == "sciml":
        status = BUG
    text = " ".join(str(error).split()) or type(error).__name__
    if status == BUG:
        text = f"{type(error).__name__}: {text} (a bug; SCIML_DEBUG=1 shows the traceback)"
    elif status == MISSING:
        text = missing(str(getattr(error, "name", "") or text))
    say(text)
    if silent():  # perhaps only this process met the error
        print(f"sciml: process {os.environ['RANK']}: {text}", file=sys.stderr, flush=True)
    return status


def say(text: str) -> None:
    """A line of the log, on stderr: stdout holds results only. Of several processes the first one speaks."""
    if not silent():
        print(f"sciml: {text}", file=sys.stderr, flush=True)


def silent() -> bool:
    """Whether this is one of several processes that torchrun started, and not the first."""
    return os.environ.get("RANK", "0") != "0"


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if not issubclass(category, DeprecationWarning):
        say(f"warning: {' '.join(str(message).split())}")


# Which extra of the distribution brings a module.
EXTRAS = {
    "mesh": ("pyvista",),
    "fem": ("skfem", "pyamg"),
    "opt": ("pytorch_optimizer",),
    "sweep": ("optuna",),
    "track": ("tensorboard",),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "peers": ("neuralop",),
    "test": ("pytest", "hypothesis", "ruff", "mypy", "netCDF4"),
}


def missing(module: str) -> str:
    """One line on how to install what is missing.

    Examples
    --------
    >>> missing("pyvista")
    'needs pyvista, which is not installed: pip install "sciml-pde[mesh]"'
    """
    top = module.split(".")[0]
    extra = next((name for name, modules in EXTRAS.items() if top in modules), None)
    wanted = top if extra is None else f'"sciml-pde[{extra}]"'
    return f"needs {top}, which is not installed: pip install {wanted}"


@contextlib.contextmanager
def requeued_on_signals() -> Iterator[None]:
    """Outside of training, where `StopSignals` waits for the step to end, SIGTERM means exit 75 at once.

    Whatever is written is written under a temporary name, and the same command does it again.
    """

    def handle(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted(REQUEUE)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
    previous = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
