"""Surrogates as files that run without sciml: graphs of `torch.export`, and ONNX."""

from __future__ import annotations

import copy
import dataclasses
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from sciml import artefact, cards
from sciml.artefact import FORMATS, RELATIVE, Artefact, Check
from sciml.calling import name_of
from sciml.errors import CheckpointError, ConfigError
from sciml.files import replace_file_atomic, temporary_name
from sciml.tracing import Size, asked_of, inputs, to_onnx, trace

if TYPE_CHECKING:
    from sciml.surrogate import Surrogate

_MOST_BYTES = 2**31 - 2**24  # of weights: a protobuf message, such as an ONNX file, ends at 2 GiB
_MOST_VALUES = 2**16  # of the input that is stored as a check, where the model takes a grid that small
_LARGEST_CHECK = 2**24


def export(
    surrogate: Surrogate,
    path: Path | str,
    *,
    to: Literal["pt2", "onnx"] | None = None,
    dynamic: bool = True,
) -> Artefact:
    """See `Surrogate.export`."""
    path = Path(path)
    suffix = path.suffix.removeprefix(".")
    if suffix not in FORMATS or to not in (None, suffix):
        wanted = ".pt2 or .onnx" if to is None else f".{to}"
        raise ConfigError(f"export: the name of the file must end in {wanted}, got {path.name!r}.")
    if suffix == "onnx":
        artefact.require("export", "onnx", "onnxscript", "onnxruntime")
    _check_model(surrogate, suffix)
    on_cpu = _cpu_copy(surrogate)
    # Runtimes of ONNX have few operations in other precisions.
    traced = trace(_in_float32(on_cpu) if suffix == "onnx" else on_cpu, dynamic)
    description = _describe(on_cpu, traced.sizes)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A .pt2 contains its own name: the draft has the final one, in a folder of its own.
    folder = temporary_name(path)
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier process with our number
    folder.mkdir()
    draft = folder / path.name
    try:
        if suffix == "pt2":
            artefact.write_pt2(traced.program, description, draft)
        else:
            proto = to_onnx(traced, surrogate.grid.names, name_of(surrogate.model))
            artefact.write_onnx(proto, description, draft)
        written, checks = _verify(on_cpu, draft, traced.sizes)
        replace_file_atomic(draft, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Artefact(path, written, checks)


def _check_model(surrogate: Surrogate, suffix: str) -> None:
    """Refuse what cannot be exported before any work is done."""
    model, name = surrogate.model, name_of(surrogate.model)
    if not getattr(getattr(model, "properties", None), "exports", True):
        raise ConfigError(
            f"export: {name} cannot be exported (its properties say exports=False). Surrogate.save keeps it "
            "for Python with sciml."
        )
    if surrogate.evolution is not None:
        given = {"time", "parameters"} if surrogate.evolution.parameters else {"time"}
        asked = sorted(asked_of(model) & given)
        if asked:
            raise ConfigError(
                f"export: {name} asks for {' and '.join(asked)} in every step, but an exported step takes "
                "fields alone. Train a model without, or with constant fields in their place."
            )
    size = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    if suffix == "onnx" and size > _MOST_BYTES:
        raise ConfigError(
            f"export: {name} has {size / 2**30:.1f} GiB of weights, and an ONNX file ends at 2 GiB. Export "
            "it to .pt2."
        )


def _cpu_copy(surrogate: Surrogate) -> Surrogate:
    """The same on the CPU for evaluation, with weights of its own."""
    copied = copy.copy(surrogate)
    for part in ("model", "input_normalization", "output_normalization"):
        module = copy.deepcopy(getattr(surrogate, part)).cpu().eval().requires_grad_(False)
        setattr(copied, part, module)
    return copied


def _in_float32(surrogate: Surrogate) -> Surrogate:
    if surrogate.dtype == torch.float32:
        return surrogate
    copied = copy.copy(surrogate)
    copied.model = copy.deepcopy(surrogate.model).float()
    return copied


# Describing.


def _describe(surrogate: Surrogate, sizes: Sequence[Size]) -> dict[str, Any]:
    """What the file says about itself, plain JSON."""
    import sciml

    names, evolution = surrogate.grid.names, surrogate.evolution
    axes = []
    for axis, size in zip(surrogate.grid.axes, sizes, strict=True):
        like = None if size.like is None else names[size.like]
        limits = {"minimum_size": size.least, "fixed_size": size.symbol is None, "same_size_as": like}
        axes.append({**dataclasses.asdict(axis), **limits})
    return {
        "format": artefact.FORMAT,
        "version": artefact.VERSION,
        "summary": _summary(surrogate),
        "model": name_of(surrogate.model),
        "dtype": "float32",
        "layout": ["batch", "channel", *names],
        "inputs": _channels(surrogate, "inputs"),
        "outputs": _channels(surrogate, "outputs"),
        "axes": axes,
        "time": None if evolution is None else {"step": evolution.dt, "units": evolution.units},
        "weights": cards.digest(surrogate),
        "made_with": {"sciml": str(sciml.__version__), "torch": str(torch.__version__)},
        "check": _stored_check(surrogate, sizes),
    }


def _channels(surrogate: Surrogate, side: Literal["inputs", "outputs"]) -> list[dict[str, Any]]:
    """One entry for each channel of the tensor, in order; frame 0 is the last one of the window."""
    evolution, entries = surrogate.evolution, []
    states = set() if evolution is None else {field.name for field in surrogate.outputs}
    for field in surrogate.inputs if side == "inputs" else surrogate.outputs:
        frames: Sequence[int | None] = [None]
        if evolution is not None and field.name in states:
            frames = range(1 - evolution.window, 1) if side == "inputs" else range(1, 1 + evolution.bundle)
        for frame in frames:
            for i in range(field.components):
                low, high = (None if v is None else v[i] for v in (field.minimum, field.maximum))
                entry = {"name": field.name, "component": i, "frame": frame, "units": field.units}
                entries.append({**entry, "long_name": field.long_name, "minimum": low, "maximum": high})
    return entries


def _summary(surrogate: Surrogate) -> str:
    """One line for people."""
    before, after = (
        ", ".join(f"{field.name} [{field.units}]" for field in fields)
        for fields in (surrogate.inputs, surrogate.outputs)
    )
    box = ", ".join(
        f"{axis.name} in [{axis.lower:g}, {axis.upper:g}]{'' if axis.units == '1' else ' ' + axis.units}"
        for axis in surrogate.grid.axes
    )
    evolution = surrogate.evolution
    step = "" if evolution is None else f", one step of {evolution.dt:g} {evolution.units}"
    return f"{before} -> {after} on {box}{step}; physical units, float32, (batch, channel, *space)"


# Checking.


def _stored_check(surrogate: Surrogate, sizes: Sequence[Size]) -> dict[str, Any]:
    """An input, the answer of the surrogate, and the difference that is allowed in each channel."""
    shape = _check_shape(surrogate, sizes)
    x = inputs(surrogate, 1, shape)
    y = _answer(surrogate, x)
    if not torch.isfinite(y).all():
        raise ConfigError(
            f"export: {name_of(surrogate.model)} answers an input in the range of training with NaN or "
            "infinity; look at the training."
        )
    stored = {"input": artefact.encode(x), "output": artefact.encode(y)}
    return {**stored, "tolerance": _tolerance(surrogate, y).tolist()}


def _check_shape(surrogate: Surrogate, sizes: Sequence[Size]) -> tuple[int, ...]:
    """The grid of training, or a coarser one that is quick and takes little space."""
    channels = surrogate.input_normalization.channels
    most = int((_MOST_VALUES / channels) ** (1 / len(sizes)))
    shape = tuple(max(size.least, min(size.trained, most)) for size in sizes)
    if math.prod(shape) * channels > _LARGEST_CHECK:
        raise ConfigError(
            f"export: the file would hold a check of {channels} channels on a grid {shape}, which takes too "
            "much space; sizes that may vary (dynamic=True) allow a coarser one."
        )
    return shape


def _answer(surrogate: Surrogate, x: Tensor) -> Tensor:
    """What the surrogate says."""
    evolution = surrogate.evolution
    extras = None if evolution is None else evolution.extras(0, torch.zeros(len(x)), None)
    with torch.no_grad():
        return surrogate.physical(x, extras)


def _tolerance(surrogate: Surrogate, y: Tensor) -> Tensor:
    """The difference allowed in each channel: `RELATIVE` of the largest value, of the scale if all are 0."""
    largest = y.double().abs().transpose(0, 1).flatten(1).amax(1)
    return RELATIVE * torch.where(largest > 0, largest, surrogate.output_normalization.scale)


def _verify(
    surrogate: Surrogate, draft: Path, sizes: Sequence[Size]
) -> tuple[Mapping[str, Any], tuple[Check, ...]]:
    """Load what was written and compare it with the surrogate, on its own check and in other cases.

    Raises
    ------
    CheckpointError
        If it fails or differs.
    """
    try:
        description, run = artefact.open_artefact(draft)
    except CheckpointError as error:
        raise CheckpointError(
            f"export: wrote nothing, since the runtime cannot load {draft.name}: {error.__cause__ or error}"
        ) from error
    checks = [artefact.answer_check(draft, description, run)]
    for x, y in _other_cases(surrogate, sizes):
        shape = tuple(x.shape[2:])
        try:
            difference = artefact.deviation(run(x), y, _tolerance(surrogate, y))
        except Exception as error:  # of the runtime
            raise CheckpointError(
                f"export: wrote nothing, since {draft.name} fails for batch {len(x)} on a grid {shape}: "
                f"{type(error).__name__}: {str(error).strip()[:200]}. A fixed grid (dynamic=False, --static) "
                "may do."
            ) from error
        checks.append(Check(len(x), shape, difference))
        if not difference <= RELATIVE:
            raise CheckpointError(
                f"export: wrote nothing, since {draft.name} differs from the surrogate for batch {len(x)} on "
                f"a grid {shape} by {difference:.2g} of the largest value, allowed {RELATIVE:g}."
            )
    return description, tuple(checks)


def _other_cases(surrogate: Surrogate, sizes: Sequence[Size]) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and answers: three on another grid, odd where the first one is even; one on the coarsest."""

    def sized(wanted: Sequence[int]) -> tuple[int, ...]:
        first = [size.trained if size.symbol is None else n for size, n in zip(sizes, wanted, strict=True)]
        return tuple(
            n if size.like is None else first[size.like] for size, n in zip(sizes, first, strict=True)
        )

    shape = _check_shape(surrogate, sizes)
    finer = [sized([n + 1 + 2 * axis for axis, n in enumerate(shape)]), sized([2 * n for n in shape])]
    for attempt in finer:
        x = inputs(surrogate, 3, attempt)
        try:
            y = _answer(surrogate, x)
        except (RuntimeError, ValueError, IndexError):  # a model may want multiples of some number
            continue
        yield x, y
        break
    else:
        raise ConfigError(
            f"export: {name_of(surrogate.model)} runs on no other grid, neither {finer[0]} nor {finer[1]}; "
            "export it with dynamic=False (--static)."
        )
    if any(size.symbol is not None for size in sizes):
        x = inputs(surrogate, 1, sized([size.least for size in sizes]))
        yield x, _answer(surrogate, x)
