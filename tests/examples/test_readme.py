"""The Python blocks of the README run one after another, on small data made on the spot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray

import sciml
from sciml.datasets.darcy import Darcy

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_two_commands_stand_word_for_word() -> None:
    blocks = re.findall(r"```bash\n(.*?)\n```", README, flags=re.DOTALL)
    assert "pip install -c constraints.txt . && sciml train darcy" in blocks
    assert 'pip install -c constraints.txt ".[test]" && pytest' in blocks


def test_links_point_to_files() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # 24 points carry modes=12; the field is finer than the data.
    Darcy(resolution=24).make("darcy.h5", train=16, valid=2, test=2, workers=1)
    fine = Darcy(resolution=32)
    a, u = fine.sample([99])
    coordinates = {axis.name: axis.coordinates for axis in fine.grid.axes}
    xarray.Dataset({"a": (("x", "y"), a[0])}, coords=coordinates).to_netcdf("field.nc", engine="h5netcdf")
    blocks = re.findall(r"```python\n(.*?)\n```", README, flags=re.DOTALL)
    assert len(blocks) == 5
    code = "\n".join(blocks).replace("steps=2_000", "steps=3")
    assert "steps=3" in code
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert sciml.Surrogate.load("darcy.sciml").outputs[0].name == "u"
    with xarray.open_dataset("pressure.nc") as written:
        assert written["u"].shape == (32, 32)
    assert names["info"] == 0
    assert -125 < names["slope"] < -30  # the front is 0.01 wide and 2 high, and the grid has 256 points
    # Residual 1e-8, condition number about 32^2 times the contrast 4.
    np.testing.assert_allclose(names["u"], u.ravel(), atol=1e-4 * u.max())
    assert 0.0 < names["error"] < 2.0
    names["field"].close()
