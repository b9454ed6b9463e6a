"""A trained network where it can be looked at: u, its error and its residual on a grid or on a mesh.

They go out as `xarray.Dataset` and as `meshio.Mesh`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sciml.calling import dtype_of, evaluating
from sciml.files import replace_file_atomic, temporary_name
from sciml.grid import Axis, Grid, Location
from sciml.mesh import Mesh, Points
from sciml.pinns.conditions import Function
from sciml.pinns.problem import Problem, Solution, predict, residuals
from sciml.pinns.unknowns import Unknowns, functions_of

if TYPE_CHECKING:
    import meshio
    import xarray

Float = NDArray[np.float64]

# Points per coordinate where there is no reference: for a line, a surface, a volume.
_SIZES = {1: 401, 2: 101, 3: 33}
_NUMBERS = 2**21  # coordinates whose residuals are found together
_ROWS = 2**13  # points whose residuals are found together, with graphs
_HELD = 2**24  # coordinates of all points of a slice
_TOLD = 20  # coordinates of a slice that are written down
_SIMPLICES = {1: "line", 2: "triangle", 3: "tetra"}
_BOXES = {1: "line", 2: "quad", 3: "hexahedron"}


@dataclass(frozen=True)
class Fields:
    """Fields on one place.

    Attributes
    ----------
    place : Grid or Points
        Time is an axis like the others.
    values : mapping of names to arrays
        ``u``, ``error`` (network minus reference, where that is known) and ``residual``; of a system ``u1``,
        ``error_u1``, ... and ``residual_NAME`` for each equation; ``coefficient_NAME`` for each unknown
        function.  (*grid.shape) or (point,); NaN outside.
    held : mapping of names to numbers
        Coordinates that do not vary, of a slice through more than three.
    about : mapping
        Attributes of files.
    """

    place: Grid | Points
    values: Mapping[str, Float]
    held: Mapping[str, float] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def to_xarray(self) -> xarray.Dataset:
        """One variable per field: over the axes of the grid, or over ``point`` with coordinates there."""
        import xarray

        attributes = {"units": "1"}
        if isinstance(self.place, Grid):
            dims: tuple[str, ...] = self.place.names
            coords: dict[str, Any] = {a.name: (a.name, a.coordinates, attributes) for a in self.place.axes}
        else:
            dims = ("point",)
            columns = zip(self.place.names, self.place.coordinates.T, strict=True)
            coords = {name: (dims, column, attributes) for name, column in columns}
        coords |= {name: ((), value, attributes) for name, value in self.held.items()}
        variables = {name: (dims, values, attributes) for name, values in self.values.items()}
        return xarray.Dataset(variables, coords, dict(self.about))

    def to_meshio(self) -> meshio.Mesh:
        """Points in space, missing coordinates 0, and the fields on them; cells that reach outside are left
        out."""
        import meshio

        place = _cells_of(self.place) if isinstance(self.place, Grid) else self.place
        flat = {name: np.ascontiguousarray(values.reshape(-1)) for name, values in self.values.items()}
        known = np.all([np.isfinite(values) for values in flat.values()], axis=0)
        blocks = place.cells if isinstance(place, Mesh) else (("vertex", np.arange(len(place))[:, None]),)
        kept = [(kind, corners[known[corners].all(axis=1)]) for kind, corners in blocks]
        # Points that no cell needs, where nothing is known, would be NaN in the file.
        used = np.zeros(len(place), dtype=bool)
        for _, corners in kept:
            used[corners.ravel()] = True
        number = np.cumsum(used) - 1
        coordinates = np.zeros((int(used.sum()), 3))
        coordinates[:, : place.dim] = place.coordinates[used]
        return meshio.Mesh(
            coordinates,
            [(kind, number[corners]) for kind, corners in kept],
            point_data={name: values[used] for name, values in flat.items()},
        )

    def write(self, folder: Path, stem: str = "solution") -> list[Path]:
        """Write ``STEM.nc`` (netCDF) and ``STEM.vtu`` (VTK), whole or not at all."""
        written = [folder / f"{stem}.nc", folder / f"{stem}.vtu"]
        temporary = [temporary_name(path) for path in written]
        self.to_xarray().to_netcdf(temporary[0], engine="h5netcdf")
        self.to_meshio().write(temporary[1], file_format="vtu")
        for made, path in zip(temporary, written, strict=True):
            replace_file_atomic(made, path)
        return written


def fields_of(
    problem: Problem,
    model: nn.Module,
    *,
    coefficients: Mapping[str, Tensor | Function] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Fields:
    """u, error and residual of a network.

    Of a problem with up to three coordinates, time included, on the points of its reference, else on a grid
    over its domain; of one with more on the plane of the first two through the middle.

    Parameters
    ----------
    problem : Problem
    model : module
        Points (n, dim) to (n,), of a system (n, outputs).
    coefficients : mapping of names to numbers and functions
        The unknown ones as they were found, by default as they start.  A function becomes a field
        ``coefficient_NAME``.
    about : mapping
        Attributes of files.
    """
    known = Unknowns(problem.coefficients, problem.domain).values() if coefficients is None else coefficients
    place, x, truth, held = _looked_at(problem)
    u = predict(model, x, problem.outputs)
    names = names_of_outputs(problem)
    columns = dict(zip(names, u.T, strict=True))
    if truth is not None:
        columns |= dict(zip(_marked("error", names), (u - truth).T, strict=True))
    found = _residuals(problem, model, x, known)
    columns |= dict(zip(_marked("residual", list(found)), found.values(), strict=True))
    functions = functions_of(known)
    columns |= {f"coefficient_{name}": predict(f, x, 1)[:, 0] for name, f in functions.items()}
    if not _has_places(problem):
        inside = problem.domain.contains(x)
        columns = {name: torch.where(inside, values, torch.nan) for name, values in columns.items()}
    shape = place.shape if isinstance(place, Grid) else (len(place),)
    arrays = {name: values.reshape(shape).numpy() for name, values in columns.items()}
    return Fields(place, arrays, held, dict(about or {}))


def _marked(mark: str, names: list[str]) -> list[str]:
    """The mark alone for one name, else with each of them."""
    return [mark] if len(names) == 1 else [f"{mark}_{name}" for name in names]


def names_of_outputs(problem: Problem) -> list[str]:
    """``u``, of a system ``u1``, ``u2``, ..."""
    return ["u"] if problem.outputs == 1 else [f"u{k + 1}" for k in range(problem.outputs)]


def names_of_coordinates(problem: Problem) -> list[str]:
    """``x``, ``y``, ``z``, in more dimensions ``x1``, ``x2``, ...; and ``t``."""
    d = problem.domain.space.dim
    space = [*"xyz"][:d] if d <= 3 else [f"x{i + 1}" for i in range(d)]
    return space + ([] if problem.domain.time is None else ["t"])


def box_grid(problem: Problem, shape: tuple[int, ...], location: Location = "node") -> Grid:
    """A grid over the bounds of the domain, of the first coordinates if there are more than axes."""
    names, bounds = names_of_coordinates(problem), problem.domain.bounds
    axes = zip(names, bounds, shape, strict=False)
    return Grid(tuple(Axis(name, *ends, size, location) for name, ends, size in axes))


def _has_places(problem: Problem) -> bool:
    """Whether there is a reference at points that can be drawn."""
    return problem.domain.dim <= 3 and problem.has_reference


def _looked_at(problem: Problem) -> tuple[Grid | Points, Tensor, Tensor | None, dict[str, float]]:
    """Place, points (n, dim), values of the reference (n, outputs) if known, coordinates that are held."""
    if _has_places(problem):
        known = problem.reference()
        return grid_of(problem, known) or _mesh(problem, known.x), known.x, known.values, {}
    dim = problem.domain.dim
    rank = dim if dim <= 3 else 2
    # Of a hundred thousand coordinates a few points make a gigabyte.
    size = min(_SIZES[rank], max(2, math.isqrt(_HELD // dim)))
    grid = box_grid(problem, (size,) * rank)
    x = torch.from_numpy(_points_of(grid))
    held: dict[str, float] = {}
    if dim > rank:
        middle = torch.tensor(problem.domain.bounds, dtype=torch.float64).mean(dim=1)[rank:]
        x = torch.cat([x, middle.expand(len(x), -1)], dim=1)
        # A file that tells a hundred thousand coordinates helps nobody.
        if dim <= _TOLD:
            held = dict(zip(names_of_coordinates(problem)[rank:], middle.tolist(), strict=True))
    formula = type(problem).exact is not Problem.exact
    truth = problem.exact(x).reshape(len(x), -1) if formula else None
    return grid, x, truth, held


def grid_of(problem: Problem, known: Solution) -> Grid | None:
    """The grid of a reference, of nodes or of cells; None if its points are on neither."""
    if known.shape is None:
        return None
    locations: tuple[Location, ...] = ("node", "cell")
    for location in locations:
        grid = box_grid(problem, known.shape, location)
        size = max(axis.upper - axis.lower for axis in grid.axes)
        if np.allclose(_points_of(grid), known.x.numpy(), rtol=0, atol=1e-9 * size):
            return grid
    return None


def _points_of(grid: Grid) -> Float:
    """(point, rank), the last axis first to vary."""
    return np.stack([c.ravel() for c in grid.coordinates()], axis=1)


def _mesh(problem: Problem, x: Tensor) -> Points:
    """The points of a reference that are on no grid, and Delaunay's cells between them inside the domain."""
    from scipy.spatial import Delaunay, QhullError

    places = x.numpy()
    names = tuple(names_of_coordinates(problem))
    if x.shape[1] == 1:
        order = np.argsort(places[:, 0], kind="stable")
        cells = np.stack([order[:-1], order[1:]], axis=1)
    else:
        try:
            cells = Delaunay(places).simplices.astype(np.int64)
        except QhullError:  # too few points, or all on one line
            return Points(places, names)
    centers = torch.from_numpy(places[cells].mean(axis=1))
    kept = cells[problem.domain.contains(centers).numpy()]
    return (
        Mesh(places, names, cells=((_SIMPLICES[x.shape[1]], kept),)) if len(kept) else Points(places, names)
    )


