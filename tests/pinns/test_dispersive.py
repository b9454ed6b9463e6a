"""Waves of third and fourth order: Korteweg and de Vries's, Zakharov and Kuznetsov's, Kadomtsev's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sciml.errors import ConfigError
from sciml.pinns import Problem
from sciml.pinns.fingerprints import kronecker
from sciml.pinns.problem import residuals
from sciml.pinns.problems import (
    GeneralizedKortewegDeVries,
    KadomtsevPetviashvili,
    Solitons,
    ZakharovKuznetsov,
)
from sciml.pinns.problems.hirota import moment

SOLVED = [
    *(GeneralizedKortewegDeVries(power=p) for p in (1, 2, 4)),
    ZakharovKuznetsov(vectors=((0.8, 0.4, -0.2), (0.5, -0.3, 0.6)), shifts=(0.0, 1.0)),
    KadomtsevPetviashvili(sign=-1),
    KadomtsevPetviashvili(wavenumbers=(2.0, 0.5), tilts=(0.3, -0.3)),
]
ALONE = [
    GeneralizedKortewegDeVries(speeds=(2.0,), centers=(1.0,)),
    ZakharovKuznetsov(vectors=((0.8, 0.4),), shifts=(0.5,)),
    ZakharovKuznetsov(vectors=((0.8, 0.4, -0.3),), shifts=(0.5,)),
]


def named(problem: object) -> str:
    return type(problem).__name__


@pytest.mark.parametrize("problem", [*SOLVED, *ALONE], ids=named)
def test_other_numbers_solve_the_equation_too(problem: Problem) -> None:
    x = problem.domain.interior(kronecker, 50)
    found = residuals(problem, problem.exact, x, coefficients={})["equation"]
    # Fourth derivatives of 2 (log F)_xx, sixth ones of log F: up to 2 k^6 = 128, times rounding.
    assert found.abs().max() < 1e-11


@pytest.mark.parametrize("problem", ALONE, ids=named)
def test_one_wave_needs_no_forcing(problem: GeneralizedKortewegDeVries | ZakharovKuznetsov) -> None:
    x = problem.domain.interior(kronecker, 50)
    assert float(problem.forcing(x).abs().max()) == 0
    assert float(problem.exact(x).max()) > 0.5


def test_waves_of_power_one_are_solitons() -> None:
    problem = GeneralizedKortewegDeVries(power=1, speeds=(3.0,), centers=(0.5,))
    x = problem.domain.interior(kronecker, 50)
    wanted = 1.5 / torch.cosh(3.0**0.5 / 2 * (x[:, 0] - 3 * x[:, 1] - 0.5)) ** 2
    assert (problem.exact(x) - wanted).abs().max() < 1e-14


def test_waves_that_cross_are_no_product_of_space_and_time() -> None:
    problem = GeneralizedKortewegDeVries()
    axes = [torch.linspace(a, b, 60).double() for a, b in problem.domain.bounds]
    sizes = torch.linalg.svdvals(problem.exact(torch.cartesian_prod(*axes)).reshape(60, 60))
    assert sizes[4] > 0.05 * sizes[0]


def test_lines_without_tilt_are_the_solitons_of_one_dimension() -> None:
    flat, line = KadomtsevPetviashvili(wavenumbers=(1.5, 0.5), tilts=(0.0, 0.0)), Solitons()
    x = flat.domain.interior(kronecker, 50)

    def along(z: Tensor) -> Tensor:  # (x, t) at y = 1
        return flat.exact(torch.stack([z[:, 0], 1 + 0 * z[:, 0], z[:, 1]], dim=1))

    assert line.residual(along, x[:, [0, 2]]).abs().max() < 1e-12


def test_mixed_derivatives_are_those_of_a_wave() -> None:
    a, b, c = 0.7, -1.1, 0.4

    def wave(x: Tensor) -> Tensor:
        return torch.sin(a * x[:, 0] + b * x[:, 1] + c * x[:, 2])

    plane = KadomtsevPetviashvili()
    x = plane.domain.interior(kronecker, 20)
    angle = a * x[:, 0] + b * x[:, 1] + c * x[:, 2]
    sine, cosine = torch.sin(angle), torch.cos(angle)
    wanted = (a**4 - a * c - 3 * b**2) * sine + 6 * a**2 * (cosine**2 - sine**2)
    assert (plane.residual(wave, x) - wanted).abs().max() < 1e-13
    flow = ZakharovKuznetsov()
    wanted = (c - a * (a**2 + b**2) + 6 * a * sine) * cosine - flow.forcing(x)
    assert (flow.residual(wave, x) - wanted).abs().max() < 1e-13


def test_moments_are_derivatives_of_the_logarithm() -> None:
    slopes = (0.0, 1.5, -0.5)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    exponents = torch.stack([s * x + k for k, s in enumerate(slopes)], dim=1)
    value = torch.logsumexp(exponents, dim=1)
    for order in (1, 2, 3):
        (value,) = torch.autograd.grad(value.sum(), x, create_graph=True)
        if order > 1:
            assert torch.allclose(moment(exponents, slopes, order), 2 * value, rtol=0, atol=1e-14)
    far = moment(torch.tensor([[1e4, 0.0], [0.0, -1e4]]), (1.0, 0.0), 2)
    assert far.tolist() == [0.0, 0.0]


def test_numbers_that_make_no_wave_are_refused() -> None:
    with pytest.raises(ConfigError, match="resonate"):
        KadomtsevPetviashvili(tilts=(0.5, -0.5))
    with pytest.raises(ConfigError, match="sign of 1 or -1"):
        KadomtsevPetviashvili(sign=2)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="all of 2 or all of 3 numbers"):
        ZakharovKuznetsov(vectors=((0.5, 0.5), (0.5, 0.5, 0.5)))
    with pytest.raises(ConfigError, match="one shift for each of the 2 vectors"):
        ZakharovKuznetsov(shifts=(0.0,))
    with pytest.raises(ConfigError, match="power >= 1"):
        GeneralizedKortewegDeVries(power=0)
    with pytest.raises(ConfigError, match="one center for each of the 2 speeds"):
        GeneralizedKortewegDeVries(centers=(0.0,))
