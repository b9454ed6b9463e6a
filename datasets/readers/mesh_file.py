"""Meshes of other programs, through meshio: VTK, Gmsh, Medit, SU2 and others."""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciml.cells import cell
from sciml.datasets.readers.containers import marks
from sciml.datasets.readers.foreign import Foreign
from sciml.datasets.readers.pieces import plain_name, real
from sciml.description import describable
from sciml.errors import DataError, ShapeError
from sciml.mesh import Mesh, Points
from sciml.meshes import mesh_from
from sciml.sandbox import examine
from sciml.schema import RESERVED, Field, Provenance, storable

if TYPE_CHECKING:
    import meshio

_BEGINNING = 2**16
# meshio's name of the format, and what a file of it begins with after blank lines and comments.
_DIALECTS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("vtk", re.compile(rb"# vtk DataFile Version")),
    ("gmsh", re.compile(rb"(?:\$Comments\b.*?\$EndComments\s*)?\$MeshFormat\b", re.DOTALL)),
    ("medit", re.compile(rb"(?:#[^\n]*\n\s*)*MeshVersionFormatted\b")),
    ("medit", re.compile(rb"\x01\0\0\0[\x01-\x04]\0\0\0\x03\0\0\0")),  # binary
    ("su2", re.compile(rb"(?:%[^\n]*\n\s*)*(?:NDIME|NZONE)\s*=")),
    (
        "vtu",
        re.compile(rb"(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<VTKFile[^>]*\bUnstructuredGrid\b", re.DOTALL),
    ),
    ("dolfin-xml", re.compile(rb"(?:<\?xml[^>]*>\s*)?<dolfin\b")),
    ("ply", re.compile(rb"ply\r?\n(?:format|comment)")),
    ("off", re.compile(rb"OFF\s")),
    ("stl", re.compile(rb"solid\b[^\n]*\n\s*facet\s")),
    ("abaqus", re.compile(rb"(?:\*\*[^\n]*\n\s*)*\*(?:heading|node|part)\b", re.IGNORECASE)),
    ("nastran", re.compile(rb"(?:\$[^\n]*\n\s*)*BEGIN BULK")),
    ("netgen", re.compile(rb"(?:#[^\n]*\n\s*)*mesh3d\b")),
    ("tecplot", re.compile(rb'(?:TITLE\s*=|VARIABLES\s*=\s*")', re.IGNORECASE)),
)
_NAMES = {"vtk": "legacy VTK", "vtu": "VTK XML", "gmsh": "Gmsh", "medit": "Medit", "su2": "SU2", "med": "MED"}
# What meshio calls the numbers of groups: integers in the cells.
_GROUPS = ("gmsh:physical", "su2:tag", "medit:ref", "cell_tags")


