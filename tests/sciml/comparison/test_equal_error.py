"""The ladder of a classical solver and what is read off it, where the answers are known."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from sciml.comparison import ladder as ladder_module
from sciml.comparison.contest import Reference
from sciml.comparison.equal_error import (
    BreakEven,
    break_even,
    equal_error,
    generation_seconds,
    pareto_front,
)
from sciml.comparison.ladder import ladder, median_interval
from sciml.comparison.posed import Block, Problems, distances
from sciml.datasets import Burgers, Cavity, Darcy, Elasticity, NavierStokes
from sciml.datasets.generator import Generator, halved
from sciml.errors import ConfigError, DataError
from sciml.grid import Grid


def row(error, seconds, *, resolution=None, family="classical", **settings):
    settings |= {} if resolution is None else {"resolution": resolution}
    return Reference(f"{resolution}", family, {"relative_l2": [error / 2, 3 * error / 2]}, seconds, settings)


def powers(order, cost, sizes=(4, 8, 16, 32)):
    """Errors 5 h^order and seconds 1e-4 h^-cost, intervals of 10 percent."""
    times = [1e-4 * n**cost for n in sizes]
    return [
        row(5 * n**-order, t, resolution=n, low=0.9 * t, high=1.1 * t)
        for n, t in zip(sizes, times, strict=True)
    ]


@pytest.mark.parametrize(("order", "cost"), [(1.0, 2.0), (2.0, 3.0), (4.0, 1.5)])
@pytest.mark.parametrize("n", [4.0, 5.5, 16.0, 29.0])
def test_powers_are_met_exactly(order, cost, n):
    found = equal_error(powers(order, cost)[::-1], 5 * n**-order)
    assert found.relation == "equal" and len(found.names) == 2
    assert found.seconds == pytest.approx(1e-4 * n**cost, rel=1e-12)
    assert (found.low, found.high) == pytest.approx((0.9e-4 * n**cost, 1.1e-4 * n**cost), rel=1e-12)
    assert (found.resolution, found.order, found.rate) == pytest.approx((n, order, order / cost), rel=1e-12)
    value, low, high = found.speed_up(1e-4, (0.5e-4, 2e-4))
    assert (value, low, high) == pytest.approx((n**cost, 0.45 * n**cost, 2.2 * n**cost), rel=1e-12)
    assert f"observed order {order:.1f}" in found.verdict()


def test_outside_of_the_rows_nothing_is_extrapolated():
    rows = powers(2.0, 3.0)
    cheaper, missed = equal_error(rows, 1.0), equal_error(rows, 1e-4)
    assert (cheaper.relation, cheaper.seconds, cheaper.names) == ("cheaper", 6.4e-3, ("4",))
    assert "less than 6.4 ms" in cheaper.verdict() and "at most 6.4 times" in cheaper.verdict(1e-3)
    assert (missed.relation, missed.resolution) == ("not reached", 32)
    assert missed.seconds == pytest.approx(32**3 * 1e-4) and missed.order is None
    assert "No classical row reaches" in missed.verdict() and "at least" in missed.verdict(1e-3)
    assert equal_error(rows[:1], 0.01).relation == "not reached"
    assert equal_error(rows[:1], 0.9).relation == "cheaper"
    nothing = equal_error([row(0.3, 1.0, family="trivial")], 0.1)
    assert nothing.relation == "unknown" and nothing.speed_up(1.0) is None
    assert "No classical solver" in nothing.verdict()
    with pytest.raises(ConfigError, match="must be positive"):
        equal_error(rows, 0.0)


def test_only_the_front_counts():
    """Rows that another beats in both, failed ones and trivial ones change nothing; error 0 may end it."""
    rows = powers(2.0, 3.0)
    noise = [row(0.2, 0.9), row(math.nan, 1e-9), row(1e-9, None), row(1e-9, 1e-9, family="trivial")]
    assert pareto_front([*noise, *rows[::-1]]) == rows
    assert equal_error([*noise, *rows], 0.02) == equal_error(rows, 0.02)
    exact = equal_error([*rows, row(0.0, 10.0, resolution=64)], 1e-8)
    assert exact.relation == "equal" and 3.2 < exact.seconds < 10.0


def test_the_error_of_the_data_is_the_floor():
    rows = [dataclasses.replace(r, settings={**r.settings, "floor": 0.01}) for r in powers(2.0, 3.0)]
    assert equal_error(rows, 0.02).below_floor is False
    found = equal_error(rows, 0.008)
    assert found.below_floor and "error of 1.00%: below that" in found.verdict()
    assert equal_error(rows, 0.008, floor=1e-6).below_floor is False


def test_generation_costs_what_the_solver_of_the_data_takes():
    rows = [row(0.1, 1.0), row(0.01, 2.5, native=True), row(0.009, 5.0, native=True)]
    assert generation_seconds(rows, 100) == 250.0 and generation_seconds(rows[:1], 100) is None


def test_break_even():
    assert break_even(100.0, 0.0, 0.25, 0.75) == BreakEven(200, 200)
    assert break_even(100.0, 20.5, 0.5, 1.0) == BreakEven(200, 241)
    assert break_even(1.0, 0.0, 0.0, 0.1).training == 10  # not 11 by rounding
    assert str(break_even(1e6, 1e6, 0.0, 1.0)) == "1,000,000 solves, 2,000,000 with the data"
    for surrogate, solver in ((0.1, 0.1), (0.2, 0.1)):
        assert break_even(1.0, 0.0, surrogate, solver) == BreakEven(None, None)
    with pytest.raises(ConfigError, match="finite and not negative"):
        break_even(1.0, -1.0, 0.1, 0.2)


def test_the_interval_covers_the_median():
    """Of 9 values the second and the eighth: 1 - 2 (1 + 9) / 2^9 = 96.1 percent; 600 draws, sigma 0.8."""
    draws = np.random.default_rng(0).lognormal(sigma=1.0, size=(600, 9))
    ends = np.array([median_interval(values) for values in draws.tolist()])
    assert ((ends[:, 0] <= 1) & (ends[:, 1] >= 1)).mean() == pytest.approx(0.961, abs=0.03)


class Clock:
    """A clock that only the work of solvers moves."""

    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(ladder_module, "time", found)
    return found


@dataclass(frozen=True)
class Poisson(Generator):
    """-u'' = f with zero ends by finite differences of order 2, a microsecond for each unknown."""

    clock: Clock
    grid = Grid.box((257,), location="node")
    fields, about, sample, estimate_error = (), None, None, None
    resolutions = halved(256, least=8)

    def coarser(self, resolution, step=1.0, known=None):
        return PoissonSolver(self.clock, resolution)


@dataclass(frozen=True)
class PoissonSolver:
    clock: Clock
    n: int
    name = "finite differences"

    def predict(self, inputs, grid):
        from scipy.interpolate import make_interp_spline
        from scipy.linalg import solveh_banded

        x, f = np.linspace(0, 1, self.n + 1), inputs[:, 0].numpy()
        at = make_interp_spline(grid.axes[0].coordinates, f, k=5, axis=1)(x)[:, 1:-1]
        matrix = self.n**2 * np.array([np.full(self.n - 1, -1.0), np.full(self.n - 1, 2.0)])
        u = np.zeros((len(f), self.n + 1))
        u[:, 1:-1] = solveh_banded(matrix, at.T).T
        self.clock.now += 1e-6 * self.n * len(f)
        return torch.from_numpy(make_interp_spline(x, u, k=5, axis=1)(grid.axes[0].coordinates))[:, None]


def test_second_order_in_space_costs_the_root_of_the_error(clock):
    """Twice the unknowns leave a quarter of the error: seconds at an error e are c / sqrt(e).

    For u = sin(pi x) the discrete eigenvalue makes the relative error pi^2 h^2 / 12 + O(h^4), which splines
    of degree 5 leave alone from 8 intervals on.
    """
    x = np.linspace(0, 1, 257)
    u = torch.from_numpy(np.sin(np.pi * x))[None, None]
    problems = Problems([Block(np.pi**2 * u, u, Poisson(clock).grid, [0], {})])
    rows = list(ladder(Poisson(clock), problems, enough=1e-5))
    assert [r.settings["resolution"] for r in rows][::2] == [8, 16, 32, 64, 128, 256]
    assert rows[-1].settings["native"] and not rows[-2].settings["native"]
    for error in (3e-3, 2e-4):
        found = equal_error(rows, error)
        n = math.pi / math.sqrt(12 * error)
        assert found.order == pytest.approx(2.0, abs=0.02)
        assert found.resolution == pytest.approx(n, rel=5e-3)
        assert found.seconds == pytest.approx(1e-6 * n, rel=5e-3)
        assert found.low <= found.seconds <= found.high
    ratio = equal_error(rows, 2e-4).seconds / equal_error(rows, 8e-4).seconds
    assert ratio == pytest.approx(2, rel=0.01)


@dataclass(frozen=True)
class Heat(Generator):
    """Crank and Nicolson's method, exact in space on two points or more: a millisecond for each step."""

    clock: Clock
    grid = Grid.box((16,), location="node", periodic=True)
    fields, about, sample, estimate_error = (), None, None, None
    resolutions = (16, 8)

    def coarser(self, resolution, step=1.0, known=None):
        return CrankNicolson(self.clock, round(1 / step))


