"""GINO: means at nodes and interpolation against their formulas, coverage, refinement, sources, training."""

from __future__ import annotations

from functools import partial
from itertools import pairwise, product
from math import log
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam

from sciml.dataset import Dataset, Field, write_dataset
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid
from sciml.mesh import Points
from sciml.operators.fno import FNO
from sciml.operators.gino import GINO, Lattice, Sources
from sciml.operators.lattice import EMPTY, Nodes
from sciml.operators.making import make_model
from sciml.operators.mgno import MgNO
from sciml.operators.unet import UNet
from sciml.padding import mask_of
from sciml.streams import Streams
from sciml.supervised import Supervised
from sciml.trainer import Trainer

# Sums of some dozens of terms of order one, in another order, divided by sums that may be 1e-4.
ROUNDING: dict[str, Any] = {"rtol": 0.0, "atol": 1e-11}
COUNTS = (9, 5, 12)
TINY = partial(FNO, modes=2, width=4, depth=1)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gino(**settings: Any) -> GINO:
    """With a field and a number as conditions, and a field and a number as sources."""
    torch.manual_seed(0)
    given = {"width": 4, "lattice": Lattice((6, 5)), "latent": TINY, "parameters": 2}
    affine = Sources((1, 3), width=4, cycles=2, cycle=(1, 1))
    return GINO(2, 2, 3, **{**given, "affine": affine, **settings}).double().eval()


def batch() -> tuple[Tensor, dict[str, Tensor]]:
    size, most = len(COUNTS), max(COUNTS)
    return random(size, most, 2, seed=1), {
        "coordinates": random(size, most, 2, seed=2),
        "mask": mask_of(COUNTS),
        "weights": 0.5 + random(size, most, seed=3),
        "parameters": random(size, 2, seed=4),
    }


# Means at the nodes.


def bump(offset: Tensor, reach: int) -> Tensor:
    return (1 - (offset / reach).square()).clamp_min(0).square().prod(-1)


@pytest.mark.parametrize(("shape", "reach"), [((7,), 1), ((4, 6), 2), ((3, 2, 4), 2)])
def test_means_are_those_of_the_formula(shape: tuple[int, ...], reach: int) -> None:
    """All pairs of nodes and points."""
    rank, places, values = len(shape), random(1, 30, len(shape)), random(1, 30, 2, seed=1)
    measure = random(1, 30, seed=2)
    found = Nodes(places, shape).moments(values, measure, reach)[0]
    ones = torch.cat((torch.ones(30, 1, dtype=torch.float64), values[0]), dim=-1)
    spacings = torch.tensor([n - 1.0 for n in shape], dtype=torch.float64)
    for number, node in enumerate(product(*map(range, shape))):
        offset = places[0] * spacings - torch.tensor(node)
        mass = bump(offset, reach) * measure[0]
        if mass.sum() < 1e-3:  # where means fade is another test
            continue
        expected = [
            (mass[:, None] * part * ones).sum(0) / mass.sum() for part in (1, *(offset / reach).T[..., None])
        ]
        torch.testing.assert_close(found[number, :, 1:], torch.stack(expected)[:, 1:], **ROUNDING)
        torch.testing.assert_close(found[number, 1:, 0], torch.stack(expected)[1:, 0], **ROUNDING)
    assert found.shape == (len(list(product(*map(range, shape)))), 1 + rank, 3)


def test_means_of_constants_are_these_and_empty_nodes_have_none() -> None:
    places = random(1, 400, 2)
    places = places[:, (places[0] - 0.5).abs().amax(1) > 0.3]  # a square hole
    count = places.shape[1]
    nodes = Nodes(places, (21, 21))
    found = nodes.moments(
        torch.full((1, count, 1), 3.0, dtype=torch.float64), torch.ones(1, count) / count, 2
    )
    mean, coverage = found[0, :, 0, 1].reshape(21, 21), found[0, :, 0, 0].reshape(21, 21)
    assert coverage[7:14, 7:14].eq(0).all()
    assert found[0].reshape(21, 21, 3, 2)[7:14, 7:14].eq(0).all()
    full = coverage > EMPTY
    assert full[:4].all()
    torch.testing.assert_close(mean[full], torch.full_like(mean[full], 3.0), **ROUNDING)


