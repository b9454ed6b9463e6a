"""Potential and stream function together: how far the flux of the one is from that of the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.kernels.jet import jet
from sciml.kernels.partials import Partials
from sciml.pinns.conditions import Condition, Dirichlet, Function, Robin, names_of, value_at
from sciml.pinns.domain import Domain, Source
from sciml.pinns.networks.mlp import MLP
from sciml.pinns.problem import Problem, Solution
from sciml.pinns.residual import Residual
from sciml.pinns.samplers.sampler import Sampler
from sciml.pinns.samplers.uniform import Uniform
from sciml.pinns.unknowns import CoefficientField, Kind, NetworkFactory

_SLOPES = Partials([(0,), (1,)], dim=2)


@runtime_checkable
class Conducting(Protocol):
    """What `Complementary` asks of a problem ``-div(a grad u) = f`` in the plane.

    Attributes
    ----------
    natural : tuple of str
        Its conditions that say no more than that u and the flux across any line are continuous.
    """

    natural: tuple[str, ...]

    def conductivity(self, x: Tensor) -> Tensor:
        """a at points (n, 2), (n,)."""

    def carried(self, x: Tensor) -> Tensor:
        """Any flux q at points (n, 2), (n, 2), with ``-div q = f``, continuous across any line."""


@describable
class Complementary(Residual):
    r"""``mean |a grad u - q - curl psi|^2 / a``: a flux that follows from a potential is one that balances.

    For ``-div(a grad u) = f`` in the plane.  With one flux q of divergence -f all others are ``q + curl psi``
    with :math:`\operatorname{curl} \psi = (\psi_y, -\psi_x)`; the solution's is ``a grad u`` too.  So the
    network of u has a second one beside it, of the stream function psi, and the terms ``flux_x`` and
    ``flux_y`` are what one flux lacks of the other.  A condition ``u_n + c u = g`` becomes
    ``(q + curl psi)_n + a (c u - g)``, divided by the root of ``a c``, or of a where c is 0; one on u itself
    stays as it is.

    There are first derivatives only, nothing to be asked for where a jumps, and residuals that vanish, so
    Gauss and Newton's steps converge; strong forms there miss a balance of fluxes by a little everywhere,
    which adds up where a is small.

    Parameters
    ----------
    problem : Problem
        One that is `Conducting`.
    stream : factory
        ``stream(2, 1)`` makes the network of psi, see `CoefficientField`.
    sampler, points, weights
        As for `Residual`; for weights see below.

    Raises
    ------
    ConfigError
        If the problem is not one in the plane that tells a and q, or has a condition of another kind.

    Notes
    -----
    With the solution's flux between them both errors are orthogonal: the loss times the area is ``int a |grad
    (u - u*)|^2 + int |q + curl psi - a grad u*|^2 / a``, plus ``int a c (u - u*)^2`` and its like on the
    boundary, if terms of the boundary weigh length over area and u is right where it is given.  So it bounds
    the error of u in energy.

    In a region with holes q has to carry what flows out of each, which no single-valued psi does.

    Source: Prager and Synge, Approximations in elasticity based on the concept of function space, Quart.
    Appl. Math. 5 (1947).

    Examples
    --------
    >>> from sciml import Streams
    >>> from sciml.pinns import problems
    >>> problem = problems.PoissonInPatches()
    >>> loss, model = Complementary(problem, points=100), problem.build(MLP).double()
    >>> list(loss.terms(model, loss.draw(0, model, Streams(0))))
    ['flux_x', 'flux_y', 'boundary']
    """

    def __init__(
        self,
        problem: Problem,
        *,
        stream: NetworkFactory = partial(MLP, width=20, depth=2),  # noqa: B008
        sampler: Sampler | Mapping[str, Sampler] = Uniform(),  # noqa: B008 - a frozen value
        points: int | Mapping[str, int] = 2000,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(_Both(problem, stream), sampler=sampler, points=points, weights=weights)

    def description(self) -> dict[str, Any]:
        """For `describe`."""
        return dict(vars(self)["_arguments"])


class _Both(Problem):
    """The problem with a stream function, an unknown of it."""

    def __init__(self, problem: Problem, stream: NetworkFactory) -> None:
        who, domain = type(problem).__name__, problem.domain
        if not isinstance(problem, Conducting) or domain.dim != 2 or domain.time or problem.outputs != 1:
            raise ConfigError(
                f"Complementary: {who} is no problem -div(a grad u) = f in the plane that tells a and a "
                "flux; give the class conductivity(self, x), carried(self, x) and natural, or take the loss "
                "Residual."
            )
        self.problem: Any = problem
        self._stream = stream
        self._conditions = tuple(
            condition if isinstance(condition, Dirichlet) else _Outflow(problem, _robin(who, name, condition))
            for name, condition in zip(names_of(problem.conditions), problem.conditions, strict=True)
            if name not in problem.natural
        )

    def description(self) -> dict[str, Any]:
        """For `describe`."""
        return {"problem": self.problem, "stream": self._stream}

    @property
    def domain(self) -> Domain:
        known: Domain = self.problem.domain
        return known

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return self._conditions

    @property
    def coefficients(self) -> Mapping[str, Kind]:
        return {**self.problem.coefficients, "stream": CoefficientField(self._stream, initial=0.0)}

    def residual(
        self, u: Function, x: Tensor, coefficients: Mapping[str, Tensor | Function]
    ) -> Mapping[str, Tensor]:
        a, q = self.problem.conductivity(x), self.problem.carried(x)
        slope, turn = (_SLOPES(of, x)[1] for of in (u, _stream_of(coefficients)))
        root = a.sqrt()
        return {
            "flux_x": root * slope[0,] - (q[:, 0] + turn[1,]) / root,
            "flux_y": root * slope[1,] - (q[:, 1] - turn[0,]) / root,
        }

    @property
    def has_reference(self) -> bool:
        known: bool = self.problem.has_reference
        return known

    def reference(self) -> Solution:
        known: Solution = self.problem.reference()
        return known

    def relative_l2(self, u: Function | nn.Module, *, points: int | None = None) -> float:
        error: float = self.problem.relative_l2(u, points=points)
        return error


@dataclass(frozen=True)
class _Outflow(Condition):
    """What flows out is what a condition of the third kind says."""

    problem: Conducting
    robin: Robin
    stream: Function | None = None

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.robin.name

    component = 0

    def rows(self, domain: Domain, source: Source, count: int) -> Tensor:
        return self.robin.rows(domain, source, count)

    def given(self, coefficients: Mapping[str, Tensor | Function]) -> Self:
        return replace(self, robin=self.robin.given(coefficients), stream=_stream_of(coefficients))

    def residual(self, u: Function, rows: Tensor, domain: Domain) -> Tensor:
        assert self.stream is not None
        x, normal = rows[:, :2], rows[:, 2:]
        along = torch.stack([-normal[:, 1], normal[:, 0]], dim=1)
        a, c = self.problem.conductivity(x), torch.as_tensor(value_at(self.robin.coefficient, x))
        outward = (self.problem.carried(x) * normal).sum(1) + jet(self.stream, x, along, 1)[1]
        missed = outward + a * (c * u(x) - value_at(self.robin.value, x))
        return missed / (a * torch.where(c > 0, c, 1.0)).sqrt()


def _robin(who: str, name: str, condition: Condition) -> Robin:
    if not isinstance(condition, Robin):
        raise ConfigError(
            f"Complementary: the condition {name!r} of {who} is neither Dirichlet nor Robin nor Neumann; "
            "name it among its natural ones if it says that u and the flux are continuous, or take the loss "
            "Residual."
        )
    return condition


def _stream_of(coefficients: Mapping[str, Tensor | Function]) -> Function:
    stream = coefficients["stream"]
    assert not isinstance(stream, Tensor)
    return stream
