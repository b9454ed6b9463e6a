"""Transolver: slices and tokens as the paper writes them, stencils on grids, reference points; its size."""

from __future__ import annotations

from functools import partial
from math import exp, sqrt
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid
from sciml.operators.attention import with_layers
from sciml.operators.making import make_model
from sciml.operators.physics_attention import PhysicsAttention
from sciml.operators.transolver import Sliced, Transolver, published

EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 1e-13}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def attention(slices: int = 4, width: int = 6, heads: int = 2) -> PhysicsAttention:
    torch.manual_seed(0)
    return PhysicsAttention(width, heads, slices).double()


def test_slice_weights_sum_to_one() -> None:
    weights = attention().shares(random(2, 2, 50, 3))
    assert weights.min() > 0
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 2, 50, dtype=torch.float64), **EXACT)


def test_the_attention_of_the_paper_point_by_point() -> None:
    layer, z = attention(), random(1, 7, 6)
    with torch.no_grad():
        layer.temperature.copy_(torch.tensor([0.3, 2.0]).reshape(2, 1, 1))
    places, values = layer.inward(z)[0].chunk(2, dim=-1)
    heads = []
    for number, head in enumerate((slice(0, 3), slice(3, 6))):
        s = (layer.slicing(places[:, head]) / layer.temperature[number]).softmax(-1)
        tokens = [sum(s[i, g] * values[i, head] for i in range(7)) / s[:, g].sum() for g in range(4)]
        q, k, v = layer.inner(torch.stack(tokens)).chunk(3, dim=-1)
        mixed = (q @ k.T / sqrt(3)).softmax(-1) @ v
        heads.append(torch.stack([sum(s[i, g] * mixed[g] for g in range(4)) for i in range(7)]))
    torch.testing.assert_close(layer(z), layer.outward(torch.cat(heads, dim=-1))[None], **EXACT)


def test_one_slice_gives_every_point_the_same() -> None:
    y = attention(slices=1)(random(2, 9, 6))
    torch.testing.assert_close(y, y[:, :1].expand_as(y), **EXACT)


def test_temperature_stays_within_its_bounds() -> None:
    layer, places = attention(), random(1, 2, 5, 3)
    with torch.no_grad():
        weights = []
        for value in (-1.0, 0.1, 5.0, 100.0):
            layer.temperature.fill_(value)
            weights.append(layer.shares(places))
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[2], weights[3])


def linear(into: int, out: int) -> int:
    return into * out + out


def size(width: int, layers: Sliced, into: int, out: int, taps: int) -> int:
    head = width // layers.heads
    attention = 2 * (taps * width * width + width) + linear(head, layers.slices) + layers.heads
    attention += 3 * head * head + linear(width, width)
    block = attention + 4 * width + linear(width, layers.expansion * width)
    block += linear(layers.expansion * width, width)
    ends = linear(into, 2 * width) + linear(2 * width, width) + 2 * width + linear(width, out)
    clock = 0 if layers.time is None else 2 * linear(width, width)
    return layers.depth * block + ends + clock


def test_t13_published_models() -> None:
    """Elasticity has coordinates alone; the others a field, 8 x 8 distances, and 3 x 3 convolutions."""
    counts = {}
    for name, channels in (
        ("elasticity", 0),
        ("airfoil", 0),
        ("plasticity", 1),
        ("darcy", 1),
        ("navier-stokes", 10),
    ):
        arguments, _ = published[name]
        with torch.device("meta"):
            model = Transolver(2, channels, 1, **arguments)
        counts[name] = sum(p.numel() for p in model.parameters())
        into = arguments.get("reference", 0) ** 2 or 2
        taps = 1 if "stencil" not in arguments else 9
        assert counts[name] == size(arguments["width"], arguments["layers"], into + channels, 1, taps)
    assert counts["elasticity"] == 713_537
    assert counts["darcy"] == 2_826_817


def test_the_start_is_the_published_one() -> None:
    """Normal with deviation 0.02, cut off at 0.04 (which leaves 0.0176), and zero biases, at width 128."""
    torch.manual_seed(0)
    model = Transolver(2, 1, 1, width=128, layers=1)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            assert module.weight.abs().max() <= 0.04
            assert module.bias is None or module.bias.eq(0).all()
    inner = model.blocks[0].get_submodule("attention").get_submodule("inward")
    # 32768 weights: their deviation has a standard error of 0.4 %.
    assert inner.get_parameter("weight").detach().std().item() == pytest.approx(0.02 * 0.8796, rel=0.02)


