"""The page of a comparison: whole in one file, complete, legible, from rows alone."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from numpy.typing import NDArray

from sciml.comparison.curves import efficiency, learning, repayment
from sciml.comparison.equal_error import break_even
from sciml.comparison.figures import Sheet, distributions, inference_cost, ladder, pictures
from sciml.comparison.page import write_page
from sciml.comparison.results import gather
from sciml.figures import looks
from sciml.grid import Grid
from sciml.report import Example

ENTRIES = {"fno": 0.012, "unet": 0.019, "resnet": 0.035}
SECONDS = {"fno": (38.0, 1.3e-3), "unet": (41.0, 2.2e-3), "resnet": (40.0, 6.5e-3)}
DARCY, FLOW = ("darcy/64/v1", "1f0c93aa"), ("navier-stokes/1e-3/v1", "77b0e2d4")
MACHINE = {"processor": "two cores", "threads": 2, "torch": "2.13.0", "python": "3.12.11"}
GRID = Grid.box((24, 24), periodic=True)


def made_rows(samples: int = 200) -> list[dict[str, Any]]:
    """Three operators and seeds, two benchmarks, one of them a roll-out, one failed unit, one ladder each."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for (name, fingerprint), rolled in ((DARCY, False), (FLOW, True)):
        place = {"benchmark": name, "fingerprint": fingerprint}
        hardness = 0.4 * rng.standard_normal(samples)
        rows.append(
            {"kind": "benchmark", **place, "description": described(name), "published": published(name)}
        )
        rows += [{"kind": "reference", **place, **row} for row in references(rng, hardness, rolled=rolled)]
        for entry in ENTRIES:
            rows.append({"kind": "calibration", **place, **calibration(entry)})
            for seed in range(3):
                if rolled and (entry, seed) == ("resnet", 2):
                    rows.append({"kind": "unit", **place, **failed(entry, seed)})
                    continue
                rows.append({"kind": "unit", **place, **unit(rng, entry, seed, hardness, rolled=rolled)})
                if not rolled:
                    fewer = [unit(rng, entry, seed, hardness, count=count) for count in (100, 300)]
                    rows += [{"kind": "unit", **place, **row} for row in fewer]
    for entry in ("fno", "unet"):
        for trial in range(8):
            settings = {"width": int(rng.integers(16, 96)), "learning_rate": float(10 ** rng.uniform(-4, -2))}
            found = {"relative_l2": float(ENTRIES[entry] * rng.lognormal(0.3, 0.5))}
            row = {"entry": entry, "trial": trial, "settings": settings, "steps": 500, "valid": found}
            rows.append(
                {
                    "kind": "search",
                    "benchmark": DARCY[0],
                    "fingerprint": DARCY[1],
                    **row,
                    "status": "finished",
                }
            )
    return rows


def described(name: str) -> dict[str, Any]:
    return {
        "data": {"generator": "sciml.datasets.darcy.Darcy", "seed": 7, "digest": "sha256:5c1f"},
        "split": {"train": 1000, "valid": 100, "test": 200, "hash": "0d41"},
        "inputs": ["a"],
        "outputs": ["u"],
        "loss": "relative_l2",
        "metric": "relative_l2, mean over samples",
        "selection": "last step",
        "grid": [64, 64],
    }


def published(name: str) -> list[dict[str, Any]]:
    return [
        {
            "system": "FNO",
            "value": 0.0108,
            "metric": "relative_l2",
            "source": "Li et al. 2021, Table 3",
            "grade": "read",
            "same_protocol": False,
            "reason": "85 x 85 points of another generator",
        }
    ]


def calibration(entry: str) -> dict[str, Any]:
    step = SECONDS[entry][0] / 900
    return {
        "entry": entry, "samples": None, "budget": "40s", "seconds_per_step": step, "steps": round(40 / step),
        "flops_per_step": 2e9, "machine": MACHINE,
    }  # fmt: skip


def failed(entry: str, seed: int) -> dict[str, Any]:
    return {
        "entry": entry, "seed": seed, "samples": None, "status": "failed", "steps": 900,
        "message": "MemoryError: <the child> was killed by signal 9",
    }  # fmt: skip


