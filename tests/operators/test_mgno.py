"""MgNO: with the weights of multigrid it is multigrid; its size, its boundaries, grids of any size."""

from __future__ import annotations

from functools import partial
from math import pi
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import AdamW

from sciml.cli.names import parse_settings
from sciml.dataset import write_dataset
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid
from sciml.metrics import relative_h1
from sciml.operators.mgno import MgNO, published
from sciml.operators.multigrid import Coupling, Cycle, Interpolation, VCycle
from sciml.schema import Field
from sciml.streams import Streams
from sciml.supervised import Supervised
from sciml.trainer import Trainer

EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 1e-12}
BOUNDARIES = ("zeros", "circular", "replicate")


def mgno(*arguments: int, seed: int = 0, **settings: Any) -> MgNO:
    torch.manual_seed(seed)
    return MgNO(*arguments, **settings).double().eval()


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# What it is with the weights of multigrid.


def outer(vector: list[float], rank: int) -> Tensor:
    """The tensor product of a stencil with itself."""
    factor, product = torch.tensor(vector, dtype=torch.float64), torch.ones((), dtype=torch.float64)
    for _ in range(rank):
        product = torch.tensordot(product, factor, dims=0)
    return product


def laplacian(rank: int) -> Tensor:
    """-h² times the Laplacian of second order: 2 d in the middle, -1 at the 2 d neighbors."""
    stencil = torch.zeros((3,) * rank, dtype=torch.float64)
    for axis in range(rank):
        line = stencil[tuple(slice(None) if other == axis else 1 for other in range(rank))]
        line += torch.tensor([-1.0, 2.0, -1.0])
    return stencil


def multigrid(rank: int, grids: int, *, kept: Any, boundary: Any = "zeros") -> MgNO:
    """V(1,1): damped Jacobi steps, linear interpolation P, R = P^T / 2^(d - 2).

    That R is 4 times full weighting, ``R P = 4 I`` in its sum: -h² Δ has 4 times the value on a grid twice as
    coarse, and the stencil does not know. There are two channels, u and -u, since GELU(u) - GELU(-u) = u:
    so the activation takes nothing away, and the model as a whole is the cycle.
    """
    cycle = Cycle((1,) * grids, post=(1,) * grids, taps=3, kept=kept, residual=True)
    model = mgno(rank, 1, 1, width=2, depth=1, cycle=cycle, boundary=boundary)
    damping = 2 * rank / (2 * rank + 1)  # smooths best: 2/3, 4/5, 6/7
    delta, linear = outer([0.0, 1.0, 0.0], rank), outer([0.5, 1.0, 0.5], rank)
    weights = {
        "operator": torch.stack((laplacian(rank), 0 * delta))[None],  # reads u, not -u
        "smoother": damping / (2 * rank) * torch.stack((delta, -delta))[:, None],
        "restriction": (2.0 ** (2 - rank) * linear)[None, None],
        ".up.": torch.eye(2).view(2, 2, *[1] * rank) * linear,
        "exit": torch.tensor([[1.0, -1.0]]),
    }
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            found = [weight for kind, weight in weights.items() if kind in name]
            parameter.copy_(found[0] if found else torch.zeros_like(parameter))
    return model


def contraction(model: MgNO, shape: tuple[int, ...], boundary: str, cycles: int = 24) -> float:
    """By how much the last of many cycles shrinks the error of ``A u = f``: the spectral radius."""
    operator = Coupling((boundary,) * len(shape), 1, 1).double()  # type: ignore[arg-type]
    error = noise(1, 1, *shape)
    with torch.no_grad():
        operator.weight.copy_(laplacian(len(shape))[None, None])
        for _ in range(cycles):
            if boundary != "zeros":
                error = error - error.mean()  # constants are not determined
            before = error.norm()
            error = (error - model(operator(error))) / before
    return float(error.norm())


@pytest.mark.parametrize("n", [31, 63, 127])
def test_t7_it_is_the_multigrid_cycle_of_the_poisson_equation(n: int) -> None:
    """n² inner nodes; the error of the 5-point equations falls by 0.33 to 0.38 in each cycle, for every n.

    Damped Jacobi with 4/5 leaves 3/5 of what is not smooth, two steps 0.36.
    """
    model = multigrid(2, grids=n.bit_length(), kept="odd")
    assert 0.33 < contraction(model, (n, n), "zeros") < 0.38


