"""What the operators on points share: order, padding, density, cost, grids, and training on ragged meshes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from math import log2, pi
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.utils._python_dispatch import TorchDispatchMode

from sciml.calling import call
from sciml.dataset import Dataset, Field, write_dataset
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid
from sciml.mesh import Points, PointSet
from sciml.operators.attention import normalized_attention, slice_means, with_waves
from sciml.operators.gnot import GNOT, Gated
from sciml.operators.making import make_model
from sciml.operators.transolver import Sliced, Transolver
from sciml.padding import mask_of
from sciml.streams import Streams
from sciml.supervised import Supervised
from sciml.trainer import Trainer

COUNTS, FUNCTION_COUNTS = (9, 5, 12), (4, 7, 2)
# Sums of a few hundred terms of order one, in another order.
ROUNDING: dict[str, Any] = {"rtol": 0.0, "atol": 1e-12}


def gnot(rank: int = 2, width: int = 8, **settings: Any) -> GNOT:
    layers = Gated(depth=2, heads=2, experts=2, encoder=1, expansion=2)
    return GNOT(rank, 2, 3, width=width, layers=layers, **settings)


def transolver(rank: int = 2, width: int = 8, **settings: Any) -> Transolver:
    return Transolver(rank, 2, 3, width=width, layers=Sliced(depth=2, heads=2, slices=4), **settings)


MAKERS = [pytest.param(gnot, id="GNOT"), pytest.param(transolver, id="Transolver")]
FULL = [
    pytest.param(partial(gnot, parameters=2, functions=(3,)), id="GNOT"),
    pytest.param(partial(transolver, parameters=2, reference=3), id="Transolver"),
]
every_operator = pytest.mark.parametrize("make", MAKERS)
every_full_operator = pytest.mark.parametrize("make", FULL)


def made(make: Callable[..., nn.Module], **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    return make(**settings).double().eval()


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def batch(counts: tuple[int, ...] = COUNTS) -> tuple[Tensor, dict[str, Any]]:
    """Samples of different length with all that points may have; padding holds random numbers."""
    size, most, own = len(counts), max(counts), max(FUNCTION_COUNTS)
    function = PointSet(
        random(size, own, 1, seed=3), random(size, own, 2, seed=4), mask_of(FUNCTION_COUNTS[:size])
    )
    return random(size, most, 2, seed=1), {
        "coordinates": random(size, most, 2, seed=2),
        "mask": mask_of(counts),
        "parameters": random(size, 2, seed=5),
        "functions": (function,),
    }


def spoiled(values: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask[..., None], values, torch.nan)


@every_full_operator
def test_equivariant_in_the_order_of_points(make: Callable[..., nn.Module]) -> None:
    model, (x, extras) = made(make), batch((12, 12, 12))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(7))
    moved = {name: extras[name][:, order] for name in ("coordinates", "mask")}
    y = call(model, x, extras)
    torch.testing.assert_close(call(model, x[:, order], extras | moved), y[:, order], **ROUNDING)


@every_full_operator
def test_padding_changes_nothing_whatever_it_holds(make: Callable[..., nn.Module]) -> None:
    """NaN in all padding of a batch, against every sample alone; so also predictions know no batch."""
    model, (x, extras) = made(make), batch()
    mask, (function,) = extras["mask"], extras["functions"]
    worst = PointSet(
        spoiled(function.values, function.mask), spoiled(function.coordinates, function.mask), function.mask
    )
    bad = {"coordinates": spoiled(extras["coordinates"], mask), "functions": (worst,)}
    y = call(model, spoiled(x, mask), extras | bad)
    assert y[~mask].eq(0).all()
    for i, (count, own) in enumerate(zip(COUNTS, FUNCTION_COUNTS, strict=True)):
        one = slice(i, i + 1)
        alone = {
            "coordinates": extras["coordinates"][one, :count],
            "parameters": extras["parameters"][one],
            "functions": (PointSet(function.values[one, :own], function.coordinates[one, :own]),),
        }
        torch.testing.assert_close(y[one, :count], call(model, x[one, :count], alone), **ROUNDING)


@every_full_operator
def test_gradients_know_no_padding(make: Callable[..., nn.Module]) -> None:
    model, (x, extras) = made(make), batch()
    grads = []
    for given in (x, spoiled(x, extras["mask"])):
        loss = call(model, given, extras).square().sum()
        grads.append(torch.autograd.grad(loss, list(model.parameters())))
    for clean, padded in zip(*grads, strict=True):
        torch.testing.assert_close(padded, clean, rtol=1e-10, atol=1e-10)


@every_full_operator
def test_derivatives(make: Callable[..., nn.Module]) -> None:
    """With respect to input and coordinates, against differences; padding has none."""
    model, (x, extras) = made(make, width=4), batch((3, 2))

    def value(x: Tensor, coordinates: Tensor) -> Tensor:
        return call(model, x, extras | {"coordinates": coordinates})

    inputs = (x.requires_grad_(), extras["coordinates"].requires_grad_())
    assert torch.autograd.gradcheck(value, inputs)
    slopes = torch.autograd.grad(value(*inputs).square().sum(), inputs)
    assert all(slope[~extras["mask"]].eq(0).all() for slope in slopes)


@every_full_operator
def test_all_points_twice_are_the_same_points(make: Callable[..., nn.Module]) -> None:
    """Attention takes means, not sums."""
    model, (x, extras) = made(make), batch()
    (function,) = extras["functions"]

    def twice(part: Tensor) -> Tensor:
        return torch.cat((part, part), dim=1)

    doubled = {name: twice(extras[name]) for name in ("coordinates", "mask")}
    doubled["functions"] = (PointSet(*(twice(part) for part in function)),)
    y = call(model, x, extras)
    torch.testing.assert_close(call(model, twice(x), extras | doubled), twice(y), **ROUNDING)


class Largest(TorchDispatchMode):
    """The size of the largest tensor that any operation returns."""

    entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        parts = result if isinstance(result, tuple | list) else (result,)
        self.entries = max([self.entries, *(part.numel() for part in parts if isinstance(part, Tensor))])
        return result


@every_operator
def test_no_tensor_of_points_by_points(make: Callable[..., nn.Module]) -> None:
    """Forward and backward: with twice the points the largest tensor is twice as large."""
    model, largest = made(make), []
    for points in (500, 1000):
        with Largest() as mode:
            model(random(1, points, 2), random(1, points, 2)).sum().backward()
        largest.append(mode.entries)
    assert largest[1] == 2 * largest[0] < 1000**2


@every_operator
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_grid_is_its_points(make: Callable[..., nn.Module], rank: int) -> None:
    model, shape = made(make, rank=rank), (5, 4, 3)[:rank]
    places = torch.as_tensor(Grid.box(shape).unit_coordinates()).expand(2, rank, *shape)
    x = random(2, 2, *shape)
    y = model(x, places)
    as_points = model(x.flatten(2).mT, places.flatten(2).mT)
    assert y.shape == (2, 3, *shape)
    torch.testing.assert_close(y.flatten(2).mT, as_points, **ROUNDING)


@every_operator
@pytest.mark.parametrize("rank", [1, 2])
def test_t5_outputs_converge_as_the_grid_is_refined(make: Callable[..., nn.Module], rank: int) -> None:
    """Means over points become integrals; of second order with cell centers, whose every third is kept."""
    model, outputs = made(make, rank=rank), []
    for n in (9, 27, 81):
        shape = (n,) * rank
        ξ = torch.as_tensor(Grid.box(shape).unit_coordinates())[None]
        a = torch.cat((torch.sin(3 * ξ).prod(1, keepdim=True), torch.exp(ξ).mean(1, keepdim=True)), dim=1)
        outputs.append(model(a, ξ).detach())
    common = (..., *[slice(1, None, 3)] * rank)
    differences = [
        float((fine[common] - coarse).norm() / coarse.norm()) for coarse, fine in pairwise(outputs)
    ]
    order = log2(differences[0] / differences[1]) / log2(3)
    assert 1.8 < order < 2.2, differences


@every_operator
def test_t12_autocast_sums_in_single_precision(make: Callable[..., nn.Module]) -> None:
    """20000 equal points, whose sums of bfloat16 numbers would stop growing at 256."""
    model = made(make).float()
    x, places = torch.full((1, 1, 2), 0.3), torch.full((1, 1, 2), 0.6)
    many = [part.expand(1, 20_000, 2) for part in (x, places)]
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        one, all_of_them = model(x, places), model(*many)
    # Two roundings of bfloat16, 2^-8 each, of values of the size of the output.
    torch.testing.assert_close(all_of_them[:, :1], one, rtol=0, atol=2**-7 * float(one.abs().max()))


@every_operator
def test_refuses_what_does_not_fit_in_a_sentence(make: Callable[..., nn.Module]) -> None:
    model, (x, extras) = made(make), batch()
    name, places = type(model).__name__, extras["coordinates"]
    with pytest.raises(ShapeError, match=rf"{name}: x must have shape \(batch, point, 2\)"):
        model(x[:, :, :1], places)
    with pytest.raises(ShapeError, match="with coordinates"):
        model(x, places.mT)
    with pytest.raises(ShapeError, match="coordinates are missing"):
        model(x)
    with pytest.raises(ShapeError, match=rf"{name}: mask must have shape \(3, 12\), got \(3, 3\)"):
        model(x, places, extras["mask"][:, :3])
    told = made(make, parameters=2)
    with pytest.raises(ShapeError, match=r"parameters must have shape \(3, 2\), got none"):
        told(x, places)
    with pytest.raises(ShapeError, match=r"parameters must have shape \(3, 2\), got \(3, 1\)"):
        told(x, places, parameters=extras["parameters"][:, :1])


def test_slopes_stay_finite_where_hardly_a_point_counts() -> None:
    """Weights of 1e-30, of whose squares nothing is left in single precision."""
    weights = torch.full((1, 1, 5, 2), 1e-30, requires_grad=True)
    values = torch.ones(1, 1, 5, 3, requires_grad=True)
    query = torch.full((1, 1, 4, 2), 0.5)
    for found in (slice_means(weights, values), normalized_attention(query, weights, values)):
        assert found.isfinite().all()
        assert all(s.isfinite().all() for s in torch.autograd.grad(found.sum(), (weights, values)))


def test_waves_tell_places_beside_coordinates() -> None:
    ξ = random(2, 5, 2)
    found = with_waves(ξ, 2)
    expected = (ξ, *(wave(k * pi * ξ) for k in (1, 2) for wave in (torch.sin, torch.cos)))
    torch.testing.assert_close(found, torch.cat(expected, dim=-1), **ROUNDING)
    layers = Gated(depth=1, waves=2), Sliced(depth=1, waves=2)
    for model in (GNOT(2, 1, 1, width=8, layers=layers[0]), Transolver(2, 1, 1, width=8, layers=layers[1])):
        assert model.double()(random(2, 5, 1), ξ).shape == (2, 5, 1)
    with pytest.raises(ConfigError, match="waves"):
        Gated(waves=-1)


@every_operator
def test_refuses_settings_in_a_sentence(make: Callable[..., nn.Module]) -> None:
    with pytest.raises(ConfigError, match="heads=2 must divide the width, got width=5"):
        make(width=5)
    with pytest.raises(ConfigError, match="parameters must be at least 0, got -1"):
        make(parameters=-1)
    with pytest.raises(ConfigError, match="rank must be at least 1"):
        make(rank=0)


# Training.


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """u = c a + mean of f at 5 to 20 points: a field, a number, a function on 3 to 6 points of its own."""
    rng, count = np.random.default_rng(0), 40
    clouds = [Points(rng.random((int(n), 2))) for n in rng.integers(5, 20, size=count)]
    a = [rng.normal(size=len(cloud)) for cloud in clouds]
    c = rng.uniform(1, 2, size=count)
    f = [PointSet(rng.normal(size=n), rng.random((n, 1))) for n in rng.integers(3, 7, size=count)]
    u = [ci * ai + np.mean(fi.values) for ai, ci, fi in zip(a, c, f, strict=True)]
    fields = [
        (Field("a", "input"), a),
        (Field("f", "input", on="own"), f),
        (Field("c", "parameter"), c),
        (Field("u", "output"), u),
    ]
    split = np.where(np.arange(count) < 32, 0, 2)
    path = tmp_path_factory.mktemp("clouds") / "ragged.h5"
    return write_dataset(path, grid=clouds, fields=fields, split=split)


SMALL = {
    GNOT: {"layers": Gated(depth=1, heads=2, experts=2, encoder=1), "width": 16},
    Transolver: {"layers": Sliced(depth=2, heads=2, slices=4), "width": 16},
}


@pytest.mark.parametrize("cls", SMALL, ids=lambda cls: cls.__name__)
def test_learns_on_ragged_points_what_the_data_have(cls: type[nn.Module], data: Dataset) -> None:
    """Numbers and functions of the file are counted for the operator; f is seen by GNOT alone."""
    with Streams(0).of("init").applied():
        model = make_model("it", cls, SMALL[cls], in_channels=1, out_channels=1, data=data)
    assert model.cloud.parameters == 1
    assert model.cloud.functions == ((2,) if cls is GNOT else ())
    task = Supervised(data.train, ["a", "f", "c"], ["u"], batch_size=8)
    run = Trainer(100, optimizer=partial(Adam, lr=1e-2)).fit(model, task)
    error = task.evaluate(run.model, Streams(0))["relative_l2"]
    # The mean of f is a third of the variance of u at samples of few points; it is not to be had without f.
    assert error < (0.2 if cls is GNOT else 0.5)


def test_a_setting_wins_over_what_the_data_have(data: Dataset) -> None:
    bare = make_model("it", Transolver, {"parameters": 0}, in_channels=1, out_channels=1, data=data)
    assert bare.requires == ("coordinates",)
    given = partial(GNOT, parameters=0, functions=())
    assert make_model("it", given, {}, in_channels=1, out_channels=1, data=data).requires == ("coordinates",)
