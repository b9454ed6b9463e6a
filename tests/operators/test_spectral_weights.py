"""Ways to store spectral weights: what they start as, what they cost, and that a layer does not notice."""

from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.description import build, describe
from sciml.errors import ConfigError
from sciml.kernels.contractions import Contraction, Dense
from sciml.kernels.factorized import CP, Tucker
from sciml.operators import FNO
from sciml.operators.spectral_weights import (
    BlockDiagonalWeights,
    CPWeights,
    DenseWeights,
    FactorizedWeight,
    SeparableWeights,
    SpectralWeights,
    TuckerWeights,
    Weight,
    contraction_of,
)

STRUCTURED: list[SpectralWeights] = [
    CPWeights(3, rank=0.5),
    TuckerWeights(3, rank=0.5),
    SeparableWeights(3),
    BlockDiagonalWeights(3, groups=2),
]
ALL: list[SpectralWeights] = [DenseWeights(3), *STRUCTURED]


def name(weights: object) -> str:
    return type(weights).__name__


def contraction(weight: Weight) -> Contraction:
    found = contraction_of(weight)
    return Dense(found) if isinstance(found, Tensor) else found


def parameters(weight: Weight) -> int:
    """Real numbers in it."""
    return weight.numel() if isinstance(weight, Tensor) else sum(p.numel() for p in weight.parameters())


