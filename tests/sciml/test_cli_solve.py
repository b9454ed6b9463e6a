"""``sciml solve``: what it prints, writes and returns."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import xarray

from sciml.cli import main
from sciml.cli.options import SolveOptions
from sciml.cli.solve import Asked, _asked, recipe_of
from sciml.kernels import Exact, Hutchinson, SparseDirections
from sciml.pinns import recipes
from sciml.pinns.networks import MLP
from sciml.pinns.report import write_report
from sciml.run import RunFolder

Run = Callable[..., tuple[int, str, str]]

OWN = """
from sciml.kernels import d, evaluate
from sciml.pinns import Box, Dirichlet, Domain, Initial, Problem

class Beam(Problem):
    '''-u'' = load, u = 0 at both ends.'''
    domain = Domain(Box(((0.0, 1.0),)))
    conditions = (Dirichlet(0.0),)
    grid = (41,)

    def __init__(self, load=1.0, more=()):
        self.load = load + sum(more)

    def residual(self, u, x):
        return evaluate(u, x, [d("xx")])[1] + self.load

    def exact(self, x):
        return self.load * x[:, 0] * (1 - x[:, 0]) / 2

class Growth(Problem):
    '''u_t = u on a line that it ignores.'''
    domain = Domain(Box(((0.0, 1.0),)), time=(0.0, 1.0))
    conditions = (Initial(1.0),)
    grid = (5, 9)

    def residual(self, u, x):
        value, rate = evaluate(u, x, [d("t", variables="xt")])
        return rate - value

    def exact(self, x):
        return x[:, 1].exp()

not_a_problem = dict
"""

SHORT = ("--recipe", "plain", "--steps", "3")


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCIML_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _plain_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages take seconds to draw, and have tests of their own; here only what goes into them."""

    def plain(path: Path, **given: Any) -> None:
        bound = inspect.signature(write_report).bind(path, **given)
        path.write_text(f"{bound.arguments['title']} {given['verdict']} {given['facts']['Problem']}")

    monkeypatch.setattr("sciml.cli.conclusion.write_report", plain)


@pytest.fixture
def beam() -> str:
    """A class of the user's own, in the current folder."""
    Path("own.py").write_text(OWN)
    return "own.py:Beam"


def test_solve_prints_one_json_object(run: Run, beam: str) -> None:
    """The contract for programs: these keys stay."""
    command = ("solve", beam, "--allow-code", *SHORT, "--seed", "2", "--output", "run", "--json")
    status, out, err = run(*command)
    assert status == 0 and out.count("\n") == 1
    result = json.loads(out)
    assert {"problem", "relative_l2", "seconds", "steps", "parameters", "run"} <= result.keys()
    assert result["problem"] == beam and result["run"] == "run" and result["seed"] == 2
    assert result["steps"] == 3 and result["parameters"] == 1951 and result["finished"]
    assert 0 < result["relative_l2"] < 10 and result["seconds"] > 0
    assert result["reference"]["source"] == "formula" and len(result["fingerprint"]) == 8
    kinds = [y["kind"] for y in result["yardsticks"]]
    assert kinds == ["trivial", "trivial"]
    assert all(Path(name).exists() for name in result["files"])
    with xarray.open_dataset("run/solution.nc") as data:
        assert {"u", "error", "residual"} == set(data.data_vars)
        assert data.attrs["relative_l2"] == result["relative_l2"]
        found = float(((data.error**2).sum() / ((data.u - data.error) ** 2).sum()) ** 0.5)
        assert found == pytest.approx(result["relative_l2"], rel=1e-12)
    page = Path("run/report.html").read_text()
    assert result["fingerprint"] in page and "own.py:Beam" in page and "Relative L2 error" in page
    assert "solving 3/3, Adam, loss" in err and "boundary" in err and "error" in err


def test_a_recipe_with_other_parts_is_one_question_however_it_is_written(run: Run, beam: str) -> None:
    command = ("solve", beam, "--allow-code", "--steps", "2", "--json", "--recipe")
    first = json.loads(run(*command, "plain+RAD(every=2,pool=2)+MLP(width=4)")[1])
    assert first["recipe"] == "plain+RAD(every=2,pool=2)+MLP(width=4)" and first["parameters"] == 53
    status, out, err = run(*command, "Plain + mlp(width=4) + rad(2, pool=2)")
    assert status == 0 and json.loads(out) == first and "judging" not in err
    status, _, err = run(*command, "plain+RADD")
    assert status == 2 and "Did you mean 'RAD'" in err


