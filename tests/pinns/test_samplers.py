"""Samplers: what they draw, and that they are functions of state, stream and step."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sciml.errors import ConfigError
from sciml.pinns import Recipe, Residual, problems, samplers
from sciml.pinns.domain import Box, Domain
from sciml.pinns.samplers import (
    PINNACLE,
    R3,
    RAD,
    RAR,
    RARD,
    VRBA,
    CausalR3,
    GridPoints,
    Halton,
    InTurn,
    LatinHypercube,
    OnDevice,
    RandomGrid,
    Sampler,
    Site,
    Sobol,
    Uniform,
)
from sciml.pinns.samplers.pool import density
from sciml.streams import Stream, Streams

STREAM = Stream(0, "points")
SQUARE = Domain(Box(((0.0, 1.0), (0.0, 1.0))))
ALL = [
    Uniform(),
    OnDevice(),
    Sobol(),
    Halton(),
    LatinHypercube(),
    GridPoints(),
    RandomGrid(),
    RAD(every=1),
    VRBA(every=1),
    RAR(every=1, pool=5),
    RARD(every=1, pool=5),
    R3(),
    CausalR3(),
    PINNACLE(every=1, fresh=0.1, candidates=4, reference=8),
    InTurn(((1, Uniform()), (1, R3()))),
]
GROWING = (RAR, RARD)


def site(score: object = None, count: int = 256, *, time: bool = False) -> Site:
    times = (lambda x: x[:, 1]) if time else None
    size = score or (lambda x: x[:, 0])
    return Site(SQUARE.interior, count, size, times, lambda x: (size(x)[:, None], x[:, None]))  # type: ignore[arg-type, operator]


def float64(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def spike(x: Tensor) -> Tensor:
    """A residual of 100 on a hundredth of the square, of 1 elsewhere."""
    return 1 + 99 * ((x - 0.55).abs().max(1).values < 0.05).double()


def test_every_sampler_is_tried() -> None:
    classes = {getattr(samplers, name) for name in samplers.__all__}
    assert {type(sampler) for sampler in ALL} == {
        c for c in classes - {Sampler, Site} if issubclass(c, Sampler)
    }


@pytest.mark.parametrize("sampler", ALL, ids=lambda s: type(s).__name__)
def test_a_sampler_is_a_function_of_state_stream_and_step(sampler: Sampler) -> None:
    first = sampler.draw(None, site(), 0, STREAM)
    assert len(first["rows"]) == 256 and SQUARE.contains(first["rows"]).all()
    again = sampler.draw({name: value.clone() for name, value in first.items()}, site(), 1, STREAM)
    assert len(again["rows"]) == (259 if isinstance(sampler, GROWING) else 256)
    assert torch.equal(again["rows"], sampler.draw(first, site(), 1, STREAM)["rows"])
    if not isinstance(sampler, GridPoints):
        assert not torch.equal(again["rows"], first["rows"])  # no sequence repeats itself


@pytest.mark.parametrize("sampler", ALL, ids=lambda s: type(s).__name__)
def test_a_sampler_serves_interior_boundary_and_start(sampler: Sampler) -> None:
    problem = problems.Wave()
    model = Recipe(hard=False).model(problem, 0)
    loss = Residual(problem, sampler=sampler, points=256)
    first, second = (loss.draw(step, model, Streams(0)).tensors for step in (0, 1))
    for step, drawn in enumerate((first, second)):
        counts = [len(drawn[f"{name}/rows"]) for name in ("equation", "boundary", "initial", "rate")]
        if isinstance(sampler, PINNACLE):
            assert sum(counts) == 256 + 3 * 25  # shared out anew
        elif isinstance(sampler, GROWING):
            assert counts == [256 + 3 * step, *[25 + step] * 3]
        elif not isinstance(sampler, (GridPoints, RandomGrid)):
            assert counts == [256, 25, 25, 25]
        assert problem.domain.contains(drawn["equation/rows"]).all()
        boundary, start = drawn["boundary/rows"], drawn["initial/rows"]
        assert set(boundary[:, 0].tolist()) == {0.0, 1.0} and (boundary[:, 2] == 2 * boundary[:, 0] - 1).all()
        assert (start[:, 1] == 0).all()
        assert "initial/weight" not in drawn  # there is nothing to wait for
    if not isinstance(sampler, GridPoints):
        # Residuals above the mean keep their points, at no site all of them.
        assert not any(torch.equal(first[f"{name}/rows"], second[f"{name}/rows"]) for name in loss._states)


@pytest.mark.parametrize(
    "sampler",
    [
        Uniform(every=10),
        Sobol(every=10),
        RandomGrid(every=10),
        RAD(every=10),
        R3(every=10),
        RAR(every=10, pool=5),
        RARD(every=10, pool=5),
    ],
)
def test_points_stay_between_draws(sampler: Sampler) -> None:
    first = sampler.draw(None, site(), 3, STREAM)
    assert sampler.draw(first, site(), 7, STREAM) is first
    assert sampler.draw(first, site(), 10, STREAM) is not first


def test_low_discrepancy() -> None:
    """Of 256 points each of the 16 x 16 cells has one (Sobol), each of the 256 slabs has one (hypercube);
    of 144 each of the 16 x 9 cells (Halton)."""
    cells = (16 * Sobol().draw(None, site(), 0, STREAM)["rows"]).long()
    assert len({tuple(c) for c in cells.tolist()}) == 256
    slabs = (256 * LatinHypercube().draw(None, site(), 0, STREAM)["rows"]).long()
    assert all(sorted(column) == list(range(256)) for column in slabs.T.tolist())
    halton = Halton().draw(None, site(count=144), 0, STREAM)["rows"]
    cells = (halton * torch.tensor([16, 9])).long()
    assert len({tuple(c) for c in cells.tolist()}) == 144


@pytest.mark.parametrize("sampler", [Sobol(), Halton()], ids=lambda s: type(s).__name__)
def test_a_domain_that_rejects_points_gets_others(sampler: Sampler) -> None:
    """Trap: a sequence that starts again gives the same points, which are rejected again."""
    asked: list[Tensor] = []

    def rows(source: object, n: int) -> Tensor:
        asked.extend(source(n, 2) for _ in range(2))  # type: ignore[operator]
        return asked[-1]

    sampler.draw(None, Site(rows, 64, lambda x: x[:, 0]), 0, STREAM)
    assert not (asked[0][:, None] == asked[1]).all(2).any()


def test_grid_has_cell_centers() -> None:
    rows = GridPoints().draw(None, site(count=20), 0, STREAM)["rows"]
    centers = (0.125, 0.375, 0.625, 0.875)
    assert sorted(rows.tolist()) == [[x, y] for x in centers for y in centers]


def test_a_random_grid_has_other_coordinates_at_every_draw() -> None:
    """Along each axis one in each of n slabs; every point is uniform, so means have no bias."""
    draws = [RandomGrid().draw(None, site(count=17), step, STREAM)["rows"] for step in range(300)]
    for rows in draws[:3]:
        axes = [rows[::4, 0], rows[:4, 1]]
        assert torch.equal(rows, torch.cartesian_prod(*axes))
        assert all(sorted((4 * axis).long().tolist()) == [0, 1, 2, 3] for axis in axes)
    # Of the first point, which a face might be given alone; standard errors of 1200 numbers are below 0.01.
    first = torch.stack([rows[0] for rows in draws])
    assert (first.mean(0) - 0.5).abs().max() < 5 / math.sqrt(12 * 300)


@pytest.mark.parametrize("sampler", [GridPoints(), RandomGrid()], ids=lambda s: type(s).__name__)
def test_faces_of_a_grid_are_seen_from_end_to_end(sampler: Sampler) -> None:
    """Trap: four faces share 400 rows, and a grid in order gives each a quarter of its length."""
    rows = sampler.draw(None, Site(SQUARE.boundary, 400, lambda x: x[:, 0]), 0, STREAM)["rows"]
    for axis in (0, 1):
        for end in (0.0, 1.0):
            along = rows[rows[:, axis] == end][:, 1 - axis].sort().values
            ends = torch.cat([torch.zeros(1), along, torch.ones(1)])
            # A hundred of 400 cells: the golden ratio leaves gaps of up to three, chance of some more.
            assert len(along) == 100 and float(ends.diff().max()) < 0.1


def test_r3_retains_what_is_above_the_mean_and_replaces_the_rest() -> None:
    state = R3().draw(None, site(spike), 0, STREAM)
    inside = []
    for step in range(1, 30):
        before = state["rows"]
        state = R3().draw(state, site(spike), step, STREAM)
        kept = before[spike(before) > spike(before).mean()]
        assert len(state["rows"]) == 256  # the population keeps its size
        assert torch.equal(state["rows"][: len(kept)], kept)  # bit for bit
        inside.append(int((spike(state["rows"]) > 1).sum()))
    assert inside == sorted(inside) and inside[-1] > inside[0] + 20  # a spike gathers points, none leaves
    flat = R3().draw(state, site(lambda x: torch.ones(len(x))), 30, STREAM)
    assert not (flat["rows"][:, None] == state["rows"]).all(2).any()  # nothing is above the mean


@pytest.mark.parametrize("sampler", [R3(), CausalR3()], ids=lambda s: type(s).__name__)
def test_released_points_come_back_uniform(sampler: Sampler) -> None:
    """A chi-square test on 4 x 4 cells, when all are released."""
    seen = site(lambda x: torch.ones(len(x)), 4096)
    rows = sampler.draw(sampler.draw(None, seen, 0, STREAM), seen, 1, STREAM)["rows"]
    cells = (4 * rows).long()
    counts = torch.bincount(4 * cells[:, 0] + cells[:, 1], minlength=16).double()
    # Fifteen degrees of freedom: above 37.7 once in a thousand samples.
    assert ((counts - 256) ** 2 / 256).sum() < 37.7


def test_gate_opens_from_the_start() -> None:
    sampler, t = CausalR3(), torch.linspace(0, 1, 101, dtype=torch.float64)
    for gate in (-0.5, 0.3, 0.9):
        g = sampler.openness(t, float64(gate))
        assert (g.diff() < 0).all() and (g > 0).all() and (g < 1).all()  # the later, the less
        # 0.3 as a point of the grid and as the gate may differ in the last bit.
        assert torch.equal(g > 0.5 + 1e-9, t < gate - 1e-9)
    opened, shut = (sampler.openness(t, float64(gate)) for gate in (9.0, -9.0))
    torch.testing.assert_close(opened, torch.ones_like(t))
    torch.testing.assert_close(shut, torch.zeros_like(t))


def test_gate_waits_for_the_residual() -> None:
    sampler = CausalR3(rate=0.02, tolerance=20.0, cap=0.1)
    gate = float64(0.2)
    for loss, step in ((0.0, 0.02 * 0.1), (0.2, 0.02 * math.exp(-4)), (1e9, 0.0)):
        assert float(sampler.moved(gate, float64(loss)) - gate) == pytest.approx(step, rel=1e-9)
    assert sampler.moved(float64(1.6), float64(0.0)) == 1.6  # it is open


def test_causal_r3_gates_fitness_and_loss() -> None:
    sampler = CausalR3(rate=10.0)
    seen = site(lambda x: 1 + x[:, 0], time=True)
    state = sampler.draw(None, seen, 0, STREAM)
    for step in range(1, 4):
        rows, gate = state["rows"], state["gate"]
        g = (1 - torch.tanh(5 * (rows[:, 1] - gate))) / 2
        torch.testing.assert_close(state["weight"], g**2)  # the loss is the mean of (g r)^2
        fitness = g * (1 + rows[:, 0])
        state = sampler.draw(state, seen, step, STREAM)
        kept = rows[fitness > fitness.mean()]
        assert len(state["rows"]) == 256 and torch.equal(state["rows"][: len(kept)], kept)  # bit for bit
        moved = 10.0 * torch.exp(-20 * fitness.square().mean()).clamp(max=0.1)
        torch.testing.assert_close(state["gate"], gate + moved)
    assert state["gate"] > -0.5
    still = site(lambda x: 1 + x[:, 0])  # without time it is R3
    first, plain = sampler.draw(None, still, 0, STREAM), R3().draw(None, still, 0, STREAM)
    again = sampler.draw(first, still, 1, STREAM)
    assert again.keys() == {"rows"} and torch.equal(again["rows"], R3().draw(plain, still, 1, STREAM)["rows"])


def test_rad_looks_beyond_its_points() -> None:
    """Trap: refinement among the points there are discovers nothing."""
    sampler = RAD(every=1, offset=0.0)
    corner = {"rows": 0.1 * Uniform().draw(None, site(), 0, STREAM)["rows"]}
    rows = sampler.draw(corner, site(lambda x: (x > 0.9).all(1).double()), 1, STREAM)["rows"]
    # The pool has 128 points there on average, 11 the deviation.
    assert (rows > 0.9).all(1).sum() > 80


def test_rad_follows_its_density() -> None:
    """A chi-square test on four strips with residual x: p ~ x / mean(x) + 1."""
    sampler = RAD(every=1, pool=100)
    state = sampler.draw(None, site(count=2000), 0, STREAM)
    rows = sampler.draw(state, site(count=2000), 1, STREAM)["rows"]
    counts = torch.bincount((4 * rows[:, 0]).long(), minlength=4).double()
    edges = torch.linspace(0, 1, 5, dtype=torch.float64)
    expected = 2000 * ((edges**2 + edges) / 2).diff()
    # Three degrees of freedom: above 16.3 once in a thousand samples.
    assert ((counts - expected) ** 2 / expected).sum() < 16.3
    uniform = torch.full((4,), 500.0)
    assert ((counts - uniform) ** 2 / uniform).sum() > 50


def test_importance_weights_undo_the_density() -> None:
    """The weighted mean over the drawn points estimates the mean over the square, 1/2 and 1/3."""
    sampler = RAD(every=1, importance=True)
    state = sampler.draw(None, site(count=4000), 0, STREAM)
    assert torch.equal(state["weight"], torch.ones(4000, dtype=torch.float64))
    state = sampler.draw(state, site(count=4000), 1, STREAM)
    x, weight = state["rows"][:, 0], state["weight"]
    for power in (1, 2):
        values = weight * x**power
        assert abs(values.mean() - 1 / (power + 1)) < 4 * values.std() / 4000**0.5  # standard errors


def test_rad_without_a_residual_is_uniform() -> None:
    one = torch.ones(5, dtype=torch.float64)
    assert torch.equal(density(torch.zeros(5), 1.0, 1.0), one)
    assert torch.equal(density(torch.tensor([1.0, 1e-30, 1e30, 2.0, 3.0]), 0.0, 1.0), one)


def test_in_turn_hands_the_points_on() -> None:
    sampler = InTurn(((3, Uniform()), (2, Uniform(every=100))))
    state = None
    states = [state := sampler.draw(state, site(), step, STREAM) for step in range(6)]
    assert states[2] is not states[1]
    assert states[3] is states[2] and states[5] is states[2]


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="every must be at least 1"):
        Uniform(every=0)
    with pytest.raises(ConfigError, match="offset >= 0"):
        RAD(offset=-1.0)
    with pytest.raises(ConfigError, match="take 4 at least"):
        GridPoints().draw(None, site(count=3), 0, STREAM)
    with pytest.raises(ConfigError, match="RandomGrid: 3 points make no grid of 2 axes"):
        RandomGrid().draw(None, site(count=3), 0, STREAM)
    with pytest.raises(ConfigError, match="take Uniform"):
        Sobol().draw(None, Site(lambda source, n: source(n, 30_000), 4, lambda x: x[:, 0]), 0, STREAM)