@pytest.mark.parametrize("weights", ALL, ids=name)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_model_with_factors_is_the_model_with_the_tensor(weights: SpectralWeights, rank: int) -> None:
    """In float64 up to the order of sums, a few hundred products of order 1 through two layers."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {"width": 8, "depth": 2, "coordinates": False}
    model = FNO(rank, 1, 2, modes=weights, **settings).double()
    dense = FNO(rank, 1, 2, modes=3, **settings).double()
    state = {key: value for key, value in model.state_dict().items() if "spectral_weight" not in key}
    for i, layer in enumerate(model.layers):
        state[f"layers.{i}.spectral_weight"] = contraction(layer.spectral_weight).dense().detach()
    dense.load_state_dict(state)
    x = torch.randn(2, 1, *(9, 8, 6)[:rank], dtype=torch.float64)
    torch.testing.assert_close(model(x), dense(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("weights", STRUCTURED, ids=name)
def test_such_a_model_commutes_with_translations(weights: SpectralWeights) -> None:
    torch.manual_seed(0)
    model = FNO(2, 1, 2, modes=weights, width=8, depth=2, coordinates=False)
    x = torch.randn(2, 1, 12, 9)
    with torch.no_grad():
        y, moved = model(x), model(x.roll((5, -2), (2, 3)))
    torch.testing.assert_close(moved, y.roll((5, -2), (2, 3)), rtol=0, atol=1e-6 * float(y.abs().max()))


@pytest.mark.parametrize("weights", ALL, ids=name)
def test_every_tensor_learns(weights: SpectralWeights) -> None:
    torch.manual_seed(0)
    model = FNO(1, 1, 1, modes=weights, width=8, depth=2, coordinates=False)
    model(torch.randn(2, 1, 9)).square().sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("power", [1.0, 0.5])
@pytest.mark.parametrize("weights", ALL, ids=name)
def test_a_weight_starts_with_the_power_that_is_asked_for(weights: SpectralWeights, power: float) -> None:
    """``E|Σ_i R_io X_i|² = power · mean_i |X_i|²`` for one X, over 400 draws of R.

    The factors of a draw are shared by all its entries; the standard error of the mean over draws, estimated
    from them, is 0.002 to 0.03, and four of these are allowed.
    """
    torch.manual_seed(0)
    x = torch.randn(6, 3, 2, 1, 8)
    gains = []
    for _ in range(400):
        y = contraction(weights.make((6, 3), (8, 8), power=power)).mix(x)
        gains.append((y.square().mean() / x.square().mean()).detach())
    found = torch.stack(gains)
    error = float(found.std()) / len(found) ** 0.5
    assert error < 0.04
    assert abs(float(found.mean()) - power) < 4 * error


@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.5, 1.0])
@pytest.mark.parametrize(
    ("frequencies", "width"), [((16,), 64), ((24, 12), 32), ((12, 12, 6), 16)], ids=["1d", "2d", "3d"]
)
def test_a_fraction_is_spent_and_not_exceeded(
    frequencies: tuple[int, ...], width: int, fraction: float
) -> None:
    sizes = (*frequencies, width, width)
    budget = fraction * 2 * prod(sizes)
    cp = CPWeights(rank=fraction).make(frequencies, (width, width))
    assert budget - 2 * sum(sizes) < parameters(cp) <= budget  # one more term would not fit
    tucker = TuckerWeights(rank=fraction).make(frequencies, (width, width))
    chosen = contraction(tucker)
    assert isinstance(chosen, Tucker)
    spent = 2 * (prod(chosen.ranks) + sum(n * r for n, r in zip(sizes, chosen.ranks, strict=True)))
    # All ranks move together, so the next larger choice may be a good part away: measured 0.75 to 0.999.
    assert parameters(tucker) == spent and 0.7 * budget < spent <= budget
    parts = [r / n for n, r in zip(sizes, chosen.ranks, strict=True)]
    assert all(abs(part - parts[-1]) <= 0.5 / n + 0.5 / width for part, n in zip(parts, sizes, strict=True))


def test_whole_ranks_are_taken_as_they_are() -> None:
    cp = contraction(CPWeights(rank=7).make((6, 3), (8, 8)))
    assert isinstance(cp, CP) and cp.rank == 7
    for rank, expected in ((4, (4, 3, 4, 4)), ((2, 9, 3, 5), (2, 3, 3, 5))):
        tucker = contraction(TuckerWeights(rank=rank).make((6, 3), (8, 8)))
        assert isinstance(tucker, Tucker) and tucker.ranks == expected


@pytest.mark.parametrize("tiny", [CPWeights(rank=1e-6), TuckerWeights(rank=1e-6)], ids=name)
def test_something_is_always_left(tiny: SpectralWeights) -> None:
    assert parameters(tiny.make((6, 3), (8, 8))) == 2 * (6 + 3 + 8 + 8 + (name(tiny) == "TuckerWeights"))


def test_modes_of_an_operator_come_from_its_weights() -> None:
    model = FNO(2, 1, 1, modes=TuckerWeights((4, 3)), width=8, depth=1)
    assert model.modes == (4, 3)
    layer = model.layers[0]
    assert contraction(layer.spectral_weight).frequencies == (8, 3)
    with pytest.raises(ConfigError, match=r"FNO: modes must be one number or one per axis \(2\)"):
        FNO(2, 1, 1, modes=TuckerWeights((4, 3, 2)))
    with pytest.raises(ConfigError, match="modes must be whole"):
        FNO(2, 1, 1, modes=SeparableWeights(0))


@pytest.mark.parametrize("weights", ALL, ids=name)
def test_they_are_described_and_built_with_their_model(weights: SpectralWeights) -> None:
    assert build(describe(weights)) == weights
    model = FNO(1, 1, 1, modes=weights, width=8, depth=1)
    again = build(describe(model))
    again.load_state_dict(model.state_dict())
    x, ξ = torch.randn(1, 1, 9), torch.linspace(0, 1, 9).reshape(1, 1, 9)
    assert torch.equal(model(x, ξ), again(x, ξ))


def test_an_own_kind_of_weight() -> None:
    class Frozen:
        """The identity on every frequency, as a module without parameters of its own making."""

        modes = 4

        def make(
            self, frequencies: tuple[int, ...], channels: tuple[int, int], *, power: float = 1.0
        ) -> Weight:
            eye = torch.stack((torch.eye(*channels), torch.zeros(channels)), dim=-1)
            return nn.Parameter(eye.expand(*frequencies, *channels, 2).clone(), requires_grad=False)

    model = FNO(1, 1, 1, modes=Frozen(), width=4, depth=1, coordinates=False)
    assert model(torch.zeros(1, 1, 9)).shape == (1, 1, 9)


def test_the_parameters_of_factors_are_real_tensors_with_stable_names() -> None:
    model = FNO(2, 1, 1, modes=TuckerWeights(3), width=8, depth=1)
    keys = [key for key in model.state_dict() if "spectral_weight" in key]
    assert keys == [f"layers.0.spectral_weight.tensors.{i}" for i in range(5)]
    assert isinstance(model.layers[0].spectral_weight, FactorizedWeight)
    assert not any(value.is_complex() for value in model.state_dict().values())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: CPWeights(rank=0.0), "CPWeights: rank must be a whole number from 1, or a fraction"),
        (lambda: CPWeights(rank=1.5), "up to 1.0, got 1.5"),
        (lambda: CPWeights(rank=0), "got 0"),
        (lambda: TuckerWeights(rank=(3, 0, 2)), "TuckerWeights: rank must be"),
        (lambda: TuckerWeights(rank=(3, 2)).make((4,), (2, 2)), "one for each of the 3 modes of the weight"),
        (lambda: SeparableWeights().make((4,), (2, 3)), r"a layer with \(2, 3\) channels has to mix them"),
        (lambda: BlockDiagonalWeights(groups=0), "groups must be at least 1"),
        (lambda: BlockDiagonalWeights(groups=3).make((4,), (8, 8)), "groups=3 must divide the channels"),
    ],
)
def test_refuses(wrong: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        wrong()
