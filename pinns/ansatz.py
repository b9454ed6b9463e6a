r"""Conditions built into a network by distance functions: Dirichlet, Neumann, Robin and initial ones at once.

With a distance ``φ_i`` from the faces of condition i, zero there, and weights ``w_i = φ_i^{-μ_i} / Σ_j
φ_j^{-μ_j}``, which are 1 on these faces and 0 on those of the others, to order ``μ_j``,

    u = Σ_i w_i u_i,   u_i = g_i + φ_i N                       (u = g_i),        μ_i = 1,
                       u_i = (1 + c_i φ_i) M - φ_i h_i          (u_n + c_i u = h_i),  μ_i = 2,

satisfies all of them for every network N, if ``M = 2 N(x) - N(x + s(x))`` with ``s = Σ w_i φ_i v_i`` over the
second kind, ``v_i`` the inward normal: on its faces M is N and has no normal derivative.  The usual ``N - φ
∂N/∂v`` is the limit of such differences; this one needs no derivative of the network, so that an equation of
order k needs k derivatives and no more, at the price of a second evaluation.  The normal n points outward.

Conditions at the start of time are built around it: ``u_0(x) + (B(x, t) - B(x, t_0)) + τ F(x, t) N`` with the
part B of u that does not contain N, and the factor F in front of N; with a rate ``v_0`` also ``(t - t_0)
v_0``, and τ^2.  So the data have to agree where the boundary meets the start, which is checked.

Sources: Sukumar and Srivastava, Comput. Methods Appl. Mech. Eng. 389 (2022), sections 4 and 5, for u, there
with derivatives of the network; Rvachev, Sheiko, Shapiro and Tsukanov, Transfinite interpolation over
implicitly defined sets, Comput. Aided Geom. Design 18 (2001), for the weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.errors import ConfigError
from sciml.pinns.conditions import (
    Condition,
    Dirichlet,
    Initial,
    Robin,
    Value,
    names_of,
    value_at,
)
from sciml.pinns.distances import Function, Surface, on_faces, shared, vanishing
from sciml.pinns.domain import Domain
from sciml.pinns.fingerprints import going_on
from sciml.pinns.problem import Ansatz, component

_CHECKED = 32  # rows of each condition
_SAMPLE, _NUMBERS = 1000, 10**6  # points, and coordinates of them, that tell how large the factor is


def ansatz_for(
    domain: Domain, conditions: Sequence[Condition], names: Sequence[str] | None = None, outputs: int = 1
) -> Ansatz:
    """The ansatz in which conditions of a problem hold, whatever the network.

    Parameters
    ----------
    domain : Domain
        Whose space has distance functions, see `sciml.pinns.distance`.
    conditions : sequence of Condition
        All of the problem, in its order.
    names : sequence of str, optional
        Which of them to build in, by the names that the loss gives them; by default every `Dirichlet`,
        `Neumann`, `Robin` and `Initial`.
    outputs : int
        Components of u.

    Raises
    ------
    ConfigError
        If a condition is of another kind, a region has no distance functions, or conditions contradict each
        other.

    Notes
    -----
    Values that are functions are evaluated inside the region too.  A value that is the solution itself, as in
    manufactured problems, makes the lift the solution: there is nothing left to learn.

    Examples
    --------
    >>> from sciml.pinns import Box, Neumann
    >>> rod = Domain(Box(((0.0, 1.0),)))
    >>> ansatz = ansatz_for(rod, (Dirichlet(1.0, ("0-",)), Neumann(3.0, ("0+",), name="flux")))
    >>> u = ansatz.around(lambda x: torch.exp(x[:, 0]))
    >>> round(float(u(torch.zeros(1, 1).double())), 12)
    1.0
    """
    known = dict(zip(names_of(conditions), conditions, strict=True))
    kinds = (Dirichlet, Robin, Initial)
    chosen = (
        tuple(name for name, c in known.items() if isinstance(c, kinds)) if names is None else tuple(names)
    )
    for name in chosen:
        if not isinstance(known.get(name), kinds):
            raise ConfigError(
                f"ansatz_for: {name!r} is no Dirichlet, Neumann, Robin or Initial condition, which can be "
                f"built in; the conditions are {', '.join(known)}."
            )
    built = [
        _of_component(domain, [known[name] for name in chosen if known[name].component == k])
        for k in range(outputs)
    ]
    ansatz = built[0] if outputs == 1 else _together(domain, built)
    ansatz = Ansatz(chosen, ansatz.lift, ansatz.factor, ansatz.shift)
    for name in chosen:
        _check(domain, ansatz, name, known[name], outputs)
    return ansatz


@dataclass(frozen=True)
class _Held:
    """The conditions on the boundary of one component, and the functions that hold them."""

    domain: Domain
    fixed: tuple[tuple[Dirichlet, Function], ...]
    sloped: tuple[tuple[Robin, Surface], ...]

    def lift(self, x: Tensor) -> Tensor:
        """What of u does not contain the network, (n,)."""
        found = 0 * x[:, 0]
        if len(self.fixed) == 1 and not self.sloped:
            return found + value_at(self.fixed[0][0].value, x)
        fixed, sloped = self._weighted(x)
        for condition, weight, _ in fixed:
            found = found + weight * value_at(condition.value, x)
        for slope, _, share, piece in sloped:
            found = found - (share * piece).sum(1) * value_at(slope.value, x)
        return found

    def factor(self, x: Tensor) -> Tensor:
        """What multiplies the network, (n,)."""
        fixed, sloped = self._weighted(x)
        found = 0 * x[:, 0]
        for _, weight, distance in fixed:
            found = found + weight * distance
        for slope, _, share, piece in sloped:
            found = found + share.sum(1) + (share * piece).sum(1) * value_at(slope.coefficient, x)
        return found

    def shift(self, x: Tensor) -> Tensor:
        """Where the network is evaluated besides, (n, dim) from x."""
        d = self.domain.space.dim
        found = 0 * x[:, :d]
        for _, surface, weight, piece in self._weighted(x)[1]:
            found = found + ((weight * piece)[:, :, None] * surface.inward(x[:, :d])).sum(1)
        return found if self.domain.time is None else torch.cat([found, 0 * x[:, -1:]], dim=1)

    def _weighted(
        self, x: Tensor
    ) -> tuple[list[tuple[Dirichlet, Tensor, Tensor]], list[tuple[Robin, Surface, Tensor, Tensor]]]:
        """Conditions with weights and distances: (n,) of values, (n, pieces) of slopes."""
        space = x[:, : self.domain.space.dim]
        distances = [distance(space) for _, distance in self.fixed]
        pieces = [surface.distance(space) for _, surface in self.sloped]
        weights = self._weights(torch.cat([*(d[:, None] for d in distances), *pieces], dim=1))
        begin, sloped = len(self.fixed), []
        for (condition, surface), piece in zip(self.sloped, pieces, strict=True):
            end = begin + piece.shape[1]
            sloped.append((condition, surface, weights[:, begin:end], piece))
            begin = end
        fixed = [(c, weights[:, k], distances[k]) for k, (c, _) in enumerate(self.fixed)]
        return fixed, sloped

    def _weights(self, distances: Tensor) -> Tensor:
        if distances.shape[1] == 1:
            return 0 * distances + 1
        orders = torch.arange(distances.shape[1], device=distances.device) >= len(self.fixed)
        shares, _ = shared(torch.where(orders, distances * distances, distances))
        return shares / shares.sum(1, keepdim=True)

    @property
    def values(self) -> list[Value]:
        """What the conditions ask for."""
        return [*(c.value for c, _ in self.fixed), *(c.value for c, _ in self.sloped)]


def _of_component(domain: Domain, conditions: Sequence[Condition]) -> Ansatz:
    fixed = [c for c in conditions if isinstance(c, Dirichlet)]
    sloped = [c for c in conditions if isinstance(c, Robin)]
    starts = {c.order: c for c in conditions if isinstance(c, Initial)}
    count = len(conditions) - len(fixed) - len(sloped)
    if len(starts) < count or set(starts) not in (set(), {0}, {0, 1}):
        raise ConfigError(
            "ansatz_for: of a component the value at the start can be built in, or the value and the rate, "
            f"once each; got {count} conditions of orders {sorted(starts)}."
        )
    if starts and domain.time is None:
        raise ConfigError("ansatz_for: there is a condition at the start, but the domain has no time.")
    _check_faces(domain, [*fixed, *sloped])
    held = _Held(
        domain,
        tuple((c, vanishing(on_faces(domain.space, c.faces))) for c in fixed),
        tuple((c, surface) for c in sloped for surface in on_faces(domain.space, c.faces)),
    )
    boundary = bool(fixed or sloped)

    def factor(x: Tensor) -> Tensor:
        found = held.factor(x) if boundary else 0 * x[:, 0] + 1
        return found * _elapsed(domain, x) ** len(starts) if starts else found

    if starts:
        lift: Function | None = _around_start(domain, held, starts)
    else:
        lift = held.lift if any(callable(value) or value != 0 for value in held.values) else None
    return Ansatz(
        (),
        lift,
        _scaled(domain, factor) if boundary or starts else None,
        held.shift if sloped else None,
    )


def _around_start(domain: Domain, held: _Held, starts: dict[int, Initial]) -> Function:
    """``u_0 + (t - t_0) v_0``, and what the boundary asks for beyond what it asks for at the start."""
    assert domain.time is not None
    first = domain.time[0]
    moving = any(callable(value) for value in held.values)

    def lift(x: Tensor) -> Tensor:
        start = torch.cat([x[:, :-1], 0 * x[:, -1:] + first], dim=1)
        found = 0 * x[:, 0] + value_at(starts[0].value, start)
        if 1 in starts:
            found = found + (x[:, -1] - first) * value_at(starts[1].value, start)
        if moving:
            found = found + held.lift(x) - held.lift(start)
        return found

    return lift


def _elapsed(domain: Domain, x: Tensor) -> Tensor:
    """From 0 at the start to 1 at the end of time."""
    assert domain.time is not None
    first, last = domain.time
    return (x[:, -1] - first) * (1 / (last - first))


def _scaled(domain: Domain, factor: Function) -> Function:
    """With a largest value of about 1, so that the network need not be large."""
    count = max(_CHECKED, min(_SAMPLE, _NUMBERS // domain.dim))
    with torch.no_grad():
        largest = float(factor(domain.interior(going_on(), count)).abs().max())
    scale = 1 / largest if math.isfinite(largest) and largest > 0 else 1.0
    return lambda x: scale * factor(x)


def _together(domain: Domain, built: Sequence[Ansatz]) -> Ansatz:
    """One ansatz for all components."""

    def stacked(functions: Sequence[Function | None], otherwise: float) -> Function | None:
        if not any(functions):
            return None
        return lambda x: torch.stack([_or(f, x, otherwise) for f in functions], dim=1)

    shifts = [ansatz.shift for ansatz in built if ansatz.shift is not None]
    probe = domain.interior(going_on(), _CHECKED)
    if len(shifts) not in (0, len(built)) or any(
        not torch.allclose(shifts[0](probe), shift(probe), rtol=0, atol=1e-12) for shift in shifts
    ):
        raise ConfigError(
            "ansatz_for: Neumann and Robin conditions can be built into a system if all components have "
            "them, on the same faces; leave others to the loss, names=(...)."
        )
    return Ansatz(
        (),
        stacked([ansatz.lift for ansatz in built], 0.0),
        stacked([ansatz.factor for ansatz in built], 1.0),
        shifts[0] if shifts else None,
    )


def _or(function: Function | None, x: Tensor, otherwise: float) -> Tensor:
    return 0 * x[:, 0] + otherwise if function is None else function(x)


def _check_faces(domain: Domain, conditions: Sequence[Dirichlet | Robin]) -> None:
    seen: dict[str, str] = {}
    for condition in conditions:
        for face in domain.check_faces(condition.faces):
            if face in seen:
                raise ConfigError(
                    f"ansatz_for: {condition.name!r} and {seen[face]!r} both ask for something on {face!r}."
                )
            seen[face] = condition.name


def _check(domain: Domain, ansatz: Ansatz, name: str, condition: Condition, outputs: int) -> None:
    """That the condition holds, for a network that is a smooth function."""
    lower, upper = torch.tensor(domain.bounds, dtype=torch.float64).T
    size = float((upper - lower).norm())

    def network(x: Tensor) -> Tensor:
        z = (x - lower) * (1 / (upper - lower))
        waves = [torch.sin((1 + k) * z.sum(1) + 0.3) for k in range(outputs)]
        return waves[0] if outputs == 1 else torch.stack(waves, dim=1)

    u = component(ansatz.around(network), condition.component, outputs)
    rows = condition.rows(domain, going_on(), _CHECKED)
    gap = float(condition.residual(u, rows, domain).abs().max())
    scale = 1 + float(u(rows[:, : domain.dim]).abs().max())
    # Rounding of a derivative; what is wrong is wrong by more.
    if not gap <= 1e-9 * scale * max(1.0, 1 / size):
        raise ConfigError(
            f"ansatz_for: {name!r} would be missed by {gap:.1e}. Its data disagree with another condition, "
            "where the boundary meets the start of time, or a rate is asked for beside values that move. "
            "Leave one of them to the loss, names=(...)."
        )
