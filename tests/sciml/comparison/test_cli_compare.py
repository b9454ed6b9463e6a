"""``sciml compare``: what it writes and prints, with which status, and what it refuses."""

from __future__ import annotations

import json
import pickle
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sciml.cli.compare import OwnFunction, entries_of
from sciml.cli.options import CompareOptions
from sciml.comparison.benchmarks import BENCHMARKS
from sciml.comparison.entry import Entry
from sciml.comparison.fields import FieldContest
from sciml.comparison.problems import ProblemContest
from sciml.datasets.darcy import Darcy
from sciml.datasets.poisson import PoissonWithHoles
from sciml.pinns.problems import Poisson, Wave

Run = Callable[..., tuple[int, str, str]]
QUICK = ("--operators", "fno,mine=fno", "--seeds", "1", "--budget", "2steps")
SMALL = ("--set", "fno.modes=2", "--set", "fno.width=4", "--set", "mine.modes=2", "--set", "mine.width=2")

OWN = """
import torch

def build(in_channels, out_channels, data, kernel=1):
    return torch.nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)

def wrong(in_channels):
    return torch.nn.Conv2d(in_channels, 3, 1)
"""

POINTS = """
import torch

def build(in_channels, out_channels):
    return torch.nn.Linear(in_channels, out_channels)

def conv(in_channels, out_channels):
    return torch.nn.Conv2d(in_channels, out_channels, 1)
"""


@pytest.fixture(scope="module")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "flow.h5"
    Darcy(resolution=8).make(path, train=6, valid=2, test=3, workers=1)
    return path


