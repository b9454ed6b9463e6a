"""Means over random paths, against formulas and each other; standard errors, against repetition."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor

from sciml.errors import ConfigError, DataError
from sciml.pinns import Ball, Box, Polygon, problems
from sciml.pinns.diffusions import Diffusion
from sciml.pinns.monte_carlo import (
    Control,
    beside,
    feynman_kac,
    multilevel,
    multilevel_picard,
    walk_on_spheres,
)
from sciml.pinns.monte_carlo.sampling import Sampler
from sciml.pinns.recipe import Recipe
from sciml.streams import Streams


def squared(x: Tensor) -> Tensor:
    return x[:, :-1].square().sum(1)


def white(x: Tensor, w: Tensor) -> Tensor:
    return math.sqrt(2) * w


# dX = -X dr + dW in three dimensions: E |X_t|^2 = |x|^2 e^{-2t} + 3 (1 - e^{-2t}) / 2.
REVERTING = Diffusion(squared, lambda x, w: w, drift=lambda x: -x[:, :-1])
POINTS = torch.tensor([[1.0, 0.5, -0.5, 1.0], [0.0, 0.0, 2.0, 0.5]]).double()
DECAY = torch.exp(-2 * POINTS[:, -1])
REVERTED = squared(POINTS) * DECAY + 1.5 * (1 - DECAY)
HEAT = Diffusion(squared, white)


def of_reverting(x: Tensor, duration: Tensor, w: Tensor) -> Tensor:
    decay = torch.exp(-duration)[:, None]
    # w has variance ``duration``, the end of the path (1 - e^{-2 duration}) / 2.
    return decay * x[:, :-1] + ((1 - decay.square()) / (2 * duration[:, None])).sqrt() * w


def test_reverting_process_by_its_law() -> None:
    found = feynman_kac(replace(REVERTING, transition=of_reverting), POINTS, accuracy=0.01)
    assert found.contains(REVERTED).all() and not found.bias.any()
    assert (found.standard_error < 0.01 * found.values).all()


def test_reverting_process_by_levels_of_steps() -> None:
    """Without a law: levels, their bias within what they say, and the same as one fine level."""
    found = feynman_kac(REVERTING, POINTS, accuracy=0.01)
    assert found.contains(REVERTED).all()
    assert (found.bias <= 0.005 * found.values).all() and (found.standard_error < 0.01 * found.values).all()
    assert (found.bias > 0).all()
    single = feynman_kac(REVERTING, POINTS, accuracy=0.01, steps=16)
    apart = (found.values - single.values).abs()
    # Three deviations of the difference, and the 1/16 of drift that Euler's method misses: (1 - h)^{2 t/h}.
    noise = (found.standard_error.square() + single.standard_error.square()).sqrt()
    assert (apart < 3 * noise + 0.07 * REVERTED).all()


def test_levels_of_steps_end_where_they_are_told_to_and_say_so() -> None:
    rough = multilevel(REVERTING, POINTS, accuracy=1e-3, levels=3, most=5000)
    assert (rough.bias > 5e-4 * rough.values).all()
    # Of weak order one: what four steps miss is of the size of the last difference.
    missing = (rough.values - REVERTED).abs()
    assert (missing < 2 * rough.bias + 3 * rough.standard_error).all()


def test_sources_and_growth_are_collected_along_paths() -> None:
    """``u_t = Laplace(u)/2 + x_1 - u`` from 0: ``u = x_1 (1 - e^{-t})``."""
    equation = Diffusion(
        lambda x: 0 * x[:, 0], lambda x, w: w, driver=lambda x, u, z: x[:, 0] - u, affine=True
    )
    x = torch.tensor([[2.0, 0.0, 1.0]]).double()
    found = feynman_kac(equation, x, accuracy=0.01)
    assert found.contains(2 * (1 - torch.exp(-x[:, -1]))).all()


def test_standard_errors_are_those_of_repetition_and_fall_with_the_root_of_paths() -> None:
    x = torch.zeros(1, 3).double()
    x[:, -1] = 1.0
    runs = [feynman_kac(HEAT, x, accuracy=0.05, seed=seed) for seed in range(60)]
    spread = torch.stack([run.values for run in runs]).std(0)
    said = torch.stack([run.standard_error for run in runs]).mean(0)
    # 60 runs tell a deviation to 1 / sqrt(120), 9 %; three of these.
    assert 0.73 < float(spread / said) < 1.27
    assert abs(float(torch.stack([run.values for run in runs]).mean()) - 4.0) < 4 * float(said) / math.sqrt(
        60
    )
    rough, fine = (feynman_kac(HEAT, x, accuracy=accuracy) for accuracy in (0.02, 0.005))
    # Paths beyond those of the pilot in proportion to 1/accuracy^2, to the accuracy of variances.
    assert 12 < fine.paths / rough.paths < 20


def test_opposite_increments_cancel_what_is_odd() -> None:
    linear = Diffusion(lambda x: 1 + x[:, 0], white)
    x = torch.tensor([[0.5, 1.0]]).double()
    assert feynman_kac(linear, x, accuracy=0.1).standard_error.item() < 1e-12
    assert feynman_kac(linear, x, accuracy=0.1, antithetic=False).standard_error.item() > 1e-3


def test_a_control_reduces_the_variance_and_not_the_mean() -> None:
    x = torch.tensor([[0.2, 0.1, 0.5]]).double()
    wanted = torch.exp(x[:, :-1].sum(1) + 2 * x[:, -1])
    exponential = Diffusion(lambda x: torch.exp(x[:, :-1].sum(1)), white)
    control = Control(lambda x: squared(x)[:, None], lambda x: (squared(x) + 4 * x[:, -1])[:, None])
    plain, controlled = (
        feynman_kac(exponential, x, accuracy=0.01, control=given) for given in (None, control)
    )
    assert plain.contains(wanted).all() and controlled.contains(wanted).all()
    assert controlled.paths < 0.6 * plain.paths


def test_the_same_seed_gives_the_same_bits() -> None:
    one, two, other = (feynman_kac(HEAT, POINTS, accuracy=0.05, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.values, two.values) and not torch.equal(one.values, other.values)


def test_means_and_variances_of_chunks_are_those_of_all_samples() -> None:
    kept: list[list[Tensor]] = [[], []]

    def draw(x: Tensor, count: int, generator: Generator) -> Tensor:
        found = 100 + torch.randn(len(x), count, 1, generator=generator, dtype=x.dtype)
        for row, values in zip(x[:, 0].tolist(), found, strict=True):
            kept[int(row)].append(values[:, 0])
        return found

    x = torch.arange(2.0).double()[:, None]
    sampler = Sampler(draw, x, size=2**14, stream=Streams(0).of("test"))  # 16 and 32 in a chunk
    sampler.start(20)
    sampler.more(torch.tensor([50.0, 0.0]).double())
    for row, parts in enumerate(kept):
        every = torch.cat(parts)
        assert sampler.count[row] == len(every) >= (70, 20)[row]
        assert torch.allclose(sampler.mean[row], every.mean(), rtol=1e-14)
        assert torch.allclose(sampler.variance[row], every.var(), rtol=1e-10)


def test_means_are_refused_where_there_are_none() -> None:
    nonlinear = Diffusion(squared, white, driver=lambda x, u, z: u**2)
    with pytest.raises(ConfigError, match="linear in u"):
        feynman_kac(nonlinear, POINTS, accuracy=0.1)
    with pytest.raises(ConfigError, match="positive accuracy"):
        feynman_kac(HEAT, POINTS, accuracy=0.0)
    with pytest.raises(DataError, match="Poisson: its solution is not known"):
        problems.Poisson().expected(POINTS, accuracy=0.1)


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_walks_on_spheres_in_balls(dim: int) -> None:
    """``-Laplace(u) = 2 d + 2 x_1`` and a harmonic function: where sources are seen has the right law."""

    def exact(x: Tensor) -> Tensor:
        square = x.square().sum(1)
        return 1 - square + 2 * x[:, 0] * (1 - square) / (2 * dim + 4) + 3 + x[:, 0]

    ball = Ball(dim)
    x = torch.zeros(2, dim).double()
    x[0, 0], x[1, -1] = 0.5, -0.8
    found = walk_on_spheres(
        ball, x, source=lambda x: 2 * dim + 2 * x[:, 0], boundary=lambda x: 3 + x[:, 0], accuracy=0.004
    )
    # Besides, walks end 1e-4 away from the boundary.
    assert found.contains(exact(x), tolerance=1e-4).all()


def test_walks_on_spheres_in_boxes() -> None:
    box = Box(((0.0, 1.0), (0.0, 2.0)))
    x = torch.tensor([[0.3, 0.4], [0.9, 1.5]]).double()

    def exact(x: Tensor) -> Tensor:
        return torch.exp(x[:, 0]) * torch.cos(x[:, 1]) + 2

    found = walk_on_spheres(box, x, boundary=exact, accuracy=0.005)
    assert found.contains(exact(x), tolerance=1e-4).all()


def test_walks_on_spheres_are_refused_elsewhere() -> None:
    x = torch.tensor([[2.0, 0.0]])
    with pytest.raises(ConfigError, match="with points outside"):
        walk_on_spheres(Ball(2), x, accuracy=0.1)
    with pytest.raises(ConfigError, match="a Ball or a Box"):
        walk_on_spheres(Polygon(((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))), x, accuracy=0.1)


def reacting(dim: int) -> tuple[Diffusion, Tensor]:
    """``u_t = Laplace(u) + (1 - u^2) / (1 + u^2)`` from 5 / (10 + 2 |x|^2), at x = 0, t = 0.3."""
    equation = Diffusion(
        lambda x: 5 / (10 + 2 * squared(x)), white, driver=lambda x, u, z: (1 - u * u) / (1 + u * u)
    )
    x = torch.zeros(1, dim + 1)
    x[:, -1] = 0.3
    return equation, x


def test_picard_iteration_gives_the_published_value_in_ten_dimensions() -> None:
    found = multilevel_picard(*reacting(10), accuracy=3e-3)
    assert found.contains(torch.tensor([0.47006])).all()
    # Without the reaction it would be a third smaller, and in other dimensions by 0.1 and more.
    assert float(found.standard_error + found.bias) < 0.005


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "published"), [(10, 0.47006), (100, 0.31674), (1000, 0.28753)])
def test_picard_iteration_gives_the_published_values(dim: int, published: float) -> None:
    """Of Beck, Becker, Cheridito, Jentzen and Neufeld's methods, as tabulated with STDE."""
    found = multilevel_picard(*reacting(dim), accuracy=5e-4)
    assert found.contains(torch.tensor([published])).all()


def test_picard_iteration_is_refused_where_it_is_wrong() -> None:
    equation, x = reacting(2)
    with pytest.raises(ConfigError, match="feynman_kac solves"):
        multilevel_picard(HEAT, x, accuracy=0.1)
    with pytest.raises(ConfigError, match="exact in one step"):
        multilevel_picard(replace(equation, noise=lambda x, w: x[:, :-1] * w), x + 0.1, accuracy=0.1)
    with pytest.raises(ConfigError, match="must not depend on z"):
        multilevel_picard(replace(equation, driver=lambda x, u, z: u - z.sum(1)), x, accuracy=0.1)


def test_a_network_stands_beside_an_interval() -> None:
    problem = problems.Basket(dim=3)
    model = Recipe().model(problem, 0)
    x = torch.tensor([[0.0, 0.1, 0.1, 1.0], [0.2, 0.1, 0.0, 1.0]]).double()
    rows = beside(problem, model, x, accuracy=0.01)
    assert [row.network for row in rows] == model(x).tolist()
    assert all(row.lower < row.reference < row.upper and row.reference_seconds > 0 for row in rows)
    assert rows[0].source.startswith("Monte Carlo")
    with pytest.raises(DataError, match="one output"):
        beside(problems.Lorenz(), model, x)
