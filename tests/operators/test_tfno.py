"""The tensorized Fourier neural operator: an FNO in everything but how its weights are stored."""

from math import pi, prod

import pytest
import torch

from sciml.description import build, describe
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid
from sciml.kernels import spectral_conv
from sciml.kernels.factorized import CP, Tucker
from sciml.operators import FNO, TFNO
from sciml.operators.spectral_weights import CPWeights, FactorizedWeight, TuckerWeights


def weight_of(model: FNO, layer: int = 0) -> FactorizedWeight:
    found = model.layers[layer].spectral_weight
    assert isinstance(found, FactorizedWeight)
    return found


@pytest.mark.parametrize(
    ("modes", "width", "ranks"),
    [((12, 12), 32, (13, 7, 17, 17)), ((16,), 64, (6, 23, 23)), ((2, 3, 4), 6, None)],
)
def test_t13_its_size_is_that_of_core_and_factors(
    modes: tuple[int, ...], width: int, ranks: tuple[int, ...] | None
) -> None:
    """Lifting (1 + d) w + w; each layer w² + w for W and the Tucker form; head w · 128 + 128 and 128 + 1.

    In 2-D with modes 12 and width 32: 24 · 12 · 32² = 294912 complex entries; the ranks (13, 7, 17, 17) take
    13 · 7 · 17² + 24 · 13 + 12 · 7 + 2 · 32 · 17 = 27783 of the 29491 that a tenth is.
    """
    rank = len(modes)
    model = TFNO(rank, 1, 1, modes=modes, width=width, depth=3)
    chosen = weight_of(model).contraction()
    assert isinstance(chosen, Tucker)
    assert ranks is None or chosen.ranks == ranks
    sizes = (*(2 * m for m in modes[:-1]), modes[-1], width, width)
    complex_ = prod(chosen.ranks) + sum(n * r for n, r in zip(sizes, chosen.ranks, strict=True))
    assert complex_ <= 0.1 * prod(sizes) or min(chosen.ranks) == 1
    points = (rank + 2) * width + (width + 1) * 128 + 129
    expected = points + 3 * (width**2 + width + 2 * complex_)
    assert sum(p.numel() for p in model.parameters()) == expected


def test_it_is_an_fno_with_those_weights() -> None:
    for given, weights in (
        (3, TuckerWeights(3, rank=0.1)),
        ((3, 2), TuckerWeights((3, 2), rank=0.1)),
        (CPWeights(3, rank=5), CPWeights(3, rank=5)),
    ):
        torch.manual_seed(0)
        model = TFNO(2, 1, 1, modes=given, width=8, depth=2, coordinates=False, padding=0.25)
        torch.manual_seed(0)
        same = FNO(2, 1, 1, modes=weights, width=8, depth=2, coordinates=False, padding=0.25)
        x = torch.randn(2, 1, 9, 8)
        assert torch.equal(model(x), same(x))
        again = build(describe(model))
        assert type(again) is TFNO
        again.load_state_dict(model.state_dict())
        assert torch.equal(again(x), model(x))
    assert isinstance(weight_of(model).contraction(), CP)


def test_a_trained_fno_goes_over_with_all_ranks() -> None:
    """HOSVD of every layer; in float64 with errors of some hundred roundings."""
    torch.manual_seed(0)
    dense = FNO(2, 1, 1, modes=3, width=6, depth=2, coordinates=False).double()
    model = TFNO(2, 1, 1, modes=TuckerWeights(3, rank=6), width=6, depth=2, coordinates=False).double()
    model.load_state_dict(dense.state_dict(), strict=False)
    for i, layer in enumerate(dense.layers):
        factors = Tucker.from_dense(layer.get_parameter("spectral_weight")).tensors
        with torch.no_grad():
            for parameter, value in zip(weight_of(model, i).tensors, factors, strict=True):
                parameter.copy_(value)
    x = torch.randn(2, 1, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(model(x), dense(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_t4_without_coordinates_it_commutes_with_translations(rank: int) -> None:
    torch.manual_seed(0)
    model = TFNO(rank, 1, 2, modes=3, width=8, coordinates=False)
    shift, axes = (5, -2, 3)[:rank], tuple(range(2, 2 + rank))
    x = torch.randn(2, 1, *(12, 9, 8)[:rank])
    with torch.no_grad():
        y, moved = model(x), model(x.roll(shift, axes))
    torch.testing.assert_close(moved, y.roll(shift, axes), rtol=0, atol=1e-6 * float(y.abs().max()) + 1e-6)


def test_initial_weights_keep_the_variance_of_smooth_fields() -> None:
    """As of FNO, where 64 channels determine it to 10 %; shared factors make it vary more, over 20 draws."""
    width, modes = 64, 8
    torch.manual_seed(0)
    k = torch.arange(1, modes).float()
    draws = torch.randn(16, width, modes - 1, 2)
    phase = 2 * pi * torch.outer(k, torch.arange(64) / 64)
    x = torch.einsum("bck,kx->bcx", draws[..., 0], torch.cos(phase))
    x = x + torch.einsum("bck,kx->bcx", draws[..., 1], torch.sin(phase))
    ratios = []
    for _ in range(20):
        weight = TuckerWeights(modes).make((modes,), (width, width))
        assert isinstance(weight, FactorizedWeight)
        with torch.no_grad():
            ratios.append(spectral_conv(x, weight.contraction(), (modes,)).var() / x.var())
    assert 0.8 < float(torch.stack(ratios).mean()) < 1.2


def test_it_speaks_under_its_own_name() -> None:
    with pytest.raises(ConfigError, match="TFNO: width must be at least 1"):
        TFNO(2, 1, 1, width=0)
    model = TFNO(2, 1, 1, modes=3, width=4, depth=1)
    with pytest.raises(ShapeError, match="TFNO: coordinates of shape"):
        model(torch.zeros(1, 1, 8, 8))
    with pytest.raises(ShapeError, match="TFNO: modes=3 on axis 1 need at least 6"):
        model.check_grid((8, 5))


def test_what_suits_a_grid_is_what_suits_fno() -> None:
    grid = Grid.box((16, 16))
    assert TFNO.suited(grid) == FNO.suited(grid)
    TFNO(2, 1, 1, **TFNO.suited(grid)).check_grid((16, 16))
