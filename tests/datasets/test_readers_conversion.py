"""From a file of any format to a dataset: recognized, converted once, refused with a reason."""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sciml.dataset import Dataset, open_dataset
from sciml.datasets.readers import (
    READERS,
    MessagePassing,
    NetCDF,
    NeuralOperator,
    ReferenceSolution,
    convert,
    open_any,
)
from sciml.datasets.readers.conversion import recognize, split_by_hash
from sciml.description import build, describe
from sciml.errors import DataError


def saved(path: Path, **tensors: Any) -> Path:
    torch.save(tensors, path)
    return path


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


# Kind and number of samples, or words of the refusal, for every file that comes with the project.
REAL = {
    "deepxde/Allen_Cahn.mat": ("grid", 1),
    "deepxde/Burgers.npz": ("grid", 1),
    "deepxde/Lorenz.npz": ("points", 1),
    "deepxde/Poisson_Lshape.npz": ("points", 1),
    "deepxde/mf_hi_test.dat": ("grid", 1),
    "deepxde/mf_hi_train.dat": ("grid", 1),
    "deepxde/mf_lo_train.dat": ("grid", 1),
    "deepxde/reaction.npz": r"axes of equal length, so it may be \(x, t\) or \(t, x\)",
    "deepxde/stokes.npz": r"a NumPy archive that holds arr_0 \(10201, 3\)",
    "foreign_hdf5/compound-dtype-complex.h5": r"HDF5 file without dimension scales that holds <c16 \(100,\)",
    "foreign_hdf5/vlen_string_dset_utc.h5": r"that holds ds1 \(type object\)",
    "foreign_netcdf/example_1.nc": "nothing says which variables are inputs and which outputs",
    "mesh_mfem/beam-hex.vtk": ("mesh", 1),
    "mesh_mfem/beam-tet.vtk": ("mesh", 1),
    "mesh_mfem/compass.msh": ("mesh", 1),
    "mesh_mfem/fichera-mixed-p2.vtk": ("mesh", 1),
    "mesh_mfem/periodic-square.msh": ("mesh", 1),
    "mesh_mfem/square-disc-p2.vtk": ("mesh", 1),
    "mesh_mfem/square-disc.mesh": "a mesh in MFEM's own format",
    "mesh_mfem/star.mesh": "a mesh in MFEM's own format",
    "mesh_sfepy/citroen.h5": r"HDF5 file without dimension scales that holds last_step",
    "mesh_sfepy/cube_medium_hexa.mesh": ("mesh", 1),
    "mesh_sfepy/helmholtz_apartment.vtk": ("mesh", 1),
    "mesh_skfem/annulus.msh": ("mesh", 1),
    "mesh_skfem/beams.msh": ("mesh", 1),
    "mesh_skfem/cylinder_stokes.msh": ("mesh", 1),
    "mesh_skfem/mixedtriquad.msh": ("mesh", 1),
    "mesh_skfem/tagged_gmsh4.msh": ("mesh", 1),
    "mesh_su2/mesh_NACA0012_5deg_6814.su2": ("mesh", 1),
    "neuraloperator/burgers_train_16.pt": ("grid", 800),
    "neuraloperator/darcy_train_16.pt": ("grid", 1000),
    "neuraloperator/mini_car.pt": ("points", 3),
    "pina/advection_input_training.pt": "a torch archive of bare tensors without names",
    "pina/advection_output_training.pt": "a torch archive of bare tensors without names",
    "pinnacle/burgers1d.dat": ("grid", 1),
    "pinnacle/heat_longtime.dat": ("grid", 1),
    "pinnacle/lid_driven_a4.dat": ("points", 1),
    "pinnacle/ns_0_obstacle.dat": ("points", 1),
    "pinnacle/poisson1_cg_data.dat": ("points", 1),
    "pysindy/burgers.mat": ("grid", 1),
    "pysindy/kuramoto_sivishinky.mat": ("grid", 1),
    "raissi_pinns/AC.mat": ("grid", 1),
    "raissi_pinns/NLS.mat": ("grid", 1),
    "raissi_pinns/burgers_shock.mat": ("grid", 1),
    "raissi_pinns/cylinder_nektar_t0_vorticity.mat": ("points", 1),
}


@pytest.mark.parametrize("name", REAL)
def test_every_real_file_is_read_or_refused_for_a_reason(name: str, test_data: Path, tmp_path: Path) -> None:
    expected = REAL[name]
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected):
            open_any(test_data / name, cache=tmp_path)
        return
    data = open_any(test_data / name, cache=tmp_path)
    assert (data.kind, len(data)) == expected
    assert data.attributes["conversion_notes"]


def test_no_real_file_is_forgotten(test_data: Path) -> None:
    assert {p.relative_to(test_data).as_posix() for p in test_data.glob("*/*")} == set(REAL)


