"""Protocols: frozen, honest about their splits, and ready to train."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sciml.comparison.benchmark import Benchmark, Fetched, Made
from sciml.comparison.benchmarks import BENCHMARKS
from sciml.comparison.entry import Entry
from sciml.comparison.fields import FieldContest
from sciml.comparison.published import Published
from sciml.datasets.generation import sample_seed
from sciml.datasets.generator import Generator
from sciml.datasets.readers import PDEBench
from sciml.description import describe
from sciml.errors import ConfigError, DataError
from sciml.presets import Generated

# A protocol that changes needs another name: v2 beside v1.  Never edit a line here to make a test pass.
FINGERPRINTS = {
    "darcy/smooth-85/v1": "427b63b9",
    "darcy/smooth-141/v1": "bebcabb0",
    "darcy/smooth-211/v1": "cad8fd74",
    "darcy/rough-64/v1": "b1fb6818",
    "darcy/rough-256/v1": "1dd3a9e3",
    "darcy/multiscale-256/v1": "fc8835c2",
    "helmholtz/8-65/v1": "9c58ba8b",
    "helmholtz/50-101/v1": "cb19fa00",
    "elasticity/void/v1": "14ac5ad9",
    "poisson/holes/v1": "03791637",
    "poisson/holes/v2": "5ad19036",
    "navier-stokes/1e-3-rollout/v1": "43c705f6",
    "navier-stokes/1e-3-unrolled/v1": "cde405c5",
    "navier-stokes/1e-4-unrolled/v1": "847449a7",
    "navier-stokes/1e-5-unrolled/v1": "53aeb85f",
    "navier-stokes/1e-3-at-once/v1": "b12d17cf",
    "navier-stokes/1e-4-at-once/v1": "c9cc5798",
    "navier-stokes/1e-5-at-once/v1": "d2710a5b",
    "navier-stokes/1e-5-forced/v1": "f0fbfbc1",
    "navier-stokes/1e-5-markov/v1": "f5f21281",
    "navier-stokes/1e-5-first-ten/v1": "9fea76fa",
    "burgers/1024/v1": "8902a6d4",
    "e1/100/v2": "9729f677",
    "e1/50/v2": "3fcdfd86",
    "e1/40/v2": "12e07d25",
    "e2/100/v2": "71e00e78",
    "e2/50/v2": "25f40ef6",
    "e2/40/v2": "bf08b982",
    "e3/100/v2": "15c7d9c0",
    "e3/50/v2": "3fc38d33",
    "e3/40/v2": "9ab796f3",
    "kuramoto-sivashinsky/22/v1": "8acbf43b",
    "fno-files/navier-stokes-1e-3-unrolled/v1": "7c40dcae",
    "fno-files/navier-stokes-1e-5-unrolled/v1": "e0cb25c3",
    "fno-files/navier-stokes-1e-5-at-once/v1": "ea796906",
    "fno-files/navier-stokes-1e-5-forced/v1": "17241118",
    "pdebench/darcy-1/v1": "9ec0409f",
    "pdebench/advection-0.4/v1": "385deb82",
    "pdebench/burgers-0.001/v1": "dbe776ea",
    "pdebench/reaction-diffusion-0.5-1/v1": "124bc4be",
    "pdebench/diffusion-sorption/v1": "dcd62c53",
    "pdebench/shallow-water/v1": "0e115ea5",
    "pdebench/diffusion-reaction/v1": "5514d423",
    "the-well/turbulent-radiative-layer-2d/v1": "626ef7c5",
    "the-well/active-matter/v1": "0604914c",
    "the-well/gray-scott/v1": "a47ff80d",
}

# The first sample of each set of data, so that a change of a solver or of a law is noticed: the root mean
# square of every field, to 1e-4.
CHEAP = {
    "darcy/smooth-85/v1": [9.06894, 0.00696169],
    "darcy/smooth-141/v1": [9.0642, 0.00696554],
    "darcy/smooth-211/v1": [9.06454, 0.00696302],
    "darcy/rough-64/v1": [9.23098, 0.00796541],
    "darcy/rough-256/v1": [9.23665, 0.00790921],
    "elasticity/void/v1": [0.292987, 223.085, 0.00168998],
    "poisson/holes/v1": [0.76991, 19.0382, 0.355353, 0.789143, 0.579908],
    "navier-stokes/1e-3-rollout/v1": [0.688005],
    "navier-stokes/1e-3-unrolled/v1": [0.843644],
    "burgers/1024/v1": [0.826833],
}
COSTLY = {
    "darcy/multiscale-256/v1": [1.44087, 0.100084],
    "helmholtz/8-65/v1": [0.95065, 0.219806],
    "helmholtz/50-101/v1": [0.985813, 0.097025],
    "navier-stokes/1e-4-unrolled/v1": [1.30031],
    "navier-stokes/1e-5-unrolled/v1": [1.10703],
    "e1/100/v2": [1.38339, 1.0, 0.0, 0.0],
    "e1/50/v2": [1.37306, 1.0, 0.0, 0.0],
    "e1/40/v2": [1.36464, 1.0, 0.0, 0.0],
    "e2/100/v2": [1.34819, 1.0, 0.114774, 0.0],
    "e2/50/v2": [1.34163, 1.0, 0.114774, 0.0],
    "e2/40/v2": [1.33553, 1.0, 0.114774, 0.0],
    "e3/100/v2": [1.12638, 0.561354, 0.229548, 0.12879],
    "e3/50/v2": [1.12473, 0.561354, 0.229548, 0.12879],
    "e3/40/v2": [1.1235, 0.561354, 0.229548, 0.12879],
    "kuramoto-sivashinsky/22/v1": [1.18028],
}


def test_no_protocol_changes_under_its_name() -> None:
    assert {name: b.fingerprint for name, b in BENCHMARKS.items()} == FINGERPRINTS


def made() -> dict[str, Made]:
    """One benchmark for each set of data of ours."""
    found: dict[str, tuple[str, Made]] = {}
    for name, benchmark in BENCHMARKS.items():
        if isinstance(benchmark.data, Made):
            found.setdefault(str(benchmark.data.describe()), (name, benchmark.data))
    return dict(found.values())


@pytest.mark.parametrize("name", [*CHEAP, *(pytest.param(n, marks=pytest.mark.slow) for n in COSTLY)])
def test_data_stay_what_they_were(name: str) -> None:
    assert signature(made()[name].generated) == pytest.approx({**CHEAP, **COSTLY}[name], rel=1e-4)


def signature(generated: Generated) -> list[float]:
    generator = generated.generator
    arrays = generator.sample([sample_seed(generator.name, generated.seed, 0)])
    return [float(np.sqrt(np.mean(np.square(values[0])))) for values in arrays]


def test_every_set_of_data_has_a_signature() -> None:
    assert {*CHEAP, *COSTLY} == set(made())


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_protocol_says_what_it_is(name: str) -> None:
    benchmark = BENCHMARKS[name]
    card = benchmark.describe()
    assert name == benchmark.name == card["name"] and name.rsplit("/", 1)[1] in ("v1", "v2")
    assert benchmark.source and benchmark.note and benchmark.metric in card["metric"]
    assert "validation split is only watched" in card["selection"] and card["loss"] == {
        "name": "sciml.metrics.relative_l2"
    }
    split = card["split"]
    assert split.get("rule") == "the split of the file" or min(split["train"], split["test"]) >= 50
    for row in benchmark.published:
        assert row.metric == benchmark.metric and 0 < row.value < (50 if "mse" in row.metric else 0.5)
        assert row.same_protocol or isinstance(benchmark.data, Made) or name.startswith("fno-files")
        # On other data it is another protocol, however equal the settings.
        assert not (row.same_protocol and isinstance(benchmark.data, Made))


def test_ranges_of_files_do_not_overlap() -> None:
    for benchmark in BENCHMARKS.values():
        data = benchmark.data
        if isinstance(data, Fetched) and data.train is not None:
            parts = [range(*part) for part in (data.train, data.valid, data.test) if part is not None]
            assert sum(map(len, parts)) == len(set().union(*parts)) <= data.samples
            assert max(map(max, parts)) < data.samples


def test_what_is_published_has_a_reason_where_it_differs() -> None:
    with pytest.raises(ConfigError, match="a reason exactly if the protocol differs"):
        Published("FNO", 0.01, "relative_l2", "somewhere", "read", False)
    with pytest.raises(ConfigError, match="positive value"):
        Published("FNO", 0.0, "relative_l2", "somewhere", "read", True)


class Scaled(nn.Module):
    """The first output channels are mixtures of the inputs, at each point; on grids and on points."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.mix = nn.Linear(in_channels, out_channels)

    def forward(self, x: Tensor, coordinates: Tensor) -> Tensor:
        if coordinates.shape[1] == coordinates.ndim - 2:  # a grid: channels come second
            return torch.movedim(self.mix(x.movedim(1, -1)), -1, 1)
        mixed: Tensor = self.mix(x)
        return mixed


