"""Networks at one time as their waves, and windows of time that start from these."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam

from sciml.errors import ConfigError
from sciml.kernels.jet import jet
from sciml.pinns import Recipe, Stage, march, problems
from sciml.pinns.networks import MLP
from sciml.pinns.samplers import Sobol
from sciml.pinns.settling import FourierSeries, fourier_series

CHAOTIC = problems.ChaoticKuramotoSivashinsky()


class Known(nn.Module):
    """What a function does."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(torch.sin(x[:, 0]) * x[:, 1]) + torch.cos(70 * x[:, 0])


def test_series_has_values_and_derivatives_of_its_function() -> None:
    series = fourier_series(Known(), CHAOTIC, 0.5)
    x = torch.tensor([[0.1, 0.0], [2.0, 0.3], [5.5, 1.0]], dtype=torch.float64)  # whatever the time
    along = torch.tensor([1.0, 0.0], dtype=torch.float64)
    at = torch.stack([x[:, 0], torch.full((3,), 0.5, dtype=torch.float64)], dim=1)
    for order, (found, wanted) in enumerate(
        zip(jet(series, x, along, 4), jet(Known(), at, along, 4), strict=True)
    ):
        # Rounding of waves up to the 70th, and what is cut off, by their powers.
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-11 * 70**order)
    assert len(series.cosines) == 71


def test_series_of_a_system_and_of_nothing() -> None:
    problem = problems.Schroedinger()
    lower, upper = problem.domain.bounds[0]

    class Both(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            angle = 2 * math.pi * (x[:, 0] - lower) / (upper - lower)
            return torch.stack([torch.cos(2 * angle), 3 + 0 * angle], dim=1)

    series = fourier_series(Both(), problem, 0.0)
    x = torch.tensor([[0.7, 0.1], [-1.1, 0.2]], dtype=torch.float64)
    torch.testing.assert_close(series(x), Both()(x))
    nothing = FourierSeries(torch.zeros(1, 1).double(), torch.zeros(1, 1).double(), 0.0, 1.0)
    assert nothing(x).tolist() == [0.0, 0.0]


def test_a_window_starts_from_the_series_as_from_the_network() -> None:
    recipe = Recipe(
        network=partial(MLP, width=4, depth=1), stages=(Stage(partial(Adam, lr=1e-2), 2, Sobol()),), points=16
    )
    whole, settled = (
        march(problems.Convection(), windows=3, recipe=recipe, settle=s).model for s in (None, fourier_series)
    )
    x = torch.cartesian_prod(torch.linspace(0, 6, 7), torch.linspace(0, 1, 5)).double()
    torch.testing.assert_close(settled(x), whole(x), rtol=1e-6, atol=1e-6)
    last = settled.models[2]
    assert last.ansatz is not None and not any(isinstance(m, FourierSeries) for m in whole.modules())
    # It stands on numbers alone: waves of one network instead of two networks.
    start = torch.tensor([[1.0, 2 / 3]], dtype=torch.float64)
    torch.testing.assert_close(last(start), settled.models[1](start), rtol=1e-9, atol=1e-9)


def test_what_has_no_waves_is_refused() -> None:
    with pytest.raises(ConfigError, match="Heat is no problem in one periodic coordinate and time"):
        fourier_series(Known(), problems.Heat(), 0.5)

    class Jumping(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, 0]

    with pytest.raises(ConfigError, match="waves shorter than 1/4096 of the period"):
        fourier_series(Jumping(), CHAOTIC, 0.0)
