"""The page: whole in one file, escaped, complete."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import nn

from sciml.animation import Film, gif, space_time
from sciml.assessment import Assessment, Course, Row, assess
from sciml.dataset import Field, write_dataset
from sciml.errors import ShapeError
from sciml.evolution import Evolution
from sciml.grid import Grid
from sciml.normalization import Normalization
from sciml.report import Example, duration_text, example_figure, pick_examples, write_report
from sciml.surrogate import Channel, Surrogate

ERRORS = [0.02, 0.5, 0.01, 0.03, 0.04]


def assessment() -> Assessment:
    summary = {"mean": 0.02, "median": 0.015, "worst": 0.5, "interval": [0.01, 0.03]}
    metrics = {name: summary for name in ("relative_l2", "relative_h1", "rmse", "max_error")}
    rows = (
        Row("FNO", "surrogate", metrics, ERRORS, 2e-3),
        Row("mean of <training> outputs", "trivial", metrics, ERRORS),
        Row("finite volumes 8x8", "classical", metrics, ERRORS, 1e-3),
    )
    return Assessment(rows, 5, 5, 1, "cpu", "sha256:0", floor=0.005)


def example(rank: int) -> tuple[Example, Grid]:
    grid = Grid.box((6, 5, 4)[:rank])
    field = {"u": np.random.default_rng(0).normal(size=grid.shape)}
    return Example("best", 3, 0.02, {"a": field["u"]}, field, {"u": 2 * field["u"]}, {"u": "m"}), grid


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    shown, grid = example(2)
    history: list[dict[str, Any]] = [{"step": i, "loss": 1 / i} for i in range(1, 9)]
    history[-1]["validation"] = {"relative_l2": 0.02}
    write_report(
        path,
        title="a <b> & c",
        assessment=assessment(),
        history=history,
        examples=[shown],
        grid=grid,
        facts={"Settings": {"trainer.steps": 8, "note": "<script>alert(1)</script>"}},
    )
    return path.read_text(encoding="utf-8")


def test_it_is_one_file_without_scripts(page: str, tags_of: Callable[[str], Any]) -> None:
    tags = tags_of(page)
    assert "script" not in {tag for tag, _ in tags} and "link" not in {tag for tag, _ in tags}
    assert "http" not in re.sub(r'src="[^"]*"', "", page)  # base64 may spell anything
    sources = [attributes["src"] or "" for tag, attributes in tags if tag == "img"]
    assert len(sources) == 4  # time, histogram, one example, losses
    for source in sources:
        assert base64.b64decode(source.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")


def test_names_from_outside_are_escaped(page: str) -> None:
    assert "a &lt;b&gt; &amp; c" in page and "<b>" not in page
    assert "mean of &lt;training&gt; outputs" in page and "&lt;script&gt;" in page


def test_it_says_what_matters(page: str) -> None:
    for text in (
        "2.00% (95% interval of the mean 1.00% to 3.00%) on 5 samples",
        "finite volumes 8x8",
        "discretization error of the data",
        "best: sample 3, relative L2 error 2.00%",
        "trainer.steps",
        "Times: median of",
    ):
        assert text in page


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_examples_of_any_rank(rank: int) -> None:
    shown, grid = example(rank)
    assert example_figure(shown, "u", grid, "m").axes


def test_best_median_and_worst_are_picked(tmp_path: Path) -> None:
    a = np.arange(40, dtype=np.float32).reshape(5, 8) + 1
    fields = [(Field("a", "input"), a), (Field("u", "output", units="m"), 3 * a)]
    data = write_dataset(tmp_path / "d.h5", grid=Grid.box((8,)), fields=fields, split=[2, 2, 2, 2, 2])
    one = Normalization.identity(1)
    surrogate = Surrogate(
        nn.Identity(),
        inputs=[Channel("a")],
        outputs=[Channel("u", "m")],
        grid=data.grid,
        input_normalization=one,
        output_normalization=one,
    )
    best, median, worst = pick_examples(surrogate, data.test, ERRORS)
    assert [best.sample, median.sample, worst.sample] == [2, 3, 1]
    assert (best.label, worst.error, best.units) == ("best", 0.5, {"u": "m"})
    np.testing.assert_array_equal(best.truth["u"], 3 * a[2])
    np.testing.assert_array_equal(best.prediction["u"], best.inputs["a"])


def test_the_errors_of_every_sample_are_folded_away(page: str) -> None:
    table = page[page.index("<details>") : page.index("</details>")]
    found = re.findall(r"<tr><td>(\d+)</td><td>([\d.]+)%", table)
    assert found == [("1", "50.00"), ("4", "4.00"), ("3", "3.00"), ("0", "2.00"), ("2", "1.00")]
    assert "all 5 samples, the worst first" in table


def film(rank: int = 2, frames: int = 4) -> tuple[Film, Grid]:
    grid = Grid.box((12, 10, 6)[:rank])
    truth = np.random.default_rng(0).normal(size=(frames, *grid.shape))
    return Film(np.arange(float(frames)), "s", truth, truth + 0.1), grid


def test_a_film_moves_and_is_the_same_every_time() -> None:
    shown, grid = film(3)
    shown.prediction[-1] = np.nan  # a roll-out that blew up
    found = gif(shown, grid, units="m")
    assert found == gif(shown, grid, units="m")
    moving = Image.open(io.BytesIO(found))
    assert moving.format == "GIF" and getattr(moving, "n_frames", 1) == 4
    assert moving.info["loop"] == 0 and moving.info["duration"] == 500


def test_a_long_film_is_short() -> None:
    shown, grid = film(frames=27)
    found = gif(shown, grid)
    assert getattr(Image.open(io.BytesIO(found)), "n_frames", 1) == 25
    assert len(found) < 1_000_000  # noise, which compresses worst, on few points


def test_time_is_an_axis_beside_a_single_one() -> None:
    shown, grid = film(1)
    panels, both = space_time(shown, grid)
    assert both.names == ("x", "time") and panels["truth"].shape == both.shape == (12, 4)
    np.testing.assert_array_equal(panels["truth"], shown.truth.T)
    with pytest.raises(ShapeError, match="space_time"):
        gif(shown, grid)


@pytest.mark.parametrize("rank", [1, 2])
def test_a_page_about_roll_outs(tmp_path: Path, rank: int, tags_of: Callable[[str], Any]) -> None:
    """From data to page: curves, spectra, durations, and the film of the median trajectory."""
    grid = Grid.box((8, 6)[:rank], location="node", periodic=True)
    w = 1 + np.random.default_rng(0).normal(size=(4, 3, *grid.shape)).astype(np.float32)
    fields = [(Field("w", "state", units="m", time=True), w)]
    data = write_dataset(
        tmp_path / "w.h5", grid=grid, fields=fields, split=[0, 2, 2, 2], times=[0.0, 1.0, 2.0]
    )
    one, channel = Normalization.identity(1), Channel("w", "m")
    surrogate = Surrogate(
        nn.Identity(),
        inputs=[channel],
        outputs=[channel],
        grid=grid,
        input_normalization=one,
        output_normalization=one,
        evolution=Evolution(components=(1,)),
    )
    judged = assess(surrogate, data.test, training=data.train)
    examples = pick_examples(surrogate, data.test, judged.surrogate.errors)
    assert [e.time for e in examples] == ["t = 2"] * 3
    np.testing.assert_array_equal(examples[0].prediction["w"], w[examples[0].sample, 0])
    np.testing.assert_array_equal(examples[0].films["w"].truth, w[examples[0].sample])
    write_report(tmp_path / "r.html", title="w", assessment=judged, examples=examples, grid=grid)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert tags_of(page)
    for text in (
        "over 2 predicted frames",
        "correlation time",
        "error over time",
        "spectra at the last frame",
    ):
        assert text in page
    assert "no better than the persistence" in page  # it is persistence
    assert ('class="film"' in page) == (rank == 2) and "all frames of the median sample, w" in page


def test_durations_that_did_not_end_are_bounds() -> None:
    rolled = dataclasses.replace(
        assessment().rows[0],
        metrics={
            "valid_time": {"mean": 2.5, "censored": 1},
            "correlation_time": {"mean": 2.5, "censored": 0},
        },
        course=Course([0.1], [0.1], [0.1]),
    )
    assert (
        duration_text(rolled, "valid_time") == "≥ 2.5" and duration_text(rolled, "correlation_time") == "2.5"
    )
