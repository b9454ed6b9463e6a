"""Estimators as values: equality, seeds, the sets that they draw, and what they refuse."""

from collections.abc import Callable

import pytest
import torch

from sciml.kernels.derivatives import d
from sciml.kernels.estimators import (
    CubatureLines,
    DenseDirections,
    Estimator,
    Exact,
    Hutchinson,
    SparseDirections,
)
from sciml.kernels.forms import LineForm, SquaredLaplacian, forms_of, values_of


def test_sets_without_replacement_have_no_repetition() -> None:
    x = torch.zeros(2_000, 500, dtype=torch.float32)
    for samples in (4, 40):  # drawn again, or by sorting
        (group,) = SparseDirections(samples, per_point=True).directions(
            LineForm(2), x, torch.Generator().manual_seed(0)
        )
        assert float(group.vectors.sum(0).max()) == 1.0
    (shared,) = SparseDirections(400).directions(LineForm(2), x, torch.Generator().manual_seed(0))
    assert float(shared.vectors.sum(0).max()) == 1.0


def test_few_of_many_coordinates_take_little_memory() -> None:
    x = torch.zeros(2, 100_000)
    (group,) = SparseDirections(16).directions(LineForm(2), x, torch.Generator().manual_seed(0))
    assert group.vectors.shape == (16, 100_000)


def test_first_derivatives_are_exact_in_every_estimator() -> None:
    x = torch.zeros(1, 3, dtype=torch.float64)
    p = (d("x") - 2 * d("z")).plan(3)
    (form,) = forms_of(p, 0, values_of(p, x), x)
    for estimator in (SparseDirections(1), Hutchinson(1), DenseDirections(1), CubatureLines()):
        assert not estimator.is_random(form, x)
        (group,) = estimator.directions(form, x, None)
        assert group.order == 1
        assert (group.weights[:, None] * group.vectors).sum(0).tolist() == [1.0, 0.0, -2.0]


def test_estimators_are_values() -> None:
    assert Hutchinson(4, "gaussian") == Hutchinson(4, distribution="gaussian")
    assert len({SparseDirections(4), SparseDirections(4), SparseDirections(4, replacement=True)}) == 2
    assert repr(Exact()) == "Exact()"


def test_a_seed_gives_the_same_directions_and_no_global_state_is_touched() -> None:
    x = torch.zeros(1, 6)
    state = torch.get_rng_state()
    for estimator in (Hutchinson(3), SparseDirections(3), DenseDirections(3)):
        first, second = (
            estimator.directions(LineForm(2), x, torch.Generator().manual_seed(7))[0].vectors
            for _ in range(2)
        )
        assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


ERRORS: list[tuple[Callable[[], object], str]] = [
    (lambda: Hutchinson(0), "at least one sample, got samples=0"),
    (lambda: SparseDirections(-1), "at least one sample"),
    (lambda: Hutchinson(4, "normal"), "one of rademacher, gaussian.*'normal'"),  # type: ignore[arg-type]
    (lambda: Hutchinson(4), "pass generator="),
    (lambda: SparseDirections(2), "pass generator="),
    (lambda: DenseDirections(2), "pass generator="),
]


@pytest.mark.parametrize(("make", "message"), ERRORS)
def test_errors(make: Callable[[], Estimator], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make().directions(LineForm(2), torch.zeros(1, 3), None)


def test_operators_without_a_law() -> None:
    x, generator = torch.zeros(1, 3), torch.Generator()
    with pytest.raises(ValueError, match=r"order 3. DenseDirections has laws"):
        Hutchinson(2).directions(LineForm(3), x, generator)
    with pytest.raises(ValueError, match="at most 4, got order 5"):
        DenseDirections(2).directions(LineForm(5), x, generator)
    with pytest.raises(ValueError, match="only 3 orthogonal directions, got samples=4"):
        Hutchinson(4, "orthogonal").directions(LineForm(2), x, generator)
    with pytest.raises(ValueError, match="another operator of order 3"):
        CubatureLines().directions(LineForm(3), x, None)
    with pytest.raises(ValueError, match="at least that degree, got degree=2"):
        CubatureLines(2).directions(SquaredLaplacian(), x, None)
