"""Objects as plain data and back: what `run.json`, model cards and `sciml train --like RUN` are made of.

`describe` turns a describable object into JSON-able data; `build` turns that data into an equal object.
Nothing read from a file can name arbitrary code: `build` accepts describable classes of sciml, optimizers and
schedules of torch, a closed list of torch.nn classes, and installed entry points, and refuses the rest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import importlib.metadata
import inspect
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any, TypeVar

import numpy as np
import torch

from sciml.errors import ConfigError

T = TypeVar("T")

_TORCH_NN = frozenset(
    ["ELU", "GELU", "Identity", "LeakyReLU", "Mish", "ReLU", "SELU", "Sigmoid", "SiLU", "Softplus", "Tanh"]
)
_METRICS = ("sciml.metrics", "sciml.spectral_metrics")  # the first has them all
_OPTIMIZERS = "sciml.optimizers."
_ENTRY_POINT_GROUPS = ("sciml.operators", "sciml.datasets", "sciml.problems")


# What stands in the signature of a dataclass for a default that is made.
_MADE = (
    inspect.signature(dataclasses.make_dataclass("_", [("x", list, dataclasses.field(default_factory=list))]))
    .parameters["x"]
    .default
)


def describable(cls: type[T]) -> type[T]:
    """Class decorator: instances keep the arguments they were constructed with, defaults included.

    Of a dataclass these are also the values that a ``default_factory`` makes.

    Examples
    --------
    >>> @describable
    ... class Scale:
    ...     def __init__(self, factor: float, *, offset: float = 0.0) -> None:
    ...         self.factor = factor
    >>> describe(Scale(2.0))["arguments"]
    {'factor': 2.0, 'offset': 0.0}
    """
    original = cls.__init__
    signature = inspect.signature(original)
    factories = _factories(cls, signature)

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(self, *args, **kwargs)
        missing = factories.keys() - bound.arguments.keys()
        bound.arguments.update({name: factories[name]() for name in missing})
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        arguments.pop(next(iter(arguments)))
        original(*bound.args, **bound.kwargs)
        # After the constructor, which may have called that of a describable parent. Past
        # torch.nn.Module.__setattr__ and frozen dataclasses: this is a record, not a part.
        object.__setattr__(self, "_arguments", arguments)

    cls.__init__ = __init__  # type: ignore[method-assign]
    cls._describable = cls.__qualname__  # type: ignore[attr-defined]
    return cls


def _factories(cls: type, signature: inspect.Signature) -> dict[str, Any]:
    """What makes the defaults of a dataclass's arguments, where its constructor says so."""
    made = [name for name, parameter in signature.parameters.items() if parameter.default is _MADE]
    fields: Mapping[str, dataclasses.Field[Any]] = getattr(cls, "__dataclass_fields__", {})
    return {name: fields[name].default_factory for name in made}


