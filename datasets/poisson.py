"""Poisson's equation on meshes, and a generator of domains with random holes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.generator import NOTHING, Generator, Values
from sciml.datasets.numerics.curves import Polygon, Star
from sciml.datasets.numerics.finite_elements import Constrained, FiniteElements, Value
from sciml.datasets.numerics.mesh_diffusion import Condition, Neumann, System, assembled
from sciml.datasets.numerics.mesh_diffusion import Robin as Robin
from sciml.datasets.numerics.mesh_functions import labelled_nodes, nodal_richardson
from sciml.datasets.numerics.mesh_solver import MeshSolver
from sciml.datasets.numerics.meshing import Domain
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.mesh import Mesh
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray

Float = NDArray[np.float64]

_SHAPE_MODES = 4  # waves around a hole
_SERIES = 4  # wave numbers of coefficient and source along each axis
_SMALLEST, _LARGEST = 0.08, 0.16  # mean radii of holes
_GAP = 0.1  # between boundaries, at least
_TRIES = 200  # places tried for all holes of a sample


def solve(
    mesh: Mesh,
    *,
    coefficient: Value = 1.0,
    source: Value = 0.0,
    reaction: Value = 0.0,
    boundary: Condition | Mapping[str, Condition] = 0.0,
) -> xarray.Dataset:
    """The u with -div(a grad u) + c u = f on a plane or spatial mesh.

    Continuous elements of degree 1 ("triangle", "tetra") or 2 ("triangle6", "tetra10", curved as their middle
    nodes say), solved directly.  Where solution and boundary are smooth the error is of order 2 or 3 in L2
    and 1 or 2 in H1; straight cells that cut a curve short leave order 2.  Corners of the domain above 180
    degrees cost order unless the mesh is graded (`sciml.datasets.numerics.curves.Focus`).

    Parameters
    ----------
    mesh : Mesh
        From `sciml.datasets.numerics.meshing`, or a file (`sciml.meshes.mesh_from`, and `tag_boundary` for
        names).
    coefficient, source, reaction : number, callable or array
        a > 0, f and c >= 0: a function of the coordinates (``lambda x, y: ...``, arrays in and out), or one
        value for each node or each cell.
    boundary : mapping of names, or one condition for the whole boundary
        A value, in any of these forms, is that of u; `Neumann` and `Robin` are the others.  Boundaries that
        are not named let nothing through.  At a node between two with values the later one counts.

    Returns
    -------
    xarray.Dataset
        ``u`` over the dimension "node".  If nothing fixes its constant, u has mean zero.

    Raises
    ------
    ConfigError
        If a name is unknown, a coefficient is not positive or a reaction negative, or sources and fluxes do
        not balance although they must.
    ShapeError, DataError
        As `FiniteElements.quadrature`.

    Notes
    -----
    Source: Ciarlet, *The Finite Element Method for Elliptic Problems* (1978), theorems 3.2.5 and 4.4.3.

    Examples
    --------
    Between two circles kept at 0 and 1 the solution is a logarithm:

    >>> ring = Domain(Star((0.0, 0.0), 1.0, name="outer"), [Star((0.0, 0.0), 0.5, name="inner")])
    >>> u = solve(ring.triangulate(0.1).mesh(degree=2), boundary={"outer": 0.0, "inner": 1.0})["u"]
    >>> exact = np.log(np.hypot(u["x"], u["y"])) / np.log(0.5)
    >>> bool(abs(u - exact).max() < 2e-4)
    True
    """
    elements = FiniteElements(mesh)
    u = solution(elements, coefficient=coefficient, source=source, reaction=reaction, boundary=boundary)
    return labelled_nodes(
        {"u": (("node",), u, {"units": "1", "long_name": "solution"})},
        mesh,
        attributes={
            "equation": "-div(a grad u) + c u = f",
            "solver": f"finite elements of degree {elements.degree}, direct",
        },
    )


def solution(
    elements: FiniteElements,
    *,
    coefficient: Value,
    source: Value,
    reaction: Value,
    boundary: Condition | Mapping[str, Condition],
) -> Float:
    """As `solve`, the values at the nodes, (node,)."""
    system = assembled(elements, coefficient, source, reaction, boundary)
    if system.definite:
        constrained = Constrained("poisson.solve", system.matrix, system.known)
        found = constrained.solve(system.load, system.values)
    else:
        found = _without_constant(system, elements.moments(elements.quadrature("", 1.0)))
    return np.asarray(found[elements.order])


def _without_constant(system: System, weights: Float) -> Float:
    """The solution of mean zero; an imbalance of quadrature is taken from the source, evenly."""
    excess = system.load.sum()
    if abs(excess) > 0.01 * np.abs(system.load).sum():
        raise ConfigError(
            f"poisson.solve: with no value and no reaction anywhere, sources and fluxes must add up to 0, "
            f"not {excess:g}. Give a boundary a value, or balance them."
        )
    balanced = system.load - weights * (excess / weights.sum())
    found = Constrained("poisson.solve", system.matrix, np.array([0])).solve(balanced, np.zeros(1))
    return np.asarray(found - weights @ found / weights.sum())


@describable
@dataclass(frozen=True)
class PoissonWithHoles(Generator):
    r"""-div(a grad u) = f on the unit square without one to ``holes`` random holes; a mesh for each sample.

    u = 0 on the left and right walls, u = ``level`` on the holes, a du/dn = ``flux`` on the top, and nothing
    passes the bottom.  a = exp(``contrast`` g) and f = 10 g' with two random cosine series g and g' of unit
    variance, sum c_kl cos(pi k x) cos(pi l y) with k, l < 4 and standard deviations of c_kl proportional to
    1 / (1 + k^2 + l^2).  Level and flux are uniform in (-1, 1).  Holes are stars with mean radius between
    0.08 and 0.16, at random places at least 0.1 from each other and the walls.  Everything is dimensionless;
    the map to learn is (mesh, a, f, level, flux) -> u.

    Scheme: elements of degree 1, or 2 with curved sides, on triangles that fit the holes exactly
    (`sciml.datasets.numerics.meshing`), solved directly in float64.  Order ``degree`` + 1 in L2; nothing
    steps, so nothing is to be stable.  Coefficients, conditions and holes are the same
    functions at every resolution.
    The error estimate is the change of u at the nodes when every triangle is split in four, with the exact
    holes, times 2^p / (2^p - 1).

    Parameters
    ----------
    resolution : int
        Triangles along each side of the square, at least 8.
    holes : int
        At most; the number is uniform, unless places run out.
    irregularity : float, below 1
        Largest relative deviation of a hole from a disc.
    contrast : float
        Standard deviation of log a.
    degree : int
        1 or 2, of the elements; with 2 the mesh has nodes in the middle of sides.

    Raises
    ------
    ConfigError
        If a setting is out of range, or scikit-fem is missing.

    Examples
    --------
    >>> problem = PoissonWithHoles(resolution=16)
    >>> a, f, u, level, flux = problem.sample([0, 1])
    >>> [len(values) for values in u] == [len(mesh) for mesh in problem.meshes([0, 1])]
    True
    >>> mesh = problem.meshes([0])[0]
    >>> bool(np.allclose(u[0][mesh.boundary == mesh.boundary_names.index("hole")], level[0]))
    True
    """

    least: ClassVar[int] = 8

    resolution: int = 32
    holes: int = 3
    irregularity: float = 0.2
    contrast: float = 0.5
    degree: int = 1

    def __post_init__(self) -> None:
        if (
            self.resolution < 8
            or self.holes < 1
            or not 0 <= self.contrast < math.inf
            or self.degree not in (1, 2)
        ):
            raise ConfigError(
                "PoissonWithHoles: needs resolution >= 8, holes >= 1, contrast >= 0 and degree 1 or 2, got "
                f"resolution={self.resolution}, holes={self.holes}, contrast={self.contrast}, "
                f"degree={self.degree}."
            )
        if not 0 <= self.irregularity < 1:
            raise ConfigError(
                f"PoissonWithHoles: irregularity lies between 0 and 1, got {self.irregularity}."
            )

    @property
    def grid(self) -> None:
        """Each sample has a mesh of its own."""
        return None

    @property
    def fields(self) -> tuple[Field, ...]:
        """Inputs a and f, output u, and the numbers on the boundary."""
        return (
            Field("a", "input", units="1", long_name="coefficient"),
            Field("f", "input", units="1", long_name="source"),
            Field("u", "output", units="1", long_name="solution"),
            Field("level", "parameter", units="1", long_name="value on the holes"),
            Field("flux", "parameter", units="1", long_name="flux into the top wall"),
        )

    @property
    def about(self) -> Provenance:
        """Equation and solver."""
        return Provenance(
            title="Poisson's equation on a square with random holes",
            pde="poisson_2d_holes",
            equation=r"-\nabla \cdot (a \nabla u) = f, u = level on holes, a \partial_n u = flux at the top",
            boundary={
                "bottom": "neumann",
                "right": "dirichlet",
                "top": "neumann",
                "left": "dirichlet",
                "hole": "dirichlet",
            },
            solver=f"finite elements of degree {self.degree} on triangles that fit the holes; direct",
        )

    def meshes(self, seeds: Sequence[int]) -> list[Mesh]:
        """One for each seed, with the boundaries "bottom", "right", "top", "left" and "hole"."""
        return [self._mesh(self._drawn(seed)) for seed in seeds]

    def sample(self, seeds: Sequence[int]) -> tuple[Values, ...]:
        """Coefficient, source and solution at the nodes of each mesh, and (n,) levels and fluxes."""
        drawn = [self._drawn(seed) for seed in seeds]
        meshes = [self._mesh(one) for one in drawn]
        a = [one.coefficient(*mesh.coordinates.T) for one, mesh in zip(drawn, meshes, strict=True)]
        f = [one.source(*mesh.coordinates.T) for one, mesh in zip(drawn, meshes, strict=True)]
        u = [one.solved(mesh) for one, mesh in zip(drawn, meshes, strict=True)]
        return a, f, u, np.array([one.level for one in drawn]), np.array([one.flux for one in drawn])

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative error of u in the mean square over the nodes, (n,)."""
        drawn = [self._drawn(seed) for seed in seeds]
        fine = [one.solved(self._mesh(one, refined=True)) for one in drawn]
        return nodal_richardson([(arrays[2], fine)], order=self.degree + 1)

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> MeshSolver | None:
        """The same elements on other triangles; the seed of the sample tells the problem."""
        return (
            None if "sample_seed" not in known else MeshSolver(self, resolution, int(known["sample_seed"][0]))
        )

    def solved(self, seed: int, resolution: int) -> tuple[Mesh, Float]:
        """The mesh of a sample at a resolution, and the solution at its nodes, (node, 1)."""
        drawn = self._drawn(seed)
        mesh = drawn.domain.triangulate(1 / resolution).mesh(self.degree)
        return mesh, drawn.solved(mesh)[:, None]

    def _mesh(self, drawn: _Drawn, *, refined: bool = False) -> Mesh:
        triangles = drawn.domain.triangulate(1 / self.resolution)
        return (triangles.refine() if refined else triangles).mesh(self.degree)

    def _drawn(self, seed: int) -> _Drawn:
        random = np.random.default_rng(seed)
        level, flux = random.uniform(-1, 1, 2)
        log, source = (partial(_series, random.standard_normal((_SERIES, _SERIES))) for _ in range(2))
        holes = _holes(random, self.holes, self.irregularity)
        domain = Domain(Polygon.rectangle((0.0, 0.0), (1.0, 1.0)), holes)
        return _Drawn(
            domain=domain,
            coefficient=lambda x, y: np.exp(self.contrast * log(x, y)),
            source=lambda x, y: 10 * source(x, y),
            level=float(level),
            flux=float(flux),
        )


