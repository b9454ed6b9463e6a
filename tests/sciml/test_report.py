"""The page: whole in one file, escaped, complete."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from sciml.assessment import Assessment, Row
from sciml.dataset import Field, write_dataset
from sciml.grid import Grid
from sciml.normalization import Normalization
from sciml.report import Example, example_figure, pick_examples, write_report
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


class Tags(HTMLParser):
    """Collects tags, and checks that they are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


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


def test_it_is_one_file_without_scripts(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert "script" not in {tag for tag, _ in tags.seen} and "link" not in {tag for tag, _ in tags.seen}
    assert "http" not in re.sub(r'src="[^"]*"', "", page)  # base64 may spell anything
    sources = [attributes["src"] or "" for tag, attributes in tags.seen if tag == "img"]
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
