"""Averages on other cells: exact for parabolas, conservative, of the order of what is inside the cells."""

from __future__ import annotations

import numpy as np
import pytest

from sciml.datasets.numerics.cells import overlaps, redistributed


@pytest.mark.parametrize("count", [1, 3, 7, 8, 12, 32])
def test_parabolas_are_redistributed_exactly(count):
    """Averages of 1 + 2 x - 3 x^2 over 8 cells of [0, 1] along the first of two axes."""

    def averages(n):
        x = np.linspace(0, 1, n + 1)
        return n * np.diff(x + x**2 - x**3)

    x = np.linspace(0, 1, 9)
    faces = 1 + 2 * x - 3 * x**2
    given = [np.stack([values, -2 * values], axis=1) for values in (averages(8), faces[:-1], faces[1:])]
    found = redistributed(*given, count, axis=0)
    np.testing.assert_allclose(found, np.stack([averages(count), -2 * averages(count)], axis=1), atol=1e-14)


@pytest.mark.parametrize(("size", "count"), [(64, 48), (5, 7), (12, 4)])
def test_sums_are_kept(size, count):
    values = np.random.default_rng(0).normal(size=(3, size))
    found = redistributed(values, values - 0.1, values + 0.1, count, axis=1)
    np.testing.assert_allclose(found.mean(axis=1), values.mean(axis=1), atol=1e-15)
    constant = values @ overlaps(size, count) * (count / size)
    np.testing.assert_allclose(redistributed(values, values, values, count, axis=1), constant, atol=1e-14)