@pytest.fixture(autouse=True)
def quick_page(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pages are tested elsewhere; the list holds the commands that they show."""
    commands: list[str] = []

    def write_page(path: Path, rows: Any, examples: Any, *, command: str, **_: Any) -> None:
        commands.append(command)
        path.write_text("a page")

    monkeypatch.setattr("sciml.comparison.page.write_page", write_page)
    monkeypatch.setattr("sys.argv", ["sciml", "compare", "a file.h5"])
    return commands


def test_a_file_is_compared_and_the_result_is_kept(
    run: Run, data_file: Path, inline: list[tuple[Any, ...]], quick_page: list[str]
) -> None:
    command = ("compare", data_file, *QUICK, *SMALL, "--output", "table")
    status, out, err = run(*command)
    assert status == 0, err
    assert {path.name for path in Path("table").iterdir() if path.is_file()} == {
        "rows.jsonl",
        "report.html",
        "command.sh",
        "table.md",
        "table.csv",
        "table.tex",
    }
    lines = out.splitlines()
    for name in ("fno", "mine", "mean of training outputs"):
        assert any(line.startswith(f"| {name} ") for line in lines), out
    assert "fno on flow, seed 0: relative L2" in err
    assert quick_page == ["sciml compare 'a file.h5'"]
    units = [call for call in inline if call[0] == "run_unit"]
    assert [call[1].entry.settings for call in units] == [{"modes": 2, "width": 4}, {"modes": 2, "width": 2}]
    inline.clear()
    status, out, err = run(*command, "--json")
    assert (status, inline) == (0, [])
    result = json.loads(out)
    assert result["failed"] == 0 and {row["kind"] for row in result["rows"]} == {
        "benchmark",
        "unit",
        "reference",
    }
    kept = [json.loads(line) for line in Path("table/rows.jsonl").read_text().splitlines()]
    assert result["rows"] == kept
    # Other settings under the same name are another entry.
    status, out, err = run(*command, "--set", "fno.depth=1")
    assert status == 2
    assert "holds results of 'fno' with other settings (settings.depth: None there, 1 now)" in err


def test_numbers_of_samples_and_other_resolutions(
    run: Run, data_file: Path, inline: list[tuple[Any, ...]]
) -> None:
    other = ("--samples", "2,5", "--resolutions", "16")
    status, out, err = run("compare", data_file, *QUICK, *SMALL, *other, "--json")
    assert status == 0, err
    result = json.loads(out)
    units = [row for row in result["rows"] if row["kind"] == "unit"]
    assert all(list(row["transfer"]) == ["16x16"] for row in units)
    assert result["folder"].startswith(str(Path.cwd() / "runs" / "compare-"))
    found = [(row["samples"], row["entry"]) for row in result["rows"] if row["kind"] == "unit"]
    assert found == [(2, "fno"), (2, "mine"), (5, "fno"), (5, "mine")]


def test_a_search_comes_first(
    run: Run, data_file: Path, inline: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "sciml.comparison.search.run_isolated", lambda f, *given, **_: f(lambda told: None, *given)
    )
    command = ("compare", data_file, "--operators", "fno", "--seeds", "1", "--budget", "2steps", "--json")
    status, out, err = run(*command, "--search", "2", "--search-budget", "3steps", "--output", "table")
    assert status == 0, err
    rows = json.loads(out)["rows"]
    trials = [row for row in rows if row["kind"] == "search"]
    best = min(trials, key=lambda row: row["valid"]["relative_l2"])
    (unit,) = (row for row in rows if row["kind"] == "unit")
    chosen = {**unit["settings"]["settings"], **unit["settings"]["training"]}
    assert len(trials) == 2 and chosen == best["settings"]
    assert {(row["budget"], row["steps"]) for row in trials} == {("3steps", 3)} and unit["steps"] == 2
    # Trials of another budget do not decide with these, and by default they have that of the training.
    status, _, err = run(*command, "--search", "2", "--output", "table")
    assert status == 2 and "holds trial 0 of 'fno' with other budget" in err
    status, out, err = run(*command, "--search", "1")
    assert status == 0, err
    assert {row["budget"] for row in json.loads(out)["rows"] if row["kind"] == "search"} == {"2steps"}
    assert len(list(Path("runs").glob("compare-*"))) == 1


def test_several_commands_fill_one_folder(
    run: Run,
    data_file: Path,
    inline: list[tuple[Any, ...]],
    quick_page: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Operators for grids on a grid, one for points on meshes; the last report has all of them."""
    PoissonWithHoles(resolution=8).make("holes.h5", train=6, valid=2, test=2, workers=1)
    own = ("--allow-code", "--seeds", "1", "--budget", "2steps", "--output", "table")
    Path("points.py").write_text(POINTS)
    commands = (
        (str(data_file), "--operators", "fno", "--set", "fno.modes=2", "--set", "fno.width=4", *own),
        ("holes.h5", "--operators", "points=points.py:build", *own),
        (str(data_file), "--operators", "points=points.py:conv", *own),
    )
    for command in commands:
        monkeypatch.setattr("sys.argv", ["sciml", "compare", *command])
        status, out, err = run("compare", *command)
        assert status == 0, err
    lines = [line.split()[1:4:2] for line in out.splitlines() if line.startswith("|")][2:]
    assert sorted(lines[:3]) == [["fno", "flow"], ["points", "flow"], ["points", "holes"]]
    assert "## flow" in out and "## holes" in out
    told = [shlex.join(["sciml", "compare", *command]) for command in commands]
    assert quick_page == ["\n".join(told[:n]) for n in (1, 2, 3)]
    # Each command again does nothing, and is not told twice.
    inline.clear()
    status, again, err = run("compare", *commands[-1])
    assert (status, again, inline) == (0, out, [])
    assert Path("table/command.sh").read_text().splitlines() == told


def test_a_users_model_needs_permission(run: Run, data_file: Path, inline: list[tuple[Any, ...]]) -> None:
    command = ("compare", data_file, "--seeds", "1", "--budget", "2steps", "--output", "table")
    own = ("--operators", "models/mymodel.py:build", "--set", "models/mymodel.py:build.kernel=3")
    status, out, err = run(*command, *own)
    assert status == 2 and "allow it with --allow-code" in err
    Path("models").mkdir()
    Path("models/mymodel.py").write_text(OWN)
    status, out, err = run(*command, *own, "--allow-code", "--json")
    assert status == 0, err
    (unit,) = (row for row in json.loads(out)["rows"] if row["kind"] == "unit")
    assert unit["entry"] == "models/mymodel.py:build"
    assert (unit["status"], unit["parameters"]) == ("finished", 10)  # 3 x 3 weights and a bias
    assert len(unit["settings"]["code"]) == 64
    # Children load the file again: the function itself would not be found there.
    again = pickle.loads(pickle.dumps(OwnFunction(str(Path("models/mymodel.py").absolute()) + ":build")))
    assert again(1, 1, None).kernel_size == (1, 1)


def test_failures_have_a_status_and_a_sentence(
    run: Run, data_file: Path, inline: list[tuple[Any, ...]]
) -> None:
    Path("mymodel.py").write_text(OWN)
    command = ("compare", data_file, "--operators", "mymodel.py:wrong,mymodel.py:build", "--allow-code")
    command += ("--seeds", "1", "--budget", "2steps", "--output", "table")
    status, out, err = run(*command)
    assert status == 6
    assert (
        "1 of 2 trainings have no result; the first: mymodel.py:wrong on flow, seed 0, failed: ShapeError"
        in err
    )
    assert any(line.startswith("| mymodel.py:build ") for line in out.splitlines())
    Path("mymodel.py").write_text(OWN.replace("in_channels, 3, 1", "in_channels, 1, 1"))
    status, out, err = run(*command[:3], "mymodel.py:wrong", *command[4:])
    assert status == 0, err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "needs a benchmark"),
        (("dracy",), "there is no benchmark, preset or file 'dracy'.* Did you mean 'darcy'"),
        (("pinn/poisson", "--operators", "smal"), "there is no recipe 'smal'.* Did you mean 'small'"),
        (("pinn/wave", "--operators", "plain+RAD(evry=3)", "--budget", "2steps"), "Did you mean 'every'"),
        (
            ("pinn/wave", "--operators", "a=plain+samplers", "--budget", "2steps"),
            "which cannot have one name",
        ),
        (("pinn/wave", "--operators", "plain+R3,plain+r3"), "plain\\+R3 is named twice"),
        (("pinn/wave(mdoe=4)",), "Wave takes mode=3; got mdoe=4. Did you mean 'mode'"),
        (("pinn/wav(mode=4)",), "there is no benchmark, preset or file"),
        (("pinn/poisson",), "--budget is needed"),
        (("darcy", "pinn/poisson"), "not both at once"),
        (("darcy", "--inputs", "a", "--outputs", "u"), "darcy has its own data"),
        (("FILE", "--operators", "fmo"), "there is no operator 'fmo'.* Did you mean 'fno'"),
        (("FILE", "--operators", "fno,fno"), "fno is named twice"),
        (("FILE", "--operators", "fno", "--set", "fno.widht=3"), "no setting widht.* Did you mean 'width'"),
        (("FILE", "--operators", "fno", "--set", "width=3"), "OPERATOR.NAME=VALUE"),
        (("FILE", "--operators", "fno", "--set", "fnoo.width=3"), "Did you mean 'fno'"),
        (("FILE", "--operators", "fno", "--set", "fno.rank=3"), "the data decide its rank"),
        (("FILE", "--budget", "40"), "expected seconds, minutes, hours, steps or FLOPs"),
        (("FILE", "--search-budget", "9s"), "give their number: --search 8"),
        (("FILE", "--search", "2", "--search-budget", "9"), "expected seconds, minutes"),
        (("FILE", "--samples", "100,0"), "--samples takes whole numbers"),
        (("FILE", "--seeds", "0"), "--seeds and --jobs must be at least 1"),
        (("FILE", "--budget", "9s", "--jobs", "2"), "2 units at a time with the time budget 9s"),
        (("FILE", "--device", "warp"), "the device warp cannot be used here"),
    ],
)
def test_mistakes_are_usage_errors_before_any_work(
    run: Run, data_file: Path, inline: list[tuple[Any, ...]], arguments: tuple[str, ...], message: str
) -> None:
    status, out, err = run("compare", *(str(data_file) if a == "FILE" else a for a in arguments))
    assert (status, out, inline) == (2, "", [])
    assert len(err.splitlines()) == 1
    assert re.search(message, err), err