def unit(
    rng: np.random.Generator,
    entry: str,
    seed: int,
    hardness: NDArray[np.float64],
    *,
    count: int | None = None,
    rolled: bool = False,
) -> dict[str, Any]:
    seconds, inference = SECONDS[entry]
    level = ENTRIES[entry] * (1 + 2 * rolled) * rng.lognormal(0, 0.04) * ((count or 1000) / 1000) ** -0.45
    errors = level * np.exp(hardness + 0.25 * rng.standard_normal(len(hardness)))
    steps = 45 * np.arange(1, 21)
    history = [
        {
            "step": int(step),
            "seconds": float(seconds * step / 900 * rng.uniform(0.98, 1.02)),
            "loss": float(level * (900 / step) ** 0.9),
            "validation": {"relative_l2": float(level * (900 / step) ** 0.7 * rng.lognormal(0, 0.06))},
        }
        for step in steps
    ]
    metrics = {
        "relative_l2": errors,
        "relative_h1": 3 * errors,
        "fourier_low": 0.5 * errors,
        "fourier_mid": 1.5 * errors,
        "fourier_high": 6 * errors,
        "boundary_rmse": 0.8 * errors,
        **({"valid_time": np.log(0.4 / errors).clip(0) / np.log(1.16)} if rolled else {}),
    }
    shells = np.arange(32)
    truth = 1.0 / (1 + shells) ** 4
    lost = np.exp(-((shells / (26 - 200 * ENTRIES[entry])) ** 4))
    return {
        "entry": entry,
        "seed": seed,
        "samples": count,
        "status": "finished",
        "message": "",
        "steps": 900,
        "train_seconds": float(seconds * rng.lognormal(0, 0.02)),
        "seconds_per_step": seconds / 900,
        "parameters": 400_000,
        "flops_per_step": 2.2e9,
        "memory_bytes": 3_000_000,
        "device": "cpu",
        "threads": 2,
        "alone": True,
        "settings": {"width": 32, "learning_rate": 1e-3},
        "versions": {"torch": "2.13.0"},
        "history": history,
        "split": "test",
        "indices": list(range(1100, 1100 + len(hardness))),
        "metrics": {name: listed(values) for name, values in metrics.items()},
        "seconds_per_sample": float(inference * rng.lognormal(0, 0.03)),
        "course": {
            "times": list(range(1, 21)),
            "units": "s",
            "mean": listed(level * 1.16 ** np.arange(20)),
        }
        if rolled
        else None,
        "spectrum": {
            "k": shells.tolist(),
            "truth": listed(truth),
            "prediction": listed(truth * lost + 1e-9),
            "quantity": "energy",
        }
        if rolled
        else None,
        "transfer": {
            size: {"relative_l2": listed(errors * factor)}
            for size, factor in (("32x32", 1.7), ("128x128", 1.3))
        }
        if not rolled
        else {},
    }


def references(
    rng: np.random.Generator, hardness: NDArray[np.float64], *, rolled: bool
) -> list[dict[str, Any]]:
    levels = {"mean of training outputs": 0.31, **({"persistence": 0.62} if rolled else {})}
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "family": "trivial",
            "metrics": {"relative_l2": listed(level * np.exp(0.3 * hardness))},
            "seconds_per_sample": None,
            "settings": {},
        }
        for name, level in levels.items()
    ]
    for n in (8, 16, 32, 64, 128):
        errors = 3.0 * n**-2.0 * np.exp(0.4 * hardness + 0.1 * rng.standard_normal(len(hardness)))
        rows.append(
            {
                "name": f"finite volumes {n}x{n}",
                "family": "classical",
                "metrics": {"relative_l2": listed(errors)},
                "seconds_per_sample": 1e-6 * n**2.4 * (1 + 20 * rolled),
                "settings": {"resolution": n, "order": 2},
            }
        )
    return rows


def made_examples() -> dict[tuple[str, str], list[Example]]:
    """Best, median and worst of every entry on both benchmarks."""
    found = {}
    x, y = 2 * np.pi * GRID.coordinates()
    for name, _ in (DARCY, FLOW):
        for entry, error in ENTRIES.items():
            examples = []
            for i, label in enumerate(("best", "median", "worst")):
                truth = np.sin(x + i) * np.cos(y) + 0.3 * np.sin(2 * x - y + i)
                wrong = error * 3**i * np.cos(3 * x) * np.sin(2 * y + i)
                examples.append(
                    Example(
                        label, 1100 + i, error * 3**i, {"a": np.sign(truth)}, {"u": truth},
                        {"u": truth + wrong}, {"u": "m"}, place=GRID,
                    )
                )  # fmt: skip
            found[name, entry] = examples
    return found


def listed(values: NDArray[np.float64]) -> list[float | None]:
    """As JSON holds them."""
    return [float(v) if math.isfinite(v) else None for v in values]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    examples = {key: listed[1:2] for key, listed in made_examples().items()}
    rows = [row for row in made_rows(60) if row["benchmark"] == FLOW[0]]
    write_page(path, rows, examples, title="a <b> & c", command="sciml compare navier-stokes/1e-3/v1")
    return path.read_text(encoding="utf-8")


