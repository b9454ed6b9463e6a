"""Imports point downward: cli, comparison, presets > pinns > operators, datasets > core > kernels.

Read from the syntax tree, so that imports inside functions count and nothing is executed.
"""

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What a layer may import of sciml, besides itself.
BELOW = {
    "kernels": set[str](),
    "core": {"kernels"},
    "operators": {"core", "kernels"},
    "datasets": {"core", "kernels"},
    "pinns": {"operators", "datasets", "core", "kernels"},
    "top": {"pinns", "operators", "datasets", "core", "kernels"},
}
AREAS = ("kernels", "operators", "datasets", "pinns")
TOP = ("cli", "comparison", "presets")


def layer(module: str) -> str:
    """The layer of a module by its full name; `sciml.grid` is core, `sciml.cli.train` is top."""
    parts = module.split(".")
    if len(parts) == 1 or parts[1] == "__main__":
        # All may import the root, which imports nothing; the entry point starts the command line.
        return "top" if parts[-1] == "__main__" else "core"
    return parts[1] if parts[1] in AREAS else "top" if parts[1] in TOP else "core"


def modules(root: Path) -> Iterator[tuple[str, Path]]:
    """Every module of the package with its name, in the folders at the root and in sciml/."""
    for area in (*AREAS, "sciml"):
        prefix = ["sciml"] if area == "sciml" else ["sciml", area]
        for path in sorted((root / area).rglob("*.py")):
            inner = path.relative_to(root / area).with_suffix("").parts
            if area == "sciml" and inner[0] in AREAS:
                continue  # reached through a link of tools/link_packages.py
            yield ".".join([*prefix, *inner]).removesuffix(".__init__"), path


def imports(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str, list[str]]]:
    """Line, imported module and imported names of every import, relative ones resolved."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, []
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            target = ".".join([*base, *([node.module] if node.module else [])])
            yield node.lineno, target, [alias.name for alias in node.names]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            # import_module("sciml.operators") and __import__ are imports too.
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            value = node.args[0].value
            if name in {"import_module", "__import__"} and isinstance(value, str):
                yield node.lineno, value, []


def judge_sciml(own: str, target: str, names: list[str], known: set[str]) -> Iterator[str]:
    """What is wrong with `from target import names` in a module of layer `own`."""
    if target == "sciml" and names:
        for name in names:
            if f"sciml.{name}" not in known:
                yield f"`from sciml import {name}`: import from the module that defines it"
        targets = [f"sciml.{name}" for name in names]
    else:
        targets = [target]
    for full in targets:
        other = layer(full)
        if other != own and other not in BELOW[own]:
            yield f"{own} must not import {full} ({other})"


def violations(root: Path) -> list[str]:
    """Every import that points upward or sideways, every kernel that imports more than torch."""
    found = []
    known = {name for name, _ in modules(root)}
    for module, path in modules(root):
        # The root offers names of all layers, and imports none before somebody asks (test_import_cost).
        own = "top" if module == "sciml" else layer(module)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for line, target, names in imports(tree, module, path.name == "__init__.py"):
            where = f"{path.relative_to(root)}:{line}: "
            head = target.split(".")[0]
            if head == "sciml":
                found += [where + wrong for wrong in judge_sciml(own, target, names, known)]
            elif own == "kernels" and head not in {"torch", "triton"} and head not in sys.stdlib_module_names:
                found.append(where + f"kernels import torch only, not {head}")
            elif own == "kernels" and head == "triton" and "triton" not in path.relative_to(root).parts:
                found.append(where + "Triton belongs into kernels/triton/")
    return found


def test_imports_point_downward() -> None:
    assert violations(ROOT) == []


def test_layers_cover_the_packages() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    areas = {name.split(".")[1] for name in settings["tool"]["setuptools"]["package-dir"] if "." in name}
    assert areas == set(AREAS)


FORBIDDEN = [
    ("kernels/spectral.py", "import numpy"),
    ("kernels/spectral.py", "from sciml.grid import Grid"),
    ("kernels/spectral.py", "import triton"),
    ("sciml/grid.py", "import sciml.operators"),
    ("sciml/grid.py", "from sciml import operators"),
    ("sciml/grid.py", "from sciml.cli import main"),
    ("sciml/grid.py", "from sciml.comparison.contest import Contest"),
    ("sciml/grid.py", "def f():\n    from sciml.pinns.problems import Poisson"),
    ("sciml/grid.py", "from importlib import import_module\nimport_module('sciml.datasets')"),
    ("sciml/grid.py", "from . import datasets"),
    ("sciml/grid.py", "from .operators.fno import FNO"),
    ("operators/fno.py", "from sciml.datasets.darcy import darcy"),
    ("operators/fno.py", "from ..datasets import darcy"),
    ("operators/fno.py", "from sciml import Grid"),
    ("datasets/darcy.py", "from sciml.operators import FNO"),
    ("datasets/darcy.py", "import sciml.pinns"),
    ("pinns/problems.py", "from sciml.presets import darcy"),
]
ALLOWED = [
    (
        "kernels/spectral.py",
        "import math\nimport torch.fft\nfrom sciml.kernels.jets import jet\nfrom . import jets",
    ),
    ("kernels/triton/fused.py", "import triton"),
    (
        "sciml/trainer.py",
        "import numpy\nfrom sciml.grid import Grid\nfrom sciml.kernels.spectral import spectral_conv",
    ),
    ("sciml/plots.py", "def f():\n    import matplotlib"),
    ("operators/fno.py", "from sciml.grid import Grid\nfrom sciml.operators.properties import Properties"),
    ("operators/fno.py", "from sciml import grid"),
    ("pinns/problems.py", "from sciml.operators.fno import FNO\nimport sciml.datasets.darcy"),
    (
        "sciml/cli/__init__.py",
        "from sciml.pinns import problems\nfrom sciml.comparison.contest import Contest",
    ),
    ("sciml/__main__.py", "from sciml.cli import main"),
]


def synthetic(root: Path, file: str, text: str) -> None:
    """A tree with the folders of ours, and `text` in one file of it."""
    skeleton = ["sciml/__init__.py", "sciml/grid.py", *(f"{area}/__init__.py" for area in AREAS)]
    for name in [*skeleton, file]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("", encoding="utf-8")
    (root / file).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("file", "text"), FORBIDDEN)
def test_a_forbidden_import_is_caught(tmp_path: Path, file: str, text: str) -> None:
    synthetic(tmp_path, file, text)
    assert len(violations(tmp_path)) == 1


@pytest.mark.parametrize(("file", "text"), ALLOWED)
def test_an_allowed_import_passes(tmp_path: Path, file: str, text: str) -> None:
    synthetic(tmp_path, file, text)
    assert violations(tmp_path) == []


def test_numerics_know_no_equation() -> None:
    shared = {"numerics", "generator", "solutions", "parallel"}
    for module, path in modules(ROOT):
        if module.startswith("sciml.datasets.numerics"):
            for line, target, names in imports(ast.parse(path.read_text(encoding="utf-8")), module, False):
                parts = [*target.split("."), *names]
                assert parts[:2] != ["sciml", "datasets"] or parts[2] in shared, f"{path}:{line}: {target}"
