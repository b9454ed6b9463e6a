"""Small files in exactly the layouts of other programs, written without sciml."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import meshio
import numpy as np
import pytest
import scipy.io
import torch
import xarray

from sciml.errors import DataError

Array = np.ndarray[Any, Any]
Write = Callable[[Path], Path]


def values(*shape: int, seed: int = 0, dtype: str = "f4") -> Array:
    return np.random.default_rng(seed).random(shape).astype(dtype)


def wave(count: int, frames: int, n: int, dtype: str = "f4") -> Array:
    """Sines that travel on the cells of a periodic unit interval, (count, frames, n)."""
    x, t = (np.arange(n) + 0.5) / n, 0.01 * np.arange(frames)
    phase = np.random.default_rng(1).random((count, 1, 1))
    return np.sin(2 * np.pi * (x - t[:, None] + phase)).astype(dtype)


def hdf5(path: Path, arrays: dict[str, Any], **attributes: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
        file.attrs.update(attributes)
    return path


def cells(n: int, lower: float = 0.0, upper: float = 1.0) -> Array:
    return (lower + (np.arange(n) + 0.5) * (upper - lower) / n).astype("f4")


def mat73(path: Path, arrays: dict[str, Array]) -> Path:
    """As MATLAB 7.3 and hdf5storage write: a user block, axes reversed, classes as attributes."""
    names = {"f8": "double", "f4": "single", "b1": "logical", "i4": "int32"}
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            given = array.T
            if array.dtype.kind == "c":
                given = np.rec.fromarrays([array.T.real, array.T.imag], names="real,imag")
            dataset = file.create_dataset(name, data=given)
            dataset.attrs["MATLAB_class"] = np.bytes_(names.get(array.dtype.str[1:], "double"))
    with path.open("r+b") as file:
        head = (
            b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1 00:00:00 2024 HDF5 schema 1.00 ."
        )
        file.write(head.ljust(116) + bytes(8) + b"\x00\x02IM")
    return path


# PDEBench


def pdebench_advection(path: Path) -> Path:
    return hdf5(
        path,
        {
            "tensor": wave(20, 5, 16),
            "x-coordinate": cells(16),
            "t-coordinate": (0.01 * np.arange(6)).astype("f4"),
        },
        beta=np.float64(0.4),
    )


def pdebench_burgers(path: Path) -> Path:
    pdebench_advection(path)
    with h5py.File(path, "a") as file:
        del file.attrs["beta"]
        file.attrs["Nu"] = 0.01
    return path


def pdebench_darcy(path: Path) -> Path:
    return hdf5(
        path,
        {
            "nu": np.where(values(20, 8, 6) > 0.5, 1.0, 0.1).astype("f4"),
            "tensor": values(20, 1, 8, 6, seed=1),
            "x-coordinate": cells(8),
            "y-coordinate": cells(6),
            "t-coordinate": np.zeros(1, "f4"),
        },
        beta=1.0,
    )


def pdebench_flow(path: Path, rank: int = 2) -> Path:
    space = (8, 6, 4)[:rank]
    names = ["density", "pressure", "Vx", "Vy", "Vz"][: 2 + rank]
    arrays = {name: values(10, 3, *space, seed=i) for i, name in enumerate(names)}
    axes = {f"{axis}-coordinate": cells(n) for axis, n in zip("xyz", space, strict=False)}
    return hdf5(path, {**arrays, **axes, "t-coordinate": np.arange(4.0)}, eta=1e-8, zeta=1e-8, M=0.1)


def pdebench_smoke(path: Path) -> Path:
    return hdf5(
        path,
        {
            "velocity": values(4, 5, 8, 6, 2),
            "particles": values(4, 5, 8, 6, 1, seed=1),
            "force": values(4, 8, 6, 2, seed=2),
            "t": np.tile(np.arange(5) * 0.005, (4, 1)),
        },
    )


def pdebench_groups(path: Path, components: int = 2, swapped: bool = False) -> Path:
    with h5py.File(path, "w") as file:
        for i in range(10):
            group = file.create_group(f"{i:04d}")
            group["data"] = values(3, *((6, 8) if swapped else (8, 6)), components, seed=i)
            group["grid/t"], group["grid/x"], group["grid/y"] = (
                np.arange(3.0),
                cells(8, -1, 1),
                cells(6, -1, 1),
            )
            group.attrs["config"] = "D_u: 1e-3\nk: 5e-3\n"
    return path


def pdebench_sorption(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        for i in range(10):
            file[f"{i:04d}/data"] = values(3, 8, 1, seed=i)
            file[f"{i:04d}/grid/t"], file[f"{i:04d}/grid/x"] = np.arange(3.0), cells(8)
            file[f"{i:04d}"].attrs["config"] = "D: 5e-4\n"
    return path


# The Well


def well(path: Path, *, samples: int = 3, seed: int = 0, viscosity: float = 0.1) -> Path:
    """Two axes; a scalar in time, a constant scalar, a field of y alone, a vector, a symmetric tensor."""
    text = h5py.string_dtype()
    b, t, nx, ny = samples, 4, 6, 5
    rng = np.random.default_rng(seed)

    def field(
        group: Any, name: str, shape: tuple[int, ...], sample: bool, time: bool, dims: list[bool]
    ) -> None:
        dataset = group.create_dataset(name, data=rng.random(shape).astype("f4"))
        dataset.attrs.update(sample_varying=sample, time_varying=time, dim_varying=dims)

    with h5py.File(path, "w") as file:
        file.attrs.update(
            dataset_name="toy", grid_type="cartesian", n_spatial_dims=2, n_trajectories=b, viscosity=viscosity
        )
        file.attrs.create("simulation_parameters", np.array(["viscosity"], object), dtype=text)
        dimensions = file.create_group("dimensions")
        dimensions.attrs.create("spatial_dims", np.array(["x", "y"], object), dtype=text)
        axes = {"time": np.arange(t) * 0.5, "x": np.arange(nx) / nx, "y": (np.arange(ny) + 0.5) / ny}
        for name, array in axes.items():
            dimensions[name] = array.astype("f4")
            dimensions[name].attrs.update(sample_varying=False, time_varying=False)
        conditions = file.create_group("boundary_conditions")
        for name, axis, kind, n in (("x_periodic", "x", "PERIODIC", nx), ("y_wall", "y", "wall", ny)):
            group = conditions.create_group(name)
            group.attrs.update(bc_type=kind, sample_varying=False, time_varying=False)
            group.attrs.create("associated_dims", np.array([axis], object), dtype=text)
            group["mask"] = np.arange(n) % (n - 1) == 0
        scalars = file.create_group("scalars")
        scalars["viscosity"] = viscosity
        scalars["forcing"] = rng.random(b)
        scalars["clock"] = rng.random(t)
        for name, sample, time in (("viscosity", 0, 0), ("forcing", 1, 0), ("clock", 0, 1)):
            scalars[name].attrs.update(sample_varying=bool(sample), time_varying=bool(time))
        fields = {
            "t0_fields": [
                ("density", (b, t, nx, ny), True, True, [True, True]),
                ("mask", (nx, ny), False, False, [True, True]),
                ("profile", (b, ny), True, False, [False, True]),
            ],
            "t1_fields": [("velocity", (b, t, nx, ny, 2), True, True, [True, True])],
            "t2_fields": [("stress", (b, t, nx, ny, 2, 2), True, True, [True, True])],
        }
        for group_name, listed in fields.items():
            group = file.create_group(group_name)
            group.attrs.create("field_names", np.array([f[0] for f in listed], object), dtype=text)
            for entry in listed:
                field(group, *entry)
    return path


def well_folder(path: Path) -> Path:
    for i, (split, count) in enumerate((("train", 3), ("valid", 1), ("test", 2))):
        (path / "data" / split).mkdir(parents=True)
        well(path / "data" / split / f"toy_{i}.hdf5", samples=count, seed=0, viscosity=0.1 * (i + 1))
    return path


# FNO


def fno_darcy(path: Path) -> Path:
    arrays = {name: values(12, 9, 9, seed=i, dtype="f8") for i, name in enumerate(("coeff", "sol", "Kcoeff"))}
    scipy.io.savemat(path, arrays, do_compression=True)
    return path


def fno_burgers(path: Path) -> Path:
    a = np.cos(2 * np.pi * (np.arange(32) / 32 + values(12, 1, dtype="f8")))
    scipy.io.savemat(path, {"a": a, "u": a**3})
    return path


def navier_stokes_arrays() -> dict[str, Array]:
    u = values(6, 8, 8, 5)
    return {"a": values(6, 8, 8, seed=1), "u": u, "t": np.arange(1.0, 6.0)[None]}


def fno_navier_stokes(path: Path) -> Path:
    return mat73(path, navier_stokes_arrays())


def fno_viscous(path: Path) -> Path:
    u = values(6, 5, 16, dtype="f8")
    scipy.io.savemat(path, {"input": u[:, 0], "output": u, "tspan": np.linspace(0, 1, 5)[None], "gamma": 2.5})
    return path


# Others


def mppde(
    path: Path,
    resolutions: tuple[str, ...] = ("pde_6-8",),
    splits: Any = (("train", 5), ("valid", 2), ("test", 3)),
) -> Path:
    with h5py.File(path, "w") as file:
        for i, (split, count) in enumerate(splits):
            for name in resolutions:
                nt, nx = (int(n) for n in name[4:].split("-"))
                x = np.arange(nx) * 16 / nx
                file[f"{split}/{name}"] = np.cos(np.pi * x / 8 + values(count, nt, 1, seed=i, dtype="f8"))
                file[f"{split}/{name}"].attrs.update(
                    dt=0.8, dx=16 / nx, nt=nt, nx=nx, tmin=0.0, tmax=4.0, x=x
                )
            for j, name in enumerate(("alpha", "beta", "gamma")):
                file[f"{split}/{name}"] = values(count, seed=10 * i + j, dtype="f8")
    return path


def pdearena(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        for i, (split, count) in enumerate((("train", 4), ("valid", 2))):
            for j, name in enumerate(("u", "vx", "vy")):
                file[f"{split}/{name}"] = values(count, 3, 8, 6, seed=10 * i + j)
            file[f"{split}/t"] = np.tile(np.arange(3) * 1.5, (count, 1))
            file[f"{split}/x"] = np.tile(cells(8, 0, 32), (count, 1))
            file[f"{split}/y"] = np.tile(cells(6, 0, 32), (count, 1))
            file[f"{split}/buo_y"] = values(count, seed=i)
    return path


def cfdbench(path: Path) -> Path:
    for i, frames in enumerate((4, 3, 4)):
        case = path / f"case{i:04d}"
        case.mkdir(parents=True)
        for j, name in enumerate("uv"):
            np.save(case / f"{name}.npy", values(frames, 5, 6, seed=10 * i + j))
        (case / "case.json").write_text(json.dumps({"vel_in": 0.1 * i, "density": 1, "note": "inlet"}))
    return path


def gnot_samples() -> list[list[Any]]:
    return [
        [
            values(5 + i, 2, seed=i),
            values(5 + i, 3, seed=i + 10),
            values(2, seed=i + 20),
            (values(4 + i, 3, seed=i + 30), values(3, 2, seed=i + 40)),
        ]
        for i in range(6)
    ]


def gnot_torch(path: Path) -> Path:
    def tensors(item: Any) -> Any:
        if isinstance(item, list | tuple):
            return type(item)(tensors(part) for part in item)
        return torch.from_numpy(item)

    torch.save(tensors(gnot_samples()), path)
    return path


def gnot_npz(path: Path) -> Path:
    arrays = {}
    for i, (x, y, theta, functions) in enumerate(gnot_samples()):
        arrays |= {f"X_{i}": x, f"Y_{i}": y, f"theta_{i}": theta}
        arrays |= {f"input_{i}_{j}": array for j, array in enumerate(functions)}
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return path


def gnot_hdf5(path: Path) -> Path:
    arrays = {}
    for i, (x, y, theta, functions) in enumerate(gnot_samples()):
        arrays |= {f"{i}/X": x, f"{i}/Y": y, f"{i}/theta": theta}
        arrays |= {f"{i}/input_{j}": array for j, array in enumerate(functions)}
    return hdf5(path, arrays)


def car(path: Path) -> Path:
    torch.save(
        [
            {
                "vertices": torch.rand(7, 3),
                "vertex_normals": torch.rand(7, 3),
                "press": torch.rand(1, 7),
                "distance": torch.rand(4, 4, 4),
            }
            for _ in range(3)
        ],
        path,
    )
    return path


def npz(path: Path, **arrays: Array) -> Path:
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return path


def reference_npz(path: Path) -> Path:
    t, x = np.linspace(0, 0.99, 7), np.linspace(-1, 1, 9)
    return npz(path, t=t[:, None], x=x[:, None], usol=np.sin(np.pi * x[:, None]) * np.exp(-t))


def reference_mat(path: Path) -> Path:
    """Complex, on a periodic axis without its right end, with MATLAB's row vectors."""
    t, x = np.linspace(0, 1, 7), -5 + 10 * np.arange(16) / 16
    uu = np.exp(2j * np.pi * (x[:, None] / 10 - t))
    scipy.io.savemat(path, {"tt": t[None], "x": x[None], "uu": uu, "nu": 0.5})
    return path


