"""Exported surrogates on disk: one file that runs without sciml, with a description and a check inside.

A ``.pt2`` holds a program of `torch.export`, an ``.onnx`` a graph of standard operators; both map physical
fields (batch, channel, *space) in float32 to physical fields.  The description is JSON: the extra file
``sciml.json`` of the one, the metadata property ``sciml`` of the other.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sciml.errors import CheckpointError

FORMAT, VERSION = "sciml.artefact", 1
FORMATS = ("pt2", "onnx")
EXTRA_FILE, PROPERTY = "sciml.json", "sciml"
INPUT, OUTPUT = "fields", "prediction"  # names of the tensors in ONNX
RELATIVE = 1e-5  # largest difference from the surrogate, relative to the largest value of the channel
_UNKNOWN = "0" * 64

Program = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Check:
    """One comparison of an artefact with what it should give.

    ``difference`` is the largest one at any point, relative to the largest value of its channel.
    """

    batch: int
    grid: tuple[int, ...]
    difference: float

    def __str__(self) -> str:
        return f"batch {self.batch} on {' x '.join(map(str, self.grid))}: {self.difference:.1e}"


@dataclass(frozen=True)
class Artefact:
    """An exported file: where it lies, what it says about itself, and how it was checked."""

    path: Path
    description: Mapping[str, Any]
    checks: tuple[Check, ...]

    def __fspath__(self) -> str:
        return os.fspath(self.path)


def check_artefact(path: Path | str) -> Artefact:
    """Load an exported surrogate, and compare its answer to the input that it carries with the one it states.

    Reading a ``.pt2`` runs code of `torch.export.load`, which is safe only for files that you trust.

    Raises
    ------
    CheckpointError
        If the file is damaged, no artefact of sciml, of a newer version, or answers otherwise.
    ModuleNotFoundError
        If the packages for ONNX are missing.

    Examples
    --------
    >>> from sciml import Grid, Normalization, Surrogate
    >>> from sciml.labelled import Channel
    >>> surrogate = Surrogate(
    ...     torch.nn.Identity(), inputs=[Channel("a")], outputs=[Channel("u")], grid=Grid.box((4,)),
    ...     input_normalization=Normalization([0.0], [1.0]), output_normalization=Normalization([5.0], [2.0]),
    ... )
    >>> made = surrogate.export("example.pt2")
    >>> print(check_artefact("example.pt2").checks[0])
    batch 1 on 4: 0.0e+00
    """
    path = Path(path)
    description, run = open_artefact(path)
    return Artefact(path, description, (answer_check(path, description, run),))


def answer_check(path: Path, description: Mapping[str, Any], run: Program) -> Check:
    """The check that an artefact carries; see `check_artefact`."""
    try:
        pair = description["check"]
        x, y = decode(pair["input"]), decode(pair["output"])
        difference = deviation(run(x), y, torch.tensor(pair["tolerance"], dtype=torch.float64))
    except Exception as error:  # whatever a damaged file makes the runtime say
        raise CheckpointError(
            f"check_artefact: {path} cannot answer its own check: {_first_line(error)}. Export it again."
        ) from error
    if not difference <= RELATIVE:
        raise CheckpointError(
            f"check_artefact: {path} answers its own check with a difference of {difference:.2g}, allowed "
            f"{RELATIVE:g} of the largest value of a channel. This machine computes otherwise than that of "
            "the export (a device with TF32 or half precision?), or the file was changed; export it again."
        )
    return Check(len(x), tuple(x.shape[2:]), difference)


def deviation(found: Tensor, expected: Tensor, tolerance: Tensor) -> float:
    """The largest difference, in units in which ``tolerance`` (channel,), absolute, is `RELATIVE`."""
    if found.shape != expected.shape:
        raise ValueError(f"expected shape {tuple(expected.shape)}, got {tuple(found.shape)}")
    if not found.numel():
        return 0.0
    worst = (found.double() - expected.double()).abs().transpose(0, 1).flatten(1).amax(1)
    return float((worst / tolerance).max()) * RELATIVE


def open_artefact(path: Path) -> tuple[dict[str, Any], Program]:
    """The description of an artefact, and the map that it is.

    Raises
    ------
    CheckpointError, ModuleNotFoundError
        As `check_artefact`.
    """
    try:
        with path.open("rb") as file:
            is_archive = file.read(2) == b"PK"
    except OSError as error:
        raise CheckpointError(f"check_artefact: {path} cannot be read: {error.strerror}.") from error
    if not is_archive:
        require("check_artefact", "onnx", "onnxruntime")
    try:
        return _open_pt2(path) if is_archive else _open_onnx(path)
    except CheckpointError:
        raise
    except Exception as error:  # the loaders of torch and onnx raise many kinds for damaged files
        raise CheckpointError(
            f"check_artefact: {path} is damaged, or no .pt2 or .onnx file of sciml: {_first_line(error)}."
        ) from error


def _open_pt2(path: Path) -> tuple[dict[str, Any], Program]:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(f"/extra/{EXTRA_FILE}")]
        if len(names) != 1:
            raise CheckpointError(f"check_artefact: {path} has no {EXTRA_FILE}; sciml did not write it.")
        damaged = archive.testzip()  # torch itself does not look at the checksums
        if damaged is not None:
            raise CheckpointError(f"check_artefact: {path} is damaged: wrong checksum of {damaged}.")
        description = _described(path, archive.read(names[0]))
    module = torch.export.load(path).module()

    def run(x: Tensor) -> Tensor:
        with torch.no_grad():
            result: Tensor = module(x)
        return result

    return description, run


def _open_onnx(path: Path) -> tuple[dict[str, Any], Program]:
    import onnx
    import onnxruntime

    content = path.read_bytes()
    model = onnx.load_model_from_string(content)
    found = [entry.value for entry in model.metadata_props if entry.key == PROPERTY]
    if len(found) != 1:
        raise CheckpointError(f"check_artefact: {path} has no property {PROPERTY!r}; sciml did not write it.")
    description = _described(path, found[0])
    if _digest(content, str(description["file_sha256"])) != description["file_sha256"]:
        raise CheckpointError(
            f"check_artefact: {path} is damaged or was changed: it does not have the SHA-256 that it states."
        )
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(x: Tensor) -> Tensor:
        return torch.from_numpy(session.run([OUTPUT], {INPUT: x.numpy()})[0])

    return description, run


def _described(path: Path, text: bytes | str) -> dict[str, Any]:
    description = json.loads(text)
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise CheckpointError(f"check_artefact: the description in {path} is not one of sciml.")
    if description.get("version") != VERSION:
        raise CheckpointError(
            f"check_artefact: {path} has version {description.get('version')!r}, this sciml reads {VERSION}. "
            "Install the sciml that it names under made_with."
        )
    return description


def _first_line(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text[:200]}".rstrip(".: ")


# Writing.


def write_pt2(program: torch.export.ExportedProgram, description: Mapping[str, Any], path: Path) -> None:
    """Write a program with its description."""
    torch.export.save(program, path, extra_files={EXTRA_FILE: json.dumps(description, indent=2)})


def write_onnx(model: Any, description: Mapping[str, Any], path: Path) -> None:
    """Write an `onnx.ModelProto` with its description, which states the SHA-256 of the whole file."""
    entry = model.metadata_props.add()
    entry.key, entry.value = PROPERTY, json.dumps({**description, "file_sha256": _UNKNOWN})
    content = model.SerializeToString()
    path.write_bytes(_sealed(content, _UNKNOWN, _digest(content, _UNKNOWN)))


def _digest(content: bytes, stated: str) -> str:
    """SHA-256 of a file, read as if it did not state one."""
    return hashlib.sha256(_sealed(content, stated, _UNKNOWN)).hexdigest()


def _sealed(content: bytes, old: str, new: str) -> bytes:
    return content.replace(f'"file_sha256": "{old}"'.encode(), f'"file_sha256": "{new}"'.encode())


def encode(x: Tensor) -> dict[str, Any]:
    """A float32 tensor as its shape and base64 of its bytes, little-endian, last axis fastest."""
    values = np.ascontiguousarray(x.numpy(), dtype="<f4")
    return {"shape": list(x.shape), "data": base64.b64encode(values.tobytes()).decode()}


def decode(stored: Mapping[str, Any]) -> Tensor:
    """The inverse of `encode`."""
    values = np.frombuffer(base64.b64decode(stored["data"], validate=True), dtype="<f4")
    return torch.from_numpy(values.astype(np.float32).reshape(stored["shape"]))


def require(who: str, *packages: str) -> None:
    """Refuse to go on without packages that write, check and run ONNX files."""
    for name in packages:
        if find_spec(name) is None:
            raise ModuleNotFoundError(
                f'{who}: ONNX needs {name}, which is not installed: pip install "sciml-pde[export]"',
                name=name,
            )