def test_means_fade_continuously_as_the_last_point_leaves() -> None:
    """One point at the end of the reach of a node: its mean is 1 until the coverage is `EMPTY`, then less."""
    away = torch.tensor([1e-1, 1e-3, 1e-4, 0.0], dtype=torch.float64)
    places = torch.stack((0.75 - away, torch.full_like(away, 0.1)), dim=1)[:, :, None]
    found = Nodes(places, (5,)).moments(torch.ones(4, 2, 1), torch.full((4, 2), 0.5), 1)[:, 4, 0]
    assert (found[:, 0].diff() <= 0).all()
    torch.testing.assert_close(found[:, 1], (found[:, 0] / EMPTY).clamp_max(1), **ROUNDING)


@pytest.mark.parametrize("rank", [1, 2])
def test_coverage_and_means_converge_with_second_order(rank: int) -> None:
    """Cells of equal size: the midpoint rule of bumps that are once differentiable."""
    shape, errors, means = (6,) * rank, [], []
    for n in (10, 30, 90):
        ξ = torch.as_tensor(Grid.box((n,) * rank).unit_coordinates()).flatten(1).T[None]
        measure = torch.full((1, n**rank), 1 / n**rank, dtype=torch.float64)
        found = Nodes(ξ, shape).moments(torch.exp(ξ).prod(2, keepdim=True), measure, 1)
        errors.append(float((found[0, :, 0, 0] - 1).abs().max()))
        means.append(found[0, :, :, 1])
    assert errors[1] < errors[0] / 3**1.8
    assert errors[2] < errors[1] / 3**1.8
    coarse, fine = ((b - a).norm().item() for a, b in pairwise(means))
    assert log(coarse / fine, 3) > 1.8, (coarse, fine)


@pytest.mark.parametrize("shape", [(5,), (4, 3), (3, 2, 4)])
def test_interpolation_is_exact_for_multilinear_fields(shape: tuple[int, ...]) -> None:
    """Also at nodes, at the ends of the box, and beyond them as at the nearest point of it."""
    rank = len(shape)
    places = torch.cat(
        (random(1, 20, rank), torch.tensor([[[0.0] * rank, [1.0] * rank, [0.5] * rank]])), dim=1
    )
    nodes = Nodes(places, shape)

    def field(ξ: Tensor, axis: int) -> Tensor:
        return torch.stack((1 + ξ.prod(axis), ξ.sum(axis)), axis)

    expected = field(places, 2)
    torch.testing.assert_close(nodes.interpolated(field(nodes.places(), 1)), expected, **ROUNDING)
    beyond = Nodes(torch.full((1, 1, rank), 1.5, dtype=torch.float64), shape)
    corner = beyond.interpolated(field(beyond.places(), 1))
    torch.testing.assert_close(corner[0, 0], torch.tensor([2.0, rank], dtype=torch.float64), **ROUNDING)


# The model.


@pytest.mark.parametrize(
    "affine", [(), Sources((1, 3), width=4, cycles=1, cycle=(1, 1))], ids=["plain", "sources"]
)
def test_padding_changes_nothing_whatever_it_holds(affine: Any) -> None:
    model, (x, extras) = gino(affine=affine), batch()
    mask = extras["mask"]
    worst = {name: torch.where(mask, extras["weights"], torch.nan) for name in ("weights",)}
    worst["coordinates"] = torch.where(mask[..., None], extras["coordinates"], torch.nan)
    y = model(torch.where(mask[..., None], x, torch.nan), **{**extras, **worst})
    assert y[~mask].eq(0).all()
    for i, count in enumerate(COUNTS):
        one = slice(i, i + 1)
        alone = {name: extras[name][one, :count] for name in ("coordinates", "weights")}
        again = model(x[one, :count], parameters=extras["parameters"][one], **alone)
        torch.testing.assert_close(y[one, :count], again, **ROUNDING)


