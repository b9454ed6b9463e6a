"""The bench of data generation runs, and both sides make the same samples."""

from __future__ import annotations

import json

import pytest

from sciml.datasets.bench.__main__ import RACES, main


@pytest.mark.parametrize("name", list(RACES))
def test_both_sides_make_the_same_samples(name, capsys):
    """To the rounding of some hundred operations."""
    assert main([name, "--quick", "--rounds", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["difference"] < 1e-8
    assert all(number > 0 for spread in ("plain", "ours", "ratio") for number in found[spread])


def test_table_has_the_ratio(capsys):
    assert main(["navier-stokes", "--quick", "--rounds", "1"]) == 0
    *_, head, _, row = capsys.readouterr().out.strip().splitlines()
    assert head.count("|") == row.count("|") == 6 and row.startswith("| navier-stokes |")
