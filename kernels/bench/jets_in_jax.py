"""Contestants of the bench of differential operators that run in JAX, each in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from sciml.kernels.bench.harness import Contestant, Effort, Missing, Prepared, find
from sciml.kernels.bench.high_dimension import Child, jax_python
from sciml.kernels.bench.jets_contestants import Problem

PROGRAM = Path(__file__).with_name("jets_jax_program.py")
NAMES = {"jet": "JAX jet", "folx": "JAX folx"}


@contextmanager
def in_jax(problem: Problem, effort: Effort) -> Iterator[list[Contestant]]:
    """Contestants whose processes end with the context."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))

        def prepare(name: str) -> Prepared:
            if effort.device.type != "cpu":
                raise Missing("the programs in JAX are measured on CPUs")
            numpy = find("numpy:savez", "the arrays travel in files of NumPy"), find("numpy:load", "")
            arrays = folder / "arrays.npz"
            x = problem.at()
            layers: dict[str, Any] = {}
            for n, (weight, bias) in enumerate(problem.weights()):
                layers |= {f"w{n}": weight.numpy(), f"b{n}": bias.numpy()}
            numpy[0](arrays, x=x.numpy(), directions=problem.directions(x).numpy(), **layers)
            try:
                child = Child([jax_python(), str(PROGRAM), name, problem.operator, str(arrays)])
            except OSError as error:
                raise Missing(f"JAX cannot be started: {error}") from error
            stack.callback(child.close)
            if child.version.startswith("missing"):
                raise Missing(child.version)

            def values() -> tuple[Tensor, ...]:
                place = folder / f"{name}.npz"
                child.order("write", place)
                with numpy[1](place) as stored:
                    return tuple(torch.from_numpy(stored[key]) for key in stored.files)

            figures = {"temporary bytes": child.order("temporary")}
            return Prepared(lambda: child.order("run", 1), values, figures=figures)

        yield [Contestant(title, lambda name=name: prepare(name)) for name, title in NAMES.items()]  # type: ignore[misc]