@pytest.mark.parametrize(("rank", "most"), [(1, 0.2), (2, 0.38), (3, 0.52)])
@pytest.mark.parametrize("boundary", ["zeros", "circular"])
def test_t7_it_is_multigrid_for_every_rank_and_boundary(rank: int, most: float, boundary: Any) -> None:
    """The error falls equally fast on twice as many points; on one grid it would fall by 1 - O(h²).

    With ω = 2d / (2d + 1), two steps leave ((2d - 1) / (2d + 1))² of what is not smooth, 0.11, 0.36, 0.51;
    in one dimension more is left by the coarse grids, which get one cycle instead of a solution.
    """
    grids, factors = {1: 5, 2: 4, 3: 3}[rank], []
    for count in (grids, grids + 1):
        if boundary == "zeros":
            n, kept = 2**count - 1, "odd"
        else:
            n, kept = 2 ** (count + 1), "even"  # down to 4 points
        model = multigrid(rank, count, kept=kept, boundary=boundary)
        factors.append(contraction(model, (n,) * rank, boundary))
    assert max(factors) < most
    assert factors[1] == pytest.approx(factors[0], rel=0.1)


def test_without_its_scale_of_coarse_residuals_it_is_not() -> None:
    """Full weighting alone leaves coarse corrections a quarter as large as they should be."""
    model = multigrid(2, grids=5, kept="odd")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "restriction" in name:
                parameter.div_(4)
    assert contraction(model, (31, 31), "zeros") > 0.9


# What it is with any weights.


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(
    "cycle",
    [Cycle((1, 2)), Cycle((2, 1, 1), post=(1, 0, 1), taps=(3, 4), residual=True), Cycle((1, 1), kept="odd")],
)
def test_t6_cycles_are_linear(cycle: Cycle, boundary: Any) -> None:
    torch.manual_seed(0)
    model = VCycle((boundary,) * 2, 2, 3, cycle).double()
    x, z = noise(2, 2, 9, 6), noise(2, 2, 9, 6, seed=2)
    with torch.no_grad():
        torch.testing.assert_close(model(2 * x - z), 2 * model(x) - model(z), **EXACT)
        assert model(x).abs().max() > 1e-3


@pytest.mark.parametrize("cycle", [Cycle((1, 1, 2)), Cycle((1, 1, 2), taps=3, kept="odd")])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_t4_it_commutes_with_translations_by_its_stride(rank: int, cycle: Cycle) -> None:
    model = mgno(rank, 1, 2, width=3, depth=2, cycle=cycle, boundary="circular")
    x = noise(1, 1, *(16, 8, 4)[:rank])
    with torch.no_grad():
        y = model(x)
        for axis in range(2, 2 + rank):
            moved = model(x.roll(model.stride, axis))
            torch.testing.assert_close(moved, y.roll(model.stride, axis), **EXACT)
            other = model(x.roll(1, axis)) - y.roll(1, axis)
            assert other.abs().max() > 1e-4  # by fewer points the coarse grid is another one


def test_axes_have_boundaries_of_their_own() -> None:
    model = mgno(2, 1, 1, width=3, depth=2, cycle=(1, 1), boundary=("circular", "zeros"))
    x = noise(1, 1, 8, 8)
    with torch.no_grad():
        y = model(x)
        torch.testing.assert_close(model(x.roll(2, 2)), y.roll(2, 2), **EXACT)
        assert (model(x.roll(2, 3)) - y.roll(2, 3)).abs().max() > 1e-4


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("cycle", [Cycle((1, 1, 1), post=(0, 1, 0)), Cycle((1, 1, 1), taps=(3, 4))])
@pytest.mark.parametrize("shape", [(1,), (2,), (7,), (9, 5), (6, 11), (3, 4, 5)])
def test_grids_have_any_number_of_points(shape: tuple[int, ...], cycle: Cycle, boundary: Any) -> None:
    model = mgno(len(shape), 1, 2, width=2, depth=1, cycle=cycle, boundary=boundary, coordinates=True)
    y = model(noise(2, 1, *shape), noise(2, len(shape), *shape))
    assert y.shape == (2, 2, *shape)
    assert y.isfinite().all() and y.is_contiguous()


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("n", [4, 5, 6, 7])
def test_odd_points_take_any_number_that_is_large_enough(n: int, boundary: Any) -> None:
    for taps in (3, 4):
        model = mgno(
            1, 1, 1, width=2, depth=1, cycle=Cycle((1, 1, 1), taps=taps, kept="odd"), boundary=boundary
        )
        assert model(noise(1, 1, n)).shape == (1, 1, n)
        with pytest.raises(ShapeError, match=r"3 grids of odd points need at least 4 points .* got \(3,\)"):
            model(noise(1, 1, 3))


