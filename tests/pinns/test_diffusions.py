"""The process behind a parabolic equation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sciml.errors import ConfigError, ShapeError
from sciml.pinns import Diffusion, problems


def _points(n: int, d: int) -> Tensor:
    return torch.rand(n, d + 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _first(x: Tensor) -> Tensor:
    return x[:, 0]


def test_the_transpose_of_the_noise_is_the_transpose_of_its_matrix() -> None:
    matrix = torch.randn(3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    process = Diffusion(_first, lambda x, w: (1 + x[:, :1]) * (w @ matrix.T), columns=2)
    x = _points(5, 3)
    gradient = _points(5, 2).requires_grad_()
    z = process.transposed(x, gradient)
    torch.testing.assert_close(z, (1 + x[:, :1]) * (gradient @ matrix))
    torch.autograd.gradcheck(lambda g: process.transposed(x, g), gradient)
    with torch.no_grad():
        assert not process.transposed(x, gradient).requires_grad


def test_a_step_of_euler_is_drift_and_noise_and_a_transition_replaces_it() -> None:
    x, w = _points(4, 2), _points(4, 1)
    after = torch.full((4,), 0.25, dtype=torch.float64)
    plain = Diffusion(_first, lambda x, w: 2 * w, drift=lambda x: -x[:, :-1])
    found = plain.step(x, after, w)
    torch.testing.assert_close(found[:, :-1], 0.75 * x[:, :-1] + 2 * w)
    torch.testing.assert_close(found[:, -1], x[:, -1] - 0.25)
    known = Diffusion(_first, lambda x, w: w, transition=lambda x, r, w: r[:, None] * w)
    torch.testing.assert_close(known.step(x, after, w)[:, :-1], 0.25 * w)


def test_an_affine_driver_gives_its_source_and_its_growth() -> None:
    x = _points(4, 2)
    process = Diffusion(
        _first, lambda x, w: w, driver=lambda x, u, z: torch.sin(x[:, 0]) - 3 * u, affine=True
    )
    source, rate = process.growth(x)
    torch.testing.assert_close(source, torch.sin(x[:, 0]))
    # 1 - 3 u at u = 0 and 1: one rounding.
    torch.testing.assert_close(rate, torch.full((4,), -3.0, dtype=torch.float64))
    assert process.linear and not Diffusion(_first, lambda x, w: w, driver=lambda x, u, z: u**2).linear
    assert all(float(part.abs().max()) == 0 for part in Diffusion(_first, lambda x, w: w).growth(x))


def test_a_mean_over_steps_is_the_solution() -> None:
    """``u_t = u_xx / 2 + u_x`` from ``x^2``: ``(x + t)^2 + t``."""
    process = Diffusion(lambda x: x[:, 0] ** 2, lambda x, w: w, drift=lambda x: torch.ones_like(x[:, :-1]))
    n, t = 40_000, 0.7
    x = torch.tensor([[0.5, t]], dtype=torch.float64).expand(n, 2)
    w = math.sqrt(t) * torch.randn(n, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    values = process.start(process.step(x, torch.full((n,), t, dtype=torch.float64), w))
    # Four standard errors.
    assert abs(float(values.mean()) - ((0.5 + t) ** 2 + t)) < 4 * float(values.std()) / math.sqrt(n)


def test_noise_of_the_wrong_shape_is_refused() -> None:
    process = Diffusion(_first, lambda x, w: w[:, :1])
    with pytest.raises(ShapeError, match=r"moves in space \(4, 2\), got \(4, 1\)"):
        process.transposed(_points(4, 2), _points(4, 1))


def test_a_problem_has_neither_diffusion_nor_energy_unless_it_says_so() -> None:
    problem = problems.Lorenz()
    assert problem.diffusion is None
    with pytest.raises(ConfigError, match="Lorenz: has no energy"):
        problem.energy(_first, _points(2, 0))
