"""Roll-outs beside persistence, the mean and solvers, on a decay whose errors are known by hand."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sciml.assessment import Assessment, assess
from sciml.dataset import Dataset, Field, write_dataset
from sciml.errors import ConfigError
from sciml.evolution import Evolution
from sciml.files import finite
from sciml.grid import Grid
from sciml.normalization import Normalization
from sciml.surrogate import Channel, Surrogate

GRID = Grid.box((16, 16), location="node", periodic=True)
DECAY = 0.5  # from frame to frame
FRAMES = 5


@dataclass(frozen=True)
class Decay:
    """A "solver" of u_{n+1} = factor u_n."""

    factor: float
    name: str

    def trajectory(self, initial: Tensor, times: Sequence[float]) -> Tensor:
        assert initial.ndim == 3 and initial.dtype == torch.float64
        steps = torch.tensor(times) - times[0]
        return initial[:, None] * (self.factor ** (steps / 2.0))[None, :, None, None]


class Scale(nn.Module):
    """u_{n+1} = factor u_n."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def decaying(folder: Path) -> Dataset:
    """Waves of amplitude 1 and 2 that halve from frame to frame, two units of time apart."""
    x, _ = GRID.coordinates()
    wave = np.sin(2 * np.pi * 3 * x)
    amplitude = np.array([1.0, 3.0, 1.0, 2.0, 2.0])[:, None, None, None]
    w = amplitude * wave * (DECAY ** np.arange(FRAMES))[:, None, None]
    return write_dataset(
        folder / "decay.h5",
        grid=GRID,
        fields=[(Field("w", "state", long_name="vorticity", time=True), w)],
        split=[0, 0, 2, 2, 2],
        times=2.0 * np.arange(FRAMES) + 1.0,
    )