@pytest.mark.parametrize("kept", ["even", "odd"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_linear_fields_survive_interpolation(boundary: Any, kept: Any) -> None:
    """With the weights 1/2, 1, 1/2 the points kept keep their values, and the others get means of two."""
    up = Interpolation((boundary,), 1, taps=3, kept=kept).double()
    first = 1 if kept == "odd" else 0
    coarse = torch.arange(5, dtype=torch.float64)[None, None]
    for n in (10, 9) if kept == "even" else (11, 10):
        with torch.no_grad():
            up.weight[:] = torch.tensor([0.5, 1.0, 0.5])
            y = up(coarse, (n,)).flatten()
        inner = torch.arange(9, dtype=torch.float64) / 2
        torch.testing.assert_close(y[first : first + 9], inner, **EXACT)
        beyond = {"zeros": (0.0, 0.0), "circular": (4.0, 0.0), "replicate": (0.0, 4.0)}[boundary]
        if kept == "odd":
            assert y[0].item() == beyond[0] / 2
        if n > first + 9:
            assert y[first + 9].item() == (4.0 + beyond[1]) / 2


@pytest.mark.parametrize("kept", ["even", "odd"])
@pytest.mark.parametrize("shape", [(9, 7), (8, 9), (6, 4)])
def test_interpolation_is_the_transpose_of_restriction(shape: tuple[int, ...], kept: Any) -> None:
    """Between zeros, with 3 taps and the same weights: the sums of (R x) y and of x (P y) are equal."""
    down = Coupling(("zeros", "zeros"), 2, 2, kept).double()
    up = Interpolation(("zeros", "zeros"), 2, taps=3, kept=kept).double()
    x = noise(1, 2, *shape)
    with torch.no_grad():
        up.weight.copy_(down.weight)
        coarse = down(x)
        y = noise(*coarse.shape, seed=2)
        torch.testing.assert_close((coarse * y).sum(), (x * up(y, shape)).sum(), **EXACT)


@pytest.mark.parametrize("cycle", [Cycle((1, 2)), Cycle((1, 1), (0, 1), taps=3, kept="odd", residual=True)])
@pytest.mark.parametrize("boundary", [("circular", "zeros"), ("replicate", "circular")])
def test_gradients_in_float64(cycle: Cycle, boundary: Any) -> None:
    model = mgno(2, 1, 1, width=2, depth=1, cycle=cycle, boundary=boundary)
    x, weight = noise(1, 1, 3, 4).requires_grad_(), next(model.layers[0].parameters())
    assert torch.autograd.gradcheck(lambda x, _: model(x), (x, weight))


def test_a_cycle_may_have_one_grid() -> None:
    model = mgno(1, 1, 1, width=2, depth=1, cycle=(2,))
    assert model.stride == 1
    assert sum(p.numel() for p in model.parameters()) == 3 * 2 * 3 + 4 + 2  # A, S twice; B and b; Q
    assert model(noise(1, 1, 5)).shape == (1, 1, 5)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("residual", [False, True])
def test_t13_its_size_follows_from_its_layers(rank: int, residual: bool) -> None:
    cycle = Cycle((1, 2, 1), post=(1, 0, 2), taps=(3, 4), residual=residual)
    model = MgNO(rank, 2, 3, width=5, depth=2, cycle=cycle, coordinates=True)
    count = 3 * 5
    for f in (2 + rank, 5):
        steps = 2 * 7 - 1 + (2 if residual else 0)  # an A and an S each, but the first has no A
        count += 3**rank * (5 * f * steps + 2 * (f * f + 5 * 5)) + (3**rank + 4**rank) * 5 * 5 + f * 5 + 5
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize(
    ("name", "count"), [("darcy_rough", 572_661), ("darcy_multiscale", 572_661), ("darcy_smooth", 678_093)]
)
def test_t13_the_published_models(name: str, count: int) -> None:
    arguments, source = published[name]
    assert sum(p.numel() for p in MgNO(2, 1, 1, **arguments).parameters()) == count
    assert "ICLR 2024" in source


def test_all_published_arguments_make_models() -> None:
    for arguments, _ in published.values():
        with torch.device("meta"):
            assert len(MgNO(2, 1, 1, **arguments).layers) == arguments["depth"]


def test_the_command_line_knows_cycles() -> None:
    found = parse_settings(["cycle=Cycle((1, 2), taps=3, kept='odd')"])
    assert found == {"cycle": Cycle((1, 2), taps=3, kept="odd")}


def test_what_suits_a_grid_has_its_boundaries() -> None:
    model = MgNO(2, 1, 1, **MgNO.suited(Grid.box((16, 12), periodic=(True, False))))
    assert model.boundary[0] == "circular" != model.boundary[1]
    assert model(torch.zeros(1, 1, 16, 12)).shape == (1, 1, 16, 12)


@pytest.mark.parametrize(("points", "stride"), [(1, 1), (2, 1), (3, 1), (7, 2), (16, 8), (85, 32), (421, 32)])
def test_the_coarsest_grid_that_suits_keeps_two_points(points: int, stride: int) -> None:
    model = MgNO(2, 1, 1, **MgNO.suited(Grid.box((points, 500))))
    assert model.stride == stride
    assert points < 2 or points / stride >= 2


def test_it_learns_from_a_relative_h1_error(tmp_path: Path) -> None:
    """On a domain of length 2π, that of the published weights; the task hands it physical fields."""
    grid = Grid.box((8, 6))
    rng = np.random.default_rng(0)
    a = rng.standard_normal((6, 8, 6)).astype(np.float32)
    fields = [(Field("a", "input"), a), (Field("u", "output"), a.cumsum(1).cumsum(2))]
    split = np.array([0] * 4 + [1, 2], dtype=np.int8)
    data = write_dataset(tmp_path / "data.h5", grid=grid, fields=fields, split=split)
    loss = partial(relative_h1, grid=Grid.box((8, 6), upper=2 * pi))
    task = Supervised(data.train, ["a"], ["u"], loss=loss, batch_size=4)
    torch.manual_seed(0)
    model = MgNO(2, 1, 1, width=8, depth=2, cycle=(1, 1, 2))
    run = Trainer(40, optimizer=partial(AdamW, lr=1e-2)).fit(model, task, output=tmp_path / "run")
    losses = [row["loss"] for row in run.history]
    assert losses[-1] < losses[0] / 2
    found = task.evaluate(run.model, Streams(0))["loss"]
    prediction, batch = task.judged(run.model, range(4))
    assert found == pytest.approx(float(loss(prediction, batch["y"].double()).mean()), rel=1e-12)
    assert found < losses[0] / 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"boundary": "periodic"}, "boundary is one of zeros, circular, replicate"),
        ({"cycle": ()}, "one number in pre and in post"),
        ({"cycle": (1, 0)}, "pre must be at least 1, got 0"),
        ({"width": 0}, "width must be at least 1"),
    ],
)
def test_refuses_settings_in_a_sentence(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MgNO(2, 1, 1, **settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"post": (1,)}, "one number in pre and in post"),
        ({"post": (0, -1)}, "post are at least 0"),
        ({"taps": (3, 4)}, "but the finest one in taps"),
        ({"taps": 5}, "taps 3 or 4"),
        ({"kept": "all"}, "kept is 'even' or 'odd', .* 'all'"),
    ],
)
def test_refuses_cycles_in_a_sentence(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Cycle((1, 1), **settings)
