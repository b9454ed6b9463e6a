r"""General covariance: the same physics written in new coordinates is a new sample, exact without a solver.

Let x(ξ) map a box onto itself, B = ∂ξ/∂x, J = det ∂x/∂ξ > 0, and let all fields on the right be taken at
x(ξ).  The rules for the three forms of equations that `RULES` knows:

**elliptic**, -div(A grad u) + e u = f.  Its weak form ∫ A grad u . grad φ + e u φ - f φ dx = 0 for all φ
becomes one over ξ with dx = J dξ and grad_x = B^T grad_ξ:

    A' = J B A B^T,    e' = J e,    f' = J f,    u' = u.

**convection_diffusion**, u_t + div(v u) = div(A grad u) + e u + f, where u is a density.  The amount in a
moving volume counts, so U = J u.  The flux F = v u - A grad u obeys Piola's identity J div_x F = div_ξ(J B
F), and with u = U / J

    J B F = (B v) U - J B A B^T grad_ξ (U / J) = (B v + A' grad_ξ ln J) U - A' grad_ξ U,    A' = B A B^T:

    u' = J u (initial and final ones alike),    v' = B v + A' grad_ξ ln J,    e' = e,    f' = J f.

**wave**, u_tt (or u_t) = A : D²u + v . grad u + e u + f, not in divergence form.  Differentiating u(x) =
u'(ξ(x)) twice, ∂_i∂_j u = B_ai B_bj ∂_a∂_b u' + (∂_i∂_j ξ_a) ∂_a u' and ∂_i∂_j ξ_a = -B_ak B_bi B_cj
∂²x_k/∂ξ_b∂ξ_c:

    u' = u,    A' = B A B^T,    v' = B (v - A' : D²_ξ x),    e' = e,    f' = f.

In one dimension: a/x', f x', u; a/x'², v/x' + a x''/x'³, x' u; a/x'², v/x' - a x''/x'³, u.

The boundary goes to itself.  Values of u given there travel along; u = 0, periodicity, and no flux through a
wall (n . A grad u = 0, for a density n . F = 0) stay what they are; in the third form a Neumann condition
n . grad u = 0 does not, and is refused.  Source of the idea: Fanaskov, Yu, Rudikov and Oseledets, General
covariance data augmentation for neural PDE solvers (ICML 2023); the rules were derived anew, see
``docs/decisions/0015-augmentation.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from sciml.datasets.augmentation.augmentation import Augmentation, Problem, Tensors, folded
from sciml.datasets.augmentation.interpolation import DEGREES, Interpolation, interpolate
from sciml.datasets.augmentation.maps import Chart, CoordinateMap, mesh_of, random_map
from sciml.description import describable
from sciml.errors import ConfigError, DataError, ShapeError, nearest

Equation = Literal["elliptic", "convection_diffusion", "wave"]
Part = Literal["diffusion", "drift", "reaction", "source", "solution"]
PARTS: tuple[str, ...] = get_args(Part)

# What the rule of an equation needs; anything else that is not among the fields is zero in the equation.
NEEDED: dict[str, tuple[str, ...]] = {
    "elliptic": ("diffusion", "source", "solution"),
    "convection_diffusion": ("diffusion", "drift", "solution"),
    "wave": ("diffusion", "drift", "solution"),
}
Values = Mapping[str, Tensor]


def elliptic(old: Values, chart: Chart) -> dict[str, Tensor]:
    """The rule for -div(A grad u) + e u = f; see `transformed`."""
    density = {name: _times(chart.determinant, old[name]) for name in ("reaction", "source") if name in old}
    moved = _times(chart.determinant, _carried(old["diffusion"], chart))
    return {**old, **density, "diffusion": moved}


def convection_diffusion(old: Values, chart: Chart) -> dict[str, Tensor]:
    """The rule for u_t + div(v u) = div(A grad u) + e u + f; see `transformed`."""
    density = {name: _times(chart.determinant, old[name]) for name in ("solution", "source") if name in old}
    moved = _carried(old["diffusion"], chart)
    extra = torch.einsum("nab...,nb...->na...", moved, chart.log_slope)
    drift = torch.einsum("nai...,ni...->na...", chart.inverse, old["drift"]) + extra
    return {**old, **density, "diffusion": moved, "drift": drift}


def wave(old: Values, chart: Chart) -> dict[str, Tensor]:
    """The rule for u_tt (or u_t) = A : D²u + v . grad u + e u + f; see `transformed`."""
    moved = _carried(old["diffusion"], chart)
    bent = old["drift"] - torch.einsum("nab...,niab...->ni...", moved, chart.hessian)
    return {**old, "diffusion": moved, "drift": torch.einsum("nai...,ni...->na...", chart.inverse, bent)}


RULES: dict[str, Callable[[Values, Chart], dict[str, Tensor]]] = {
    "elliptic": elliptic,
    "convection_diffusion": convection_diffusion,
    "wave": wave,
}


def transformed(equation: Equation, old: Values, chart: Chart) -> dict[str, Tensor]:
    """The parts of an equation in new coordinates, from their values at x(ξ).

    Parameters
    ----------
    equation : "elliptic", "convection_diffusion" or "wave"
    old : mapping of part to tensor
        "diffusion" (batch, d, d, *shape), "drift" (batch, d, *shape), "reaction", "source" and "solution"
        (batch, channel, *shape), at ``chart.points``.
    chart : Chart

    Examples
    --------
    >>> from sciml.datasets.augmentation.maps import Chart
    >>> twice = Chart(*(torch.full((1, *[1] * n, 1), v) for n, v in ((1, 0.5), (2, 2.0), (3, 0.0))))
    >>> one = {"diffusion": torch.ones(1, 1, 1, 1)} | {n: torch.ones(1, 1, 1) for n in ("source", "solution")}
    >>> {name: part.item() for name, part in transformed("elliptic", one, twice).items()}
    {'diffusion': 0.5, 'source': 2.0, 'solution': 1.0}
    """
    return RULES[equation](old, chart)


@describable
@dataclass(frozen=True)
class CoordinateChange(Augmentation):
    """Samples rewritten in random new coordinates, by the rules of this module.

    Parameters
    ----------
    equation : "elliptic", "convection_diffusion" or "wave"
        The form of the equation, as the user states it: see the module's docstring for signs.
    parts : mapping of a field's name to "diffusion", "drift", "reaction", "source" or "solution"
        What each field is in it.  Every field in space has to be named; parts that the equation may have and
        that are not named are zero.  Several fields may be the solution (initial and final state, frames).
        In two dimensions the diffusion has 3 components (xx, xy, yy; `isotropic` makes them of a scalar) or 4
        (xx, xy, yx, yy): a scalar one would not stay scalar.
    modes : int
        Waves of the maps' edges; more bend less, at equal ``beta``, but more often.
    beta : float, positive
        Large means near the identity.  In the paper 1e-5 for elliptic equations and 0.25 to 15 for the
        others.
    power : float
        Decay of short waves; 2 keeps the second derivatives of the maps in bounds, which enter the drift.
    interpolation : "linear", "cubic" or "quintic"
        Order 2, 4 or 6.  The new sample is exact up to the error of interpolation.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Values of cells are taken for values at their centers.  A scalar equation on more than two axes has no
    rule here.

    Examples
    --------
    >>> change = CoordinateChange("elliptic", {"a": "diffusion", "f": "source", "u": "solution"}, modes=2)
    >>> change.interpolation
    'cubic'
    """

    equation: Equation
    parts: dict[str, str]
    modes: int = 3
    beta: float = 1.0
    power: float = 2.0
    interpolation: Interpolation = "cubic"

    def __post_init__(self) -> None:
        for given, known, what in (
            (self.equation, get_args(Equation), "equation"),
            (self.interpolation, DEGREES, "interpolation"),
            *((part, PARTS, "a part") for part in self.parts.values()),
        ):
            if given not in known:
                raise ConfigError(
                    f"CoordinateChange: {what} is one of {', '.join(known)}, got {given!r}."
                    f"{nearest(str(given), known)}"
                )
        if self.modes < 0 or not self.beta > 0:
            raise ConfigError(
                f"CoordinateChange: needs modes >= 0 and beta > 0, got {self.modes} and {self.beta}."
            )
        given_parts = list(self.parts.values())
        missing = [part for part in NEEDED[self.equation] if part not in given_parts]
        single = [part for part in PARTS[:3] if given_parts.count(part) > 1]
        if missing or single:
            raise ConfigError(
                f"CoordinateChange: the equation {self.equation!r} needs the parts "
                f"{', '.join(NEEDED[self.equation])}, one diffusion, drift and reaction at most, got "
                f"{self.parts}. A part that is zero or constant has to be a field too, since in new "
                "coordinates it no longer is."
            )

    def check(self, problem: Problem) -> None:
        rank = problem.grid.rank
        if rank > 2:
            raise ShapeError(f"CoordinateChange: knows grids with one or two axes, got {rank}.")
        absent = [name for name in self.parts if name not in problem.fields]
        if absent:
            raise DataError(
                f"CoordinateChange: parts names {absent[0]!r}, which is not among the fields "
                f"{', '.join(problem.fields)}: without it a sample in new coordinates is not determined."
            )
        for name, item in problem.fields.items():
            if item.role == "parameter":
                continue
            if name not in self.parts:
                raise DataError(
                    f"CoordinateChange: parts must say what the field {name!r} is in the equation; "
                    f"they name {', '.join(self.parts)}."
                )
            part = self.parts[name]
            fits: tuple[int, ...] = (1,)
            if part == "diffusion":
                fits = (1,) if rank == 1 else (3, 4)
            elif part == "drift":
                fits = (rank,)
            if (part in PARTS[:2] and item.components not in fits) or not item.sample:
                raise DataError(
                    f"CoordinateChange: the {part} {name!r} must be a field of each sample with "
                    f"{' or '.join(map(str, fits))} components on a grid with {rank} axes, got "
                    f"{item.components} components, sample={item.sample}. isotropic(a, rank) makes a tensor "
                    "of a scalar diffusion."
                )
        conditions = {str(c) for pair in problem.boundary.values() for c in pair}
        if self.equation == "wave" and conditions - {"dirichlet", "periodic"}:
            raise DataError(
                f"CoordinateChange: an equation that is not in divergence form keeps values on the boundary "
                f"and periodicity, not {', '.join(sorted(conditions - {'dirichlet', 'periodic'}))}."
            )

    def apply(self, tensors: Tensors, problem: Problem, generator: torch.Generator) -> dict[str, Tensor]:
        count = len(next(iter(tensors.values())))
        change = random_map(
            problem.grid, count, generator, modes=self.modes, beta=self.beta, power=self.power
        )
        return self.by(change, tensors, problem)

    def by(self, change: CoordinateMap, tensors: Tensors, problem: Problem) -> dict[str, Tensor]:
        """The samples in the coordinates of a given map, on the same grid; see `apply`."""
        rank = problem.grid.rank
        chart = change.chart(mesh_of(problem.grid))
        old: dict[str, Tensor] = {}
        names = [name for name in self.parts if name in tensors]
        for name in names:
            values = folded(tensors[name].double().cpu(), rank)
            old[name] = interpolate(values, problem.grid, chart.points, self.interpolation)
        # The rules know one field of each kind; of those that may be several all channels side by side.
        groups = {part: [name for name in names if self.parts[name] == part] for part in PARTS}
        joined = {
            part: torch.cat([old[name] for name in group], 1) for part, group in groups.items() if group
        }
        tensorial = joined["diffusion"]
        joined["diffusion"] = unpacked(tensorial, rank)
        new = transformed(self.equation, joined, chart)
        new["diffusion"] = packed(new["diffusion"], tensorial.shape[1])
        found = dict(tensors)
        for part, group in groups.items():
            start = 0
            for name in group:
                size = old[name].shape[1]
                found[name] = (
                    new[part][:, start : start + size].reshape(tensors[name].shape).to(tensors[name])
                )
                start += size
        return found


def isotropic(values: Tensor, rank: int) -> Tensor:
    """A scalar diffusion (batch, 1, *space) as the tensor a I with 3 components, or unchanged on one axis."""
    return values if rank == 1 else torch.cat([values, torch.zeros_like(values), values], 1)


def unpacked(values: Tensor, rank: int) -> Tensor:
    """Components (batch, 1, 3 or 4, *space) as tensors (batch, d, d, *space)."""
    if rank == 1:
        return values[:, None]
    order = [0, 1, 1, 2] if values.shape[1] == 3 else [0, 1, 2, 3]
    return values[:, order].reshape(len(values), 2, 2, *values.shape[2:])


def packed(values: Tensor, components: int) -> Tensor:
    """The inverse of `unpacked`."""
    flat = values.flatten(1, 2)
    return flat[:, [0, 1, 3]] if components == 3 else flat


def _carried(diffusion: Tensor, chart: Chart) -> Tensor:
    """B A B^T."""
    return torch.einsum("nai...,nij...,nbj...->nab...", chart.inverse, diffusion, chart.inverse)


def _times(factor: Tensor, values: Tensor) -> Tensor:
    """A scalar field times a field with any number of component axes."""
    lead: Sequence[Any] = [1] * (values.ndim - factor.ndim)
    return factor.reshape(factor.shape[0], *lead, *factor.shape[1:]) * values