def _cells_of(grid: Grid) -> Mesh:
    """A grid of up to three axes as lines, quadrilaterals or hexahedra."""
    numbers = np.arange(int(np.prod(grid.shape))).reshape(grid.shape)
    # The corners of a cell in the order of VTK: around the bottom, then around the top.
    around = [(0,), (1,)] if grid.rank == 1 else [(0, 0), (1, 0), (1, 1), (0, 1)]
    if grid.rank == 3:
        around = [(*corner, up) for up in (0, 1) for corner in around]
    corners = [
        numbers[tuple(slice(o, n - 1 + o) for o, n in zip(offsets, grid.shape, strict=True))].ravel()
        for offsets in around
    ]
    return Mesh(_points_of(grid), grid.names, cells=((_BOXES[grid.rank], np.stack(corners, axis=1)),))


def _residuals(
    problem: Problem, model: nn.Module, x: Tensor, coefficients: Mapping[str, Tensor | Function]
) -> dict[str, Tensor]:
    """What should be zero, at many points, by name; (n,) each, float64 on the processor."""
    device = next((p.device for p in model.parameters()), x.device)
    parts: dict[str, list[Tensor]] = {}
    with evaluating(model):
        for rows in x.split(min(_ROWS, max(1, _NUMBERS // x.shape[1]))):
            # With graphs: a residual may take its derivatives by reverse mode.
            place = rows.to(device, dtype_of(model))
            found = residuals(problem, model, place, coefficients=dict(coefficients))
            for name, values in found.items():
                parts.setdefault(name, []).append(values.detach().double().cpu())
    return {name: torch.cat(values) for name, values in parts.items()}
