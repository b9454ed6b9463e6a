"""What tools/poisson_holes.py trains, in small."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from sciml.datasets.poisson import PoissonWithHoles
from sciml.presets import Generated

SMALL: dict[str, Any] = {"generator": PoissonWithHoles(resolution=8), "counts": (10, 2, 3, 4)}


@pytest.fixture(autouse=True)
def few(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps, points and validations."""
    for name, value in (("TIMED", 4), ("POINTS", 20), ("JUDGED", 2)):
        monkeypatch.setattr(tool, name, value)


def test_the_operator_is_affine_in_source_level_and_flux(tool: ModuleType) -> None:
    model = tool.model(0).double()
    generator = torch.Generator().manual_seed(0)
    x, places, numbers = (
        torch.rand(*shape, dtype=torch.float64, generator=generator)
        for shape in ((1, 30, 3), (1, 30, 2), (1, 2))
    )
    forcing = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    u = [model(x * (1 + s * forcing), places, None, numbers * (1 + s)) for s in (0.0, 1.0, 2.0)]
    torch.testing.assert_close(u[2] - u[1], u[1] - u[0], rtol=0, atol=1e-12)
    assert sum(p.numel() for p in model.parameters()) == 250_384


def test_a_short_training_is_judged_on_the_split_of_the_benchmark_and_read_back(
    tool: ModuleType, tmp_path: Path
) -> None:
    made = Generated(SMALL["generator"], train=sum(SMALL["counts"]), valid=0, test=0)
    path = tmp_path / made.file_name("poisson-with-holes")
    made.generator.make(path, train=made.train, valid=0, test=0, workers=1)
    found = tool.main(tmp_path, minutes=1e-6, **SMALL)
    assert found["steps"] == 4 and found["valid"] < 1.5 and found["test"] < 1.5
    assert tool.main(tmp_path, minutes=15, **SMALL) == found  # the number of steps is fixed, the run finished
    data = tool.samples(tmp_path, SMALL["generator"], SMALL["counts"])
    # A sample follows from its position alone: these are where those of the benchmark are.
    assert [list(part.indices) for part in (data.valid, data.test)] == [[10, 11], [12, 13, 14]]
    assert list(data.train.indices) == [*range(10), *range(15, 19)]
