"""Exported surrogates: what the files compute, say and refuse."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sciml import artefact
from sciml.artefact import Artefact, check_artefact, open_artefact
from sciml.errors import CheckpointError, ConfigError
from sciml.evolution import Evolution
from sciml.grid import Axis, Grid
from sciml.normalization import Normalization
from sciml.operators.fno import FNO
from sciml.operators.properties import Properties
from sciml.operators.symmetrized import Symmetrized
from sciml.surrogate import Channel, Surrogate
from sciml.tracing import Traced, inputs, trace, unit_points

pytest.importorskip("onnx", reason="ONNX: pip install sciml-pde[export]")
pytest.importorskip("onnxscript", reason="ONNX: pip install sciml-pde[export]")
pytest.importorskip("onnxruntime", reason="ONNX: pip install sciml-pde[export]")

INPUTS = [Channel("a", "m2", "permeability", minimum=(3.0,), maximum=(12.0,)), Channel("f", "Pa/m2")]
OUTPUTS = [Channel("u", "Pa")]
# Odd and even, fine and coarse, long and thin: k j reaches 2000 at 421 points, of which float32 phases
# would keep four digits.
GRIDS = [(2, (12, 10)), (1, (9, 16)), (3, (21, 13)), (1, (421, 9)), (2, (6, 5))]


Loaded = dict[str, tuple[dict[str, Any], artefact.Program]]


def surrogate(
    model: nn.Module,
    grid: Grid,
    fields: tuple[list[Channel], list[Channel]] = (INPUTS, OUTPUTS),
    evolution: Evolution | None = None,
    channels: tuple[int, int] = (2, 1),
) -> Surrogate:
    """Means and scales of other sizes than one, so that a missing normalization shows."""
    normalizations = [
        Normalization(
            [7.0 + 20 * side + i for i in range(count)], [3.0 - side + 0.5 * i for i in range(count)]
        )
        for side, count in enumerate(channels)
    ]
    return Surrogate(
        model.eval(),
        inputs=fields[0],
        outputs=fields[1],
        grid=grid,
        input_normalization=normalizations[0],
        output_normalization=normalizations[1],
        evolution=evolution,
    )


def fno(rank: int = 2, modes: Any = (3, 2), seed: int = 0, **settings: Any) -> FNO:
    torch.manual_seed(seed)
    return FNO(rank, 2, 1, modes=modes, width=4, depth=1, **settings)


def padded() -> Surrogate:
    return surrogate(fno(padding=(0.25, 0.0)), Grid.box((12, 10), upper=(1.0, 2.0), units="m"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artefact]:
    """A padded FNO with coordinates in both formats."""
    folder = tmp_path_factory.mktemp("exported")
    return {suffix: padded().export(folder / f"flow.{suffix}") for suffix in artefact.FORMATS}


@pytest.fixture(scope="module")
def loaded(files: dict[str, Artefact]) -> Loaded:
    """What each file says, and the map that it is."""
    return {suffix: open_artefact(made.path) for suffix, made in files.items()}


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return float((found - expected).abs().max() / expected.abs().max()) if len(expected) else 0.0


@pytest.mark.parametrize("suffix", artefact.FORMATS)
def test_a_file_agrees_with_the_surrogate_on_all_grids_and_batches(loaded: Loaded, suffix: str) -> None:
    """The claim of the library is 1e-5; both take some rounding errors of 6e-8."""
    original, (_, run) = padded(), loaded[suffix]
    for batch, grid in GRIDS:
        x = inputs(original, batch, grid)
        with torch.no_grad():
            y = original.physical(x)
        found = run(x)
        assert found.shape == y.shape and found.dtype == torch.float32
        assert relative(found, y) < 1e-6, (batch, grid)
        # The mean of the output, 27, must not hide the differences of the rest.
        assert relative(found - 27.0, y - 27.0) < 1e-5, (batch, grid)


@pytest.mark.parametrize("suffix", artefact.FORMATS)
def test_a_file_was_checked_on_three_grids(files: dict[str, Artefact], suffix: str) -> None:
    made = files[suffix]
    assert [(check.batch, check.grid) for check in made.checks] == [
        (1, (12, 10)),
        (3, (13, 13)),
        (1, (5, 4)),  # 5 + 1 cells for 2 * 3 modes
    ]
    assert all(check.difference < 1e-6 for check in made.checks)


def test_a_file_can_be_checked_again(files: dict[str, Artefact]) -> None:
    made = files["onnx"]
    again = check_artefact(str(made.path))
    assert again == Artefact(made.path, made.description, made.checks[:1])


@pytest.mark.parametrize("suffix", artefact.FORMATS)
def test_a_file_describes_itself(
    files: dict[str, Artefact],
    loaded: Loaded,
    suffix: str,
) -> None:
    description = loaded[suffix][0]
    assert description == files[suffix].description
    assert description["summary"] == (
        "a [m2], f [Pa/m2] -> u [Pa] on x in [0, 1] m, y in [0, 2] m; physical units, float32, "
        "(batch, channel, *space)"
    )
    first, second = description["inputs"]
    assert first == {
        "name": "a",
        "component": 0,
        "frame": None,
        "units": "m2",
        "long_name": "permeability",
        "minimum": 3.0,
        "maximum": 12.0,
    }
    assert (second["name"], second["minimum"]) == ("f", None)
    assert [channel["name"] for channel in description["outputs"]] == ["u"]
    x, y = description["axes"]
    assert (x["name"], x["minimum_size"], x["fixed_size"], x["same_size_as"]) == ("x", 5, False, None)
    assert (y["upper"], y["units"], y["location"], y["periodic"], y["size"]) == (2.0, "m", "cell", False, 10)
    assert description["weights"] == padded().digest
    assert description["layout"] == ["batch", "channel", "x", "y"]


def test_a_pt2_needs_nothing_of_sciml_and_holds_no_paths(files: dict[str, Artefact]) -> None:
    with zipfile.ZipFile(files["pt2"].path) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert b"/sciml/" not in content and b"site-packages" not in content, name
            assert not (name.endswith(".pt") and content), name  # pickled example inputs


def test_an_onnx_has_standard_operators_and_readable_sizes(files: dict[str, Artefact]) -> None:
    import onnx

    model = onnx.load(files["onnx"].path)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain for entry in model.opset_import} == {""}
    assert not {"DFT", "STFT"} & {node.op_type for node in model.graph.node}
    complex_types = {onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128}
    assert not complex_types & {tensor.data_type for tensor in model.graph.initializer}
    shapes = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    ]
    assert shapes == [["batch", 2, "n_x", "n_y"], ["batch", 1, "n_x", "n_y"]]
    assert b"/sciml/" not in model.SerializeToString()


@pytest.mark.slow
def test_a_pt2_runs_in_a_process_that_never_imports_sciml(files: dict[str, Artefact]) -> None:
    """The lines of docs/export.md."""
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    code = page.split("```python")[1].split("```")[0]
    assert "sciml" not in code.replace("sciml.json", "")
    code = code.replace("darcy.pt2", str(files["pt2"].path)) + "\nassert 'sciml' not in sys.modules\n"
    command = [sys.executable, "-P", "-c", "import sys\n" + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Tracing alone: what torch.export makes of other models.


def agrees(traced: Traced, original: Surrogate, grids: list[tuple[int, ...]]) -> None:
    module = traced.program.module()
    for batch, grid in enumerate(grids, start=1):
        x = inputs(original, batch, grid)
        with torch.no_grad():
            y = original.physical(x, _extras(original, batch))
            assert relative(module(x) - 27.0, y - 27.0) < 1e-5, (batch, grid)


def _extras(original: Surrogate, batch: int) -> dict[str, Tensor] | None:
    evolution = original.evolution
    return None if evolution is None else evolution.extras(0, torch.zeros(batch), None)


def least(traced: Traced) -> list[int]:
    return [size.least for size in traced.sizes]


def test_periodic_grids_without_coordinates() -> None:
    grid = Grid.box((16,), location="node", periodic=True)
    original = surrogate(fno(1, 4, coordinates=False), grid)
    traced = trace(original, dynamic=True)
    assert least(traced) == [8]
    agrees(traced, original, [(8,), (16,), (17,), (421,)])
    values = [node.meta["val"] for node in traced.program.graph.nodes if "val" in node.meta]
    assert values and not any(v.is_complex() for v in values if isinstance(v, Tensor))


def test_exchanged_axes_stay_equal() -> None:
    """All eight images of the square, in one batch of the graph."""
    original = surrogate(Symmetrized(nn.Conv2d(2, 1, 3, padding=1), group="full"), Grid.box((8, 8)))
    traced = trace(original, dynamic=True)
    assert [(size.least, size.like) for size in traced.sizes] == [(8, None), (8, 0)]
    agrees(traced, original, [(8, 8), (11, 11)])


def test_a_window_of_frames_goes_in_and_a_bundle_comes_out(tmp_path: Path) -> None:
    """One step; the time step is known, so a model may ask for it."""

    class Stepper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Conv1d(3, 3, 1)

        def forward(self, x: Tensor, dt: Tensor) -> Tensor:
            return self.mix(x) * dt[:, None, None]

    fields = [Channel("w", "1/s"), Channel("f")], [Channel("w", "1/s")]
    grid = Grid.box((8,), location="node", periodic=True)
    evolution = Evolution(components=(1,), window=2, bundle=3, dt=0.5, units="s")
    original = surrogate(Stepper(), grid, fields, evolution, channels=(3, 3))
    made = original.export(tmp_path / "step.pt2")
    frames = [(channel["name"], channel["frame"]) for channel in made.description["inputs"]]
    assert frames == [("w", -1), ("w", 0), ("f", None)]
    assert [channel["frame"] for channel in made.description["outputs"]] == [1, 2, 3]
    assert made.description["time"] == {"step": 0.5, "units": "s"}
    assert "one step of 0.5 s" in made.description["summary"]
    # No check_grid says what is too coarse: the grid of training it is.
    assert made.description["axes"][0]["minimum_size"] == 8


@pytest.mark.slow
@pytest.mark.parametrize("suffix", artefact.FORMATS)
def test_other_models_as_files(tmp_path: Path, suffix: str) -> None:
    left = Grid.box((10, 8), location="left", periodic=False)
    cube = Grid.box((8, 7, 6), location="node", periodic=(True, False, True))
    reflected = Symmetrized(fno(coordinates=False), group="reflections", periodic_nodes=True)
    torus = Grid.box((12, 10), location="node", periodic=True)
    cases = [
        surrogate(fno(padding=(0.25, 0.1)), left),
        surrogate(fno(padding=0.01), left),
        surrogate(fno(3, (3, 2, 2), padding=(0.0, 0.25, 0.0)), cube),
        surrogate(Symmetrized(fno(2, 2, padding=0.25), group="full"), Grid.box((8, 8))),
        surrogate(reflected, torus),
        surrogate(fno(1, 4), Grid.box((9,), location="node")),
        surrogate(fno(1, 4).double(), Grid.box((9,), location="node")),
    ]
    for original in cases:
        made = original.export(tmp_path / f"model.{suffix}")
        assert all(check.difference < 1e-6 for check in made.checks)
        assert not any(axis["fixed_size"] for axis in made.description["axes"])


@pytest.mark.parametrize(
    "axis",
    [
        Axis("x", -1.0, 2.0, 2, "node", False),
        Axis("x", -1.0, 2.0, 2, "node", True),
        Axis("x", -1.0, 2.0, 2, "cell", False),
        Axis("x", -1.0, 2.0, 2, "left", False),
    ],
)
@pytest.mark.parametrize("size", [2, 7, 421])
def test_unit_points_are_those_of_the_grid(axis: Axis, size: int) -> None:
    expected = Grid((axis.with_size(size),)).unit_coordinates()[0]
    # float64, and numbers up to 2 that the grid subtracts.
    np.testing.assert_allclose(unit_points(axis, size).numpy(), expected, rtol=0, atol=1e-15)


def test_padding_in_whole_numbers_rounds_as_python_does() -> None:
    """What a graph computes for symbolic sizes; halves go to the even number."""
    for p, q in ((1, 4), (1, 8), (1, 2), (3, 4), (1, 5), (1, 3), (1, 1), (1, 64)):
        model = FNO(1, 1, 1, modes=1, width=1, depth=1, padding=p / q)
        for size in range(1, 300):
            assert model.padding_cells((size,)) == (max(1, round(Fraction(p * size, q))),)


# Refusals.


def test_the_name_of_the_file_decides(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in \.pt2 or \.onnx, got 'a.pt'"):
        padded().export(tmp_path / "a.pt")
    with pytest.raises(ConfigError, match=r"must end in \.onnx, got 'a.pt2'"):
        padded().export(tmp_path / "a.pt2", to="onnx")


class Plain(nn.Module):
    """What a user may bring."""

    def __init__(self, function: Callable[[Tensor], Tensor] = lambda x: x[:, :1]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def test_a_model_that_says_no_is_refused_by_name(tmp_path: Path) -> None:
    model = Plain()
    model.properties = Properties(  # type: ignore[assignment]
        needs_grid=True, periodic=False, resolution_bound=False, linear=False, exports=False
    )
    with pytest.raises(ConfigError, match=r"export: Plain cannot be exported.*Surrogate.save"):
        surrogate(model, Grid.box((4, 4))).export(tmp_path / "a.pt2")


def test_a_step_that_asks_for_the_time_is_refused(tmp_path: Path) -> None:
    class Clock(nn.Module):
        def forward(self, x: Tensor, time: Tensor, parameters: Tensor) -> Tensor:
            return x * time * parameters

    evolution = Evolution(components=(1,), parameters=("nu",))
    fields = [Channel("w")], [Channel("w")]
    original = surrogate(Clock(), Grid.box((4,)), fields, evolution, channels=(1, 1))
    with pytest.raises(ConfigError, match="Clock asks for parameters and time in every step"):
        original.export(tmp_path / "a.pt2")


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefact, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "sciml-pde\[export\]"') as caught:
        padded().export(tmp_path / "a.onnx")
    assert caught.value.name == "onnx"


def test_what_torch_cannot_follow_is_said_in_a_sentence(tmp_path: Path) -> None:
    model = Plain(lambda x: x[:, :1] * (2.0 if float(x.sum()) > 0 else 1.0))
    with pytest.raises(ConfigError, match=r"torch\.export cannot follow Plain: .*dynamic=False"):
        surrogate(model, Grid.box((4, 4))).export(tmp_path / "a.pt2")
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_is_not_written(tmp_path: Path) -> None:
    """A constant that was right in the trace: what is exported is not what the surrogate does."""
    calls = []

    def drifting(x: Tensor) -> Tensor:
        calls.append(1)
        return x[:, :1] + len(calls)

    old = tmp_path / "a.pt2"
    old.write_text("an older export")
    with pytest.raises(CheckpointError, match=r"difference of|wrote nothing"):
        surrogate(Plain(drifting), Grid.box((4, 4))).export(old)
    assert old.read_text() == "an older export"
    assert list(tmp_path.iterdir()) == [old]


def test_a_fixed_grid_is_said(tmp_path: Path) -> None:
    made = surrogate(Plain(), Grid.box((4, 6))).export(tmp_path / "a.pt2", dynamic=False)
    assert [(axis["fixed_size"], axis["minimum_size"]) for axis in made.description["axes"]] == [
        (True, 4),
        (True, 6),
    ]
    assert [(check.batch, check.grid) for check in made.checks] == [(1, (4, 6)), (3, (4, 6))]
    _, run = open_artefact(made.path)
    with pytest.raises((AssertionError, RuntimeError)):
        run(torch.zeros(1, 2, 8, 6))


def test_answers_must_be_finite(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Plain answers an input in the range of training with NaN"):
        surrogate(Plain(lambda x: x[:, :1] / 0.0), Grid.box((4, 4))).export(tmp_path / "a.pt2")


# Damage.


@pytest.mark.parametrize("suffix", artefact.FORMATS)
def test_a_damaged_file_is_refused(files: dict[str, Artefact], suffix: str, tmp_path: Path) -> None:
    content = files[suffix].path.read_bytes()
    path = tmp_path / f"bad.{suffix}"
    places = np.random.default_rng(0).integers(0, len(content), 20)
    if suffix == "pt2":  # an archive pads its files with bytes that nobody reads: aim at the weights
        with zipfile.ZipFile(files[suffix].path) as archive:
            weights = next(i for i in archive.infolist() if i.filename.endswith("weights/weight_2"))
        places = np.array([content.index(archive_bytes(files[suffix].path, weights.filename))])
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 16
        path.write_bytes(bytes(changed))
        with pytest.raises(CheckpointError):
            check_artefact(path)
    for wrong in (b"", b"PK", content[: len(content) // 2], b"no artefact"):
        path.write_bytes(wrong)
        with pytest.raises(CheckpointError, match="damaged"):
            check_artefact(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        check_artefact(tmp_path / "absent.pt2")


def archive_bytes(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)


def test_other_answers_and_other_versions_are_refused(files: dict[str, Artefact], tmp_path: Path) -> None:
    """Sealed anew after the change, so that no checksum tells."""
    import onnx

    path = tmp_path / "other.onnx"

    def rewritten(change: Callable[[Any, dict[str, Any]], None]) -> Path:
        model = onnx.load(files["onnx"].path)
        description = json.loads(model.metadata_props[0].value)
        del model.metadata_props[:]
        change(model, description)
        artefact.write_onnx(model, description, path)
        return path

    def other_answer(_: Any, description: dict[str, Any]) -> None:
        y = artefact.decode(description["check"]["output"])
        y[0, 0, 0, 0] += 3 * description["check"]["tolerance"][0]
        description["check"]["output"] = artefact.encode(y)

    assert check_artefact(rewritten(lambda _, __: None)).checks[0].difference < 1e-6
    with pytest.raises(CheckpointError, match=r"with a difference of 3\.?0?e-05, allowed 1e-05"):
        check_artefact(rewritten(other_answer))
    with pytest.raises(CheckpointError, match="has version 2, this sciml reads 1"):
        check_artefact(rewritten(lambda _, description: description.update(version=2)))
    with pytest.raises(CheckpointError, match="cannot answer its own check"):
        check_artefact(rewritten(lambda _, description: description.pop("check")))


def test_the_stored_arrays_read_with_numpy_alone(files: dict[str, Artefact]) -> None:
    stored = files["pt2"].description["check"]["input"]
    x = np.frombuffer(base64.b64decode(stored["data"]), "<f4").reshape(stored["shape"])
    assert x.shape == (1, 2, 12, 10)
    assert x[0, 0].min() >= 3.0 and x[0, 0].max() <= 12.0  # in the range of training
    assert x[0, 1].min() >= 4.5 and x[0, 1].max() <= 11.5  # without one: mean 8 and scale 3.5


# torch.compile.


def compiled_agrees(model: FNO, shapes: list[tuple[int, ...]]) -> None:
    """Forward and all gradients, without breaks in the graph, which serves all grids.

    The backend runs the traced operations as they are; test_contract.py compiles them for real.
    """
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="aot_eager")
    for shape in shapes:
        points = torch.as_tensor(Grid.box(shape).unit_coordinates(), dtype=torch.float32)[None]
        x = torch.randn(1, 2, *shape, generator=torch.Generator().manual_seed(1))
        results = []
        for function in (model, compiled):
            leaf = x.clone().requires_grad_()
            y = function(leaf, points)
            gradients = torch.autograd.grad(y.square().sum(), [leaf, *model.parameters()])
            results.append([y.detach(), *gradients])
        for expected, found in zip(*results, strict=True):
            assert relative(found, expected) < 1e-5, shape


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own imports
def test_a_compiled_fno_agrees_forward_and_backward() -> None:
    compiled_agrees(fno(1, 3), [(12,), (17,), (421,)])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_fno_with_padding_agrees() -> None:
    compiled_agrees(fno(padding=(0.25, 0.1)), [(12, 10), (17, 9), (10, 14)])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_ahead_of_time_for_cpp(files: dict[str, Artefact], tmp_path: Path) -> None:
    """docs/export.md: AOTInductor takes the .pt2; its package runs without Python."""
    program = torch.export.load(files["pt2"].path)
    x = inputs(padded(), 1, (12, 10))
    program.example_inputs = ((x,), {})
    package = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "compiled.pt2"))
    run = torch._inductor.aoti_load_package(package)
    for batch, grid in GRIDS[:4]:
        x = inputs(padded(), batch, grid)
        with torch.no_grad():
            assert relative(run(x), padded().physical(x)) < 1e-5, (batch, grid)
