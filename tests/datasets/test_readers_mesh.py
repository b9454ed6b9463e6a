"""Meshes through meshio: every dialect by its content, boundaries by name, near misses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import meshio
import numpy as np
import pytest

from sciml.datasets.readers import MeshFile, convert, open_any
from sciml.datasets.readers.mesh_file import dialect
from sciml.errors import DataError
from sciml.mesh import Mesh


def test_data_at_points_and_in_cells(foreign: Any, tmp_path: Path) -> None:
    for name in ("mesh_vtk", "mesh_vtu"):
        data = convert(foreign(name), tmp_path / f"{name}.h5")
        mesh = data.mesh(0)
        assert isinstance(mesh, Mesh) and mesh.dim == 2 and mesh.cell_count == 2
        assert [(f.name, f.role, f.components, f.on) for f in data.fields.values()] == [
            ("T", "output", 1, "points"),
            ("v", "output", 3, "points"),
            ("k", "output", 1, "cells"),
        ]
        assert data.arrays("T")[0].tolist() == [0, 1, 2, 3] and data.arrays("k")[0].tolist() == [2, 3]
        np.testing.assert_array_equal(data.arrays("v")[0], foreign.values(4, 3))
        assert "last of 3 coordinates" in data.attributes["conversion_notes"]


def test_groups_of_lower_cells_are_boundaries(foreign: Any, tmp_path: Path) -> None:
    data = convert(foreign("mesh_gmsh"), tmp_path / "a.h5")
    mesh = data.mesh(0)
    assert isinstance(mesh, Mesh) and mesh.boundary is not None
    assert mesh.boundary_names == ("interior", "left_wall") and mesh.boundary.tolist() == [1, 0, 0, 1]
    data = convert(foreign("mesh_su2"), tmp_path / "b.h5")
    mesh = data.mesh(0)
    assert isinstance(mesh, Mesh) and mesh.boundary is not None
    assert mesh.boundary_names == ("interior", "inlet", "wall") and mesh.boundary.tolist() == [1, 2, 2, 1]
    assert abs(float(mesh.weights().sum()) - 1.0) < 1e-15


def test_a_mesh_without_data_has_the_measure_of_its_cells(tmp_path: Path) -> None:
    square = meshio.Mesh([[0.0, 0.0], [1, 0], [1, 1], [0, 1]], [("triangle", [[0, 1, 2], [0, 2, 3]])])
    meshio.write(tmp_path / "a", square, file_format="off")
    data = convert(tmp_path / "a", tmp_path / "a.h5")
    assert data.arrays("measure")[0].tolist() == [0.5, 0.5]
    assert "the file has no data" in data.attributes["conversion_notes"]


def test_real_meshes(test_data: Path, tmp_path: Path) -> None:
    """Counts of the notes that come with the files."""
    expected = {
        "mesh_mfem/beam-tet.vtk": (36, {"tetra": 48}),
        "mesh_mfem/beam-hex.vtk": (36, {"hexahedron": 8}),
        "mesh_mfem/fichera-mixed-p2.vtk": (None, {"tetra10": 5, "hexahedron27": 3, "wedge18": 6}),
        "mesh_mfem/square-disc-p2.vtk": (356, {"triangle6": 154}),
        "mesh_mfem/periodic-square.msh": (None, {"quad": 16}),
        "mesh_skfem/mixedtriquad.msh": (None, {"triangle": 16, "quad": 36}),
        "mesh_skfem/annulus.msh": (None, {"triangle": 98}),
        "mesh_skfem/cylinder_stokes.msh": (None, {"triangle": 293}),
        "mesh_skfem/tagged_gmsh4.msh": (None, {"triangle": 80}),
        "mesh_skfem/beams.msh": (None, {"tetra": 851}),
        "mesh_su2/mesh_NACA0012_5deg_6814.su2": (3559, {"triangle": 6814, "line": 304}),
        "mesh_sfepy/helmholtz_apartment.vtk": (401, {"triangle": 752}),
        "mesh_sfepy/cube_medium_hexa.mesh": (1331, {"hexahedron": 1000}),
    }
    for name, (points, cells) in expected.items():
        data = convert(test_data / name, tmp_path / "a.h5")
        mesh = data.mesh(0)
        assert isinstance(mesh, Mesh), name
        counts: dict[str, int] = {}
        for kind, array in mesh.cells:
            counts[kind] = counts.get(kind, 0) + len(array)
        assert points in (None, len(mesh)), name
        assert {kind: counts[kind] for kind in cells} == cells, name
    names = convert(test_data / "mesh_skfem/annulus.msh", tmp_path / "b.h5").space.boundary_names
    assert set(names) == {"interior", "inter", "exter"}
    wing = convert(test_data / "mesh_su2/mesh_NACA0012_5deg_6814.su2", tmp_path / "c.h5")
    assert "airfoil" in wing.space.boundary_names


def test_dialects_are_told_by_content(foreign: Any, test_data: Path, tmp_path: Path) -> None:
    for name in ("vtk", "vtu", "gmsh", "medit", "su2"):
        assert dialect(foreign(f"mesh_{name}")) == name
    for name in ("star.mesh", "square-disc.mesh"):  # Medit's suffix
        assert dialect(test_data / "mesh_mfem" / name) is None
        with pytest.raises(DataError, match="a mesh in MFEM's own format, which meshio does not read"):
            open_any(test_data / "mesh_mfem" / name, cache=tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b"# vtk DataFile Version 3.0\nx\nASCII\nDATASET STRUCTURED_POINTS\n",
            "cannot read it as legacy VTK",
        ),
        (b"$MeshFormat\n9.9 0 8\n$EndMeshFormat\n", "cannot read it as Gmsh"),
        (b"MeshVersionFormatted 2\nDimension 3\nVertices 10\n1 2 3 0\n", "cannot read it as Medit|finite"),
        (b"NDIME= 2\nNPOIN= 3\n0 0\n", "cannot read it as SU2"),
        (b"OFF\n1000000000 1 0\n0 0 0\n", "cannot read it as off"),
        (b'<VTKFile type="UnstructuredGrid"><!ENTITY a "b">', "defines entities"),
    ],
)
def test_near_misses(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(DataError, match=words):
        MeshFile().read(tmp_path / "a")
