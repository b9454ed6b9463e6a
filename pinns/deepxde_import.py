"""DeepXDE as a library among others: imported late, and without what its import changes for everybody.

``import deepxde`` makes the graphics card torch's default device, chooses its backend from the environment or
from a file in the user's home, and refuses to start under ``mpirun``; changing its precision changes torch's
default.  Here all of that lasts as long as a call.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import torch

from sciml.errors import ConfigError

# What its import reads. The first wins over the second; with the third it wants Horovod.
_BACKEND = ("DDE_BACKEND", "DDEBACKEND")
_MPI = "OMPI_COMM_WORLD_SIZE"


def imported() -> ModuleType:
    """The module ``deepxde`` on torch, with torch's defaults and the environment as they were.

    Raises
    ------
    ConfigError
        If it is loaded with another backend, which a process chooses once.

    Examples
    --------
    >>> before = torch.get_default_device()
    >>> imported().backend.backend_name, torch.get_default_device() == before
    ('pytorch', True)
    """
    if "deepxde" not in sys.modules:
        with torch_defaults(), _environment():
            importlib.import_module("deepxde")
    module = sys.modules["deepxde"]
    backend = module.backend.backend_name
    if backend != "pytorch":
        raise ConfigError(
            f"sciml.pinns: deepxde runs on {backend!r} in this process, and sciml on torch. Set "
            "DDE_BACKEND=pytorch before deepxde is imported, or import sciml.pinns' bridge first."
        )
    return module


@contextlib.contextmanager
def torch_defaults() -> Iterator[None]:
    """Whatever happens inside, torch's default device and dtype are the same afterwards."""
    dtype, device = torch.get_default_dtype(), _chosen_device()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        if _chosen_device() != device:
            torch.set_default_device(device)


@contextlib.contextmanager
def precision(dtype: torch.dtype, device: torch.device | str = "cpu") -> Iterator[None]:
    """DeepXDE computes with numbers of this dtype on this device inside, and as before afterwards.

    Arrays that its objects made earlier keep the dtype in which they were made.

    Raises
    ------
    ConfigError
        If it has no such dtype.
    """
    setters = {torch.float16: "set_float16", torch.float32: "set_float32", torch.float64: "set_float64"}
    if dtype not in setters:
        raise ConfigError(f"sciml.pinns: deepxde computes in {', '.join(map(str, setters))}, not {dtype}.")
    real: Any = imported().config.real
    before = real.precision
    with torch_defaults():
        try:
            getattr(real, setters[dtype])()
            torch.set_default_dtype(dtype)
            if torch.get_default_device() != torch.device(device):  # chosen, it slows every call
                torch.set_default_device(device)
            yield
        finally:
            getattr(real, f"set_float{before}")()


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """NumPy's global generator, from which DeepXDE draws, has this seed inside, its own state afterwards."""
    before = np.random.get_state()
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        np.random.set_state(before)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What DeepXDE prints on the way, such as how many points it found instead, is not shown."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _chosen_device() -> torch.device | None:
    """The default device, None if nobody has chosen one; to set a device again slows every call."""
    device = torch.get_default_device()
    return None if device == torch.device("cpu") else device


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    names = (*_BACKEND, _MPI)
    before = {name: os.environ[name] for name in names if name in os.environ}
    os.environ[_BACKEND[0]] = "pytorch"
    os.environ.pop(_MPI, None)
    try:
        # The name of the backend on standard error is no news: there is one.
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)
