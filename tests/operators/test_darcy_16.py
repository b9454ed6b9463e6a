"""What tools/darcy_16.py trains and tools/darcy_floor.py estimates, in small."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def floor(tool: ModuleType) -> ModuleType:
    """Another one, of the same folder."""
    return import_module("darcy_floor")


def test_a_short_training_knows_the_wall_at_both_resolutions(
    tool: ModuleType, test_data: Path, tmp_path: Path
) -> None:
    found = torch.load(test_data / "neuraloperator" / "darcy_train_16.pt", weights_only=True)
    x, y = (found[name][:40].clone() for name in ("x", "y"))
    torch.save({"x": x, "y": y}, tmp_path / "few.pt")
    # The grid of 32 holds that of 16 at its even points; between them linear interpolation.
    ends = torch.cat([y, 2 * y[:, -1:] - y[:, -2:-1]], 1)
    ends = torch.cat([ends, 2 * ends[..., -1:] - ends[..., -2:-1]], 2)[:, None]
    finer = torch.nn.functional.interpolate(ends, size=33, mode="bilinear", align_corners=True)[
        :, 0, :32, :32
    ]
    assert torch.equal(finer[:, ::2, ::2], y)
    doubled = x.repeat_interleave(2, 1).repeat_interleave(2, 2)
    torch.save({"x": doubled, "y": finer.clone()}, tmp_path / "fine.pt")

    def run() -> dict[str, float]:
        return tool.main(
            tmp_path, tmp_path / "few.pt", [tmp_path / "few.pt", tmp_path / "fine.pt"], steps=30, width=6
        )

    errors = run()
    mean = y.mean(0)
    trivial = float(((y - mean).flatten(1).norm(dim=1) / y.flatten(1).norm(dim=1)).mean())
    assert errors["few"] < 0.9 * trivial
    assert errors["fine"] == pytest.approx(errors["few"], rel=0.2)  # media half a point apart
    assert run() == errors  # the finished run, read back


def test_sampled_signs_have_the_mean_of_a_truncated_normal(floor: ModuleType) -> None:
    """E[z₁ | z₁, z₂ > 0] = (1 + ρ) / (2 √(2π) P), P = 1/4 + asin(ρ) / 2π."""
    rho, chains = 0.8, 4000
    precision = np.linalg.inv(np.array([[1, rho], [rho, 1]]))
    sample = floor.sample_signs
    z = sample(np.full((2, chains), 0.1), precision, 30, np.random.default_rng(0))
    mean = (1 + rho) / (2 * np.sqrt(2 * np.pi) * (0.25 + np.arcsin(rho) / (2 * np.pi)))
    assert (z > 0).all()
    assert abs(z.mean(1) - mean).max() < 4 * 0.6 / np.sqrt(chains)  # four standard errors
    assert (sample(-np.full((2, 5), 0.1), precision, 3, np.random.default_rng(0)) < 0).all()


def test_the_covariance_is_that_of_free_samples(floor: ModuleType) -> None:
    amplitude, kept, rng = floor.amplitudes(9), slice(0, 8, 2), np.random.default_rng(0)
    free = [floor.idctn(amplitude * rng.standard_normal((9, 9)), norm="ortho") for _ in range(4000)]
    values = np.stack(free)
    counted = np.einsum("nxy,nst->xyst", values, values[:, kept, kept]) / len(values)
    exact = floor.covariance(amplitude, kept).reshape(counted.shape)
    assert abs(counted - exact).max() < 5 * exact.max() * np.sqrt(2 / len(values))  # five standard errors


def test_the_floor_of_independent_noise(floor: ModuleType) -> None:
    """Draws and y are 1 + 0.1 noise: the mean of all is 1, the error 0.1, for any number of draws."""
    rng = np.random.default_rng(0)
    drawn, y = 1 + 0.1 * rng.standard_normal((50, 4, 16, 16)), 1 + 0.1 * rng.standard_normal((50, 16, 16))
    for estimate in floor.floors(drawn, y):
        # Of the norm of y, sqrt(1 + 0.01); the noise of 50 x 256 values is below a hundredth.
        assert estimate.mean() == pytest.approx(0.1 / np.sqrt(1.01), rel=0.02)
