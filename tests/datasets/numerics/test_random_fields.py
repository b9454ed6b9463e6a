"""Gaussian random fields: law, boundary behavior, and one function at every resolution."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sciml.datasets.numerics.random_fields import GaussianField
from sciml.errors import ConfigError
from sciml.grid import Axis, Grid

KINDS = ("periodic", "neumann", "dirichlet")
SAMPLES = 10_000


@pytest.mark.parametrize("boundary", KINDS)
def test_variance_and_covariance_match_the_eigenvalue_sum(boundary):
    """Second moments of 1e4 samples against the exact sums, on a box with unequal sides.

    For Gaussian values the estimate of C(x, y) from N samples has variance (C(x,x) C(y,y) + C(x,y)^2) / N.
    The largest of 30 normal deviates exceeds 4 standard errors with probability 0.002.
    """
    grid = Grid.box((6, 5), lower=(-1.0, 0.0), upper=(1.0, 0.7))
    field = GaussianField(alpha=2.0, tau=3.0, sigma=1.7, boundary=boundary, modes=6)
    values = field.sample(range(SAMPLES), grid)
    variance = field.variance(grid)
    point = (2, 1)
    exact = field.covariance(grid, point)
    assert math.isclose(exact[point], variance[point], rel_tol=1e-12)
    estimate = np.einsum("n,nij->ij", values[:, 2, 1], values) / SAMPLES
    error = np.sqrt((variance * variance[point] + exact**2) / SAMPLES)
    assert (np.abs(estimate - exact) <= 4 * error).all()
    squares = (values**2).mean(axis=0)
    assert (np.abs(squares - variance) <= 4 * variance * math.sqrt(2 / SAMPLES)).all()


def test_periodic_variance_is_the_written_sum():
    """sum_k lambda_k over signed wave numbers: a factor of 2 (the sqrt(2) trap) would show at once."""
    modes, tau, alpha = 5, 2.0, 1.5
    j = np.arange(-modes + 1, modes)
    squares = np.add.outer(j**2, j**2)
    exact = ((4 * math.pi**2 * squares + tau**2) ** -alpha).sum()
    field = GaussianField(alpha=alpha, tau=tau, modes=modes)
    np.testing.assert_allclose(field.variance(Grid.box((4, 4))), exact, rtol=1e-13)


def test_covariance_of_the_interval_has_its_closed_form():
    """(-D^2 + tau^2)^-1 on the periodic unit interval has kernel cosh(tau (1/2 - r)) / (2 tau sinh(tau/2)).

    Truncation: the tail sum_{j >= K} 2 / (2 pi j)^2 is below 2 / (4 pi^2 (K - 1)) = 5e-5 for K = 1000.
    """
    tau = 3.0
    grid = Grid.box((20,), location="node", periodic=True)
    r = grid.axes[0].coordinates
    exact = np.cosh(tau * (0.5 - r)) / (2 * tau * math.sinh(tau / 2))
    computed = GaussianField(alpha=1.0, tau=tau, modes=1000).covariance(grid, (0,))
    np.testing.assert_allclose(computed, exact, atol=5.1e-5)


def test_neumann_amplitude_of_a_single_mode():
    """With one mode drawn alone, the sample is exactly sqrt(lambda) xi sqrt(2) cos(pi x)."""
    grid = Grid.box((9,), location="node")
    field = GaussianField(alpha=2.0, tau=3.0, boundary="neumann", modes=2, zero_mean=True)
    xi = np.random.default_rng(7).standard_normal(2)[1]
    exact = (math.pi**2 + 9) ** -1 * xi * math.sqrt(2) * np.cos(math.pi * grid.axes[0].coordinates)
    np.testing.assert_allclose(field.sample([7], grid)[0], exact, atol=1e-15)


@pytest.mark.parametrize("boundary", KINDS)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_one_function_at_every_resolution(boundary, rank):
    """Cell centers of n are every third center of 3n; modes < n/2, so that nothing would fold either."""
    n = 7
    grid = Grid.box((n,) * rank)
    field = GaussianField(alpha=2.0, tau=3.0, boundary=boundary, modes=3)
    coarse, fine = field.sample([3, 4], grid), field.sample([3, 4], grid.with_shape((3 * n,) * rank))
    index = (slice(None), *[slice(1, None, 3)] * rank)
    np.testing.assert_allclose(fine[index], coarse, atol=1e-12)
    assert np.ptp(coarse) > 1e-3


def test_nodes_and_cells_see_the_same_function():
    """The nodes i/6 of 7 contain the centers (i + 1/2)/3 of 3 cells: no shift by half a spacing."""
    field = GaussianField(boundary="neumann", modes=20)
    nodes = field.sample([1], Grid.box((7, 7), location="node"))
    cells = field.sample([1], Grid.box((3, 3)))
    np.testing.assert_allclose(nodes[:, 1::2, 1::2], cells, atol=1e-13)


@pytest.mark.parametrize("boundary", KINDS)
def test_more_modes_refine_the_same_sample(boundary):
    """Drawn in shells: the samples with K and 2K modes do not differ in the first K shells."""
    grid = Grid.box((64, 64))
    low = GaussianField(boundary=boundary, modes=8)
    high = GaussianField(boundary=boundary, modes=16)
    difference = (high.sample([5], grid) - low.sample([5], grid))[0]
    basis = low._basis(grid.axes[0]) / 64  # discretely orthogonal on these cells
    assert np.abs(difference).max() > 1e-5
    np.testing.assert_allclose(basis.T @ difference @ basis, 0.0, atol=1e-15)


@pytest.mark.parametrize("boundary", ["periodic", "neumann"])
def test_zero_mean_is_exact(boundary):
    """The midpoint rule integrates every mode below the grid's limit exactly."""
    field = GaussianField(boundary=boundary, modes=8, zero_mean=True)
    means = field.sample(range(20), Grid.box((16, 18))).mean(axis=(1, 2))
    np.testing.assert_allclose(means, 0.0, atol=1e-16)


