"""Differential operators of a network in JAX: a program of its own.

It needs JAX, folx for one contestant, and nothing else (no torch, no sciml), and is run by the interpreter of
an environment that has them; `sciml.kernels.bench.jets_in_jax` starts it and tells it what to do.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

LIBRARIES = ("jax", "jax.numpy", "jax.experimental.jet", "numpy")
FOLX = "folx"


class Program:
    """One contestant with its compiled pass."""

    def __init__(self, contestant: str, operator: str, arrays: str) -> None:
        self.jax, self.np, jets, self.numpy = (import_module(name) for name in LIBRARIES)
        self.jet, self.operator = jets.jet, operator
        with self.numpy.load(arrays) as stored:
            self.x, self.directions = self.np.asarray(stored["x"]), self.np.asarray(stored["directions"])
            layers = (len(stored.files) - 2) // 2
            self.parameters = [
                (self.np.asarray(stored[f"w{n}"]), self.np.asarray(stored[f"b{n}"])) for n in range(layers)
            ]
        single = {"jet": self.by_jet, "folx": self.by_folx}[contestant]

        def loss(parameters: Any, x: Any) -> Any:
            values = self.jax.vmap(lambda p: single(lambda q: self.network(parameters, q), p))(x)
            return self.np.mean(values**2), values

        gradient = self.jax.jit(self.jax.value_and_grad(loss, has_aux=True))
        self.compiled = gradient.lower(self.parameters, self.x).compile()

    def network(self, parameters: Any, x: Any) -> Any:
        for w, b in parameters[:-1]:
            x = self.np.tanh(w @ x + b)
        w, b = parameters[-1]
        return (w @ x + b)[0]

    def by_jet(self, f: Any, x: Any) -> Any:
        """`jax.experimental.jet`, vectorized over directions."""
        np, zero = self.np, self.np.zeros_like(x)

        def top(v: Any, order: int) -> Any:
            return self.jet(f, (x,), ([v, *[zero] * (order - 1)],))[1][order - 1]

        if self.operator != "biharmonic":
            return np.sum(self.jax.vmap(lambda v: top(v, 2))(self.directions))
        # Signed pairs: 4-jets along e_i with weight 1 - (d - 1)/3, along e_i + e_j and e_i - e_j with 1/6.
        eye, d = np.eye(len(x)), len(x)
        pairs = [eye[i] + s * eye[j] for i in range(d) for j in range(i) for s in (1.0, -1.0)]
        lines = np.stack([*eye, *pairs])
        weights = np.array([1 - (d - 1) / 3] * d + [1 / 6] * len(pairs))
        return np.sum(weights * self.jax.vmap(lambda v: top(v, 4))(lines))

    def by_folx(self, f: Any, x: Any) -> Any:
        """The forward Laplacian of folx, over the directions; that of itself for the biharmonic operator."""
        forward = import_module(FOLX).forward_laplacian

        def laplacian(function: Any) -> Any:
            return lambda p: forward(function)(p).laplacian

        if self.operator == "biharmonic":
            return laplacian(laplacian(f))(x)
        if self.operator == "laplacian":
            return laplacian(f)(x)
        zero = self.np.zeros(len(self.directions))
        return laplacian(lambda t: f(x + t @ self.directions))(zero)

    def run(self, repeats: int) -> float:
        """Mean seconds of a pass."""
        start = time.perf_counter()
        for _ in range(repeats):
            self.jax.block_until_ready(self.compiled(self.parameters, self.x))
        return (time.perf_counter() - start) / repeats

    def write(self, place: str) -> float:
        """The operator and all gradients but the last, as arrays of a file."""
        numpy = self.numpy
        (_, values), gradients = self.compiled(self.parameters, self.x)
        flat = [numpy.asarray(g) for pair in gradients for g in pair][:-1]
        numpy.savez(place, values=numpy.asarray(values), **{f"g{n}": g for n, g in enumerate(flat)})
        return 0.0

    def temporary(self) -> float:
        """Bytes that the compiled pass holds besides arguments and results."""
        return float(self.compiled.memory_analysis().temp_size_in_bytes)


def main() -> None:
    """Answer one order a line: ``run N``, ``write FILE``, ``temporary``."""
    contestant, operator, arrays = sys.argv[1:]
    try:
        program = Program(contestant, operator, arrays)
    except ImportError as error:
        print(json.dumps({"ready": f"missing: {error}"}), flush=True)
        return
    print(json.dumps({"ready": program.jax.__version__}), flush=True)
    for line in sys.stdin:
        name, *words = line.split(maxsplit=1)
        if name == "run":
            result = program.run(int(words[0]))
        elif name == "write":
            result = program.write(str(Path(words[0].strip())))
        else:
            result = program.temporary()
        print(json.dumps({"result": result, "peak_bytes": 0}), flush=True)


if __name__ == "__main__":
    main()