def test_a_refusal_names_what_was_tried(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\x00\x01\x02")
    with pytest.raises(DataError, match="Tried: a neuraloperator file") as refusal:
        open_any(tmp_path / "a", cache=tmp_path)
    assert all(reader.format in str(refusal.value) for reader in READERS)


def test_an_ordered_dictionary_is_a_dictionary(tmp_path: Path) -> None:
    torch.save(OrderedDict(x=random(4, 8), y=random(4, 8)), tmp_path / "a.pt")
    assert len(open_any(tmp_path / "a.pt", cache=tmp_path)) == 4


def small(folder: Path) -> Path:
    return saved(folder / "small.pt", x=random(10, 8), y=random(10, 8, seed=1))


def test_our_own_file_is_opened_as_it_is(tmp_path: Path) -> None:
    data = convert(small(tmp_path), tmp_path / "own.dat")
    opened = open_any(data.path, cache=tmp_path / "untouched")
    assert isinstance(opened, Dataset) and opened.path == data.path
    assert not (tmp_path / "untouched").exists()
    with pytest.raises(DataError, match="is a sciml dataset already"):
        convert(data.path, tmp_path / "again.h5")
    raw = bytearray(data.path.read_bytes())
    raw[raw.find(data.load("a")[3].tobytes())] ^= (
        1  # damage is for open_dataset to name, not "an unknown format"
    )
    (tmp_path / "damaged.dat").write_bytes(raw)  # another file: HDF5 shares what it holds of open ones
    with pytest.raises(DataError, match="damaged.dat"):
        open_any(tmp_path / "damaged.dat", cache=tmp_path).verify()


def test_the_cache_follows_content_and_settings(tmp_path: Path) -> None:
    source, cache = small(tmp_path), tmp_path / "deep" / "cache"
    first = open_any(source, cache=cache)
    (tmp_path / "elsewhere").mkdir()
    moved = Path(shutil.copy(source, tmp_path / "elsewhere" / "small.pt"))
    assert open_any(moved, cache=cache).path == first.path
    assert open_any(source, cache=cache, seed=1).path != first.path
    assert open_any(source, cache=cache, fractions=(1.0, 0.0, 0.0)).path != first.path
    saved(source, x=random(10, 8), y=random(10, 8, seed=2))
    assert open_any(source, cache=cache).path != first.path
    first.path.write_bytes(b"damaged")
    assert open_any(moved, cache=cache).digest == first.digest
    # Two conversions of one file are equal byte by byte.
    convert(moved, tmp_path / "a.h5")
    convert(moved, tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert open_dataset(tmp_path / "a.h5").digest == first.digest


def test_a_split_without_validation_samples_gets_some(foreign: Any, tmp_path: Path) -> None:
    path = foreign("pdebench_advection")
    first, other = (convert(path, tmp_path / f"{s}.h5", seed=s).variable("split") for s in (0, 1))
    assert (first[:2] == 2).all() and (first[2:] < 2).all() and (first == 1).sum() == 1
    assert (first != other).any()
    none = convert(path, tmp_path / "none.h5", fractions=(1.0, 0.0, 0.0)).variable("split")
    assert np.bincount(none).tolist() == [18, 0, 2]


def test_splits_are_exact_disjoint_and_seeded() -> None:
    for count, expected in ((1000, [800, 100, 100]), (10, [8, 1, 1]), (9, [7, 1, 1]), (2, [2, 0, 0])):
        assert np.bincount(split_by_hash(count, (0.8, 0.1, 0.1), 0), minlength=3).tolist() == expected
    one, other = (split_by_hash(200, (0.8, 0.1, 0.1), seed) for seed in (0, 1))
    assert (one == split_by_hash(200, (0.8, 0.1, 0.1), 0)).all() and (one != other).any()
    for wrong in ((0.5, 0.5, 0.5), (0.0, 0.5, 0.5), (1.1, -0.1, 0.0)):
        with pytest.raises(DataError, match="three shares that sum to 1"):
            split_by_hash(10, wrong, 0)


def test_readers_keep_their_settings_and_never_look_at_names(tmp_path: Path) -> None:
    for reader in (
        NetCDF(("a",), ("u",), sample="run"),
        ReferenceSolution(("t", "x")),
        MessagePassing("pde_3-4"),
    ):
        assert build(describe(reader)) == reader
    source = small(tmp_path).rename(tmp_path / "strange.nc")
    assert isinstance(recognize(source), NeuralOperator)
    with pytest.raises(DataError, match=r"could be read as .*readers=\(\.\.\.\)"):
        recognize(source, (NeuralOperator(), NeuralOperator()))
    with pytest.raises(FileNotFoundError, match="there is no file"):
        open_any(tmp_path / "absent.pt", cache=tmp_path)
    with pytest.raises(DataError, match="a folder of files that no format knows"):
        open_any(tmp_path, cache=tmp_path)
    with pytest.raises(DataError, match="not a regular file"):
        open_any("/dev/null", cache=tmp_path)
    (tmp_path / "p.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match="a Python pickle, which could run any code"):
        open_any(tmp_path / "p.pkl", cache=tmp_path)


@pytest.mark.filterwarnings("ignore")  # of xarray and SciPy about odd content
@pytest.mark.parametrize("count", [1, pytest.param(100, marks=pytest.mark.fuzz)])
def test_mutated_files_are_read_or_refused(
    count: int, example: tuple[str, Callable[[Path], Path]], survive: Any, tmp_path: Path
) -> None:
    path = example[1](tmp_path / "a")
    if path.is_file():
        survive(path, lambda mutated: recognize(mutated).read(mutated), count, seed=1)