@dataclass(frozen=True)
class _Drawn:
    """One random problem."""

    domain: Domain
    coefficient: Any
    source: Any
    level: float
    flux: float

    def solved(self, mesh: Mesh) -> Float:
        return solution(
            FiniteElements(mesh),
            coefficient=self.coefficient,
            source=self.source,
            reaction=0.0,
            boundary={"left": 0.0, "right": 0.0, "hole": self.level, "top": Neumann(self.flux)},
        )


def _series(draws: Float, x: Float, y: Float) -> Float:
    """The cosine series of unit variance over draws and places."""
    k = np.arange(_SERIES)
    sizes = 1 / (1 + k[:, None] ** 2 + k**2)
    power = np.where(k > 0, 0.5, 1.0)  # the mean square of a cosine
    sizes /= math.sqrt(float(np.sum(sizes**2 * power[:, None] * power)))
    found = np.zeros(np.shape(x))
    for i in k:
        for j in k:
            found += sizes[i, j] * draws[i, j] * np.cos(np.pi * i * x) * np.cos(np.pi * j * y)
    return found


def _holes(random: np.random.Generator, most: int, irregularity: float) -> list[Star]:
    """Between one and ``most`` stars apart from each other; the last ones are left out if places run out."""
    wanted = int(random.integers(1, most + 1))
    found: list[tuple[float, float, float]] = []
    holes: list[Star] = []
    for _ in range(_TRIES):
        if len(holes) == wanted:
            break
        x, y = random.uniform(0, 1, 2).tolist()
        radius = float(random.uniform(_SMALLEST, _LARGEST))
        waves = random.uniform(-1, 1, (2, _SHAPE_MODES))
        reach = radius * (1 + irregularity) + _GAP
        walls = min(x, y, 1 - x, 1 - y) >= reach
        apart = all(math.hypot(x - a, y - b) >= reach + c for a, b, c in found)
        if walls and apart:
            found.append((x, y, reach - _GAP))
            holes.append(Star((x, y), partial(_star_radius, radius, irregularity, waves)))
    return holes


def _star_radius(radius: float, irregularity: float, waves: Float, angle: Float) -> Float:
    """radius (1 + irregularity w) with |w| <= 1, waves falling as 1 / k^2."""
    k = np.arange(1, _SHAPE_MODES + 1)
    sizes = 1 / k**2 / (math.sqrt(2) * np.sum(1 / k**2))
    angles = k[:, None] * np.asarray(angle)
    w = (sizes * waves[0]) @ np.cos(angles) + (sizes * waves[1]) @ np.sin(angles)
    return np.asarray(radius * (1 + irregularity * w))
