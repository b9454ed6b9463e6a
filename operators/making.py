"""A model for given data from a class of operators, a partial of one, or a user's function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from sciml.errors import ConfigError
from sciml.operators.message_settings import Context
from sciml.operators.symmetrized import Group, Symmetrized
from sciml.operators.told import Told

if TYPE_CHECKING:
    from sciml.dataset import Dataset

FROM_DATA = ("rank", "in_channels", "out_channels", "data")
"""What the data decide, given to a factory that names it."""


def make_model(
    who: str,
    factory: Callable[..., nn.Module],
    settings: Mapping[str, Any],
    *,
    in_channels: int,
    out_channels: int,
    data: Dataset,
    context: Context | None = None,
) -> nn.Module:
    """The model that ``factory`` makes for these data.

    The factory gets those of rank, in_channels, out_channels and data that it names, and ``settings``. A
    class that has ``suited(grid)`` starts from what suits the grid, and with ``suited_points()`` from what
    suits points and meshes; a partial starts from its own arguments, and only what it cannot do without comes
    from there. On points an operator that names ``parameters`` or ``functions`` is told how many numbers the
    samples have, and how long the rows, coordinates and values, of each function on points of its own are.

    What an operator of ours is told beside the fields is its argument ``context``, if it has one; one without
    that argument becomes `Told` it.

    Parameters
    ----------
    who : str
        For messages.
    factory : class, partial or function
    settings : mapping
        Arguments besides; they win over all others.
    in_channels, out_channels : int
    data : Dataset
    context : Context, optional
        Numbers of the samples that operators of ours are told, on grids.

    Raises
    ------
    ConfigError
        If an operator that needs a grid gets points, a required argument is missing, an operator of
        `sciml.operators` refuses its settings, or what comes is no `torch.nn.Module`.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from sciml.grid import Grid
    >>> data = SimpleNamespace(kind="grid", rank=1, grid=Grid.box((16,)))
    >>> make_model("mine", lambda in_channels: nn.Linear(in_channels, 2), {}, in_channels=3, out_channels=1,
    ...     data=data)
    Linear(in_features=3, out_features=2, bias=True)
    """
    given = {
        "rank": data.rank,
        "in_channels": in_channels,
        "out_channels": out_channels,
        "data": data,
    }
    base = factory.func if isinstance(factory, functools.partial) else factory
    if data.kind != "grid" and hasattr(base, "properties"):
        given |= _beside(data)
    parameters = inspect.signature(factory).parameters
    told = None
    if context is not None and data.kind == "grid" and hasattr(base, "properties"):
        if "context" in parameters:
            given["context"] = context
        elif context.numbers:
            told = context
            given["in_channels"] = in_channels + context.numbers
    bound = set(factory.keywords) if isinstance(factory, functools.partial) else set()
    arguments = {
        **_suited(who, base, parameters, data, bare=factory is base),
        **{name: value for name, value in given.items() if name in parameters and name not in bound},
        **settings,
    }
    _check_required(who, parameters, bound | set(arguments))
    try:
        model = factory(**arguments)
    except (TypeError, RuntimeError) as error:  # a text where a number belongs
        if not getattr(base, "__module__", "").startswith("sciml.operators."):
            raise
        shown = {name: value for name, value in arguments.items() if name not in FROM_DATA}
        raise ConfigError(f"{who} does not accept the settings {shown}: {error}") from error
    if not isinstance(model, nn.Module):
        raise ConfigError(f"{who} must return a torch.nn.Module, got {type(model).__name__}.")
    return model if told is None else Told(model, told)


def _suited(
    who: str, base: Any, parameters: Mapping[str, inspect.Parameter], data: Dataset, *, bare: bool
) -> dict[str, Any]:
    """The arguments from which an operator of ours starts on these data."""
    promises, suited = getattr(base, "properties", None), getattr(base, "suited", None)
    if data.kind == "grid":
        found = suited(data.grid) if suited is not None else {}
    elif promises is not None and promises.needs_grid:
        raise ConfigError(f"{who} needs fields on a grid; {data.path} has them on {data.kind}.")
    else:
        found = getattr(base, "suited_points", dict)()
    return {
        name: v for name, v in found.items() if bare or parameters[name].default is inspect.Parameter.empty
    }


def _beside(data: Dataset) -> dict[str, Any]:
    """What the samples on points have beside fields there."""
    own = [field for field in data.fields.values() if field.on == "own"]
    lengths = [data.places([0], field.name)[0].shape[1] + field.components for field in own]
    return {"parameters": len(data.parameter_names), "functions": tuple(lengths)}


def _check_required(who: str, parameters: Mapping[str, inspect.Parameter], known: set[str]) -> None:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    missing = [
        name
        for name, p in parameters.items()
        if name not in known and p.kind in named and p.default is inspect.Parameter.empty
    ]
    if missing:
        raise ConfigError(
            f"{who} needs {', '.join(missing)}, which the data do not give; they give "
            f"{', '.join(FROM_DATA)} by these names. Give the rest as settings, or by functools.partial."
        )


def symmetrized(model: nn.Module, group: Group | Literal["none"], data: Dataset) -> nn.Module:
    """The model averaged over a group, with random elements in training; itself for "none".

    Raises
    ------
    ConfigError
        If the data hold vectors, or axes of kinds that the group exchanges or reflects differently.
    """
    if group == "none":
        return model
    periodic = {axis.periodic and axis.location == "node" for axis in data.grid.axes}
    vectors = [field.name for field in data.fields.values() if field.rank]
    if vectors or (len(periodic) > 1 and group != "permutations"):
        what = f"the vectors {', '.join(vectors)}" if vectors else "axes of different kinds"
        raise ConfigError(f"symmetry: {data.path} has {what}; use sciml.operators.Symmetrized in Python.")
    return Symmetrized(model, group=group, in_training="sample", periodic_nodes=periodic == {True})
