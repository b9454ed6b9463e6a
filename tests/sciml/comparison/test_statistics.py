"""Intervals over seeds and samples, ratios, sign flips: coverage, level, and cases with a known answer."""

import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import t as student

from sciml.comparison.statistics import holm, mean_error, power_law, ratio_of_means, significance
from sciml.errors import ShapeError
from sciml.intervals import mean_interval

SAMPLES = 60


def drawn(random, seeds, a, b, c, hardness=None):
    """exp(a_s + b_i + c_si)."""
    hardness = b * random.standard_normal(SAMPLES) if hardness is None else hardness
    return np.exp(
        hardness + a * random.standard_normal((seeds, 1)) + c * random.standard_normal((seeds, SAMPLES))
    )


LONG = pytest.param(1000, marks=pytest.mark.slow)


@pytest.mark.parametrize("sets", [80, LONG])
@pytest.mark.parametrize(("a", "b", "c"), [(0.05, 0.5, 0.2), (0.2, 0.1, 0.1)])
def test_intervals_over_three_seeds_cover(a, b, c, sets):
    """95 to 98 % in the long run: not below that by more than 3 standard errors of the share.

    In the first case seeds contribute 0.03 to the relative error of the mean and samples 0.065, in the second
    one 0.12 and 0.013: neither may be left out.
    """
    random, truth = np.random.default_rng(4), math.exp((a * a + b * b + c * c) / 2)
    hits = ratios = 0
    for _ in range(sets):
        hardness = b * random.standard_normal(SAMPLES)
        first, second = (drawn(random, 3, a, b, c, hardness) for _ in range(2))
        found, ratio = mean_error(first), ratio_of_means(first, second)
        hits += found.low <= truth <= found.high
        ratios += ratio.low <= 1 <= ratio.high
    assert min(hits, ratios) / sets > 0.95 - 3 * math.sqrt(0.95 * 0.05 / sets)


def test_an_interval_over_samples_alone_misses_the_scatter_of_seeds():
    random, truth, hits = np.random.default_rng(0), math.exp((0.3**2 + 0.2**2) / 2), 0
    for _ in range(50):
        low, high = mean_interval(drawn(random, 3, 0.3, 0.2, 0.0).mean(axis=0))
        hits += low <= truth <= high
    assert hits < 30


def test_errors_without_scatter_of_samples_have_students_interval():
    rows = np.array([1.0, 1.1, 1.3])
    found = mean_error(np.repeat(rows[:, None], 20, axis=1))
    half = student.ppf(0.975, 2) * rows.std(ddof=1) / np.sqrt(3) / rows.mean()
    assert found.over == "seeds and samples"
    # 1999 quantiles of Student's distribution: the bound is that of 0.97524 instead of 0.975, 0.5 % further.
    assert math.log(found.high / found.value) == pytest.approx(half, rel=0.01)
    assert math.log(found.low / found.value) == pytest.approx(-half, rel=0.01)
    single = mean_error(rows[:, None])
    assert single.over == "seeds" and single.high == pytest.approx(found.high, rel=1e-12)


def test_with_one_seed_it_is_the_interval_of_the_samples():
    """On the scale of the logarithm, so up to terms of second order in its width (0.15)."""
    x = np.random.default_rng(1).lognormal(sigma=0.5, size=200)
    found, (low, high) = mean_error(x[None]), mean_interval(x)
    assert found.over == "samples" and found.value == pytest.approx(x.mean(), rel=1e-15)
    np.testing.assert_allclose((found.low, found.high), (low, high), rtol=0.15**2 / 4)


def test_the_ratio_is_sharper_than_the_means_because_samples_are_paired():
    random = np.random.default_rng(2)
    hardness = random.standard_normal(200)
    a, b = (np.exp(hardness + 0.05 * random.standard_normal((1, 200))) for _ in range(2))
    ratio, mean = ratio_of_means(1.1 * a, b), mean_error(a)
    # 4 standard errors: 0.05 sqrt(2) and 1.31 times the weights of samples, 1.65 and 1, over sqrt(200).
    assert ratio.low < 1.1 < ratio.high and math.log(ratio.high / ratio.low) < 0.05
    assert math.log(mean.high / mean.low) > 0.3
    back = ratio_of_means(b, 1.1 * a)
    np.testing.assert_allclose((1 / back.high, 1 / back.low), (ratio.low, ratio.high), rtol=2e-3)


