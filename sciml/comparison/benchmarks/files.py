"""Protocols on the files of others, which are not ours to hand on: FNO, PDEBench, The Well."""

from __future__ import annotations

from typing import Any

from sciml.comparison.benchmark import Benchmark, Fetched
from sciml.comparison.published import Published, elsewhere, six_problems
from sciml.datasets.readers import FNOFile, PDEBench, TheWell
from sciml.presets import Recipe
from sciml.unroll import Frames, Stepping, Unroll

_STEPS = Recipe(batch_size=4, learning_rate=2e-3, weight_decay=1e-4)
_LINES = Recipe(batch_size=32, learning_rate=2e-3, weight_decay=1e-4)
_FNO = "The folder of data to which the page of Li et al., FNO (ICLR 2021), links has it"
_DARUS = "DaRUS has it: PDEBench datasets, doi:10.18419/darus-2986"
_WELL = "The Well (Ohana et al., NeurIPS 2024) offers it; the folder has data/train, data/valid and data/test"
_TAKAMOTO = "Takamoto et al., PDEBench (NeurIPS 2022)"
_VORTICITY_5 = Fetched(
    "NavierStokes_V1e-5_N1200_T20.mat", _FNO, FNOFile(), 1200, train=(0, 1000), test=(1000, 1200)
)
_VORTICITY_3 = Fetched(
    "NavierStokes_V1e-3_N5000_T50.mat", _FNO, FNOFile(), 5000, train=(0, 1000), test=(4800, 5000)
)
_TABLE = "Li et al., FNO (ICLR 2021), table 1"


def _vorticity(name: str, data: Fetched, stepping: Stepping, source: str, *rows: Published) -> Benchmark:
    return Benchmark(
        f"fno-files/{name}/v1",
        data,
        inputs=("u",),
        outputs=("u",),
        stepping=stepping,
        recipe=_STEPS,
        budget="2h",
        source=source,
        note="no validation split, as published",
        published=rows,
    )


def _same(system: str, value: float, source: str) -> Published:
    return Published(system, value, "relative_l2", source, "read", True)


_TEN = Frames(window=10)
_FNO_FILES = (
    _vorticity(
        "navier-stokes-1e-3-unrolled", _VORTICITY_3, Stepping(_TEN, Unroll(calls=40)),
        "Li et al., FNO (ICLR 2021), the script of FNO-2D: first 1000 to train, last 200 to test",
        _same("FNO-2D", 0.0128, _TABLE),
    ),
    _vorticity(
        "navier-stokes-1e-5-unrolled", _VORTICITY_5, Stepping(_TEN, Unroll(calls=10)),
        "Li et al., FNO (ICLR 2021), the script of FNO-2D: first 1000 to train, last 200 to test",
        _same("FNO-2D", 0.1556, _TABLE),
    ),
    _vorticity(
        "navier-stokes-1e-5-at-once", _VORTICITY_5, Stepping(Frames(window=10, bundle=10)),
        "Li et al., FNO (ICLR 2021), the script of FNO-3D: first 1000 to train, last 200 to test",
        _same("FNO-3D", 0.1893, _TABLE),
    ),
    _vorticity(
        "navier-stokes-1e-5-forced", _VORTICITY_5, Stepping(_TEN),
        "Wu et al., Transolver (ICML 2024): true frames in training, first 1000 to train, last 200 to test",
        _same("Transolver", 0.0900, "Wu et al., Transolver (ICML 2024), table 1"),
        *elsewhere(
            [row for row in six_problems("flow") if row[0] != "Transolver"],
            "the same file, split and frames; some of these were trained through the roll-out",
        ),
    ),
)  # fmt: skip


def _pdebench(name: str, file: str, *, first: bool = True, samples: int = 10_000, **more: Any) -> Benchmark:
    tenth, kept = samples // 10, samples // 20
    if first:  # one file for all samples
        parts = {"test": (0, tenth), "train": (tenth, samples - kept), "valid": (samples - kept, samples)}
    else:  # a group for each sample
        cut = samples - tenth
        parts = {"train": (0, cut - kept), "valid": (cut - kept, cut), "test": (cut, samples)}
    settings = {"inputs": ("u",), "outputs": ("u",), "stepping": Stepping(_TEN, Unroll(calls=4)), **more}
    return Benchmark(
        f"pdebench/{name}/v1",
        Fetched(file, _DARUS, PDEBench(), samples, **parts),
        metric="nrmse",
        recipe=_LINES if samples > 1000 else _STEPS,
        source=f"{_TAKAMOTO}: ten frames are given, the tenth of the samples that it tests on",
        note="at full resolution in space; half of that tenth, of the others, is for validation",
        **settings,
    )


_FIFTH = {"time": 5}  # reduced_resolution_t of the published settings
_PDEBENCH = (
    _pdebench(
        "darcy-1", "2D_DarcyFlow_beta1.0_Train.hdf5", inputs=("a",), stepping=None
    ),
    _pdebench("advection-0.4", "1D_Advection_Sols_beta0.4.hdf5", every=_FIFTH),
    _pdebench("burgers-0.001", "1D_Burgers_Sols_Nu0.001.hdf5", every=_FIFTH),
    _pdebench("reaction-diffusion-0.5-1", "ReacDiff_Nu0.5_Rho1.0.hdf5"),
    _pdebench("diffusion-sorption", "1D_diff-sorp_NA_NA.h5", first=False),
    _pdebench("shallow-water", "2D_rdb_NA_NA.h5", first=False, samples=1000),
    _pdebench("diffusion-reaction", "2D_diff-react_NA_NA.h5", first=False, samples=1000),
)  # fmt: skip


def _well(name: str, folder: str, samples: int) -> Benchmark:
    return Benchmark(
        f"the-well/{name}/v1",
        Fetched(folder, _WELL, TheWell(), samples),
        stepping=Stepping(Frames(window=4)),
        metric="vrmse",
        recipe=_STEPS,
        budget="12h",
        source="Ohana et al., The Well (NeurIPS 2024): four frames to the next, VRMSE",
        note="judged on roll-outs from the first four frames to the last",
    )


_THE_WELL = (
    _well("turbulent-radiative-layer-2d", "turbulent_radiative_layer_2D", 90),
    _well("active-matter", "active_matter", 360),
    _well("gray-scott", "gray_scott_reaction_diffusion", 1200),
)

FILES = (*_FNO_FILES, *_PDEBENCH, *_THE_WELL)