def test_boundary_behavior():
    """Dirichlet: zero at the walls.  Neumann: zero slope.  Periodic: equal values and slopes at both ends."""
    h = 1e-5
    close = Grid((Axis("x", 0.0, 1.0, 100_001, "node"),))
    assert close.axes[0].spacing == pytest.approx(h)
    samples = {kind: GaussianField(boundary=kind, modes=4).sample([0], close)[0] for kind in KINDS}
    np.testing.assert_allclose(samples["dirichlet"][[0, -1]], 0.0, atol=1e-15)
    assert abs(samples["dirichlet"][1]) > 1e-8
    # cos(pi j h) - 1 <= (4 pi h)^2 / 2 = 8e-9, times an amplitude below 0.1 per mode
    neumann = samples["neumann"]
    assert max(abs(neumann[1] - neumann[0]), abs(neumann[-1] - neumann[-2])) < 1e-8
    periodic = samples["periodic"]
    assert periodic[0] == pytest.approx(periodic[-1], abs=1e-14)
    assert periodic[1] - periodic[0] == pytest.approx(periodic[-1] - periodic[-2], abs=1e-8)


def test_isotropy_and_rank_three():
    """The law is invariant under an exchange of axes and, when periodic, under shifts."""
    field = GaussianField(alpha=2.0, tau=3.0, modes=5)
    covariance = field.covariance(Grid.box((4, 4, 4)), (0, 0, 0))
    for axes in ((1, 0, 2), (2, 1, 0)):
        np.testing.assert_allclose(covariance.transpose(axes), covariance, rtol=1e-12)
    shifted = field.covariance(Grid.box((4, 4, 4)), (1, 2, 3))
    np.testing.assert_allclose(np.roll(covariance, (1, 2, 3), axis=(0, 1, 2)), shifted, rtol=1e-12)
    # Equal distance, different direction: (3, 4)/64 against (5, 0)/64.  The torus and the square set of modes
    # break rotation by what is left of the kernel at distance 1/2 and in the corners: below 1e-3 for tau =
    # 12.
    smooth = GaussianField(alpha=3.0, tau=12.0, modes=32)
    kernel = smooth.covariance(Grid.box((64, 64), location="node", periodic=True), (0, 0))
    assert kernel[3, 4] == pytest.approx(kernel[5, 0], rel=1e-3)


def test_a_sample_does_not_know_its_batch():
    grid = Grid.box((12, 10))
    field = GaussianField(boundary="neumann", modes=9)
    whole = field.sample([4, 5, 6, 7], grid)
    assert (whole[2:3] == field.sample([6], grid)).all()
    assert not np.allclose(whole[0], whole[1])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"boundary": "robin"}, "boundary is one of"),
        ({"tau": 0.0}, "zero_mean=True"),
        ({"boundary": "dirichlet", "zero_mean": True}, "no constant eigenfunction"),
        ({"modes": 0}, "modes >= 1"),
    ],
)
def test_bad_settings_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        GaussianField(**settings)


def test_too_rough_for_the_rank():
    with pytest.raises(ConfigError, match="alpha must exceed rank/2 = 1.5"):
        GaussianField(alpha=1.5).sample([0], Grid.box((4, 4, 4)))
