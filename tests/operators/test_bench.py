"""The bench of the operators: what counts as a product, what is written, that every operator takes part."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn.functional import conv2d

import sciml.operators
from sciml.operators.bench import BETWEEN, PRODUCTS, lanes, main, shares


def test_products_and_convolutions_count_and_nothing_else() -> None:
    """Each is so long that starting it is a small part; the bounds leave room for a busy machine."""
    a, image = torch.randn(768, 768), torch.randn(4, 16, 96, 96)
    weight = torch.randn(16, 16, 5, 5, requires_grad=True)
    assert shares(lambda: a @ a)[0] > 0.5
    assert shares(lambda: torch.baddbmm(a[None], a[None], a[None]))[0] > 0.5
    assert shares(lambda: conv2d(image, weight).sum().backward())[0] > 0.5
    products, others = shares(lambda: a.tanh().sin())
    assert products == 0 and {"aten::tanh", "aten::sin"} <= set(others)
    assert not set(others) & set(PRODUCTS)
    assert sum(others.values()) == pytest.approx(1.0, abs=1e-3)  # each is rounded to four digits
    assert BETWEEN in others


def test_speeds_are_written_as_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--only", "FNO", "--only", "MPPDE", "--batch", "2", "--rounds", "2", "--quick"]
    assert main([*given, "--output", str(tmp_path)]) == 0
    table = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert table == capsys.readouterr().out and table.startswith("`python -P -m sciml.operators.bench --only")
    report = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    fno, mppde = report["operators"]
    assert (fno["operator"], fno["points"]) == ("FNO", 2 * 16 * 16)
    assert (
        mppde["operator"] == "MPPDE" and 2 * 20 < mppde["points"] < 2 * 16 * 16
    )  # meshes of 8 elements a side
    for speed in (fno, mppde):
        low, middle, high = speed["step_seconds"]
        assert 0 < low <= middle <= high and 0 < speed["products"] < 1 and speed["parameters"] > 0
        assert speed["points_per_second"] == pytest.approx(speed["points"] / middle)
        assert f"| {speed['operator']} | {speed['points']:,} | {speed['parameters']:,} |" in table
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert {row.count("|") for row in rows} == {8} and len(rows) == 3


@pytest.mark.slow
def test_every_operator_takes_part(tmp_path: Path) -> None:
    for one in lanes(sciml.operators.__all__, tmp_path, batch=2, quick=True):
        one.step()
