"""Waves in open domains: order, free space, silent layers, reciprocity, and the generator."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import hankel1

from sciml.datasets.helmholtz import Helmholtz, HelmholtzBaseline, solve
from sciml.datasets.numerics.open_waves import HelmholtzSolver, waves_are_resolved
from sciml.description import build, describe
from sciml.errors import ConfigError, DataError, ShapeError
from sciml.grid import Grid


def slopes(errors, sizes):
    return np.diff(np.log(errors), axis=0) / -np.diff(np.log(sizes))[:, None]


@pytest.mark.parametrize(("rank", "sizes"), [(1, (64, 96, 128, 192, 256)), (2, (44, 48, 52, 56, 60))])
def test_order_four_for_a_manufactured_wave_packet(rank, sizes):
    """u = exp(-r^2/2w^2 + ikx) in a variable medium: slopes within 0.1 of 4 in L2 and maximum norm."""
    k, w = 12.0, 0.07  # 1e-11 is left at the walls
    errors = []
    for n in sizes:
        grid = Grid.box((n + 1,) * rank, location="node")
        x = grid.coordinates()
        squares = ((x - 0.5) ** 2).sum(axis=0)
        u = np.exp(-squares / (2 * w**2) + 1j * k * x[0])
        c = 1 + 0.2 * np.sin(3 * x.sum(axis=0))
        gradient = (0.5 - x) / w**2
        laplacian = ((gradient**2).sum(axis=0) - rank / w**2 + 2j * k * gradient[0] - k**2) * u
        found = HelmholtzSolver(grid, k).solve(c[None], -laplacian - (k / c) ** 2 * u)[0] - u
        errors.append((math.sqrt((np.abs(found) ** 2).mean()), np.abs(found).max()))
    assert np.abs(slopes(errors, sizes) - 4).max() < 0.1, slopes(errors, sizes)


def test_order_four_against_the_green_function_of_free_space():
    """Outside of a Gaussian source, u = i/4 H0(kr) times the Fourier transform of the source at k.

    6 widths away 1.5e-8 of the source are left.
    """
    k = 16.0
    errors, sizes = [], (32, 36, 40, 48, 64)
    for n in sizes:
        grid = Grid.box((n + 1, n + 1), location="node")
        x, y = grid.coordinates()
        r = np.hypot(x - 0.5, y - 0.5)
        u = HelmholtzSolver(grid, k).solve(np.ones((1, *grid.shape)), k**2 * np.exp(-((k * r) ** 2) / 2))[0]
        outside = k * r >= 6
        exact = 0.25j * hankel1(0, k * r[outside]) * 2 * math.pi * math.exp(-0.5)
        difference = np.abs(u[outside] - exact)
        errors.append((np.linalg.norm(difference) / np.linalg.norm(exact), difference.max()))
    assert np.abs(slopes(errors, sizes)[:, 0] - 4).max() < 0.1, slopes(errors, sizes)
    assert errors[-1][0] < 2e-4


def test_layers_are_silent():
    """Between source and wall the wave goes one way: |u| is constant, up to what the layer reflects."""
    grid = Grid.box((513,), location="node")
    x = grid.coordinates()[0]
    f = np.exp(-(((x - 0.25) * 100) ** 2) / 2)
    u = HelmholtzSolver(grid, 20.0).solve(np.ones((1, 513)), f)[0]
    right = np.abs(u[x > 0.35])
    # 1e-8 by design, as much again by the discrete layer of 128 cells
    assert right.max() / right.min() - 1 < 1e-7


def test_layers_are_silent_for_slanted_waves():
    """A source near a corner of a square: the field is that of a larger domain."""
    small, large = (Grid.box((n + 1, n + 1), location="node", upper=(n / 32, n / 32)) for n in (32, 48))
    x, y = large.coordinates()
    f = np.exp(-800 * ((x - 0.2) ** 2 + (y - 0.2) ** 2))
    near = HelmholtzSolver(small, 12.0).solve(np.ones((1, 33, 33)), f[:33, :33])[0]
    far = HelmholtzSolver(large, 12.0).solve(np.ones((1, 49, 49)), f)[0][:33, :33]
    # the two differ by the discretization of their layers, of 8 and 12 cells
    assert np.abs(near - far).max() < 1e-4 * np.abs(far).max()


def medium(n):
    """A random speed on (n + 1)^2 nodes, and its generator."""
    problem = Helmholtz(resolution=n)
    return problem.sample([0])[0], problem.grid


def test_source_and_receiver_can_be_exchanged():
    c, grid = medium(20)
    solver = HelmholtzSolver(grid, 8.0)
    one, two = (5, 9), (14, 3)
    f, g = np.zeros(grid.shape), np.zeros(grid.shape)
    f[one], g[two] = 1.0, 1.0
    forth, back = solver.solve(c, f)[0][two], solver.solve(c, g)[0][one]
    assert abs(forth - back) < 1e-12 * abs(forth)


def test_linear_in_complex_sources_and_the_waves_carry_energy_away():
    c, grid = medium(20)
    solver = HelmholtzSolver(grid, 8.0)
    rng = np.random.default_rng(0)
    window = np.prod(np.sin(math.pi * grid.coordinates()), axis=0) ** 2
    f, g = rng.standard_normal((2, *grid.shape)) * window
    whole = solver.solve(c, f + 2j * g)
    parts = solver.solve(c, f) + 2j * solver.solve(c, g)
    np.testing.assert_allclose(whole, parts, atol=1e-12 * np.abs(whole).max())
    assert np.imag(np.vdot(f, solver.solve(c, f))) > 0  # the power that the source emits


@pytest.mark.parametrize("n", [30, 48])
def test_same_bits_alone_and_among_others(n):
    problem = Helmholtz(resolution=n)
    together, alone = problem.sample([3, 4]), problem.sample([4])
    for many, one in zip(together, alone, strict=True):
        assert (many[1:] == one).all()


def test_the_medium_is_the_same_on_every_grid():
    coarse, fine = Helmholtz(resolution=16).sample([7])[0], Helmholtz(resolution=32).sample([7])[0]
    np.testing.assert_allclose(fine[:, ::2, ::2], coarse, rtol=1e-12)
    assert (np.abs(coarse - 1) < 0.2).all() and coarse.std() > 0.05


def test_the_estimate_is_the_distance_to_a_much_finer_grid():
    problem = Helmholtz(resolution=16)
    arrays = problem.sample([1])
    estimate = problem.estimate_error([1], arrays)[0]
    fine = Helmholtz(resolution=64).sample([1])[1][..., ::4, ::4]
    distance = np.linalg.norm(arrays[1] - fine) / np.linalg.norm(fine)
    assert 0.7 < distance / estimate < 1.4


def test_baselines():
    problem = Helmholtz(resolution=32)
    c, u = problem.sample([0, 1])
    errors = []
    for baseline in problem.baselines():
        found = baseline.predict(torch.tensor(c)[:, None], problem.grid)
        assert found.shape == (2, 2, 33, 33)
        errors.append(np.linalg.norm(found.numpy() - u) / np.linalg.norm(u))
    assert errors[0] == 0 and errors[1] < 0.02 and errors[1] < errors[2]
    assert build(describe(problem.baselines()[1])) == problem.baselines()[1]
    between = problem.coarser(24).predict(torch.tensor(c)[:, None], problem.grid)
    assert np.linalg.norm(between.numpy() - u) / np.linalg.norm(u) < errors[1]
    with pytest.raises(ShapeError, match="must have shape"):
        HelmholtzBaseline(problem, 16).predict(torch.ones(1, 2, 33, 33), problem.grid)


def test_one_instance():
    grid = Grid.box((41, 31), location="node", upper=(2.0, 1.5))
    found = solve(
        lambda x, y: 1 + 0.1 * x,
        grid,
        wavenumber=8.0,
        source=lambda x, y: np.exp(-100 * (x - 1) ** 2) * (y > 2),
    )
    assert dict(found.sizes) == {"x": 41, "y": 31} and (found["u"] == 0).all()
    assert found.attrs["wavenumber"] == 8.0


def test_refusals():
    with pytest.raises(ConfigError, match="points per shortest wave"):
        Helmholtz(resolution=16, wavenumber=12.0)
    # 10 points per wave do not suffice for 50 waves
    with pytest.raises(ConfigError, match="Use a spacing of at most 0.00"):
        waves_are_resolved("who", Grid.box((501,), location="node"), 2 * math.pi * 50, 1.0)
    waves_are_resolved("who", Grid.box((101,), location="node"), 2 * math.pi * 10, 1.0)
    with pytest.raises(ConfigError, match="from the walls"):
        Helmholtz(x=0.1)
    with pytest.raises(ConfigError, match="contrast < 1"):
        Helmholtz(contrast=1.0)
    with pytest.raises(ShapeError, match="bounded nodes"):
        HelmholtzSolver(Grid.box((8, 8)), 1.0)
    grid = Grid.box((17,), location="node")
    with pytest.raises(ShapeError, match="must have shape"):
        HelmholtzSolver(grid, 1.0).solve(np.ones(17), 1.0)
    with pytest.raises(DataError, match="residual"):
        HelmholtzSolver(grid, 1.0).solve(np.ones((1, 17)), np.nan)
    with pytest.raises(DataError, match="positive and finite"):
        solve(-1.0, grid, wavenumber=1.0, source=1.0)
    with pytest.raises(ConfigError, match="wave number must be positive"):
        solve(1.0, grid, wavenumber=0.0, source=1.0)
