"""The wheel and the sdist, built offline from a copy of the tree: what they hold, and that they import."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS: dict[str, str] = SETTINGS["tool"]["setuptools"]["package-dir"]
VERSION: str = SETTINGS["project"]["version"]

# What git ignores and may be large or stale; build leaves build/ and egg-info in the tree it works in.
LEFT_OUT = shutil.ignore_patterns(
    ".git", "build", "dist", "runs", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", ".venv", "venv",
    "*.h5", "*.nc",
)  # fmt: skip


class Built(NamedTuple):
    tree: Path
    wheel: Path
    sdist: Path
    site: Path
    """A folder with the unpacked wheel, as `pip install --target` leaves it."""


def ignored(folder: str, names: list[str]) -> set[str]:
    links = {name for name in names if (Path(folder) / name).is_symlink()}
    return {*LEFT_OUT(folder, names), *links}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    base = tmp_path_factory.mktemp("wheel")
    tree, dist, site = base / "tree", base / "dist", base / "site"
    shutil.copytree(ROOT, tree, ignore=ignored)
    # --no-isolation: with the setuptools that is installed; isolation would ask the network for one.
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(tree)]
    result = subprocess.run(build, cwd=base, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "would be ignored" not in result.stdout + result.stderr, (
        "setuptools sees a folder that is not listed"
    )
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run([sys.executable, *install], cwd=base, capture_output=True, check=True)
    return Built(tree, wheel, sdist, site)


def python(*arguments: str, cwd: Path, site: Path) -> str:
    """Standard output of Python with the unpacked wheel first on its path."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    environment.pop("PYTHONSAFEPATH", None)
    result = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_wheel_holds_the_packages_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
    modules = {name for name in names if name.endswith(".py")}
    expected = set()
    for package in SETTINGS["tool"]["setuptools"]["packages"]:
        parts = package.split(".")
        # The longest mapped prefix decides, as for setuptools.
        mapped = max((name for name in FOLDERS if f"{package}.".startswith(f"{name}.")), key=len)
        folder = built.tree.joinpath(FOLDERS[mapped], *parts[mapped.count(".") + 1 :])
        expected |= {"/".join([*parts, module.name]) for module in folder.glob("*.py")}
    assert modules == expected
    sources = {f"sciml/datasets/numerics/{name}.c" for name in ("vorticity", "weno")}
    assert {"sciml/py.typed", *sources} <= names
    assert {name.partition("/")[0] for name in names} == {"sciml", f"sciml_pde-{VERSION}.dist-info"}
    assert any(name.endswith("/LICENSE") for name in names)


def test_sdist_can_be_tested(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for file in (
        "pyproject.toml",
        "conftest.py",
        "constraints.txt",
        "LICENSE",
        "README.md",
        "tools/check.py",
    ):
        assert file in names, f"MANIFEST.in: the sdist lacks {file}"
    assert "tests/packaging/test_wheel.py" in names
    assert {f"{folder}/__init__.py" for folder in FOLDERS.values()} <= names
    assert not any(name.startswith(("sciml/kernels/", "sciml/operators/")) for name in names)


def test_wheel_imports_outside_the_checkout(built: Built, tmp_path: Path) -> None:
    # A stranger's folder of the same name beside the installed package stays out of the search path.
    stranger = built.site / "kernels"
    stranger.mkdir()
    (stranger / "spectral.py").write_text("raise SystemExit('not ours')", encoding="utf-8")
    try:
        areas = ", ".join(f"{name}" for name in FOLDERS)
        code = f"import {areas}; print(sciml.operators.__file__, len(sciml.__path__), sciml.__version__)"
        file, length, version = python("-c", code, cwd=tmp_path, site=built.site).split()
    finally:
        shutil.rmtree(stranger)
    assert Path(file) == built.site / "sciml" / "operators" / "__init__.py"
    assert (length, version) == ("1", VERSION)


def test_command_outside_the_checkout(built: Built, tmp_path: Path) -> None:
    assert VERSION in python("-m", "sciml", "--version", cwd=tmp_path, site=built.site)


def test_checkout_after_a_plain_install(built: Built) -> None:
    """Python started in a checkout finds sciml/ there first, and must find the areas beside it."""
    code = "import sciml.operators; print(sciml.operators.__file__, sciml.__version__)"
    file, version = python("-c", code, cwd=built.tree, site=built.site).split()
    assert Path(file).resolve() == (built.tree / "operators" / "__init__.py").resolve()
    assert version == VERSION


def test_python_m_sciml_hides_the_bare_folders(built: Built) -> None:
    """A library that asks for the well-known packages `datasets` and `kernels` must not find ours."""
    code = (
        "import sciml.__main__ as entry; from importlib.util import find_spec;"
        "entry._drop_checkout_from_path();"
        "print([spec.origin for spec in map(find_spec, ('datasets', 'kernels', 'operators')) if spec])"
    )
    assert str(built.tree) not in python("-c", code, cwd=built.tree, site=built.site)
