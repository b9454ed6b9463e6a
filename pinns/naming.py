"""Recipes by what they are made of: ``plain+RAD(every=50)+PirateNet``.

The grammar is ``BASE[+Class[(name=value, ...)]]...``: a recipe of `sciml.pinns.recipes`, and samplers,
weightings, networks and optimizers by the names of their classes, in either case.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from sciml import optimizers
from sciml.errors import ConfigError, nearest
from sciml.pinns import networks, samplers, weightings
from sciml.pinns.recipe import NetworkFactory, Recipe
from sciml.pinns.recipes import RECIPES
from sciml.pinns.samplers.sampler import Sampler
from sciml.pinns.weightings.residual_attention import ResidualAttention
from sciml.pinns.weightings.together import Together
from sciml.pinns.weightings.variational import Potential
from sciml.pinns.weightings.weighting import Weighting
from sciml.spelling import Call, calls_in, spelled

FORM = "BASE+Class(name=value)+..., such as plain+RAD(every=50)+PirateNet"
KINDS = ("samplers", "weightings", "networks", "optimizers")

# What these four list besides, and what is written instead.
_OTHERWISE = {
    "InTurn": "each stage of a recipe has its sampler",
    "Together": "two weightings are put together by naming both, as in plain+Causal+NTK",
    "FactorizedLinear": "Factorized puts it into a whole network",
    "fit_last_layer": "fit_to_start and fit_to_equation know what to fit to",
}


@dataclass(frozen=True)
class _Known:
    """What a name stands for; of ``kind``, and within that ``role``."""

    kind: str
    role: str
    name: str
    made_by: Callable[..., Any]

    @property
    def hidden(self) -> frozenset[str]:
        """Parameters that a text cannot give: classes and functions, and what the recipe puts in."""
        given = {"params", "inputs", "outputs", "model", "problem"}
        parameters = inspect.signature(self.made_by).parameters
        return frozenset(
            name
            for name, p in parameters.items()
            if name in given or (p.default is not p.empty and callable(p.default))
        )


@dataclass(frozen=True)
class _Part:
    known: _Known
    arguments: Mapping[str, Any]

    @property
    def make(self) -> Callable[..., Any]:
        """The class, with its arguments."""
        return partial(self.known.made_by, **self.arguments)

    def __str__(self) -> str:
        return spelled(self.known.name, self.arguments)


def named_recipe(text: str) -> Recipe:
    """The recipe that a text spells.

    - A sampler draws the points of all stages.
    - A weighting takes the place of that of the base; two are put `Together`, in their order.  A `Potential`
      is `ResidualAttention` by it.
    - A network takes the place of that of the base.  One around a network (`FourierFeatures`, `Waves`,
      `Factorized`, `PIG`, `SPINN`) is put around the one so far: ``plain+PirateNet+FourierFeatures``.
      `Wavelet` becomes its activation, and ``fit_to_start`` and its like are made before the first step.
    - An optimizer takes the place of the last stage's, of our own or of torch.optim.  Those with curvature,
      which make ``iterations`` in a step, have no schedule, and make the recipe one in float64.

    Parameters
    ----------
    text : str
        ``BASE[+Class[(name=value, ...)]]...``; the base is one of `sciml.pinns.recipes.RECIPES`, values are
        literals or a `Potential`, and in either case of letters.

    Raises
    ------
    ConfigError
        In one sentence, for what there is not or what does not go together, and wrong arguments.

    Examples
    --------
    >>> recipe = named_recipe("plain+RAD(every=50)+NTK+SelfScaledBroyden")
    >>> recipe.stages[-1].sampler.every, recipe.weighting.every, recipe.dtype
    (50, 1000, torch.float64)
    """
    base, parts = _read(text)
    recipe = RECIPES[base]
    for kind, change in _CHANGES.items():
        found = [part for part in parts if part.known.kind == kind]
        recipe = change(recipe, found) if found else recipe
    return recipe


def spelled_recipe(text: str) -> str:
    """The text by which rows and runs know a recipe: the same for all texts that mean the same.

    Raises
    ------
    ConfigError
        As `named_recipe` does.

    Examples
    --------
    >>> spelled_recipe("Plain + piratenet + rad(50)"), spelled_recipe("plain+RAD(every=500, power=1)")
    ('plain+RAD(every=50)+PirateNet', 'plain+RAD')
    """
    base, parts = _read(text)
    return "+".join([base, *(str(part) for kind in KINDS for part in parts if part.known.kind == kind)])


def expanded(text: str) -> list[str]:
    """One text for each of a kind: ``plain+samplers``, and likewise weightings, networks and optimizers.

    Raises
    ------
    ConfigError
        If the text is not of that form.

    Examples
    --------
    >>> expanded("plain+weightings")[:3], expanded("small")
    (['plain+NTK', 'plain+Causal', 'plain+Exponential'], ['small'])
    """
    base, calls = _split(text)
    return ["+".join([base, *chosen]) for chosen in itertools.product(*map(_choices, calls))]


def _choices(call: Call) -> list[str]:
    """What a call stands for: each of a kind, what fits networks apart, or itself."""
    kind = call.name.lower()
    if kind not in KINDS or str(call) != call.name:
        return [str(call)]
    return [name for name, known in each_part().items() if known.kind == kind and known.role != "fit"]


def parts_by_kind() -> dict[str, list[str]]:
    """The names that can be put to a base, for lists.

    Examples
    --------
    >>> parts_by_kind()["samplers"][:3]
    ['PINNACLE', 'R3', 'RAD']
    """
    return {kind: [name for name, known in each_part().items() if known.kind == kind] for kind in KINDS}


@functools.cache
def each_part() -> Mapping[str, _Known]:
    """All that a recipe can be made of, by name: what the four areas list, but torch's optimizers."""
    roles: dict[str, Callable[[Any], str | None]] = {
        "samplers": _sampler,
        "weightings": _weighting,
        "networks": _network,
        "optimizers": lambda _: "optimizer",
    }
    areas = zip(KINDS, (samplers, weightings, networks, optimizers), strict=True)
    return {
        name: _Known(kind, role, name, getattr(area, name))
        for kind, area in areas
        for name in area.__all__
        if name not in _OTHERWISE and (role := roles[kind](getattr(area, name))) is not None
    }


