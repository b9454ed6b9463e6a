"""What an import pulls in. Seconds are measured by tools/import_cost.py, which no loaded machine can fail."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_in_child(code: str) -> str:
    """Standard output of `code` in a fresh Python that starts in the checkout."""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


KERNELS_ALONE = """
import importlib, pathlib, sys
import torch

# What torch and numpy bring or may ask for later; every other package is as good as not installed.
allowed = {name.partition(".")[0] for name in sys.modules} | sys.stdlib_module_names | {
    "sciml", "numpy", "torch", "typing_extensions", "sympy", "mpmath", "networkx", "jinja2", "markupsafe",
    "fsspec", "filelock", "setuptools", "triton",
}

class Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ModuleNotFoundError(f"No module named {name!r} (blocked by the test)", name=name)

sys.meta_path.insert(0, Absent)
import sciml.kernels

folder = pathlib.Path(sciml.kernels.__file__).parent
for module in sorted(folder.glob("*.py")):
    if module.stem not in {"__init__", "__main__"}:
        importlib.import_module(f"sciml.kernels.{module.stem}")
ours = sorted(name for name in sys.modules if name.startswith("sciml."))
print([name for name in ours if name.split(".")[1] != "kernels"])
"""


def test_kernels_need_torch_alone() -> None:
    assert run_in_child(KERNELS_ALONE).strip() == "[]"  # nor does a kernel import the core


PUBLIC_NAMES = """
import sys
from sciml import Trainer, Supervised, open_dataset, Surrogate
from sciml.operators import FNO
heavy = {"xarray", "pandas", "matplotlib", "scipy.stats", "deepxde", "meshio", "h5netcdf", "sklearn"}
print(sorted(heavy & sys.modules.keys()))
"""


def test_training_imports_leave_the_heavy_libraries_alone() -> None:
    assert run_in_child(PUBLIC_NAMES).strip() == "[]"


ROOT_ALONE = """
import sys
before = set(sys.modules)
import sciml
dir(sciml)
new = {name.partition(".")[0] for name in set(sys.modules) - before} - {"sciml"}
print(sorted(new - sys.stdlib_module_names))
"""


def test_import_sciml_imports_only_the_standard_library() -> None:
    assert run_in_child(ROOT_ALONE).strip() == "[]"


HELP = """
import contextlib, io, sys
sys.argv = ["sciml", "--help"]
from sciml.cli import main
shown = io.StringIO()
try:
    with contextlib.redirect_stdout(shown):
        status = main()
except SystemExit as exit:
    status = exit.code
assert not status, status
assert "train" in shown.getvalue(), shown.getvalue()
print("torch" in sys.modules)
"""


def test_help_does_not_import_torch() -> None:
    assert run_in_child(HELP).strip() == "False"
