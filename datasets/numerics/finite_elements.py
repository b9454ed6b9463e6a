"""Linear and quadratic elements on the library's meshes: scikit-fem integrates, SuperLU solves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.errors import ConfigError, DataError, ShapeError, nearest
from sciml.mesh import Mesh

Float = NDArray[np.float64]
Integers = NDArray[np.int64]
Value = ArrayLike | Callable[..., ArrayLike]
"""A number, one value for each node or cell, or a function of the coordinates: ``lambda x, y: x * y``."""

# Of scikit-fem: mesh with straight sides, mesh with curved sides, element.
_KINDS = {
    "triangle": ("MeshTri1", None, "ElementTriP1"),
    "triangle6": ("MeshTri1", "MeshTri2", "ElementTriP2"),
    "tetra": ("MeshTet1", None, "ElementTetP1"),
    "tetra10": ("MeshTet1", "MeshTet2", "ElementTetP2"),
}
WHOLE = "boundary"  # all of it, on meshes without names


class FiniteElements:
    """Continuous functions on a mesh: of degree 1 on "triangle" and "tetra", of degree 2 on "triangle6" and
    "tetra10", whose sides are curved as their middle nodes say (isoparametric).

    Parameters
    ----------
    mesh : Mesh
        Cells of lower dimension are ignored.  Names of boundaries select facets: a facet belongs to the
        common tag of its nodes, and where two tags meet to the higher one (of quadratic triangles, to that of
        the middle node), to none if a node has tag 0.  `sciml.datasets.numerics.meshing` and
        `tag_boundary` set tags so.

    Attributes
    ----------
    basis : skfem.CellBasis
        To assemble forms of scikit-fem with.
    degree : int
        1 or 2.

    Raises
    ------
    ConfigError
        If scikit-fem is missing, or for other cells.
    DataError
        If a node belongs to no cell.

    Examples
    --------
    >>> square = Mesh([[0, 0], [1, 0], [1, 1], [0, 1]], cells={"triangle": [[0, 1, 2], [0, 2, 3]]})
    >>> round(FiniteElements(square).integral(lambda x, y: x * y), 12)
    0.25
    """

    def __init__(self, mesh: Mesh) -> None:
        skfem = scikit_fem()
        blocks = [(s, kind, a) for (kind, _), (s, a) in zip(mesh.cells, mesh.blocks(), strict=True)]
        blocks = [block for block in blocks if block[0].dimension == mesh.cell_dimension]
        kinds = {kind for _, kind, _ in blocks}
        if len(kinds) != 1 or not kinds <= set(_KINDS) or mesh.dim != mesh.cell_dimension:
            raise ConfigError(
                f"FiniteElements: needs cells of one type among {', '.join(_KINDS)} that fill the space, got "
                f"{', '.join(sorted(kinds))} in {mesh.dim} dimensions. Split other cells into these."
            )
        self.mesh = mesh
        (kind,), shape = kinds, blocks[0][0]
        straight, curved, element = _KINDS[kind]
        self.degree = 2 if curved else 1
        cells = np.concatenate([array for *_, array in blocks])
        self._vertices, corners = np.unique(cells[:, : shape.corners], return_inverse=True)
        corners = corners.reshape(len(cells), -1)
        places, order = mesh.coordinates[self._vertices].T, corners.T
        plain = getattr(skfem, straight)(np.ascontiguousarray(places), np.ascontiguousarray(order))
        self._nodes = self._vertices
        if curved:
            pairs = plain.facets if mesh.dim == 2 else plain.edges
            middles = _lookup(corners[:, np.array(shape.edges)], cells[:, shape.corners :], pairs.T)
            self._nodes = np.concatenate([self._vertices, middles])
            bent = getattr(skfem, curved).from_mesh(plain)
            plain = replace(bent, doflocs=np.ascontiguousarray(mesh.coordinates[self._nodes].T))
        if len(self._nodes) != len(mesh):
            raise DataError(
                f"FiniteElements: {len(mesh) - len(self._nodes)} of {len(mesh)} nodes belong to no {kind}."
            )
        # Two degrees more than a stiffness with constant coefficients needs: for mass, curves, coefficients.
        self._accuracy = 2 * self.degree
        self.basis = skfem.CellBasis(plain, getattr(skfem, element)(), intorder=self._accuracy)
        self._boundaries: dict[str, Any] = {}

    @cached_property
    def order(self) -> Integers:
        """The unknown of scikit-fem at each node, (node,)."""
        dofs = self.basis.dofs
        rows = [dofs.nodal_dofs]
        if self.degree == 2:
            rows.append(dofs.facet_dofs if self.mesh.dim == 2 else dofs.edge_dofs)
        found = np.empty(len(self.mesh), dtype=np.int64)
        found[self._nodes] = np.concatenate(rows, axis=1)[0]
        return found

    def unknowns(self, values: Float) -> Float:
        """The vector of unknowns with values (node,); ``found[order]`` are those of a vector ``found``."""
        found = np.empty(len(self.mesh))
        found[self.order] = values
        return found

    def facets(self, name: str) -> Integers:
        """Numbers of the facets of a named boundary; "boundary" is all of it on meshes without that name.

        Raises
        ------
        ConfigError
            If there is no such boundary, or it has no facet.
        """
        mesh = self.mesh
        every: Integers = self.basis.mesh.boundary_facets()
        names = () if mesh.boundary is None else mesh.boundary_names
        if name == WHOLE and name not in names:
            return every
        if name not in names:
            raise ConfigError(
                f"FiniteElements: the mesh has no boundary {name!r}, only "
                f"{', '.join(map(repr, names[1:])) or repr(WHOLE)}.{nearest(name, names)} "
                "tag_boundary gives names to a mesh."
            )
        found: Integers = every[self.tags_of(every) == names.index(name)]
        if not len(found):
            raise ConfigError(f"FiniteElements: no facet has all its nodes on the boundary {name!r}.")
        return found

    def tags_of(self, facets: Integers) -> Integers:
        """Positions in the mesh's boundary names."""
        mesh = self.mesh
        assert mesh.boundary is not None
        if self.degree == 2 and mesh.dim == 2:
            middles: Integers = mesh.boundary[self._nodes[len(self._vertices) + facets]]
            return middles
        ends = mesh.boundary[self._vertices[self.basis.mesh.facets[:, facets]]]
        return np.where(ends.min(axis=0) == 0, 0, ends.max(axis=0))

    def nodes(self, name: str) -> Integers:
        """Numbers of the nodes on the facets of a boundary."""
        return np.flatnonzero(np.isin(self.order, self.basis.get_dofs(self.facets(name)).flatten()))

    def boundary_basis(self, name: str) -> Any:
        """A skfem.FacetBasis on the facets of a boundary."""
        if name not in self._boundaries:
            self._boundaries[name] = scikit_fem().FacetBasis(
                self.basis.mesh, self.basis.elem, facets=self.facets(name), intorder=self._accuracy
            )
        return self._boundaries[name]

    def quadrature(self, who: str, value: Value, name: str | None = None) -> Float:
        """A value at the quadrature points, (cell or facet, point).

        A callable is evaluated there, values at nodes are interpolated, and values of cells are constant in
        them.

        Parameters
        ----------
        who : str
            For messages.
        value : Value
        name : str, optional
            Of a boundary; by default the cells.

        Raises
        ------
        ShapeError
            If it has another shape.
        DataError
            If it is not finite.
        """
        basis = self.basis if name is None else self.boundary_basis(name)
        points = np.asarray(basis.global_coordinates())
        shape = points.shape[1:]
        values = np.asarray(value(*points) if callable(value) else value, dtype=np.float64)
        if values.shape == (len(self.mesh),):
            values = np.asarray(basis.interpolate(self.unknowns(values)))
        elif values.shape == shape[:1] and name is None:
            values = np.repeat(values[:, None], shape[1], axis=1)
        if values.shape not in ((), shape):
            raise ShapeError(
                f"{who} is a number, a function of the coordinates, or one value for each of "
                f"{len(self.mesh)} nodes or {self.basis.mesh.nelements} cells, got shape {values.shape}."
            )
        if not np.isfinite(values).all():
            raise DataError(f"{who} is not finite everywhere.")
        return np.array(np.broadcast_to(values, shape))

    def nodal_values(self, who: str, value: Value) -> Float:
        """A value at the nodes, (node,): a number, a function of the coordinates, or an array as it is.

        Raises
        ------
        ShapeError
            If it has another shape.
        DataError
            If it is not finite.
        """
        given = value(*self.mesh.coordinates.T) if callable(value) else value
        values = np.asarray(given, dtype=np.float64)
        if values.shape not in ((), (len(self.mesh),)):
            raise ShapeError(
                f"{who} is a number, a function of the coordinates or one value for each of {len(self.mesh)} "
                f"nodes, got shape {values.shape}."
            )
        if not np.isfinite(values).all():
            raise DataError(f"{who} is not finite everywhere.")
        return np.array(np.broadcast_to(values, (len(self.mesh),)))

    def integral(self, value: Value, name: str | None = None) -> float:
        """Over the domain, or over a boundary of that name."""
        basis = self.basis if name is None else self.boundary_basis(name)
        return float(np.sum(self.quadrature("integral: value", value, name) * basis.dx))

    def moments(self, values: Float, name: str | None = None) -> Float:
        """Integrals of a function times those of the basis, from its values at the quadrature points."""
        form = scikit_fem().LinearForm(lambda v, w: w["f"] * v)
        return np.asarray(form.assemble(self.basis if name is None else self.boundary_basis(name), f=values))

    def cell_gradients(self, unknowns: Float) -> Float:
        """Derivatives at the nodes of each cell, (dim, cell, node of the cell)."""
        return np.asarray(self._node_basis.interpolate(unknowns).grad)

    @cached_property
    def _node_basis(self) -> Any:
        """A skfem.CellBasis whose quadrature points are the nodes of the cells."""
        corners = np.array(self.basis.elem.doflocs).T
        weights = np.full(corners.shape[1], 1 / corners.shape[1])
        return scikit_fem().CellBasis(self.basis.mesh, self.basis.elem, quadrature=(corners, weights))

    def averaged(self, values: Float) -> Float:
        """Values at the nodes of cells, (..., cell, node of the cell), averaged over the cells around a node
        with their measures as weights, (..., node)."""
        cells = self.basis.element_dofs.T
        weights = np.broadcast_to(self.basis.dx.sum(axis=1)[:, None], cells.shape)
        total = np.bincount(cells.ravel(), weights.ravel())
        rows = (values * weights).reshape(-1, cells.size)
        sums = np.stack([np.bincount(cells.ravel(), row) for row in rows]) / total
        return np.asarray(sums[:, self.order].reshape(*values.shape[:-2], len(self.mesh)))


