"""Trains in forked children on command, so that `test_crash.py` can kill them.

Reads one JSON object per line: {"output": folder, "workers": 0, "steps": n, "point": k or null}; zero steps
stand for the PINN of `test_pinn_protocol.py`.  Answers with
"child <process number>" at once and with "status <exit status>" when it has ended.  With a point k the
child kills itself at the k-th step of the save protocol; point -1 counts the steps and leaves their number
in ``<output>.count``.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR

from sciml import files
from sciml.dataset import open_dataset
from sciml.streams import Streams
from sciml.supervised import Supervised
from sciml.trainer import Trainer


def train(data: Path, output: str, workers: int, steps: int) -> None:
    """12 samples in batches of 8: epochs end inside batches; 2 parts a batch; dropout; moving average."""
    torch.set_num_threads(1)
    with Streams(0).of("init").applied():
        model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Dropout(0.2), nn.Conv2d(8, 1, 3, padding=1))
    task = Supervised(open_dataset(data).train, ["a"], ["u"], batch_size=8, workers=workers)
    trainer = Trainer(
        steps,
        optimizer=partial(AdamW, lr=1e-2),
        schedule=partial(CosineAnnealingLR, T_max=steps),
        accumulate=2,
        ema=0.9,
    )
    trainer.fit(model, task, validation=task, output=output, every=max(2, steps // 10))


def train_pinn(output: str) -> None:
    """The problem of `test_pinn_protocol.py`: adaptive points, a trainable coefficient, Adam, then L-BFGS."""
    torch.set_num_threads(1)
    path = Path(__file__).with_name("test_pinn_protocol.py")
    spec = importlib.util.spec_from_file_location("pinn_protocol", path)
    assert spec is not None and spec.loader is not None
    protocol = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(protocol)
    protocol.TRAINER.fit(protocol.network(), protocol.InversePoisson(), output=output, every=7)


def arm(point: int) -> dict[str, int]:
    """Make the durable steps of `sciml.files` count, and kill this process at number ``point``."""
    seen = {"count": 0}

    def tick() -> None:
        seen["count"] += 1
        if seen["count"] == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(path: Path, data: bytes) -> None:
        tick()
        with path.open("wb") as file:  # half of the bytes have reached the disk
            file.write(data[: len(data) // 2])
        tick()
        whole(path, data)

    whole, sync, rename, remove = files._write, files._sync, files._rename, files._remove
    files._write = write
    files._sync = lambda folder: (tick(), sync(folder))[1]  # type: ignore[func-returns-value]
    files._rename = lambda old, new: (tick(), rename(old, new))[1]  # type: ignore[func-returns-value]
    files._remove = lambda path: (tick(), remove(path))[1]  # type: ignore[func-returns-value]
    return seen


def main() -> None:
    data = Path(sys.argv[1])
    # What a first training imports late, so that the children do not repeat it.
    for module in (
        "pytest",
        "h5py",
        "safetensors.torch",
        "torch._dynamo",
        "torch.optim.swa_utils",
        "sciml.surrogate",
    ):
        importlib.import_module(module)
    print("ready 0", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                seen = arm(order["point"]) if order["point"] is not None else {}
                if order["steps"] == 0:
                    train_pinn(order["output"])
                else:
                    train(data, order["output"], order["workers"], order["steps"])
                if order["point"] == -1:
                    Path(order["output"] + ".count").write_text(str(seen["count"]))
                status = 0
            except SystemExit as stop:
                status = stop.code if isinstance(stop.code, int) else 1
            finally:
                os._exit(status)
        print("child", pid, flush=True)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print("status", status, flush=True)


if __name__ == "__main__":
    main()