@describable
@dataclass(frozen=True)
class MeshFile:
    """One mesh with its data: legacy VTK, VTU, Gmsh, Medit, SU2, and what else meshio knows by its beginning.

    Data at the points and in the cells are outputs, numbers of groups and other integers are static.  Cells
    of lower dimension in groups (physical groups of Gmsh, markers of SU2, references of Medit) are the
    boundaries of the mesh.  A plane mesh keeps two coordinates.  A mesh without data gets the measure of its
    cells, length, area or volume, as its one field.

    Notes
    -----
    A child process reads the file first, with limits on time and memory.  Formats that keep their values in
    other files (XDMF) and MFEM's own are refused; MFEM saves meshes as VTK as well.

    Examples
    --------
    >>> MeshFile().format
    'a mesh (VTK, Gmsh, Medit, SU2, ... through meshio)'
    """

    @property
    def format(self) -> str:
        """For messages and the converted file."""
        return "a mesh (VTK, Gmsh, Medit, SU2, ... through meshio)"

    def detect(self, path: Path) -> bool:
        """Whether it begins as one of the formats, or is an HDF5 file with the group of MED."""
        return dialect(path) is not None

    def read(self, path: Path) -> Foreign:
        """The content.

        Raises
        ------
        DataError
            If meshio cannot read it, it has cells of an unknown type, or values that are not finite.
        """
        examine(path, check)
        mesh, told = read_mesh(path)
        told = [] if dialect(path) == "su2" else told  # that it has no texts for markers; we do
        notes = [f"{_NAMES.get(str(dialect(path)), str(dialect(path)))} file, read by meshio", *told]
        try:
            place = _place(path, mesh, notes)
        except (DataError, ShapeError) as error:
            raise DataError(f"{path}: {error}") from error
        fields = _point_fields(path, mesh, len(place), notes)
        if isinstance(place, Mesh):
            fields += _cell_fields(path, mesh, {item.name for item, _ in fields}, place.cell_count, notes)
            if not fields:
                measure = {1: "length", 2: "area", 3: "volume"}.get(place.cell_dimension, "measure")
                item = Field("measure", "static", long_name=f"{measure} of cells", on="cells")
                fields = [(item, place.measures()[None])]
                notes.append(f"the file has no data: the {measure} of the cells is the field")
        if not fields:
            raise DataError(f"{path}: has {len(place)} points without cells and without data.")
        return Foreign(
            place,
            tuple(fields),
            provenance=Provenance(title=path.name, dtype_compute="unknown"),
            notes=tuple(notes),
        )


def dialect(path: Path) -> str | None:
    """meshio's name for the format, told by the first bytes."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        beginning = file.read(_BEGINNING)
    start = beginning.lstrip(b"\xef\xbb\xbf \t\r\n")
    for name, pattern in _DIALECTS:
        if pattern.match(start):
            return name
    found = marks(path, "HDF5")
    return "med" if found is not None and any(n.startswith("ENS_MAA/") for n in found.arrays) else None


def check(path: Path) -> dict[str, int]:
    """Read a mesh and count its points: run by `sciml.sandbox.examine`."""
    mesh, _ = read_mesh(path)
    return {"points": len(mesh.points)}


def read_mesh(path: Path) -> tuple[meshio.Mesh, list[str]]:
    """The mesh, and what meshio said on the way.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    import meshio

    name = dialect(path)
    if name in ("vtu", "dolfin-xml"):
        _check_xml(path)
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
            mesh = meshio.read(path, file_format=name)
    except (Exception, SystemExit) as error:  # its readers raise whatever they meet
        reason = " ".join(str(error).split()) or type(error).__name__
        reason = " ".join(told.getvalue().split())[:200] if isinstance(error, SystemExit) else reason
        raise DataError(
            f"{path}: meshio cannot read it as {_NAMES.get(str(name), name)}: {reason[:300]}"
        ) from error
    return mesh, [f"meshio: {text}" for text in [" ".join(told.getvalue().split())[:400]] if text]


def _check_xml(path: Path) -> None:
    """Refuse definitions of entities, which can grow without bound."""
    with path.open("rb") as file:
        while block := file.read(2**20):
            if b"<!DOCTYPE" in block or b"<!ENTITY" in block:
                raise DataError(f"{path}: an XML file that defines entities; not read.")


def _place(path: Path, mesh: meshio.Mesh, notes: list[str]) -> Points:
    """The mesh with its boundaries."""
    points = np.asarray(mesh.points)
    if points.ndim != 2 or not points.size or points.dtype.kind not in "iuf":
        raise DataError(f"the mesh has no points; meshio found {points.dtype} {points.shape}.")
    given = points.shape[1]
    group = next((name for name in _GROUPS if name in mesh.cell_data), None)
    names: tuple[str, ...] = ()
    if group is not None:
        tags, names = _boundary(path, mesh, group, notes)
        if len(names) > 1:
            mesh.point_data["boundary_tag"] = tags
        else:
            names = ()
    place = mesh_from(mesh, boundary_names=names)
    mesh.point_data.pop("boundary_tag", None)
    if place.dim < given:
        notes.append(f"the last of {given} coordinates is the same everywhere and is left out")
    return place