# Frames that are judged: what the published protocols predict.
PREDICTED = {
    "navier-stokes/1e-3-rollout/v1": 20,
    "navier-stokes/1e-3-unrolled/v1": 40,
    "navier-stokes/1e-4-at-once/v1": 20,
    "navier-stokes/1e-5-unrolled/v1": 10,
    "navier-stokes/1e-5-at-once/v1": 10,
    "navier-stokes/1e-5-forced/v1": 10,
    "navier-stokes/1e-5-markov/v1": 10,
    "navier-stokes/1e-5-first-ten/v1": 10,
    "burgers/1024/v1": 1,
    "e1/100/v2": 200,
    "e3/40/v2": 200,
    "kuramoto-sivashinsky/22/v1": 100,
}
MAPS = (
    "darcy/smooth-85/v1",
    "helmholtz/8-65/v1",
    "elasticity/void/v1",
    "poisson/holes/v1",
    "poisson/holes/v2",
)


SHORT = (
    "darcy/smooth-85/v1",
    "poisson/holes/v2",
    "navier-stokes/1e-5-unrolled/v1",
    "navier-stokes/1e-5-at-once/v1",
    "navier-stokes/1e-5-markov/v1",
    "navier-stokes/1e-5-first-ten/v1",
    "burgers/1024/v1",
    "e1/100/v2",
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in SHORT else [pytest.mark.slow]) for n in (*MAPS, *PREDICTED)],
)
def test_a_protocol_trains_and_judges_as_it_says(name: str, tmp_path: Path) -> None:
    """On few samples of little resolution."""
    benchmark = BENCHMARKS[name]
    assert isinstance(benchmark.data, Made)
    generated = Generated(tiny(benchmark.data.generated.generator), 4, 1, 2)
    contest = FieldContest(dataclasses.replace(benchmark, data=Made(generated)), tmp_path)
    plan = contest.plan(Entry("scaled", Scaled), seed=0, steps=1, device="cpu")
    objective: Any = plan.objective
    assert objective.dataset.indices.tolist() == [0, 1, 2, 3]
    found = contest.judge(plan.trainer.fit(plan.model, plan.objective))
    assert found.indices == [5, 6] and benchmark.metric in found.metrics
    if name in PREDICTED:
        assert found.course is not None and len(found.course["times"]) == PREDICTED[name]