def deeponet(path: Path) -> Path:
    arrays = {f"X_{s}0": values(n, 5, seed=n) for s, n in (("train", 6), ("test", 3))}
    arrays |= {f"X_{s}1": values(7, 2, dtype="f8") for s in ("train", "test")}
    return npz(path, **arrays, y_train=values(6, 7, seed=1), y_test=values(3, 7, seed=2))


def deeponet_grid(path: Path) -> Path:
    scipy.io.savemat(
        path,
        {"X0": values(6, 9), "X1": np.linspace(0, 1, 9)[:, None], "y": values(6, 9, seed=1)},
        appendmat=False,
    )
    return path


def comsol(path: Path) -> Path:
    points = values(9, 2, dtype="f8")
    columns = [np.sin((k + 1) * points[:, 0] + r) for r in (0, 1) for k in range(3)]
    names = [f"u (m/s) @ t={0.1 * k:g}, Re={r}" for r in (10, 20) for k in range(3)]
    head = [
        "% Model:              flow.mph",
        "% Version:            COMSOL 6.0.0.354",
        "% Dimension:          2",
        "% Nodes:              9",
        "% Expressions:        6",
        "% Description:        速度",
        "% Length unit:        mm",
        "% " + "".join(name.ljust(26) for name in ("x", "y", *names)),
    ]
    rows = ["".join(f"{v:.17g}".ljust(26) for v in row) for row in np.column_stack([points, *columns])]
    path.write_text("\n".join(head + rows) + "\n", encoding="utf-8")
    return path


