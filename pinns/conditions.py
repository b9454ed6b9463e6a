"""What holds besides the equation: on the boundary, at the start, between faces, at points, in the mean."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Self

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError, nearest
from sciml.kernels.jet import jet
from sciml.pinns.domain import Domain, Source

Function = Callable[[Tensor], Tensor]
"""Of points (n, dim) to values (n,)."""


@describable
@dataclass(frozen=True)
class Unknown:
    """A value of a condition that is an unknown of the problem, or made of one.

    It is looked up at every evaluation, so that training moves it, and its gradient reaches the unknown.

    Parameters
    ----------
    name : str
        In the problem's ``coefficients``.
    of : function (x, coefficient) to (n,), optional
        By default the number, or the function at the points.

    Examples
    --------
    >>> start = Unknown("height", lambda x, height: height * torch.sin(x[:, 0]))
    >>> start.among({"height": torch.tensor(2.0)})(torch.zeros(3, 1)).tolist()
    [0.0, 0.0, 0.0]
    """

    name: str
    of: Callable[[Tensor, Tensor | Function], Tensor] | None = None

    def among(self, coefficients: Mapping[str, Tensor | Function]) -> Function:
        """As a function of points.

        Raises
        ------
        ConfigError
            If the problem has no unknown of that name.
        """
        if self.name not in coefficients:
            raise ConfigError(
                f"Unknown: there is no {self.name!r} among the coefficients of the problem; there is "
                f"{', '.join(coefficients) or 'none'}.{nearest(self.name, coefficients)}"
            )
        known = coefficients[self.name]
        if self.of is not None:
            return partial(_made, self.of, known)
        return partial(_everywhere, known) if isinstance(known, Tensor) else known


def _made(of: Callable[..., Tensor], known: Tensor | Function, x: Tensor) -> Tensor:
    return of(x, known)


def _everywhere(number: Tensor, x: Tensor) -> Tensor:
    return number + 0 * x[:, 0]


Value = float | Function | Unknown


class Condition(ABC):
    """One condition: where it is looked at, and by how much a function misses it.

    ``rows`` are what is looked at, one line each: a point, with whatever belongs to it (a normal, the
    opposite point, a measured value) behind it.  Samplers choose and keep whole rows.

    ``component`` says which function of a system it is about, None all of them together.
    """

    name: str
    component: int | None

    @abstractmethod
    def rows(self, domain: Domain, source: Source, count: int) -> Tensor:
        """``count`` rows, float64."""

    @abstractmethod
    def residual(self, u: Function, rows: Tensor, domain: Domain) -> Tensor:
        """What should be zero, (n,) or several numbers a row; u is its component, (n, dim) to (n,)."""

    def given(self, coefficients: Mapping[str, Tensor | Function]) -> Self:
        """The same with unknowns of the problem as they are now; to be used once, and not kept."""
        if not is_dataclass(self):
            return self
        asked = {f.name: v for f in fields(self) if isinstance(v := getattr(self, f.name), Unknown)}
        return replace(self, **{name: v.among(coefficients) for name, v in asked.items()}) if asked else self

    @property
    def fixed(self) -> int | None:
        """The number of rows if they are given and not drawn."""
        return None


@describable
@dataclass(frozen=True)
class Dirichlet(Condition):
    """``u = value`` on faces.

    Parameters
    ----------
    value : float or function of points (n, dim)
    faces : sequence of str, optional
        Those of the geometry, all by default.
    component : int
        Of a system.
    name : str
        Of the term in the loss.
    """

    value: Value = 0.0
    faces: tuple[str, ...] | None = None
    component: int = 0
    name: str = "boundary"

    def rows(self, domain: Domain, source: Source, count: int) -> Tensor:
        return domain.boundary(source, count, self.faces)

    def residual(self, u: Function, rows: Tensor, domain: Domain) -> Tensor:
        x = rows[:, : domain.dim]
        return u(x) - value_at(self.value, x)


@describable
@dataclass(frozen=True)
class Robin(Condition):
    """``∂u/∂n + coefficient u = value`` on faces, n outward; `Neumann` where the coefficient is 0.

    Parameters
    ----------
    coefficient, value : float or function of points (n, dim)
    faces, component, name
        As for `Dirichlet`.
    """

    coefficient: Value = 0.0
    value: Value = 0.0
    faces: tuple[str, ...] | None = None
    component: int = 0
    name: str = "boundary"

    def rows(self, domain: Domain, source: Source, count: int) -> Tensor:
        return domain.boundary(source, count, self.faces)

    def residual(self, u: Function, rows: Tensor, domain: Domain) -> Tensor:
        x, normal = rows[:, : domain.dim], rows[:, domain.dim :]
        if domain.time is not None:
            normal = torch.cat([normal, torch.zeros_like(normal[:, :1])], dim=1)
        values, slope = jet(u, x, normal, 1)
        return slope + value_at(self.coefficient, x) * values - value_at(self.value, x)


def Neumann(
    value: Value = 0.0, faces: tuple[str, ...] | None = None, component: int = 0, name: str = "boundary"
) -> Robin:
    """``∂u/∂n = value`` on faces, n outward: `Robin` with coefficient 0."""
    return Robin(0.0, value, faces, component, name)


@describable
@dataclass(frozen=True)
class Relation(Condition):
    """Whatever several components, or derivatives of them, have to satisfy on faces.

    Parameters
    ----------
    residual_of : function (u, x, normal) to (n,) or (n, k)
        What should be zero.  u maps points (n, dim) to values (n, outputs), or (n,) if there is one output;
        the normal (n, axes of space) points outward.  It may name ``coefficients`` as a further argument:
        the unknowns of the problem.
    faces : sequence of str, optional
        Those of the geometry, all by default.
    name : str
        Of the term in the loss.

    Examples
    --------
    No flow through a wall:

    >>> from sciml.pinns import Box, Domain
    >>> wall = Relation(lambda u, x, normal: (u(x) * normal).sum(1), ("0-",), name="wall")
    >>> domain = Domain(Box(((0.0, 1.0), (0.0, 1.0))))
    >>> rows = wall.rows(domain, torch.rand, 3).double()
    >>> wall.residual(lambda x: torch.stack([x[:, 0], x[:, 1]], dim=1), rows, domain).abs().tolist()
    [0.0, 0.0, 0.0]
    """

    residual_of: Callable[..., Tensor]
    faces: tuple[str, ...] | None = None
    name: str = "relation"
    component = None

    def rows(self, domain: Domain, source: Source, count: int) -> Tensor:
        return domain.boundary(source, count, self.faces)

    def residual(self, u: Function, rows: Tensor, domain: Domain) -> Tensor:
        return self.residual_of(u, rows[:, : domain.dim], rows[:, domain.dim :])

    def given(self, coefficients: Mapping[str, Tensor | Function]) -> Self:
        if "coefficients" not in inspect.signature(self.residual_of).parameters:
            return self
        return replace(self, residual_of=partial(self.residual_of, coefficients=coefficients))


@describable
@dataclass(frozen=True)
class Initial(Condition):
    """``∂^order u/∂t^order = value`` at the start of time.

    Parameters
    ----------
    value : float or function of points (n, dim)
    order : int
        0 for u itself, 1 for its rate.
    component, name
        As for `Dirichlet`.
    """

    value: Value = 0.0
    order: int = 0
    component: int = 0
    name: str = "initial"

    def rows(self, domain: Domain, source: Source, count: int) -> Tensor:
        return domain.start(source, count)

    def residual(self, u: Function, rows: Tensor, domain: Domain) -> Tensor:
        found = _derivative(u, rows, domain.dim - 1, self.order)
        return found - value_at(self.value, rows)


@describable
@dataclass(frozen=True)
class Periodic(Condition):
    """Equal values and derivatives up to ``order`` on the two opposite faces of a box.

    Parameters
    ----------
    axis : int
        The coordinate that goes around.
    order : int
        Of the highest derivative along it, below the order of the equation.
    component, name
        As for `Dirichlet`.
    """

    axis: int = 0
    order: int = 1
    component: int = 0
    name: str = "periodic"

    def rows(self, domain: Domain, source: Source, count: int) -> Tensor:
        lower, upper = domain.bounds[self.axis]
        here = domain.boundary(source, count, (f"{self.axis}-",))[:, : domain.dim]
        there = here.clone()
        there[:, self.axis] += upper - lower
        return torch.cat([here, there], dim=1)

    def residual(self, u: Function, rows: Tensor, domain: Domain) -> Tensor:
        both = torch.cat([rows[:, : domain.dim], rows[:, domain.dim :]])
        along = _unit(both, self.axis)
        found = jet(u, both, along, self.order) if self.order else [u(both)]
        return torch.stack([values[: len(rows)] - values[len(rows) :] for values in found], dim=1)


@describable
@dataclass(frozen=True)
class Integral(Condition):
    """The integral of u over the region, or over faces, is ``value``: total mass, a mean pressure of zero.

    Its residual is one number for each time, not one for each point; its points never change.

    Parameters
    ----------
    value : float or function of points (n, dim)
        Of a function only its dependence on time counts.
    faces : sequence of str, optional
        Integrate over these faces; over the region by default.
    mean : bool
        The integral divided by the size of where it is taken.
    points : int
        Of the quadrature, about; see `sciml.pinns.quadrature.quadrature`.
    times : int
        In problems with time the integral is taken at so many times, evenly spread between start and end.
    component, name
        As for `Dirichlet`.

    Raises
    ------
    ConfigError
        If a number is below 1.

    Examples
    --------
    >>> from sciml.pinns import Box, Domain
    >>> domain = Domain(Box(((0.0, 2.0), (0.0, 1.0))))
    >>> condition = Integral(1.0)
    >>> gap = condition.residual(lambda x: x[:, 0], condition.rows(domain, torch.rand, 1), domain)
    >>> gap.round(decimals=12).tolist()  # 2 - 1
    [1.0]
    """

    value: Value = 0.0
    faces: tuple[str, ...] | None = None
    mean: bool = False
    points: int = 1024
    times: int = 1
    component: int = 0
    name: str = "integral"

    def __post_init__(self) -> None:
        if self.points < 1 or self.times < 1:
            raise ConfigError(f"Integral: points and times must be at least 1, got {self}.")

    @property
    def fixed(self) -> int | None:
        return self.times

    def rows(self, domain: Domain, source: Source, count: int) -> Tensor:
        from sciml.pinns.quadrature import quadrature

        faces = None if self.faces is None else domain.check_faces(self.faces)
        x, weights = quadrature(domain.space, faces, self.points)
        if domain.time is None:
            return torch.cat([x.flatten(), weights])[None]
        start, end = domain.time
        places = (torch.arange(self.times, dtype=torch.float64) + 0.5) / self.times
        at = [torch.cat([x, torch.full_like(x[:, :1], t)], dim=1) for t in start + (end - start) * places]
        return torch.stack([torch.cat([nodes.flatten(), weights]) for nodes in at])

    def residual(self, u: Function, rows: Tensor, domain: Domain) -> Tensor:
        count = rows.shape[1] // (domain.dim + 1)
        nodes = rows[:, :-count].reshape(-1, domain.dim)
        weights = rows[:, -count:]
        total = (weights * u(nodes).reshape(weights.shape)).sum(1)
        if self.mean:
            total = total / weights.sum(1)
        return total - value_at(self.value, nodes[::count])


def value_at(value: Value, x: Tensor) -> Tensor | float:
    """A number, or the values (n,) of a function, in the dtype of the points.

    Raises
    ------
    ConfigError
        If the function does not return one number per point, or the value is an unknown, see
        `Condition.given`.
    """
    if isinstance(value, Unknown):
        raise ConfigError(
            f"a condition's value is the unknown {value.name!r}, which training moves: it cannot be built "
            "into a network. Leave this condition to the loss."
        )
    if not callable(value):
        return value
    found = value(x)
    if found.shape != x.shape[:1]:
        raise ConfigError(
            f"a condition's value must be one number per point, shape ({len(x)},), got {tuple(found.shape)}; "
            "x[:, 0] has that shape, x[:, :1] has not."
        )
    return found


def _derivative(u: Function, x: Tensor, axis: int, order: int) -> Tensor:
    return jet(u, x, _unit(x, axis), order)[order] if order else u(x)


def _unit(x: Tensor, axis: int) -> Tensor:
    vector = torch.zeros(x.shape[1], dtype=x.dtype, device=x.device)
    vector[axis] = 1
    return vector


def names_of(conditions: Sequence[Condition]) -> list[str]:
    """The name of each condition, made unique: boundary, boundary.2, ..."""
    found: list[str] = []
    for condition in conditions:
        name, copy = condition.name, 2
        while name in found:
            name, copy = f"{condition.name}.{copy}", copy + 1
        found.append(name)
    return found
