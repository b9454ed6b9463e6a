"""Training state on disk: safetensors plus JSON, never a pickle, never half a file.

A checkpoint is one safetensors file whose metadata hold the structure of the state as JSON; `index.json`
beside it names the files with their SHA-256.  The order of a save is: write the file under a temporary name,
sync, rename, then the index in the same way, then remove what the index no longer names.  After a stop
between any two of these steps the index still names whole files.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sciml import files
from sciml.errors import CheckpointError

logger = logging.getLogger(__name__)

State = dict[str, Any]


def flatten(value: Any, tensors: dict[str, Tensor], path: str = "state") -> Any:
    """JSON-able structure of ``value``; its tensors go to ``tensors`` under the path where they stood.

    Dictionaries keep the type of their keys (optimizer states are keyed by integers), tuples stay tuples, and
    floats keep all bits, infinities included.

    Raises
    ------
    CheckpointError
        For an object that is neither a number, text, tensor, list, tuple nor dictionary.
    """
    if isinstance(value, Tensor):
        # Safetensors refuses tensors that share memory or are not contiguous.
        tensors[path] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": path}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        items = [flatten(item, tensors, f"{path}.{i}") for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, Mapping):
        pairs = [[key, flatten(item, tensors, f"{path}.{key}")] for key, item in value.items()]
        return {"pairs": pairs}
    raise CheckpointError(
        f"checkpoint: {path} is a {type(value).__name__}; a state may hold numbers, text, tensors, lists, "
        "tuples and dictionaries. Return those from state_dict()."
    )


def unflatten(structure: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `flatten`."""
    if isinstance(structure, list):
        return [unflatten(item, tensors) for item in structure]
    if not isinstance(structure, dict):
        return structure
    if "tensor" in structure:
        return tensors[structure["tensor"]]
    if "float" in structure:
        return float(structure["float"])
    if "tuple" in structure:
        return tuple(unflatten(item, tensors) for item in structure["tuple"])
    return {key: unflatten(item, tensors) for key, item in structure["pairs"]}


class Checkpoints:
    """The checkpoints in one folder, of which the newest ``keep`` stay.

    Two are kept by default: if the newest is damaged on disk, training goes on from the one before it and
    arrives at the same bits a little later.
    """

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        self.folder = folder
        self.keep = keep

    @property
    def _index(self) -> Path:
        return self.folder / "index.json"

    def entries(self) -> list[dict[str, Any]]:
        """Step, file name and SHA-256 of each checkpoint, oldest first."""
        if not self._index.exists():
            return []
        try:
            found: list[dict[str, Any]] = json.loads(self._index.read_text())["checkpoints"]
        except (ValueError, KeyError) as error:
            raise CheckpointError(
                f"{self._index} is damaged ({error}); start anew with force=True."
            ) from error
        return found

    def save(self, step: int, state: State) -> Path:
        """Write the state after ``step`` steps; older checkpoints than ``keep`` are removed last."""
        from safetensors.torch import save

        self.folder.mkdir(parents=True, exist_ok=True)
        tensors: dict[str, Tensor] = {}
        structure = files.dump_json(flatten(state, tensors), indent=None)
        path = self.folder / f"step-{step:08d}.safetensors"
        files.write_bytes_atomic(path, save(tensors, metadata={"structure": structure}))
        entry = {"step": step, "file": path.name, "sha256": files.sha256(path)}
        entries = [old for old in self.entries() if old["step"] != step][-(self.keep - 1) :] + [entry]
        files.write_json_atomic(self._index, {"checkpoints": entries})
        named = {old["file"] for old in entries} | {self._index.name}
        for stale in sorted(self.folder.iterdir()):
            if stale.name not in named:
                files._remove(stale)
        return path

    def load(self) -> tuple[int, State] | None:
        """The newest whole checkpoint as (step, state), or None when there is none yet.

        Raises
        ------
        CheckpointError
            If there are checkpoints and every one of them is damaged.
        """
        entries = self.entries()
        for entry in reversed(entries):
            path = self.folder / entry["file"]
            if path.exists() and files.sha256(path) == entry["sha256"]:
                return int(entry["step"]), self._read(path)
            logger.warning("checkpoint %s is damaged or missing; using the one before it", path)
        if entries:
            raise CheckpointError(
                f"every checkpoint in {self.folder} is damaged (SHA-256 differs from index.json); start anew "
                "with force=True, or restore the folder from a copy."
            )
        return None

    @staticmethod
    def _read(path: Path) -> State:
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            structure = json.loads(file.metadata()["structure"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        state: State = unflatten(structure, tensors)
        return state


def to_device(state: Any, device: torch.device) -> Any:
    """``state`` with every tensor on ``device``."""
    tensors: dict[str, Tensor] = {}
    structure = flatten(state, tensors)
    return unflatten(structure, {name: tensor.to(device) for name, tensor in tensors.items()})
