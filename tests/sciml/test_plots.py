"""Plots: the data are in the figure, scales are shared where they must be, files are reproducible."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sciml import plots
from sciml.errors import ShapeError
from sciml.grid import Grid
from sciml.scores import Scores

GRID = Grid.box((6, 5), upper=(2.0, 1.0), units="m")


def panels() -> dict[str, np.ndarray]:
    x, y = GRID.coordinates()
    truth = x + 10 * y
    return {
        "input": 100 * truth,
        "truth": truth,
        "prediction": truth + 0.5,
        "error": np.full(GRID.shape, 0.5),
    }


def images(figure):
    return {ax.get_title(): ax.collections[0] for ax in figure.axes if ax.get_title() and ax.collections}


def test_truth_and_prediction_share_a_scale_that_error_and_input_do_not():
    drawn = images(plots.fields(panels(), GRID, separate=["input"], units="K"))
    assert list(drawn) == ["input", "truth", "prediction", "error"]
    low, high = drawn["truth"].get_clim()
    assert drawn["prediction"].get_clim() == (low, high)
    assert (low, high) == (panels()["truth"].min(), panels()["truth"].max() + 0.5)
    assert drawn["input"].get_clim()[1] == panels()["input"].max()
    assert drawn["error"].get_clim()[0] == 0.0


def test_first_axis_is_drawn_horizontally():
    figure = plots.fields({"u": panels()["truth"]}, GRID)
    ax = figure.axes[0]
    assert ax.get_xlabel() == "x [m]" and ax.get_ylabel() == "y [m]"
    np.testing.assert_allclose(ax.get_xlim(), (0.0, 2.0), atol=1e-12)
    np.testing.assert_array_equal(ax.collections[0].get_array(), panels()["truth"].T)


def test_signed_errors_are_symmetric_about_zero():
    error = np.linspace(-1.0, 3.0, 30).reshape(6, 5)
    assert images(plots.fields({"error": error}, GRID))["error"].get_clim() == (-3.0, 3.0)


def test_one_axis_gives_lines():
    grid = Grid.box((7,), location="node")
    u = np.arange(7.0)
    figure = plots.fields({"truth": u, "prediction": u + 1, "error": np.ones(7)}, grid, units="K")
    assert [len(ax.lines) for ax in figure.axes] == [2, 1]
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_xdata(), grid.axes[0].coordinates)


def test_constant_and_broken_fields_can_be_drawn():
    broken = np.zeros(GRID.shape)
    broken[0, 0] = np.nan
    assert plots.png(plots.fields({"zero": np.zeros(GRID.shape), "broken": broken}, GRID), dpi=20)
    assert plots.png(plots.fields({"nothing": np.full(GRID.shape, np.nan)}, GRID), dpi=20)


def test_panels_off_the_grid_are_refused():
    with pytest.raises(ShapeError, match=r"panel 'u' has shape \(5, 6\); expected \(6, 5\)"):
        plots.fields({"u": np.zeros((5, 6))}, GRID)
    with pytest.raises(ShapeError, match="one or two axes"):
        plots.fields({"u": np.zeros((2, 2, 2))}, Grid.box((2, 2, 2)))
    with pytest.raises(ShapeError, match="no panels"):
        plots.fields({}, GRID)


def rows(steps: int) -> list[dict]:
    made = [{"step": i, "loss": 1.0 / i} for i in range(1, steps + 1)]
    made[-1]["validation"] = {"relative_l2": 0.5, "max_error": 2.0}
    return made


def test_history_shows_loss_and_validation():
    ax = plots.history(rows(20)).axes[0]
    assert ax.get_yscale() == "log"
    assert [line.get_label() for line in ax.lines] == [
        "training loss", "validation relative_l2", "validation max_error"
    ]  # fmt: skip
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), 1.0 / np.arange(1, 21))


def test_long_histories_are_summarized_and_odd_ones_drawn():
    ax = plots.history(rows(5000)).axes[0]
    assert len(ax.lines[0].get_xdata()) == 400
    assert ax.lines[0].get_ydata()[-1] == pytest.approx(1 / 4994, rel=1e-3)  # median of the last 12 or 13
    assert plots.history([]).axes[0].get_yscale() == "linear"
    assert plots.history([{"step": 1, "loss": -1.0}]).axes[0].get_yscale() == "linear"


def test_errors_count_every_finite_sample():
    values = np.geomspace(1e-3, 1e-1, 50)
    ax = plots.errors(Scores(values)).axes[0]
    assert sum(patch.get_height() for patch in ax.patches) == 50
    assert [line.get_label() for line in ax.lines] == [
        f"mean {values.mean():.3g}",
        f"median {np.median(values):.3g}",
    ]
    assert ax.get_xscale() == "log"
    several = plots.errors({"a": Scores([0.0, 1.0]), "b": Scores([2.0, np.nan])}).axes[0]
    assert sum(patch.get_height() for patch in several.patches) == 3
    assert several.get_xscale() == "linear"
    assert plots.png(plots.errors(Scores([0.1])), dpi=20)


def test_error_against_time_joins_a_solver_and_marks_surrogates():
    solver = [{"name": "FV", "seconds": 10.0**-k, "error": 0.1**k, "note": f"n={k}"} for k in (2, 1, 3)]
    surrogate = {"name": "FNO", "kind": "surrogate", "seconds": 1e-3, "error": 1e-2}
    ax = plots.error_against_time([*solver, surrogate]).axes[0]
    assert ax.get_xscale() == ax.get_yscale() == "log"
    point, line = ax.lines
    assert list(line.get_xdata()) == sorted(line.get_xdata()) and line.get_linestyle() == "-"
    assert point.get_linestyle() == "None" and point.get_label() == "FNO"
    assert {text.get_text() for text in ax.texts} == {"n=1", "n=2", "n=3"}
    assert plots.png(plots.error_against_time([]), dpi=20)


def test_png_is_reproducible_and_dateless():
    first, second = (plots.png(plots.fields(panels(), GRID, title="t"), dpi=40) for _ in range(2))
    assert first == second
    assert first.startswith(b"\x89PNG") and b"Software" not in first and b"tEXt" not in first


def test_no_window_system_and_no_pyplot():
    code = (
        "import sys, sciml.plots; assert 'matplotlib' not in sys.modules; "
        "sciml.plots.png(sciml.plots.history([{'step': 1, 'loss': 1.0}])); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=Path(__file__).parents[2])


def test_durations_are_no_losses():
    rows = [
        {"step": i, "loss": 1 / i, "validation": {"relative_l2": 0.1, "valid_time": 20.0}} for i in (1, 2)
    ]
    labels = [line.get_label() for line in plots.history(rows).axes[0].lines]
    assert labels == ["training loss", "validation relative_l2"]


def test_curves_over_time_with_gaps_where_they_are_not_finite():
    curves = {
        "model": {"mean": [0.1, 0.2, 0.4], "low": [0.05, 0.1, 0.2], "high": [0.2, 0.4, 0.8]},
        "unstable": {"mean": [0.1, np.inf, np.nan]},
    }
    ax = plots.over_time(curves, [1.0, 2.0, 3.0], units="s").axes[0]
    assert [line.get_label() for line in ax.lines] == ["model", "unstable"] and len(ax.collections) == 1
    assert np.isfinite(ax.lines[1].get_ydata()).tolist() == [True, False, False]
    assert ax.get_yscale() == "log" and ax.get_xlabel().endswith("[s]")


def test_spectra_leave_out_the_mean_and_what_is_not_there():
    spectra = {"truth": [1.0, 1e-2, 1e-4, 0.0], "model": [1.0, 1e-2, np.nan, 1e-9]}
    ax = plots.spectra(spectra, quantity="energy").axes[0]
    assert [line.get_xdata().tolist() for line in ax.lines] == [[1, 2], [1, 3]]
    assert ax.get_ylabel() == "energy" and ax.get_yscale() == "log"
    assert plots.spectra({"truth": np.zeros(4)}).axes[0].get_yscale() == "linear"
