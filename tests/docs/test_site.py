"""The documentation site: docstrings as they are meant, a page for every public name."""

import importlib.util
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from sciml.cli import names
from sciml.operators.presets import setups
from sciml.pinns import problems

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(autouse=True)
def _modules_of_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("values (..., *grid.shape) of |u|", r"values (..., \*grid.shape) of \|u\|"),
        ("``(*shape)`` and `|u|`", "``(*shape)`` and `|u|`"),
        ("**to the last bit**", "**to the last bit**"),
        ("w_t_ = 0", r"w_t\_ = 0"),
    ],
)
def test_signs_of_mathematics_are_no_markup(given: str, meant: str) -> None:
    docstrings = import_module("site_docstrings")
    lines = ["Title.", "", given]
    docstrings.process(None, "", "", None, None, lines)
    assert lines == ["Title.", "", meant]


def test_equations_keep_their_lines_and_descriptions_their_paragraphs() -> None:
    docstrings = import_module("site_docstrings")
    lines = ["With", "", "    a = b,", "    c = d.", "", "Parameters", "---", "x", "    One.", "", "    Two."]
    docstrings.process(None, "", "", None, None, lines)
    assert lines[:4] == ["With", "", "   | a = b,", "   | c = d."]
    assert lines[-4:] == ["x", "    One.", "", "    Two."]


def test_bullets_and_examples_stay() -> None:
    docstrings = import_module("site_docstrings")
    lines = ["Kinds:", "", "* one", "* a * b", "", "Examples", "--------", ">>> 2 * 3 | 1"]
    docstrings.process(None, "", "", None, None, lines)
    assert lines == ["Kinds:", "", "* one", r"* a \* b", "", "Examples", "--------", ">>> 2 * 3 | 1"]


def test_every_public_name_has_a_page(tmp_path: Path) -> None:
    pages = import_module("site_pages")
    written = {path.stem for path, _ in pages.reference(tmp_path)}
    for area in pages.AREAS:
        for name in import_module(area).__all__:
            assert {f"{area}.{name}", f"sciml.{name}"} & written


def test_every_example_has_a_page(tmp_path: Path) -> None:
    pages = import_module("site_pages")
    written = {path.stem: text for path, text in pages.gallery(tmp_path)}
    for script in (DOCS.parent / "examples").glob("*.py"):
        assert script.name in written[script.stem]
    for picture in pages.PICTURES.values():
        assert (DOCS / picture).exists()


def test_every_operator_and_every_published_set_up_is_on_their_page(tmp_path: Path) -> None:
    _, text = import_module("site_pages").operators(tmp_path / "operators.md")
    for name in names.operators():
        assert f"| `{name}` | " in text
    for name, setup in setups().items():
        assert f"| `{name}` | {setup.source}" in text
    widths = {line.replace(r"\|", "").count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {4}  # a bar of mathematics would be a column more


def test_every_problem_is_on_their_page_with_its_fingerprint(tmp_path: Path) -> None:
    _, text = import_module("site_pages").problems(tmp_path / "problems.md")
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(lines) == len(problems.__all__)
    assert problems.Burgers().fingerprint() in next(line for line in lines if line.startswith("| `burgers`"))
    assert {line.replace(r"\|", "").count("|") for line in lines} == {5}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("sphinx") is None, reason="sphinx is not installed (extra docs)")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-d", str(tmp_path / "trees")]
    built = subprocess.run(
        [*command, str(DOCS), str(tmp_path / "site")], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert (tmp_path / "site" / "_generated" / "leaderboard.html").exists()
