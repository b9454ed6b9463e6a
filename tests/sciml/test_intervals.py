"""Intervals of means: coverage on known distributions, formulas, and what cannot be resampled."""

import numpy as np
import pytest
from scipy.stats import t as student

from sciml.errors import ConfigError, ShapeError
from sciml.intervals import mean_interval, resampled_means, student_draws


@pytest.mark.parametrize(("sd", "sets", "lowest"), [(0.5, 1600, 0.93), (1.0, 400, 0.89)])
def test_intervals_of_skewed_values_cover_as_stated(sd, sets, lowest):
    """200 lognormal values: 94.7 and 93.8 % in the long run; bounds are those and 3 standard errors.

    sqrt(0.95 0.05/1600) = 0.55 % and sqrt(0.94 0.06/400) = 1.2 %.
    """
    values = np.exp(sd * np.random.default_rng(1).standard_normal((200, sets)))
    low, high = mean_interval(values, resamples=599)
    truth = np.exp(sd**2 / 2)
    covered = ((low <= truth) & (truth <= high)).mean()
    assert lowest <= covered <= 0.97
    # A skewed distribution misses on both sides: percentile intervals are nearly all too low.
    assert (high < truth).mean() < 0.04 + (sd - 0.5) * 0.04


def test_the_studentized_bootstrap_by_hand():
    x = np.random.default_rng(2).exponential(size=12)
    chosen = np.random.default_rng(5).integers(12, size=(399, 12))
    drawn = x[chosen]
    t = (drawn.mean(1) - x.mean()) / (drawn.std(1, ddof=1) / np.sqrt(12))
    t, error = np.sort(t), x.std(ddof=1) / np.sqrt(12)
    low, high = mean_interval(x, 0.9, resamples=399, seed=5)
    # (399 + 1) 0.05 = 20: the 20th value from either end.
    np.testing.assert_allclose((low, high), (x.mean() - error * t[379], x.mean() - error * t[19]), rtol=1e-10)


def test_few_or_equal_values_get_students_interval():
    x = np.array([1.0, 2.0, 4.0])
    half = student.ppf(0.975, 2) * x.std(ddof=1) / np.sqrt(3)
    # The draws are 1999 quantiles: the bound is that of 0.97524 instead of 0.975.
    np.testing.assert_allclose(mean_interval(x), (x.mean() - half, x.mean() + half), rtol=0.02)
    rare = np.r_[np.ones(198), 2.0, 3.0]  # a seventh of the resamples has neither
    low, high = mean_interval(rare)
    np.testing.assert_allclose(rare.mean() - low, high - rare.mean(), rtol=1e-3)
    assert mean_interval(np.full(30, 0.1)) == (pytest.approx(0.1, rel=1e-14), pytest.approx(0.1, rel=1e-14))


def test_one_value_and_values_that_are_not_finite_have_no_interval():
    assert np.isnan(mean_interval([3.0])).all()
    columns = np.random.default_rng(0).random((20, 3))
    low, high = mean_interval(columns)
    columns[4, 1] = np.inf
    got = mean_interval(columns)
    assert np.isnan([got[0][1], got[1][1]]).all()
    np.testing.assert_array_equal(np.stack(got)[:, [0, 2]], np.stack([low, high])[:, [0, 2]])


def test_an_interval_moves_and_scales_with_the_values():
    x = np.random.default_rng(3).lognormal(size=(40, 2, 3))
    low, high = mean_interval(x)
    assert low.shape == (2, 3)
    np.testing.assert_allclose(np.stack(mean_interval(5 * x - 2)), 5 * np.stack([low, high]) - 2, rtol=1e-9)
    assert (np.stack(mean_interval(x, seed=1)) != np.stack([low, high])).all()
    narrow = mean_interval(x, 0.5)
    assert (low < narrow[0]).all() and (narrow[1] < high).all()


def test_resampling_in_blocks_gives_the_same_numbers(monkeypatch):
    x = np.random.default_rng(0).random((50, 1))
    (whole,) = resampled_means([x], 100, 7)
    monkeypatch.setattr("sciml.intervals._BLOCK", 700)
    (blocks,) = resampled_means([x], 100, 7)
    np.testing.assert_allclose(whole, blocks, rtol=1e-14)
    assert abs(whole.mean() - x.mean()) < 5 * x.std() / np.sqrt(50 * 100)


def test_student_draws_are_quantiles():
    np.testing.assert_allclose(
        student_draws(3.5, 4), student.ppf([0.125, 0.375, 0.625, 0.875], 3.5), rtol=1e-12
    )


def test_refusals():
    with pytest.raises(ShapeError, match="no values"):
        mean_interval([])
    with pytest.raises(ConfigError, match="between 0 and 1, got 95"):
        mean_interval([1.0, 2.0], 95)
