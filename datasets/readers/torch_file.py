"""Files of torch.save from strangers: what is checked before, while and after tensors are read.

torch's restricted unpickler executes nothing, but believes sizes: a deflated member grows a thousandfold, and
a tensor of stride zero has any number of elements in a file of a kilobyte.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciml.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

MAX_MEMBERS = 100_000
MAX_PICKLE_BYTES = 2**16  # names, shapes and strides; a dictionary of three tensors takes 300 bytes
_BYTES_OF_TENSOR = 2**9  # of the structure, for each further tensor

_MEMBER = re.compile(
    r"(?P<folder>[^/]+)/(data\.pkl|data/\d+|version|byteorder|\.data/serialization_id|\.format_version"
    r"|\.storage_alignment)"
)


def text_in_pickle(path: Path) -> set[str]:
    """All texts in the pickle of a torch archive, dictionary keys among them; read as data, never run.

    Empty if the file is no such archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            code = _structure(archive)
        return {argument for _, argument, _ in pickletools.genops(code) if isinstance(argument, str)}
    except Exception:  # whatever zipfile and pickletools meet in other files and damaged ones
        return set()


def structure(path: Path) -> str:
    """What a torch archive holds at the outermost level: "list", "dict", "other"; "" if it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            code = _structure(archive)
        names = (op.name for op, _, _ in pickletools.genops(code))
        first = next(name for name in names if name not in ("PROTO", "FRAME"))
    except Exception:  # as above
        return ""
    # A tuple or a list begun by a mark, and an empty list that is then filled.
    return {"EMPTY_LIST": "list", "MARK": "list", "EMPTY_DICT": "dict"}.get(first, "other")


def _structure(archive: zipfile.ZipFile) -> bytes:
    """The pickle of a torch archive, to be looked at; empty if it is compressed or too large."""
    members = archive.infolist()
    info = next(i for i in members if i.filename.endswith("/data.pkl"))
    if info.file_size > _most_bytes(len(members)) or info.compress_type != zipfile.ZIP_STORED:
        return b""
    return archive.read(info)


def _most_bytes(members: int) -> int:
    """How long the structure of an archive may be."""
    return MAX_PICKLE_BYTES + _BYTES_OF_TENSOR * members


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a saved dictionary, each of them dense: no larger than its bytes in the file.

    Raises
    ------
    DataError
        As `load_saved`; or if it is anything but a dictionary of tensors.
    """
    found = load_saved(path)
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        shape = f" of shape {tuple(found.shape)}" if hasattr(found, "shape") else ""
        raise DataError(
            f"{path}: holds a {type(found).__name__}{shape}, not a dictionary of tensors by name, so nothing "
            "says what is input and what output."
        )
    size = path.stat().st_size
    for key, value in found.items():
        _check_tensor(f"{path}: {key[:80]!r}", value, size)
    return found


def load_saved(path: Path) -> Any:
    """What torch saved, with tensors that are dense at any depth of lists and dictionaries.

    Raises
    ------
    DataError
        If the archive has other members than torch writes or compressed ones, needs code to be run, or a
        tensor is not dense.
    """
    import torch

    _check_archive(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever it meets; nothing was executed
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise DataError(
            f"{path}: torch refuses to load it as plain tensors ({reason}). Files that hold other objects "
            "can run code and are not read; save a dictionary of tensors."
        ) from error
    size = path.stat().st_size
    stack: list[tuple[str, Any]] = [(f"{path}: the content", found)]
    seen: set[int] = set()  # a list may hold itself
    while stack:
        who, item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, torch.Tensor):
            _check_tensor(who, item, size)
        elif isinstance(item, dict):
            stack += [(f"{path}: {str(key)[:80]!r}", value) for key, value in item.items()]
        elif isinstance(item, list | tuple):
            stack += [(f"{path}: entry {i}", value) for i, value in enumerate(item)]
    return found


def as_array(tensor: Tensor) -> NDArray[Any]:
    """A copy in C order; truth values and integers of a byte stay what they are."""
    return np.ascontiguousarray(tensor.detach().contiguous().numpy())


def names_in_archive(path: Path) -> str:
    """What a zip archive holds, for a message."""
    noise = {"storage", "cpu", "cuda:0"}
    words = sorted(w for w in text_in_pickle(path) if w not in noise and w.isidentifier())
    if words:
        return f"a torch archive with the names {listed(words)}"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # as above
        return "a damaged zip archive"
    if any(name.endswith("/data.pkl") for name in names):
        return "a torch archive of bare tensors without names, so nothing says what is input and what output"
    return f"a zip archive that holds {listed(names)}"


def listed(names: list[str]) -> str:
    return ", ".join(repr(name[:64]) for name in names[:8]) + (", ..." if len(names) > 8 else "")


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # zipfile raises many kinds for damaged archives
        raise DataError(f"{path}: not a whole zip archive ({error}); restore a copy.") from error
    if len(members) > MAX_MEMBERS:
        raise DataError(f"{path}: holds {len(members)} members; at most {MAX_MEMBERS} are read.")
    folders = set()
    for member in members:
        match = _MEMBER.fullmatch(member.filename)
        if match is None:
            raise DataError(
                f"{path}: member {member.filename[:80]!r} is none that torch.save writes for tensors."
            )
        folders.add(match["folder"])
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise DataError(
                f"{path}: member {member.filename[:80]!r} is compressed or encrypted, which torch.save never "
                "does; it could fill the memory. Save the tensors anew."
            )
        if member.filename.endswith("/data.pkl") and member.file_size > _most_bytes(len(members)):
            raise DataError(
                f"{path}: its structure takes {member.file_size} bytes, more than names and shapes of a few "
                "tensors need; save a dictionary of tensors."
            )
    if len(folders) != 1 or sum(member.file_size for member in members) > path.stat().st_size:
        raise DataError(f"{path}: its members overlap or claim more bytes than the file has; not read.")


def _check_tensor(who: str, value: object, size: int) -> None:
    import torch

    if not isinstance(value, torch.Tensor):
        raise DataError(f"{who} is a {type(value).__name__}, not a tensor.")
    plain = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
    if not plain or value.is_complex() or value.numel() == 0:
        raise DataError(
            f"{who} must be a plain tensor of real numbers with at least one entry, got {value.dtype}, "
            f"{value.layout}, shape {tuple(value.shape)}."
        )
    if not _is_dense(value) or value.numel() * value.element_size() > size:
        raise DataError(
            f"{who} claims shape {tuple(value.shape)} with strides {value.stride()}, so that entries share "
            f"memory; a copy could need far more than the {size} bytes of the file. Save tensor.contiguous()."
        )


def _is_dense(value: Tensor) -> bool:
    """Whether no two entries share memory: every axis steps over all that the finer axes cover."""
    covered = 1
    for stride, count in sorted(zip(value.stride(), value.shape, strict=True)):
        if count > 1:
            if stride < covered:
                return False
            covered += stride * (count - 1)
    return True


def known_keys(path: Path, found: Mapping[str, object], needed: set[str], optional: set[str]) -> None:
    """Refuse a dictionary with other names.

    Raises
    ------
    DataError
        Naming what is missing and what is unknown.
    """
    missing, unknown = needed - found.keys(), found.keys() - needed - optional
    if missing or unknown:
        raise DataError(
            f"{path}: expected the names {', '.join(sorted(needed))} and perhaps "
            f"{', '.join(sorted(optional))}, got {listed(sorted(found))}."
        )