def mesh_vtk(path: Path) -> Path:
    square = meshio.Mesh(
        [[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]],
        [("triangle", [[0, 1, 2], [0, 2, 3]])],
        point_data={"T": np.arange(4.0), "v": values(4, 3)},
        cell_data={"k": [np.array([2.0, 3.0])]},
    )
    meshio.write(path, square, file_format="vtk")
    return path


def mesh_vtu(path: Path) -> Path:
    meshio.write(path, meshio.read(mesh_vtk(path), "vtk"), file_format="vtu")
    return path


def mesh_gmsh(path: Path) -> Path:
    """Version 2.2 with a named boundary."""
    path.write_text(
        """$MeshFormat
2.2 0 8
$EndMeshFormat
$PhysicalNames
2
1 7 "left wall"
2 8 "inside"
$EndPhysicalNames
$Nodes
4
1 0 0 0
2 1 0 0
3 1 1 0
4 0 1 0
$EndNodes
$Elements
3
1 1 2 7 1 1 4
2 2 2 8 1 1 2 3
3 2 2 8 1 1 3 4
$EndElements
"""
    )
    return path


def mesh_medit(path: Path) -> Path:
    cube = meshio.Mesh(values(4, 3, dtype="f8"), [("tetra", [[0, 1, 2, 3]])])
    meshio.write(path, cube, file_format="medit")
    return path