def test_it_is_one_file_without_scripts(page: str, tags_of: Callable[[str], Any]) -> None:
    tags = tags_of(page)
    assert {"script", "link"} & {tag for tag, _ in tags} == set()
    images = [attributes for tag, attributes in tags if tag == "img"]
    assert len(images) == 8 + 1  # charts and the median fields
    assert all((image["src"] or "").startswith("data:image/") for image in images)
    assert "http" not in re.sub(r'src="[^"]*"', "", page)  # base64 may spell anything


def test_what_is_shown_is_also_said(page: str, tags_of: Callable[[str], Any]) -> None:
    tags = tags_of(page)
    alts = [attributes["alt"] or "" for tag, attributes in tags if tag == "img"]
    assert all("fno" in alt for alt in alts)  # with its numbers, not "figure 3"
    assert page.count("<figure") == page.count("<figcaption") == len(alts)
    tables = re.findall(r"<table>.*?</table>", page, re.DOTALL)
    heads = [table for table in tables if "<thead>" in table]
    assert len(heads) > 6 and all('<th scope="col">' in t and "<caption>" in t for t in heads)


def test_names_from_outside_are_escaped(page: str) -> None:
    assert "a &lt;b&gt; &amp; c" in page and "<b>" not in page
    assert "&lt;the child&gt; was killed" in page


@pytest.mark.parametrize(
    "text",
    [
        "sciml compare navier-stokes/1e-3/v1",
        "77b0e2d4",
        "1 training of 9 did not finish",
        "85 x 85 points of another generator",  # why a published number does not compare
        "sciml.datasets.darcy.Darcy",
        "two cores",
        "What the budget pays for",
    ],
)
def test_it_says_what_matters(page: str, text: str) -> None:
    assert text in page


def sheets() -> dict[str, Sheet]:
    return {r.benchmark: Sheet.of(r, looks(ENTRIES)) for r in gather(made_rows(40))}


def test_every_kind_of_row_has_its_figure() -> None:
    shared = ["training-cost", "inference-cost", "distributions", "learning", "repayment"]
    found = {name: [p.name for p in pictures(sheet)] for name, sheet in sheets().items()}
    assert found == {
        DARCY[0]: [*shared, "data-efficiency", "transfer", "bands", "search"],
        FLOW[0]: [*shared, "course", "spectrum", "bands"],
    }


def test_rings_lie_on_the_ladder_at_the_error_of_the_entry() -> None:
    sheet = sheets()[DARCY[0]]
    picture = inference_cost(sheet)
    assert picture is not None
    lines = picture.figure.axes[0].lines
    solver = next(line for line in lines if line.get_label() == "finite volumes")
    rungs = np.log(np.array([solver.get_xdata(), solver.get_ydata()], dtype=np.float64))
    rings = [line for line in lines if line.get_fillstyle() == "none"]
    assert len(rings) == 3 and rungs.shape == (2, 5)
    for ring, training in zip(rings, sheet.results.main, strict=True):
        (x,), (y,) = ring.get_xdata(), ring.get_ydata()
        assert y == pytest.approx(training.mean(), rel=1e-12)
        # Between rungs the solver's line is straight in logarithms.
        assert np.interp(np.log(x), *rungs) == pytest.approx(np.log(y), abs=1e-9)


def test_the_run_that_made_the_data_is_no_rung() -> None:
    rows = [row for row in made_rows(5) if row["kind"] == "reference" and row["benchmark"] == DARCY[0]]
    exact = {**rows[-1], "name": "finite volumes 256x256", "metrics": {"relative_l2": [3e-8] * 5}}
    (results,) = gather([*rows, exact])
    assert [point["note"] for point in ladder(results)] == ["8", "16", "32", "64", "128"]


def test_what_pays_counts_the_data_where_their_solver_is_known() -> None:
    """The native row tells what 1000 training samples cost, 0.1 s each: a hundred seconds."""
    rows = [row for row in made_rows(40) if row["benchmark"] == DARCY[0]]
    for row in rows:
        row["seconds_per_sample"] = 1e-7 if row["kind"] == "unit" else row.get("seconds_per_sample")
    (plain,) = (repayment(Sheet.of(results, looks(ENTRIES))) for results in gather(rows))
    assert plain is not None and "with the data" not in plain.caption
    solver = next(row for row in rows if row.get("name") == "finite volumes 128x128")
    solver |= {"settings": {**solver["settings"], "native": True}, "seconds_per_sample": 0.1}
    (results,) = gather(rows)
    sheet = Sheet.of(results, looks(ENTRIES))
    picture = repayment(sheet)
    assert picture is not None
    for training in results.main:
        trained, own = training.of("train_seconds"), training.of("seconds_per_sample")
        classical = sheet.equal[training.entry].seconds
        assert trained and own and classical
        wanted = break_even(trained, 100.0, own, classical)
        assert f"{training.entry} after {wanted}" in picture.caption and f"{wanted}" in picture.alt
        dotted = [line for line in picture.figure.axes[0].lines if line.get_linestyle() == ":"]
        starts = [np.asarray(line.get_ydata())[0] for line in dotted if len(np.asarray(line.get_ydata()))]
        assert any(start == pytest.approx(trained + 100.0 + own, rel=1e-12) for start in starts)


