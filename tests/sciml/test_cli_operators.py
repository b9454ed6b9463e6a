"""Operators beside FNO on the command line, and settings that are more than literals."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sciml.cli import names
from sciml.cli.compare import contest_of, entries_of
from sciml.cli.options import CompareOptions, DataOptions
from sciml.comparison.entry import Entry
from sciml.dataset import Field, open_dataset, write_dataset
from sciml.datasets.darcy import Darcy
from sciml.errors import ConfigError
from sciml.mesh import Points
from sciml.neighbors import Nearest, Radius
from sciml.operators.ffno import FFNO, Stack
from sciml.operators.fno import FNO
from sciml.operators.gnot import Gated
from sciml.operators.mgno import MgNO
from sciml.operators.presets import setups
from sciml.operators.spectral_weights import CPWeights, SeparableWeights, TuckerWeights
from sciml.operators.tfno import TFNO
from sciml.operators.transolver import Sliced
from sciml.presets import DARCY
from sciml.surrogate import Surrogate

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "darcy.h5"
    Darcy(resolution=8).make(path, train=4, valid=2, test=2, workers=1)
    return path


@pytest.fixture(scope="module")
def meshes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """u = b a on eight clouds of 20 to 27 points, b a number of the sample."""
    path, rng = tmp_path_factory.mktemp("data") / "clouds.h5", np.random.default_rng(0)
    clouds = [Points(rng.random((20 + i, 2))) for i in range(8)]
    a, b = [cloud.coordinates[:, 0] for cloud in clouds], np.linspace(1, 2, 8)
    fields = [
        (Field("a", "input"), a),
        (Field("u", "output"), [a_i * b_i for a_i, b_i in zip(a, b, strict=True)]),
    ]
    split = [0, 0, 0, 0, 1, 1, 2, 2]
    write_dataset(path, grid=clouds, fields=fields, split=split, variables={"b": b})
    return path


@pytest.fixture(autouse=True)
def _plain_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sciml.cli.train.write_report", lambda path, **_: path.write_text("a report"))


@pytest.mark.parametrize(
    ("operator", "cls", "settings"),
    [
        ("tfno", TFNO, []),
        ("ffno", FFNO, ["depth=Stack(2, shared=True)", "modes=CPWeights(3, rank=2)"]),
    ],
)
def test_it_trains_and_its_surrogate_loads(
    run: Run, data_file: Path, operator: str, cls: type, settings: list[str]
) -> None:
    chosen = [part for text in ("width=4", *settings) for part in ("--set", text)]
    command = ("train", data_file, "--operator", operator, "--steps", "2", "--output", "run", "--json")
    status, out, err = run(*command, *chosen)
    assert status == 0, err
    result = json.loads(out)
    assert result["operator"] == operator
    model = Surrogate.load("run/surrogate").model
    assert type(model) is cls
    assert model.modes == (3, 3)  # as given, or a third of 8 points and their padding, as `suited` says
    status, out, err = run("train", "--like", "run", "--output", "again", "--json")
    assert status == 0, err
    assert json.loads(out)["test"]["relative_l2"] == result["test"]["relative_l2"]


@pytest.mark.slow
@pytest.mark.parametrize("operator", names.operators())
def test_every_operator_trains_judges_predicts_and_exports_on_a_grid(
    run: Run, data_file: Path, operator: str
) -> None:
    start = ("train", data_file, "--operator", operator, "--steps", "2", "--output", "run", "--json")
    status, out, err = run(*start)
    assert status == 0, err
    error = json.loads(out)["test"]["relative_l2"]
    status, out, err = run("evaluate", "run", data_file, "--json")
    assert status == 0, err
    assert json.loads(out)["test"]["relative_l2"] == pytest.approx(error, rel=1e-6)
    given = open_dataset(data_file).test.to_xarray()[["a"]].isel(sample=0)
    given.to_netcdf("a.nc", engine="h5netcdf")
    status, out, err = run("predict", "run", "a.nc", "--output", "u.nc", "--json")
    assert status == 0, err
    assert json.loads(out)["fields"] == {"u": [8, 8]}
    cls: Any = names.operators()[operator]
    status, out, err = run("export", "run", "--output", "run.pt2", "--static", "--json")
    assert status == (0 if cls.properties.exports else 2), err


@pytest.mark.parametrize(
    "operator",
    [
        name if name == "mppde" else pytest.param(name, marks=pytest.mark.slow)
        for name, cls in names.operators().items()
        if not cls.properties.needs_grid  # type: ignore[attr-defined]
    ],
)
def test_every_operator_on_points_trains_on_clouds_and_repeats(run: Run, meshes: Path, operator: str) -> None:
    status, out, err = run(
        "train", meshes, "--operator", operator, "--steps", "2", "--output", "run", "--json"
    )
    assert status == 0, err
    error = json.loads(out)["test"]["relative_l2"]
    status, out, err = run("train", "--like", "run", "--output", "again", "--json")
    assert status == 0, err
    assert json.loads(out)["test"]["relative_l2"] == error
    status, out, err = run("evaluate", "run", meshes, "--json")
    assert status == 0, err
    # Normalized in float64 there, in float32 in training.
    assert json.loads(out)["test"]["relative_l2"] == pytest.approx(error, rel=1e-5)


def test_a_published_set_up_is_chosen_by_name(run: Run, data_file: Path) -> None:
    small = ("--set", "width=2", "--set", "depth=1")
    start = ("train", data_file, "--operator", "MgNO/darcy-smooth", *small, "--steps", "1")
    status, out, err = run(*start, "--output", "run", "--json")
    assert status == 0, err
    assert json.loads(out)["operator"] == "mgno/darcy-smooth"
    model = Surrogate.load("run/surrogate").model
    assert isinstance(model, MgNO)
    assert model.cycle == setups()["mgno/darcy-smooth"].arguments["cycle"]


def test_a_set_up_counts_for_itself_and_settings_change_it() -> None:
    """Of a preset of the data nothing is left but where its own operator is asked for."""
    assert DARCY.operator.func is FNO
    for default in (None, DARCY.operator):
        name, factory, code = names.chosen_operator("fno/burgers", default)
        assert (name, code) == ("fno/burgers", None)
        assert isinstance(factory, partial) and factory.func is FNO
        assert factory.keywords == {"modes": 16, "width": 64, "depth": 4}
    entry, *_ = entries_of(
        CompareOptions(operators="mgno/darcy-rough,fno", settings=("mgno/darcy-rough.width=3",)),
        [contest_of("darcy", DataOptions())],
    )
    assert isinstance(entry, Entry) and entry.name == "mgno/darcy-rough"
    assert entry.settings == {"width": 3}
    assert isinstance(entry.factory, partial) and entry.factory.func is MgNO


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mgno/darcy-smoth", "there is mgno/darcy-rough, .* Did you mean 'darcy-smooth'"),
        ("multionet/darcy", "of multionet there is none"),
        ("mgmo/darcy-smooth", "there is no operator 'mgmo'"),
        ("mgno/", "there is no published set-up 'mgno/'"),
    ],
)
def test_an_unknown_set_up_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        names.chosen_operator(name)


def test_operators_are_listed_with_their_set_ups(run: Run) -> None:
    status, out, _ = run("operators", "--json")
    listed = json.loads(out)["operators"]
    assert status == 0
    assert listed.keys() == names.operators().keys()
    assert {name for card in listed.values() for name in card["setups"]} == setups().keys()
    assert all(card["summary"] and card["properties"] for card in listed.values())
    status, out, _ = run("operators")
    assert "mgno/darcy-rough: He" in out and "(572,661 parameters)" in out and "one resolution" in out


def test_settings_may_be_made_of_literals() -> None:
    given = ["modes=SeparableWeights(modes=(4, 3))", "depth = Stack(2, head='branch')", "width=-4"]
    assert names.parse_settings(given) == {
        "modes": SeparableWeights((4, 3)),
        "depth": Stack(2, head="branch"),
        "width": -4,
    }
    assert names.parse_settings(["modes=TuckerWeights(8, rank=(4, 4, 2))"]) == {
        "modes": TuckerWeights(8, rank=(4, 4, 2))
    }
    assert names.parts()["CPWeights"] is CPWeights
    parts = ["layers=Gated(2, heads=4)", "blocks=Sliced(slices=8)", "near=Nearest(6)", "far=Radius(0.2)"]
    assert names.parse_settings(parts) == {
        "layers": Gated(2, heads=4),
        "blocks": Sliced(slices=8),
        "near": Nearest(6),
        "far": Radius(0.2),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "modes=CPWeight(8)",
            "there is no CPWeight; there is BlockDiagonalWeights, .* Did you mean 'CPWeights'",
        ),
        ("modes=open('x')", "there is no open"),
        ("modes=CPWeights(8, rnak=3)", "CPWeights does not accept this: .*rnak"),
        ("modes=CPWeights(**{'rank': 3})", "CPWeights does not accept this"),
        ("modes=CPWeights(8, rank='a')", "CPWeights does not accept this"),
        ("modes=CPWeights(8, rank=-1)", "CPWeights: rank must be a whole number"),
        ("modes=CPWeights(open('x'))", "is not a number"),
        ("modes=CPWeights(8).make((1,), (1, 1))", "is not a number"),
        ("modes=sciml.operators.ffno.Stack(3)", "is not a number"),
        ("modes=(CPWeights(8), 3)", "is not a number"),
    ],
)
def test_other_expressions_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        names.parse_settings([text])


def test_nothing_else_can_be_named() -> None:
    """Each is a settings object of an operator or a rule of neighbors: frozen, without effects when made."""
    found: dict[str, Any] = names.parts()
    homes = {cls.__module__ for cls in found.values()}
    assert all(home.startswith("sciml.operators.") for home in homes - {"sciml.neighbors"})
    assert all(cls.__dataclass_params__.frozen for cls in found.values())
