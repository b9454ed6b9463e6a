"""Contests on fields: trained as by ``sciml train``, judged on the test split, beside known predictors."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sciml.assessment import assess
from sciml.cli.options import DataOptions, ModelOptions, RolloutOptions, RunOptions, TrainingOptions
from sciml.cli.plan import make_plan
from sciml.comparison import trivial
from sciml.comparison.benchmark import Benchmark, Made
from sciml.comparison.contest import Reference
from sciml.comparison.entry import Entry
from sciml.comparison.fields import FieldContest
from sciml.dataset import Dataset, Field, open_dataset, write_dataset
from sciml.datasets.darcy import Darcy
from sciml.datasets.navier_stokes import NavierStokes
from sciml.datasets.poisson import PoissonWithHoles
from sciml.description import build, describe
from sciml.errors import ConfigError, DataError
from sciml.grid import Grid
from sciml.metrics import relative_h1, relative_l2
from sciml.operators.fno import FNO
from sciml.presets import PRESETS, Generated, Recipe
from sciml.run import Run
from sciml.streams import Streams
from sciml.supervised import Supervised
from sciml.trainer import Trainer
from sciml.unroll import Frames, Stepping, Unroll

SPLIT = [0] * 12 + [1] * 3 + [2] * 5
SMALL = Entry("fno", FNO, {"modes": 2, "width": 4, "depth": 1})


class Factor(nn.Module):
    """Times a number, whatever the channels."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def linear_data(folder: Path, split: list[int] = SPLIT, *, periodic: bool = False) -> Dataset:
    """u = 2 a on eight points, a not of mean 0."""
    a = np.random.default_rng(0).uniform(1.0, 2.0, (len(split), 8)).astype(np.float32)
    return write_dataset(
        folder / "linear.h5",
        grid=Grid.box((8,), periodic=periodic),
        fields=[(Field("a", "input"), a), (Field("u", "output", units="m"), 2 * a)],
        split=split,
    )


def growing_data(folder: Path) -> Dataset:
    """A state that doubles from frame to frame: of it persistence and the mean trajectory are known."""
    start = np.random.default_rng(1).uniform(1.0, 2.0, (20, 1, 8))
    u = start * 2.0 ** np.arange(7.0)[:, None]
    return write_dataset(
        folder / "growing.h5",
        grid=Grid.box((8,), periodic=True),
        fields=[(Field("u", "state", time=True), u.astype(np.float32))],
        split=SPLIT,
        times=0.5 * np.arange(7.0),
    )


def test_an_entry_may_minimize_the_h1_error_on_a_domain_of_length_2_pi(tmp_path: Path) -> None:
    """What judges remains, and the loss is kept with the run."""
    contest = FieldContest(Benchmark.of_dataset(linear_data(tmp_path)))
    objectives = []
    for entry in (SMALL, SMALL.changed({"loss": "h1"})):
        plan = contest.plan(entry, seed=0, steps=4, device="cpu")
        objectives.append(plan.objective)
    usual, smooth = objectives
    assert isinstance(usual, Supervised) and isinstance(smooth, Supervised)
    assert usual.loss is relative_l2
    y = torch.rand(3, 1, 8, dtype=torch.float64)
    expected = relative_h1(y**2, y, Grid.box((8,), upper=2 * math.pi))
    for loss in (smooth.loss, build(describe(smooth.loss))):
        torch.testing.assert_close(loss(y**2, y), expected, rtol=1e-14, atol=0.0)
    assert set(smooth.evaluate(plan.model, Streams(0))) == {"relative_l2", "loss"}
    with pytest.raises(ConfigError, match="the loss h1 needs fields on a grid"):
        SMALL.changed({"loss": "h1"}).loss(relative_l2, None)


def finished(contest: FieldContest, model: nn.Module | None = None, **settings: Any) -> Run:
    plan = contest.plan(SMALL, **{"seed": 0, "steps": 2, "device": "cpu", **settings})
    run = plan.trainer.fit(plan.model, plan.objective)
    return run if model is None else Run(model, plan.objective)


