"""Gradients as factors, and the update that consumes them: the same numbers as dense gradients and torch's
Adam."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sciml.kernels import factored_update
from sciml.kernels.bench.harness import peak_memory
from sciml.kernels.differential import laplacian
from sciml.kernels.estimators import Estimator, Exact, SparseDirections
from sciml.kernels.factored_gradient import FactoredGradient, clip_gradient_norm, recorded
from sciml.kernels.factored_update import FactoredAdam, Moments
from sciml.kernels.wide_linear import WideLinear

DIM, WIDTH, POINTS = 50, 6, 4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(dim: int = DIM) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [WideLinear(dim, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1)]
    return nn.Sequential(*layers).double()


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of few rows, so that there are several and the last one is shorter."""
    monkeypatch.setattr(factored_update, "TILE_ON_CPU", 8 * WIDTH * 8)


def loss_of(model: nn.Module, step: int, estimator: Estimator = SparseDirections(5)) -> Tensor:  # noqa: B008
    x = torch.randn(POINTS, DIM, dtype=torch.float64, generator=seeded(step))
    u = laplacian(model, x, estimator=estimator, generator=step) + model(x).squeeze(1)
    return (u - x[:, 0]).square().mean()


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, steps: range, estimator: Estimator, parts: int = 1
) -> None:
    for step in steps:

        def closure(step: int = step) -> float:
            optimizer.zero_grad()
            total = 0.0
            for part in range(parts):
                loss = loss_of(model, parts * step + part, estimator) / parts
                loss.backward()
                total += float(loss.detach())
            return total

        optimizer.step(closure)


def distance(model: nn.Module, other: nn.Module) -> float:
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    return max(float((p - q).detach().abs().max()) for p, q in pairs)


# Factors.


def example() -> tuple[FactoredGradient, Tensor]:
    """Two products and rows that occur twice, and the matrix that they are."""
    gradient, dense = FactoredGradient(), torch.zeros(DIM, WIDTH, dtype=torch.float64)
    for seed, count in ((1, 3), (2, 7)):
        left = torch.randn(count, DIM, dtype=torch.float64, generator=seeded(seed))
        right = torch.randn(count, WIDTH, dtype=torch.float64, generator=seeded(seed + 10))
        gradient.add_product(left, right)
        dense += left.T @ right
    for index in ([0, 3, 3, 49], [3, 17]):
        rows = torch.tensor(index)
        values = torch.randn(len(rows), WIDTH, dtype=torch.float64, generator=seeded(len(index)))
        gradient.add_rows(rows, values)
        dense.index_add_(0, rows, values)
    return gradient, dense


def test_tiles_make_up_the_gradient() -> None:
    gradient, dense = example()
    tiles = [gradient.tile(start, min(start + 16, DIM)) for start in range(0, DIM, 16)]
    torch.testing.assert_close(torch.cat(tiles), dense)
    buffer = torch.full((20, WIDTH), torch.nan, dtype=torch.float64)
    torch.testing.assert_close(gradient.tile(33, 50, out=buffer), dense[33:50])
    assert buffer[17:].isnan().all()


def test_norms_come_from_the_factors() -> None:
    gradient, dense = example()
    torch.testing.assert_close(gradient.column_squares(), dense.square().sum(0))
    torch.testing.assert_close(gradient.squared_norm(), dense.square().sum())
    gradient.scale(-0.5)
    torch.testing.assert_close(gradient.tile(0, DIM), -0.5 * dense)


def test_rows_alone_are_a_gradient_and_nothing_is_zero() -> None:
    gradient = FactoredGradient()
    assert not gradient
    assert gradient.squared_norm() == 0
    gradient.add_rows(torch.tensor([4, 4]), torch.ones(2, WIDTH))
    assert gradient
    torch.testing.assert_close(gradient.tile(3, 6)[:, 0], torch.tensor([0.0, 2.0, 0.0]))
    assert gradient.squared_norm() == 4 * WIDTH


def test_recording_ends_with_its_block() -> None:
    model = network()
    with recorded(model.parameters()) as outer:
        with recorded(model.parameters()) as inner:
            loss_of(model, 0).backward()
        assert inner[model[0].weight]
        assert not outer[model[0].weight]
        loss_of(model, 0).backward()
        assert outer[model[0].weight]
    assert model[0].weight.grad is None
    loss_of(model, 0).backward()
    torch.testing.assert_close(model[0].weight.grad, inner[model[0].weight].tile(0, DIM))


def test_an_input_that_needs_a_gradient_gets_it() -> None:
    layer = WideLinear(DIM, WIDTH).double()
    x = torch.randn(POINTS, DIM, dtype=torch.float64, generator=seeded(), requires_grad=True)
    with recorded(layer.parameters()):
        layer(x).square().sum().backward()
    recorded_slope, x.grad = x.grad, None
    layer(x).square().sum().backward()
    torch.testing.assert_close(recorded_slope, x.grad)