def _sampler(found: Any) -> str | None:
    return "sampler" if _concrete(found, Sampler) else None


def _weighting(found: Any) -> str | None:
    if _concrete(found, Weighting):
        return "weighting"
    return "potential" if _concrete(found, Potential) else None


def _network(found: Any) -> str | None:
    takes = [*inspect.signature(found).parameters] if callable(found) else []
    if takes[:2] == ["model", "problem"]:
        return "fit"
    if not _concrete(found, nn.Module):
        return None
    if takes[:2] != ["inputs", "outputs"]:
        return "activation"
    return "wrapper" if "network" in takes else "network"


def _concrete(found: Any, kind: type) -> bool:
    return isinstance(found, type) and issubclass(found, kind) and not inspect.isabstract(found)


# From texts to parts.


def _split(text: str) -> tuple[str, list[Call]]:
    base, plus, rest = text.partition("+")
    base = base.strip()
    if base.lower() not in RECIPES:
        listed = ", ".join(RECIPES)
        raise ConfigError(f"there is no recipe {base!r}; there is {listed}.{nearest(base.lower(), RECIPES)}")
    parts = {name: known.made_by for name, known in each_part().items() if known.role == "potential"}
    return base.lower(), calls_in(rest, FORM, parts) if plus else []


def _read(text: str) -> tuple[str, list[_Part]]:
    base, calls = _split(text)
    return base, [_part(call) for call in calls]


def _part(call: Call) -> _Part:
    name = call.name.lower()
    for other, instead in _OTHERWISE.items():
        if name == other.lower():
            raise ConfigError(f"{other} is not named in a recipe: {instead}.")
    known = {name.lower(): found for name, found in {**_of_torch(), **each_part()}.items()}
    if name not in known:
        listed = ", ".join(each_part())
        raise ConfigError(
            f"there is no sampler, weighting, network or optimizer {call.name!r}; there is {listed}, and "
            f"torch.optim.{nearest(call.name, [found.name for found in known.values()])}"
        )
    found = known[name]
    part = _Part(found, replace(call, name=found.name).arguments(found.made_by, found.hidden))
    _try(part)
    if found.role == "potential":
        return _part(Call(ResidualAttention.__name__, (), {"potential": part.make()}))
    return part


