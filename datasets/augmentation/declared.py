"""Which symmetries an equation has, together with everything that its samples do not vary.

Shifts, reflections and the like make new samples only if the *map to learn* has the symmetry: equation,
forcing, walls and grid taken together.  `symmetries_of` knows the equations of this library; for others the
user states a `Symmetries`.
"""

from __future__ import annotations

import re
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


# Equations whose terms know no place and no direction, and the numbers that their samples may carry.
_ISOTROPIC = (
    "allen_cahn", "cahn_hilliard", "fisher", "fitzhugh_nagumo", "gray_scott", "heat", "schrodinger", "wave",
)  # fmt: skip
_NUMBERS = {"advection": {"beta"}, "burgers": {"nu"}}


def symmetries_of(problem: Problem) -> Symmetries | None:
    """Those of an equation of this library; None for others, and for samples with numbers unknown here.

    ==============================  ===========  ==================  ===================  ====================
    ``pde``                         shifts       group               Galilean             scaled together
    ==============================  ===========  ==================  ===================  ====================
    darcy_2d                                     full                                     a by λ, u by 1/λ
    advection                       periodic     permutations                             u
    heat, wave                      periodic     full                                     all fields but c
    allen_cahn, cahn_hilliard,      periodic     full
    fisher, fitzhugh_nagumo,
    gray_scott, schrodinger
    burgers                         periodic     full, vector        u + b, moves with b
    kuramoto_sivashinsky            periodic     reflections,        u + b, moves with
                                                 vector              alpha b
    korteweg_de_vries               periodic                         u + b, moves with
                                                                     c b
    navier_stokes_2d_vorticity      unforced:    unforced: full,
                                    periodic     pseudoscalar
    ==============================  ===========  ==================  ===================  ====================

    All hold with the walls of their generators.  Vorticity does not see a Galilean boost, but its velocity
    here has no mean by definition: the boosted flow is the solution of another problem.  The "kolmogorov"
    forcing leaves shifts along x, the "diagonal" one leaves none of these.

    Examples
    --------
    >>> from sciml.grid import Grid
    >>> told = {"sciml_forcing": "kolmogorov", "sciml_strength": 1.0}
    >>> flow = Problem(Grid.box((8, 8), periodic=True), {}, "navier_stokes_2d_vorticity", {}, None, told)
    >>> symmetries_of(flow).shifts
    ('x',)
    """
    name, told = re.sub(r"_[123]d$", "", problem.pde), problem.attributes
    numbers = {n for n, item in problem.fields.items() if item.role == "parameter"}
    if numbers - _NUMBERS.get(name, set()):
        return None
    periodic = tuple(axis.name for axis in problem.grid.axes if axis.periodic)
    if problem.pde == "darcy_2d":
        return Symmetries(group="full", powers={"a": 1.0, "u": -1.0})
    if name == "advection":
        return Symmetries(periodic, "permutations", powers={"u": 1.0})
    if name in _ISOTROPIC:
        linear = name in ("heat", "wave")
        return Symmetries(periodic, "full", powers={n: 1.0 for n in problem.fields if linear and n != "c"})
    if name == "burgers":
        return Symmetries(periodic, "full", {"u": "vector"}, galilean=1.0, velocity=("u",))
    if name == "kuramoto_sivashinsky":
        speed = float(told.get("sciml_alpha", 0.0))
        return Symmetries(periodic, "reflections", {"u": "vector"}, galilean=speed, velocity=("u",))
    if name == "korteweg_de_vries":
        return Symmetries(periodic, galilean=float(told.get("sciml_convection", 0.0)), velocity=("u",))
    if problem.pde == "navier_stokes_2d_vorticity":
        forcing, kinds = told.get("sciml_forcing"), {"w": "pseudoscalar"}
        if forcing == "none" or told.get("sciml_strength") == 0:
            return Symmetries(periodic, "full", kinds)
        return Symmetries(periodic[:1] if forcing == "kolmogorov" else (), "none", kinds)
    return None