def test_clipping_is_that_of_torch() -> None:
    model, other = network(), network()
    for limit in (1e-3, 1e3):
        with recorded(model.parameters()) as factors:
            loss_of(model, 0).backward()
        loss_of(other, 0).backward()
        found = clip_gradient_norm(model.parameters(), factors, limit)
        wanted = torch.nn.utils.clip_grad_norm_(other.parameters(), limit)
        assert found == pytest.approx(float(wanted), rel=1e-12)
        # torch divides by the norm plus 1e-6.
        tile = factors[model[0].weight].tile(0, DIM)
        torch.testing.assert_close(tile, other[0].weight.grad, rtol=1e-3, atol=0)
        torch.testing.assert_close(model[2].weight.grad, other[2].weight.grad, rtol=1e-3, atol=0)
        for network_ in (model, other):
            network_.zero_grad()


# The update.

ESTIMATORS: dict[str, Estimator] = {
    "exact": Exact(),
    "sparse": SparseDirections(5),
    "rows drawn twice": SparseDirections(60, replacement=True),
    "rows for each point": SparseDirections(3, per_point=True),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_full_moments_are_adam(name: str) -> None:
    model, other = network(), network()
    ours = FactoredAdam(model.parameters(), lr=1e-2)
    train(model, ours, range(8), ESTIMATORS[name])
    train(other, torch.optim.Adam(other.parameters(), lr=1e-2), range(8), ESTIMATORS[name])
    assert model[0].weight.grad is None
    assert other[0].weight.grad is not None
    # Eight steps of size 1e-2; Adam divides by roots of moments, which at first amplifies rounding errors.
    assert distance(model, other) < 1e-9


def test_without_the_fused_operation_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    model, other = network(), network()
    train(model, FactoredAdam(model.parameters(), lr=1e-2), range(5), Exact())
    monkeypatch.setattr(factored_update, "_FUSED", None)
    train(other, FactoredAdam(other.parameters(), lr=1e-2), range(5), Exact())
    assert distance(model, other) < 1e-9


def test_gradients_of_several_backward_passes_add_up() -> None:
    model, other = network(), network()
    train(model, FactoredAdam(model.parameters(), lr=1e-2), range(4), SparseDirections(5), parts=3)
    train(other, torch.optim.Adam(other.parameters(), lr=1e-2), range(4), SparseDirections(5), parts=3)
    assert distance(model, other) < 1e-9


def test_dense_gradients_and_factors_of_one_weight_add_up() -> None:
    model, other = network(), network()
    ours, adam = FactoredAdam(model.parameters()), torch.optim.Adam(other.parameters())

    def loss(of: nn.Sequential, optimizer: torch.optim.Optimizer) -> Callable[[], float]:
        def closure() -> float:
            optimizer.zero_grad()
            total = loss_of(of, 0) + of[0].weight.square().sum()
            total.backward()
            return float(total.detach())

        return closure

    ours.step(loss(model, ours))
    adam.step(loss(other, adam))
    assert distance(model, other) < 1e-12


def test_without_a_closure_gradients_are_dense() -> None:
    model, other = network(), network()
    for of, optimizer in (
        (model, FactoredAdam(model.parameters())),
        (other, torch.optim.Adam(other.parameters())),
    ):
        loss_of(of, 0).backward()
        optimizer.step()
    assert distance(model, other) < 1e-12


def test_among_several_processes_gradients_are_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factored_update, "_among_others", lambda: True)
    model = network()
    train(model, FactoredAdam(model.parameters()), range(1), Exact())
    assert model[0].weight.grad is not None


def test_a_closure_may_clip() -> None:
    model, other = network(), network()
    ours, adam = FactoredAdam(model.parameters(), eps=1e-2), torch.optim.Adam(other.parameters(), eps=1e-2)

    def closure() -> float:
        ours.zero_grad()
        loss = loss_of(model, 0)
        loss.backward()
        ours.clip_gradient_norm(1e-2)
        return float(loss.detach())

    ours.step(closure)
    loss_of(other, 0).backward()
    torch.nn.utils.clip_grad_norm_(other.parameters(), 1e-2)
    adam.step()
    assert distance(model, other) < 1e-6  # torch divides by the norm plus 1e-6
    assert distance(model, network()) > 1e-5


@pytest.mark.parametrize("moments", ["bfloat16", "factored"])
def test_short_moments_stay_near_full_ones(moments: Moments) -> None:
    model, other, start = network(), network(), network()
    steps = range(30)
    train(model, FactoredAdam(model.parameters(), lr=1e-2, moments=moments), steps, Exact())
    train(other, torch.optim.Adam(other.parameters(), lr=1e-2), steps, Exact())
    found, wanted, before = (of[0].weight.detach() for of in (model, other, start))
    # Bfloat16 has a relative error of 2^-8 in each step; factors of the second moment are an approximation,
    # which changes the size of single entries of an update.
    limit = 0.02 if moments == "bfloat16" else 0.5
    assert float((found - wanted).norm() / (wanted - before).norm()) < limit


