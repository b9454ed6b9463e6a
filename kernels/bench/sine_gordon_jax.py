"""The sine-Gordon problem by the stochastic Taylor derivative estimator in JAX: a program of its own.

It needs JAX and nothing else (no torch, no sciml), and is run by the interpreter of an environment that has
it; `sciml.kernels.bench.high_dimension` starts it and tells it what to do.

The method as its authors publish it: a second-order jet through network and boundary factor for each sampled
coordinate, vectorized over directions and points; one set of coordinates for all points; the source term
from the derivatives of the solution; Adam; all of a step compiled into one function, with the state donated.

Source: Z. Shi et al., *Stochastic Taylor derivative estimator*, arXiv:2412.00088, section 4.2 and appendix I.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

LIBRARIES = ("jax", "jax.numpy", "jax.experimental.jet")
WIDTH, DEPTH, POINTS = 128, 4, 100
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Program:
    """Parameters, moments and the compiled step."""

    def __init__(self, dim: int, samples: int, rate: float, seed: int) -> None:
        self.jax, self.np, jets = (import_module(name) for name in LIBRARIES)
        self.jet = jets.jet
        self.dim, self.samples, self.rate = dim, samples, rate
        jax = self.jax
        key, first, second = jax.random.split(jax.random.PRNGKey(seed), 3)
        self.coefficients = jax.random.normal(first, (dim - 1,))
        parameters = []
        sizes = [dim, *[WIDTH] * (DEPTH - 1), 1]
        for wide, narrow in pairwise(sizes):
            second, use = jax.random.split(second)
            bound = wide**-0.5
            w = jax.random.uniform(use, (wide, narrow), minval=-bound, maxval=bound)
            parameters.append((w, self.np.zeros(narrow)))
        zeros = partial(jax.tree.map, self.np.zeros_like)
        self.state = (parameters, zeros(parameters), zeros(parameters), self.np.zeros((), int), key)
        self.step = jax.jit(self._step, donate_argnums=0)

    def solution(self, x: Any) -> Any:
        np = self.np
        a, b = x[:-1], x[1:]
        inner = np.sum(self.coefficients * np.sin(a + np.cos(b) + b * np.cos(a)))
        return (1 - np.sum(x**2)) * inner

    def source(self, x: Any) -> Any:
        """``Δu + sin u`` of the solution."""
        np, c = self.np, self.coefficients
        a, b = x[:-1], x[1:]
        angle = a + np.cos(b) + b * np.cos(a)
        sine, cosine = c * np.sin(angle), c * np.cos(angle)
        slope_a, slope_b = 1 - b * np.sin(a), np.cos(a) - np.sin(b)
        gradient = np.zeros_like(x).at[:-1].add(cosine * slope_a).at[1:].add(cosine * slope_b)
        laplacian = -np.sum(cosine * (b * np.cos(a) + np.cos(b)) + sine * (slope_a**2 + slope_b**2))
        factor, inner = 1 - np.sum(x**2), np.sum(sine)
        u = factor * inner
        return factor * laplacian - 4 * np.dot(x, gradient) - 2 * self.dim * inner + np.sin(u)

    def network(self, parameters: Any, x: Any) -> Any:
        factor = 1 - self.np.sum(x**2)
        for w, b in parameters[:-1]:
            x = self.np.tanh(x @ w + b)
        w, b = parameters[-1]
        return factor * (x @ w + b)[0]

    def points(self, key: Any, count: int) -> Any:
        radius, direction = self.jax.random.split(key)
        x = self.jax.random.normal(direction, (count, self.dim))
        r = self.jax.random.uniform(radius, (count, 1))
        return x / self.np.linalg.norm(x, axis=-1, keepdims=True) * r

    def _loss(self, parameters: Any, x: Any, index: Any) -> Any:
        jax, np = self.jax, self.np
        directions = jax.nn.one_hot(index, self.dim)

        def residual(point: Any) -> Any:
            u = partial(self.network, parameters)

            def second(v: Any) -> Any:
                value, (_, curvature) = self.jet(u, (point,), ((v, np.zeros(self.dim)),))
                return value, curvature

            values, curvatures = jax.vmap(second)(directions)
            return self.dim * np.mean(curvatures) + np.sin(values[0]) - self.source(point)

        return np.mean(jax.vmap(residual)(x) ** 2)

    def _step(self, state: Any) -> Any:
        jax, np = self.jax, self.np
        parameters, first, second, count, key = state
        key, of_points, of_index = jax.random.split(key, 3)
        x = self.points(of_points, POINTS)
        index = jax.random.choice(of_index, self.dim, (self.samples,), replace=False)
        loss, gradient = jax.value_and_grad(self._loss)(parameters, x, index)
        count = count + 1
        first = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, first, gradient)
        second = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, second, gradient)
        size = self.rate * np.sqrt(1 - BETA2**count) / (1 - BETA1**count)
        slack = EPSILON * np.sqrt(1 - BETA2**count)
        parameters = jax.tree.map(
            lambda p, m, v: p - size * m / (np.sqrt(v) + slack), parameters, first, second
        )
        return loss, (parameters, first, second, count, key)

    def run(self, steps: int) -> float:
        """Seconds that some steps take."""
        start = time.perf_counter()
        loss = None
        for _ in range(steps):
            loss, self.state = self.step(self.state)
        self.jax.block_until_ready((loss, self.state))
        return time.perf_counter() - start

    def error(self, points: int, pieces: int) -> float:
        """Relative L2 distance from the solution on fresh points."""
        jax, np = self.jax, self.np
        judge = jax.jit(
            lambda parameters, x: (
                jax.vmap(partial(self.network, parameters))(x),
                jax.vmap(self.solution)(x),
            )
        )
        wrong = size = 0.0
        for key in jax.random.split(jax.random.PRNGKey(10**6), pieces):
            u, exact = judge(self.state[0], self.points(key, points // pieces))
            wrong, size = wrong + float(np.sum((u - exact) ** 2)), size + float(np.sum(exact**2))
        return float((wrong / size) ** 0.5)


def peak_bytes() -> int:
    """The most memory that this process has held."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    return 0


def main() -> None:
    """Answer each line of the input, ``run STEPS`` or ``error POINTS PIECES``, with one line of JSON."""
    settings = json.loads(sys.argv[1])
    program = Program(settings["dim"], settings["samples"], settings["rate"], settings["seed"])
    version = program.jax.__version__
    print(json.dumps({"ready": f"JAX {version}"}), flush=True)
    for line in sys.stdin:
        order, *numbers = line.split()
        result = program.run(*map(int, numbers)) if order == "run" else program.error(*map(int, numbers))
        print(json.dumps({"result": result, "peak_bytes": peak_bytes()}), flush=True)


if __name__ == "__main__":
    main()
