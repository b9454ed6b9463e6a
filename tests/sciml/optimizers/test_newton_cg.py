"""Newton-CG: the sketch on known spectra, what it saves, negative curvature, and the line search."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sciml.errors import ConfigError
from sciml.optimizers import NystromNewtonCG
from sciml.optimizers.newton_cg import conjugate_gradients, nystrom

Terms = dict[str, Tensor]


class Closure:
    """The terms of a loss; counts how often they are asked for."""

    def __init__(self, function: Callable[[], Tensor]) -> None:
        self.function, self.asked = function, 0

    def means(self) -> Terms:
        self.asked += 1
        return {"loss": self.function()}

    def __call__(self) -> float:
        raise AssertionError("the loss is asked for with its graph")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def basis(size: int, rank: int) -> Tensor:
    found: Tensor = torch.linalg.qr(random(size, rank, seed=5))[0]
    return found


def symmetric(values: Tensor) -> Tensor:
    vectors = basis(len(values), len(values)).flip(0)
    return vectors @ (values[:, None] * vectors.T)


def inverse(vectors: Tensor, values: Tensor, damping: float) -> Tensor:
    """The preconditioner as a matrix, from its formula."""
    within = vectors @ (((values[-1] + damping) / (values + damping))[:, None] * vectors.T)
    return within + torch.eye(len(vectors), dtype=torch.float64) - vectors @ vectors.T


def memory(optimizer: NystromNewtonCG) -> dict[str, Any]:
    found: dict[str, Any] = next(iter(optimizer.state.values()))
    return found


def test_a_matrix_of_low_rank_is_sketched_exactly() -> None:
    values = torch.zeros(40, dtype=torch.float64)
    values[:6] = torch.tensor([1e3, 1e2, 10.0, 5.0, 1.0, 0.1])
    matrix, q = symmetric(values), basis(40, 10)
    vectors, found = nystrom(q, matrix @ q)
    # The shift is sqrt(40) eps 1e3 = 1.4e-12, and roots of it enter: 1e-16 * 1e3 / sqrt(1e-12) = 1e-7.
    torch.testing.assert_close(found[:6], values[:6], rtol=0, atol=1e-6)
    assert (found[6:] < 1e-6).all()
    torch.testing.assert_close(vectors @ (found[:, None] * vectors.T), matrix, rtol=0, atol=1e-6)
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(10, dtype=torch.float64), rtol=0, atol=1e-12)


def test_the_preconditioner_leaves_a_small_condition() -> None:
    """Eigenvalues 1 / k^4 and damping 1e-5: beyond the effective dimension theory promises 28 at most."""
    values = torch.arange(1, 101, dtype=torch.float64) ** -4.0
    matrix, q, damping = symmetric(values), basis(100, 30), 1e-5
    damped = matrix + damping * torch.eye(100, dtype=torch.float64)
    approximate = inverse(*nystrom(q, matrix @ q), damping)
    spectrum = torch.linalg.eigvals(approximate @ damped).real
    assert float(spectrum.max() / spectrum.min()) < 4
    wrong = matrix @ q  # with the lower factor instead of the upper one
    lower = torch.linalg.cholesky(q.T @ wrong)
    vectors, singular, _ = torch.linalg.svd(
        torch.linalg.solve_triangular(lower, wrong, upper=False, left=False), full_matrices=False
    )
    spectrum = torch.linalg.eigvals(inverse(vectors, singular.square(), damping) @ damped).real
    assert float(spectrum.max() / spectrum.min()) > 1e3


def test_a_matrix_that_bends_downward_has_a_sketch() -> None:
    values = torch.linspace(-1, 10, 30, dtype=torch.float64)
    matrix, q = symmetric(values), basis(30, 30)
    vectors, found = nystrom(q, matrix @ q)
    assert torch.isfinite(vectors).all() and (found >= 0).all()
    assert float(found[0]) == pytest.approx(10, abs=1e-9)
    zero, nothing = nystrom(q, torch.zeros_like(q))
    assert torch.isfinite(zero).all() and float(nothing.abs().max()) < 1e-300


def counted(matrix: Tensor, b: Tensor, rank: int, damping: float) -> tuple[int, Tensor]:
    count = 0

    def product(v: Tensor) -> Tensor:
        nonlocal count
        count += 1
        return matrix @ v + damping * v

    q = basis(len(b), rank)
    approximate = inverse(*nystrom(q, matrix @ q), damping)
    found = conjugate_gradients(product, b, lambda v: approximate @ v, accuracy=1e-10, most=1000)
    return count, found


def test_larger_sketches_take_fewer_iterations() -> None:
    """On an ill-conditioned quadratic, and all of them lead to its minimum."""
    matrix = symmetric(torch.logspace(2, -4, 120, dtype=torch.float64))
    b, damping = random(120, seed=3), 1e-3
    expected = torch.linalg.solve(matrix + damping * torch.eye(120, dtype=torch.float64), b)
    counts = []
    for rank in (1, 40, 80, 120):
        count, found = counted(matrix, b, rank, damping)
        # The condition 1e5 times the accuracy.
        assert (found - expected).norm() < 1e-5 * expected.norm()
        counts.append(count)
    assert counts[0] > 2 * counts[1] > 4 * counts[2] and counts[3] <= 3


def test_conjugate_gradients_end_at_negative_curvature() -> None:
    b = torch.tensor([1.0, 1.0, 0.5], dtype=torch.float64)
    values = torch.tensor([2.0, 1.0, -1.0], dtype=torch.float64)
    found = conjugate_gradients(lambda v: values * v, b, lambda v: v, accuracy=1e-10, most=10)
    assert float(b @ found) > 0
    # Already the first direction bends downward: it is the answer, as if it bent upward.
    only = conjugate_gradients(lambda v: -2 * v, b, lambda v: 3 * v, accuracy=1e-10, most=10)
    torch.testing.assert_close(only, b / 2)
    flat = conjugate_gradients(torch.zeros_like, b, lambda v: 3 * v, accuracy=1e-10, most=10)
    torch.testing.assert_close(flat, 3 * b)
    # A start does not matter then, nor one that leads upward.
    again = conjugate_gradients(lambda v: -2 * v, b, lambda v: v, b + 1, accuracy=1e-10, most=10)
    torch.testing.assert_close(again, b / 2)
    upward = conjugate_gradients(lambda v: v.abs() * 2, b, lambda v: v, -9 * b, accuracy=1e-10, most=1)
    assert float(b @ upward) > 0


def test_it_leaves_a_saddle_downward() -> None:
    """(x^2 - 1)^2 + y^2 bends downward along x near 0."""
    x = torch.tensor([1e-3, 1.0], dtype=torch.float64, requires_grad=True)
    optimizer = NystromNewtonCG([x], iterations=20, rank=2)
    first = optimizer.step(Closure(lambda: (x[0] ** 2 - 1) ** 2 + x[1] ** 2))
    assert first == pytest.approx(2.0, abs=1e-5)
    # A Newton step of the end squares the error, up to damping over curvature, 1e-4 / 8.
    torch.testing.assert_close(x.detach(), torch.tensor([1.0, 0.0], dtype=torch.float64), rtol=0, atol=1e-7)


def test_a_quadratic_takes_a_step_up_to_damping() -> None:
    """The error that is left along an eigenvalue is mu / (lambda + mu) of the first."""
    values = torch.tensor([10.0, 1.0, 0.1], dtype=torch.float64)
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    optimizer = NystromNewtonCG([x], iterations=1, damping=1e-2, rank=2, accuracy=1e-12)
    optimizer.step(Closure(lambda: 0.5 * (values * x**2).sum()))
    torch.testing.assert_close(x.detach(), 1e-2 / (values + 1e-2), rtol=0, atol=1e-12)


def test_the_length_is_halved_until_the_loss_falls() -> None:
    """Newton's step for log(cosh x) from 2 leads to -11.6, and half of it to -4.8; a quarter falls enough."""
    start = 2.0
    slope, bend = math.tanh(start), 1 / math.cosh(start) ** 2
    direction = slope / (bend + 1e-9)

    def loss(x: float) -> float:
        return math.log(math.cosh(x))

    chosen = next(
        k
        for k in range(31)
        if loss(start - 2.0**-k * direction) <= loss(start) - 0.1 * 2.0**-k * slope * direction
    )
    assert chosen == 2
    x = torch.tensor([start], dtype=torch.float64, requires_grad=True)
    NystromNewtonCG([x], iterations=1, damping=1e-9).step(Closure(lambda: x.cosh().log().sum()))
    assert x.item() == pytest.approx(start - 2.0**-chosen * direction, rel=1e-9)