@dataclass(frozen=True)
class CrankNicolson:
    clock: Clock
    steps: int
    name = "Crank and Nicolson"

    def trajectory(self, initial, times):
        frames = [initial]
        for gap in np.diff(times):
            z = -gap / self.steps / 2
            frames.append(frames[-1] * ((1 + z) / (1 - z)) ** self.steps)
            self.clock.now += 1e-3 * self.steps * len(initial)
        return torch.stack(frames, dim=1)


def test_steps_are_halved_as_long_as_they_help(clock):
    """u' = -u: each step of h is wrong by h^3 / 12, all of time t together by t h^2 / 12 of the value."""
    times = np.array([0.0, 1.0, 2.0])
    start = torch.linspace(1, 2, 16, dtype=torch.float64)[None, None]
    truth = torch.stack([start * math.exp(-t) for t in times[1:]], dim=1)
    problems = Problems([Block(start, truth, Heat(clock).grid, [0], {}, times)])
    rows = list(ladder(Heat(clock), problems, enough=1e-5))
    coarse = [r for r in rows if r.settings["resolution"] == 8]
    assert [r.settings["step"] for r in coarse] == [0.5**k for k in range(8)]
    weight = math.sqrt((math.exp(-2) + 4 * math.exp(-4)) / (math.exp(-2) + math.exp(-4)))
    for error in (1e-3, 1e-4):
        h = math.sqrt(12 * error / weight)
        found = equal_error(coarse, error)
        assert found.seconds == pytest.approx(2e-3 / h, rel=1e-2)
        assert found.rate == pytest.approx(2.0, abs=0.05) and found.order is None
    stop = list(ladder(Heat(clock), problems, cap=5e-3))
    assert stop[-1].seconds_per_sample > 5e-3 and len(stop) < len(coarse)


