"""The twenty problems of a study: what each of them promises besides the contract of all problems."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from sciml.datasets import burgers
from sciml.errors import ConfigError
from sciml.grid import Grid
from sciml.jacobian import jacobian
from sciml.objective import roots
from sciml.pinns import problems
from sciml.pinns.constrained import Coordinates
from sciml.pinns.fingerprints import kronecker
from sciml.pinns.networks import MLP, Waves
from sciml.pinns.problems.study import PUBLISHED
from sciml.pinns.problems.study.burgers import _evolved
from sciml.pinns.problems.study.drifting import DriftingWaves, Lattice
from sciml.pinns.problems.study.patches import Interfaces, conductivity, kinked, supply
from sciml.pinns.problems.study.poisson import _fitted, _series
from sciml.pinns.problems.study.wave import _start
from sciml.pinns.problems.tables import periodic_grid
from sciml.pinns.recipe import Recipe
from sciml.pinns.residual import Residual
from sciml.streams import Streams

TOOL = "pinn_study"


def test_rows_are_made_once_and_again_for_more_minutes(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "SOLVED", {"Heat2d-MS": (problems.Heat(), Recipe(points=20).scaled(3))})
    for minutes in (1.0, 1.0, 0.5, 2.0):
        tool.run(tmp_path, [], minutes)
    rows = tool.rows_of(tmp_path)
    assert [(row["name"], row["minutes"], row["steps"]) for row in rows] == [
        ("Heat2d-MS", 1.0, 3),
        ("Heat2d-MS", 2.0, 3),
    ]
    assert all(json.dumps(row) and row["relative_l2"] > row["reference_error"] for row in rows)
    lines = tool.table(rows)
    assert sum("Heat2d-MS" in line and "times" in line for line in lines) == 1
    assert sum("not run" in line for line in lines) == len(PUBLISHED) - 1
    better = rows[-1] | {"relative_l2": 1e-3}
    assert tool.table([better])[-1] == "Better than published on 1 of 20."


def test_every_problem_that_is_tried_is_published(tool: ModuleType) -> None:
    assert set(tool.SOLVED) <= set(PUBLISHED) and len(PUBLISHED) == 20
    fingerprints = {problem.fingerprint() for problem, _ in tool.SOLVED.values()}
    assert len(fingerprints) == len(tool.SOLVED)
    assert all(type(p).__name__ in problems.__all__ for p, _ in tool.SOLVED.values())


def test_waves_beside_coordinates() -> None:
    seen: list[Tensor] = []

    def network(inputs: int, outputs: int) -> torch.nn.Module:
        layer = torch.nn.Linear(inputs, outputs).double()
        layer.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        return layer

    x = torch.tensor([[0.5, -0.25]], dtype=torch.float64)
    Waves(2, 1, vectors=((math.pi,), (0.0, 2 * math.pi)), network=network)(x)
    assert seen[0].round(decimals=12).abs().tolist() == [[0.5, 0.25, 0.0, 0.0, 1.0, 1.0]]
    with pytest.raises(ConfigError, match="vectors of 2 components"):
        Waves(2, 1, vectors=((1.0, 2.0, 3.0),))


def test_drifting_waves_solve_transport_as_they_stand() -> None:
    """A series with sizes that do not change moves with its drift, and no faster."""
    coordinates = Coordinates(((0.0, 1.0), (0.0, 1.0), (0.0, 2.0)), (0, 1), harmonics=3)
    network = DriftingWaves(coordinates.features, 2, drift=(0.3, -1.7), degree=1).double()
    assert not network(coordinates(torch.rand(5, 3, dtype=torch.float64))).any()
    sizes = network.sizes.weight.detach().view(2, 2, 7, 7)
    sizes[0, 0, 4, 2] = 2.0  # output, power, sin(2 pi x), cos(2 pi 2 y)
    sizes[1, 1, 0, 6] = 3.0  # t sin(2 pi 3 y)
    x, y, t = torch.rand(3, 20, dtype=torch.float64)
    found = network(coordinates(torch.stack([x, y, t], dim=1)))
    # Time scaled is t - 1.
    x, y = 2 * math.pi * (x - 0.3 * (t - 1)), 2 * math.pi * (y + 1.7 * (t - 1))
    wanted = torch.stack([2 * torch.sin(x) * torch.cos(2 * y), 3 * (t - 1) * torch.sin(3 * y)], dim=1)
    assert torch.allclose(found, wanted, rtol=0, atol=1e-12)
    with pytest.raises(ConfigError, match="the harmonics of two coordinates and the time"):
        DriftingWaves(4, 1)


def test_points_of_a_lattice_tell_waves_apart() -> None:
    problem = problems.BurgersInPlane()
    points = {"equation": 4 * 7**2, "initial_u": 7**2, "initial_v": 7**2}
    batch = Residual(problem, sampler=Lattice(), points=points).draw(0, MLP(3, 2), Streams(0))
    x, start = batch["equation/rows"], batch["initial_u/rows"]
    assert x[:, 2].unique().tolist() == [0.125, 0.375, 0.625, 0.875] and not start[:, 2].any()
    for rows, times in ((x, 4), (start, 1)):
        assert len(rows) == times * 49 and [len(rows[:, i].unique()) for i in range(2)] == [7, 7]
        waves = torch.exp(2j * math.pi * rows[: 49 * times : times, :1] * torch.arange(-3, 4))
        gram = waves.conj().T @ waves / len(waves)
        assert (gram - torch.eye(7)).abs().max() < 1e-12
    with pytest.raises(ConfigError, match="needs 2 times at least, got 1"):
        Lattice(times=1)


def test_poisson_boltzmann_reference_solves_the_equation() -> None:
    problem = problems.PoissonBoltzmann()
    h = 0.01
    middle = torch.tensor([[0.0, 0.1], [-0.7, -0.2], [0.05, 0.75], [0.9, 0.1]], dtype=torch.float64)
    around = [torch.tensor(step, dtype=torch.float64) for step in ((h, 0), (-h, 0), (0, h), (0, -h))]
    values = [problem._values(middle + step, 6, 60)[:, 0] for step in (0 * around[0], *around)]
    # The residual of a function that is constant there, minus its Laplacian.
    source = -problem.residual(lambda x: 0 * x[:, 0], middle, {})  # type: ignore[arg-type]
    bent = (sum(values[1:]) - 4 * values[0]) / h**2
    gap = 64 * values[0] - bent - source
    # Differences leave h^2/12 of fourth derivatives (4 pi)^4, and the series its tail.
    assert gap.abs().max() < 0.02 * source.abs().max()


def test_poisson_boltzmann_reference_on_its_boundary() -> None:
    problem = problems.PoissonBoltzmann()
    side = torch.tensor([[1.0, 0.3], [-0.4, -1.0], [-1.0, -1.0], [0.9, 1.0]], dtype=torch.float64)
    assert (problem._values(side, 6, 60) - 0.2).abs().max() < 1e-6  # mirrors of mirrors, 2 away, exp(-16)
    misfits = [_fitted(order, 60)[1] for order in (2, 4, 8)]
    assert misfits[2] < 0.1 * misfits[1] < 0.05 * misfits[0]
    assert np.abs(_series(side.numpy(), 60)).max() < 1e-12


def test_interfaces_see_the_flux() -> None:
    problem = problems.PoissonInPatches()
    rows = Interfaces().rows(problem.domain, kronecker, 200)
    assert set(rows[:, :2].abs().min(1).values.gt(-1).tolist()) == {True}
    on_line = torch.stack([(rows[:, :2] - line).abs().min(1).values for line in (-6.0, -2.0, 2.0, 6.0)])
    assert on_line.min(0).values.max() == 0
    step = 1e-3 * rows[:, 2:]
    below, above = conductivity(rows[:, :2] - step), conductivity(rows[:, :2] + step)
    jump = (below - above) / (below * above) ** 0.25
    for axis in (0, 1):
        found = Interfaces().residual(lambda x, axis=axis: x[:, axis], rows, problem.domain)
        assert torch.allclose(found, jump * rows[:, 2 + axis])


def test_kinks_are_where_patches_meet() -> None:
    network = kinked(lambda inputs, outputs: torch.nn.Linear(inputs, outputs).double())(2, 1)
    along = torch.linspace(-0.95, 0.95, 20, dtype=torch.float64)
    values = network(torch.stack([along, 0 * along], dim=1))[:, 0]
    bent = (values[2:] - 2 * values[1:-1] + values[:-2]).abs() > 1e-12
    places = along[1:-1][bent] * 10
    assert all(min(abs(float(p) - line) for line in (-6, -2, 2, 6)) < 1 for p in places) and len(places) > 0


def test_flux_of_the_patches_carries_their_supply() -> None:
    problem = problems.PoissonInPatches()
    x, h = problem.domain.interior(kronecker, 50), 1e-5
    x = x[((x + 2) / 4 - ((x + 2) / 4).round()).abs().min(1).values > 1e-4]  # lines are at -6, -2, 2, 6
    steps = h * torch.eye(2, dtype=torch.float64)
    out = sum((problem.carried(x + s) - problem.carried(x - s))[:, i] / (2 * h) for i, s in enumerate(steps))
    assert len(x) > 40 and torch.allclose(-out, supply(x), rtol=0, atol=1e-8)
    # What flows out of one patch flows into the next.
    rows = Interfaces().rows(problem.domain, kronecker, 50)
    places, normal = rows[:, :2], rows[:, 2:]
    sides = [(problem.carried(places + s * normal) * normal).sum(1) for s in (-1e-9, 1e-9)]
    assert torch.allclose(*sides, rtol=0, atol=1e-7)


def test_supply_of_a_patch() -> None:
    x = torch.tensor([[-8.0, -8.0], [-6.0 - 1e-9, -8.0]], dtype=torch.float64)
    assert torch.allclose(supply(x), torch.tensor([-0.539145 - 0.829375, -0.539145]).double(), atol=1e-6)


def test_medium_is_that_of_the_source() -> None:
    problem = problems.HeatInMedium()
    nodes = torch.linspace(0, 1, 256, dtype=torch.float64)
    x = torch.cartesian_prod(nodes, nodes, torch.zeros(1, dtype=torch.float64))
    log = problem.conductivity(x).log()
    assert abs(float(log.mean())) < 1e-12 and abs(float(log.std(correction=0)) - 1) < 1e-12
    # Nearest node: a cell away nothing changes until half a cell.
    near = x[:256] + torch.tensor([0.001, 0.0, 0.0], dtype=torch.float64)
    assert torch.equal(problem.conductivity(near), problem.conductivity(x[:256]))
    # Coefficients fall as 1/|k|^2: neighbors are alike, by sum(cos k h / k^4) / sum(1 / k^4) = 0.998.
    grid = log.reshape(256, 256)
    assert float((grid[1:] * grid[:-1]).mean()) > 0.99
    # Where it is positive waves are faster; their square is twice as wide.
    stiffness = problems.WaveInMedium().stiffness(2 * x - 1)
    assert torch.equal(stiffness, torch.where(log > 0, 12.0, 1.0).double())
    for medium in (problems.HeatInMedium, problems.WaveInMedium):
        with pytest.raises(ConfigError, match="seed must not be negative"):
            medium(seed=-1)


@pytest.mark.slow
def test_step_agrees_with_another_solver_where_it_does_not_feel_the_outlet() -> None:
    pytest.importorskip("skfem")
    problem = problems.BackwardStep()
    known = problem.reference()
    inside = (known.x[:, 0] - 0.5).abs() < 1e-9
    # Far before the step the flow is the parabola of the inlet, pressed by 8 viscosities.
    y = known.x[inside, 1]
    assert (known.values[inside, 0] - 4 * y * (1 - y)).abs().max() < 0.01


def test_series_of_the_wave_solve_equation_and_sides_and_approach_the_start() -> None:
    problem = problems.WaveForLong(end=2.0)
    start = _start(problem.points()[0]).reshape(33, 33, 201)
    cosine = torch.cos(math.pi * torch.linspace(0, 2, 201, dtype=torch.float64))
    gaps = []
    for terms in (3, 24):
        u = problem._series(terms).reshape(33, 33, 201)
        for sides in (u - start * cosine)[[0, -1]], (u - start * cosine)[:, [0, -1]]:
            assert sides.abs().max() < 1e-12
        gaps.append(float((u - start)[:, :, 0].abs().max()))
    assert gaps[1] < 0.05 * gaps[0]  # sizes fall as 1/k^3: 1/64 of what is left out
    # Any number of terms solves the equation; few are smooth enough for differences.
    u, formula = problem._series(3).reshape(33, 33, 201), start * cosine
    assert missed(u) < 0.05 * missed(formula)


def missed(u: Tensor) -> float:
    """By how much the equation is missed in the mean, by differences on the grid."""
    inner = u[1:-1, 1:-1, 1:-1]
    rate = (u[1:-1, 1:-1, 2:] - 2 * inner + u[1:-1, 1:-1, :-2]) / 0.01**2
    bent = u[2:, 1:-1, 1:-1] + u[:-2, 1:-1, 1:-1] - 2 * inner
    bent = bent + 2 * (u[1:-1, 2:, 1:-1] + u[1:-1, :-2, 1:-1] - 2 * inner)
    return float((rate - bent * 32**2).square().mean().sqrt())


def test_start_of_the_flow_is_the_series_of_its_program() -> None:
    problem = problems.BurgersInPlane(seed=5)
    random = np.random.RandomState(5)
    sizes, means = [[random.randn(4, 4) for _ in range(2)] for _ in range(2)], random.randn(2)
    nodes = np.linspace(0, 4, 512)
    x, y = np.meshgrid(nodes, nodes, indexing="ij")
    flows = []
    for sines, cosines in sizes:
        angles = [(i, j, 2 * math.pi * (i * x + j * y)) for i in range(4) for j in range(4)]
        flows.append(sum(sines[i, j] * np.sin(a) + cosines[i, j] * np.cos(a) for i, j, a in angles))
    wanted = 2 * np.stack(flows) / np.max(flows) + means[:, None, None]
    some = torch.from_numpy(np.stack([x, y, 0 * x], axis=-1)[::37, ::41].reshape(-1, 3))
    assert np.abs(problem.start(some).T.numpy() - wanted[:, ::37, ::41].reshape(2, -1)).max() < 1e-12
    with pytest.raises(ConfigError, match="seed must not be negative"):
        problems.BurgersInPlane(seed=-1)
    with pytest.raises(ConfigError, match="viscosity must be positive"):
        problems.BurgersInPlane(viscosity=0.0)


def test_flow_in_the_plane_is_that_of_one_equation() -> None:
    """Along its waves w is carried by itself alone: Burgers' equation, which another solver solves."""
    x = torch.linspace(0, 1, 129, dtype=torch.float64)[:-1].numpy()
    start = np.stack([np.cos(2 * math.pi * x)[:, None] + 0 * x, 0.5 + 0 * x[:, None] + 0 * x])
    grid = periodic_grid(problems.BurgersInPlane(), 128)
    times = np.array([0.0, 0.05, 0.1])
    found = _evolved(start, grid, times, 0.001)
    line = Grid.box((128,), location="node", periodic=True)
    wanted = burgers.solve(start[0, :, 0], line, viscosity=0.001, times=times)["u"].values
    assert np.abs(found[:, 0] - wanted[:, :, None]).max() < 1e-6  # steps of 1/200 of order 4
    assert np.abs(found[:, 1] - 0.5).max() < 1e-12