def test_the_sketch_is_made_anew_every_so_often() -> None:
    """And kept between steps, which begin at the last direction."""
    x = torch.full((6,), 3.0, dtype=torch.float64, requires_grad=True)
    optimizer = NystromNewtonCG([x], iterations=1, rank=2, every=3, products=1)
    closure = Closure(lambda: (torch.arange(1, 7) * x**4).sum())
    sketches = []
    for _ in range(6):
        optimizer.step(closure)
        sketches.append(memory(optimizer)["vectors"])
    assert [a is b for a, b in itertools.pairwise(sketches)] == [True, True, False, True, True]
    assert memory(optimizer)["count"] == 6


def test_an_accepted_place_is_not_evaluated_again() -> None:
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    closure = Closure(lambda: (x**4).sum())
    NystromNewtonCG([x], iterations=5).step(closure)
    assert closure.asked == 6


def test_it_says_why_it_stopped() -> None:
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    optimizer = NystromNewtonCG([x], iterations=50)
    optimizer.step(Closure(lambda: 1 + (x**2).sum()))
    assert optimizer.stopped == "the loss is down to its rounding"
    assert not memory(optimizer)  # the next batch begins anew
    loose = NystromNewtonCG([x], tolerance=1e-3)
    loose.step(Closure(lambda: (x**2).sum()))
    assert loose.stopped == "the gradient is at most 0.001"
    # A gradient of the wrong sign: no step falls.
    before = torch.full((3,), 2.0, dtype=torch.float64)
    wrong = before.clone().requires_grad_()
    broken = NystromNewtonCG([wrong])
    broken.step(Closure(lambda: (wrong.detach() ** 2).sum() + (wrong.detach() - wrong).sum()))
    assert broken.stopped == "no step along Newton's direction makes the loss smaller"
    assert torch.equal(wrong.detach(), before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iterations": 0}, "iterations, rank, every and products >= 1"),
        ({"rank": 0}, "rank"),
        ({"damping": 0.0}, "damping and accuracy > 0"),
        ({"accuracy": 0.0}, "accuracy > 0"),
        ({"tolerance": -1.0}, "tolerance >= 0"),
    ],
)
def test_what_cannot_work_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NystromNewtonCG([torch.zeros(2, dtype=torch.float64)], **settings)
    with pytest.raises(ConfigError, match=r"closure has no means\(\)"):
        NystromNewtonCG([torch.zeros(2, dtype=torch.float64)]).step(lambda: 1.0)