def references(contest: FieldContest) -> dict[str, Reference]:
    return {reference.name: reference for reference in contest.references()}


def test_it_trains_as_the_command_line_does(tmp_path: Path) -> None:
    data = linear_data(tmp_path)
    recipe = Recipe(steps=3, batch_size=4, learning_rate=1e-3)
    contest = FieldContest(Benchmark.of_dataset(data, recipe=recipe))
    plan = contest.plan(SMALL, seed=5, steps=3, device="cpu")
    other = make_plan(
        str(data.path),
        ModelOptions("fno", ("modes=2", "width=4", "depth=1"), symmetry="none"),
        TrainingOptions(steps=3, batch_size=4, learning_rate=1e-3, seed=5, device="cpu"),
        RunOptions(),
        DataOptions(),
        RolloutOptions(),
    )
    for name in ("trainer", "objective", "validation", "model"):
        assert describe(getattr(plan, name)) == describe(getattr(other, name))
    runs = [p.trainer.fit(p.model, p.objective, validation=p.validation) for p in (plan, other)]
    first, second = (run.model.state_dict() for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in second)


def test_errors_are_those_of_each_test_sample(tmp_path: Path) -> None:
    data = linear_data(tmp_path)
    contest = FieldContest(Benchmark.of_dataset(data))
    run = finished(contest)
    found = contest.judge(run)
    row = assess(run.surrogate(), data.test).surrogate
    assert found.split == "test" and found.indices == [15, 16, 17, 18, 19]
    assert found.metrics["relative_l2"] == row.errors
    for name, summary in row.metrics.items():
        assert np.mean(found.metrics[name]) == pytest.approx(summary["mean"], rel=1e-12)
    # Parseval: the squares of the bands add up to that of the RMSE; of one channel.
    bands = np.array([found.metrics[f"fourier_{band}"] for band in ("low", "mid", "high")])
    assert (bands**2).sum(0) == pytest.approx(np.array(found.metrics["rmse"]) ** 2, rel=1e-9)
    assert "boundary_rmse" in found.metrics and found.seconds_per_sample is not None
    labels = [example.label for example in contest.examples(run) or []]
    assert labels == ["best", "median", "worst"] and contest.grid == data.grid
    periodic = FieldContest(Benchmark.of_dataset(linear_data(tmp_path / ".", periodic=True)))
    found = periodic.judge(finished(periodic))
    assert "boundary_rmse" not in found.metrics and found.spectrum is not None
    u = periodic.test.load("u").astype(np.float64)
    assert sum(found.spectrum["truth"]) == pytest.approx(0.5 * (u**2).mean(), rel=1e-9)


def test_predictors_that_learn_nothing_are_known(tmp_path: Path) -> None:
    data = linear_data(tmp_path)
    found = references(FieldContest(Benchmark.of_dataset(data)))
    assert set(found) == {"mean of training outputs", "best linear map"}
    u = data.load("u").astype(np.float64)
    mean = u[:12].mean(0)
    expected = [np.linalg.norm(mean - v) / np.linalg.norm(v) for v in u[15:]]
    assert found["mean of training outputs"].metrics["relative_l2"] == pytest.approx(expected, rel=1e-12)
    # Twelve samples determine the affine map of eight numbers, up to the smallest ridge, 1e-9.
    assert max(found["best linear map"].metrics["relative_l2"]) < 1e-6
    assert found["best linear map"].settings["ridge"] == pytest.approx(1e-9)


