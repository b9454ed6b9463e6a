"""Compiled steps of the vorticity equation: NumPy's to rounding, and NumPy where they cannot be had."""

import logging

import numpy as np
import pytest

from sciml.datasets.navier_stokes import NavierStokes
from sciml.datasets.numerics.compiled import library
from sciml.datasets.numerics.compiled_vorticity import is_compiled
from sciml.datasets.numerics.vorticity import VorticitySolver


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.setenv("SCIML_KERNELS", "reference")


@pytest.fixture
def compiler(monkeypatch):
    """A function that sets the C compiler; the one that was there comes back afterwards."""

    def use(command):
        monkeypatch.setenv("CC", command)
        library.cache_clear()

    yield use
    library.cache_clear()


def needs_compiler():
    if not is_compiled(64):
        pytest.skip("no C compiler")


def flows(n, count, scale=1.0):
    """Random waves up to the highest that n points hold, without symmetry."""
    modes = VorticitySolver(n, 0.0).modes
    return scale * modes.to_values(modes.to_modes(np.random.default_rng(n).standard_normal((count, n, n))))


@pytest.mark.parametrize("n", [4, 5, 6, 8, 12, 15, 16, 25, 27, 32, 48, 50, 64, 96])
def test_steps_are_those_of_numpy(n, monkeypatch):
    """Every kind of pass of the transforms, rows that fill blocks of eight and that do not, all waves.

    Over 8 steps with a Courant number of order 1 the frames change by order 1; rounding is 1e-15 per step.
    """
    needs_compiler()
    w = 1 + flows(n, 2, scale=3.0)  # the mean vorticity stays
    found = []
    for mode in ("", "reference"):
        monkeypatch.setenv("SCIML_KERNELS", mode)
        solver = VorticitySolver(n, 1e-3, np.random.default_rng(0).standard_normal((n, n)))
        assert (solver._compiled is None) == (mode == "reference")
        found.append(solver.run(w, [0.0, 0.1, 0.2], courant=1.0))
    np.testing.assert_allclose(*found, rtol=0, atol=1e-13 * np.abs(found[1]).max())
    assert n < 8 or np.abs(found[1][:, 2] - found[1][:, 0]).max() > 0.1


def test_compiled_steps_keep_a_blow_up_to_itself():
    needs_compiler()
    w = flows(16, 2)
    frames = VorticitySolver(16, 0.0).run(np.stack([1e5 * w[0], w[1]]), [0.0, 1.0], step=0.02)
    assert np.isnan(frames[0, 1]).all() and np.isfinite(frames[1]).all()


@pytest.mark.parametrize("n", [48, 63, 64])
def test_without_compiler_a_sample_does_not_know_its_batch(n, plain):
    flow = NavierStokes(resolution=n, viscosity=1e-4, final_time=1.0, frames=2)
    assert not is_compiled(n) and flow.about.solver.endswith("NumPy")
    (whole,) = flow.sample(range(7))
    for i in (0, 3, 6):
        np.testing.assert_array_equal(flow.sample([i])[0][0], whole[i])


@pytest.mark.parametrize("command", ["no-such-compiler", "false", "true"])
def test_no_compiler_is_one_line_in_the_log(command, compiler, caplog):
    """Absent, failing, or without a result."""
    compiler(command)
    with caplog.at_level(logging.INFO):
        frames = [VorticitySolver(16, 0.01).run(flows(16, 1), [0.0, 0.1], step=0.1) for _ in range(2)]
    np.testing.assert_array_equal(*frames)
    assert np.isfinite(frames[0]).all()
    (record,) = caplog.records
    assert f"since {command} failed" in record.getMessage()


def test_large_prime_factors_are_left_to_numpy():
    assert not any(is_compiled(n) for n in (7, 22, 63, 97))
