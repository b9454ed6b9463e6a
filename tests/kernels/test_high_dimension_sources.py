"""Source terms in one pass over the points, and the programs of the benchmark that use them."""

import json
import subprocess
import sys
from math import isfinite

import pytest
import torch
from torch import Tensor

from sciml.kernels import neighbor_sums
from sciml.kernels.bench.harness import peak_memory
from sciml.kernels.bench.sine_gordon import PROGRAMS, Ours, Sketch
from sciml.kernels.differential import laplacian
from sciml.kernels.estimators import Exact, SparseDirections
from sciml.kernels.forms import LineForm
from sciml.kernels.neighbor_sums import Terms, neighbor_sum, three_body, two_body
from sciml.kernels.radial_product import RadialProduct

KINDS = [(two_body, 2), (three_body, 3)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("terms", "neighbors"), KINDS)
def test_derivatives_are_those_of_the_sum(
    terms: Terms, neighbors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.randn(4, 12, dtype=torch.float64, generator=seeded())
    c = torch.randn(13 - neighbors, dtype=torch.float64, generator=seeded(1))
    y = x.clone().requires_grad_()
    slope = torch.autograd.grad(neighbor_sum(y, c, terms, neighbors)[0].sum(), y)[0]
    hessians = [
        torch.autograd.functional.hessian(
            lambda z: neighbor_sum(z[None], c, terms, neighbors)[0].sum(), point
        )
        for point in x
    ]
    for pieces in (2**15, 4 * 5, 1):  # one piece, pieces of five and of one variable
        monkeypatch.setattr(neighbor_sums, "PIECE_ON_CPU", pieces)
        _, outward, curved = neighbor_sum(x, c, terms, neighbors)
        torch.testing.assert_close(outward, (slope * x).sum(1))
        torch.testing.assert_close(curved, torch.stack([h.trace() for h in hessians]))


def test_values_are_the_published_solutions() -> None:
    x = torch.randn(3, 6, dtype=torch.float64, generator=seeded())
    c = torch.randn(5, dtype=torch.float64, generator=seeded(1))
    a, b = x[:, :-1], x[:, 1:]
    wanted = (c * torch.sin(a + torch.cos(b) + b * torch.cos(a))).sum(1)
    torch.testing.assert_close(neighbor_sum(x, c, two_body, 2)[0], wanted)
    wanted = (c[1:] * torch.exp(x[:, :-2] * x[:, 1:-1] * x[:, 2:])).sum(1)
    torch.testing.assert_close(neighbor_sum(x, c[1:], three_body, 3)[0], wanted)


def test_single_precision_adds_up_in_double() -> None:
    x = torch.randn(2, 50_000, generator=seeded()) / 200
    c = torch.randn(49_999, generator=seeded(1))
    found = neighbor_sum(x, c, two_body, 2)
    wanted = neighbor_sum(x.double(), c.double(), two_body, 2)
    size = c.norm()  # of a sum of terms of size one with these coefficients
    for one, other in zip(found, wanted, strict=True):
        # A piece has 16 384 terms, each right to 6e-8; errors of random sign add up like the terms.
        assert float((one - other).abs().max()) < 1e-6 * size


def test_nothing_of_the_size_of_the_points_is_stored() -> None:
    x, c = torch.randn(16, 300_000, generator=seeded()), torch.ones(299_999)
    peak = peak_memory(lambda: neighbor_sum(x, c, two_body, 2), torch.device("cpu"))
    assert peak < 20 * 4 * neighbor_sums.PIECE_ON_CPU * torch.get_num_threads() < x.nbytes / 2


@pytest.mark.parametrize("shape", [(3,), (5,), (4, 1)])
def test_coefficients_must_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"coefficients of shape \(4,\)"):
        neighbor_sum(torch.zeros(2, 5), torch.zeros(shape), two_body, 2)


# The benchmark's programs.


def test_source_is_the_operator_of_the_solution() -> None:
    program = Ours(9, 0, Exact(), 1e-3)
    program.coefficients = program.coefficients.double()
    x = program.points(4).double()

    class Inner(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            a, b, c = x[:, :-1], x[:, 1:], program.coefficients
            return (c * torch.sin(a + torch.cos(b) + b * torch.cos(a))).sum(-1)

    u = RadialProduct(Inner())
    torch.testing.assert_close(program.source(x), laplacian(lambda y: u(y), x) + u(x).sin())
    sketch = Sketch(9, 0, 3, 1e-3)
    sketch.coefficients = program.coefficients
    torch.testing.assert_close(sketch.source(x), program.source(x))


def test_sketch_computes_what_the_library_does() -> None:
    ours, sketch = Ours(30, 0, SparseDirections(4), 1e-3), Sketch(30, 1, 4, 1e-3)
    layers = [layer for layer in ours.model.network if hasattr(layer, "weight")]  # type: ignore[union-attr]
    with torch.no_grad():
        sketch.layers[0].weight.copy_(layers[0].weight.T)
        sketch.layers[0].bias.copy_(layers[0].bias)
        for mine, theirs in zip(sketch.layers[1:], layers[1:], strict=True):
            mine.load_state_dict(theirs.state_dict())
    x = ours.points(5)
    torch.testing.assert_close(sketch.function(x), ours.function(x))
    index = SparseDirections(4).draw(LineForm(2), x, seeded(3))
    assert index is not None
    value, outward, bent = sketch.jets(x, index)
    factor = 1 - x.square().sum(1)
    found = factor * bent * (30 / 4) - 4 * outward - 60 * value
    wanted = laplacian(ours.model, x, estimator=SparseDirections(4), generator=3)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_programs_answer_line_by_line() -> None:
    settings = {"program": "sparse", "dim": 20, "samples": 4, "rate": 1e-3, "seed": 0}
    child = subprocess.run(
        [sys.executable, "-P", "-m", "sciml.kernels.bench.sine_gordon", json.dumps(settings)],
        input="run 2\nerror 20 2\n",
        capture_output=True,
        text=True,
        check=True,
    )
    ready, ran, error = map(json.loads, child.stdout.splitlines())
    assert ready["ready"].startswith("torch")
    assert ran["result"] > 0
    assert ran["peak_bytes"] > 2**24
    assert isfinite(error["result"])


@pytest.mark.parametrize("name", PROGRAMS)
def test_training_lowers_the_error(name: str) -> None:
    torch.manual_seed(0)
    program = PROGRAMS[name](20, 0, 4, 3e-3)
    before = program.error(500, 1)
    program.run(60)
    # The relative error falls from about one to a few percent, that of the best constant.
    assert before > 0.3
    assert program.error(500, 1) < 0.15