def test_factored_second_moment_is_exact_for_gradients_of_rank_one() -> None:
    """One point that does not change: G² is an outer product, and so is its moving average."""
    x = torch.randn(1, DIM, dtype=torch.float64, generator=seeded())
    found = []
    for make in (
        lambda p: FactoredAdam(p, lr=1e-2, moments="factored", betas=(0.0, 0.9)),
        lambda p: torch.optim.Adam(p, lr=1e-2, betas=(0.0, 0.9)),
    ):
        torch.manual_seed(0)
        layer = WideLinear(DIM, WIDTH).double()
        optimizer = make([layer.weight])

        def closure(layer: WideLinear = layer, optimizer: torch.optim.Optimizer = optimizer) -> float:
            optimizer.zero_grad()
            loss = (layer(x) * torch.arange(1.0, 7.0)).sum()
            loss.backward()
            return float(loss.detach())

        for _ in range(3):
            optimizer.step(closure)
        found.append(layer.weight.detach())
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-9)


def test_moments_take_as_many_bytes_as_promised() -> None:
    for moments, size in (("full", 8), ("bfloat16", 4), ("factored", 2)):
        model = network().float()
        optimizer = FactoredAdam(model.parameters(), moments=moments)  # type: ignore[arg-type]
        optimizer.step(lambda: model(torch.ones(1, DIM)).sum().backward() or 0.0)  # noqa: B023
        weight = model[0].weight
        held = sum(v.nbytes for v in optimizer.state[weight].values() if v.ndim == 2)
        assert held == size * weight.numel()


def test_rounding_to_bfloat16_keeps_the_mean() -> None:
    value = 1 + 2**-7 / 3  # a third of the way from one number of bfloat16 to the next
    rounded = factored_update._rounded(torch.full((30_000, 1), value), seeded()).float()
    assert set(rounded.unique().tolist()) == {1.0, 1 + 2**-7}
    # A fraction of 1/3 in 30 000 draws has a standard error of 0.0027.
    assert abs(float((rounded > 1).float().mean()) - 1 / 3) < 5 * 0.0027
    exact = torch.tensor([[1.0, -2.5, 0.0, 2.0**-100]])
    assert torch.equal(factored_update._rounded(exact, seeded()).float(), exact)


@pytest.mark.parametrize("moments", ["full", "bfloat16", "factored"])
def test_a_resumed_optimizer_arrives_at_the_same_bits(moments: Moments) -> None:
    model = network()
    optimizer = FactoredAdam(model.parameters(), moments=moments)
    train(model, optimizer, range(3), SparseDirections(5))
    again = network()
    again.load_state_dict(model.state_dict())
    resumed = FactoredAdam(again.parameters(), moments=moments)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for of, by in ((model, optimizer), (again, resumed)):
        train(of, by, range(3, 6), SparseDirections(5))
    assert distance(model, again) == 0.0


def test_checkpoints_can_be_exchanged_with_adam() -> None:
    model = network()
    ours = FactoredAdam(model.parameters())
    train(model, ours, range(2), Exact())
    other = copy.deepcopy(model)
    adam = torch.optim.Adam(other.parameters())
    state = adam.state_dict()
    adam.load_state_dict({**state, "state": copy.deepcopy(ours.state_dict()["state"])})
    train(model, ours, range(2, 4), Exact())
    train(other, adam, range(2, 4), Exact())
    assert distance(model, other) < 1e-10


def test_a_step_holds_no_second_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factored_update, "TILE_ON_CPU", 2**17)
    dim, width = 40_000, 32
    layers = [WideLinear(dim, width), nn.Tanh(), nn.Linear(width, 1)]
    model = nn.Sequential(*layers)
    x = torch.randn(4, dim, generator=seeded())
    optimizer = FactoredAdam(model.parameters())

    def closure() -> float:
        optimizer.zero_grad()
        loss = laplacian(model, x, estimator=SparseDirections(8), generator=0).square().mean()
        loss.backward()
        return float(loss.detach())

    optimizer.step(closure)  # the moments
    size = model[0].weight.numel() * 4
    assert peak_memory(lambda: optimizer.step(closure), torch.device("cpu")) < 0.2 * size


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "lr=-1.0"),
        ({"betas": (0.9, 1.0)}, "betas in"),
        ({"moments": "half"}, "full, bfloat16, factored, got 'half'"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FactoredAdam([nn.Parameter(torch.ones(2, 2))], **settings)  # type: ignore[arg-type]
