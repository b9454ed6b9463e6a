"""Parabolic problems in many dimensions: residuals, closed forms, paths and published values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Generator, Tensor

from sciml.errors import ConfigError
from sciml.kernels import CubatureLines, DenseDirections, Hutchinson, SparseDirections
from sciml.kernels.estimators import Estimator
from sciml.pinns import Domain, Gaussian, Problem, problems
from sciml.pinns.diffusions import Diffusion
from sciml.pinns.fingerprints import kronecker
from sciml.pinns.problem import residuals
from sciml.pinns.problems.radial import radial
from sciml.pinns.problems.semilinear import _mean_of_largest
from sciml.pinns.sources import Random

EVERY: list[Any] = [
    problems.HeatInSpace(dim=4, waves=3),
    problems.SemilinearHeat(dim=4),
    problems.SemilinearSineGordon(dim=4),
    problems.SemilinearAllenCahn(dim=4),
    problems.RadialAllenCahn(dim=4),
    problems.HamiltonJacobiBellman(dim=4, strength=1.5),
    problems.FokkerPlanck(dim=4),
]
each = pytest.mark.parametrize("problem", EVERY, ids=lambda p: type(p).__name__)


def smooth(x: Tensor) -> Tensor:
    """A function whose second derivatives are neither diagonal nor equal."""
    wave = torch.arange(1, x.shape[1] + 1, dtype=x.dtype) / x.shape[1]
    return torch.sin(x @ wave + 0.3) + 0.2 * x[:, 0] * x[:, 1] * torch.exp(-0.5 * x[:, -1])


def origin(dim: int, t: float) -> Tensor:
    x = torch.zeros(1, dim + 1, dtype=torch.float64)
    x[0, -1] = t
    return x


@each
def test_residual_is_that_of_the_diffusion(problem: Problem) -> None:
    """By nested reverse mode: ``u_t - tr(s s^T Hess u)/2 - m . grad u - f(x, u, s^T grad u)``."""
    diffusion = problem.diffusion
    assert diffusion is not None
    x = problem.domain.interior(kronecker, 5).requires_grad_()
    u = smooth(x)
    (gradient,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    space = gradient[:, :-1]
    rows = [torch.autograd.grad(space[:, i].sum(), x, retain_graph=True)[0][:, :-1] for i in range(4)]
    unit = torch.eye(4, dtype=x.dtype)
    noise = torch.stack([diffusion.noise(x, unit[i : i + 1].expand(5, -1)) for i in range(4)], dim=2)
    wanted = gradient[:, -1] - torch.einsum("nik,njk,nij->n", noise, noise, torch.stack(rows, dim=1)) / 2
    if diffusion.drift is not None:
        wanted = wanted - (diffusion.drift(x) * space).sum(1)
    if diffusion.driver is not None:
        wanted = wanted - diffusion.driver(x, u, diffusion.transposed(x, space))
    wanted = wanted.detach()
    found = residuals(problem, smooth, x.detach(), coefficients={})["equation"]
    assert (found - wanted).abs().max() < 1e-13 * max(1.0, float(wanted.abs().max()))
    at_start = problem.domain.start(kronecker, 5)
    assert problem.conditions[0].residual(diffusion.start, at_start, problem.domain).abs().max() == 0


# One of each kind of residual: with a Laplacian, with a squared gradient, with a drift besides.
ESTIMATED = [
    p for p in EVERY if type(p).__name__ in ("SemilinearHeat", "HamiltonJacobiBellman", "FokkerPlanck")
]
ESTIMATORS: list[Estimator] = [
    SparseDirections(1),
    SparseDirections(2, per_point=True),
    Hutchinson(2, "sphere"),
    DenseDirections(2),
]


@pytest.mark.parametrize("problem", ESTIMATED, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_estimates_of_residuals_are_unbiased(problem: Problem, estimator: Estimator) -> None:
    x, draws = problem.domain.interior(kronecker, 4), 500
    exact = residuals(problem, smooth, x, coefficients={})["equation"]
    found = residuals(
        problem,
        smooth,
        x,
        coefficients={},
        estimate={"estimator": estimator, "generator": 0, "draws": draws},
    )["equation"]
    error = found.std(0) / draws**0.5
    # Four deviations, at four points: one of 4000 tests of a right estimator would fail.
    assert (found.std(0) > 1e-6).all() and ((found.mean(0) - exact).abs() < 4 * error).all()


@each
def test_all_directions_of_space_give_the_residual(problem: Problem) -> None:
    x = problem.domain.interior(kronecker, 4)
    exact = residuals(problem, smooth, x, coefficients={})["equation"]
    found = residuals(
        problem,
        smooth,
        x,
        coefficients={},
        estimate={"estimator": SparseDirections(4), "generator": 0, "draws": None},
    )["equation"]
    assert (found - exact).abs().max() < 1e-14 * max(1.0, float(exact.abs().max()))
    with pytest.raises(ValueError, match="another operator"):
        residuals(
            problem,
            smooth,
            x,
            coefficients={},
            estimate={"estimator": CubatureLines(2), "generator": None, "draws": None},
        )


def test_points_lie_where_paths_are() -> None:
    domain = Domain(Gaussian(5, variance=2.0, rate=-2.0), time=(0.0, 1.0))
    generator = Generator().manual_seed(0)
    plain = lambda n, k: torch.rand(n, k, generator=generator, dtype=torch.float64)  # noqa: E731
    for source in (plain, Random(generator)):
        x = domain.interior(source, 4000)
        early = x[:, -1] < 0.5
        for half, t in ((early, 0.25), (~early, 0.75)):
            # The mean of the squares of some 10000 numbers, whose variances have the mean 2 (1 - t).
            size = x[half, :-1].square().mean() / (2 * (1 - t))
            assert abs(float(size) - 1) < 5 * (3 / 10_000) ** 0.5
        assert (x[:, :-1].mean(0).abs() < 5 * 4000**-0.5).all()
        start = domain.start(source, 4000)
        assert abs(float(start[:, :-1].var()) - 2) < 5 * 2 * (2 / 20_000) ** 0.5 and not start[:, -1].any()
    assert domain.contains(x).all() and domain.space.faces == ()
    # Where the variance has run out all points are the origin.
    assert not domain.space.at(torch.ones(2, 5), torch.tensor([[1.0], [1.5]])).any()


def test_regions_and_problems_refuse_what_they_cannot_do() -> None:
    with pytest.raises(ConfigError, match="no boundary"):
        Domain(Gaussian(3)).boundary(kronecker, 4)
    for wrong in ({"dim": 0}, {"variance": 0.0}, {"rate": float("nan")}):
        with pytest.raises(ConfigError, match="Gaussian"):
            Gaussian(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="SemilinearHeat: dim must be at least 1, got 0"):
        problems.SemilinearHeat(dim=0)
    with pytest.raises(ConfigError, match="HamiltonJacobiBellman: strength must be positive"):
        problems.HamiltonJacobiBellman(strength=0.0)
    with pytest.raises(ConfigError, match="FokkerPlanck: end must be positive"):
        problems.FokkerPlanck(end=float("inf"))


@pytest.mark.parametrize(
    "problem",
    [
        problems.HeatInSpace(dim=3, waves=2),
        problems.HamiltonJacobiBellman(dim=5),
        problems.HamiltonJacobiBellman(dim=50, strength=2.5, end=0.2),
    ],
    ids=repr,
)
def test_closed_forms_are_means_over_paths(problem: Any) -> None:
    x = problem.domain.interior(kronecker, 3)
    found = problem.expected(x, accuracy=5e-3, seed=1)
    values = problem.exact(x)
    assert found.contains(values).all()
    assert (found.standard_error < 5e-3 * values.abs().clamp_min(0.1)).all()


def test_logarithm_of_the_density_is_that_of_the_process() -> None:
    problem = problems.FokkerPlanck(dim=2)
    flow = problem.diffusion
    assert flow is not None
    # p / q solves the backward equation of the same process.
    ratio = Diffusion(
        lambda x: torch.exp(2 * flow.start(x)), flow.noise, flow.drift, transition=flow.transition
    )
    from sciml.pinns.monte_carlo import feynman_kac

    x = problem.domain.interior(kronecker, 4)
    found = feynman_kac(ratio, x, accuracy=5e-3)
    assert found.contains(torch.exp(2 * problem.exact(x))).all()


@pytest.mark.parametrize("dim", [1, 10, 1000])
@pytest.mark.parametrize("growth", [0.0, 1.0])
def test_radial_solver_finds_linear_flows(dim: int, growth: float) -> None:
    squares, times = np.array([0.0, 0.5 * dim, 3.0]), np.array([0.3, 0.1, 0.2])

    def flow(q: float, t: float) -> float:
        """The mean of 2.5 / (5 + |X|^2), a mixture of bells."""
        width = lambda y: 1 + 4 * t * y  # noqa: E731
        density = lambda y: 2.5 * np.exp(-5 * y - q * y / width(y)) * width(y) ** (-dim / 2)  # noqa: E731
        return float(np.exp(growth * t) * quad(density, 0, np.inf, epsabs=0, epsrel=1e-11, limit=200)[0])

    found = radial(lambda u: growth * u, dim, squares, times, points=48)
    wanted = [flow(q, t) for q, t in zip(squares, times, strict=True)]
    # The tolerance of Runge and Kutta's steps, some thousand times.
    assert np.abs(found / wanted - 1).max() < 1e-9


def test_references_agree_with_published_values() -> None:
    """Means over random paths, given without intervals: they are off by 1.1e-3 at most."""
    published = {
        problems.SemilinearHeat: {10: 0.47006, 100: 0.31674, 1000: 0.28753, 10_000: 0.28433},
        problems.SemilinearSineGordon: {10: 0.3229470, 100: 0.0528368, 1000: 0.0055896, 10_000: 0.0005621},
        problems.RadialAllenCahn: {100: 0.0528},
    }
    for kind, values in published.items():
        for dim, value in values.items():
            found = float(kind(dim=dim)._radial(origin(dim, 0.3), 24))
            assert abs(found / value - 1) < 1.2e-3, (kind, dim)
    # Of Hamilton, Jacobi and Bellman's equation to its digits.
    assert abs(float(problems.HamiltonJacobiBellman(dim=100).exact(origin(100, 1.0))) - 4.5901) < 1e-4


def test_references_are_refined() -> None:
    known = problems.SemilinearHeat().reference()
    assert known.error < 1e-9
    coarse, *_, finest = (c.solve() for c in problems.SemilinearHeat().classical())
    gaps = [float((values - known.values).norm() / known.values.norm()) for values in (coarse, finest)]
    assert gaps[1] < 1e-8 < gaps[0] < 0.05


def test_picard_iteration_agrees_with_the_radial_reference() -> None:
    problem = problems.SemilinearHeat(dim=10)
    found = problem.expected(origin(10, 0.3), accuracy=1e-2)
    assert found.contains(problem._radial(origin(10, 0.3), 24)[:, 0]).all()


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "value"), [(10, 0.89060), (100, 1.04510), (1000, 1.09100)])
def test_picard_iteration_agrees_with_published_values(dim: int, value: float) -> None:
    found = problems.SemilinearAllenCahn(dim=dim).expected(origin(dim, 0.3), accuracy=2e-3)
    # The published values, by the same method, may be as far off as those of the radial problems.
    assert found.contains(torch.tensor([value]), tolerance=1.2e-3).all()


def test_smoothed_maximum_starts_as_the_maximum_and_spreads_like_it() -> None:
    # Known means of the largest of 2, 3 and 10 normal numbers (Harter, Biometrika 48 (1961) 151).
    for count, mean in {2: 0.5641896, 3: 0.8462844, 10: 1.5387527}.items():
        assert abs(_mean_of_largest(count) - mean) < 1e-6
    problem = problems.SemilinearAllenCahn(dim=2)
    tie = torch.tensor([[0.5, 0.5, t] for t in (0.0, 1e-6, 1e-4)], dtype=torch.float64)
    away = torch.tensor([[0.5, -0.5, t] for t in (0.0, 1e-6, 1e-4)], dtype=torch.float64)
    # At a tie the mean of the maximum grows like sqrt(2 t / pi), elsewhere not at all.
    rise = torch.tan(problem.lift(tie)) - 0.5
    assert (rise[1:] / torch.sqrt(2 * tie[1:, -1] / torch.pi) - 1).abs().max() < 1e-3 and rise[0] < 1e-6
    assert (torch.tan(problem.lift(away)) - 0.5).abs().max() < 1e-12
    assert problems.SemilinearAllenCahn(dim=1).lift(tie[:, 1:]).sub(torch.atan(tie[:, 1])).abs().max() < 1e-15
