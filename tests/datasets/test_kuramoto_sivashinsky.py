"""Kuramoto and Sivashinsky: growth of waves, scaling, the attractor, a table, the problem of networks."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import scipy.io

from sciml.datasets.kuramoto_sivashinsky import KuramotoSivashinsky, solve, system
from sciml.datasets.numerics.pseudo_spectral import ETDRK4, Modes
from sciml.datasets.numerics.semilinear import AdditiveRungeKutta, run
from sciml.errors import ConfigError
from sciml.grid import Grid


def interval(n, lower, upper):
    return Grid.box((n,), lower=lower, upper=upper, location="node", periodic=True)


@pytest.mark.parametrize("wave", [1, 2, 3, 4])
def test_waves_grow_at_their_rate(wave):
    """beta k^2 - gamma k^4, exactly, while they are small."""
    alpha, beta, gamma = 2.0, 1.5, 0.7
    k = wave / 2
    found = solve(
        lambda x: 1e-9 * np.cos(k * x),
        interval(32, 0.0, 4 * np.pi),
        coefficients=(alpha, beta, gamma),
        times=[0, 2],
    )["u"].values
    rate = beta * k**2 - gamma * k**4
    np.testing.assert_allclose(found[1], np.exp(2 * rate) * found[0], rtol=1e-6, atol=1e-18)


def test_scaling_to_the_usual_form():
    """x = s y, t = r tau, u = v U with s^2 = gamma / beta, r = s^2 / beta, v = s / (r alpha)."""
    alpha, beta, gamma = 3.0, 0.5, 0.01
    s = np.sqrt(gamma / beta)
    r = s**2 / beta
    v = s / (r * alpha)
    grid = interval(64, 0.0, 22.0)
    start = lambda y: np.cos(2 * np.pi * y / 22) + np.sin(4 * np.pi * y / 22)  # noqa: E731
    usual = solve(start, grid, times=[0.0, 5.0])["u"].values
    scaled = solve(
        lambda x: v * start(x / s),
        interval(64, 0.0, 22.0 * s),
        coefficients=(alpha, beta, gamma),
        times=[0.0, 5.0 * r],
    )["u"].values
    np.testing.assert_allclose(scaled / v, usual, atol=1e-8)


def test_mean_is_conserved():
    grid = interval(64, 0.0, 8 * np.pi)
    found = solve(lambda x: 0.4 + np.sin(x / 4), grid, times=[0, 10, 20], step=0.05, refinement=1)["u"].values
    np.testing.assert_allclose(found.mean(axis=1), 0.4, atol=1e-13)


def test_both_schemes_agree_in_chaos():
    """10 units of time, two methods without a formula in common."""
    grid = interval(64, 0.0, 22.0)
    start = np.cos(2 * np.pi * grid.coordinates() / 22)[None] + 0.3 * np.sin(
        6 * np.pi * grid.coordinates() / 22
    )
    equation = partial(system, Modes(grid), 1.0, 1.0, 1.0)
    one, other = (
        run(equation, start, [0.0, 10.0], step=h, scheme=scheme)[0, 1]
        for scheme, h in ((ETDRK4, 0.02), (AdditiveRungeKutta, 0.02))
    )
    assert np.abs(one - other).max() < 1e-6 and np.abs(one).max() > 1


@pytest.mark.slow
def test_statistics_of_the_attractor():
    """Energy balance on the attractor, averaged over time: beta <u_x^2> = gamma <u_xx^2>.

    Of eight samples over 40 units, each side is 0.7; what is left, the change of <u^2>/2 over the time, is
    below 2 percent.  The standard deviation for length 22 is 1.2 to 1.4.
    """
    problem = KuramotoSivashinsky(resolution=32, discard=100.0, final_time=40.0, frames=81)
    (u,) = problem.sample(range(8))
    k = 2j * np.pi / 22.0 * np.arange(17)
    waves = np.fft.rfft(u, axis=2)
    first, second = (np.fft.irfft(k**m * waves, n=32, axis=2) for m in (1, 2))
    gained, lost = (first**2).mean(), (second**2).mean()
    assert gained == pytest.approx(lost, rel=0.03)
    assert 1.1 < u.std() < 1.5
    np.testing.assert_allclose(u.mean(axis=2), 0.0, atol=1e-12)


def test_table_of_pysindy(test_data):
    """`kuramoto_sivishinky.mat`: length 32 pi, 1024 points, frames 0.4 apart.

    Started anew from any of its frames, the table is off by 5e-7 after two units: its own steps.  Along
    the way errors grow as exp(0.09 t): 7e-7 at t = 50 from the first frame, which is smooth.
    """
    table = scipy.io.loadmat(test_data / "pysindy" / "kuramoto_sivishinky.mat")
    u, times, h = table["uu"].T, table["tt"].ravel(), table["x"].ravel()[0]
    grid = interval(1024, h, h + 32 * np.pi)
    found = solve(u[0], grid, times=times[:126:25], step=0.025, refinement=1)["u"].values
    error = np.abs(found - u[:126:25]).max(axis=1)
    assert error[0] < 1e-14 and error[2] < 1e-6 and error[5] < 2e-5, error


@pytest.mark.slow
def test_whole_table_of_pysindy(test_data):
    """To t = 100 with 1e-9: 1e-4 where an error of 5e-7 in the first units has grown by exp(0.06 * 100)."""
    table = scipy.io.loadmat(test_data / "pysindy" / "kuramoto_sivishinky.mat")
    u, times, h = table["uu"].T, table["tt"].ravel(), table["x"].ravel()[0]
    found = solve(u[0], interval(1024, h, h + 32 * np.pi), times=times, step=0.003125, refinement=1)[
        "u"
    ].values
    error = np.abs(found - u).max(axis=1)
    assert error[125] < 1e-6 and error.max() < 1e-3


@pytest.mark.slow
def test_chaotic_problem_of_networks():
    """alpha = 100/16, beta = 100/16^2, gamma = 100/16^4 on [0, 2 pi), cos x (1 + sin x), to t = 0.5.

    The automatic refinement settles; half its step and twice its points confirm its estimate.  To t = 1, 100
    units of the usual equation, errors grow by another 50, and rounding to 2e-9.
    """
    coefficients = (100 / 16, 100 / 16**2, 100 / 16**4)
    start = lambda x: np.cos(x) * (1 + np.sin(x))  # noqa: E731
    times = np.linspace(0.0, 0.5, 6)
    grid = interval(512, 0.0, 2 * np.pi)
    found = solve(start, grid, coefficients=coefficients, times=times, tolerance=1e-8)
    step, factor = found.attrs["time_step"], found.attrs["refinement"]
    finer = solve(start, grid, coefficients=coefficients, times=times, step=step / 2, refinement=2 * factor)
    change = np.linalg.norm(found["u"] - finer["u"], axis=1).max() / np.linalg.norm(finer["u"], axis=1).max()
    assert change < 2 * found.attrs["relative_error"] < 2e-8


def test_generator():
    problem = KuramotoSivashinsky(resolution=48, frames=5)
    (u,) = problem.sample(range(3))
    assert u.shape == (3, 5, 48)
    (fine,) = KuramotoSivashinsky(resolution=144, frames=5, courant=0.2).sample(range(3))
    error = np.linalg.norm(fine[:, :, ::3] - u, axis=(1, 2)) / np.linalg.norm(u, axis=(1, 2))
    assert (error < 2 * problem.estimate_error(range(3), [u])).all()


def test_what_is_refused():
    for bad in ({"resolution": 4}, {"discard": -1.0}, {"beta": 0.0}, {"alpha": 0.0}, {"courant": 0.0}):
        with pytest.raises(ConfigError, match="KuramotoSivashinsky: "):
            KuramotoSivashinsky(**bad)
    with pytest.raises(ConfigError, match="gamma > 0, got alpha=1.0, beta=1.0, gamma=-1.0"):
        solve(0.0, interval(16, 0, 1), coefficients=(1.0, 1.0, -1.0))
    with pytest.raises(ConfigError, match="one axis"):
        solve(0.0, Grid.box((16, 16), location="node", periodic=True))