def test_the_ridge_grows_with_noise_and_never_sees_the_test(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    a = random.normal(size=(40, 16))
    u = a @ random.normal(size=(16, 16)) * 0.1 + random.normal(size=(40, 16))
    fields = [(Field("a", "input"), a), (Field("u", "output"), u)]
    data = write_dataset(
        tmp_path / "noise.h5", grid=Grid.box((16,)), fields=fields, split=[0] * 30 + [2] * 10
    )
    predictor = trivial.linear(data.train, ["a"], ["u"])
    assert predictor is not None and predictor[1] > 0.1  # the noise is larger than what can be learned
    x, y = (torch.from_numpy(values[30:]) for values in (a, u))
    plain = torch.linalg.lstsq(
        torch.from_numpy(np.c_[np.ones(30), a[:30]]), torch.from_numpy(u[:30])
    ).solution
    unchecked = torch.cat([torch.ones(10, 1, dtype=torch.float64), x], 1) @ plain
    error, other = ((p - y).norm() for p in (predictor[0](x[:, None])[:, 0], unchecked))
    assert error < other
    assert trivial.linear(data.train.subset([0, 1]), ["a"], ["u"]) is None  # too few samples


def test_roll_outs_are_judged_from_the_first_window_on(tmp_path: Path) -> None:
    data = growing_data(tmp_path)
    stepping = Stepping(Frames(window=2))
    contest = FieldContest(Benchmark.of_dataset(data, stepping=stepping))
    contest = pickle.loads(pickle.dumps(contest))
    found = contest.judge(finished(contest))
    assert found.course is not None and found.course["times"] == [0.5, 1.0, 1.5, 2.0, 2.5]
    course = np.mean(found.metrics["relative_l2_frames"])
    assert np.mean(found.course["mean"]) == pytest.approx(course, rel=1e-9)
    assert found.spectrum is not None and found.spectrum["quantity"] == "half the mean square, last frame"
    known = references(contest)
    # Frames 1, 2, 4, .., 32 times the last one given, in norm.
    later = 2.0 ** np.arange(1, 6)
    still = math.sqrt(((later - 1) ** 2).sum() / (later**2).sum())
    assert known["persistence"].metrics["relative_l2"] == pytest.approx([still] * 5, rel=1e-6)
    last = data.load("u")[15:, 1:2].astype(np.float64)
    squares = ((later - 1) ** 2).sum() * (last**2).mean(axis=(1, 2))
    assert known["persistence"].metrics["accumulated_mse"] == pytest.approx(squares, rel=1e-5)
    u = data.load("u").astype(np.float64)
    mean = u[:12, 2:].mean(0)
    expected = [np.linalg.norm(mean - v) / np.linalg.norm(v) for v in u[15:, 2:]]
    errors = known["mean of training trajectories"].metrics["relative_l2"]
    assert errors == pytest.approx(expected, rel=1e-12)


def test_judging_may_start_later_than_training(tmp_path: Path) -> None:
    data = growing_data(tmp_path)
    benchmark = Benchmark("late", Benchmark.of_dataset(data).data, every={"time": [1, None, None]}, start=2)
    contest = FieldContest(benchmark)
    assert contest.data.times is not None and contest.data.times.tolist() == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert contest.test.times is not None and contest.test.times.tolist() == [1.5, 2.0, 2.5, 3.0]
    found = contest.judge(finished(contest))
    assert found.course is not None and found.course["times"] == [0.5, 1.0, 1.5]


def test_solvers_of_the_generator_follow(tmp_path: Path) -> None:
    generator = NavierStokes(resolution=8, final_time=1.0, frames=2)
    made = Made(Generated(generator, 3, 1, 2))
    benchmark = Benchmark("flow", made, inputs=("w",), outputs=("w",), stepping=Stepping())
    contest = FieldContest(benchmark, tmp_path)
    told: list[tuple[int, int]] = []
    contest.prepare(lambda done, total: told.append((done, total)))
    assert told[-1] == (6, 6) and benchmark.fingerprint == contest.fingerprint()
    rows = list(contest.references())
    own = rows[-1]
    assert [row.family for row in rows[:3]] == ["trivial", "trivial", "classical"]
    assert own.settings["resolution"] == 8 and min(own.metrics["relative_l2"]) < 1e-4
    assert set(own.metrics) == set(rows[0].metrics)
    # A second contest on these data finds them.
    again = FieldContest(benchmark, tmp_path)
    again.prepare(lambda done, total: pytest.fail("made again"))
    assert again.data.digest == contest.data.digest


def test_other_resolutions_show_what_depends_on_the_grid(tmp_path: Path) -> None:
    """The same media on 8 x 8 and 24 x 24 cells: every ninth cell has its center in common."""
    made = Made(Generated(Darcy(resolution=8, law="smooth", alpha=4.0), 4, 0, 2))
    benchmark = Benchmark("darcy", made, inputs=("a",), outputs=("u",))
    contest = FieldContest(benchmark, tmp_path, resolutions=[24])
    contest.prepare()
    plain = FieldContest(benchmark, tmp_path)
    assert contest.fingerprint() == plain.fingerprint()
    found = contest.judge(finished(contest))
    assert list(found.transfer) == ["24x24"] and not plain.judge(finished(plain)).transfer
    assert found.transfer["24x24"].keys() == found.metrics.keys()
    still = contest.judge(finished(contest, Factor(0.0)))  # what is predicted is the training mean
    # As wrong on both grids, but for the layer at the walls, where u falls from the mean to 0.
    assert still.transfer["24x24"]["relative_l2"] == pytest.approx(still.metrics["relative_l2"], rel=0.1)
    (file,) = tmp_path.glob("darcy-at-24-*.h5")
    a = open_dataset(file).load("a")
    np.testing.assert_allclose(a[:, 1::3, 1::3], contest.test.load("a"), rtol=1e-6)
    assert contest.judge(finished(contest, Bound())).transfer == {}


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("location", ["node", "left", "cell"])
def test_files_of_others_have_coarser_grids(tmp_path: Path, location: Any, periodic: bool) -> None:
    """Every second point, or the mean of 2 x 2 cells; a map at points errs there as on the grid itself."""
    if periodic and location == "left":
        pytest.skip("periodic nodes are nodes")
    odd = location == "node" and not periodic
    shape = (9, 5) if odd else (8, 4)
    a = np.random.default_rng(0).uniform(1.0, 2.0, (20, 2, *shape)).astype(np.float32)
    still = np.random.default_rng(1).uniform(1.0, 2.0, shape)
    data = write_dataset(
        tmp_path / "of_others.h5",
        grid=Grid.box(shape, location=location, periodic=periodic),
        fields=[
            (Field("a", "input", components=2), a),
            (Field("u", "output", components=2, units="m"), 2 * a),
            (Field("k", "static", sample=False), still),
        ],
        split=SPLIT,
        variables={"speed": np.arange(20.0)},
    )
    benchmark = Benchmark.of_dataset(data, inputs=("a",), outputs=("u",))
    contest = FieldContest(benchmark, tmp_path / "made", resolutions=[5] if odd else [4])
    found = contest.judge(finished(contest, Factor(0.5)))
    small = (5, 3) if odd else (4, 2)
    assert list(found.transfer) == ["x".join(map(str, small))]
    (file,) = (tmp_path / "made").glob("of_others-at-*.h5")
    coarse = open_dataset(file)
    assert coarse.grid == data.grid.with_shape(small) and coarse.fields == data.fields
    assert coarse.variable("speed").tolist() == [15.0, 16.0, 17.0, 18.0, 19.0]
    for name, fine in (("u", 2 * a[15:]), ("k", still[None])):
        cells = fine.reshape(*fine.shape[:-2], shape[0] // 2, 2, -1, 2).mean((-3, -1)) if not odd else None
        wanted = cells if location == "cell" else fine[..., ::2, ::2]
        np.testing.assert_allclose(coarse.load(name)[: len(fine)], wanted, rtol=1e-6)
    # Normalized, a and u are equal: half of a leaves half of the deviation from the mean of training.
    mean = data.train.load("u").mean((0, 2, 3), dtype=np.float64)[:, None, None]
    u = coarse.load("u").astype(np.float64)
    wrong = [np.linalg.norm((v - mean) / 2) / np.linalg.norm(v) for v in u]
    assert found.transfer["x".join(map(str, small))]["relative_l2"] == pytest.approx(wrong, rel=1e-5)
    # Another contest on these data finds the file.
    before = file.stat().st_mtime_ns
    FieldContest(benchmark, tmp_path / "made", resolutions=contest.resolutions).prepare()
    assert file.stat().st_mtime_ns == before


def test_grids_that_cannot_be_had_are_refused_before_training(tmp_path: Path) -> None:
    data = linear_data(tmp_path)
    for resolution in (16, 8, 3, 1):
        contest = FieldContest(Benchmark.of_dataset(data), tmp_path, resolutions=[4, resolution])
        with pytest.raises(
            ConfigError, match=rf"of 8 cells .* with 4, 2 points along x, and not with {resolution};"
        ):
            contest.prepare()


def test_roll_outs_of_others_are_judged_on_the_frames_of_the_protocol(tmp_path: Path) -> None:
    data = growing_data(tmp_path)
    benchmark = Benchmark("late", Benchmark.of_dataset(data).data, every={"time": [1, None, None]}, start=2)
    contest = FieldContest(benchmark, tmp_path / "made", resolutions=[4])
    found = contest.judge(finished(contest, Factor(1.0)))
    coarse = open_dataset(next((tmp_path / "made").glob("*.h5")))
    assert coarse.times is not None and coarse.times.tolist() == [1.5, 2.0, 2.5, 3.0]
    # A state that stays: after a doubling per frame it is wrong by the same parts on every grid.
    assert found.transfer["4"]["relative_l2"] == pytest.approx(found.metrics["relative_l2"], rel=1e-6)


class Bound(nn.Module):
    """Of 8 x 8 points only."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x


def test_meshes_are_judged_point_by_point(tmp_path: Path) -> None:
    generated = Generated(PoissonWithHoles(resolution=8, holes=1), 4, 0, 2)
    contest = FieldContest(Benchmark("holes", Made(generated), inputs=("a", "f"), outputs=("u",)), tmp_path)
    contest.prepare()
    plan = contest.plan(Entry("linear", points_model), seed=0, steps=2, device="cpu")
    run = plan.trainer.fit(plan.model, plan.objective)
    found = contest.judge(run)
    assert contest.grid is None and plan.validation is None and len(found.metrics["relative_l2"]) == 2
    assert [example.label for example in contest.examples(run) or []] == ["best", "median", "worst"]
    first = next(contest.references())
    mean = contest.data.statistics("u").mean.item()
    u = contest.test.arrays("u")
    expected = [np.linalg.norm(mean - v) / np.linalg.norm(v) for v in u]
    # Stored statistics and values are float32.
    assert first.metrics["relative_l2"] == pytest.approx(expected, rel=1e-5)
    assert set(first.metrics) == set(found.metrics)


def points_model(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Linear(in_channels, out_channels)


def test_a_missing_test_split_is_taken_from_training(tmp_path: Path) -> None:
    contest = FieldContest(Benchmark.of_dataset(linear_data(tmp_path, [0] * 20)))
    counts = {part: len(getattr(contest.data, part)) for part in ("train", "valid", "test")}
    assert counts == {"train": 15, "valid": 2, "test": 3}
    said = contest.describe()["split"]
    assert said["rule"] == (
        "the file has no test split: 3 of 20 training samples, seed 0; the file has no valid split: 2 of 17 "
        "training samples, seed 0"
    )
    assert {part: said[part] for part in counts} == counts
    training = contest.data.load("u")[contest.data.variable("split") == 0]
    assert contest.data.statistics("u").mean.item() == pytest.approx(training.mean(), rel=1e-6)
    assert not set(contest.test.indices) & set(contest.data.train.indices)
    other = FieldContest(Benchmark.of_dataset(linear_data(tmp_path, SPLIT)))
    assert other.fingerprint() != contest.fingerprint() and "rule" not in other.describe()["split"]
    with pytest.raises(DataError, match="nothing to be judged on"):
        FieldContest(Benchmark.of_dataset(linear_data(tmp_path, [0]))).prepare()


def test_fewer_samples_are_the_first_and_so_are_their_statistics(tmp_path: Path) -> None:
    contest = FieldContest(Benchmark.of_dataset(linear_data(tmp_path)))
    plan = contest.plan(SMALL, seed=0, steps=2, samples=3, device="cpu")
    objective: Any = plan.objective
    assert objective.dataset.indices.tolist() == [0, 1, 2]
    first = contest.data.load("a", [0, 1, 2])
    assert objective.encoder.mean.item() == pytest.approx(first.mean(), rel=1e-6)
    again = build(describe(objective.dataset))
    assert again.indices.tolist() == [0, 1, 2] and again.statistics("a").mean == objective.encoder.mean
    with pytest.raises(ConfigError, match="has 12 training samples, got 13"):
        contest.plan(SMALL, seed=0, steps=2, samples=13, device="cpu")


def test_a_prediction_that_is_not_finite_is_an_error_that_is_not(tmp_path: Path) -> None:
    contest = FieldContest(Benchmark.of_dataset(linear_data(tmp_path)))
    found = contest.judge(finished(contest, Factor(math.nan)))
    assert all(math.isnan(value) for value in found.metrics["relative_l2"])


def test_a_preset_is_a_benchmark(tmp_path: Path) -> None:
    benchmark = Benchmark.of_preset(PRESETS["navier-stokes"])
    assert isinstance(benchmark.data, Made)
    generated = benchmark.data.generated
    assert generated.file_name("navier-stokes") == PRESETS["navier-stokes"].file_name
    assert benchmark.describe()["split"]["train"] == 400 and benchmark.stepping == Stepping(
        Frames(), Unroll()
    )


def test_trainings_differ_in_the_seed_alone(tmp_path: Path) -> None:
    contest = FieldContest(Benchmark.of_dataset(linear_data(tmp_path)))
    weights = [
        torch.cat(
            [p.flatten() for p in contest.plan(SMALL, seed=s, steps=2, device="cpu").model.parameters()]
        )
        for s in (0, 0, 1)
    ]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    slow = Entry("slow", FNO, {"modes": 2, "width": 4, "depth": 1}, {"learning_rate": 1e-5})
    trainer: Trainer = contest.plan(slow, seed=0, steps=9, device="cpu").trainer
    assert trainer.steps == 9 and describe(trainer)["arguments"]["optimizer"]["arguments"]["lr"] == 1e-5


def test_an_entry_may_be_trained_by_muon_and_protocols_stay_the_same(tmp_path: Path) -> None:
    """What is compared does not depend on whether the optimizer could be chosen."""
    assert "optimizer" not in describe(Recipe())["arguments"]
    assert build(describe(Recipe(optimizer="muon"))) == Recipe(optimizer="muon")
    contest = FieldContest(Benchmark.of_dataset(linear_data(tmp_path)))
    entry = SMALL.changed({"optimizer": "muon", "learning_rate": 6e-3})
    plan = contest.plan(entry, seed=0, steps=6, device="cpu")
    told = describe(plan.trainer)["arguments"]["optimizer"]
    assert told["partial"].endswith("Muon") and told["arguments"]["lr"] == pytest.approx(0.02)
    first, *_, last = [step.row for step in plan.trainer.iterate(plan.model, plan.objective)]
    assert last["loss"] < first["loss"] and last["lr"] < 0.02 / 100
    with pytest.raises(ConfigError, match="optimizer is 'adamw' or 'muon', got 'sgd'"):
        Recipe(optimizer="sgd")  # type: ignore[arg-type]
