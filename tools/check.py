"""Run every check: ruff format, ruff, mypy --strict, pytest.

    python tools/check.py            what a change needs
    python tools/check.py --full     also the tests marked slow, gpu and fuzz
    python tools/check.py --fix      let ruff format and mend first

All checks run, even after one failed, and the exit status is the number of failures.
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

import link_packages

ROOT = Path(__file__).resolve().parent.parent


def remove_stale_build() -> None:
    """Remove what builds left in the tree: from ``build/lib`` a deleted module would be installed again."""
    for folder in (ROOT / "build", *ROOT.glob("*.egg-info")):
        shutil.rmtree(folder, ignore_errors=True)


def commands(*, full: bool, fix: bool) -> list[list[str]]:
    """The checks in order, each a command line."""
    ruff = [sys.executable, "-m", "ruff"]
    # What mypy reads stands in pyproject.toml.
    checks = [
        [*ruff, "format", "."] if fix else [*ruff, "format", "--check", "."],
        [*ruff, "check", "--fix", "."] if fix else [*ruff, "check", "."],
        [sys.executable, "-m", "mypy"],
    ]
    # test_quality.py repeats the three checks above for those who only run pytest.
    tests = [sys.executable, "-m", "pytest", "--ignore=tests/test_quality.py"]
    if full:
        tests = [sys.executable, "-m", "pytest", "-m", ""]  # an empty expression deselects nothing
    return [*checks, tests]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="run slow, gpu and fuzz tests as well")
    parser.add_argument("--fix", action="store_true", help="format, and mend what ruff can mend")
    arguments = parser.parse_args()
    remove_stale_build()
    link_packages.link()
    failed = []
    for command in commands(full=arguments.full, fix=arguments.fix):
        shown = " ".join(command[2:])
        print(f"== {shown}", flush=True)
        start = time.perf_counter()
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            failed.append(shown)
        print(f"   {time.perf_counter() - start:.0f} s", flush=True)
    print("failed: " + "; ".join(failed) if failed else "all checks passed")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
