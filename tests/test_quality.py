"""ruff, mypy --strict, the examples in docstrings, and the things that no file of the package may do."""

import ast
import doctest
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS: dict[str, str] = SETTINGS["tool"]["setuptools"]["package-dir"]


def modules() -> Iterator[tuple[str, Path]]:
    """Name and file of every module of the package, links to areas left out."""
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            inner = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join([package, *inner]).removesuffix(".__init__")
            if package != "sciml" or ".".join(name.split(".")[:2]) not in FOLDERS:
                yield name, path


MODULES = dict(modules())


def run_tool(*command: str) -> None:
    result = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ}
    )
    assert result.returncode == 0, "\n" + result.stdout + result.stderr


def test_ruff_check() -> None:
    run_tool("-m", "ruff", "check", ".")


def test_ruff_format() -> None:
    run_tool("-m", "ruff", "format", "--check", ".")


def test_mypy_strict(pytestconfig: pytest.Config) -> None:
    """The first run reads the stubs of torch and takes half a minute; later ones read the cache."""
    run_tool("tools/link_packages.py")
    run_tool("-m", "mypy", "--cache-dir", str(pytestconfig.cache.mkdir("mypy")))


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if ".triton" in name and find_spec("triton") is None:
        pytest.skip("Triton is not installed")
    monkeypatch.chdir(tmp_path)  # an example that writes a file writes it there
    assert doctest.testmod(import_module(name)).failed == 0


UNSAFE_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
# A function on its way from one process of ours to its child, through a pipe that nobody else holds.
PIPES = {"sciml.comparison.isolation", "sciml.comparison.isolated_child"}
UNSAFE_CALLS = {"eval", "exec", "os.system", "os.popen", "yaml.load", "torch.hub.load", "__import__"}
# joblib runs our generators in child processes; what it reads from files is a pickle.
UNSAFE_CALLS |= {"joblib.load", "joblib.dump", "joblib.Memory"}
UNSAFE_ARGUMENTS = {("weights_only", False), ("allow_pickle", True), ("shell", True)}


def unsafe(source: str) -> Iterator[str]:
    """Whatever lets a file from elsewhere run code: data are never code. Read from the syntax tree."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in UNSAFE_MODULES)
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from sorted(names & UNSAFE_CALLS)
            if (node.module or "").split(".")[0] in UNSAFE_MODULES:
                yield str(node.module)
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.hub":
            yield "torch.hub"
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in UNSAFE_CALLS:
                yield called
            keywords = {(k.arg, k.value.value) for k in node.keywords if isinstance(k.value, ast.Constant)}
            yield from (f"{name}={value}" for name, value in keywords & UNSAFE_ARGUMENTS)
            if called == "torch.load" and ("weights_only", True) not in keywords:
                yield "torch.load without weights_only=True"


@pytest.mark.parametrize("name", MODULES)
def test_data_are_never_code(name: str) -> None:
    allowed = {"pickle", "cloudpickle"} if name in PIPES else set()
    assert set(unsafe(MODULES[name].read_text(encoding="utf-8"))) <= allowed


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.load(f)",
        "from pickle import load",
        "eval('1')",
        "exec(text)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f, allow_pickle=True)",
        "yaml.load(f)",
        "subprocess.run(c, shell=True)",
        "torch.hub.load('a', 'b')",
    ],
)
def test_the_search_finds(source: str) -> None:
    assert list(unsafe(source))


def test_the_search_lets_pass() -> None:
    assert not list(unsafe("model.eval()\ntorch.load(f, weights_only=True)\nnp.load(f, allow_pickle=False)"))