def test_a_finished_run_is_printed_not_trained(run: Run, beam: str) -> None:
    command = ("solve", beam, "--allow-code", *SHORT, "--output", "run")
    first = json.loads(run(*command, "--json")[1])
    status, out, err = run(*command, "--json")
    assert status == 0 and json.loads(out) == first and "judging" not in err
    status, shown, _ = run(*command)
    assert status == 0 and "best linear network" in shown and "report.html" in shown
    Path("run/report.html").unlink()  # lost, or never written because the process was killed
    status, out, err = run(*command, "--json")
    assert status == 0 and "judging" in err and json.loads(out)["relative_l2"] == first["relative_l2"]


def test_a_limit_of_time_stops_and_a_larger_one_goes_on(run: Run, beam: str) -> None:
    command = ("solve", beam, "--allow-code", *SHORT, "--json")
    status, out, err = run(*command, "--time-limit", "1e-9")
    result = json.loads(out)
    assert status == 0 and result["steps"] == 1 and not result["finished"]
    assert "larger --time-limit" in err and Path(result["files"][0]).exists()
    # The limit does not belong to the settings: the default folder is the same, and the stored result counts.
    assert run(*command, "--time-limit", "1e-9")[1] == out
    status, out, _ = run(*command, "--time-limit", "1000")
    later = json.loads(out)
    assert later["run"] == result["run"] and later["steps"] == 3 and later["finished"]
    whole = json.loads(run(*command, "--output", "whole")[1])
    assert whole["relative_l2"] == later["relative_l2"] and whole["loss"] == later["loss"]
    assert run(*command, "--time-limit", "0", "--output", "other")[0] == 2


def test_other_settings_in_the_same_folder_are_refused_and_forced(run: Run, beam: str) -> None:
    command = ("solve", beam, "--allow-code", *SHORT, "--output", "run")
    assert run(*command)[0] == 0
    status, out, err = run(*command, "--set", "load=2.0")
    assert status == 2 and out == "" and "load: None there, 2.0 now" in err and "--force" in err
    Path("own.py").write_text(OWN.replace("+ self.load", "+ 2 * self.load"))
    status, _, err = run(*command)
    assert status == 2 and "mathematics" in err and "code" in err
    status, out, _ = run(*command, "--force", "--json")
    assert status == 0 and json.loads(out)["steps"] == 3


def test_like_repeats_a_run(run: Run, beam: str) -> None:
    command = ("solve", beam, "--allow-code", "--set", "more=(2.0, 1.0)", *SHORT, "--output", "a", "--json")
    first = json.loads(run(*command)[1])
    again = json.loads(run("solve", "--like", "a", "--allow-code", "--output", "b", "--json")[1])
    assert again["relative_l2"] == first["relative_l2"] and again["fingerprint"] == first["fingerprint"]
    assert again["arguments"] == first["arguments"]
    other = json.loads(
        run("solve", "--like", "a", "--allow-code", "--seed", "1", "--output", "c", "--json")[1]
    )
    assert other["relative_l2"] != first["relative_l2"] and other["seed"] == 1
    status, _, err = run("solve", "--like", "a", "--allow-code", "--steps", "5", "--dim", "3")
    assert status == 2 and "leave out --dim, --steps" in err
    Path("own.py").write_text(OWN.replace("+ self.load", "+ 2 * self.load"))
    status, _, err = run("solve", "--like", "a", "--allow-code")
    assert status == 2 and "it is another problem" in err
    status, _, err = run("solve", "--like", "nowhere")
    assert status == 2 and "problem.json" in err


def test_the_default_recipe_is_the_one_that_suits(run: Run) -> None:
    command = ("solve", "poisson-of-sines", "--steps", "2", "--time-limit", "1e-9", "--json")
    high = json.loads(run(*command, "--set", "dim=21")[1])
    assert high["recipe"] == "high-dim" and high["arguments"] == {"dim": 21}
    record = RunFolder(high["run"]).read()
    assert record is not None and "SparseDirections" in json.dumps(record["settings"])


