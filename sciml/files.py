"""Writing files that are whole or absent: temporary name, fsync, rename, fsync of the folder.

Every durable step of the library passes through the four functions `_write`, `_sync`, `_rename` and
`_remove`, so that a test can stop the process between any two of them.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make the names in ``folder`` durable; a platform that cannot open folders (Windows) syncs by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename(source: Path, target: Path) -> None:
    source.replace(target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def temporary_name(path: Path) -> Path:
    """The name under which ``path`` is prepared; the process number keeps two writers apart."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` so that ``path`` holds either its old content or all of the new one."""
    temporary = temporary_name(path)
    _write(temporary, data)
    _rename(temporary, path)
    _sync(path.parent)


def replace_file_atomic(temporary: Path, final: Path) -> None:
    """Give a finished file its final name, in place of an older one of that name."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    _rename(temporary, final)
    _sync(final.parent)


def dump_json(value: Any, *, indent: int | None = 2) -> str:
    """JSON text with exact floats: Python's shortest representation reads back to the same bits."""
    return json.dumps(value, indent=indent, ensure_ascii=False)


def finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: null stands for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def write_json_atomic(path: Path, value: Any) -> None:
    """Write ``value`` as JSON, whole or not at all."""
    write_bytes_atomic(path, (dump_json(value) + "\n").encode())


def replace_folder_atomic(temporary: Path, final: Path) -> None:
    """Give a finished folder its final name, replacing an older one.

    The content of ``temporary`` is synced first.  A folder cannot be exchanged in one step, so the old one
    is moved aside for the instant between two renames; `recover_folder` brings it back after a crash there.
    """
    for path in sorted(temporary.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    _sync(temporary)
    aside = final.with_name(f".{final.name}.old")
    if final.exists():
        if aside.exists():
            _remove(aside)
        _rename(final, aside)
    _rename(temporary, final)
    _sync(final.parent)
    if aside.exists():
        _remove(aside)


def recover_folder(final: Path) -> None:
    """Undo a `replace_folder_atomic` that was cut between its two renames."""
    aside = final.with_name(f".{final.name}.old")
    if aside.exists() and not final.exists():
        _rename(aside, final)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def identity(path: Path) -> tuple[int, ...]:
    """What changes when a file is replaced or rewritten."""
    status = path.stat()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Wait for other processes that change files of ``folder`` under this lock; it leaves no file behind.

    Where the system has no such locks, as Windows or some network disks, nothing is waited for.
    """
    if os.name == "nt":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def lock_file(file: IO[str]) -> None:
    """An exclusive lock that is refused, not awaited, when another process holds it."""
    if os.name == "nt":
        import msvcrt

        # Far behind the text, so that the holder's name stays readable.
        file.seek(2**20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        file.seek(0)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether nobody else, here or in another process, holds the lock ``path``; if so it is held inside.

    Never waits.  The system drops the lock of a holder that dies; the file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            lock_file(file)
        except OSError:
            yield False
        else:
            yield True


def remove_stale(path: Path) -> None:
    """Remove what killed writers of ``path`` left under temporary names, an hour after they last wrote.

    The process numbers of another machine mean nothing here, hence the hour.
    """
    for stale in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with contextlib.suppress(OSError, ValueError):
            if time.time() - stale.stat().st_mtime > 3600 and not _alive(int(stale.name.split(".")[-2])):
                _remove(stale)


def _alive(process: int) -> bool:
    if os.name == "nt":  # there the signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
