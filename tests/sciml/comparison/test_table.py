"""Tables of comparisons: numbers from rows, significance, failures, and the forms they are written in."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from sciml.assessment import percent
from sciml.comparison.equal_error import equal_error
from sciml.comparison.lines import lines_of, notable
from sciml.comparison.panels import Panel
from sciml.comparison.results import gather, read_by_sample
from sciml.comparison.statistics import mean_error, power_law, significance
from sciml.comparison.table import Table
from sciml.files import finite

PLACE = {"benchmark": "heat/v1", "fingerprint": "0a"}
N = 80


def hardness() -> np.ndarray:
    return np.exp(0.5 * np.random.default_rng(0).standard_normal(N))


def errors_of(level: float, seed: int, entry: str) -> list[float]:
    random = np.random.default_rng([seed, len(entry)])
    found: list[float] = (
        level * hardness() * np.exp(0.02 * random.standard_normal() + 0.1 * random.standard_normal(N))
    ).tolist()
    return found


def unit(entry: str, level: float, seed: int, **more: Any) -> dict[str, Any]:
    errors = more.pop("errors", errors_of(level, seed, entry))
    metrics = {
        "relative_l2": errors,
        "relative_h1": [3 * e if e else None for e in errors],
        "boundary_rmse": errors,
    }
    return {
        "kind": "unit", **PLACE, "entry": entry, "seed": seed, "samples": None, "steps": 100,
        "status": "finished", "message": "", "train_seconds": 10.0 + seed, "seconds_per_step": 0.1,
        "parameters": 1234567, "flops_per_step": 2e9, "memory_bytes": 2**28, "device": "cpu", "threads": 2,
        "alone": True, "settings": {"width": 32}, "seconds_per_sample": 2e-3,
        "indices": list(range(N)), "metrics": metrics, **more,
    }  # fmt: skip


def failed(entry: str, seed: int, **more: Any) -> dict[str, Any]:
    row = {"kind": "unit", **PLACE, "entry": entry, "seed": seed, "samples": None, "steps": 100}
    return {**row, "status": "failed", "message": "the process was ended by SIGKILL", **more}


def reference(name: str, family: str, level: float, seconds: float | None) -> dict[str, Any]:
    metrics = {"relative_l2": (level * hardness()).tolist()}
    row = {"kind": "reference", **PLACE, "name": name, "family": family, "metrics": metrics}
    return {**row, "seconds_per_sample": seconds, "settings": {"resolution": 8}}


def rows(**levels: float) -> list[dict[str, Any]]:
    return [unit(entry, level, seed) for entry, level in levels.items() for seed in range(3)]


def lines(listed: list[dict[str, Any]]) -> dict[str, Any]:
    (results,) = gather(listed)
    return {line.name: line for line in lines_of(results)}


def test_numbers_are_those_of_the_rows() -> None:
    listed = rows(fno=0.01, unet=0.02)
    found = lines(listed)["fno"]
    errors = np.array([row["metrics"]["relative_l2"] for row in listed[:3]])
    assert found.error == mean_error(errors)
    assert (found.median, found.worst) == (np.median(errors), errors.max())
    assert (found.done, found.failed, found.samples, found.steps) == (3, 0, None, 100)
    assert found.costs["train_seconds"] == 11.0 and found.costs["parameters"] == 1234567
    assert found.means["relative_h1"] == pytest.approx(3 * errors.mean(), rel=1e-12)
    assert found.error.over == "seeds and samples"


def test_the_best_is_stressed_only_if_all_others_are_significantly_worse() -> None:
    listed = rows(fno=0.01, unet=0.02, resnet=0.03)
    found = lines(listed)
    assert list(found) == ["fno", "unet", "resnet"]
    assert [line.place for line in found.values()] == ["best", "behind", "behind"]
    assert math.isnan(found["fno"].p)
    matrices = [np.array([r["metrics"]["relative_l2"] for r in listed[i : i + 3]]) for i in (0, 3, 6)]
    assert found["resnet"].p == significance(matrices)[0, 2]
    text = Table.of(listed).markdown()
    assert "| **fno**" in text and text.count("**") == 2 * (2 + 3)  # name and mean, and three titles
    tied = lines(rows(fno=0.01, unet=0.0102, resnet=0.03))
    assert [line.place for line in tied.values()] == ["tied", "tied", "behind"]
    text = Table.of(rows(fno=0.01, unet=0.0102, resnet=0.03)).markdown()
    assert "**fno**" not in text and "Tied (p ≥ 0.05): " in text and "tied, 0." in text


def test_an_entry_that_failed_is_shown_and_never_best() -> None:
    listed = [
        *rows(fno=0.01, unet=0.02),
        failed("resnet", 0),
        failed("resnet", 1, message="\n the process was\nended by SIGKILL"),
    ]
    listed[2] = failed("fno", 2, status="diverged", message="the loss is nan")
    found = lines(listed)
    assert list(found) == ["fno", "unet", "resnet"]
    assert (found["fno"].done, found["fno"].failed, found["fno"].place) == (2, 1, "")
    assert found["unet"].place == "behind"
    assert (found["resnet"].done, found["resnet"].failed) == (0, 2) and not found["resnet"].finite
    text = Table.of(listed).markdown()
    assert "failed" in text and "2/3" in text and "0/2" in text
    assert "resnet, seed 1: failed. the process was ended by SIGKILL" in text
    assert "fno, seed 2: diverged. the loss is nan" in text
    assert "Means without the seeds that failed, so never best: fno." in text
    # Tried again with success: only the later row counts.
    assert lines([*listed, unit("fno", 0.01, 2)])["fno"].place == "best"


def test_predictions_that_are_not_finite_come_last_and_are_no_result() -> None:
    broken = [unit("fno", 0.01, seed, errors=[None, *errors_of(0.01, seed, "fno")[1:]]) for seed in range(3)]
    found = lines([*broken, *rows(unet=0.02, resnet=0.03)])
    assert list(found) == ["unet", "resnet", "fno"] and found["fno"].place == ""
    assert found["unet"].place == "best"
    table = Table.of([*broken, *rows(unet=0.02, resnet=0.03)])
    assert "not finite" in table.markdown()
    record = table.records()[2]
    assert record["mean"] is None and record["p"] is None
    json.dumps(table.records(), allow_nan=False)


def test_one_seed_is_said_to_be_one() -> None:
    text = Table.of([unit("fno", 0.01, 0), unit("unet", 0.02, 0)]).markdown()
    assert "one seed says nothing about others" in text and "| 1/1 |" in text.replace("  ", "")


def test_problems_with_one_error_for_each_seed() -> None:
    listed = [
        unit(name, 1.0, seed, errors=[level * (1 + 0.05 * seed)], indices=[0])
        for name, level in (("adam", 1e-3), ("lbfgs", 1e-5))
        for seed in range(3)
    ]
    found = lines(listed)
    assert found["lbfgs"].place == "best" and found["adam"].p < 0.05
    assert "for a new seed, from 3 seeds" in Table.of(listed).markdown()
    single = [unit(name, 1.0, 0, errors=[0.1], indices=[0]) for name in ("adam", "lbfgs")]
    assert [line.place for line in lines(single).values()] == ["", ""]
    assert "Interval:" not in Table.of(single).markdown()


def test_entries_judged_on_other_samples_are_not_compared() -> None:
    listed = [
        *rows(fno=0.01),
        *(unit("unet", 0.02, seed, indices=list(range(1, N + 1))) for seed in range(3)),
    ]
    assert [line.place for line in lines(listed).values()] == ["", ""]


def test_fewer_training_samples_give_the_slope() -> None:
    listed = [
        unit("fno", 0.01 * (1000 / count) ** 0.5, seed, samples=None if count == 1000 else count)
        for count in (100, 300, 1000)
        for seed in range(3)
    ]
    listed.append({"kind": "benchmark", **PLACE, "description": {"split": {"train": 1000}}})
    found = lines(listed)["fno"]
    assert found.samples is None and list(found.efficiency) == [100, 300, None]
    means = [[np.mean(row["metrics"]["relative_l2"]) for row in listed[seed:9:3]] for seed in range(3)]
    assert found.slope == power_law([100, 300, 1000], means)
    assert found.slope.value == pytest.approx(-0.5, abs=1e-6)  # the same draws at every count
    text = Table.of(listed).markdown()
    assert " 1000 |" in text and "-0.50 to -0.50" in text
    unknown = lines(listed[:-1])["fno"]
    assert unknown.slope is None and len(unknown.efficiency) == 3


def test_several_budgets_are_several_lines() -> None:
    listed = [*rows(fno=0.02), *(unit("fno", 0.01, seed, steps=400) for seed in range(3)), failed("fno", 3)]
    found = lines(listed)
    assert list(found) == ["fno, 400 steps", "fno, 100 steps"]
    assert [line.failed for line in found.values()] == [0, 1]


def test_durations_say_how_many_were_cut_off() -> None:
    course = {"times": [0.5, 1.0], "units": "s", "mean": [0.1, 0.2]}
    held = [1.0] * 20 + [0.5] * 60
    listed = rows(fno=0.01)
    for row in listed:
        row["metrics"] |= {"valid_time": held}
        row["course"] = course
    assert lines(listed)["fno"].lasted == {"valid_time": 0.25}
    text = Table.of(listed).markdown()
    assert "How long predictions hold, in s" in text and "≥ 0.625" in text and "25%" in text


def test_other_resolutions_are_in_order() -> None:
    listed = rows(fno=0.01, unet=0.02)
    for row in listed[:3]:
        row["transfer"] = {f"{n}x{n}": {"relative_l2": errors_of(1 / n, 0, "fno")} for n in (128, 32)}
    found = lines(listed)
    assert list(found["fno"].transfer) == ["32x32", "128x128"] and not found["unet"].transfer
    ratio = found["fno"].transfer["32x32"].value / found["fno"].transfer["128x128"].value
    assert ratio == pytest.approx(4, rel=1e-12)
    assert "at_32x32_mean" in Table.of(listed).csv()


def test_references_need_no_samples_of_metrics_whose_means_are_shown() -> None:
    """Old rows have all; new ones what is read by sample and, in any case, the same table."""
    description = {"metric": "accumulated_mse, mean over test samples"}
    card = {"kind": "benchmark", **PLACE, "description": description, "published": []}
    full = reference("solver 8", "classical", 0.1, 1e-3)
    errors = full["metrics"]["relative_l2"]
    others = {"vrmse": [*errors[1:], None], "rmse": errors, "valid_time": errors, "accumulated_mse": errors}
    full["metrics"] |= others
    (results,) = gather([card, full])
    thin = asdict(results.family("classical")[0].thinned(read_by_sample(description)))
    assert set(thin["metrics"]) == {"relative_l2", "valid_time", "accumulated_mse"}
    assert thin["means"]["rmse"] == float(np.mean(errors)) and math.isnan(thin["means"]["vrmse"])
    units = rows(fno=0.01)
    units[0]["course"] = {"times": [0.1, 0.2], "units": "s", "mean": [0.1, 0.2]}
    old, new = (Table.of([card, *units, row]) for row in (full, {**full, **finite(thin)}))
    assert finite(old.records()) == finite(new.records()) and old.markdown() == new.markdown()
    before, after = (table.sections[0].lines[-1] for table in (old, new))
    assert before.own is not None and before.own == after.own and 0 < after.lasted["valid_time"] < 1


def test_references_stand_below_and_solvers_that_decide_are_shown() -> None:
    listed = [
        *rows(fno=0.01),
        reference("mean", "trivial", 0.005, None),
        *(reference(f"solver {n}", "classical", n**-2.0, 1e-5 * n**2) for n in (4, 8, 16, 32)),
    ]
    found = lines(listed)
    assert list(found) == ["fno", "mean", "solver 4", "solver 8", "solver 16", "solver 32"]
    # Level 1/256 is below 0.01, 1/64 above: 16 is the cheapest as good, 32 the most exact.
    assert [line.name for line in notable(found.values())] == ["fno", "mean", "solver 16", "solver 32"]
    text = Table.of(listed).markdown()
    assert "2 other settings of classical solvers are in the CSV" in text
    assert "No better than a trivial predictor: fno." in text
    assert "Classical solver at equal error" in text and "solver 8" not in text
    assert "solver 8" in Table.of(listed).csv()


def test_what_is_repaid_counts_the_training_alone_and_with_its_data() -> None:
    """Of 1000 samples, each a solve of the row that is native: the cost of a solve there, a lower bound."""
    solvers = [reference(f"solver {n}", "classical", n**-2.0, 1e-3 * n**2) for n in (4, 8, 16, 32)]
    solvers[-1]["settings"] = {"resolution": 32, "native": True}
    listed = [*rows(fno=0.01), *solvers]
    counted = [*listed, {"kind": "benchmark", **PLACE, "description": {"split": {"train": 1000}}}]
    (results,) = gather(listed)
    found = equal_error(results.family("classical"), lines(listed)["fno"].error.value)
    assert found.seconds is not None
    # Eleven seconds of training, two milliseconds a sample.
    alone, both = (math.ceil(cost / (found.seconds - 2e-3)) for cost in (11.0, 11.0 + 1000 * 1e-3 * 32**2))

    def shown(table: Table) -> list[str]:
        (panel,) = (p for p in table.sections[0].panels() if p.title.startswith("Classical solver"))
        assert panel.heads[-2:] == ["repaid after", "with data"]
        return panel.cells[0][-2:]

    assert shown(Table.of(counted)) == [f"{alone:,}", f"{both:,}"]
    assert shown(Table.of(listed)) == [f"{alone:,}", "-"]  # nobody knows how many samples there were
    del solvers[-1]["settings"]["native"]
    assert shown(Table.of(counted)) == [f"{alone:,}", "-"]
    for row in counted[:3]:
        row["seconds_per_sample"] = 9.0
    solvers[-1]["settings"]["native"] = True
    assert shown(Table.of(counted)) == ["never", "never"]
    fewer = [{**row, "samples": 100} if row["kind"] == "unit" else row for row in counted]
    for row in fewer[:3]:
        row["seconds_per_sample"] = 2e-3
    few = math.ceil((11.0 + 100 * 1e-3 * 32**2) / (found.seconds - 2e-3))
    assert shown(Table.of(fewer)) == [f"{alone:,}", f"{few:,}"]


def test_the_metric_of_the_protocol_has_a_table_with_intervals() -> None:
    head = {"kind": "benchmark", **PLACE, "description": {"metric": "boundary_rmse, in physical units"}}
    rows = [{**head, "published": []}, *(unit("fno", 0.1, seed) for seed in range(3))]
    own = next(panel for panel in Table.of(rows).sections[0].panels() if "own metric" in panel.title)
    errors = mean_error([errors_of(0.1, seed, "fno") for seed in range(3)])
    assert own.cells == [["fno", f"{errors.value:.3g}", f"{errors.low:.3g} to {errors.high:.3g}"]]
    assert not any("own metric" in panel.title for panel in Table.of(rows[1:]).sections[0].panels())


def test_published_numbers_have_their_source() -> None:
    number = {
        "system": "FNO", "value": 0.0108, "metric": "relative_l2", "source": "Li et al., Table 3",
        "grade": "read", "same_protocol": False, "reason": "another split",
    }  # fmt: skip
    others = [{**number, "system": "U-Net", "value": 0.02}, {**number, "same_protocol": True, "value": 0.03}]
    listed = [{"kind": "benchmark", **PLACE, "description": {}, "published": [*others, number]}]
    table = Table.of([*listed, *rows(fno=0.01)])
    assert """
