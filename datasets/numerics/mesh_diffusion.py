"""The equations of steady diffusion on meshes: conditions on boundaries, matrices, loads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.numerics.finite_elements import WHOLE, FiniteElements, Value, scikit_fem
from sciml.errors import ConfigError
from sciml.mesh import Mesh

Float = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Neumann:
    """a du/dn = ``flux`` on a boundary, n pointing outward: what flows in."""

    flux: Any


@dataclass(frozen=True)
class Robin:
    """a du/dn + ``coefficient`` u = ``value`` on a boundary, n pointing outward."""

    coefficient: Any
    value: Any = 0.0


Condition = Value | Neumann | Robin


class System(NamedTuple):
    """A u = b for the unknowns of `FiniteElements`, some of them given.

    Attributes
    ----------
    matrix : scipy.sparse matrix
    load : (unknown,)
    known : (k,) integers
        Unknowns on boundaries with a value.
    values : (k,)
        There.
    definite : bool
        Whether something fixes the constant.
    """

    matrix: Any
    load: Float
    known: Integers
    values: Float
    definite: bool


def assembled(
    elements: FiniteElements,
    coefficient: Value,
    source: Value,
    reaction: Value,
    boundary: Condition | Mapping[str, Condition],
) -> System:
    """The equations of -div(a grad u) + c u = f.

    Parameters
    ----------
    elements : FiniteElements
    coefficient, source, reaction : Value
        a, f and c.
    boundary : mapping of names, or one condition for the whole boundary
        A value of u in any form of `Value`, `Neumann` or `Robin`; nothing passes boundaries without one.  At
        a node between two with values the later one counts.

    Raises
    ------
    ConfigError
        If a name is unknown, a coefficient not positive or a reaction negative.
    ShapeError, DataError
        As `FiniteElements.quadrature`.
    """
    skfem = scikit_fem()
    dot, grad = skfem.helpers.dot, skfem.helpers.grad
    diffusion = skfem.BilinearForm(lambda u, v, w: w["a"] * dot(grad(u), grad(v)))
    mass = skfem.BilinearForm(lambda u, v, w: w["c"] * u * v)
    a = elements.quadrature("diffusion: coefficient", coefficient)
    c = elements.quadrature("diffusion: reaction", reaction)
    if a.min() <= 0 or c.min() < 0:
        raise ConfigError(
            f"diffusion: needs coefficient > 0 and reaction >= 0, got {a.min():g} and {c.min():g}."
        )
    matrix = diffusion.assemble(elements.basis, a=a)
    load = elements.moments(elements.quadrature("diffusion: source", source))
    definite = bool(c.any())
    if definite:
        matrix = matrix + mass.assemble(elements.basis, c=c)
    known: dict[int, float] = {}
    for name, condition in _conditions(elements.mesh, boundary).items():
        who = f"diffusion: boundary {name!r}"
        if isinstance(condition, Neumann | Robin):
            given = condition.flux if isinstance(condition, Neumann) else condition.value
            load = load + elements.moments(elements.quadrature(who, given, name), name)
            if isinstance(condition, Robin):
                alpha = elements.quadrature(who, condition.coefficient, name)
                matrix = matrix + mass.assemble(elements.boundary_basis(name), c=alpha)
                definite = True
        else:
            nodes = elements.nodes(name)
            values = elements.nodal_values(who, condition)[nodes]
            known |= dict(zip(elements.order[nodes].tolist(), values.tolist(), strict=True))
    fixed, held = np.array(list(known), dtype=np.int64), np.array(list(known.values()))
    return System(matrix, load, fixed, held, definite or bool(known))


def _conditions(mesh: Mesh, boundary: Condition | Mapping[str, Condition]) -> Mapping[str, Condition]:
    if isinstance(boundary, Mapping):
        return boundary
    return dict.fromkeys(mesh.boundary_names[1:] if mesh.boundary is not None else (WHOLE,), boundary)