def test_without_solvers_there_are_no_rows(clock):
    u = torch.ones(1, 1, 257, dtype=torch.float64)
    problems = Problems([Block(u, u, Poisson(clock).grid, [0], {})])
    assert list(ladder(None, problems)) == []
    assert list(ladder(Burgers(variation=0.5), problems)) == []  # nu is not known


def test_ladder_of_darcy_flow(tmp_path):
    """Errors fall; the last row is the solver of the data; rows are those of the test samples."""
    darcy = Darcy(resolution=16)
    data = darcy.make(tmp_path / "darcy.h5", train=1, valid=0, test=3, workers=1).test
    problems = Problems.maps(data, ["u"])
    rows = list(ladder(darcy, problems))
    errors = [np.mean(r.metrics["relative_l2"]) for r in rows]
    assert [r.settings["resolution"] for r in rows] == [4, 6, 8, 12, 16] and errors[-1] < 1e-6 < errors[-2]
    assert errors[0] > errors[2] and rows[0].settings["floor"] == problems.floor > 0.005
    u, found = data.tensor(["u"], dtype=torch.float64), darcy.coarser(8)
    expected = distances(found.predict(data.tensor(["a"], dtype=torch.float64), data.grid), u, data.grid)
    assert rows[2].name == found.name and rows[2].metrics["rmse"] == expected["rmse"].tolist()
    for r in rows:
        told = r.settings
        assert told["low"] <= r.seconds_per_sample <= told["high"] and told["repeats"] >= 6
        assert told["batch"] in (1, 3) and told["threads"] == torch.get_num_threads()
    assert equal_error(rows, float(errors[2])).seconds <= rows[2].seconds_per_sample * (1 + 1e-9)


