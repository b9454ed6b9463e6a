"""Random starts: their laws, and the same function at every resolution."""

from __future__ import annotations

import numpy as np
import pytest

from sciml.datasets.numerics.series import box
from sciml.datasets.numerics.starts import SineSum, smooth_field, subseeds
from sciml.errors import ConfigError


@pytest.mark.parametrize("rank", [1, 2])
def test_sums_of_sines_are_periodic(rank):
    """Also where they are rectified or cut by a window, but for its 2e-9 at the ends."""
    s = np.random.default_rng(0).uniform(size=(rank, 50))
    for seed in range(20):
        start = SineSum(rectified=0.5, windowed=0.5).draw(seed, rank)
        np.testing.assert_allclose(start(*(s + 1)), start(*s), atol=1e-12)
        ends = np.zeros((rank, 1)), np.full((rank, 1), 1 - 1e-12)
        np.testing.assert_allclose(start(*ends[0]), start(*ends[1]), atol=1e-8)


def test_only_the_drawn_waves_are_in_the_sum():
    """Two of the waves 1 .. 4 with amplitudes below 1: no constant, nothing beyond."""
    s = np.arange(32) / 32
    for seed in range(50):
        waves = np.abs(np.fft.rfft(SineSum(rectified=0, windowed=0).draw(seed)(s))) / 16
        found = np.flatnonzero(waves > 1e-12)
        assert set(found) <= {1, 2, 3, 4} and 1 <= len(found) <= 2
        assert waves.max() <= 2


@pytest.mark.slow
def test_law_of_the_sums():
    """Amplitudes U(0, 1) of 2 waves: variance 2 (1/3) / 2 = 1/3; 10 percent are of one sign; signs are even.

    2000 samples: standard errors 1.5 percent of the variance, 0.5 percent of a share; bounds are 4 of them.
    """
    s = np.arange(16) / 16
    plain = np.array([SineSum(rectified=0, windowed=0).draw(seed)(s) for seed in range(2000)])
    assert plain.var() == pytest.approx(1 / 3, rel=0.06)
    assert abs(plain.mean()) < 1e-15
    mixed = np.array([SineSum(windowed=0).draw(seed)(s) for seed in range(2000)])
    positive, negative = (mixed > -1e-12).all(axis=1).mean(), (mixed < 1e-12).all(axis=1).mean()
    assert positive == pytest.approx(0.05, abs=0.027) and negative == pytest.approx(0.05, abs=0.027)
    cut = np.array([np.abs(SineSum(rectified=0).draw(seed)(s[[0]]))[0] < 1e-8 for seed in range(2000)])
    assert cut.mean() == pytest.approx(0.1, abs=0.027)


def test_choices_do_not_depend_on_each_other():
    """Amplitude and wave number of one wave: no correlation (standard error 0.022 for 2000)."""
    s = np.arange(16) / 16
    law = SineSum(terms=1, rectified=0, windowed=0)
    waves = np.abs(np.fft.rfft([law.draw(seed)(s) for seed in range(2000)])) / 8
    number, size = waves.argmax(axis=1), waves.max(axis=1)
    assert abs(np.corrcoef(number, size)[0, 1]) < 4 * 0.022
    assert np.bincount(number, minlength=5)[1:].min() > 420


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_deviation_of_smooth_fields(rank):
    """1 on the whole space; the images of the torus add a few percent."""
    variance = smooth_field(rank).variance(box(4, rank, "periodic"))
    assert 1.0 < np.sqrt(variance.max()) < 1.07
    np.testing.assert_allclose(variance, variance.flat[0], rtol=1e-12)


def test_further_seeds():
    found = subseeds([1, 2, 3], 1)
    assert len({*found, *subseeds([1, 2, 3], 2), 1, 2, 3}) == 9
    assert subseeds([2], 1) == found[1:2]


def test_refusals():
    with pytest.raises(ConfigError, match="waves >= 1"):
        SineSum(waves=0)
    with pytest.raises(ConfigError, match="probabilities"):
        SineSum(rectified=1.5)
