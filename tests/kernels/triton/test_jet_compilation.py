"""The kernels for jets become machine code for sm_80 and sm_90 ahead of time, on machines without a GPU."""

from __future__ import annotations

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if find_spec("triton") is None:
    pytest.skip("Triton is not installed", allow_module_level=True)
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("TRITON_INTERPRET=1: Triton interprets in this process", allow_module_level=True)

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from sciml.kernels.triton import jet_launch, jet_on_chip
from sciml.kernels.triton.jet_plain import LADDERS

# What one block may take, in bytes: 99 KiB on the smallest chips that run code for sm_80 (those of 8.6 and
# 8.9), 227 KiB on sm_90.
SHARED_MEMORY = {80: 99 * 1024, 90: 227 * 1024}
# The smaller chips decide whether a kernel fits; for the larger ones it is compiled in the long form.
CAPABILITIES = [80, pytest.param(90, marks=pytest.mark.slow)]
INTEGERS = {"points", "inner", "width", "count", "step", "row", "columns", "layers", "length"}
TUNED = {
    "ACTIVATE": jet_launch.ACTIVATE,
    "TRANSPOSE": jet_launch.TRANSPOSE,
    "NETWORK": jet_on_chip.NETWORK,
}
KERNELS = "ACTIVATE", "TRANSPOSE"

# A layer in the middle of a network, for the Laplacian.
LAYER = {
    "POINTS": 32,
    "ACTIVATION": "tanh",
    "ORDER": 2,
    "DEGREE": 2,
    "COLLAPSED": True,
    "WEIGHTED": False,
    "PRODUCT": True,
    "BIAS": True,
    "KEEP": True,
    "SHARED": False,
    "AGAIN": True,
    "FIRST": True,
    "ONLY_TOP": False,
    "PRECISION": "tf32x3",
}
# All layers of a network, for the Laplacian in two dimensions.
NETWORK = {"COLUMNS": 4, "FEATURES": 128, "DEGREE": 1, "ONLY_TOP": True}
# The first activation, of columns that all points share; the last one; a bundle after another.
FIRST_STEP = {"PRODUCT": False, "BIAS": False, "KEEP": False, "SHARED": True, "DEGREE": 1}
LAST_STEP = {"ONLY_TOP": True}
SECOND_BUNDLE = {"FIRST": False, "WEIGHTED": True}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing from an earlier run, and nothing left in the home folder."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def compiled(name: str, capability: int, *, choice: int = 0, size: int | None = None, **settings: Any) -> Any:
    """A kernel with one choice of blocks; integers are multiples of 16, or all have one value."""
    tuned = TUNED[name]
    kernel, blocks = tuned.kernel, tuned.choices[choice]
    names = [parameter.name for parameter in kernel.params]
    shape = NETWORK if name == "NETWORK" else {}
    constants = {**LAYER, **shape, **settings, **blocks.kwargs}
    if size is not None:
        constants |= dict.fromkeys(INTEGERS, size)
    constants = {n: value for n, value in constants.items() if n in names}
    signature = {n: "constexpr" if n in constants else "i32" if n in INTEGERS else "*fp32" for n in names}
    attributes = {
        (place,): [["tt.divisibility", 16]]
        for place, n in enumerate(names)
        if n not in constants and n != "count"
    }
    source = ASTSource(kernel, signature, {(names.index(n),): v for n, v in constants.items()}, attributes)
    options = {"num_warps": blocks.num_warps, "num_stages": blocks.num_stages, "enable_fp_fusion": True}
    result = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    assert f".target sm_{capability}" in result.asm["ptx"]
    assert result.asm["cubin"].startswith(b"\x7fELF")
    return result


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("name", TUNED)
def test_kernel_compiles(name: str, capability: int) -> None:
    """The first choice of blocks runs on every chip of its generation."""
    assert compiled(name, capability).metadata.shared <= SHARED_MEMORY[capability]


def test_products_of_all_columns_are_made_by_tensor_cores() -> None:
    """Three passes of TF32, or one of bfloat16, for the value, the first orders and the sum."""
    count = {}
    for precision in ("tf32x3", "tf32", "bf16"):
        ptx = compiled("ACTIVATE", 80, PRECISION=precision).asm["ptx"]
        count[precision] = sum("mma.sync" in line for line in ptx.splitlines())
    assert count["tf32x3"] == 3 * count["tf32"] > 0
    assert count["tf32"] % 3 == count["bf16"] % 3 == 0  # one loop over the inner axis for each kind of column


def spilled(result: Any, folder: Path) -> int:
    """Bytes of local memory that each thread takes."""
    program = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    if not program.exists():
        pytest.skip(f"Triton {triton.__version__} brings no cuobjdump")
    file = folder / "kernel.cubin"
    file.write_bytes(result.asm["cubin"])
    report = subprocess.run([program, "-res-usage", file], capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in report.splitlines() if "REG:" in line]
    return int(line.split("STACK:")[1].split()[0])


@pytest.mark.parametrize("name", KERNELS)
def test_tiles_stay_in_registers(name: str, tmp_path: Path) -> None:
    """Nothing spills with the first choice: the second order in large tiles, the fourth in small ones."""
    for order, points in ((2, 2 * 16), (4, 16)):
        assert spilled(compiled(name, 80, ORDER=order, DEGREE=order, POINTS=points), tmp_path) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("settings", [FIRST_STEP, LAST_STEP, SECOND_BUNDLE], ids=["first", "last", "second"])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("collapsed", [True, False])
def test_every_order_compiles(name: str, settings: dict[str, Any], order: int, collapsed: bool) -> None:
    degree = settings.get("DEGREE", order)
    given = {**settings, "ORDER": order, "DEGREE": degree, "COLLAPSED": collapsed, "POINTS": 16}
    for capability, limit in SHARED_MEMORY.items():
        assert compiled(name, capability, **given).metadata.shared <= limit


@pytest.mark.slow
@pytest.mark.parametrize("name", TUNED)
@pytest.mark.parametrize("activation", LADDERS)
def test_every_activation_compiles(name: str, activation: str) -> None:
    compiled(name, 90, ACTIVATION=activation)


@pytest.mark.slow
@pytest.mark.parametrize("name", TUNED)
@pytest.mark.parametrize("precision", ["tf32x3", "tf32", "bf16"])
def test_every_choice_compiles(name: str, precision: str) -> None:
    """Choices too large for a chip are passed over when it measures; the first one fits every chip."""
    for choice in range(len(TUNED[name].choices)):
        for capability, limit in SHARED_MEMORY.items():
            result = compiled(name, capability, choice=choice, PRECISION=precision)
            assert result.metadata.shared <= (SHARED_MEMORY[90] if choice else limit)


@pytest.mark.slow
@pytest.mark.parametrize("name", TUNED)
def test_sizes_of_one_compile(name: str) -> None:
    """An integer argument of one becomes a constant of the program: other code, other types."""
    for settings in ({}, FIRST_STEP, LAST_STEP):
        compiled(name, 90, size=1, **settings)
