"""A surrogate on disk: ``weights.safetensors`` and ``card.json``, both under SHA-256, whole or absent.

The card says in plain JSON what the model is, which fields it maps on which domain, and what it answers to
one fixed input; a reader without sciml can use it too.  Nothing in it is code.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from sciml.calling import evaluating
from sciml.description import build, describe
from sciml.errors import CheckpointError, ConfigError
from sciml.evolution import Evolution
from sciml.files import dump_json, recover_folder, replace_folder_atomic, temporary_name
from sciml.grid import Grid
from sciml.labelled import Channel
from sciml.normalization import Normalization

if TYPE_CHECKING:
    from sciml.point_surrogate import PointSurrogate
    from sciml.surrogate import Surrogate

    Kind: TypeAlias = Surrogate | PointSurrogate

WEIGHTS, CARD = "weights.safetensors", "card.json"
FORMAT, VERSION = "sciml.surrogate", 1
_LOADERS = {FORMAT: "Surrogate", "sciml.point-surrogate": "PointSurrogate"}
ANSWERS = 256  # values of the prediction that are kept for the check at load
_CHECK_POINTS = 2**18  # larger grids are checked at a coarser resolution, if the model takes it
_MOST_POINTS = 2**24  # a card that asks for more would be a way to fill the memory
_DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}


@dataclass(frozen=True)
class Parts:
    """What a saved surrogate is made of."""

    model: nn.Module
    inputs: list[Channel]
    outputs: list[Channel]
    grid: Grid
    input_normalization: Normalization
    output_normalization: Normalization
    answers: dict[str, Any]
    evolution: Evolution | None = None


def write_card(surrogate: Surrogate, folder: Path) -> Path:
    """See `Surrogate.save`."""
    weights = serialize(surrogate)
    card = {
        "format": FORMAT,
        **common(surrogate, weights),
        "inputs": [field.to_dict() for field in surrogate.inputs],
        "outputs": [field.to_dict() for field in surrogate.outputs],
        "grid": surrogate.grid.to_dict(),
        "input_normalization": surrogate.input_normalization.to_dict(),
        "output_normalization": surrogate.output_normalization.to_dict(),
        "answers": answers(surrogate),
    }
    if surrogate.evolution is not None:
        card["evolution"] = surrogate.evolution.to_dict()
    return store(folder, weights, card)


def common(surrogate: Kind, weights: bytes) -> dict[str, Any]:
    """What every card says of the model and its weights."""
    import sciml

    return {
        "version": VERSION,
        "model": describe(surrogate.model),
        "dtype": str(surrogate.dtype).removeprefix("torch."),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "made_with": {"sciml": str(sciml.__version__), "torch": str(torch.__version__)},
    }


def store(folder: Path, weights: bytes, card: dict[str, Any]) -> Path:
    """Write both files, whole or not at all.

    Raises
    ------
    FileExistsError
        If ``folder`` holds anything else, which would be lost.
    """
    recover_folder(folder)
    if folder.exists():
        other = [] if not folder.is_dir() else sorted({p.name for p in folder.iterdir()} - {WEIGHTS, CARD})
        if other or not folder.is_dir():
            raise FileExistsError(
                f"Surrogate.save: {folder} holds {', '.join(other[:3]) or 'a file'}, which is no part of a "
                "surrogate and would be lost; choose another folder."
            )
    text = dump_json({**card, "card_sha256": _own_hash(card)}) + "\n"
    temporary = temporary_name(folder)
    shutil.rmtree(temporary, ignore_errors=True)  # of an earlier process with our number
    temporary.mkdir(parents=True)
    try:
        (temporary / WEIGHTS).write_bytes(weights)
        (temporary / CARD).write_text(text, encoding="utf-8")
        replace_folder_atomic(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return folder


def digest(surrogate: Kind) -> str:
    """See `Surrogate.digest`."""
    return f"sha256:{hashlib.sha256(serialize(surrogate)).hexdigest()}"


def serialize(surrogate: Kind) -> bytes:
    """The bytes of the weights file: equal tensors, equal bytes."""
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    parts = ("model", "input_normalization", "output_normalization", "parameter_normalization")
    for part in (part for part in parts if hasattr(surrogate, part)):
        for name, value in getattr(surrogate, part).state_dict().items():
            if not isinstance(value, Tensor):
                raise ConfigError(
                    f"Surrogate.save: the state {name!r} of {type(surrogate.model).__name__} is a "
                    f"{type(value).__name__}; only tensors are saved, so register it as a buffer."
                )
            # A copy each: weights that share memory are stored twice, and shared again by the model's code.
            tensors[f"{part}.{name}"] = value.detach().cpu().contiguous().clone()
    return bytes(save(tensors))


def _own_hash(card: dict[str, Any]) -> str:
    """SHA-256 of everything in the card but this hash."""
    content = {key: value for key, value in card.items() if key != "card_sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def is_on_points(folder: Path) -> bool:
    """Whether this is the folder of a `PointSurrogate`; not if there is nothing that can be read."""
    with contextlib.suppress(CheckpointError):
        return bool(_read_json(folder, None)["format"] != FORMAT)
    return False


def read_card(folder: Path, model: nn.Module | None) -> Parts:
    """See `Surrogate.load`."""
    card, weights = fetch(folder, FORMAT)
    with complete(folder):
        return Parts(
            model_of(card, weights, model, folder),
            [Channel.from_dict(field) for field in card["inputs"]],
            [Channel.from_dict(field) for field in card["outputs"]],
            Grid.from_dict(card["grid"]),
            Normalization.from_dict(card["input_normalization"]),
            Normalization.from_dict(card["output_normalization"]),
            card["answers"],
            Evolution.from_dict(card["evolution"]) if "evolution" in card else None,
        )


def fetch(folder: Path, form: str) -> tuple[dict[str, Any], bytes]:
    """Card and weights of this format, their hashes checked."""
    recover_folder(folder)
    card = _read_json(folder, form)
    try:
        weights = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"Surrogate.load: {folder / WEIGHTS} cannot be read: {error.strerror}."
        ) from error
    found = hashlib.sha256(weights).hexdigest()
    if found != card.get("weights_sha256"):
        raise CheckpointError(
            f"Surrogate.load: {folder / WEIGHTS} is damaged or belongs to another card: its SHA-256 is "
            f"{found[:12]}..., the card says {str(card.get('weights_sha256'))[:12]}.... Copy the folder "
            "again."
        )
    return card, weights


@contextlib.contextmanager
def complete(folder: Path) -> Iterator[None]:
    """What goes wrong inside, with a card or weights that lack something, is a `CheckpointError`."""
    from safetensors import SafetensorError

    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        raise CheckpointError(
            f"Surrogate.load: {folder}: the card or the weights are incomplete: {type(error).__name__}: "
            f"{error}. Save the surrogate again."
        ) from error


def model_of(card: dict[str, Any], weights: bytes, model: nn.Module | None, folder: Path) -> nn.Module:
    """The model with its weights, in evaluation mode."""
    from safetensors.torch import load

    tensors, dtype = load(weights), _DTYPES[card["dtype"]]
    state = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    if model is None:
        model = _build(card["model"], state, folder)
    if dtype != next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32):
        model.to(dtype)
    _compare(model, state, folder)
    model.load_state_dict(state)
    return model.eval()


def _read_json(folder: Path, form: str | None) -> dict[str, Any]:
    path = folder / CARD
    try:
        card = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(
            f"Surrogate.load: {folder} is no saved surrogate, {CARD} cannot be read: {error.strerror}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"Surrogate.load: {path} is not valid JSON: {error}.") from error
    if not isinstance(card, dict) or card.get("format") not in _LOADERS:
        raise CheckpointError(f"Surrogate.load: {path} is not the card of a surrogate.")
    if form is not None and card["format"] != form:
        kind = _LOADERS[card["format"]]
        raise CheckpointError(f"{_LOADERS[form]}.load: {path} is the card of a {kind}, which loads it.")
    if card.get("version") != VERSION:
        raise CheckpointError(
            f"Surrogate.load: {path} has format version {card.get('version')!r}, this sciml reads {VERSION}. "
            "Install the sciml that the card names under made_with."
        )
    if card.get("card_sha256") != _own_hash(card):
        raise CheckpointError(
            f"Surrogate.load: {path} was changed after it was saved: its content does not have the SHA-256 "
            "that it states. Copy the folder again."
        )
    return card


def _build(description: Any, state: dict[str, Tensor], folder: Path) -> nn.Module:
    """The model, freshly made; the caller's random numbers are as if nothing had happened.

    It is first made without memory and compared with the weights, so that a card cannot ask for a model of
    any size.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            shell = None
            # A constructor that looks at its own numbers cannot run so; then only the real one is compared.
            with contextlib.suppress(RuntimeError), torch.device("meta"):
                shell = build(description)
            if isinstance(shell, nn.Module):
                _compare(shell, state, folder)
            model = build(description)
    except ConfigError as error:
        raise CheckpointError(f"Surrogate.load: {folder}: {error}") from error
    if not isinstance(model, nn.Module):
        raise CheckpointError(
            f"Surrogate.load: {folder}: the card describes a {type(model).__name__}, no model."
        )
    return model


