"""Ready trainings by name: data, model, loss and optimizer settings that fit each other, in one place."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from sciml.datasets.darcy import Darcy
from sciml.datasets.generator import Generator
from sciml.datasets.navier_stokes import NavierStokes
from sciml.description import describable, describe
from sciml.errors import ConfigError
from sciml.files import dump_json
from sciml.operators.fno import FNO
from sciml.optimizers.muon import Muon
from sciml.trainer import Trainer
from sciml.unroll import Stepping as Stepping

if TYPE_CHECKING:
    from sciml.dataset import Dataset


DATA_FOLDER = Path("runs") / "data"
"""Where generated and converted data lie, below the current folder."""

_ADAM_TO_MUON = 0.3  # as tried with Transolver and MgNO

Progress = Callable[[int, int], None]
"""Called with (finished, all) samples."""


@describable
@dataclass(frozen=True)
class Recipe:
    """One cycle of the learning rate: up for a fifth of the steps, then down along a cosine.

    The optimizer is AdamW, or `sciml.optimizers.Muon` for matrices and kernels of convolutions, which move at
    ten thirds of the learning rate, with AdamW for the rest.
    """

    steps: int = 1600
    batch_size: int = 16
    learning_rate: float = 4e-3
    weight_decay: float = 0.1
    clip: float | None = None
    ema: float | None = None
    precision: Literal["float32", "bf16"] = "float32"
    optimizer: Literal["adamw", "muon"] = "adamw"

    def __post_init__(self) -> None:
        if self.optimizer not in ("adamw", "muon"):
            raise ConfigError(f"Recipe: optimizer is 'adamw' or 'muon', got {self.optimizer!r}.")

    def description(self) -> dict[str, Any]:
        """For `describe`: AdamW is not told, so that protocols from before this choice stay the same."""
        arguments: dict[str, Any] = dict(vars(self)["_arguments"])
        return {name: value for name, value in arguments.items() if (name, value) != ("optimizer", "adamw")}

    def trainer(self, seed: int) -> Trainer:
        """The trainer with these settings."""
        rate, decay = self._rate, self.weight_decay
        adamw = partial(AdamW, lr=rate, weight_decay=decay, fused=True)
        muon = partial(Muon, lr=rate, ratio=_ADAM_TO_MUON, weight_decay=decay, kernels=True)
        return Trainer(
            self.steps,
            optimizer=adamw if self.optimizer == "adamw" else muon,
            schedule=self._schedule(),
            clip=self.clip,
            ema=self.ema,
            precision=self.precision,
            seed=seed,
        )

    @property
    def _rate(self) -> float:
        return self.learning_rate if self.optimizer == "adamw" else self.learning_rate / _ADAM_TO_MUON

    def _schedule(self) -> partial[OneCycleLR] | None:
        if self.steps < 4:  # no room to rise and fall; OneCycleLR would divide by zero
            return None
        rise = max(0.2, 2 / self.steps)  # at least two steps, for the same reason
        cycle = partial(OneCycleLR, max_lr=self._rate, total_steps=self.steps, pct_start=rise)
        # The momentum of Muon has another name than the one that would go up and down.
        return cycle if self.optimizer == "adamw" else partial(cycle, cycle_momentum=False)


@dataclass(frozen=True)
class Generated:
    """Data that a generator makes on first use: a pure function of these settings.

    Attributes
    ----------
    generator : Generator
    train, valid, test : int
        Samples of each split.
    seed : int
        From which all samples follow.
    """

    generator: Generator
    train: int = 1000
    valid: int = 100
    test: int = 200
    seed: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """The arguments of `Generator.make`."""
        return {"train": self.train, "valid": self.valid, "test": self.test, "seed": self.seed}

    @property
    def total(self) -> int:
        """Samples of all splits."""
        return self.train + self.valid + self.test

    def file_name(self, stem: str) -> str:
        """``stem`` and a hash of everything that decides the content."""
        return f"{stem}-{short_hash({**self.counts, 'generator': describe(self.generator)})}.h5"

    def make(self, path: Path, *, progress: Progress | None = None) -> Dataset:
        """Generate a file."""
        return self.generator.make(path, **self.counts, progress=progress)

    def open(self, folder: Path, stem: str, *, progress: Progress | None = None) -> Dataset:
        """The file in this folder, generated if it is not there."""
        from sciml.dataset import open_dataset

        path = folder / self.file_name(stem)
        if path.exists():
            return open_dataset(path)
        folder.mkdir(parents=True, exist_ok=True)
        return self.make(path, progress=progress)


@dataclass(frozen=True)
class Preset:
    """One line on the command line: ``sciml train <name>``.

    Attributes
    ----------
    name : str
    generator : Generator
        Makes the data, and knows the classical solvers to compare with.
    operator : partial of an operator class
        Its arguments besides rank, in_channels and out_channels, which the data give.
    recipe : Recipe
    stepping : Stepping
        For data with states in time.
    train, valid, test : int
        Samples of each split.
    data_seed : int
        Of the data, whatever the seed of the training.
    """

    name: str
    generator: Generator
    operator: partial[Any]
    recipe: Recipe = dataclasses.field(default_factory=Recipe)
    stepping: Stepping = dataclasses.field(default_factory=Stepping)
    train: int = 1000
    valid: int = 100
    test: int = 200
    data_seed: int = 0

    @property
    def file_name(self) -> str:
        """Of the data: the name and a hash of everything that decides the content."""
        return self.data.file_name(self.name)

    @property
    def data(self) -> Generated:
        """What it is trained on."""
        return Generated(self.generator, self.train, self.valid, self.test, self.data_seed)


def short_hash(settings: Any) -> str:
    """Eight hexadecimal digits that name JSON-able settings."""
    return hashlib.sha256(dump_json(settings, indent=None).encode()).hexdigest()[:8]


def generators() -> dict[str, type]:
    """The generators of `sciml.datasets` by the name that their files state."""
    from sciml import datasets

    return {f"sciml.datasets.{name}": getattr(datasets, name) for name in datasets.__all__}


def generator_of(data: Dataset) -> Generator | None:
    """The generator that made a file, with its settings, or None if it was made by something else."""
    attributes = data.attributes
    cls = generators().get(str(attributes.get("generator", "")))
    if cls is None or not dataclasses.is_dataclass(cls):
        return None
    names = [field.name for field in dataclasses.fields(cls)]
    if not all(f"sciml_{name}" in attributes for name in names):
        return None
    generator: Generator = cast(Any, cls)(**{name: attributes[f"sciml_{name}"] for name in names})
    return generator


DARCY = Preset(
    name="darcy",
    generator=Darcy(resolution=64),
    operator=partial(FNO, modes=12, width=32, padding=0.125),
    recipe=Recipe(batch_size=8, weight_decay=1e-4),
)

NAVIER_STOKES = Preset(
    name="navier-stokes",
    generator=NavierStokes(resolution=64, viscosity=1e-3),
    operator=partial(FNO, modes=12, width=24),
    # One frame per call beats bundles of 2, 4 or 10, and small batches beat chained calls at equal cost: what
    # one step gets wrong at first is what a roll-out carries on.
    recipe=Recipe(steps=4500, batch_size=4, weight_decay=1e-4),
    train=400,
    valid=10,
    test=50,
)

PRESETS = {preset.name: preset for preset in (DARCY, NAVIER_STOKES)}
