"""``sciml doctor``: what this machine offers, and what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

from sciml.cli.output import emit_json
from sciml.cli.status import EXTRAS
from sciml.cores import available_cores

# Distribution names, in the order in which they are shown.
PACKAGES = (
    "sciml-pde", "torch", "numpy", "scipy", "h5py", "xarray", "h5netcdf", "meshio", "deepxde", "matplotlib",
    "rich", "cyclopts", "safetensors",
)  # fmt: skip


def doctor(*, json: bool) -> int:
    """Print what was found.  Exit status 0 if sciml can work here, 5 if a required package is missing."""
    found = examine()
    if json:
        emit_json(found)
    else:
        _show(found)
    missing = [name for name in PACKAGES[1:] if found["packages"][name] is None]
    return 5 if missing else 0


def examine() -> dict[str, Any]:
    """Everything that doctor prints, as plain data."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "cpu": {"cores": os.cpu_count(), "usable_cores": available_cores(), "memory_gib": _memory()},
        **_torch(),
        "hdf5": _hdf5(),
        "netcdf4": _version("netCDF4"),
        "extras": {
            extra: {module: _present(module) for module in modules} for extra, modules in EXTRAS.items()
        },
        "writable": {"here": _writable(Path.cwd()), "temporary": _writable(Path(tempfile.gettempdir()))},
        "variables": {
            key: value
            for key, value in sorted(os.environ.items())
            if key.startswith("SCIML_")
            or key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
        },
    }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _present(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _memory() -> float | None:
    """Physical memory in GiB where the system tells."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):  # Windows
        return None


def _torch() -> dict[str, Any]:
    try:
        import torch
    except ImportError:
        return {"threads": None, "gpus": []}
    gpus = [
        {
            "name": torch.cuda.get_device_properties(i).name,
            "memory_gib": round(torch.cuda.get_device_properties(i).total_memory / 2**30, 1),
        }
        for i in range(torch.cuda.device_count())
    ]
    return {"threads": torch.get_num_threads(), "cuda": torch.version.cuda, "gpus": gpus}


def _hdf5() -> str | None:
    try:
        import h5py
    except ImportError:
        return None
    return str(h5py.version.hdf5_version)


def _writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _show(found: dict[str, Any]) -> None:
    print(f"Python {found['python']} on {found['platform']}")
    cpu = found["cpu"]
    memory = f", {cpu['memory_gib']} GiB of memory" if cpu["memory_gib"] else ""
    print(f"{cpu['usable_cores']} of {cpu['cores']} cores{memory}; PyTorch uses {found['threads']} threads")
    for gpu in found["gpus"]:
        print(f"GPU: {gpu['name']}, {gpu['memory_gib']} GiB")
    if not found["gpus"]:
        print("GPU: none that PyTorch can use; everything works on the CPU")
    print(f"HDF5 {found['hdf5']}; netCDF4 {found['netcdf4'] or 'not installed (xarray uses h5netcdf)'}")
    for name, version in found["packages"].items():
        otherwise = "a checkout" if name == "sciml-pde" else f"MISSING: pip install {name}"
        print(f"  {name:<14}{version or otherwise}")
    for extra, modules in found["extras"].items():
        absent = [module for module, present in modules.items() if not present]
        state = "installed" if not absent else f'no {", ".join(absent)}: pip install "sciml-pde[{extra}]"'
        print(f"  [{extra}]".ljust(16) + state)
    for place, writable in found["writable"].items():
        if not writable:
            print(f"cannot write to the {'current' if place == 'here' else 'temporary'} folder")
    for key, value in found["variables"].items():
        print(f"{key}={value}")