def _compare(model: nn.Module, state: dict[str, Tensor], folder: Path) -> None:
    """Refuse weights that do not fit, before anything is changed."""
    own = {
        name: tuple(value.shape) for name, value in model.state_dict().items() if isinstance(value, Tensor)
    }
    saved = {name: tuple(value.shape) for name, value in state.items()}
    for name in sorted(own.keys() | saved.keys()):
        if own.get(name) != saved.get(name):
            raise CheckpointError(
                f"Surrogate.load: {folder} does not fit {type(model).__name__}: {name!r} has shape "
                f"{saved.get(name, 'missing')} in the file and {own.get(name, 'missing')} in the model."
            )


def answers(surrogate: Surrogate) -> dict[str, Any]:
    """The model's answer to one smooth input: the grid's shape and at most 256 normalized values.

    None for a model that takes only the grid of training, if that has more than 2^24 points.

    Raises
    ------
    ConfigError
        If the answer is not finite; such a surrogate is of no use.
    """
    shape, found = surrogate.grid.shape, None
    if math.prod(shape) > _CHECK_POINTS:
        small = tuple(min(n, 64 if len(shape) < 3 else 32) for n in shape)
        # A model of one resolution, or of a least one, is asked at that of training.
        with contextlib.suppress(RuntimeError, ValueError, IndexError):
            found, shape = _answer(surrogate, small), small
    if found is None:
        if math.prod(shape) > _MOST_POINTS:
            return {"shape": [], "values": []}
        found = _answer(surrogate, shape)
    if not torch.isfinite(found).all():
        raise ConfigError(
            f"Surrogate.save: {type(surrogate.model).__name__} answers an ordinary input with NaN or "
            "infinity; look at the training."
        )
    return {"shape": list(shape), "values": found.tolist()}