def test_statistics_scale_and_repeat():
    errors = drawn(np.random.default_rng(3), 3, 0.1, 0.5, 0.2)
    found, scaled = mean_error(errors), mean_error(1e-6 * errors)
    np.testing.assert_allclose((scaled.low, scaled.high), (1e-6 * found.low, 1e-6 * found.high), rtol=1e-12)
    assert mean_error(errors) == found and mean_error(errors, seed=1) != found
    assert mean_error(errors, 0.5).high < found.high


def test_what_has_no_interval():
    for errors, over in (([[2.0]], "nothing"), ([[1.0, math.nan]], "samples"), ([[0.0, 0.0]], "samples")):
        found = mean_error(errors)
        assert found.over == over and math.isnan(found.low) and math.isnan(found.high)
    assert mean_error(np.full((3, 20), 0.1)).high == pytest.approx(0.1, rel=1e-12)


def test_sign_flips_are_all_of_them_in_expectation():
    """Seven samples have 128 sign patterns; 9999 random ones give their share within 4 standard errors."""
    a = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    d = np.array([0.3, -0.1, 0.5, 0.2, 0.4, -0.2, 0.6])
    flips = np.array(list(product([-1, 1], repeat=7))) @ d
    exact = (np.abs(flips) >= abs(d.sum()) - 1e-12).mean()
    p = significance([[a + d], [a]])
    assert p[0, 1] == p[1, 0] == pytest.approx(exact, abs=4 * math.sqrt(exact / 9999))
    assert p[0, 0] == p[1, 1] == 1


@pytest.mark.parametrize("tables", [100, LONG])
def test_false_alarms_are_as_rare_as_stated(tables, monkeypatch):
    """Three entries of equal mean error: 2 to 4 % of tables have any p < 0.05, in the long run."""
    monkeypatch.setattr("sciml.comparison.statistics.FLIPS", 999)
    random, alarms = np.random.default_rng(0), 0
    for _ in range(tables):
        hardness = 0.5 * random.standard_normal(SAMPLES)
        entries = [drawn(random, 3, 0.03, 0.5, 0.2, hardness) for _ in range(3)]
        alarms += significance(entries).min() < 0.05
    assert alarms / tables < 0.05 + 3 * math.sqrt(0.05 * 0.95 / tables)


def test_differences_are_found_and_seeds_forbid_to_see_them():
    random = np.random.default_rng(0)
    hardness = 0.5 * random.standard_normal(SAMPLES)
    a, b = (drawn(random, 3, 0.01, 0.5, 0.1, hardness) for _ in range(2))
    assert significance([a, 1.3 * b])[0, 1] < 0.01
    noisy = 1.3 * b * np.array([[0.6], [1.0], [1.5]])
    assert significance([a, noisy])[0, 1] > 0.1
    assert significance([a[:1], noisy[:1]])[0, 1] < 0.01  # of these weights it is certain


def test_what_cannot_be_tested():
    p = significance([[[1.0]], [[2.0]], [[1.0]]])
    assert np.isnan(p[~np.eye(3, dtype=bool)]).all()
    p = significance([[[1.0, math.nan]], [[2.0, 3.0]]])
    assert math.isnan(p[0, 1])
    seeds = significance([[[1.0], [1.1], [1.05]], [[9.0], [9.5], [9.2]]])
    assert seeds[0, 1] < 0.01


def test_holm():
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, math.nan]), [0.06, 0.03, 0.06, math.nan])
    assert holm([0.6, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


def test_power_law_is_exact_for_powers():
    sizes = [100, 300, 1000]
    errors = np.array([2.0 * np.array(sizes) ** p for p in (-0.4, -0.5, -0.6)])
    found = power_law(sizes, errors)
    assert found.value == pytest.approx(-0.5, abs=1e-12) and found.over == "seeds"
    half = student.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    assert (found.low, found.high) == (
        pytest.approx(-0.5 - half, rel=0.01),
        pytest.approx(-0.5 + half, rel=0.02),
    )
    assert math.isnan(power_law(sizes, errors[:1]).low)


def test_refusals():
    with pytest.raises(ShapeError, match=r"\(seed, sample\), got shape \(3,\)"):
        mean_error([1.0, 2.0, 3.0])
    with pytest.raises(ShapeError, match=r"same samples, got \[2, 3\]"):
        significance([[[1.0, 2.0]], [[1.0, 2.0, 3.0]]])
    with pytest.raises(ShapeError, match="at two sizes or more"):
        power_law([100, 100], [[1.0, 2.0]])
