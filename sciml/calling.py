"""How a model is called: ``model(x, **extras)`` with the extras that its ``forward`` names, and no others."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sciml.errors import ConfigError, DataError, ShapeError

EXTRAS = ("coordinates", "mask", "weights", "parameters", "time", "dt", "neighbors", "functions", "queries")


@functools.lru_cache(maxsize=256)
def _named(forward: Any) -> tuple[frozenset[str], frozenset[str]]:
    """The extras that a forward function names, and those among them that have no default."""
    parameters = list(inspect.signature(forward).parameters.values())[2:]  # after self and x
    named = {p.name for p in parameters if p.name in EXTRAS}
    required = {
        p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    return frozenset(named), frozenset(required)


def call(model: nn.Module, x: Tensor, extras: Mapping[str, Any]) -> Tensor:
    """Call ``model`` on x (batch, channel, *space) with those of ``extras`` that its ``forward`` names.

    Extras: coordinates (batch, rank, *space) with the domain scaled to the unit box, parameters (batch, p),
    time, dt, functions, queries.  On points x is (batch, point, channel), coordinates (batch, point, rank),
    mask (batch, point) is true at points and false at padding, weights (batch, point) are the quadrature
    weights of meshes, 0 at padding, and neighbors are (batch, edge, 2) pairs (receiving point, giving point),
    filled up with -1.

    Raises
    ------
    ConfigError
        If ``forward`` requires an argument that ``extras`` lacks.
    """
    named, required = _named(type(model).forward)
    # A model may need an extra only in some configurations (coordinates=True); it then says so in `requires`.
    missing = sorted((required | set(getattr(model, "requires", ()))) - set(extras))
    if missing:
        raise ConfigError(
            f"{type(model).__name__}.forward needs {', '.join(missing)}, which this data does not give; "
            f"it gives {', '.join(sorted(extras)) or 'nothing besides x'}."
        )
    result = model(x, **{name: extras[name] for name in named if name in extras})
    if not isinstance(result, Tensor):
        raise ConfigError(
            f"{type(model).__name__}.forward must return one tensor (batch, channel, *space), "
            f"got {type(result).__name__}."
        )
    return result


def name_of(model: nn.Module) -> str:
    """The class of a model for tables; of a model that wraps another as ``model``, both.

    Examples
    --------
    >>> name_of(nn.Identity())
    'Identity'
    """
    name, inner = type(model).__name__, getattr(model, "model", None)
    return f"{name} {type(inner).__name__}" if isinstance(inner, nn.Module) else name


def parameter_count(model: nn.Module) -> int:
    """Trainable real degrees of freedom: a complex number counts twice.

    Examples
    --------
    >>> parameter_count(nn.Linear(2, 3)), parameter_count(nn.Linear(2, 3, dtype=torch.complex64))
    (9, 18)
    """
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in model.parameters() if p.requires_grad)


def dtype_of(model: nn.Module) -> torch.dtype:
    """The dtype a model computes in: that of its first floating-point parameter, float32 without one."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode (dropout, batch statistics) inside the block; every module's own mode after it."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def try_out(
    who: str,
    model: nn.Module,
    predict: Callable[[], Tensor],
    x: Tensor,
    y: Tensor,
    names: tuple[str, str],
    *,
    axis: int = 1,
) -> None:
    """Call a model once, before training, on one sample x of (batch, channel, *space); y is its target.

    ``names`` say for the message what x and y are; ``axis`` is that of the channels, -1 for (batch, point,
    channel).

    Raises
    ------
    ShapeError
        If the model fails, or its prediction does not have the shape of y.
    """
    inputs, outputs = names
    order = "(batch, channel, *space)" if axis == 1 else "(batch, point, channel)"
    try:
        with torch.no_grad(), evaluating(model):
            prediction = predict()
    except (RuntimeError, ValueError, IndexError) as error:
        if isinstance(error, ConfigError | DataError):
            raise
        raise ShapeError(
            f"{who}: the model fails on one sample of {inputs}, x of shape {tuple(x.shape)} {order}: {error}"
        ) from error
    if prediction.shape != y.shape:
        raise ShapeError(
            f"{who}: the model maps {inputs}, shape {tuple(x.shape)}, to {tuple(prediction.shape)}, but "
            f"{outputs} have shape {tuple(y.shape)} {order}. Set its in_channels to {x.shape[axis]} and its "
            f"out_channels to {y.shape[axis]}."
        )
