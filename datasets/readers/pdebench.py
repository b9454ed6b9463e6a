"""Files of PDEBench: trajectories in one array, Darcy flow, compressible and incompressible flow, and files
with one group for each sample.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.readers.axes import unit_axis
from sciml.datasets.readers.containers import Contents, attributes_of, contents, load, marks, opened, room
from sciml.datasets.readers.foreign import Foreign
from sciml.datasets.readers.pieces import (
    AXES,
    first_tenth,
    grid_of,
    lacking,
    last_tenth,
    numbers_in,
    times_of,
)
from sciml.description import describable
from sciml.errors import DataError
from sciml.grid import Grid
from sciml.schema import Field, Provenance, storable

FLOW = ("density", "pressure", "Vx", "Vy", "Vz")  # in the order of PDEBench's channels
SMOKE = ("velocity", "particles", "force")

_SEED = re.compile(r"(\d{4,})/(.+)")


@describable
@dataclass(frozen=True)
class PDEBench:
    """HDF5 files of PDEBench (Takamoto et al., NeurIPS 2022), by the names in their root.

    =============================  ==============================================================
    names                          dataset
    =============================  ==============================================================
    tensor, x-, t-coordinate, ...  state "u"
    tensor, nu, x-, y-coordinate   Darcy flow: input "a", output "u"
    density, pressure, Vx, ...     states of those names
    velocity, particles, force, t  states "velocity", "particles", input "force"
    0000/data, 0000/grid/x, ...    state "u", as many components as data has
    =============================  ==============================================================

    The split is PDEBench's: the first tenth of the samples is for the test, but the last in files with one
    group for each sample.

    Notes
    -----
    - ``t-coordinate`` has one entry more than there are frames; the last one is left out.
    - The coefficient of the Burgers equation is Nu / pi; that is the attribute ``viscosity``.
    - Numbers in the root are attributes of the dataset, the text ``config`` is ``pdebench_config``.
    - Grids are the coordinates in the file; incompressible flow has none and lies on the unit square.

    Examples
    --------
    >>> PDEBench().format
    'a PDEBench file'
    """

    @property
    def format(self) -> str:
        """For messages and the converted file."""
        return "a PDEBench file"

    def detect(self, path: Path) -> bool:
        """Whether an HDF5 file holds names of one of the layouts."""
        found = marks(path, "HDF5")
        return found is not None and _layout(found) is not None

    def read(self, path: Path) -> Foreign:
        """The content.

        Raises
        ------
        DataError
            If names are missing or shapes do not belong together.
        """
        found = contents(path)
        layout = None if found is None else _layout(found)
        if found is None or layout is None:
            raise DataError(f"{path}: not a file of PDEBench.")
        return layout(path, found)


def _layout(found: Contents) -> Callable[[Path, Contents], Foreign] | None:
    names = found.names()
    if "tensor" in names:
        return _darcy if "nu" in names else _trajectories
    if len(names & set(FLOW)) > 1:
        return _flow
    if len(names & set(SMOKE)) > 1:
        return _smoke
    return _groups if any(_SEED.fullmatch(name) for name in names) else None


def _needed(path: Path, found: Contents, names: set[str]) -> None:
    if missing := names - found.names():
        raise lacking(path, "a PDEBench file", sorted(missing)[:8], found.listing())


def _space(path: Path, found: Contents, shape: tuple[int, ...]) -> list[tuple[str, NDArray[Any]]]:
    """Coordinates of each axis of ``shape``, one entry more left out."""
    names = [f"{axis}-coordinate" for axis in AXES[: len(shape)]]
    _needed(path, found, set(names))
    arrays = load(path, names)
    for name, size in zip(names, shape, strict=True):
        if arrays[name].shape != (size,):
            raise DataError(
                f"{path}: {name} has shape {arrays[name].shape}; expected {(size,)}, the axis of the fields."
            )
    return [(name[0], arrays[name]) for name in names]


def _trajectories(path: Path, found: Contents) -> Foreign:
    """``tensor`` (sample, time, *space)."""
    _needed(path, found, {"tensor", "t-coordinate", "x-coordinate"})
    arrays = load(path, ("tensor", "t-coordinate"))
    u, notes = arrays["tensor"], list[str]()
    if u.ndim not in (3, 4, 5):
        raise DataError(f"{path}: tensor has shape {u.shape}; expected (sample, time, x), perhaps y, z.")
    numbers = numbers_in(found.attributes)
    pde = ""
    if u.ndim == 3 and "Nu" in numbers and "rho" not in numbers:
        pde, numbers["viscosity"] = "burgers_1d", numbers["Nu"] / math.pi
        notes.append(f"the coefficient of u_xx is Nu / pi = {numbers['viscosity']:.6g}")
    elif u.ndim == 3 and "rho" in numbers:
        pde = "reaction_diffusion_1d"
    elif u.ndim == 3 and "beta" in numbers:
        pde = "advection_1d"
    space = _space(path, found, u.shape[2:])
    return _foreign(
        grid_of(path, space, u, range(2, u.ndim), notes),
        {"u": (Field("u", "state", long_name="tensor of the file", time=True), u)},
        path,
        notes,
        times=times_of(path, arrays["t-coordinate"], u.shape[1], notes),
        attributes=numbers,
        pde=pde,
    )


def _darcy(path: Path, found: Contents) -> Foreign:
    """``nu`` (sample, x, y), ``tensor`` (sample, 1, x, y)."""
    _needed(path, found, {"nu", "tensor", "x-coordinate", "y-coordinate"})
    arrays = load(path, ("nu", "tensor"))
    a, u = arrays["nu"], arrays["tensor"]
    if u.ndim != 4 or u.shape[1] != 1 or a.shape != (u.shape[0], *u.shape[2:]):
        raise DataError(
            f"{path}: nu has shape {a.shape} and tensor {u.shape}; expected (sample, x, y) and "
            "(sample, 1, x, y), as in files of Darcy flow."
        )
    notes = ["nu is the coefficient a; u is a march in time stopped at t = 2, not always steady"]
    numbers = numbers_in(found.attributes)
    if "beta" in numbers:
        notes.append(f"the source term is beta = {numbers['beta']:g}")
    return _foreign(
        grid_of(path, _space(path, found, a.shape[1:]), a, (1, 2), notes, periodic=False),
        {
            "a": (Field("a", "input", long_name="diffusion coefficient, nu of the file"), a),
            "u": (Field("u", "output", long_name="tensor of the file"), u[:, 0]),
        },
        path,
        notes,
        attributes=numbers,
        pde="darcy_2d",
    )


def _flow(path: Path, found: Contents) -> Foreign:
    """density, pressure, Vx, ... (sample, time, *space)."""
    rank = max(1, len([name for name in FLOW[2:] if name in found.arrays]))
    if "density" in found.arrays:
        rank = len(found.arrays["density"].shape) - 2
    if rank not in (1, 2, 3):
        raise DataError(
            f"{path}: density has shape {found.arrays['density'].shape}; expected time and space."
        )
    names = FLOW[: 2 + rank]
    _needed(path, found, {*names, "t-coordinate"})
    arrays = load(path, (*names, "t-coordinate"))
    shapes = {name: arrays[name].shape for name in names}
    if len(set(shapes.values())) != 1:
        raise DataError(f"{path}: expected fields of one shape (sample, time, *space), got {shapes}.")
    notes: list[str] = []
    density = arrays["density"]
    space = _space(path, found, density.shape[2:])
    return _foreign(
        grid_of(path, space, density, range(2, density.ndim), notes),
        {name: (Field(name, "state", time=True), arrays[name]) for name in names},
        path,
        notes,
        times=times_of(path, arrays["t-coordinate"], density.shape[1], notes),
        attributes=numbers_in(found.attributes),
        pde=f"compressible_navier_stokes_{rank}d",
    )


def _smoke(path: Path, found: Contents) -> Foreign:
    """velocity (sample, time, x, y, 2), particles (..., 1), force (sample, x, y, 2), t (sample, time)."""
    _needed(path, found, {*SMOKE, "t"})
    arrays = load(path, (*SMOKE, "t"))
    velocity, particles, force = (arrays[name] for name in SMOKE)
    if (
        velocity.ndim != 5
        or velocity.shape[-1] != 2
        or particles.shape != (*velocity.shape[:-1], 1)
        or force.shape != (velocity.shape[0], *velocity.shape[2:])
    ):
        raise DataError(
            f"{path}: velocity, particles and force have the shapes {velocity.shape}, {particles.shape}, "
            f"{force.shape}; expected (sample, time, x, y, 2), (sample, time, x, y, 1), (sample, x, y, 2)."
        )
    axes = [unit_axis(name, velocity.shape[2 + i], None, "cell") for i, name in enumerate("xy")]
    notes = [note for _, note in axes]
    return _foreign(
        Grid(tuple(axis for axis, _ in axes)),
        {
            "velocity": (Field("velocity", "state", components=2, time=True), np.moveaxis(velocity, -1, 2)),
            "particles": (Field("particles", "state", time=True), particles[..., 0]),
            "force": (Field("force", "input", components=2), np.moveaxis(force, -1, 1)),
        },
        path,
        notes,
        times=times_of(path, arrays["t"], velocity.shape[1], notes),
        attributes=numbers_in(found.attributes),
        pde="navier_stokes_2d_smoke",
    )


def _groups(path: Path, found: Contents) -> Foreign:
    """One group for each sample: data (time, *space, component), grid/t, grid/x, grid/y."""
    seeds = sorted({match[1] for name in found.arrays if (match := _SEED.fullmatch(name))})
    first = found.arrays.get(f"{seeds[0]}/data")
    shape = () if first is None else first.shape
    rank = len(shape) - 2
    if first is not None and rank not in (1, 2, 3):
        raise DataError(f"{path}: {seeds[0]}/data has shape {shape}; expected (time, *space, component).")
    axes = AXES[: max(rank, 1)]
    wanted = ("data", "grid/t", *(f"grid/{axis}" for axis in axes))
    _needed(path, found, {f"{seed}/{name}" for seed in seeds for name in wanted})
    for seed in seeds:
        if found.arrays[f"{seed}/data"].shape != shape:
            raise DataError(
                f"{path}: {seed}/data has shape {found.arrays[f'{seed}/data'].shape} and {seeds[0]}/data "
                f"{shape}; expected the same."
            )
    notes = [f"one group for each sample, from {seeds[0]} to {seeds[-1]}"]
    with opened(path) as file:
        data = room((len(seeds), *shape), np.dtype(np.float32) if first is None else first.dtype)
        for i, seed in enumerate(seeds):
            file[f"{seed}/data"].read_direct(data[i])
        texts = attributes_of(file) | attributes_of(file[seeds[0]])
    grids = load(path, [f"{seeds[0]}/grid/{axis}" for axis in ("t", *axes)])
    space = [(axis, grids[f"{seeds[0]}/grid/{axis}"]) for axis in axes]
    u = np.moveaxis(data, -1, 2)  # (sample, time, component, *space)
    places = _order(path, [len(points) for _, points in space], u.shape[3:], notes)
    u = np.moveaxis(u, [3 + place for place in places], range(3, u.ndim))
    attributes: dict[str, Any] = dict(numbers_in(texts))
    if isinstance(texts.get("config"), str) and texts["config"]:
        attributes["pdebench_config"] = texts["config"]
    components = u.shape[2]
    return _foreign(
        # Their problems have walls, sorption columns and open ends: none is periodic.
        grid_of(path, space, u, range(3, u.ndim), notes, periodic=False),
        {"u": (Field("u", "state", long_name="data", components=components, time=True, rank=0), u)},
        path,
        notes,
        times=times_of(path, grids[f"{seeds[0]}/grid/t"], u.shape[1], notes),
        attributes=attributes,
        split=last_tenth(len(seeds)),
    )


def _order(path: Path, sizes: list[int], shape: tuple[int, ...], notes: list[str]) -> list[int]:
    """Where x, y, z are among the axes of the data: as stored, or the other way round if the sizes say so."""
    if tuple(sizes) == shape:
        if len(set(sizes)) < len(sizes):
            notes.append("axes as stored: the first one is called x; their sizes do not tell")
        return list(range(len(shape)))
    if tuple(sizes[::-1]) == shape:
        notes.append("the data had the order y, x and is turned")
        return list(range(len(shape)))[::-1]
    raise DataError(f"{path}: data has {shape} points, the grid {tuple(sizes)}.")


def _foreign(
    grid: Grid,
    fields: dict[str, tuple[Field, NDArray[Any]]],
    path: Path,
    notes: list[str],
    *,
    times: NDArray[np.float64] | None = None,
    attributes: dict[str, Any],
    pde: str = "",
    split: NDArray[np.int8] | None = None,
) -> Foreign:
    stored = tuple((item, storable(path, item.name, array, notes)) for item, array in fields.values())
    count = len(stored[0][1])
    which = "first" if split is None else "last"
    notes.append(f"the {which} tenth of the samples is for the test, as in PDEBench")
    return Foreign(
        grid,
        stored,
        split=first_tenth(count) if split is None else split,
        times=times,
        attributes=attributes,
        provenance=Provenance(title=f"{path.name}, a file of PDEBench", pde=pde, dtype_compute="unknown"),
        notes=tuple(notes),
    )
