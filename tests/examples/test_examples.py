"""Each example in its small setting gives the number that stands at its top."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from sciml.kernels import FactoredAdam
from sciml.pinns import Stage
from sciml.pinns.networks import MLP, WideMLP
from sciml.pinns.recipes import HUGE_DIM, POOLED
from sciml.pinns.samplers import OnDevice

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def main_of(name: str) -> Callable[..., Any]:
    spec = spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    main: Callable[..., Any] = module.main
    return main


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """Folder and test error of the first example."""
    folder = tmp_path_factory.mktemp("example")
    return folder, main_of("train_darcy")(folder)


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {
        "basket_option",
        "hamilton_jacobi_bellman",
        "inverse_problem",
        "million_dimensions",
        "physics_informed_operator",
        "plug_in",
        "solve_equations",
        "train_darcy",
        "train_on_meshes",
    }


def test_train_darcy(trained: tuple[Path, float]) -> None:
    folder, error = trained
    assert 0.02 < error < 0.07
    assert (folder / "darcy.sciml" / "card.json").exists() and (folder / "loss.png").exists()
    assert main_of("train_darcy")(folder) == error  # the finished run, read back


def test_plug_in(trained: tuple[Path, float]) -> None:
    folder, _ = trained
    table = main_of("plug_in")(folder / "darcy.sciml", samples=4)
    cold, warm, _ = table[1e-1]
    assert warm < 0.6 * cold
    cold, warm, _ = table[1e-2]
    assert warm < cold
    # |error| <= |residual| times the condition number, which is of order 16^2 times the contrast 4.
    assert table[1e-6][2] < 1e-6 * 1000


def test_train_on_meshes(tmp_path: Path) -> None:
    import meshio

    assert 0.03 < main_of("train_on_meshes")(tmp_path) < 0.09
    mesh = meshio.read(tmp_path / "bar.vtu")
    u, prediction = mesh.point_data["u"], mesh.point_data["prediction"]
    assert ((u - prediction) ** 2).mean() < 0.05 * (u**2).mean()


def test_basket_option() -> None:
    example = main_of("basket_option")
    recipe = replace(POOLED, network=partial(MLP, width=10, depth=2), points=300).scaled(33)
    found = example(dim=10, recipe=recipe, markets=2, accuracy=5e-4, paths=20_000)
    network, formula, error = (found[name] for name in ("network", "lognormal sum", "Monte Carlo"))
    # Measured: four times closer than the formula, which is all that the accuracy of the reference can tell.
    assert network["price"] < 0.5 * formula["price"] and network["price"] < 0.003 + 3 * error["price"]
    assert all(network[name] < 0.01 + 3 * error[name] for name in ("delta", "gamma", "vega"))


def test_hamilton_jacobi_bellman() -> None:
    found = main_of("hamilton_jacobi_bellman")(100, 40, paths=200, points=100, accuracy=1e-3)
    assert abs(found["value, Monte Carlo"] - found["value, quadrature"]) < 5 * found["error of Monte Carlo"]
    # Paths of 50 steps: the feedback is worth 0.1, and what is left of that is below a tenth.
    with_feedback, without = found["cost with feedback"], found["cost without control"]
    assert abs(with_feedback - found["value, quadrature"]) < 0.01 < 0.09 < without - with_feedback
    # The cost is a parabola in the strength of the feedback, least at 1.
    assert abs(found["cost with twice the feedback"] - without) < 0.01
    assert found["relative error, network"] < 0.01


def test_inverse_problem() -> None:
    found = main_of("inverse_problem")()
    # Other processors round differently along the way.
    assert found["exchange"] < 0.005 and found["a"] < 0.03 and found["standard_errors"] < 3


def test_physics_informed_operator(tmp_path: Path) -> None:
    errors = main_of("physics_informed_operator")(tmp_path)
    assert 0.05 < errors["labels and equation"] < 0.8 * errors["labels"] < 0.1


def test_million_dimensions() -> None:
    rate = partial(FactoredAdam, lr=0.03, moments="factored")
    recipe = replace(
        HUGE_DIM,
        network=partial(WideMLP, width=16, depth=2),
        stages=(Stage(rate, 60, OnDevice(), fading=True),),
        points=20,
    )
    found = main_of("million_dimensions")(2_000, 60, recipe=recipe, points=100)
    # Other processors round differently along the way.
    assert 0.05 < found["network"] < 0.2
    assert found["best linear network"] < 0.001 < found["best constant"] < 0.02
    assert found["steps per second"] > 0 and 0 < found["GiB"] < 16


def test_the_picture_of_the_readme(tmp_path: Path, trained: tuple[Path, float]) -> None:
    """It reads what `sciml train` leaves behind."""
    from sciml.cli import main

    command = ["train", str(trained[0] / "darcy.h5"), "--steps", "3", "--output", str(tmp_path / "run")]
    assert main([*command, "--set", "modes=3", "--set", "width=6", "--json"]) == 0
    picture = EXAMPLES.parent / "docs" / "picture.py"
    spec = spec_from_file_location("picture", picture)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(tmp_path / "run", tmp_path / "darcy.png")
    assert (tmp_path / "darcy.png").read_bytes().startswith(b"\x89PNG")


def test_solve_equations(tmp_path: Path) -> None:
    names = ["advection", "korteweg_de_vries", "euler", "poisson", "lorenz"]
    found = main_of("solve_equations")(tmp_path, names)
    assert (tmp_path / "solutions.png").stat().st_size > 10_000
    wave = found["advection"]["u"]
    assert abs(wave[-1] - wave[0]).max() < 1e-12  # two units of time at speed 1/2: once around
    solitons = found["korteweg_de_vries"]["u"]
    assert float(solitons[-1].idxmax()) == pytest.approx(10 + 6 * 4, abs=1.5)  # the overtaking pushes it on
    density = found["euler"]["rho"][-1].interp(x=0.6)
    assert float(density) == pytest.approx(0.42632, abs=5e-3)  # left of the contact of Sod's shock tube
