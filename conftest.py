"""What every test needs: the checkout if nothing is installed, a thread setting, the sample files."""

import os
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

# Small problems: a second thread costs more than it brings (30 s instead of 1 s for one test while another
# process competes for the cores), and results vary with the count.  Read when torch, numpy and scipy load,
# also in child processes.
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import pytest  # noqa: E402
import torch  # noqa: E402

ROOT = Path(__file__).resolve().parent

if find_spec("sciml") is None:
    sys.path.append(str(ROOT))  # last, so that `datasets/` hides nobody's package of that name

torch.set_num_threads(1)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process per core for the whole suite; none besides this one for the files that somebody names."""
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return 0
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a GPU its tests are skipped, also when somebody selects them."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="module")
def tool(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """The program in ``tools/`` that a module of tests is named after, or names as its ``TOOL``."""
    name = getattr(request.module, "TOOL", Path(request.module.__file__).stem.removeprefix("test_"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        yield import_module(name)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of files written by other people's programs; SCIML_TEST_DATA names it."""
    folder = os.environ.get("SCIML_TEST_DATA")
    if not folder:
        pytest.skip("SCIML_TEST_DATA is not set: no sample files of other programs")
    path = Path(folder)
    if not path.is_dir():
        pytest.skip(f"SCIML_TEST_DATA={folder} is not a folder")
    return path