def test_settings_go_where_they_belong() -> None:
    options = CompareOptions(
        operators="fno, other=fno",
        settings=("fno.width=8", "fno.learning_rate=1e-2", "other.modes=(3, 2)"),
    )
    contest = FieldContest(BENCHMARKS["darcy/smooth-85/v1"])
    first, second = entries_of(options, [contest])
    assert isinstance(first, Entry) and isinstance(second, Entry)
    assert (first.settings, first.training) == ({"width": 8}, {"learning_rate": 0.01})
    assert (second.name, second.settings, second.training) == ("other", {"modes": (3, 2)}, {})


def test_recipes_are_known_by_their_one_spelling(run: Run, inline: list[tuple[Any, ...]]) -> None:
    """Another text for the same recipe or problem finds its rows again."""
    small, quick = "MLP(width=4,depth=1)", ("--seeds", "1", "--budget", "2steps", "--json")
    texts = f"plain+{small}+RAD(every=1,pool=2),mine=plain+NTK(probes=1)+{small}"
    status, out, err = run(
        "compare", "pinn/wave(mode=4)", "--operators", texts, "--set", "mine.points=50", *quick
    )
    assert status == 0, err
    found = json.loads(out)
    units = [row for row in found["rows"] if row["kind"] == "unit"]
    assert [row["entry"] for row in units] == ["plain+RAD(every=1,pool=2)+MLP(width=4,depth=1)", "mine"]
    assert {row["benchmark"] for row in units} == {"pinn/wave(mode=4)"}
    assert (
        all(row["status"] == "finished" for row in units)
        and units[1]["settings"]["arguments"]["points"] == 50
    )
    (head,) = (row for row in found["rows"] if row["kind"] == "benchmark")
    assert [row["value"] for row in head["published"]] == [9.79e-2]
    inline.clear()
    again = f"PLAIN + rad(1, pool=2) + mlp(depth=1, width=4), mine=plain+{small}+ntk(probes=1)"
    command = ("compare", "pinn/wave( mode = 4 )", "--operators", again, "--set", "mine.points=50", *quick)
    assert run(*command)[:2] == (0, out) and inline == []


