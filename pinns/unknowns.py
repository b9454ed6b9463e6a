"""What an inverse problem looks for: numbers, and functions that are networks of their own."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from sciml.description import describable
from sciml.errors import ConfigError, ShapeError
from sciml.pinns.conditions import Function
from sciml.pinns.domain import Domain
from sciml.pinns.fingerprints import going_on

NetworkFactory = Callable[[int, int], nn.Module]
_JUDGED = 2000  # points at which an unknown function is compared with the truth

V = TypeVar("V", bound="Tensor | Function")


class Sought(nn.Module, ABC):
    """An unknown as it is trained."""

    @abstractmethod
    def value(self) -> Tensor | Function:
        """A number, as a tensor without axes, or a function of points (n, dim) to (n,)."""


@describable
@dataclass(frozen=True)
class Coefficient:
    """An unknown number of an inverse problem.

    Parameters
    ----------
    initial : float
        Where training starts.
    positive : bool
        Train its logarithm: whatever its size, a step changes it by a share of it.
    scale : float, positive
        Train the number divided by it, so that what is trained is about 1.

    Raises
    ------
    ConfigError
        If a positive one starts at zero or below, or has a scale, which its logarithm has no use for.
    """

    initial: float = 1.0
    positive: bool = False
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.positive and not self.initial > 0:
            raise ConfigError(f"Coefficient: positive, but starts at {self.initial}.")
        if not self.scale > 0 or (self.positive and self.scale != 1):
            raise ConfigError(
                f"Coefficient: scale is a positive number, and 1 where positive, got {self.scale}."
            )

    def sought(self, domain: Domain) -> Sought:
        """What is trained."""
        return _Number(self)


def _small() -> NetworkFactory:
    from sciml.pinns.networks.mlp import MLP

    return partial(MLP, width=16, depth=2)


@describable
@dataclass(frozen=True)
class CoefficientField:
    """An unknown function of an inverse problem: ``initial + N(x)``, or ``initial exp(N(x))`` if positive.

    ``coefficients["a"]`` is then a function of points like u: ``evaluate(coefficients["a"], x, [d("x")])``
    has its values and slopes.  What the data do not determine of it a `Prior` has to.

    Parameters
    ----------
    network : factory
        ``network(inputs, 1)`` makes N; two layers of 16 by default.  A last layer that is linear begins at
        zero, so that training starts from a constant.
    axes : tuple of int, optional
        The coordinates on which it depends, as (0,) for a(x) beside u(x, t); all by default.
    initial : float
        Where training starts.
    positive : bool

    Raises
    ------
    ConfigError
        If a positive one starts at zero or below, or it depends on coordinates that there are not.

    Examples
    --------
    >>> from sciml.pinns import Box
    >>> a = CoefficientField(initial=2.0, positive=True).sought(Domain(Box(((0.0, 1.0),)))).value()
    >>> a(torch.zeros(1, 1, dtype=torch.float64)).tolist()
    [2.0]
    """

    network: NetworkFactory = field(default_factory=_small)
    axes: tuple[int, ...] | None = None
    initial: float = 1.0
    positive: bool = False

    def __post_init__(self) -> None:
        if self.positive and not self.initial > 0:
            raise ConfigError(f"CoefficientField: positive, but starts at {self.initial}.")

    def sought(self, domain: Domain) -> Sought:
        """What is trained."""
        return _Field(self, domain)


Kind = Coefficient | CoefficientField


class _Number(Sought):
    def __init__(self, kind: Coefficient) -> None:
        super().__init__()
        self.kind = kind
        start = math.log(kind.initial) if kind.positive else kind.initial / kind.scale
        self.parameter = nn.Parameter(torch.tensor(start, dtype=torch.float64))

    def value(self) -> Tensor:
        return self.parameter.exp() if self.kind.positive else self.kind.scale * self.parameter


class _Field(Sought):
    def __init__(self, kind: CoefficientField, domain: Domain) -> None:
        from sciml.pinns.constrained import Coordinates

        super().__init__()
        self.kind = kind
        self.axes = list(range(domain.dim) if kind.axes is None else kind.axes)
        if not self.axes or not set(self.axes) <= set(range(domain.dim)):
            raise ConfigError(
                f"CoefficientField: axes are some of {domain.dim} coordinates, from 0 on, got {kind.axes}."
            )
        self.coordinates = Coordinates(tuple(domain.bounds[i] for i in self.axes))
        self.network = kind.network(len(self.axes), 1).double()
        layers = [m for m in self.network.modules() if not list(m.children())]
        if layers and isinstance(last := layers[-1], nn.Linear):
            nn.init.zeros_(last.weight)
            if last.bias is not None:
                nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        values: Tensor = self.network(self.coordinates(x if len(self.axes) == x.shape[1] else self._own(x)))
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.shape != x.shape[:1]:
            raise ShapeError(
                f"CoefficientField: the network must map {len(x)} points to as many values, got shape "
                f"{tuple(values.shape)}."
            )
        return self.kind.initial * torch.exp(values) if self.kind.positive else self.kind.initial + values

    def _own(self, x: Tensor) -> Tensor:
        return torch.cat([x[:, i : i + 1] for i in self.axes], dim=1)

    def value(self) -> Function:
        return self


class Unknowns(nn.Module):
    """All unknowns of a problem, by name, in float64.

    Parameters
    ----------
    kinds : mapping of names to `Coefficient` or `CoefficientField`
    domain : Domain
    """

    def __init__(self, kinds: Mapping[str, Kind], domain: Domain) -> None:
        super().__init__()
        self.names = tuple(kinds)
        self.members = nn.ModuleList(kind.sought(domain) for kind in kinds.values())

    def values(self) -> dict[str, Tensor | Function]:
        """As they are now, with their graphs."""
        members = (member for member in self.members if isinstance(member, Sought))
        return {name: member.value() for name, member in zip(self.names, members, strict=True)}

    def parameters_of(self, name: str) -> list[nn.Parameter]:
        """What is trained of one of them."""
        return list(self.members[self.names.index(name)].parameters())


def numbers_of(coefficients: Mapping[str, Tensor | Function]) -> dict[str, float]:
    """The unknown numbers among them."""
    return {name: float(value.detach()) for name, value in coefficients.items() if isinstance(value, Tensor)}


def functions_of(coefficients: Mapping[str, Tensor | Function]) -> dict[str, Function]:
    """The unknown functions among them."""
    return {name: value for name, value in coefficients.items() if not isinstance(value, Tensor)}


def errors_of(
    coefficients: Mapping[str, Tensor | Function],
    truth: Mapping[str, float | Function],
    domain: Domain,
) -> dict[str, float]:
    """How far unknowns are from the truth, where that is known: relative, of functions in L2."""
    found: dict[str, float] = {}
    for name, known in truth.items():
        value = coefficients[name]
        if isinstance(value, Tensor):
            assert not callable(known)
            found[name] = abs(float(value.detach()) / known - 1)
            continue
        assert callable(known)
        x = domain.interior(going_on(), _JUDGED)
        like = next(value.parameters(), x) if isinstance(value, nn.Module) else x
        with torch.no_grad():
            seen, wanted = value(x.to(like)).double().cpu(), known(x)
        found[name] = float((seen - wanted).norm() / wanted.norm())
    return found