def forced(**settings: Any) -> Transolver:
    """Affine in channel 1 and number 0 of the sample; channel 2 is a distance."""
    torch.manual_seed(0)
    layers = Sliced(depth=2, heads=2, slices=4, waves=1, affine=(1, 3), distances=(2,), **settings)
    return Transolver(2, 3, 2, width=6, layers=layers, parameters=2).double()


def given(forcing: float, other: float = 0.0) -> tuple[Tensor, Tensor, None, Tensor]:
    """Two samples on nine points, the forcing a multiple of a fixed one, everything else moved by other."""
    x, numbers = random(2, 9, 3, seed=1), random(2, 2, seed=2)
    x[..., 2].abs_()
    x[..., 1] *= forcing
    numbers[:, 0] *= forcing
    x[..., 0] += other
    return x, random(2, 9, 2, seed=3), None, numbers


def test_the_output_is_affine_in_the_forcing_and_in_nothing_else() -> None:
    model = forced()
    none, one, two, three = (model(*given(value)) for value in (0.0, 1.0, 2.0, -3.0))
    torch.testing.assert_close(two - one, one - none, rtol=0, atol=1e-12)
    torch.testing.assert_close(three - none, -3 * (one - none), rtol=0, atol=1e-12)
    assert (one - none).abs().max() > 1e-3 and none.abs().max() > 1e-3
    # What the forcing does depends on the other channels, which are bent.
    slopes = [model(*given(1.0, a)) - model(*given(0.0, a)) for a in (0.0, 1.0, 2.0)]
    assert (slopes[2] - 2 * slopes[1] + slopes[0]).abs().max() > 1e-4


def test_every_forcing_matters_everywhere() -> None:
    """Slices carry what is at one point, and the number of a sample, to all others."""
    model = forced()
    x, places, _, numbers = given(1.0)
    x.requires_grad_()
    numbers.requires_grad_()
    far = model(x, places, None, numbers)[0, 8].sum()
    by_point, by_number = torch.autograd.grad(far, (x, numbers))
    assert by_point[0, :, 1].ne(0).all() and by_number[0].ne(0).all()
    assert by_point[1].eq(0).all()  # another sample


def test_padding_of_the_affine_stream_counts_for_nothing() -> None:
    model, (x, places, _, numbers) = forced(), given(1.0)
    mask = torch.arange(9)[None] < torch.tensor([[9], [5]])
    y = model(torch.where(mask[..., None], x, torch.nan), places, mask, numbers)
    torch.testing.assert_close(y[1, :5], model(x[1:, :5], places[1:, :5], None, numbers[1:])[0], **EXACT)
    assert y[1, 5:].eq(0).all()


def test_distances_are_told_as_waves_and_layers() -> None:
    found = with_layers(torch.tensor([[[0.25]]]), 1)[0, 0]
    half = sqrt(0.5)
    expected = [0.25, half, half, *(exp(-0.25 * scale) for scale in (4, 8, 16, 32))]
    torch.testing.assert_close(found, torch.tensor(expected))


@pytest.mark.parametrize("layers", [Sliced(affine=(5,)), Sliced(distances=(3,)), Sliced(affine=(1, 1))])
def test_positions_that_are_not_there_are_refused(layers: Sliced) -> None:
    with pytest.raises(ConfigError, match="Sliced: .* holds different positions of channels"):
        Transolver(2, 3, 1, width=16, layers=layers, parameters=2)


def on_grid(shape: tuple[int, ...], stencil: str | None) -> tuple[Transolver, Tensor, Tensor]:
    torch.manual_seed(0)
    rank, layers = len(shape), Sliced(depth=2, heads=2, slices=4)
    model = Transolver(rank, 1, 2, width=6, layers=layers, stencil=stencil).double()
    places = torch.as_tensor(Grid.box(shape).unit_coordinates())[None]
    return model, random(1, 1, *shape), places


