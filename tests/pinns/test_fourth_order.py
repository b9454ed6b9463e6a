"""Equations of fourth order in any dimension: closed forms, estimators, conditions, points of shells."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from sciml.errors import ConfigError
from sciml.kernels.estimators import Hutchinson, SparseDirections
from sciml.pinns.fingerprints import kronecker
from sciml.pinns.networks import MLP
from sciml.pinns.problem import EXACT
from sciml.pinns.problems import Biharmonic, SwiftHohenberg
from sciml.pinns.radial_shell import RadialShell


def nested_laplacian(u: Tensor, x: Tensor, axes: int) -> Tensor:
    """By reverse mode, over the first axes."""
    (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    return torch.stack(
        [torch.autograd.grad(slope[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(axes)]
    ).sum(0)


@pytest.mark.parametrize("clamped", [False, True])
def test_right_side_is_the_biharmonic_operator_of_the_solution(clamped: bool) -> None:
    problem = Biharmonic(4, clamped=clamped, seed=1)
    x = problem.domain.interior(kronecker, 5).requires_grad_()
    found = nested_laplacian(nested_laplacian(problem.exact(x), x, 4), x, 4)
    # Squares of squares of |x|^2 <= 4 and 4 factors of dim: rounding of terms up to 1e4.
    assert (found - problem.forcing(x)).abs().max() < 1e-10 * found.abs().max()


def test_right_side_in_a_thousand_dimensions() -> None:
    """Along a line: what the closed form says of the terms that grow with the dimension."""
    problem = Biharmonic(1000)
    x = torch.zeros(1, 1000, dtype=torch.float64)
    x[0, 0] = 1.5
    # All products are zero, so that S = sum c =: C, E S = E²S = L S = 0, E L S = 0, L²S = 4 sum c_i x_i^2.
    c = problem.inner._coefficients(x)
    s, d = 2.25, 1000
    # Of phi = 4 - 5 s + s^2 = 4 - 5 r^2 + r^4 alone, Laplacians of powers of r: r^4 to 8 d (d + 2).
    wanted = (1 - s) * (4 - s) * 4 * c[0] * s + 8 * d * (d + 2) * c.sum()
    assert torch.allclose(problem.forcing(x)[0], wanted, rtol=1e-12)


def test_swift_hohenberg_operator_is_that_of_nested_derivatives() -> None:
    problem = SwiftHohenberg(dim=3, growth=0.7)
    x = problem.domain.interior(kronecker, 5).requires_grad_()

    def u(x: Tensor) -> Tensor:
        return torch.sin(x[:, 0] * x[:, 1] + 0.5 * x[:, 2] * x[:, 3])

    value = u(x)
    (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    once = nested_laplacian(value, x, 3)
    wanted = slope[:, -1] + 0.3 * value + value**3 + 2 * once + nested_laplacian(once, x, 3)
    found = problem.residual(u, x.detach(), EXACT)
    assert torch.allclose(found, (wanted - problem.forcing(x)).detach(), rtol=1e-9)


@pytest.mark.parametrize(
    ("problem", "estimator"),
    [
        (Biharmonic(5), Hutchinson(8, distribution="sphere")),
        (Biharmonic(5), SparseDirections(4)),
        (SwiftHohenberg(4), Hutchinson(8)),
        (SwiftHohenberg(4), SparseDirections(4)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_residual_can_be_estimated(problem: Any, estimator: Any) -> None:
    x = problem.domain.interior(kronecker, 4)
    model = problem.build(partial(MLP, width=6, depth=1)).double()
    with torch.no_grad():
        exact = problem.residual(model, x, EXACT)
        drawn = problem.residual(model, x, {"estimator": estimator, "generator": 0, "draws": 400})
    error = drawn.std(0) / 400**0.5
    assert drawn.shape == (400, 4) and bool((error > 0).all())
    assert ((drawn.mean(0) - exact).abs() < 4 * error).all()


def test_clamped_conditions_hold_for_any_weights() -> None:
    problem = Biharmonic(3, clamped=True)
    model = problem.build(partial(MLP, width=6, depth=1)).double()
    assert model.satisfies == ("boundary", "slope")
    for condition in problem.conditions:
        rows = condition.rows(problem.domain, kronecker, 20)
        for u in (model, problem.exact):
            assert condition.residual(u, rows, problem.domain).abs().max() < 1e-12
    assert problem.fingerprint() != Biharmonic(3).fingerprint() != Biharmonic(3, seed=1).fingerprint()


def test_points_of_a_shell() -> None:
    shell = RadialShell(3, 0.5, 1.5)
    length = shell.interior(kronecker(2000, 4)).norm(dim=1)
    assert length.min() >= 0.5 and length.max() <= 1.5
    assert abs(float(length.mean()) - 1) < 0.01  # quasi-random points: 1 / 2000 times a logarithm
    for faces, wanted in [(("inner",), {0.5}), (("outer",), {1.5}), (("outer", "inner"), {0.5, 1.5})]:
        x, normal = shell.boundary(kronecker(40, 3), faces)
        assert {round(float(r), 12) for r in x.norm(dim=1)} == wanted
        assert (shell.contains(x - 1e-6 * normal) & ~shell.contains(x + 1e-6 * normal)).all()
    assert shell.area("outer") == pytest.approx(9 * torch.pi)
    assert not shell.contains(torch.zeros(1, 3)).any()


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="dim must be at least 3, got 2"):
        Biharmonic(2)
    with pytest.raises(ConfigError, match="needs dim >= 3, got 2"):
        SwiftHohenberg(2)
    with pytest.raises(ConfigError, match="0 < inner < outer"):
        RadialShell(3, 2.0, 1.0)
    with pytest.raises(ConfigError, match="not spread by volume"):
        _ = RadialShell(3).volume
