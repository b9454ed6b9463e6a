"""The list of packages in pyproject.toml, the tree, and what is installed are one and the same."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES: list[str] = SETTINGS["tool"]["setuptools"]["packages"]
FOLDERS: dict[str, str] = SETTINGS["tool"]["setuptools"]["package-dir"]


def folder_of(package: str) -> Path:
    """Where a package lies in the tree: the longest mapped prefix decides."""
    parts = package.split(".")
    for length in range(len(parts), 0, -1):
        mapped = FOLDERS.get(".".join(parts[:length]))
        if mapped is not None:
            return ROOT.joinpath(mapped, *parts[length:])
    raise AssertionError(f"{package} is under no entry of package-dir")


def packages_in_tree() -> set[str]:
    """Every folder with modules in it, named as it is imported; links to areas do not count."""
    found = set()
    for package, folder in FOLDERS.items():
        top = ROOT / folder
        linked = {top / name.rpartition(".")[2] for name in FOLDERS if name.startswith(f"{package}.")}
        for module in top.rglob("*.py"):
            if not any(place in module.parents for place in linked):
                found.add(".".join([package, *module.parent.relative_to(top).parts]))
    return found


def modules_in_tree() -> dict[str, Path]:
    """The place inside site-packages, `sciml/operators/fno.py`, of each file of the tree."""
    return {
        "/".join([*package.split("."), module.name]): module
        for package in PACKAGES
        for module in folder_of(package).glob("*.py")
    }


def test_list_of_packages_equals_the_tree() -> None:
    assert sorted(PACKAGES) == sorted(packages_in_tree()), (
        "pyproject.toml [tool.setuptools] packages: one line per folder with modules"
    )


def test_every_folder_exists_and_is_a_package() -> None:
    for package in PACKAGES:
        assert (folder_of(package) / "__init__.py").is_file(), f"{package} has no __init__.py"


def test_every_area_is_banned_under_its_bare_name() -> None:
    banned = SETTINGS["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    bare = {folder for name, folder in FOLDERS.items() if name.count(".") == 1}
    assert bare | {"sciml.sciml", "sciml.tests"} == set(banned)


def test_every_area_is_ignored_as_a_link() -> None:
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    for name in FOLDERS:
        if name.count(".") == 1:
            assert "/" + name.replace(".", "/") in lines, (
                f"tools/link_packages.py links {name}; git must not see it"
            )


def test_installed_modules_are_those_of_the_tree() -> None:
    """A stale build/ brings deleted modules back; a forgotten package is missing from the wheel."""
    try:
        installed = distribution("sciml-pde")
    except PackageNotFoundError:
        pytest.skip("sciml is not installed here")
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        pytest.skip("editable: what is imported is the tree")
    modules = {
        str(file).replace("\\", "/"): Path(str(file.locate()))
        for file in installed.files or []
        if file.suffix == ".py" and file.parts[0] == "sciml"
    }
    if not modules:
        pytest.skip("only the metadata that a build leaves in the tree (started with python -m pytest)")
    if origin.get("url") != ROOT.as_uri():
        pytest.skip("installed from another tree")
    tree = modules_in_tree()
    assert modules.keys() - tree.keys() == set(), "installed but deleted: remove build/ and install again"
    assert tree.keys() - modules.keys() == set(), "added after the last installation: install again"
    changed = [name for name, path in modules.items() if path.read_bytes() != tree[name].read_bytes()]
    assert changed == [], "the tests import the installed copy, which is older than the tree: install again"


def test_version_stands_in_one_place() -> None:
    version = SETTINGS["project"]["version"]
    holders = [
        module
        for package in PACKAGES
        for module in folder_of(package).glob("*.py")
        if version in module.read_text(encoding="utf-8")
    ]
    assert holders == []


def test_constraints_pin_exactly_and_by_name() -> None:
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    pinned = {}
    for line in lines:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line)
        assert match, f"constraints.txt: {line!r} is no plain name==version"
        pinned[re.sub(r"[-_.]+", "-", match[1]).lower()] = match[2]
    # GPU builds of torch pin these themselves; a pin here would make them impossible to install.
    assert not [name for name in pinned if name.startswith(("nvidia-", "cuda-", "triton"))]
    required = SETTINGS["project"]["dependencies"] + SETTINGS["project"]["optional-dependencies"]["test"]
    for requirement in required:
        name = re.split(r"[<>=!~;\[ ]", requirement)[0].replace("_", "-").lower()
        assert name in pinned or name == "triton", f"constraints.txt lacks {name}"


def test_link_script_makes_and_removes_links(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    script = tmp_path / "tools" / "link_packages.py"
    script.write_text((ROOT / "tools" / "link_packages.py").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.setuptools.package-dir]\n"sciml.kernels" = "kernels"\n"sciml.absent" = "absent"\n',
        encoding="utf-8",
    )
    (tmp_path / "sciml").mkdir()
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("", encoding="utf-8")
    for _ in range(2):  # making them twice is no error
        subprocess.run([sys.executable, str(script)], check=True, capture_output=True)
        assert (tmp_path / "sciml" / "kernels" / "__init__.py").is_file()
    assert not (tmp_path / "sciml" / "absent").exists()
    subprocess.run([sys.executable, str(script), "--remove"], check=True, capture_output=True)
    assert not (tmp_path / "sciml" / "kernels").exists()
    assert (tmp_path / "kernels" / "__init__.py").is_file()


def test_readme_and_ci_run_the_same_command() -> None:
    """What a reader types is what a fresh machine runs, word for word."""
    command = 'pip install -c constraints.txt ".[test]" && pytest'
    script = ROOT / ".ci" / "run"
    for file in (script, ROOT / "README.md"):
        assert command in file.read_text(encoding="utf-8").splitlines(), f"{file.name} lacks {command}"
    assert sys.platform == "win32" or script.stat().st_mode & 0o100, ".ci/run is not executable"