def scikit_fem() -> Any:
    """The module skfem.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    try:
        import skfem
        import skfem.helpers
    except ImportError as error:
        raise ConfigError(
            "Finite elements need scikit-fem; pip install 'sciml-pde[fem]' brings it."
        ) from error
    return skfem


class Constrained:
    """Systems A x = b with the same symmetric definite A and some x given, factorized once.

    SuperLU in its symmetric mode: minimum degree on A + A^T after Cuthill and McKee's order, no pivoting.

    Parameters
    ----------
    who : str
        For messages.
    matrix : scipy.sparse matrix
    known : (k,) integers
        Of the x that are given; their rows of the system are left out.
    """

    def __init__(self, who: str, matrix: Any, known: Integers) -> None:
        from scipy.sparse.csgraph import reverse_cuthill_mckee
        from scipy.sparse.linalg import splu

        self._who, self._known = who, known
        self._free = np.setdiff1d(np.arange(matrix.shape[0]), known)
        self._rows = matrix.tocsr()[self._free]
        self._factors: Any = None
        self._block = self._rows[:, self._free]
        if not len(self._free):
            return
        # Minimum degree can take minutes in the order of a refined mesh, and does not after this one.
        order = reverse_cuthill_mckee(self._block, symmetric_mode=True)
        self._free = self._free[order]
        self._rows = self._rows[order]
        self._block = self._rows[:, self._free].tocsc()
        try:
            self._factors = splu(
                self._block,
                permc_spec="MMD_AT_PLUS_A",
                diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            )
        except RuntimeError as error:
            raise DataError(f"{who}: the matrix is singular.") from error

    def solve(self, load: Float, values: Float) -> Float:
        """The x with the given ``values`` at ``known``.

        Raises
        ------
        DataError
            If the relative residual is above 1e-8: A is singular, or far from definite.
        """
        found = np.zeros(len(load))
        found[self._known] = values
        if self._factors is None:
            return found
        right = load[self._free] - self._rows @ found
        free = found[self._free] = self._factors.solve(right)
        scale = float((np.abs(self._block) @ np.abs(free) + np.abs(right)).max())
        residual = float(np.abs(right - self._block @ free).max())
        if not residual <= 1e-8 * scale:
            raise DataError(
                f"{self._who}: the matrix is singular or not definite; the relative residual is "
                f"{residual / scale:.1e}."
            )
        return found


def _lookup(edges: Integers, middles: Integers, pairs: Integers) -> Integers:
    """The middle node of each pair of vertices, from the edges (cell, edge, 2) and middles (cell, edge)."""
    base = int(max(edges.max(), pairs.max())) + 1
    keys = np.sort(edges.reshape(-1, 2), axis=1) @ [base, 1]
    known, first = np.unique(keys, return_index=True)
    wanted = np.sort(pairs, axis=1).astype(np.int64) @ [base, 1]
    return np.asarray(middles.ravel()[first[np.searchsorted(known, wanted)]])