def test_trajectories_start_where_the_window_ends(tmp_path):
    flow = NavierStokes(resolution=16, final_time=5.0, frames=6)
    data = flow.make(tmp_path / "flow.h5", train=1, valid=0, test=2, workers=1).test
    (block,) = Problems.trajectories(data, ["w"], window=2, stride=2).blocks
    w = data.tensor(["w"], dtype=torch.float64)
    assert torch.equal(block.given, w[:, 2]) and torch.equal(block.truth, w[:, 4:5])
    assert block.times.tolist() == [2.0, 4.0] and set(block.known) == {"sample_seed"}
    # Rounding of the stored frames, and steps that are longer than those of the data.
    error = distances(block.solved(flow.coarser(16)), block.truth, data.grid)["relative_l2"]
    assert error.max() < 1e-4
    with pytest.raises(DataError, match="none is left"):
        Problems.trajectories(data, ["w"], window=6)
    with pytest.raises(ConfigError, match="not among the fields"):
        Problems.trajectories(data, ["p"])
    with pytest.raises(ConfigError, match="another kind of problem"):
        block.solved(Darcy().coarser(16))


def test_some_of_the_outputs_may_be_judged(tmp_path):
    cavity = Cavity(resolution=16, elements=4)
    data = cavity.make(tmp_path / "cavity.h5", train=1, valid=0, test=1, workers=1).test
    (block,) = Problems.maps(data, ["p"]).blocks
    assert block.channels == [2] and block.truth.shape == (1, 1, 16, 16)
    error = distances(block.solved(cavity.coarser(4, known=block.known)), block.truth, block.place)
    # The lid is known at 16 nodes and is a polynomial times cosines: splines of degree 5 are good to 1e-3.
    assert error["relative_l2"] < 1e-2


def test_meshes_are_judged_one_by_one(tmp_path):
    problem = Elasticity(resolution=10)
    data = problem.make(tmp_path / "body.h5", train=1, valid=0, test=2, workers=1).test
    problems = Problems.maps(data, ["displacement"])
    assert len(problems) == len(problems.blocks) == 2
    errors = []
    for block in problems.blocks:
        assert block.channels == [1, 2] and block.truth.shape == (1, 2, len(block.place))
        for resolution in (10, 8):
            solver = problem.coarser(resolution, known=block.known)
            errors.append(distances(block.solved(solver), block.truth, block.place)["relative_l2"].item())
    # The error estimate of these data, from meshes of half the spacing, is some percent too.
    assert max(errors[::2]) < 1e-6 < min(errors[1::2]) and max(errors[1::2]) < 0.1