def _boundary(
    path: Path, mesh: meshio.Mesh, group: str, notes: list[str]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """For each point the group of a cell of lower dimension that it belongs to."""
    shapes = [cell(block.type, np.shape(block.data)[1]) for block in mesh.cells]
    highest = max((shape.dimension for shape in shapes), default=0)
    called = {int(tag): name for name, (tag, dim) in mesh.field_data.items() if int(dim) == highest - 1}
    if group == "su2:tag":
        called = _su2_markers(path)
    tags = np.zeros(len(mesh.points), dtype=np.int64)
    names = ["interior"]
    for shape, block, numbers in zip(shapes, mesh.cells, mesh.cell_data[group], strict=True):
        if shape.dimension != highest - 1 or highest < 2:
            continue
        for number in np.unique(numbers):
            name = plain_name(called.get(int(number), "")) or f"boundary_{int(number)}"
            if name not in names:
                names.append(name)
            tags[np.unique(np.asarray(block.data)[numbers == number])] = names.index(name)
    if len(names) > 1:
        notes.append(f"boundaries from {group}: {', '.join(names[1:])}")
    return tags, tuple(names)


def _su2_markers(path: Path) -> dict[int, str]:
    """Names of markers by the numbers that meshio gives them: one more than the last for each text."""
    called, number = {}, 0
    for found in re.finditer(r"^\s*MARKER_TAG\s*=\s*(\S+)", path.read_text(errors="replace"), re.MULTILINE):
        number = int(found[1]) if re.fullmatch(r"-?\d+", found[1]) else number + 1
        called[number] = found[1]
    return called


def _point_fields(path: Path, mesh: meshio.Mesh, count: int, notes: list[str]) -> list[tuple[Field, Any]]:
    fields: list[tuple[Field, Any]] = []
    for name, values in mesh.point_data.items():
        if name == "gmsh:dim_tags":
            continue
        item = _field(path, name, np.asarray(values), count, "points", {i.name for i, _ in fields}, notes)
        fields += [] if item is None else [item]
    return fields


def _cell_fields(
    path: Path, mesh: meshio.Mesh, taken: set[str], count: int, notes: list[str]
) -> list[tuple[Field, Any]]:
    fields: list[tuple[Field, Any]] = []
    for name, blocks in mesh.cell_data.items():
        arrays = [np.asarray(b) for b, block in zip(blocks, mesh.cells, strict=True) if len(block.data)]
        if len({array.shape[1:] for array in arrays}) != 1:
            notes.append(f"{name} has different shapes in the blocks of cells and is left out")
            continue
        names = taken | {i.name for i, _ in fields}
        item = _field(path, name, np.concatenate(arrays), count, "cells", names, notes)
        fields += [] if item is None else [item]
    return fields


def _field(
    path: Path, name: str, values: NDArray[Any], count: int, on: str, taken: set[str], notes: list[str]
) -> tuple[Field, NDArray[Any]] | None:
    """One sample of values (point or cell[, component]); None for what is no numbers of that shape."""
    plain = plain_name(name)
    if plain in RESERVED or plain in taken:
        plain = f"{on[:-1]}_{plain}"
    if plain is None or plain in taken or values.dtype.kind not in "iufbc" or len(values) != count:
        notes.append(f"{name} is left out: {values.dtype} {values.shape} for {count} {on}")
        return None
    values, _ = real(name, values, notes)
    values = values.reshape(count, -1)
    components = values.shape[1]
    if components == 0:
        return None
    static = values.dtype.kind in "iub"
    item = Field(
        plain,
        "static" if static else "output",
        long_name=name,
        components=components,
        on=on,
        rank=0 if components in (1, 2) else None,
    )
    return item, storable(path, name, values[None, :, 0] if components == 1 else values[None], notes)
