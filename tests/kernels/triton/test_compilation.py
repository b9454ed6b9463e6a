"""Every kernel becomes machine code for sm_80 and sm_90 ahead of time, on machines without a GPU."""

from __future__ import annotations

import os
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest

if find_spec("triton") is None:
    pytest.skip("Triton is not installed", allow_module_level=True)
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("TRITON_INTERPRET=1: Triton interprets in this process", allow_module_level=True)

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from sciml.kernels.triton import blocks

# What one block may take, in bytes: 99 KiB on the smallest chips that run code for sm_80 (those of 8.6 and
# 8.9), 227 KiB on sm_90.
SHARED_MEMORY = {80: 99 * 1024, 90: 227 * 1024}
# The smaller chips decide whether a kernel fits; for the larger ones it is compiled in the long form.
CAPABILITIES = [80, pytest.param(90, marks=pytest.mark.slow)]
# Tensors in the dtype of the fields; everything else with an address is float32.
FIELDS = {"x", "z", "gated", "y"}
POINTERS = FIELDS | {
    "half",
    "full",
    "modes",
    "bias",
    "lines",
    "skip",
    "weight",
    "mixed",
    "of_weight",
    "partial",
}


class Variant(NamedTuple):
    kernel: str
    settings: dict[str, Any]

    def __str__(self) -> str:
        return "-".join([self.kernel, *(str(value) for value in self.settings.values())])


def plane(modes: int) -> dict[str, Any]:
    """Blocks of the frequencies of a plane with as many modes on both axes."""
    full = max(32, blocks.block(modes))
    return {"HALF": blocks.block(modes, 16), "FULL": full, "APART": modes == full}


# What a layer of 16 modes runs, forward and backward, with activation, with and without skip path.
USUAL = [
    Variant("ANALYZE_ROWS", {"INPUT": "plain"}),
    Variant("ANALYZE_PLANES", {**plane(16), "INPUT": "gated"}),
    Variant("MIX", {"BATCH": 16}),
    Variant("MIX_ADJOINT", {"BATCH": 16}),
    Variant("MIX_GRADIENT", {"BATCH": 16}),
    Variant("SYNTHESIZE_PLANES", {**plane(16), "LINES": False, "BIAS": True, "OUTPUT": "gelu"}),
    Variant("SYNTHESIZE_ROWS", {"SKIP": True, "FIRST": False, "BIAS": True, "OUTPUT": "gelu"}),
    Variant("SKIP_GRADIENT", {"FIRST": False}),
]
OTHERS = [
    Variant("ANALYZE_ROWS", {"INPUT": "gated"}),
    Variant("ANALYZE_PLANES", {**plane(16), "INPUT": "plain"}),
    Variant("ANALYZE_PLANES", {**plane(32), "INPUT": "gated"}),
    Variant("ANALYZE_PLANES", {**plane(12), "INPUT": "gated"}),
    *(
        Variant(kernel, {"BATCH": batch})
        for kernel in ("MIX", "MIX_ADJOINT", "MIX_GRADIENT")
        for batch in (8, 32)
    ),
    Variant("SYNTHESIZE_PLANES", {**plane(16), "LINES": False, "BIAS": False, "OUTPUT": "plain"}),
    Variant("SYNTHESIZE_PLANES", {**plane(16), "LINES": True, "BIAS": False, "OUTPUT": "plain"}),
    Variant("SYNTHESIZE_PLANES", {**plane(32), "LINES": False, "BIAS": True, "OUTPUT": "gelu"}),
    Variant("SYNTHESIZE_PLANES", {**plane(32), "LINES": True, "BIAS": False, "OUTPUT": "plain"}),
    Variant("ANALYZE_PLANES", {**plane(32), "INPUT": "gelu"}),
    Variant("SYNTHESIZE_PLANES", {**plane(32), "LINES": False, "BIAS": False, "OUTPUT": "slope"}),
    Variant("SYNTHESIZE_ROWS", {"SKIP": True, "FIRST": True, "BIAS": True, "OUTPUT": "plain"}),
    Variant("SYNTHESIZE_ROWS", {"SKIP": True, "FIRST": False, "BIAS": False, "OUTPUT": "slope"}),
    Variant("SKIP_GRADIENT", {"FIRST": True}),
    Variant("SYNTHESIZE_ROWS", {"SKIP": False, "FIRST": False, "BIAS": False, "OUTPUT": "plain"}),
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing from an earlier run, and nothing left in the home folder."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def compiled(
    variant: Variant,
    choice: Any,
    capability: int,
    precision: str = "tf32x3",
    dtype: str = "fp32",
    integers: int | None = None,
) -> Any:
    """A kernel with one choice of blocks; integers are multiples of 16, or all have one value."""
    kernel = getattr(blocks, variant.kernel).kernel
    names = [parameter.name for parameter in kernel.params]
    sizes = {name: value for name, value in choice.kwargs.items() if name in names}
    constants = {**sizes, **variant.settings, "PRECISION": precision}
    floats = (
        {"y", "z"} if variant.settings.get("LINES") else set()
    )  # lines are float32, whatever the fields are
    if integers is not None:
        given = POINTERS | {"gradient", "first"} | constants.keys()
        constants |= {name: integers for name in names if name not in given}
    signature, attributes = {}, {}
    for place, name in enumerate(names):
        in_dtype_of_fields = name in FIELDS - floats or (name, variant.kernel) == (
            "gradient",
            "SKIP_GRADIENT",
        )
        pointer = name in POINTERS or name == "gradient"
        signature[name] = (
            "constexpr"
            if name in constants
            else f"*{dtype if in_dtype_of_fields else 'fp32'}"
            if pointer
            else "i32"
        )
        if (
            name not in constants
            and (pointer or integers is None)
            and name not in ("first", "last", "highest")
        ):
            attributes[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, {(names.index(n),): v for n, v in constants.items()}, attributes)
    options = {"num_warps": choice.num_warps, "num_stages": choice.num_stages, "enable_fp_fusion": True}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def check(result: Any, capability: int, limit: int) -> None:
    assert f".target sm_{capability}" in result.asm["ptx"]
    assert result.asm["cubin"].startswith(b"\x7fELF")
    assert result.metadata.shared <= limit


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("variant", USUAL, ids=str)
def test_kernel_compiles(variant: Variant, capability: int) -> None:
    """The first choice of blocks runs on every chip of its generation."""
    choice = getattr(blocks, variant.kernel).choices[0]
    check(compiled(variant, choice, capability), capability, SHARED_MEMORY[capability])