- Same protocol: yes.
  - Li et al., Table 3 (read), relative_l2: FNO 3.00%.
- Same protocol: no: another split.
  - Li et al., Table 3 (read), relative_l2: U-Net 2.00%, FNO 1.08%.
""" in table.markdown()
    assert r"FNO & 1.08\% & relative\_l2 & no: another split" in table.latex()
    assert table.records()[-1] | number == table.records()[-1] | {"mean": 0.0108} | number
    assert table.records()[-1]["kind"] == "published"


def test_different_protocols_are_never_in_one_table() -> None:
    other = [{**row, "fingerprint": "ff"} for row in rows(fno=0.001)]
    table = Table.of([*rows(fno=0.01, unet=0.02), *other])
    assert [len(section.lines) for section in table.sections] == [2, 1]
    text = table.markdown()
    assert text.count("numbers under different fingerprints must not be compared") == 2
    assert "## heat/v1 (ff)" in text
    assert "must not be compared" not in Table.of(rows(fno=0.01)).markdown()


def test_a_table_of_several_benchmarks_begins_with_all_of_them() -> None:
    """Each entry where it was trained; an epoch is as many steps as draw every sample once."""
    card = {"split": {"train": 1000}, "recipe": {"batch_size": 8}}
    wave = {"benchmark": "a wave with a long name/1024/v1", "fingerprint": "0b"}
    listed = [
        {"kind": "benchmark", **PLACE, "description": card},
        *rows(fno=0.01, unet=0.02),
        unit("fno", 0.01, 0, settings={"training": {"batch_size": 20}}, **wave),
        unit("an operator with a long name", 0.03, 0, samples=40, **wave),
        {"kind": "benchmark", **wave, "description": card},
        reference("mean", "trivial", 0.3, None),
        failed("resnet", 0, **wave),
    ]
    table = Table.of(listed)
    found = table.overview()
    assert [row[:2] for row in found.cells] == [
        ["fno", "heat/v1"],
        ["unet", "heat/v1"],
        ["fno", wave["benchmark"]],
        ["an operator with …", wave["benchmark"]],
        ["resnet", wave["benchmark"]],
    ]
    fno = lines(listed[:7])["fno"]
    assert found.cells[0][2:] == [
        percent(fno.error.value),
        f"{percent(fno.error.low)} to {percent(fno.error.high)}",
        "1,234,567",
        "12.5 s",  # 125 steps of 0.1 s
    ]
    assert [row[-1] for row in found.cells] == ["12.5 s", "12.5 s", "5 s", "500 ms", "-"]
    assert found.cells[-1][2] == "failed"
    text = table.markdown()
    assert text.startswith(found.markdown()) and found.latex() in table.latex()
    assert max(len(line) for line in text.splitlines() if line.startswith("|")) <= 110
    assert "per epoch" in text and "per step" not in text
    assert table.records()[0]["seconds_per_epoch"] == pytest.approx(12.5)
    # Of one benchmark there is nothing more to say; without batches of samples a step is what is timed.
    alone = Table.of(rows(fno=0.01)).markdown()
    assert alone.startswith("## heat/v1") and "per step" in alone


def test_markdown_fits_a_terminal_and_csv_has_everything() -> None:
    listed = rows(**{"a network with a name that goes on and on": 0.0123, "unet": 0.98765})
    for row in listed:
        row["metrics"] |= {
            name: row["metrics"]["relative_l2"]
            for name in ("fourier_low", "fourier_mid", "fourier_high", "max_error", "relative_l2_last")
        }
    table = Table.of([*listed, reference("the mean of the training outputs", "trivial", 0.3, None)])
    widths = [len(line) for line in table.markdown().splitlines() if line.startswith("|")]
    assert max(widths) <= 110
    read = list(csv.DictReader(io.StringIO(table.csv())))
    assert [row["name"] for row in read] == [record["name"] for record in table.records()]
    for row, record in zip(read, table.records(), strict=True):
        for name, value in row.items():
            known = record.get(name)
            assert value == ("" if known is None else str(known))


def test_times_beside_other_work_are_marked() -> None:
    listed = rows(fno=0.01, unet=0.02)
    listed[1]["alone"] = False
    assert "Times taken while other work ran: fno." in Table.of(listed).markdown()


def test_a_search_is_told() -> None:
    trials = [
        {
            "kind": "search",
            **PLACE,
            "entry": "fno",
            "trial": trial,
            "status": status,
            "valid": {},
            "budget": "40s",
        }
        for trial, status in enumerate(("finished", "failed", "calibrated"))
    ]
    assert (
        "Settings chosen on validation samples: fno (2 trials of 40s)."
        in Table.of([*rows(fno=0.01), *trials]).markdown()
    )


def test_latex_escapes_and_stresses() -> None:
    panel = Panel("a_b", ["", "50%"], [["x_1 & y", "≥ 3"], ["~{z}", "<1"]], bold={0})
    body = panel.latex().splitlines()
    assert body[0] == "% a_b" and body[1] == r"\begin{tabular}{lr}" and body[3] == r" & 50\% \\"
    assert body[5] == r"\textbf{x\_1 \& y} & \textbf{$\geq$ 3} \\"
    assert body[6] == r"\textasciitilde{}\{z\} & $<$1 \\"
    text = Table.of(rows(fno=0.01, unet=0.0101)).latex()
    assert all(line.isascii() for line in text.splitlines() if not line.startswith("%"))


def test_nothing_gives_an_empty_table() -> None:
    assert Table.of([]).records() == [] and Table.of([]).csv() == "\n" and Table.of([]).markdown() == "\n"
    only = Table.of([{"kind": "benchmark", **PLACE, "description": {}}])
    assert only.records() == [] and "## heat/v1 (0a)" in only.markdown()