def stepping(factor: float) -> Surrogate:
    field, one = Channel("w", long_name="vorticity"), Normalization.identity(1)
    return Surrogate(
        Scale(factor),
        inputs=[field],
        outputs=[field],
        grid=GRID,
        input_normalization=one,
        output_normalization=one,
        evolution=Evolution(components=(1,), dt=2.0),
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return decaying(tmp_path_factory.mktemp("decay"))


@pytest.fixture(scope="module")
def found(data: Dataset) -> Assessment:
    solvers = [Decay(DECAY, "exact"), Decay(1.1 * DECAY, "coarse")]
    return assess(stepping(1.2 * DECAY), data.test, baselines=solvers, training=data.train)


def test_the_rows(found: Assessment) -> None:
    assert [(row.name, row.kind) for row in found.rows] == [
        ("Scale", "surrogate"),
        ("persistence", "trivial"),
        ("mean of training trajectories", "trivial"),
        ("exact", "classical"),
        ("coarse", "classical"),
    ]
    assert found.noun == "trajectory" and found.samples == 3 and found.indices == [2, 3, 4]
    assert found.rows[0].seconds is not None and found.rows[1].seconds is None
    assert found.timeline is not None and found.timeline.times == [2.0, 4.0, 6.0, 8.0]


def test_errors_over_time_are_those_of_the_factors(found: Assessment) -> None:
    surrogate, persistence, mean, exact, coarse = found.rows
    steps = np.arange(1, FRAMES)
    expected = 1.2**steps - 1
    assert surrogate.course is not None and exact.course is not None and persistence.course is not None
    # float64 throughout: a few roundings.
    np.testing.assert_allclose(surrogate.course.mean, expected, rtol=1e-12)
    np.testing.assert_allclose(surrogate.course.low, expected, rtol=1e-12)  # the same in every sample
    np.testing.assert_allclose(exact.course.mean, 0.0, atol=1e-15)
    np.testing.assert_allclose(persistence.course.mean, 2.0**steps - 1, rtol=1e-12)
    means = surrogate.means
    assert means["relative_l2_first"] == pytest.approx(expected[0], rel=1e-12)
    assert means["relative_l2_last"] == pytest.approx(expected[-1], rel=1e-12)
    assert means["relative_l2_frames"] == pytest.approx(expected.mean(), rel=1e-12)
    # All frames together: the frames have weights 4^-n.
    weights = 0.25**steps
    together = math.sqrt((weights * expected**2).sum() / weights.sum())
    assert surrogate.error == pytest.approx(together, rel=1e-12)
    assert surrogate.errors == pytest.approx([together] * 3, rel=1e-12)
    # The training mean has amplitude 2, the test samples 1, 2 and 2.
    assert mean.errors == pytest.approx([1.0, 0.0, 0.0], abs=1e-15)
    assert coarse.error < surrogate.error


def test_durations_say_how_many_were_not_over(found: Assessment) -> None:
    surrogate, _, _, exact, _ = found.rows
    # 1.2^2 - 1 = 0.44 is the first error above 0.4.
    assert surrogate.metrics["valid_time"]["mean"] == 4.0 and surrogate.metrics["valid_time"]["censored"] == 0
    assert exact.metrics["valid_time"]["worst"] == 8.0 and exact.metrics["valid_time"]["censored"] == 3
    assert surrogate.metrics["correlation_time"]["censored"] == 3  # only the amplitude is wrong


def test_spectra_at_the_last_frame(found: Assessment) -> None:
    """Vorticity a sin(k x) with k = 6 pi carries the energy (a/k)^2/4; it lies in shell 3."""
    assert found.timeline is not None and found.timeline.quantity == "kinetic energy"
    assert found.timeline.spectrum is not None and found.surrogate.spectrum is not None
    square = (1 + 4 + 4) / 3 * DECAY ** (2 * FRAMES - 2)
    energy = square / (6 * math.pi) ** 2 / 4
    assert found.timeline.spectrum[3] == pytest.approx(energy, rel=1e-12)
    assert sum(found.timeline.spectrum) == pytest.approx(energy, rel=1e-12)
    assert found.surrogate.spectrum[3] == pytest.approx(energy * 1.2 ** (2 * FRAMES - 2), rel=1e-12)


def test_the_speed_up_is_stated_at_equal_error(found: Assessment) -> None:
    able = {row.name for row in found.rows if row.kind == "classical" and row.error <= found.surrogate.error}
    assert able == {"exact", "coarse"} and found.equal is not None and found.equal.name in able
    assert "per trajectory" in found.verdict and "3 trajectories each" in found.conditions
    lazy = dataclasses.replace(
        found, rows=(dataclasses.replace(found.rows[1], kind="surrogate"), *found.rows[1:])
    )
    assert "no better than the persistence" in lazy.verdict


def test_it_survives_json_even_if_a_solver_blew_up(data: Dataset) -> None:
    found = assess(stepping(0.6), data.test, baselines=[Decay(1e200, "unstable")], training=data.train)
    written = json.dumps(finite(found.to_dict()), allow_nan=False)
    read = Assessment.from_dict(json.loads(written))
    assert read.rows[:-1] == found.rows[:-1] and read.timeline == found.timeline
    assert not math.isfinite(read.rows[-1].error) and not math.isfinite(found.rows[-1].error)
    assert read.equal is None and read.verdict == found.verdict


def test_the_other_kind_of_solver_is_refused(data: Dataset, tmp_path: Path) -> None:
    @dataclass
    class Map:
        name: str = "a map"

        def predict(self, inputs: Tensor, grid: Grid) -> Tensor:
            return inputs

    with pytest.raises(ConfigError, match="a map is no solver that steps through time"):
        assess(stepping(0.6), data.test, baselines=[Map()])
    u = np.ones((2, 8), dtype=np.float32)
    maps = write_dataset(
        tmp_path / "u.h5",
        grid=Grid.box((8,)),
        fields=[(Field("u", "input"), u), (Field("v", "output"), u)],
        split=[0, 2],
    )
    one = Normalization.identity(1)
    surrogate = Surrogate(
        nn.Identity(),
        inputs=[Channel("u")],
        outputs=[Channel("v")],
        grid=maps.grid,
        input_normalization=one,
        output_normalization=one,
    )
    with pytest.raises(ConfigError, match="steps through time, but the surrogate is a map"):
        assess(surrogate, maps.test, baselines=[Decay(1.0, "a stepper")])
