"""Diffusion in a porous medium, against the solution of Barenblatt."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sciml.datasets.numerics.chebyshev import Chebyshev
from sciml.errors import ConfigError
from sciml.pinns.fingerprints import kronecker
from sciml.pinns.problems import NonlinearDiffusion
from sciml.pinns.problems.nonlinear_diffusion import flow


def spread(radius: Tensor, age: Tensor) -> Tensor:
    """``age^(-1/2) (C - |x|^2 age^(-1/2) / 16)``, a solution of ``u_age = Laplace(u^2)`` where positive."""
    return age**-0.5 * (0.15 - radius**2 * age**-0.5 / 16)


def test_residual_vanishes_for_a_spreading_heap() -> None:
    problem = NonlinearDiffusion(diffusivity=0.2)

    def heap(x: Tensor) -> Tensor:
        age = 0.1 * (x[:, 2] + 0.5)  # a / 2 times the time
        square = x[:, 0] * x[:, 0] + x[:, 1] * x[:, 1]
        return (0.15 - square / torch.sqrt(age) * (1 / 16)) / torch.sqrt(age)

    x = problem.domain.interior(kronecker, 50)
    assert problem.residual(heap, x).abs().max() < 1e-12


def test_reference_solver_follows_a_spreading_heap() -> None:
    nodes = torch.from_numpy(Chebyshev(40).points)
    radius = torch.hypot(nodes[:, None], nodes)
    first, last = (
        spread(radius, torch.tensor(0.1 * (t + 0.5)).double()).clamp(min=0).numpy() for t in (0.0, 1.0)
    )
    found = flow(first, 0.2, np.array([0.0, 1.0]))[1]
    # The slope jumps at the rim, which polynomials on 40 points round off by about 1/40 of the height.
    weights = Chebyshev(40).weights
    wrong = weights @ (found - last) ** 2 @ weights
    assert (wrong / (weights @ last**2 @ weights)) ** 0.5 < 0.01
    assert weights @ found @ weights == pytest.approx(weights @ first @ weights, rel=2e-3)  # nothing is lost


def test_coarse_solutions_converge() -> None:
    solutions = [solver.solve() for solver in list(NonlinearDiffusion().classical())[:3]]
    one, two = ((a - solutions[-1]).norm() / solutions[-1].norm() for a in solutions[:2])
    assert one < 0.02 and two < one / 2


def test_diffusivity_is_positive() -> None:
    with pytest.raises(ConfigError, match="positive diffusivity, got 0"):
        NonlinearDiffusion(diffusivity=0.0)