def describe(value: Any) -> Any:
    """JSON-able data that says how to make ``value`` again.

    Numbers, text, None and lists stand for themselves.  A describable object becomes ``{"class": path,
    "arguments": {...}}``, a `functools.partial` ``{"partial": path, "arguments": {...}}``, a class or a
    function ``{"name": path}``.  An object of a class that is not describable (a user's own module) becomes
    ``{"class": path, "arguments": None}``: enough to name it, not to build it.

    Raises
    ------
    ConfigError
        For a lambda or a local function, which have no name to be found by.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, list):
        return [describe(item) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [describe(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": {str(key): describe(item) for key, item in value.items()}}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, functools.partial):
        return _describe_partial(value)
    if isinstance(value, type) or inspect.isroutine(value):
        return {"name": _path(value)}
    if hasattr(value, "description"):  # an object that knows better, such as a Dataset: path and digest
        return {"class": _path(type(value)), "arguments": describe(value.description())["dict"]}
    arguments = getattr(value, "_arguments", None) if _is_describable(type(value)) else None
    if arguments is not None:
        arguments = {key: describe(item) for key, item in arguments.items()}
    return {"class": _path(type(value)), "arguments": arguments}


def build(description: Any) -> Any:
    """The inverse of `describe`.

    Raises
    ------
    ConfigError
        If the description names something that may not be built from a file.
    """
    if isinstance(description, list):
        return [build(item) for item in description]
    if not isinstance(description, dict):
        return description
    if "tuple" in description:
        return tuple(build(item) for item in description["tuple"])
    if "dict" in description:
        return {key: build(item) for key, item in description["dict"].items()}
    if "dtype" in description:
        dtype = getattr(torch, str(description["dtype"]), None)
        if not isinstance(dtype, torch.dtype):
            raise ConfigError(f"build: torch has no dtype {description['dtype']!r}.")
        return dtype
    if "name" in description:
        return _find(description["name"])
    path = description.get("class", description.get("partial"))
    if path is None:
        raise ConfigError(f"build: expected a description made by sciml.describe, got {description!r}.")
    if description["arguments"] is None:
        raise ConfigError(
            f"build: {path} is not described by its arguments, so it cannot be made from a file. Make it "
            "yourself and pass it, as in Surrogate.load(folder, model=mine)."
        )
    found = _find(path)
    arguments = {key: build(item) for key, item in description["arguments"].items()}
    if "partial" in description:
        return functools.partial(found, **arguments)
    return _call(found, arguments)


def _call(cls: Any, arguments: dict[str, Any]) -> Any:
    """``cls`` with its recorded arguments, of which those of ``*args`` come by position."""
    positional: list[Any] = []
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL and name in arguments:
            positional = list(arguments.pop(name))
    try:
        return cls(*positional, **arguments)
    except TypeError as error:
        raise ConfigError(f"build: {_path(cls)} does not take the recorded arguments: {error}.") from error


def _describe_partial(value: functools.partial[Any]) -> dict[str, Any]:
    if value.args:
        raise ConfigError(
            f"describe: partial of {_path(value.func)} holds positional arguments, whose names a file could "
            "not show; give them by keyword."
        )
    arguments = {key: describe(item) for key, item in value.keywords.items()}
    return {"partial": _path(value.func), "arguments": arguments}


def _path(value: Callable[..., Any]) -> str:
    name = getattr(value, "__qualname__", type(value).__qualname__)
    if "<lambda>" in name or (inspect.isfunction(value) and "<locals>" in name):
        raise ConfigError(
            f"describe: {name} has no name that a file could hold; use functools.partial or a module-level "
            "function."
        )
    module = value.__module__
    public = module.rsplit(".", 1)[0]
    # torch.optim.adamw.AdamW is promised under torch.optim.AdamW only.
    if public in ("torch.optim", "torch.nn.modules") and module != "torch.optim.lr_scheduler":
        module = public.removesuffix(".modules")
    return f"{module}.{name}"


def _is_describable(cls: type) -> bool:
    """Decorated itself: a subclass has its own arguments, which its parent's record would not show."""
    return cls.__dict__.get("_describable") == cls.__qualname__


def _find(path: str) -> Any:
    module, _, name = path.rpartition(".")
    for group in _ENTRY_POINT_GROUPS:
        for entry in importlib.metadata.entry_points(group=group):
            if entry.value.replace(":", ".") == path:
                return entry.load()
    if _allowed(module, name):
        with contextlib.suppress(ModuleNotFoundError):
            found = getattr(importlib.import_module(module), name, None)
            if _acceptable(found, module):
                return found
    raise ConfigError(
        f"build: {path!r} may not be made from a file. Allowed are describable classes of sciml, "
        f"torch.optim, activations of torch.nn ({', '.join(sorted(_TORCH_NN))}) and installed entry points; "
        "make anything else yourself and pass it, as in Surrogate.load(folder, model=mine)."
    )


def _allowed(module: str, name: str) -> bool:
    if module == "torch.nn":
        return name in _TORCH_NN
    return module in ("torch.optim", "torch.optim.lr_scheduler") or module.split(".")[0] == "sciml"


def _acceptable(found: Any, module: str) -> bool:
    if found is None:
        return False
    if module == "torch.nn":
        return True
    if module == "torch.optim":
        return isinstance(found, type) and issubclass(found, torch.optim.Optimizer)
    if module == "torch.optim.lr_scheduler":
        return isinstance(found, type) and issubclass(found, torch.optim.lr_scheduler.LRScheduler)
    if module.startswith(_OPTIMIZERS):
        offered = importlib.import_module(_OPTIMIZERS.rstrip("."))
        return any(found is getattr(offered, name) for name in offered.__all__)
    if isinstance(found, type):
        return found.__module__ == module and _is_describable(found)
    # Metrics are the only functions that settings name.
    return module in _METRICS and inspect.isfunction(found) and found.__module__ in _METRICS