@pytest.mark.parametrize("shape", [(7,), (5, 4), (3, 4, 5)])
def test_a_stencil_with_weights_in_its_middle_only_is_a_map_at_points(shape: tuple[int, ...]) -> None:
    plain, x, places = on_grid(shape, None)
    model, *_ = on_grid(shape, "zeros")
    state = plain.state_dict()
    middle = (..., *[1] * len(shape))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            source = state[name.replace("inward.convolution", "inward")]
            if parameter.shape == source.shape:
                parameter.copy_(source)
            else:
                parameter.zero_()[middle] = source
    torch.testing.assert_close(model(x, places), plain(x, places), **EXACT)


def test_a_stencil_ties_to_grids_of_one_resolution() -> None:
    model, x, places = on_grid((5, 4), "circular")
    assert model.properties.needs_grid and model.properties.resolution_bound
    assert not Transolver.properties.needs_grid and not Transolver.properties.resolution_bound
    assert model(x, places).shape == (1, 2, 5, 4)
    with pytest.raises(ShapeError, match="built with a stencil"):
        model(x.flatten(2).mT, places.flatten(2).mT)
    with pytest.raises(ConfigError, match="boundary is one of"):
        on_grid((5, 4), "around")


def test_a_stencil_sees_what_is_beyond_the_boundary() -> None:
    """The same weights, another end of the domain."""
    inside, x, places = on_grid((5, 4), "zeros")
    around, *_ = on_grid((5, 4), "circular")
    around.load_state_dict(inside.state_dict())
    assert not torch.allclose(around(x, places), inside(x, places), rtol=1e-6)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_reference_points_tell_the_place_by_distances(rank: int) -> None:
    model = Transolver(rank, 1, 1, width=4, layers=Sliced(1, heads=2, slices=2), reference=3).double()
    ξ = torch.rand(1, 5, rank, dtype=torch.float64)
    distances = model._places(ξ)
    assert distances.shape == (1, 5, 3**rank)
    # The first reference point is the origin, the last one the opposite corner.
    torch.testing.assert_close(distances[0, :, 0], ξ[0].norm(dim=-1), **EXACT)
    torch.testing.assert_close(distances[0, :, -1], (1 - ξ[0]).norm(dim=-1), **EXACT)
    assert model(random(1, 5, 1), ξ).shape == (1, 5, 1)
    with pytest.raises(ConfigError, match="reference must be at least 0"):
        Transolver(rank, 1, 1, reference=-1)


def test_the_time_of_a_sample_is_told_in_its_unit() -> None:
    """Waves of t / unit with frequencies falling from 1 toward 1e-4, through two layers with Swish."""
    torch.manual_seed(0)
    layers = Sliced(1, heads=2, slices=2, time=4.0)
    model = Transolver(1, 1, 1, width=6, layers=layers, parameters=1).double()
    assert model.requires == ("coordinates", "parameters", "time")
    x, ξ, numbers, t = random(2, 7, 1), torch.rand(2, 7, 1).double(), random(2, 1), torch.tensor([0.0, 3.0])
    found = model(x, ξ, parameters=numbers, time=t)
    clock = model.clock
    assert clock is not None
    phases = (t.double() / 4)[:, None] * 1e-4 ** (torch.arange(3).double() / 3)
    waves = torch.cat((phases.cos(), phases.sin()), dim=-1)
    torch.testing.assert_close(clock(t, 2)[:, 0], clock.outward(silu(clock.inward(waves))), **EXACT)
    # Numbers alone do not tell the time apart, and both samples see their own.
    torch.testing.assert_close(model(x[1:], ξ[1:], parameters=numbers[1:], time=t[1:]), found[1:], **EXACT)
    assert not torch.allclose(model(x, ξ, parameters=numbers, time=t + 1), found, rtol=1e-6)
    with pytest.raises(ShapeError, match=r"time must have shape \(2,\), got none"):
        model(x, ξ, parameters=numbers)
    with pytest.raises(ConfigError, match="time is positive or None"):
        Sliced(time=0.0)


def test_starts_small_on_meshes() -> None:
    data: Any = SimpleNamespace(kind="mesh", rank=2, fields={}, parameter_names=("level",))
    model = make_model("mine", Transolver, {}, in_channels=1, out_channels=1, data=data)
    assert isinstance(model, Transolver)
    assert model.layers == Transolver.suited_points()["layers"] and model.requires[-1] == "parameters"
    published_one = make_model(
        "mine", partial(Transolver, width=128), {}, in_channels=1, out_channels=1, data=data
    )
    assert isinstance(published_one, Transolver) and published_one.layers == Sliced()
