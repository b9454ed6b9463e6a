"""Steady flow in a square cavity under a moving lid: the generator and the solver of one instance."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.generator import NOTHING, Generator, Values, halved, richardson
from sciml.datasets.numerics.lids import FEW, Profile, flows, grading_of, profile_of
from sciml.datasets.numerics.series import check_settings
from sciml.datasets.solutions import Function, labelled
from sciml.description import describable
from sciml.errors import ConfigError, DivergedError, ShapeError
from sciml.grid import Grid
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray
    from torch import Tensor

Float = NDArray[np.float64]
_WAVES = 4  # of a random lid
_DEGREE = 7  # of the splines that make the data


@describable
@dataclass(frozen=True)
class Cavity(Generator):
    r"""Flow in the unit square under a lid of random speed: (u . grad) u = -grad p + Laplacian(u) / Re.

    The velocity has no divergence and vanishes on the walls, but for the lid y = 1, where it is (lid(x), 0):

        lid(x) = c x^2 (1 - x)^2 sum_{k < 4} a_k cos(pi k x),  a_k ~ N(0, 1 / (1 + k)^2),

    with c such that the largest |lid| is 1.  Re is drawn between ``lowest_reynolds`` and
    ``highest_reynolds``, uniformly in its logarithm.  The lid and its slope vanish in the corners, so that
    vorticity and pressure stay bounded there.  The map to learn is (lid, Re) -> (velocity, p); ``lid`` is
    stored on the whole grid, constant along y, and p is zero in the middle.  Everything is dimensionless.

    Scheme (`StreamFunctionSolver`): collocation of the stream function with splines of degree 7 on
    ``elements`` x ``elements`` graded elements, so that the velocity has no divergence to rounding; Newton's
    method.  The orders of smooth flows are 7 for the velocity and 6 for the pressure; eddies in the corners,
    where the stream function is like r^3.74 (Moffatt 1964), bring them to 4 to 6 and 2 to 4 here.  Fields are
    evaluated at the nodes.

    Parameters
    ----------
    resolution : int
        Nodes per axis, walls included, at least 4.
    elements : int
        Of the solver, per axis, at least 3; 0 takes an eighth of the resolution, but 4 to 12.  Every file
        states its error, that of velocity or pressure, the larger: of 8 samples it is at most 0.12, 0.016 and
        0.005 with 4, 6 and 8 elements, in the median 0.01, 2e-3 and 7e-4.
    lowest_reynolds, highest_reynolds : float, positive

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Checked at Re = 1000 against Botella and Peyret, Computers & Fluids 27 (1998) 421, tables 1 to 3, with the
    lid "sharp" of `solve`.

    Examples
    --------
    >>> lid, reynolds, velocity, p = Cavity(resolution=16).sample([0, 1])
    >>> velocity.shape, bool(np.abs(velocity[:, :, 0]).max() < 1e-12)
    ((2, 2, 16, 16), True)
    >>> bool(np.allclose(velocity[:, 0, :, -1], lid[:, :, -1], atol=1e-3))
    True
    """

    resolution: int = 64
    elements: int = 0
    lowest_reynolds: float = 10.0
    highest_reynolds: float = 400.0

    def __post_init__(self) -> None:
        least = {"resolution": 4, "elements": 3 if self.elements else 0}
        check_settings(self, least=least, positive=("lowest_reynolds", "highest_reynolds"))
        if self.lowest_reynolds > self.highest_reynolds:
            raise ConfigError(
                "Cavity: lowest_reynolds must be at most highest_reynolds, got "
                f"{self.lowest_reynolds} and {self.highest_reynolds}."
            )

    @property
    def _elements(self) -> int:
        return self.elements or min(12, max(4, self.resolution // 8))

    @property
    def grid(self) -> Grid:
        """Nodes of the unit square, walls included."""
        return _nodes(self.resolution)

    @property
    def fields(self) -> tuple[Field, ...]:
        """Input ``lid``, parameter ``reynolds``, outputs ``velocity`` and ``p``."""
        return (
            Field("lid", "input", long_name="speed of the lid"),
            Field("reynolds", "parameter", long_name="Reynolds number"),
            Field("velocity", "output", long_name="velocity", components=2),
            Field("p", "output", long_name="kinematic pressure"),
        )

    @property
    def about(self) -> Provenance:
        """Title, equation, boundary conditions, solver."""
        return Provenance(
            title="Steady flow in a cavity under a moving lid",
            pde="navier_stokes_2d_steady",
            equation=_EQUATION,
            boundary={"x": ("dirichlet", "dirichlet"), "y": ("dirichlet", "dirichlet")},
            solver=f"collocation of the stream function, splines of degree {_DEGREE}; Newton",
        )

    def sample(self, seeds: Sequence[int]) -> tuple[Float, Float, Float, Float]:
        """Lid, Reynolds number, velocity and pressure for each seed, float64.

        Shapes (n, resolution, resolution), (n,), (n, 2, resolution, resolution), (n, resolution, resolution).
        A flow that Newton's method does not find is NaN.
        """
        x, n = self.grid.axes[0].coordinates, self.resolution
        lids, reynolds = np.empty((len(seeds), n, n)), np.empty(len(seeds))
        velocity, p = np.full((len(seeds), 2, n, n), np.nan), np.full((len(seeds), n, n), np.nan)
        for i, seed in enumerate(seeds):
            profile, reynolds[i] = self.draw(seed)
            lids[i] = profile(x)[:, None]
            try:
                flow = flows(profile, float(reynolds[i]), self._elements, _DEGREE, 1.0)[-1]
            except DivergedError:
                continue
            velocity[i], p[i] = flow.velocity(x, x), flow.pressure(x, x)
        return lids, reynolds, velocity, p

    def draw(self, seed: int) -> tuple[Profile, float]:
        """The lid, as a function of x, and the Reynolds number of a seed."""
        random = np.random.default_rng(seed)
        waves = np.arange(_WAVES)
        a = random.standard_normal(_WAVES) / (1 + waves)

        def shape(x: Float) -> Float:
            found: Float = x**2 * (1 - x) ** 2 * (np.cos(math.pi * np.multiply.outer(x, waves)) @ a)
            return found

        largest = np.abs(shape(np.linspace(0.0, 1.0, 1025))).max()
        low, high = math.log(self.lowest_reynolds), math.log(self.highest_reynolds)
        return lambda x: shape(x) / largest, math.exp(random.uniform(low, high))

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Elements per axis."""
        return halved(self._elements, least=3)

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> CavitySolver | None:
        """The same scheme on other elements; the Reynolds numbers must be known."""
        return CavitySolver(resolution, tuple(known["reynolds"].tolist())) if "reynolds" in known else None

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 error of velocity or pressure, the larger, (n,), from 3/2 of the elements.

        Counts on order 3, that of the pressure in the corners.
        """
        finer = dataclasses.replace(self, elements=math.ceil(1.5 * self._elements))
        order = 3 * math.log2(finer.elements / self._elements)
        return richardson(self, finer, seeds, arrays, order=order)


@describable
@dataclass(frozen=True)
class CavitySolver:
    """The solver of certain samples of `Cavity`, on its own elements, evaluated at any nodes.

    The lid is the spline of degree 5 through its values at the nodes.

    Parameters
    ----------
    elements : int
        Per axis, at least 3.
    reynolds : tuple of float
        Of the samples.

    Examples
    --------
    >>> CavitySolver(4, (100.0,)).name
    'splines of degree 7, 4x4 elements'
    """

    elements: int
    reynolds: tuple[float, ...]

    @property
    def name(self) -> str:
        """For tables."""
        return f"splines of degree {_DEGREE}, {self.elements}x{self.elements} elements"

    def predict(self, inputs: Tensor, grid: Grid) -> Tensor:
        """Velocity and pressure (n, 3, *grid.shape) for lids (n, 1, *grid.shape); NaN where not found.

        Raises
        ------
        ShapeError
            If there is not one lid for each Reynolds number.
        """
        import torch

        if tuple(inputs.shape) != (len(self.reynolds), 1, *grid.shape):
            raise ShapeError(
                f"CavitySolver: inputs must have shape ({len(self.reynolds)}, 1, *{grid.shape}), got "
                f"{tuple(inputs.shape)}."
            )
        x, y = (axis.coordinates for axis in grid.axes)
        found = np.full((len(inputs), 3, *grid.shape), np.nan)
        lids = inputs[:, 0, :, -1].detach().cpu().numpy().astype(np.float64)
        for fields, lid, reynolds in zip(found, lids, self.reynolds, strict=True):
            with contextlib.suppress(DivergedError):
                flow = flows(profile_of(lid, grid), reynolds, self.elements, _DEGREE, 1.0)[-1]
                fields[:2], fields[2] = flow.velocity(x, y), flow.pressure(x, y)
        return torch.from_numpy(found).to(device=inputs.device, dtype=inputs.dtype)


def solve(
    lid: str | ArrayLike | Function = "sharp",
    *,
    reynolds: float = 100.0,
    resolution: int = 129,
    elements: int = 16,
    degree: int = 9,
) -> xarray.Dataset:
    """One flow in the unit square under the lid y = 1; the other walls are at rest.

    Parameters
    ----------
    lid : str, number, array or callable
        Speed of the lid along x: "sharp" (1), "regularized" (16 x^2 (1 - x)^2), "parabolic" (4 x (1 - x)); a
        number; a function of an array x; or values (resolution,) at the nodes, which are interpolated.
    reynolds : float
        1 / viscosity for a cavity and a speed of size 1, whatever the lid; 0 for Stokes flow with viscosity
        1.
    resolution : int
        Nodes per axis of the result, walls included; does not change the solution.
    elements, degree : int
        Of the splines.  Elements are graded towards the walls, strongly for a lid that jumps in the corners.

    Returns
    -------
    xarray.Dataset
        ``u``, ``v``, ``p`` (zero in the middle), ``vorticity`` and ``stream`` at the nodes.  Attributes tell
        ``reynolds_path``, the values that Newton's method was led along, ``newton_iterations`` of the last,
        and ``discretization_error``: the relative L2 change of the velocity from 2/3 of the elements to all
        of them, which bounds the error of the result where the elements resolve the flow.

    Raises
    ------
    ConfigError, ShapeError, DataError
        If an argument is out of range, unknown, of another shape or not finite.
    DivergedError
        If Newton's method does not converge; see `StreamFunctionSolver.solve`.

    Notes
    -----
    In a corner where the lid's speed is not zero the velocity is not continuous: vorticity and pressure grow
    like 1/r, which the values at the two corner nodes cannot show.  There, and where the lid's slope is not
    zero, the lid is brought to zero smoothly within the first element (6e-4 wide for "sharp" and 16
    elements).  For "sharp" and Re = 1000 the extrema on the center lines then are within 6e-6 of Botella and
    Peyret, Computers & Fluids 27 (1998) 421.  Those of Ghia, Ghia and Shin, J. Comput. Phys. 48 (1982) 387,
    computed with a scheme of second order, are off by up to 3.4 percent at Re = 100 and 2.2 at Re = 1000.

    Examples
    --------
    >>> flow = solve("regularized", reynolds=100.0, resolution=33, elements=8, degree=7)
    >>> flow["u"].dims, round(float(flow["u"].sel(x=0.5, y=1.0)), 9)
    (('x', 'y'), 1.0)
    """
    whole = all(isinstance(n, Integral) for n in (resolution, elements, degree))
    if not whole or resolution < 2 or elements < FEW:
        raise ConfigError(
            f"cavity.solve: needs whole numbers, resolution >= 2 and elements >= {FEW}, got {resolution}, "
            f"elements={elements} and degree={degree}."
        )
    grid = _nodes(resolution)
    x = grid.axes[0].coordinates
    profile = profile_of(lid, grid)
    coarse, flow = flows(profile, reynolds, elements, degree, grading_of(profile))
    velocity = flow.velocity(x, x)
    change = math.nan
    if coarse is not None:
        size = float(np.linalg.norm(velocity)) or 1.0
        change = float(np.linalg.norm(velocity - coarse.velocity(x, x))) / size
    dims = grid.names
    return labelled(
        {
            "u": (dims, velocity[0], {"units": "1", "long_name": "velocity along x"}),
            "v": (dims, velocity[1], {"units": "1", "long_name": "velocity along y"}),
            "p": (dims, flow.pressure(x, x), {"units": "1", "long_name": "kinematic pressure"}),
            "vorticity": (dims, flow.vorticity(x, x), {"units": "1", "long_name": "vorticity"}),
            "stream": (dims, flow.stream(x, x), {"units": "1", "long_name": "stream function"}),
        },
        grid,
        attributes={
            "equation": _EQUATION,
            "boundary": "(u, v) = (lid(x), 0) at y = 1, 0 on the other walls",
            "solver": f"collocation of the stream function, splines of degree {degree}; Newton",
            "reynolds": reynolds,
            "lid": lid if isinstance(lid, str) else "given",
            "elements": elements,
            "degree": degree,
            "reynolds_path": list((coarse or flow).reynolds_path),
            "newton_iterations": flow.iterations,
            "discretization_error": change,
        },
    )


_EQUATION = (
    r"(u \cdot \nabla) u = -\nabla p + \Delta u / Re, \nabla \cdot u = 0 in (0,1)^2, u = (lid, 0) at y=1"
)


def _nodes(resolution: int) -> Grid:
    return Grid.box((resolution, resolution), location="node")