@pytest.mark.parametrize("name", ["Poisson2d-CG", "NS2d-CG"])
def test_jacobians_around_holes_and_corners_are_made_point_by_point(
    tool: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not row by row, with one backward pass through all points for each: distances are vectorized too."""
    problem, _ = tool.SOLVED[name]
    model = Recipe(network=partial(MLP, width=4, depth=1)).model(problem, 0)
    objective = Recipe(points=5).objective(problem)
    batch = objective.draw(0, model, Streams(0))
    terms = objective.terms(model, batch)
    monkeypatch.setattr("sciml.jacobian.by_rows", lambda *given: pytest.fail("row by row"))
    found = jacobian(objective, model, batch, terms, roots(terms), list(model.parameters()))
    assert found.isfinite().all() and found.shape[1] == sum(p.numel() for p in model.parameters())


def test_networks_around_discs_are_even() -> None:
    problem = problems.HeatAroundDiscs()
    u = Recipe(network=partial(MLP, width=4, depth=1)).model(problem, 0)
    x = problem.domain.interior(kronecker, 20)
    for signs in ((-1.0, 1.0, 1.0), (1.0, -1.0, 1.0)):
        assert torch.allclose(u(x), u(x * torch.tensor(signs, dtype=torch.float64)), rtol=0, atol=1e-12)
