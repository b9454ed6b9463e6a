"""Which symmetries an equation has, together with everything that its samples do not vary.

Shifts, reflections and the like make new samples only if the *map to learn* has the symmetry: equation,
forcing, walls and grid taken together.  `symmetries_of` knows the equations of this library; for others the
user states a `Symmetries`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sciml.datasets.augmentation.augmentation import Problem
from sciml.description import describable


@describable
@dataclass(frozen=True)
class Symmetries:
    """What may be done to a sample so that it stays one.

    Parameters
    ----------
    shifts : names of axes
        Along which nothing depends on the place.
    group : str
        Which symmetries of the box: "none", "reflections", "permutations", "rotations" or "full", see
        `sciml.signed_permutations`.
    kinds : mapping of name to kind
        Of fields that are not scalars: "pseudoscalar", "vector", "symmetric" or "tensor".
    galilean : float
        How fast a sample moves for each unit that is added to its velocity; 0 for none.
    velocity : names
        What the added velocity goes to: one field with a component for each axis, or a number of the sample
        for each axis, such as a mean flow.
    powers : mapping of name to power
        Fields and numbers of a sample that may be multiplied by λ^power at once, for every λ > 0.
    """

    shifts: tuple[str, ...] = ()
    group: str = "none"
    kinds: dict[str, str] = field(default_factory=dict)
    galilean: float = 0.0
    velocity: tuple[str, ...] = ()
    powers: dict[str, float] = field(default_factory=dict)


def symmetries_of(problem: Problem) -> Symmetries | None:
    """Those of an equation of this library; None for others.

    ============================  =========  ============  ========================  ======================
    ``pde``                       shifts     group         Galilean                  scaled together
    ============================  =========  ============  ========================  ======================
    darcy_2d                                 full                                    a by λ, u by 1/λ
    advection                     all        permutations                            u
    heat, wave                    periodic   full                                    all fields but c
    burgers                       all        full, vector  u + b, moving with b
    navier_stokes_2d_vorticity    unforced:  full, pseudo
                                  all        scalar; or
                                             none
    ============================  =========  ============  ========================  ======================

    The heat and wave equations hold with their walls.  Vorticity does not see a Galilean boost, but its
    velocity here has no mean by definition: the boosted flow is the solution of another problem.  The
    "kolmogorov" forcing leaves shifts along x, the "diagonal" one leaves none of these.

    Examples
    --------
    >>> from sciml.grid import Grid
    >>> told = {"sciml_forcing": "kolmogorov", "sciml_strength": 1.0}
    >>> flow = Problem(Grid.box((8, 8), periodic=True), {}, "navier_stokes_2d_vorticity", {}, None, told)
    >>> symmetries_of(flow).shifts
    ('x',)
    """
    axes = problem.grid.names
    name = re.sub(r"_[123]d$", "", problem.pde)
    if problem.pde == "darcy_2d":
        return Symmetries(group="full", powers={"a": 1.0, "u": -1.0})
    if name == "advection":
        return Symmetries(axes, "permutations", powers={"u": 1.0})
    if name in ("heat", "wave"):
        periodic = tuple(axis.name for axis in problem.grid.axes if axis.periodic)
        linear = {n: 1.0 for n, f in problem.fields.items() if n != "c" and f.role != "parameter"}
        return Symmetries(periodic, "full", powers=linear)
    if name == "burgers":
        return Symmetries(axes, "full", {"u": "vector"}, galilean=1.0, velocity=("u",))
    if problem.pde == "navier_stokes_2d_vorticity":
        return _of_vorticity(problem.attributes, axes)
    return None


def _of_vorticity(attributes: Mapping[str, object], axes: tuple[str, ...]) -> Symmetries:
    forcing, strength = attributes.get("sciml_forcing"), attributes.get("sciml_strength")
    kinds = {"w": "pseudoscalar"}
    if forcing == "none" or strength == 0:
        return Symmetries(axes, "full", kinds)
    return Symmetries(axes[:1] if forcing == "kolmogorov" else (), "none", kinds)