def mesh_su2(path: Path) -> Path:
    path.write_text(
        "% a square\nNDIME= 2\nNELEM= 2\n5 0 1 2 0\n5 0 2 3 1\nNPOIN= 4\n0 0 0\n1 0 1\n1 1 2\n0 1 3\n"
        "NMARK= 2\nMARKER_TAG= inlet\nMARKER_ELEMS= 1\n3 0 3\nMARKER_TAG= wall\nMARKER_ELEMS= 1\n3 1 2\n"
    )
    return path


def neuraloperator(path: Path) -> Path:
    y = torch.from_numpy(values(10, 8, 8)) + 1
    torch.save({"x": y > 1.5, "y": y}, path)
    return path


def netcdf(path: Path) -> Path:
    fields = {
        name: (("sample", "x"), values(10, 8, seed=i), {"sciml_role": role})
        for i, (name, role) in enumerate((("load", "input"), ("heat", "output")))
    }
    xarray.Dataset(fields, coords={"x": np.linspace(0, 2, 8)}).to_netcdf(path, engine="h5netcdf")
    return path


# Reader to the files that it alone must recognize; a new reader belongs here.
EXAMPLES: dict[str, tuple[Write, ...]] = {
    "NeuralOperator": (neuraloperator,),
    "NetCDF": (netcdf,),
    "PDEBench": (
        pdebench_advection, pdebench_burgers, pdebench_darcy, pdebench_flow, pdebench_smoke, pdebench_groups,
        pdebench_sorption,
    ),
    "TheWell": (well, well_folder),
    "FNOFile": (fno_darcy, fno_burgers, fno_navier_stokes, fno_viscous),
    "MessagePassing": (mppde,),
    "PDEArena": (pdearena,),
    "CFDBench": (cfdbench,),
    "PointLists": (gnot_torch, gnot_npz, gnot_hdf5, car),
    "DeepONetFile": (deeponet, deeponet_grid),
    "ReferenceSolution": (reference_npz, reference_mat),
    "TextTable": (comsol,),
    "MeshFile": (mesh_vtk, mesh_vtu, mesh_gmsh, mesh_medit, mesh_su2),
}  # fmt: skip


