"""An operator that competes: how its model is made for given data, and what it changes of the training."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from sciml.description import describe
from sciml.errors import ConfigError, nearest
from sciml.grid import Grid
from sciml.metrics import relative_h1
from sciml.operators.making import FROM_DATA, make_model, symmetrized
from sciml.operators.symmetrized import Group
from sciml.presets import Recipe

if TYPE_CHECKING:
    from sciml.dataset import Dataset
    from sciml.feeding import Loss
    from sciml.operators.message_settings import Context

TRAINING = (*(f.name for f in dataclasses.fields(Recipe) if f.name != "steps"), "loss")
"""Settings of a training that an entry may change; the budget decides on the steps."""
LOSSES = ("standard", "h1")
"""What an entry may minimize: the contest's loss, or the relative H1 error of fields on grids."""


@dataclass(frozen=True)
class Entry:
    """An operator that competes on data.

    Parameters
    ----------
    name : str
        What tables call it.
    factory : class, partial or function
        Returns a `torch.nn.Module`; gets those of rank, in_channels, out_channels and data that it names,
        see `sciml.operators.making.make_model`.
    settings : mapping
        Arguments of the factory besides.
    training : mapping
        What this entry changes of the contest's `Recipe`: learning_rate, weight_decay, batch_size, clip, ema,
        precision; and loss, one of `LOSSES`. What judges, in search and test, remains.
    symmetry : str
        Average the model over this group, as `sciml.operators.Symmetrized` does.
    code : str, optional
        SHA-256 of the user's file that the factory comes from.

    Raises
    ------
    ConfigError
        For a name that cannot be a folder's, a setting that the factory does not take or the data decide, or
        an unknown setting of the training.

    Examples
    --------
    >>> from sciml.operators import FNO
    >>> wide = Entry("fno", FNO).changed({"width": 64, "learning_rate": 1e-3})
    >>> wide.settings, wide.training
    ({'width': 64}, {'learning_rate': 0.001})
    """

    name: str
    factory: Callable[..., nn.Module]
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    symmetry: Group | Literal["none"] = "none"
    code: str | None = None

    def __post_init__(self) -> None:
        if not self.name.strip() or not callable(self.factory):
            raise ConfigError(
                f"Entry: needs a name and a class, partial or function, got {self.name!r}: {self.factory!r}."
            )
        if isinstance(self.factory, nn.Module):
            raise ConfigError(
                f"Entry {self.name!r}: got a model of class {type(self.factory).__name__}; every seed needs "
                "fresh weights, so give its class, a partial of it, or a function that makes it."
            )
        self._check(self.settings, self._arguments())
        self._check(self.training, TRAINING)
        if self.training.get("loss", "standard") not in LOSSES:
            raise ConfigError(
                f"Entry {self.name!r}: loss is one of {', '.join(LOSSES)}, got {self.training['loss']!r}."
            )

    def _arguments(self) -> list[str]:
        parameters = inspect.signature(self.factory).parameters.values()
        return [
            p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL, p.POSITIONAL_ONLY)
        ]

    def _check(self, given: Mapping[str, Any], known: list[str] | tuple[str, ...]) -> None:
        free = [name for name in known if name not in FROM_DATA]
        for name in given:
            if name in FROM_DATA:
                raise ConfigError(f"Entry {self.name!r}: the data decide its {name}.")
            if name not in free:
                raise ConfigError(
                    f"Entry {self.name!r}: there is no setting {name}; there is {', '.join(free) or 'none'}."
                    f"{nearest(name, free)}"
                )

    def changed(self, settings: Mapping[str, Any]) -> Entry:
        """With other settings: those of the training by their names in `TRAINING`, the others of the model.

        A setting of that name that the factory takes itself goes to the factory.
        """
        own = set(self._arguments())
        training = {name: v for name, v in settings.items() if name in TRAINING and name not in own}
        model = {name: v for name, v in settings.items() if name not in training}
        return dataclasses.replace(
            self, settings={**self.settings, **model}, training={**self.training, **training}
        )

    def make(
        self, in_channels: int, out_channels: int, data: Dataset, context: Context | None = None
    ) -> nn.Module:
        """A model with fresh weights, drawn from torch's global generator.

        Raises
        ------
        ConfigError
            As `sciml.operators.making.make_model` and `symmetrized`.
        """
        model = make_model(
            self.name,
            self.factory,
            self.settings,
            in_channels=in_channels,
            out_channels=out_channels,
            data=data,
            context=context,
        )
        return symmetrized(model, self.symmetry, data)

    def recipe(self, standard: Recipe, steps: int) -> Recipe:
        """The contest's recipe with this budget and what the entry changes of it."""
        changed = {name: value for name, value in self.training.items() if name != "loss"}
        return dataclasses.replace(standard, **{**changed, "steps": steps})

    def loss(self, standard: Loss, grid: Grid | None) -> Loss:
        """The contest's loss, or what the entry minimizes instead.

        "h1" is `relative_h1` on a domain of length 2π along every axis, as the models of `MgNO` were trained.

        Raises
        ------
        ConfigError
            For "h1" where fields are on no grid.
        """
        if self.training.get("loss", "standard") == "standard":
            return standard
        if grid is None:
            raise ConfigError(f"Entry {self.name!r}: the loss h1 needs fields on a grid.")
        axes = (dataclasses.replace(axis, lower=0.0, upper=2 * math.pi) for axis in grid.axes)
        return partial(relative_h1, grid=Grid(tuple(axes)))

    def description(self) -> dict[str, Any]:
        """JSON-able: which factory with which settings; see `Contestant`."""
        return {
            "factory": _described(self.factory),
            "settings": describe(dict(self.settings))["dict"],
            "training": describe(dict(self.training))["dict"],
            "symmetry": self.symmetry,
            "code": self.code,
        }


def _described(factory: Callable[..., Any]) -> Any:
    """As `describe`, but a lambda or a local function, which no file could bring back, goes by its name."""
    try:
        return describe(factory)
    except ConfigError:
        if isinstance(factory, partial):
            arguments = {key: describe(value) for key, value in factory.keywords.items()}
            return {
                "partial": _described(factory.func),
                "positional": len(factory.args),
                "arguments": arguments,
            }
        return {"name": f"{factory.__module__}.{getattr(factory, '__qualname__', type(factory).__name__)}"}
