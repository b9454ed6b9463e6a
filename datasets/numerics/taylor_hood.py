"""Plane incompressible flow on quadratic triangles, for reference solutions in domains of any shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.numerics.finite_elements import FiniteElements, Value, scikit_fem
from sciml.datasets.numerics.series import instants
from sciml.errors import ConfigError, DataError
from sciml.mesh import Mesh

Float = NDArray[np.float64]
Force = tuple[Value, Value]
Velocity = tuple[Value | None, Value | None]

_ITERATIONS = 30
_SMALL = 1e-12  # of the largest value: what Newton's last step changes


def steady(
    mesh: Mesh, *, viscosity: float, velocity: Mapping[str, Velocity], force: Force = (0.0, 0.0)
) -> Float:
    """The flow with ``(w . grad) w + grad p = viscosity Laplace(w) + force`` and ``div w = 0``.

    Velocities of degree 2 and pressures of degree 1 (Taylor and Hood), Newton's method from the flow without
    inertia.  Where the solution is smooth, errors in L2 are of order 3 (velocity) and 2 (pressure).

    Parameters
    ----------
    mesh : Mesh
        Of "triangle6".
    viscosity : float, positive
    velocity : mapping
        From names of boundaries to (u, v) there.  A component that is None is free, as both are on
        boundaries that are not named: its part of ``viscosity dw/dn = p n`` holds.  Somewhere flow must be
        free to leave, which fixes p.
    force : (Value, Value)

    Returns
    -------
    (node, 3)
        u, v and p at the nodes of the mesh.

    Raises
    ------
    ConfigError
        If the mesh is another one, the viscosity not positive, or nothing is free.
    DataError
        If Newton's method does not converge: approach small viscosities from larger ones.

    Notes
    -----
    Source: Taylor and Hood, A numerical solution of the Navier-Stokes equations using the finite element
    technique, Comput. Fluids 1 (1973) 73; Heywood, Rannacher and Turek, Artificial boundaries and flux and
    pressure conditions for the incompressible Navier-Stokes equations, Int. J. Numer. Meth. Fluids 22 (1996)
    325, for open boundaries.

    Examples
    --------
    Flow in a channel is a parabola, which these elements contain:

    >>> from sciml.datasets.numerics.curves import Polygon
    >>> from sciml.datasets.numerics.meshing import Domain
    >>> channel = Polygon.rectangle((0, 0), (2, 1), ("wall", "outlet", "wall", "inlet"))
    >>> mesh = Domain(channel).triangulate(0.5).mesh(degree=2)
    >>> parabola = lambda x, y: 4 * y * (1 - y)
    >>> flow = steady(mesh, viscosity=0.1, velocity={"wall": (0.0, 0.0), "inlet": (parabola, 0.0)})
    >>> bool(np.abs(flow[:, 0] - parabola(*mesh.coordinates.T)).max() < 1e-12)
    True
    """
    flow = _Flow(mesh, viscosity, velocity)
    held = flow.held(velocity)
    load = flow.load(force)
    state = flow.solved(flow.stokes, load, held)
    for _ in range(_ITERATIONS):
        slow, fast = flow.convection(state, newton=True)
        # Newton's step, written for the new state: A(w) + A'(w) w' = load + (w . grad) w.
        found = flow.solved(flow.stokes + fast, load + slow @ state, held)
        change, state = float(np.abs(found - state).max()), found
        if change <= _SMALL * float(np.abs(found).max()):
            return flow.at_nodes(state)
    raise DataError(
        f"taylor_hood.steady: Newton's method still changes the flow by {change:.1e} after {_ITERATIONS} "
        f"iterations; viscosity {viscosity:g} may be too small for a steady flow on this mesh."
    )


def unsteady(
    mesh: Mesh,
    *,
    viscosity: float,
    velocity: Callable[[float], Mapping[str, Velocity]],
    force: Callable[[float], Force],
    times: ArrayLike,
    step: float,
) -> Iterator[Float]:
    """Frames (node, 3) of the flow from rest at time 0, as `steady` with boundaries and forces in time.

    Steps of order 2 by backward differences, the first one of order 1; the velocity that carries is
    extrapolated, so that a step is one linear system.

    Parameters
    ----------
    mesh, viscosity
        See `steady`.
    velocity, force : functions of time
        The names of boundaries are the same at all times.
    times : (frames,) increasing, not negative
        Of the frames, multiples of the step.
    step : float, positive

    Raises
    ------
    ConfigError
        If times or step are out of range, or as `steady`.
    """
    frames = np.array(instants("taylor_hood.unsteady", times))
    counts = np.round(frames / step).astype(int)
    if frames[0] < 0 or not step > 0 or np.abs(counts * step - frames).max() > 1e-9 * step * counts.max():
        raise ConfigError(
            f"taylor_hood.unsteady: needs times >= 0 that are multiples of the step, got step {step}."
        )
    flow = _Flow(mesh, viscosity, velocity(0.0))
    mass = flow.mass / step
    before = state = np.zeros(mass.shape[0])
    for k in range(int(counts[-1]) + 1):
        if k:
            time = k * step
            carrier = 2 * state - before if k > 1 else state
            weight, past = (1.5, 2 * state - before / 2) if k > 1 else (1.0, state)
            matrix = flow.stokes + weight * mass + flow.convection(carrier, newton=False)[0]
            load = flow.load(force(time)) + mass @ past
            before, state = state, flow.solved(matrix, load, flow.held(velocity(time)))
        if k in counts:
            yield flow.at_nodes(state)


@dataclass(frozen=True)
class _Held:
    unknowns: NDArray[np.int64]
    values: Float


class _Flow:
    """Matrices for unknowns (u, v, p), one after the other."""

    def __init__(self, mesh: Mesh, viscosity: float, velocity: Mapping[str, Velocity]) -> None:
        skfem = scikit_fem()
        self.elements = FiniteElements(mesh)
        if self.elements.degree != 2 or mesh.dim != 2 or not viscosity > 0:
            raise ConfigError(
                "taylor_hood: needs a plane mesh of triangle6 and a positive viscosity, got degree "
                f"{self.elements.degree} in {mesh.dim} dimensions and {viscosity}."
            )
        if all(None not in velocity.get(name, (None,)) for name in mesh.boundary_names[1:]):
            raise ConfigError(
                "taylor_hood: flow must be free to leave somewhere, to fix the pressure; all of "
                f"{', '.join(mesh.boundary_names[1:])} have both components."
            )
        self.viscosity = viscosity
        self._basis = self.elements.basis
        self._pressures = self._basis.with_element(skfem.ElementTriP1())
        self.size = self._basis.N

    @cached_property
    def stokes(self) -> Any:
        """Friction, pressure, and minus the divergence."""
        skfem = scikit_fem()
        dot, grad = skfem.helpers.dot, skfem.helpers.grad
        friction = self.viscosity * skfem.BilinearForm(lambda u, v, w: dot(grad(u), grad(v))).assemble(
            self._basis
        )
        drop = [
            skfem.BilinearForm(lambda u, q, w, i=i: -grad(u)[i] * q).assemble(self._basis, self._pressures)
            for i in range(2)
        ]
        return self._blocks(
            [[friction, None, drop[0].T], [None, friction, drop[1].T], [drop[0], drop[1], None]]
        )

    @cached_property
    def mass(self) -> Any:
        """Of the velocities."""
        one = scikit_fem().BilinearForm(lambda u, v, w: u * v).assemble(self._basis)
        return self._blocks([[one, None, None], [None, one, None], [None, None, self._nothing]])

    def convection(self, state: Float, *, newton: bool) -> tuple[Any, Any]:
        """``(w . grad) .`` by the velocity w of a state, and that with ``(. grad) w`` added if wanted."""
        skfem = scikit_fem()
        u, v = (self._basis.interpolate(state[i * self.size : (i + 1) * self.size]) for i in range(2))
        form = skfem.BilinearForm(
            lambda a, b, w: (w["u"] * skfem.helpers.grad(a)[0] + w["v"] * skfem.helpers.grad(a)[1]) * b
        )
        carried = form.assemble(self._basis, u=u, v=v)
        slow = self._blocks([[carried, None, None], [None, carried, None], [None, None, self._nothing]])
        if not newton:
            return slow, None
        weighted = skfem.BilinearForm(lambda a, b, w: w["c"] * a * b)
        turned = [[weighted.assemble(self._basis, c=c.grad[j]) for j in range(2)] for c in (u, v)]
        return slow, slow + self._blocks(
            [[*turned[0], None], [*turned[1], None], [None, None, self._nothing]]
        )

    def load(self, force: Force) -> Float:
        parts = [self.elements.moments(self.elements.quadrature("force", value)) for value in force]
        return np.concatenate([*parts, np.zeros(self._pressures.N)])

    def held(self, velocity: Mapping[str, Velocity]) -> _Held:
        """The velocities on the boundaries; where two meet the later one counts."""
        known: dict[int, float] = {}
        for name, components in velocity.items():
            nodes = self.elements.nodes(name)
            unknowns = self.elements.order[nodes]
            for i, value in enumerate(components):
                if value is None:
                    continue
                values = self.elements.nodal_values(f"velocity on {name!r}", value)[nodes]
                known |= dict(zip((unknowns + i * self.size).tolist(), values.tolist(), strict=True))
        return _Held(np.array(list(known), dtype=np.int64), np.array(list(known.values())))

    def solved(self, matrix: Any, load: Float, held: _Held) -> Float:
        from scipy.sparse.linalg import splu

        found = np.zeros(len(load))
        found[held.unknowns] = held.values
        free = np.setdiff1d(np.arange(len(load)), held.unknowns)
        rows = matrix.tocsr()[free]
        try:
            found[free] = splu(rows[:, free].tocsc()).solve(load[free] - rows @ found)
        except RuntimeError as error:
            raise DataError(
                "taylor_hood: the matrix is singular; is the flow free to leave through some boundary?"
            ) from error
        if not np.isfinite(found).all():
            raise DataError(
                "taylor_hood: the flow is not finite; the mesh is too coarse or the step too long."
            )
        return found

    def at_nodes(self, state: Float) -> Float:
        """u, v and p at the nodes, (node, 3)."""
        u, v, p = np.split(state, [self.size, 2 * self.size])
        # The pressure as a function of degree 2: in the middle of a side the mean of its ends.
        mesh = self._basis.mesh
        pressure = np.empty(self.size)
        dofs = self._basis.dofs
        corners = self._pressures.dofs.nodal_dofs[0]
        pressure[dofs.nodal_dofs[0]] = p[corners]
        pressure[dofs.facet_dofs[0]] = p[corners[mesh.facets]].mean(axis=0)
        return np.stack([u, v, pressure], axis=1)[self.elements.order]

    @cached_property
    def _nothing(self) -> Any:
        from scipy.sparse import csr_array

        return csr_array((self._pressures.N, self._pressures.N))

    @staticmethod
    def _blocks(rows: Any) -> Any:
        from scipy.sparse import block_array

        return block_array(rows, format="csr")