def test_words_stand_for_what_the_problem_takes(capsys: pytest.CaptureFixture[str]) -> None:
    contests = [ProblemContest(Poisson()), ProblemContest(Wave())]
    options = CompareOptions(
        operators="fresh, one=plain+MLP(width=4,depth=1)+Sobol, plain+MLP(width=4,depth=1)+weightings"
    )
    names = [entry.name for entry in entries_of(options, contests)]
    assert names[:2] == ["fresh", "one"]
    assert {"plain+NTK+MLP(width=4,depth=1)", "plain+ResidualAttention+MLP(width=4,depth=1)"} <= {*names}
    assert not [name for name in names if "Causal" in name]
    left_out = capsys.readouterr().err.splitlines()
    assert any("+Causal is left out: Causal: Poisson has no time to respect" in line for line in left_out)


def test_without_names_those_recipes_compete_that_suit_all_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    able = {"Wave": ["small", "precise", "plain"], "Poisson": ["small", "deep-ritz", "plain"]}
    monkeypatch.setattr("sciml.cli.compare.contenders", lambda problem: able[type(problem).__name__])
    contests = [ProblemContest(Poisson()), ProblemContest(Wave())]
    assert [entry.name for entry in entries_of(CompareOptions(), contests)] == ["small", "plain"]
    assert [entry.name for entry in entries_of(CompareOptions(), contests[:1])] == able["Poisson"]


def test_the_benchmarks_are_listed(run: Run) -> None:
    status, out, _ = run("compare", "--list")
    assert status == 0 and "darcy/smooth-85/v1" in out and "pinn/poisson" in out
    assert "Wave1d-C" in next(line for line in out.splitlines() if "pinn/wave(mode=4)" in line)
    status, out, _ = run("compare", "--list", "--json")
    assert set(BENCHMARKS) < set(json.loads(out)["benchmarks"])


def test_a_file_of_others_is_compared(run: Run, inline: list[tuple[Any, ...]], test_data: Path) -> None:
    file = test_data / "neuraloperator" / "darcy_train_16.pt"
    small = ("--set", "fno.modes=2", "--set", "fno.width=4")
    command = ("compare", file, "--operators", "fno", *small, "--seeds", "1", "--budget", "2steps", "--json")
    status, out, err = run(*command)
    assert status == 0, err
    rows = json.loads(out)["rows"]
    assert {row["benchmark"] for row in rows} == {"darcy_train_16"}
    assert [row["status"] for row in rows if row["kind"] == "unit"] == ["finished"]
