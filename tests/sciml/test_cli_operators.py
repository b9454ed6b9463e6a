"""Operators beside FNO on the command line, and settings that are more than literals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sciml.cli import names
from sciml.datasets.darcy import Darcy
from sciml.errors import ConfigError
from sciml.operators.ffno import FFNO, Stack
from sciml.operators.spectral_weights import CPWeights, SeparableWeights, TuckerWeights
from sciml.operators.tfno import TFNO
from sciml.surrogate import Surrogate

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "darcy.h5"
    Darcy(resolution=8).make(path, train=4, valid=2, test=2, workers=1)
    return path


@pytest.mark.parametrize(
    ("operator", "cls", "settings"),
    [
        ("tfno", TFNO, []),
        ("ffno", FFNO, ["depth=Stack(2, shared=True)", "modes=CPWeights(3, rank=2)"]),
    ],
)
def test_it_trains_and_its_surrogate_loads(
    run: Run,
    data_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    operator: str,
    cls: type,
    settings: list[str],
) -> None:
    monkeypatch.setattr("sciml.cli.train.write_report", lambda path, **_: path.write_text("a report"))
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
    """Each is a settings object of an operator: frozen, and without effects when made."""
    found: dict[str, Any] = names.parts()
    assert all(cls.__module__.startswith("sciml.operators.") for cls in found.values())
    assert all(cls.__dataclass_params__.frozen for cls in found.values())