def test_every_sample_of_every_seed_is_a_dot() -> None:
    picture = distributions(sheets()[FLOW[0]])
    assert picture is not None
    strips = [c for c in picture.figure.axes[0].collections if isinstance(c, PathCollection)]
    counts = [len(strip.get_offsets()) for strip in strips]
    assert counts == [40] * (3 + 3 + 2 + 2)  # seeds of fno, unet and resnet, and two trivial predictors


def test_the_slope_of_data_efficiency_is_the_exponent() -> None:
    counts, rows = {100: 0.4, 400: 0.2, 1600: 0.1}, made_rows(6)
    units = [row for row in rows if row["kind"] == "unit" and row["entry"] == "fno"][:1]
    trained = [
        {**units[0], "seed": seed, "samples": count, "metrics": {"relative_l2": [(1 + seed) * error] * 6}}
        for count, error in counts.items()
        for seed in range(2)
    ]
    (results,) = gather(trained)
    picture = efficiency(Sheet.of(results, looks(ENTRIES)))
    assert picture is not None and "fno −0.50 (−0.50 to −0.50)" in picture.caption
    line = next(line for line in picture.figure.axes[0].lines if line.get_label() == "fno: slope −0.50")
    np.testing.assert_allclose(line.get_ydata(), [0.6, 0.3, 0.15])  # means of the two seeds


def test_learning_ends_at_the_geometric_mean_of_the_seeds() -> None:
    sheet = sheets()[DARCY[0]]
    picture = learning(sheet)
    assert picture is not None
    line = next(line for line in picture.figure.axes[0].lines if line.get_label() == "fno")
    ends = [unit["history"][-1]["validation"]["relative_l2"] for unit in sheet.results.main[0].units]
    assert np.asarray(line.get_ydata())[-1] == pytest.approx(np.exp(np.mean(np.log(ends))))


def test_figures_are_saved_and_equal_for_equal_rows(tmp_path: Path) -> None:
    rows = [row for row in made_rows(12) if row["benchmark"] == DARCY[0] and row["kind"] == "unit"]
    bare = {"history": [], "transfer": {}, "seconds_per_sample": None}
    kept = [row | bare for row in rows if row["samples"] is None]
    for row in kept:
        row["metrics"] = {"relative_l2": row["metrics"]["relative_l2"]}
    for name in ("a", "b"):
        write_page(tmp_path / f"{name}.html", kept, figures=tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    found = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").glob("*/*"))
    names = ["distributions", "training-cost"]
    assert [path.name for path in found] == [f"{n}.{kind}" for n in names for kind in ("pdf", "svg")]
    for path in found:
        one, other = ((tmp_path / name / path).read_bytes() for name in ("a", "b"))
        assert one == other and one.startswith(b"%PDF" if path.suffix == ".pdf" else b"<?xml")


@pytest.mark.parametrize("left", ["nothing", "failures", "references", "not finite", "one seed"])
def test_poor_rows_still_make_a_page(tmp_path: Path, left: str) -> None:
    rows = [row for row in made_rows(5) if row["benchmark"] == FLOW[0] and row.get("entry") != "unet"]
    if left == "nothing":
        rows = []
    elif left == "failures":
        rows = [row for row in rows if row.get("status") == "failed"]
    elif left == "references":
        rows = [row for row in rows if row["kind"] == "reference"]
    elif left == "one seed":
        rows = [row for row in rows if row["kind"] == "unit" and row["seed"] == 0]
    else:
        units = [row for row in rows if row["kind"] == "unit" and row["status"] == "finished"]
        rows = [row | {"metrics": {"relative_l2": [None, 0.1, 0.2, 0.1, 0.3]}} for row in units]
    write_page(tmp_path / "report.html", rows)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    said = {
        "nothing": "Comparison",
        "failures": "No training gave finite predictions.",
        "references": "Nothing was trained.",
        "not finite": "No training gave finite predictions.",
        "one seed": "No classical solver was run",
    }
    assert said[left] in text