def _answer(surrogate: Surrogate, shape: tuple[int, ...]) -> Tensor:
    """Normalized output for cos(2 pi c sum_i x_i + c) in channel c = 1, 2, ...; thinned, on the CPU."""
    model = surrogate.model
    on_cpu = surrogate if surrogate.device.type == "cpu" else copy.copy(surrogate)
    if on_cpu is not surrogate:  # rounding differs between devices, and a folder is loaded on the CPU
        on_cpu.model = copy.deepcopy(model).cpu()
    points = torch.from_numpy(surrogate.grid.with_shape(shape).unit_coordinates()).sum(0)
    number = torch.arange(1.0, surrogate.input_normalization.channels + 1, dtype=torch.float64)
    number = number.reshape(-1, *(1 for _ in shape))
    x = surrogate.input_normalization.decode(torch.cos(2 * math.pi * number * points + number)[None])
    with torch.no_grad(), evaluating(on_cpu.model):
        extras = None if surrogate.evolution is None else surrogate.evolution.example()
        y = surrogate.output_normalization.encode(on_cpu.physical(x, extras)).flatten()
    return y[:: max(1, -(-len(y) // ANSWERS))]


def verify(surrogate: Surrogate, stored: dict[str, Any], folder: Path) -> None:
    """Refuse a model that answers otherwise than when it was saved.

    Up to 1e-5 of a standard deviation, or the rounding of a lower precision: another machine sums in another
    order.
    """
    shape = tuple(int(n) for n in stored["shape"])
    if not shape:
        return
    if len(shape) != surrogate.grid.rank or math.prod(shape) > _MOST_POINTS:
        raise strange(folder, f"a grid {shape}")
    agree(surrogate, _answer(surrogate, shape), stored["values"], folder)


def strange(folder: Path, place: str) -> CheckpointError:
    """That a card asks for answers where none were stored."""
    return CheckpointError(f"Surrogate.load: {folder}: the card asks for answers on {place}.")


def agree(surrogate: Kind, found: Tensor, stored: Sequence[float], folder: Path) -> None:
    """Refuse answers that differ from the stored ones by more than `verify` allows."""
    expected = torch.tensor(stored, dtype=torch.float64)
    allowed = max(1e-5, 8 * torch.finfo(surrogate.dtype).eps) * max(1.0, float(expected.abs().max()))
    difference = float((found - expected).abs().max()) if found.shape == expected.shape else math.inf
    if not difference <= allowed:
        raise CheckpointError(
            f"Surrogate.load: {folder}: the {type(surrogate.model).__name__} made here answers otherwise "
            f"than the saved one (difference {difference:.2g}, allowed {allowed:.2g}), although the weights "
            "are intact. Its code has changed; install the sciml that the card names under made_with, or "
            "pass model=."
        )
