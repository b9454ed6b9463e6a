"""Tables of numbers in text: COMSOL's exports and others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sciml.datasets.readers import TextTable, convert, open_any
from sciml.errors import DataError
from sciml.grid import Axis


def test_frames_samples_and_units_of_comsol(foreign: Any, tmp_path: Path) -> None:
    path = foreign("comsol")
    data = convert(path, tmp_path / "a.h5")
    table = np.loadtxt(path, comments="%")
    assert data.kind == "points" and len(data) == 2 and data.space.units == "mm"
    u = data.load("u")
    np.testing.assert_array_equal(u, table[:, 2:].T.reshape(2, 3, 9))
    assert data.times is not None and np.allclose(data.times, [0, 0.1, 0.2])
    assert data.parameter_names == ("Re",) and data.parameters()[:, 0].tolist() == [10, 20]  # type: ignore[index]
    assert data.fields["u"].units == "m/s" and data.fields["u"].role == "state"


def test_real_exports(test_data: Path, tmp_path: Path) -> None:
    folder = test_data / "pinnacle"
    heat = convert(folder / "heat_longtime.dat", tmp_path / "a.h5")
    assert heat.grid.axes == (
        Axis("x", 0.0, 1.0, 16, "cell", units="m"),
        Axis("y", 0.0, 1.0, 12, "cell", units="m"),
    )
    table = np.loadtxt(folder / "heat_longtime.dat", comments="%", encoding="utf-8")
    u = heat.load("u")[0]
    assert heat.fields["u"].units == "K" and u.shape == (501, 16, 12)
    for row in table[:20]:
        i, j = round(row[0] * 16 - 0.5), round(row[1] * 12 - 0.5)
        np.testing.assert_array_equal(u[:, i, j], row[2:])
    burgers = convert(folder / "burgers1d.dat", tmp_path / "b.h5")
    assert burgers.grid.axes[0] == Axis("x", -1.0, 1.0, 101, "node")
    cavity = convert(folder / "lid_driven_a4.dat", tmp_path / "c.h5")
    assert cavity.attributes["source_Re"] == 100 and list(cavity.fields) == ["u", "v", "p"]
    step = convert(folder / "ns_0_obstacle.dat", tmp_path / "d.h5")
    assert step.fields["p"].units == "Pa" and len(step.mesh(0)) == 12910


def test_tables_of_others(test_data: Path, tmp_path: Path) -> None:
    low = convert(test_data / "deepxde" / "mf_lo_train.dat", tmp_path / "a.h5")
    assert low.grid.axes[0] == Axis("x", 0.0, 1.0, 51, "node") and low.load("y").shape == (1, 51)
    test = convert(test_data / "deepxde" / "mf_hi_test.dat", tmp_path / "b.h5")
    assert "two columns without names" in test.attributes["conversion_notes"]
    path = tmp_path / "paraview.csv"
    path.write_text('"u","Points:0"\n1,2\n')
    with pytest.raises(DataError, match="the first column is '\"u\"'|the first column is 'u'"):
        open_any(path, cache=tmp_path)
    path.write_text('"Points:0","Points:1","Temp (K)"\n0,0,1\n1,0,2\n0,1,3\n1,1,4.5\n')
    data = convert(path, tmp_path / "c.h5")
    assert data.grid.names == ("x", "y") and data.load("Temp")[0].tolist() == [[1.0, 3.0], [2.0, 4.5]]
    path.write_text("# x; u\n0; 1+2i\n1; 3-1i\n")
    data = convert(path, tmp_path / "d.h5")
    assert data.load("u")[0].tolist() == [[1.0, 3.0], [2.0, -1.0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2 3\n4 5 6\n", "3 columns without names"),
        ("% Model: a\n% x u\n0 1\n", "lacks the line '% Dimension"),
        ("% Model: a\n% Dimension: 1\n% Expressions: 2\n% x u\n0 1\n", "1 coordinates and 2 expressions"),
        ("% Model: a\n% Dimension: 2\n% x y\n0 1\n", "all of them coordinates"),
        ("# x, u\n0 1\n2 3 4\n", "not a whole table"),
        ("# x, u\n0 1\n", "at least two points"),
        ("% Model: a\n% Dimension: 1\n% x  u @ t=0  v @ t=1\n0 1 2\n1 2 3\n", "different times"),
        ("% Model: a\n% Dimension: 1\n% x  u @ t=0  u @ t=0\n0 1 2\n1 2 3\n", "comes twice"),
        ("% Model: a\n% Dimension: 1\n% x  u\n", "not a whole table|all of them|at least two points"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_near_misses(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(DataError, match=words):
        TextTable().read(tmp_path / "a.txt")


def test_settings_may_follow_the_number_of_the_solution(tmp_path: Path) -> None:
    head = "% Model: a\n% Dimension: 1\n% x  T (K) @ 1: t=0  T (K) @ 2: t=0.5\n"
    (tmp_path / "a.txt").write_text(head + "0 1 2\n1 3 4\n")
    data = convert(tmp_path / "a.txt", tmp_path / "a.h5")
    assert data.times is not None and data.times.tolist() == [0.0, 0.5]
    assert data.load("T")[0].tolist() == [[1.0, 3.0], [2.0, 4.0]] and data.fields["T"].units == "K"


def test_other_text_is_no_table(tmp_path: Path) -> None:
    for text in ("", "hello\n", "{}\n", "a b c\nd e f\n", "5\n6\n", "x y\n1 2 3\n"):
        (tmp_path / "a.txt").write_text(text)
        assert not TextTable().detect(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_bytes(b"1 2\n\0")
    assert not TextTable().detect(tmp_path / "a.txt")


def test_points_without_values_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("% Model: a\n% Dimension: 1\n% x  u\n0 1\n1 NaN\n3 2\n4 5\n")
    data = convert(tmp_path / "a.txt", tmp_path / "a.h5")
    assert len(data.mesh(0)) == 3 and "1 points without finite values" in data.attributes["conversion_notes"]
