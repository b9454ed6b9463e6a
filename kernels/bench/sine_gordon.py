"""Training steps of the two-body sine-Gordon problem in the unit ball, ours and as a plain sketch in torch.

``Δu + sin u = f``, u = 0 on the sphere, with the solution
``(1 - |x|²) Σ_i c_i sin(x_i + cos x_{i+1} + x_{i+1} cos x_i)``. Run as a child process, one of these programs
answers orders line by line, as the program in JAX beside this file does.
"""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import pairwise
from time import perf_counter

import torch
from torch import Tensor, nn

from sciml.kernels.bench.sine_gordon_jax import DEPTH, POINTS, WIDTH, peak_bytes
from sciml.kernels.estimators import Estimator, Exact, SparseDirections
from sciml.kernels.evaluation import evaluate
from sciml.kernels.factored_update import FactoredAdam, Moments
from sciml.kernels.forms import LineForm
from sciml.kernels.neighbor_sums import neighbor_sum, two_body
from sciml.kernels.radial_product import RadialProduct, squared_length
from sciml.kernels.wide_linear import WideLinear


class Program(ABC):
    """The problem and its points; a subclass knows how to make a step.

    Parameters
    ----------
    dim, seed : int
    """

    def __init__(self, dim: int, seed: int) -> None:
        self.dim = dim
        self.device = torch.get_default_device()
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.coefficients = torch.randn(dim - 1, generator=self.generator)

    @abstractmethod
    def step(self) -> None:
        """Draw points and directions, and update all weights."""

    @abstractmethod
    def function(self, x: Tensor) -> Tensor:
        """u (batch,)."""

    def points(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Directions uniform on the sphere, radii uniform in [0, 1]: (count, dim)."""
        generator = generator or self.generator
        x = torch.randn(count, self.dim, generator=generator)
        radius = torch.rand(count, 1, generator=generator)
        return x.mul_(radius / torch.linalg.vector_norm(x, dim=1, keepdim=True))

    def run(self, steps: int) -> float:
        """Seconds that some steps take."""
        start = perf_counter()
        for _ in range(steps):
            self.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return perf_counter() - start

    def error(self, points: int, pieces: int) -> float:
        """Relative L2 distance from the solution on fresh points."""
        generator = torch.Generator(self.device).manual_seed(10**6)
        wrong = size = 0.0
        for _ in range(pieces):
            x = self.points(points // pieces, generator)
            exact = self.solution(x)
            with torch.no_grad():
                wrong += float((self.function(x) - exact).square().sum())
            size += float(exact.square().sum())
        return float((wrong / size) ** 0.5)

    def solution(self, x: Tensor) -> Tensor:
        """The exact u (batch,)."""
        return (1 - squared_length(x)) * neighbor_sum(x, self.coefficients, two_body, 2)[0]


class Ours(Program):
    """What this library offers for it."""

    def __init__(
        self, dim: int, seed: int, estimator: Estimator, rate: float, moments: Moments = "full"
    ) -> None:
        super().__init__(dim, seed)
        layers: list[nn.Module] = [WideLinear(dim, WIDTH, generator=self.generator), nn.Tanh()]
        for _ in range(DEPTH - 2):
            layers += [nn.Linear(WIDTH, WIDTH), nn.Tanh()]
        self.model = RadialProduct(nn.Sequential(*layers, nn.Linear(WIDTH, 1)))
        self.estimator = estimator
        self.optimizer = FactoredAdam(self.model.parameters(), lr=rate, moments=moments)

    def function(self, x: Tensor) -> Tensor:
        return self.model(x).squeeze(1)  # type: ignore[no-any-return]

    def source(self, x: Tensor) -> Tensor:
        """``Δu + sin u`` of the solution."""
        inner, outward, laplacian = neighbor_sum(x, self.coefficients, two_body, 2)
        factor = 1 - squared_length(x)
        return factor * laplacian - 4 * outward - 2 * self.dim * inner + torch.sin(factor * inner)

    def step(self) -> None:
        x = self.points(POINTS)
        source = self.source(x)

        def closure() -> float:
            self.optimizer.zero_grad()
            u, laplacian = evaluate(
                self.model, x, [LineForm(2)], estimator=self.estimator, generator=self.generator
            )
            loss = (laplacian + u.sin() - source).square().mean()
            loss.backward()
            return float(loss.detach())

        self.optimizer.step(closure)


class Sketch(Program):
    """Columns of jets stacked by hand, autograd and Adam: what one writes without a library."""

    def __init__(self, dim: int, seed: int, samples: int, rate: float) -> None:
        super().__init__(dim, seed)
        self.samples = samples
        sizes = [dim, *[WIDTH] * (DEPTH - 1), 1]
        self.layers = [nn.Linear(wide, narrow) for wide, narrow in pairwise(sizes)]
        self.optimizer = torch.optim.Adam([p for layer in self.layers for p in layer.parameters()], lr=rate)

    def function(self, x: Tensor) -> Tensor:
        z = x
        for layer in self.layers[:-1]:
            z = layer(z).tanh()
        value: Tensor = self.layers[-1](z).squeeze(1)
        return (1 - x.square().sum(1)) * value

    def jets(self, x: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Network, its derivative along x, and the sum of second derivatives of some variables."""
        first = self.layers[0]
        z = first(x)
        along = torch.cat([first.weight[:, index].T[:, None].expand(-1, len(x), -1), (z - first.bias)[None]])
        bent = torch.zeros_like(z)
        for layer in self.layers[1:]:
            t = z.tanh()
            slope = 1 - t * t
            bent = slope * bent - 2 * t * slope * along[:-1].square().sum(0)
            stack = torch.cat([t[None], slope * along, bent[None]]) @ layer.weight.T
            z, along, bent = stack[0] + layer.bias, stack[1:-1], stack[-1]
        return z[:, 0], along[-1, :, 0], bent[:, 0]

    def source(self, x: Tensor) -> Tensor:
        """``Δu + sin u`` of the solution."""
        a, b, c = x[:, :-1], x[:, 1:], self.coefficients
        angle = a + b.cos() + b * a.cos()
        slope_a, slope_b = 1 - b * a.sin(), a.cos() - b.sin()
        outward = (c * angle.cos() * (a * slope_a + b * slope_b)).sum(1)
        bend = angle.cos() * (b * a.cos() + b.cos()) + angle.sin() * (slope_a**2 + slope_b**2)
        inner, factor = (c * angle.sin()).sum(1), 1 - x.square().sum(1)
        laplacian = -(c * bend).sum(1)
        return factor * laplacian - 4 * outward - 2 * self.dim * inner + (factor * inner).sin()

    def step(self) -> None:
        x = self.points(POINTS)
        index = torch.randperm(self.dim, generator=self.generator)[: self.samples]
        value, outward, bent = self.jets(x, index)
        factor = 1 - x.square().sum(1)
        laplacian = factor * bent * (self.dim / self.samples) - 4 * outward - 2 * self.dim * value
        loss = (laplacian + (factor * value).sin() - self.source(x)).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


PROGRAMS: dict[str, Callable[[int, int, int, float], Program]] = {
    "sparse": lambda dim, seed, samples, rate: Ours(dim, seed, SparseDirections(samples), rate),
    "exact": lambda dim, seed, samples, rate: Ours(dim, seed, Exact(), rate),
    "short": lambda dim, seed, samples, rate: Ours(dim, seed, SparseDirections(samples), rate, "factored"),
    "sketch": Sketch,
}


def main() -> None:
    """Answer each line of the input, ``run STEPS`` or ``error POINTS PIECES``, with one line of JSON."""
    settings = json.loads(sys.argv[1])
    device = torch.device(settings.get("device", "cpu"))
    torch.set_default_device(device)
    torch.set_num_threads(1)
    torch.manual_seed(settings["seed"])
    make = PROGRAMS[settings["program"]]
    program = make(settings["dim"], settings["seed"], settings["samples"], settings["rate"])
    print(json.dumps({"ready": f"torch {torch.__version__}"}), flush=True)
    for line in sys.stdin:
        order, *numbers = line.split()
        result = program.run(*map(int, numbers)) if order == "run" else program.error(*map(int, numbers))
        peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else peak_bytes()
        print(json.dumps({"result": result, "peak_bytes": peak}), flush=True)


if __name__ == "__main__":
    main()
