"""The page of a comparison: whole in one file, complete, legible, from rows alone."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sciml.comparison.examples import read_examples, write_examples
from sciml.comparison.page import write_page
from sciml.errors import DataError
from sciml.grid import Grid
from sciml.mesh import Mesh
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
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(path, made_rows(), made_examples(), title="a <b> & c", command="sciml compare darcy/64/v1")
    return path.read_text(encoding="utf-8")


def test_it_is_one_file_without_scripts(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert {"script", "link"} & {tag for tag, _ in tags.seen} == set()
    images = [attributes for tag, attributes in tags.seen if tag == "img"]
    assert all((image["src"] or "").startswith("data:image/") for image in images)
    assert all(image["alt"] for image in images)
    assert "http" not in re.sub(r'src="[^"]*"', "", page)  # base64 may spell anything


def test_names_from_outside_are_escaped(page: str) -> None:
    assert "a &lt;b&gt; &amp; c" in page and "<b>" not in page
    assert "&lt;the child&gt; was killed" in page


def test_examples_come_back_as_they_were(tmp_path: Path) -> None:
    square = Mesh([[0, 0], [1, 0], [1, 1], [0, 1]], cells={"triangle": [[0, 1, 2], [0, 2, 3]]}, units="m")
    field = {"u": np.arange(4.0)}
    meshed = Example("worst", 7, 0.5, field, field, {"u": field["u"] + 1}, {"u": "K"}, place=square)
    gridded = made_examples()[DARCY[0], "fno"][0]
    write_examples(tmp_path / "examples.npz", [meshed, gridded])
    first, second = read_examples(tmp_path / "examples.npz")
    assert (first.label, first.sample, first.error, first.units) == ("worst", 7, 0.5, {"u": "K"})
    np.testing.assert_array_equal(first.prediction["u"], field["u"] + 1)
    assert isinstance(first.place, Mesh) and first.place.units == "m" and first.place.cell_count == 2
    assert second.place == GRID
    np.testing.assert_allclose(second.truth["u"], gridded.truth["u"], rtol=1e-6)  # float32


def test_a_damaged_file_of_examples_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "examples.npz"
    path.write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="examples"):
        read_examples(path)