class Foreign:
    """The writers above, and what they are made of."""

    examples = EXAMPLES
    values = staticmethod(values)
    hdf5 = staticmethod(hdf5)
    mat73 = staticmethod(mat73)
    npz = staticmethod(npz)
    cells = staticmethod(cells)
    gnot_samples = staticmethod(gnot_samples)
    navier_stokes_arrays = staticmethod(navier_stokes_arrays)
    well = staticmethod(well)
    mppde = staticmethod(mppde)
    pdebench_flow = staticmethod(pdebench_flow)
    pdebench_groups = staticmethod(pdebench_groups)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str) -> Path:
        """A file or folder that the writer of this name makes."""
        writer = next(w for listed in EXAMPLES.values() for w in listed if w.__name__ == name)
        return writer(self.folder / name)


@pytest.fixture
def survive() -> Callable[..., None]:
    """Random bytes at random places of a file: read, or refused by DataError, and nothing else."""

    def mutate(source: Path, read: Callable[[Path], Any], count: int, seed: int) -> None:
        raw, rng = source.read_bytes(), np.random.default_rng(seed)
        for i in range(count):
            mutated = bytearray(raw)
            for place in rng.integers(0, len(raw) if i % 3 == 0 else min(500, len(raw)), rng.integers(1, 9)):
                mutated[place] = rng.integers(256)
            source.write_bytes(mutated)
            with contextlib.suppress(DataError):
                read(source)

    return mutate


@pytest.fixture
def foreign(tmp_path: Path) -> Foreign:
    """Files of other programs on demand."""
    return Foreign(tmp_path)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``example``: every pair of a reader and a writer of its files."""
    if "example" in metafunc.fixturenames:
        pairs = [(name, writer) for name, listed in EXAMPLES.items() for writer in listed]
        metafunc.parametrize("example", pairs, ids=[f"{n}-{w.__name__}" for n, w in pairs])
