"""Known functions of space with sizes that are a network of time."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from sciml.errors import ConfigError
from sciml.kernels.jet import jet
from sciml.optimizers import LevenbergMarquardt
from sciml.pinns import Recipe, Stage, problems, solve
from sciml.pinns.networks import MLP, Modes, at_rest
from sciml.pinns.samplers import Sobol

COUNTED = partial(MLP, width=3, depth=1)


def points(dim: int) -> Tensor:
    return 2 * torch.rand(7, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1


def test_modes_times_sizes() -> None:
    """All products, the last coordinate's fastest, for each output."""
    network = Modes(3, 2, sines=((1, 4), (2, 3, 5)), network=COUNTED).double()
    x = points(3)
    s = (x + 1) / 2
    modes = [
        torch.sin(i * math.pi * s[:, 0]) * torch.sin(j * math.pi * s[:, 1]) for i in (1, 4) for j in (2, 3, 5)
    ]
    sizes = network.network(x[:, 2:])
    assert sizes.shape == (7, 12) and network.count == 6
    wanted = [
        sum(mode * size for mode, size in zip(modes, part.T, strict=True)) for part in sizes.split(6, dim=1)
    ]
    torch.testing.assert_close(network(x), torch.stack(wanted, dim=1), rtol=1e-12, atol=1e-12)


def test_given_modes_and_the_constant() -> None:
    network = Modes(3, 1, given=2, network=COUNTED).double()
    x = points(3)
    sizes = network.network(x[:, 2:])
    wanted = sizes[:, 0] + sizes[:, 1] * x[:, 0] + sizes[:, 2] * x[:, 1]
    torch.testing.assert_close(network(x)[:, 0], wanted, rtol=1e-12, atol=1e-12)


def test_sines_vanish_and_cosines_are_level_at_the_ends() -> None:
    ends = torch.tensor([[-1.0, 0.3], [1.0, -0.2]], dtype=torch.float64)
    along = torch.tensor([1.0, 0.0], dtype=torch.float64)
    sines = Modes(2, 1, sines=((1, 2, 3),)).double()
    cosines = Modes(2, 1, cosines=((0, 1, 2, 3),)).double()
    assert sines(ends).abs().max() < 1e-14
    value, slope = jet(cosines, ends, along, 1)
    assert slope.abs().max() < 1e-14 < value.abs().min()


def test_sizes_of_no_other_coordinate_are_numbers() -> None:
    network = Modes(1, 1, cosines=((0, 1),)).double()
    x = torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.float64)
    first, middle, last = network(x)[:, 0]
    assert torch.isclose(first + last, 2 * middle) and not torch.isclose(first, last)


def test_at_rest_nothing_but_the_start_is_there() -> None:
    problem = problems.ChaoticKuramotoSivashinsky()
    recipe = Recipe(network=partial(Modes, given=8, network=COUNTED), harmonics=4, fit=at_rest)
    model = recipe.model(problem, seed=0)
    x = torch.tensor([[0.3, 0.0], [2.0, 0.7]], dtype=torch.float64)
    assert torch.equal(model(x), torch.cos(x[:, 0]) * (1 + torch.sin(x[:, 0])))


def test_modes_follow_the_heat() -> None:
    """The ansatz leaves ``(exp(-c t) - 1) sin(pi x) / (4 x (1 - x) t)`` to them."""
    recipe = Recipe(
        network=partial(Modes, cosines=((0, 2, 4, 6),), network=COUNTED),
        stages=(Stage(partial(LevenbergMarquardt, iterations=15), 1, Sobol()),),
        points=200,
        fit=at_rest,
    )
    run = solve(problems.Heat(diffusivity=0.1), recipe=recipe)
    assert problems.Heat(diffusivity=0.1).relative_l2(run.model) < 1e-2


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"given": 1, "sines": ((1,),)},
        {"given": 3},
        {"cosines": ((1,), ())},
        {"sines": ((1,), (1,), (1,))},
    ],
)
def test_refused_modes(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="Modes: takes cosines, sines or the number of given ones"):
        Modes(2, 1, **settings)  # type: ignore[arg-type]


def test_at_rest_needs_modes_with_a_linear_end() -> None:
    with pytest.raises(ConfigError, match="no Modes in Linear"):
        at_rest(nn.Linear(1, 1))
    bent = Modes(2, 1, given=1, network=lambda i, o: nn.Sequential(nn.Linear(i, o), nn.Tanh()))
    with pytest.raises(ConfigError, match="ends with Tanh"):
        at_rest(bent)