def test_list_names_problems_and_recipes(run: Run) -> None:
    status, out, _ = run("solve", "--list", "--json")
    listed = json.loads(out)
    assert status == 0 and {"burgers", "allen-cahn", "poisson-of-sines"} <= listed["problems"].keys()
    assert listed["problems"]["poisson-of-sines"]["arguments"] == {"dim": 5}
    assert {"small", "robust", "high-dim", "sharp", "precise", "inverse"} <= set(listed["recipes"])
    inverse = {"burgers-constants", "lorenz-constants", "reaction-constants", "diffusion-coefficient"}
    assert inverse <= listed["problems"].keys()
    status, out, _ = run("solve", "--list")
    assert status == 0 and "burgers: " in out and "viscosity=" in out and "precise" in out


@pytest.fixture
def small_inverse(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe for unknowns, with fewer weights and points."""
    small = replace(recipes.INVERSE, network=partial(MLP, width=4, depth=1), points=20)
    monkeypatch.setattr(recipes, "INVERSE", small)
    monkeypatch.setitem(recipes.RECIPES, "inverse", small)


@pytest.mark.filterwarnings("ignore:the data do not determine")  # nor does anything, after three steps
def test_unknown_numbers_are_told_with_their_errors(run: Run, small_inverse: None) -> None:
    command = ("solve", "lorenz-constants", "--set", "measurements=10", "--steps", "3", "--output", "run")
    status, out, _ = run(*command, "--json")
    result = json.loads(out)
    assert status == 0 and result["recipe"] == "inverse"
    found = result["unknowns"]
    assert list(found) == list(result["coefficients"]) == ["sigma", "rho", "beta"]
    assert found["rho"]["value"] == result["coefficients"]["rho"] != 1.0  # where it began
    assert found["rho"]["relative_error"] == pytest.approx(abs(found["rho"]["value"] / 15 - 1), rel=1e-9)
    assert found["rho"]["standard_error"] > 0 and found["rho"]["determined"] in (True, False)
    status, out, _ = run(*command)
    assert status == 0 and f"rho: {found['rho']['value']:.6g}, standard error" in out
    # A folder of an earlier version has values alone.
    del result["unknowns"]
    Path("run/solution.json").write_text(json.dumps(result))
    status, out, _ = run(*command)
    assert status == 0 and f"rho: {found['rho']['value']:.6g}\n" in out


def test_an_unknown_function_is_told_with_one_error(run: Run, small_inverse: None) -> None:
    asked = "diffusion-coefficient --set measurements=20 --steps 3 --output run"
    status, out, _ = run("solve", *asked.split())
    assert status == 0 and "a: a function, in solution.nc, standard error" in out and "% in L2" in out
    found = json.loads(Path("run/solution.json").read_text())
    assert found["coefficients"] == {} and found["unknowns"]["a"]["value"] is None
    assert found["unknowns"]["a"]["standard_error"] > 0 and found["unknowns"]["a"]["relative_error"] < 1
    with xarray.open_dataset("run/solution.nc") as data:
        assert "coefficient_a" in data.data_vars


def test_what_is_not_there_is_told(run: Run, beam: str) -> None:
    for arguments, expected in (
        (("burger",), "there is no problem 'burger'"),
        (("burgers", "--set", "nu=0.1"), "problem burgers has no such setting; it has viscosity"),
        (("burgers", "--recipe", "smal"), "there is no recipe 'smal'"),
        ((), "needs a problem"),
        ((beam,), "allow it with --allow-code"),
        (("own.py:Column", "--allow-code"), "write it as a subclass of sciml.pinns.Problem"),
        (("own.py:not_a_problem", "--allow-code"), "no subclass of sciml.pinns.Problem"),
        (("poisson-of-sines", "--set", "dim=0"), "dim must be at least 1"),
        (("lorenz-constants", "--set", "noise=-1"), "noise is not negative"),
    ):
        status, out, err = run("solve", *arguments)
        assert (status, out) == (2, "") and expected in err, err


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "sciml solve burgers --time-limit 60" in shown and "--json" in shown and "--list" in shown


def test_a_polynomial_is_taken_where_solutions_flatten_unless_derivatives_are_estimated(run: Run) -> None:
    command = ("solve", "sine-gordon", "--dim", "101", "--steps", "2")
    status, shown, _ = run(*command, "--output", "run")
    assert status == 0 and "best constant" in shown and "best linear network" in shown
    found = json.loads(run(*command, "--output", "run", "--json")[1])
    assert found["recipe"] == "polynomial" and found["parameters"] == 1 + 101 + 101**2
    for asked in (SolveOptions(dim=101, estimator="sparse"), SolveOptions(dim=101, samples=4)):
        assert _asked("sine-gordon", asked, None)[1].recipe == "high-dim"


FAST = ("--steps", "2", "--recipe", "high-dim", "--json")


def test_dimension_estimator_and_samples_are_part_of_the_question(run: Run) -> None:
    command = ("solve", "sine-gordon", "--dim", "21", *FAST, "--output", "run")
    asked = ("--estimator", "sparse", "--samples", "4")
    status, out, _ = run(*command, *asked)
    result = json.loads(out)
    assert status == 0 and result["arguments"] == {"dim": 21}
    assert result["estimator"] == "SparseDirections(samples=4, replacement=False, per_point=False)"
    assert result["steps_per_second"] > 0 and result["peak_memory_bytes"] > 2**20
    assert [y["name"] for y in result["yardsticks"]] == ["best constant", "best linear network"]
    record = json.loads(Path("run/problem.json").read_text())
    assert (record["estimator"], record["samples"], record["arguments"]) == ("sparse", 4, {"dim": 21})
    status, _, err = run(*command, "--estimator", "sparse", "--samples", "5")
    assert status == 2 and "samples: 4 there, 5 now" in err
    again = json.loads(run("solve", "--like", "run", "--output", "again", "--json")[1])
    assert again["relative_l2"] == result["relative_l2"] and again["estimator"] == result["estimator"]
    # A folder that was written before questions had these.
    old = {key: value for key, value in record.items() if key not in ("estimator", "samples", "windows")}
    Path("run/problem.json").write_text(json.dumps(old))
    assert "estimator: None there, sparse now" in run(*command, *asked)[2]


def test_estimators_by_name(run: Run) -> None:
    asked = Asked("sine-gordon", {}, "", "high-dim", None, 0)
    for given, expected in (
        ({}, SparseDirections(16)),
        ({"samples": 3}, SparseDirections(3)),
        ({"estimator": "hutchinson"}, Hutchinson(16)),
        ({"estimator": "hutchinson", "samples": 2}, Hutchinson(2)),
        ({"estimator": "exact"}, Exact()),
        ({"recipe": "small"}, Exact()),
    ):
        assert recipe_of(replace(asked, **given)).estimator == expected  # type: ignore[arg-type]
    command = ("solve", "sine-gordon", "--dim", "21", *FAST)
    for wrong, told in (
        (("--estimator", "exact", "--samples", "3"), "belongs to a random estimator"),
        (("--samples", "0"), "at least 1, got 0"),
        (("--set", "dim=3"), "--dim 21 and --set dim=3 contradict each other"),
        (("--estimator", "dense"), "dense"),
    ):
        status, out, err = run(*command, *wrong)
        assert (status, out) == (2, "") and told in err, err
    status, _, err = run("solve", "burgers", "--dim", "3")
    assert status == 2 and "no such setting" in err
    status, _, err = run("solve", "burgers", "--estimator", "sparse", "--steps", "2", "--output", "b")
    assert status == 2 and "takes no estimate" in err


def test_a_march_is_solved_window_by_window(run: Run, beam: str) -> None:
    growth = (beam.replace("Beam", "Growth"), "--allow-code")
    command = ("solve", *growth, "--steps", "2", "--recipe", "plain", "--windows", "2", "--json")
    first = json.loads(run(*command, "--time-limit", "1e-9", "--output", "run")[1])
    assert first["steps"] == 1 and not first["finished"] and first["windows"] == 2
    status, out, err = run(*command, "--output", "run")
    result = json.loads(out)
    assert status == 0 and result["steps"] == result["steps_asked"] == 4 and result["finished"]
    assert "in each of 2 windows" in err and all(Path(name).exists() for name in result["files"])
    assert Path("run/window-01/run.json").exists()
    assert json.loads(run(*command, "--output", "run")[1]) == result  # stored
    whole = json.loads(run(*command, "--output", "whole")[1])
    assert whole["relative_l2"] == result["relative_l2"]
    status, _, err = run("solve", "poisson", "--windows", "2", "--steps", "2")
    assert status == 2 and "no time to march through" in err


def test_a_problem_marches_by_itself_if_it_is_known_to_need_it(run: Run) -> None:
    asked = json.loads(run("solve", "convection", "--steps", "2", "--time-limit", "1e-9", "--json")[1])
    assert (asked["recipe"], asked["windows"], asked["steps_asked"]) == ("window", 3, 6)
