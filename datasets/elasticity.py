"""Linear elasticity on meshes, and a generator of a unit cell with a random void."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.generator import NOTHING, Generator, Values
from sciml.datasets.numerics.curves import Polygon, Star
from sciml.datasets.numerics.finite_elements import Constrained, FiniteElements
from sciml.datasets.numerics.linear_elasticity import (
    Plane,
    lame_parameters,
    rigid_motions,
    stiffness,
    von_mises,
)
from sciml.datasets.numerics.mesh_functions import labelled_nodes, nodal_richardson
from sciml.datasets.numerics.mesh_solver import MeshSolver
from sciml.datasets.numerics.meshing import Domain, Triangulation
from sciml.description import describable
from sciml.errors import ConfigError, ShapeError
from sciml.mesh import Mesh
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray

Float = NDArray[np.float64]
Vector = Any
"""For each axis a number, a function of the coordinates or an array over the nodes, or a function of all."""

_ENTRIES = {2: ("xx", "yy", "xy"), 3: ("xx", "yy", "zz", "yz", "xz", "xy")}
_CENTER = (0.5, 0.5)


def solve(
    mesh: Mesh,
    *,
    young: float = 1.0,
    poisson: float = 0.3,
    plane: Plane = "stress",
    loads: Mapping[str, Vector] | None = None,
    clamped: Sequence[str] | Mapping[str, Vector] = (),
    body: Vector | None = None,
) -> xarray.Dataset:
    """Displacement and stress of a linear elastic body at rest: -div sigma = b.

    sigma = 2 mu eps + lambda tr(eps) 1 with eps the symmetric gradient of the displacement, mu = E / (2 (1 +
    nu)) and lambda = E nu / ((1 + nu) (1 - 2 nu)), on plane meshes in plane stress E nu / (1 - nu^2).

    Continuous elements of degree 1 or 2, as the mesh says (`sciml.datasets.numerics.finite_elements`), solved
    directly. Order 2 or 3 in L2 and 1 or 2 in energy where solution and boundary are smooth.  The stress at a
    node is the mean of those of the cells around it there, weighted with their measures, and the von Mises
    stress that of this mean: of order 1.5 or 2 in the mean square.  Where a clamped side ends or
    a boundary turns inward the stress is infinite, and so grows there with every refinement.

    In plane strain and in space linear elements lock as nu goes to 0.5: displacements come out too small, by
    a factor without bound.  Degree 2 does not lock in displacement; in plane stress neither does.

    Parameters
    ----------
    mesh : Mesh
    young : float, positive
        E, in units of stress.
    poisson : float
        nu, above -1 and below 0.5; in plane stress 0.5 itself, an incompressible body, is allowed.
    plane : "stress" or "strain"
        Of plane meshes.
    loads : mapping, optional
        Name of a boundary to the traction on it, one value for each axis.  Boundaries without load and clamp
        are free.
    clamped : sequence of names, or mapping
        Boundaries that do not move; as a mapping to displacements, one for each axis, None where it is free:
        ``{"left": (0.0, None)}`` is a line of symmetry.
    body : sequence or callable, optional
        Force per volume.

    Returns
    -------
    xarray.Dataset
        ``displacement`` (node, axis), ``stress`` (node, entry) and ``von_mises`` (node).

    Raises
    ------
    ConfigError
        If a number is out of range, a name is unknown, or the body can still move as a whole.
    ShapeError, DataError
        As `FiniteElements.quadrature`.

    Notes
    -----
    Source: Brenner and Scott, *The Mathematical Theory of Finite Element Methods* (2008), chapter 11.

    Examples
    --------
    A bar under tension at both ends, held on two lines of symmetry:

    >>> bar = Domain(Polygon.rectangle((0.0, 0.0), (2.0, 1.0))).triangulate(0.5).mesh()
    >>> held = {"left": (0.0, None), "bottom": (None, 0.0)}
    >>> found = solve(bar, young=10.0, poisson=0.25, loads={"right": (1.0, 0.0)}, clamped=held)
    >>> tip = found.sel(node=int(np.argmax(bar.coordinates.sum(axis=1))))
    >>> tip["displacement"].values.round(12).tolist(), round(float(tip["von_mises"]), 12)
    ([0.2, -0.025], 1.0)
    """
    elements = FiniteElements(mesh)
    displacement, stress, mises = solution(
        elements, young=young, poisson=poisson, plane=plane, loads=loads or {}, clamped=clamped, body=body
    )
    where = "" if mesh.dim == 3 else f", plane {plane}"
    found = labelled_nodes(
        {
            "displacement": (("node", "axis"), displacement, {"units": mesh.units}),
            "stress": (("node", "entry"), stress, {"long_name": "stress"}),
            "von_mises": (("node",), mises, {"long_name": "von Mises stress"}),
        },
        mesh,
        attributes={
            "equation": f"-div sigma = b, sigma = 2 mu eps + lambda tr(eps){where}",
            "solver": f"finite elements of degree {elements.degree}, direct; stress averaged at nodes",
            "young": young,
            "poisson": poisson,
        },
    )
    return found.assign_coords(axis=list(mesh.names), entry=list(_ENTRIES[mesh.dim]))


def solution(
    elements: FiniteElements,
    *,
    young: float,
    poisson: float,
    plane: Plane,
    loads: Mapping[str, Vector],
    clamped: Sequence[str] | Mapping[str, Vector],
    body: Vector | None = None,
) -> tuple[Float, Float, Float]:
    """As `solve`: displacement (node, axis), stress (node, entry), von Mises stress (node,)."""
    dim, count = elements.mesh.dim, len(elements.mesh)
    lame, shear = lame_parameters(young, poisson, plane if dim == 2 else "strain")
    load = np.zeros((dim, count))
    if body is not None:
        load += _moments(elements, "elasticity.solve: body", body, None)
    for name, traction in loads.items():
        load += _moments(elements, f"elasticity.solve: load on {name!r}", traction, name)
    known, values = _held(elements, clamped)
    matrix = stiffness(elements, lame, shear)
    system = Constrained("elasticity.solve", matrix, known)
    unknowns = system.solve(load.ravel(), values).reshape(dim, count)
    gradient = np.stack([elements.cell_gradients(component) for component in unknowns])
    strain = (gradient + gradient.swapaxes(0, 1)) / 2
    stress = elements.averaged(2 * shear * strain + lame * np.trace(strain) * np.eye(dim)[:, :, None, None])
    third = poisson * np.trace(stress) if plane == "strain" else 0.0
    entries = [stress["xyz".index(entry[0]), "xyz".index(entry[1])] for entry in _ENTRIES[dim]]
    return unknowns[:, elements.order].T, np.stack(entries, axis=1), von_mises(stress, third)


def _moments(elements: FiniteElements, who: str, vector: Vector, name: str | None) -> Float:
    """Integrals of a force times the basis functions, (dim, unknown)."""
    basis = elements.basis if name is None else elements.boundary_basis(name)
    parts = vector(*np.asarray(basis.global_coordinates())) if callable(vector) else vector
    _check_length(who, parts, elements.mesh.dim)
    return np.stack([elements.moments(elements.quadrature(who, part, name), name) for part in parts])


def _check_length(who: str, parts: Any, dim: int) -> None:
    if not isinstance(parts, Sized) or len(parts) != dim:
        raise ShapeError(f"{who} needs {dim} values, one for each axis, got {parts!r:.100}.")


def _held(elements: FiniteElements, clamped: Sequence[str] | Mapping[str, Vector]) -> tuple[Any, Float]:
    """Unknowns that are given, and their values; refused if a motion of the whole body is left free."""
    mesh, dim = elements.mesh, elements.mesh.dim
    names = (clamped,) if isinstance(clamped, str) else clamped
    given = names if isinstance(names, Mapping) else dict.fromkeys(names, (0.0,) * dim)
    known: dict[int, float] = {}
    for name, vector in given.items():
        who = f"elasticity.solve: displacement of {name!r}"
        parts = vector(*mesh.coordinates.T) if callable(vector) else vector
        _check_length(who, parts, dim)
        nodes = elements.nodes(name)
        for axis, part in enumerate(parts):
            if part is not None:
                values = elements.nodal_values(who, part)[nodes]
                numbers = elements.order[nodes] + axis * len(mesh)
                known |= dict(zip(numbers.tolist(), values.tolist(), strict=True))
    fixed = np.array(list(known), dtype=np.int64)
    motions = [
        np.concatenate([elements.unknowns(component) for component in motion.T])[fixed]
        for motion in rigid_motions(mesh)
    ]
    if np.linalg.matrix_rank(np.stack(motions), tol=1e-9 * math.sqrt(len(mesh))) < len(motions):
        raise ConfigError(
            f"elasticity.solve: clamped={list(given)} leaves the body free to move as a whole; clamp a "
            "boundary, or one component on several."
        )
    return fixed, np.array(list(known.values()))


@describable
@dataclass(frozen=True)
class Elasticity(Generator):
    r"""A unit cell with a random void, clamped at the bottom and pulled at the top; a mesh for each sample.

    The void lies around the middle of (0, 1)^2, at the distance r = 0.2 + 0.2 / (1 + exp(g)) in each
    direction, with a Gaussian field g on the circle of mean zero and covariance 4^2 (-d^2/dangle^2 +
    3^2)^(-1).  The top bears the traction (0, ``traction``); left, right and void are free.  The map to learn
    is the geometry (coordinates of the nodes, and r in the direction of each) to the von Mises stress; the
    displacement is there too.  Everything is dimensionless.

    Scheme: elements of degree 2 (or 1) on triangles whose sides follow the void
    (`sciml.datasets.numerics.meshing`), linear plane stress or strain, solved directly in float64; nothing
    steps, so nothing is to be stable.
    The stress at nodes is averaged over the cells around (see `solve`).  It is infinite at the two ends of
    the clamped side, which limits the order of the whole field to about 1; `estimate_error` counts on 1, from
    triangles split in four.  It gives 0.1 to 0.2 for the stress at the default and 0.03 to 0.07 with
    ``resolution=32``; the displacement is several times more accurate.  The void is the same at every
    resolution.

    Parameters
    ----------
    resolution : int
        Triangles along each side of the cell, at least 8.
    young, poisson : float
        Elastic constants; without clamps the stress in plane stress would depend on neither.
    plane : "stress" or "strain"
    traction : float
        Not 0.
    modes : int
        Waves of g around the void.
    degree : int
        1 or 2, of the elements; with 2 the mesh has nodes in the middle of sides.

    Raises
    ------
    ConfigError
        If a setting is out of range, or scikit-fem is missing.

    Notes
    -----
    Void, clamp and traction are those of Li, Huang, Liu and Anandkumar, Fourier Neural Operator with Learned
    Deformations for PDEs on General Geometries (2023), arXiv:2207.05209, section 4.1.  Their body is
    hyperelastic and incompressible, ours linear; their fields are stored at 972 points, ours at the nodes
    (about 900 for ``resolution=16``).

    Examples
    --------
    >>> problem = Elasticity(resolution=16)
    >>> radius, von_mises, displacement = problem.sample([0])
    >>> mesh = problem.meshes([0])[0]
    >>> radius[0].shape == von_mises[0].shape == (len(mesh),), displacement[0].shape == mesh.coordinates.shape
    (True, True)
    """

    least: ClassVar[int] = 8

    resolution: int = 16
    young: float = 1e5
    poisson: float = 0.3
    plane: Plane = "stress"
    traction: float = 100.0
    modes: int = 8
    degree: int = 2

    def __post_init__(self) -> None:
        lame_parameters(self.young, self.poisson, self.plane)
        if (
            self.resolution < 8
            or self.modes < 0
            or not 0 < abs(self.traction) < math.inf
            or self.degree not in (1, 2)
        ):
            raise ConfigError(
                "Elasticity: needs resolution >= 8, modes >= 0, a traction and degree 1 or 2, got "
                f"resolution={self.resolution}, modes={self.modes}, traction={self.traction}, "
                f"degree={self.degree}."
            )

    @property
    def grid(self) -> None:
        """Each sample has a mesh of its own."""
        return None

    @property
    def fields(self) -> tuple[Field, ...]:
        """Input ``radius``, outputs ``von_mises`` and ``displacement``."""
        return (
            Field("radius", "input", units="1", long_name="radius of the void toward the point"),
            Field("von_mises", "output", units="1", long_name="von Mises stress"),
            Field("displacement", "output", units="1", long_name="displacement", components=2),
        )

    @property
    def about(self) -> Provenance:
        """Equation and solver."""
        return Provenance(
            title="Elastic unit cell with a random void",
            pde="elasticity_2d",
            equation=rf"-\nabla \cdot \sigma = 0, linear and isotropic, plane {self.plane}",
            boundary={
                "bottom": "clamped",
                "right": "free",
                "top": "traction",
                "left": "free",
                "void": "free",
            },
            solver=f"finite elements of degree {self.degree} on triangles that fit the void; direct",
        )

    def meshes(self, seeds: Sequence[int]) -> list[Mesh]:
        """One for each seed, with the boundaries "bottom", "right", "top", "left" and "void"."""
        return [self._triangles(seed).mesh(self.degree) for seed in seeds]

    def sample(self, seeds: Sequence[int]) -> tuple[list[Float], ...]:
        """Radius, von Mises stress and displacement at the nodes of each mesh."""
        meshes = self.meshes(seeds)
        angles = [np.arctan2(*(mesh.coordinates - np.array(_CENTER)).T[::-1]) for mesh in meshes]
        radius = [self._void(seed).radii(angle) for seed, angle in zip(seeds, angles, strict=True)]
        solved = [self._solved(mesh) for mesh in meshes]
        return radius, [mises for _, _, mises in solved], [displacement for displacement, *_ in solved]

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative error of stress and displacement, the larger, in the mean square over the nodes, (n,)."""
        fine = [self._solved(self._triangles(seed).refine().mesh(self.degree)) for seed in seeds]
        found = [(arrays[1], [one[2] for one in fine]), (arrays[2], [one[0] for one in fine])]
        return nodal_richardson(found, order=1)

    def _void(self, seed: int) -> Star:
        draws = np.random.default_rng(seed).standard_normal(2 * self.modes + 1)
        return Star(_CENTER, partial(_void_radius, draws), name="void")

    def _triangles(self, seed: int, resolution: int | None = None) -> Triangulation:
        square = Polygon.rectangle((0.0, 0.0), (1.0, 1.0))
        return Domain(square, [self._void(seed)]).triangulate(1 / (resolution or self.resolution))

    def solved(self, seed: int, resolution: int) -> tuple[Mesh, Float]:
        """The mesh of a sample at a resolution; von Mises stress and displacement at its nodes, (node, 3)."""
        mesh = self._triangles(seed, resolution).mesh(self.degree)
        displacement, _, mises = self._solved(mesh)
        return mesh, np.concatenate([mises[:, None], displacement], axis=1)

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> MeshSolver | None:
        """The same elements on other triangles; the seed of the sample tells the problem."""
        return (
            None if "sample_seed" not in known else MeshSolver(self, resolution, int(known["sample_seed"][0]))
        )

    def _solved(self, mesh: Mesh) -> tuple[Float, Float, Float]:
        return solution(
            FiniteElements(mesh),
            young=self.young,
            poisson=self.poisson,
            plane=self.plane,
            loads={"top": (0.0, self.traction)},
            clamped=("bottom",),
        )


def _void_radius(draws: Float, angle: Float) -> Float:
    """0.2 + 0.2 / (1 + exp(g)) with the Karhunen-Loeve sum g of covariance 16 (-d^2 + 9)^(-1)."""
    angles = np.asarray(angle)
    g = np.full(angles.shape, 4 / 3 * draws[0] / math.sqrt(2 * math.pi))
    for k in range(1, len(draws) // 2 + 1):
        size = 4 / math.sqrt((k**2 + 9) * math.pi)
        g = g + size * (draws[2 * k - 1] * np.cos(k * angles) + draws[2 * k] * np.sin(k * angles))
    return np.asarray(0.2 + 0.2 / (1 + np.exp(g)))