FINER = ("helmholtz", "kuramoto_sivashinsky")  # whose waves 8 points do not hold


def tiny(generator: Any) -> Generator:
    """With the same frames and times, and no more points than its laws need."""
    settings = {item.name for item in dataclasses.fields(generator)}
    changes: dict[str, Any] = {"resolution": 16 if generator.name in FINER else 8}
    changes |= {"refinement": 1} if "refinement" in settings else {}
    changes |= {"discard": 0.0} if "discard" in settings else {}
    small: Generator = dataclasses.replace(generator, **changes)
    return small


def test_a_file_of_others_is_looked_for_checked_and_cut(tmp_path: Path, monkeypatch: Any) -> None:
    known = Fetched("darcy.hdf5", "Nobody offers it", PDEBench(), 8, train=(2, 6), valid=(6, 7), test=(0, 2))
    benchmark = Benchmark("pdebench/tiny/v1", known, inputs=("a",), outputs=("u",))
    monkeypatch.chdir(tmp_path)
    contest = FieldContest(benchmark, tmp_path / "data")
    with pytest.raises(DataError, match="darcy.hdf5 is neither in .* Nobody offers it"):
        contest.prepare()
    written(tmp_path / "darcy.hdf5", 8)
    assert [part.indices.tolist() for part in (contest.data.train, contest.test)] == [[2, 3, 4, 5], [0, 1]]
    assert contest.describe()["data"]["digest"] == contest.data.digest
    # Its training samples decide on the normalization: the file itself has other ones.
    nu = contest.data.load("a", [2, 3, 4, 5]).mean()
    assert math.isclose(contest.data.statistics("a").mean.item(), nu, rel_tol=1e-6)
    written(tmp_path / "darcy.hdf5", 9)
    with pytest.raises(DataError, match="holds 9 samples, but the protocol is for 8"):
        FieldContest(benchmark, tmp_path / "data").prepare()


def written(path: Path, samples: int) -> None:
    """As PDEBench writes Darcy flow."""
    values = np.random.default_rng(0).uniform(0.1, 1.0, (samples, 8, 8)).astype(np.float32)
    with h5py.File(path, "w") as file:
        file["nu"], file["tensor"] = values, values[:, None]
        for axis in "xy":
            file[f"{axis}-coordinate"] = (np.arange(8) + 0.5) / 8
        file.attrs["beta"] = 1.0


def test_settings_that_contradict_each_other() -> None:
    data = BENCHMARKS["darcy/smooth-85/v1"].data
    with pytest.raises(ConfigError, match="inputs and outputs or neither"):
        Benchmark("half", data, inputs=("a",))


def test_what_is_frozen_changes_the_fingerprint_and_nothing_else_does() -> None:
    first = BENCHMARKS["navier-stokes/1e-5-markov/v1"]
    for name, value in {"start": 8, "budget": "1h", "metric": "vrmse", "every": {}, "name": "x"}.items():
        assert dataclasses.replace(first, **{name: value}).fingerprint != first.fingerprint
    assert isinstance(first.data, Made)
    other = Made(dataclasses.replace(first.data.generated, seed=1))
    assert dataclasses.replace(first, data=other).fingerprint != first.fingerprint
    assert dataclasses.replace(first, published=(), source="", note="").fingerprint == first.fingerprint
    assert describe(first.loss) == {"name": "sciml.metrics.relative_l2"}