@functools.cache
def _of_torch() -> Mapping[str, _Known]:
    """Those of torch.optim, but the one for sparse gradients, which no loss here has."""
    return {
        name: _Known("optimizers", "optimizer", name, cls)
        for name, cls in vars(torch.optim).items()
        if _concrete(cls, Optimizer) and cls not in (Optimizer, torch.optim.SparseAdam)
    }


def _try(part: _Part) -> None:
    """Make it once, so that wrong kinds of arguments are told at once."""
    signature = inspect.signature(part.known.made_by).parameters
    for name, value in part.arguments.items():
        if isinstance(signature[name].default, Potential) and not isinstance(value, Potential):
            raise ConfigError(f"{part.known.name}: {name} is a potential such as Power(3), got {value!r}.")
    try:
        if part.known.role == "optimizer":
            part.make([nn.Parameter(torch.zeros(2, dtype=torch.float64))])
        elif part.known.role in ("network", "wrapper"):
            _try_network(part)
        elif part.known.role != "fit":
            part.make()
    except (TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{part.known.name} does not accept {part}: {error}.") from None


def _try_network(part: _Part) -> None:
    try:
        with torch.device("meta"):  # no memory, no time, no random numbers
            part.make(2, 1)
    except (ConfigError, RuntimeError):
        pass  # the problem decides, which has other numbers of inputs and outputs and real numbers


# From parts to recipes.


def _with_sampler(recipe: Recipe, parts: Sequence[_Part]) -> Recipe:
    sampler = _only(parts).make()
    return replace(recipe, stages=tuple(replace(stage, sampler=sampler) for stage in recipe.stages))


def _with_weightings(recipe: Recipe, parts: Sequence[_Part]) -> Recipe:
    made: list[Weighting] = [part.make() for part in parts]
    return replace(recipe, weighting=made[0] if len(made) == 1 else Together(tuple(made)))


def _with_networks(recipe: Recipe, parts: Sequence[_Part]) -> Recipe:
    by_role = {role: [p for p in parts if p.known.role == role] for role in ("network", "fit")}
    if by_role["network"]:
        _only(by_role["network"])
    network, around = recipe.network, ""
    for part in parts:
        name, role = part.known.name, part.known.role
        if role == "wrapper":
            network, around = partial(part.make, network=network), name
        elif role == "activation":
            network = _with_activation(network, part)
        elif role == "network" and around:
            raise ConfigError(
                f"{name} would take the place of {around}, which is named before it; name it first, as in "
                f"plain+{name}+{around}."
            )
        elif role == "network":
            network = part.make
    fit = _only(by_role["fit"]).make if by_role["fit"] else recipe.fit
    return replace(recipe, network=network, fit=fit)


def _with_activation(network: NetworkFactory, part: _Part) -> NetworkFactory:
    """The network, or the one inside it that has an activation, with this one."""
    factory: Callable[..., nn.Module] = network
    signature = inspect.signature(factory).parameters
    if "activation" in signature:
        return partial(factory, activation=part.make if part.arguments else part.known.made_by)
    if "network" not in signature:
        made = getattr(network, "func", network)
        raise ConfigError(f"{part.known.name} is an activation, and {made.__name__} has its own.")
    return partial(factory, network=_with_activation(signature["network"].default, part))


def _with_optimizer(recipe: Recipe, parts: Sequence[_Part]) -> Recipe:
    part = _only(parts)
    *first, last = recipe.stages
    last = replace(last, optimizer=part.make)
    if "iterations" in inspect.signature(part.known.made_by).parameters:
        # A line search has the length of steps, and float32 ends it early.
        last = replace(last, schedule=None, fading=False)
        recipe = replace(recipe, dtype=torch.float64)
    return replace(recipe, stages=(*first, last))


def _only(parts: Sequence[_Part]) -> _Part:
    if len(parts) != 1:
        told = " and ".join(str(part) for part in parts)
        raise ConfigError(f"a recipe has one {parts[0].known.role}, got {told}; leave one out.")
    return parts[0]


_CHANGES: dict[str, Callable[[Recipe, Sequence[_Part]], Recipe]] = {
    "samplers": _with_sampler,
    "weightings": _with_weightings,
    "networks": _with_networks,
    "optimizers": _with_optimizer,
}
