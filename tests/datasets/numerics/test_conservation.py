"""The compiled flux is that of NumPy to the bit, and NumPy where there is no compiler."""

import numpy as np
import pytest

from sciml.datasets.forced_burgers import ForcedBurgers
from sciml.datasets.numerics.compiled import compiled
from sciml.datasets.numerics.conservation import advection_change


@pytest.mark.parametrize("cells", [3, 8, 9, 50, 401])  # with and without a rest of every vector's length
def test_compiled_bits_are_those_of_numpy(cells, monkeypatch):
    """Smooth rows, jumps and a constant; with one factor, and with one for each row."""
    if compiled("weno") is None:
        pytest.skip("no C compiler")
    rng = np.random.default_rng(cells)
    noise = rng.standard_normal(cells)
    smooth = np.sin(2 * np.pi * np.arange(cells) / cells)
    u = np.stack([noise, np.sign(noise), np.ones(cells), smooth, -smooth, 2 + smooth])[:, None]
    for alpha in (1.5, rng.uniform(0, 6, (len(u), 1, 1))):
        found = advection_change(u, alpha, 0.08)
        monkeypatch.setenv("SCIML_KERNELS", "reference")
        np.testing.assert_array_equal(found, advection_change(u, alpha, 0.08))
        monkeypatch.delenv("SCIML_KERNELS")
        assert np.abs(found).max() > 1 or cells == 3


def test_compiled_flux_passes_on_what_is_not_finite():
    u = np.ones((2, 12))
    u[1, 5] = np.nan
    found = advection_change(u, 1.0, 0.1)
    assert np.isfinite(found[0]).all() and np.isnan(found[1]).any()


def test_data_do_not_depend_on_the_compiler(monkeypatch):
    flow = ForcedBurgers(resolution=32, experiment="E3", frames=4, final_time=0.2)
    found = flow.sample([0, 1])
    monkeypatch.setenv("SCIML_KERNELS", "reference")
    for one, other in zip(found, flow.sample([0, 1]), strict=True):
        np.testing.assert_array_equal(one, other)