CHOICES = [
    pytest.param(variant, choice, id=f"{variant}-{place}")
    for variant in [*USUAL, *OTHERS]
    for place, choice in enumerate(getattr(blocks, variant.kernel).choices)
]


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "choice"), CHOICES)
def test_every_choice_compiles(variant: Variant, choice: Any) -> None:
    """Choices too large for a chip are passed over when it measures; the first one fits every chip."""
    first = choice is getattr(blocks, variant.kernel).choices[0]
    for capability, limit in SHARED_MEMORY.items():
        check(compiled(variant, choice, capability), capability, limit if first else SHARED_MEMORY[90])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "dtype"),
    [p for p in product(("tf32x3", "tf32", "bf16"), ("fp32", "bf16")) if p != ("tf32x3", "fp32")],
)
@pytest.mark.parametrize("variant", [*USUAL, *OTHERS], ids=str)
def test_every_precision_compiles(variant: Variant, precision: str, dtype: str) -> None:
    choice = getattr(blocks, variant.kernel).choices[0]
    for capability, limit in SHARED_MEMORY.items():
        check(compiled(variant, choice, capability, precision, dtype), capability, limit)


@pytest.mark.slow
@pytest.mark.parametrize("variant", [*USUAL, *OTHERS], ids=str)
def test_sizes_of_one_compile(variant: Variant) -> None:
    """An integer argument of one becomes a constant of the program: other code, other types."""
    choice = getattr(blocks, variant.kernel).choices[0]
    check(compiled(variant, choice, 90, integers=1), 90, SHARED_MEMORY[90])


def test_tensor_cores_multiply() -> None:
    """Products are instructions of the tensor cores: three passes of TF32, or one of bfloat16."""
    variant = Variant("MIX", {"BATCH": 8})
    choice = blocks.MIX.choices[0]
    instructions = {
        precision: [
            line
            for line in compiled(variant, choice, 80, precision).asm["ptx"].splitlines()
            if "mma.sync" in line
        ]
        for precision in ("tf32x3", "tf32", "bf16")
    }
    assert len(instructions["tf32x3"]) == 3 * len(instructions["tf32"]) > 0
    assert all(".tf32.tf32." in line for line in instructions["tf32"])
    assert all(".bf16.bf16." in line for line in instructions["bf16"])