def test_the_order_of_points_does_not_matter() -> None:
    model, (x, extras) = gino(), batch()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(7))
    moved = {name: extras[name][:, order] for name in ("coordinates", "mask", "weights")}
    torch.testing.assert_close(
        model(x[:, order], **{**extras, **moved}), model(x, **extras)[:, order], **ROUNDING
    )


def test_derivatives() -> None:
    """With respect to input, coordinates and weights, against differences; padding has none."""
    model, (x, extras) = gino(), batch()
    x, extras = x[:2, :4], {name: part[:2, :4] for name, part in extras.items()}
    extras["mask"] = mask_of((4, 2))
    names = ("coordinates", "weights")

    def value(x: Tensor, *parts: Tensor) -> Tensor:
        return model(x, **{**extras, **dict(zip(names, parts, strict=True))})

    inputs = tuple(part.requires_grad_() for part in (x, *(extras[name] for name in names)))
    assert torch.autograd.gradcheck(value, inputs)
    slopes = torch.autograd.grad(value(*inputs).square().sum(), inputs)
    assert all(slope[~extras["mask"]].eq(0).all() for slope in slopes)


def test_every_parameter_of_the_sources_receives_a_gradient() -> None:
    model, (x, extras) = gino().train(), batch()
    model(x, **extras).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_affine_in_its_sources_and_not_in_the_other_inputs() -> None:
    model, (x, extras) = gino(), batch()

    def second_difference(channel: int, number: int) -> Tensor:
        outputs = []
        for step in (0.0, 1.0, 2.0):
            a, θ = x.clone(), extras["parameters"].clone()
            a[..., channel] += step
            θ[:, number] -= step
            outputs.append(model(a, **{**extras, "parameters": θ}))
        return outputs[0] - 2 * outputs[1] + outputs[2]

    assert second_difference(1, 1).abs().max() < 1e-12
    assert second_difference(0, 1).abs().max() > 1e-4
    assert second_difference(1, 0).abs().max() > 1e-4


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_grid_is_its_points_and_refined_ones_converge(rank: int) -> None:
    """Second order, with measures of the grid; the lattice stays."""
    torch.manual_seed(0)
    model = (
        GINO(rank, 1, 2, width=4, lattice=5, latent=TINY, affine=Sources((0,), 4, 1, (1, 1))).double().eval()
    )
    outputs = []
    for n in {1: (27, 81, 243), 2: (9, 27, 81), 3: (4,)}[rank]:
        ξ = torch.as_tensor(Grid.box((n,) * rank).unit_coordinates())[None]
        a = torch.exp(ξ).mean(1, keepdim=True)
        outputs.append(model(a, ξ).detach())
        as_points = model(a.flatten(2).mT, ξ.flatten(2).mT)
        torch.testing.assert_close(outputs[-1].flatten(2).mT, as_points, **ROUNDING)
    if rank < 3:
        common = (..., *[slice(1, None, 3)] * rank)
        coarse, fine = (float((b[common] - a).norm() / a.norm()) for a, b in pairwise(outputs))
        assert log(coarse / fine, 3) > 1.8, (coarse, fine)


class Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """The size of the largest tensor that any operation returns."""

    entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.entries = max(self.entries, result.numel())
        return result


def test_no_tensor_of_points_by_nodes() -> None:
    model, largest = gino(lattice=8), []
    for points in (1000, 2000):
        with Largest() as mode:
            extras = {"coordinates": random(1, points, 2), "parameters": random(1, 2)}
            model(random(1, points, 2), **extras).sum().backward()
        largest.append(mode.entries)
    # 16 nodes around a point, 3 moments of a constant and 2 fields.
    assert largest == [144 * 1000, 144 * 2000]


@pytest.mark.parametrize(
    "latent",
    [partial(UNet, width=4, levels=(1, 1)), partial(MgNO, width=4, depth=1, cycle=(1, 1))],
    ids=["UNet", "MgNO"],
)
def test_other_operators_on_the_lattice(latent: Any) -> None:
    model, (x, extras) = gino(latent=latent), batch()
    assert isinstance(model.latent, nn.Module)
    assert model(x, **extras).shape == (3, 12, 3)


def test_the_operator_on_the_lattice_by_default_and_suited() -> None:
    model = GINO(2, 1, 1, width=8, lattice=(8, 32))
    assert isinstance(model.latent, FNO)
    assert (model.latent.modes, model.latent.padding) == ((4, 12), (0.25, 0.25))
    suited = GINO(2, 3, 1, parameters=2, affine=(1, 3, 4), **GINO.suited_points())
    assert isinstance(suited.latent, UNet)
    assert suited.conditions == [0, 2]


def test_refuses_what_does_not_fit_in_a_sentence() -> None:
    model, (x, extras) = gino(), batch()
    with pytest.raises(ShapeError, match=r"GINO: weights must have one number for each point"):
        model(x, **{**extras, "weights": extras["weights"][:, :3]})
    with pytest.raises(ShapeError, match=r"GINO: parameters must have shape \(3, 2\), got none"):
        model(x, **{**extras, "parameters": None})
    with pytest.raises(ConfigError, match=r"affine names inputs from 0 to 3.*got \(4,\)"):
        gino(affine=(4,))
    with pytest.raises(ConfigError, match=r"Sources: each input is named once, got \(1, 1\)"):
        gino(affine=(1, 1))
    with pytest.raises(ConfigError, match="Lattice: nodes, less one for the other end, must be at least 1"):
        Lattice((8, 1))
    with pytest.raises(ConfigError, match=r"Lattice: nodes must be one number or one per axis \(2\)"):
        gino(lattice=Lattice((8, 8, 8)))
    with pytest.raises(ShapeError, match="FNO: modes=4 on axis 0 need at least 8 grid points, got 6"):
        gino(latent=partial(FNO, modes=4, width=4))


# Training.


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """u(y) = f(y) + c (mean of f) at 40 to 80 points."""
    rng, count = np.random.default_rng(0), 40
    clouds = [Points(rng.random((int(n), 2))) for n in rng.integers(40, 80, size=count)]
    waves = [rng.normal(size=3) for _ in clouds]
    f = [
        w[0] + w[1] * p.coordinates[:, 0] + w[2] * np.cos(3 * p.coordinates[:, 1])
        for w, p in zip(waves, clouds, strict=True)
    ]
    c = rng.uniform(-1, 1, size=count)
    u = [fi + ci * fi.mean() for fi, ci in zip(f, c, strict=True)]
    fields = [(Field("f", "input"), f), (Field("c", "parameter"), c), (Field("u", "output"), u)]
    path = tmp_path_factory.mktemp("gino") / "ragged.h5"
    return write_dataset(path, grid=clouds, fields=fields, split=np.where(np.arange(count) < 32, 0, 2))


def test_learns_on_a_choice_of_the_points_of_ragged_samples(data: Dataset) -> None:
    """Trained on 30 points of each sample, judged on all of unseen ones; f alone leaves a quarter."""
    settings = {"width": 8, "lattice": Lattice(5), "latent": TINY, "affine": Sources((0,), 8, 1, (1, 1))}
    with Streams(0).of("init").applied():
        model = make_model("it", GINO, settings, in_channels=1, out_channels=1, data=data)
    assert isinstance(model, GINO) and model.conditions == [1]
    task = partial(Supervised, inputs=["f", "c"], outputs=["u"], batch_size=8)
    run = Trainer(100, optimizer=partial(Adam, lr=1e-2)).fit(model, task(data.train, points=30))
    found = task(data.test).evaluate(run.model, Streams(0))["relative_l2"]
    pairs = zip(data.test.arrays("f", range(8)), data.test.arrays("u", range(8)), strict=True)
    alone = np.mean([np.linalg.norm(u - f) / np.linalg.norm(u) for f, u in pairs])
    assert found < alone / 3, (found, alone)
