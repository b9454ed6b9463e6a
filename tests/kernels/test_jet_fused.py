"""Layers and activations as one operation, against the reference made of many."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.kernels import jet_fused
from sciml.kernels.jet import Directions, directional_sums
from sciml.kernels.jet_chain import Activation, Affine, Source
from sciml.kernels.jet_ladders import sine, tanh
from sciml.kernels.jet_series import Bundle

EXACT = {"rtol": 1e-10, "atol": 1e-10}
D, POINTS = 3, 7

pytestmark = pytest.mark.usefixtures("double")


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def mlp(activation: Callable[[], nn.Module] = nn.Tanh, width: int = 6, outputs: int = 2) -> nn.Module:
    hidden = [layer for _ in range(2) for layer in (nn.Linear(width, width), activation())]
    return nn.Sequential(nn.Linear(D, width), activation(), *hidden, nn.Linear(width, outputs))


def close(got: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, **EXACT)


BUNDLES = (
    # What is written out for second order, and what takes the general way.
    (
        Bundle(2, 2, collapsed=True),
        Bundle(1, 1, collapsed=True),
        Bundle(2, 3, collapsed=True, weights=torch.tensor([0.5, -2.0, 1.5], dtype=torch.float64)),
    ),
    (
        Bundle(2, 2, collapsed=True),
        Bundle(3, 2, collapsed=True, weights=torch.tensor([0.5, -2.0], dtype=torch.float64)),
        Bundle(2, 1, collapsed=False),
        Bundle(1, 1, collapsed=True),
        Bundle(4, 2, collapsed=True),
    ),
)


def _sources(shared: bool) -> Iterator[tuple[Source, list[Tensor]]]:
    """Columns at the beginning of a chain, of each kind, and the tensors in them."""
    for bundles in BUNDLES:
        for degree in (1, 4):
            columns = sum(sum(bundle.widths(degree)) for bundle in bundles)
            value = randn(5, 3, seed=1).requires_grad_()
            rest = randn(columns, 1 if shared else 5, 3, seed=2).requires_grad_()
            yield Source(bundles, degree, value=value, rest=rest), [value, rest]
            if not shared:
                stack = randn(1 + columns, 5, 3, seed=3).requires_grad_()
                yield Source(bundles, degree, stack=stack), [stack]


STEPS: dict[str, Callable[[Sequence[Tensor]], tuple[Any, ...]]] = {
    "activation first": lambda p: (
        Activation(tanh),
        Affine(p[0], p[1]),
        Activation(sine),
        Affine(p[2], None, 0.5),
    ),
    "layer first": lambda p: (Affine(p[0], p[1], 2.0), Activation(tanh), Affine(p[2], p[3])),
    "layers in a row": lambda p: (Affine(p[0], p[1]), Affine(p[0], None), Activation(sine)),
    "activations in a row": lambda p: (Activation(sine), Activation(tanh)),
    "relu": lambda p: (
        Affine(p[0], p[1]),
        Activation(lambda u, m: [u.relu(), (u > 0).to(u), *[None] * m][: m + 1]),
    ),
}


# Columns that the points share go through a linear layer on their own, so activations come first there.
CASES = [(steps, False) for steps in STEPS] + [
    (steps, True) for steps in STEPS if steps.startswith("activation")
]


@pytest.mark.parametrize(("steps", "shared"), CASES)
@pytest.mark.parametrize("only_top", [True, False])
def test_the_operation_equals_its_reference(
    steps: str, shared: bool, only_top: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values and gradients, also in blocks of two points."""
    parameters = [randn(*s, seed=n).requires_grad_() for n, s in enumerate([(3, 3), (3,), (2, 3), (2,)])]
    for source, columns in _sources(shared):
        chain = STEPS[steps](parameters)
        inputs = [*columns, *parameters]
        expected = jet_fused.plain_chain(source, chain, only_top=only_top)
        cotangent = randn(*expected.shape, seed=7)
        reference = torch.autograd.grad(expected, inputs, cotangent, allow_unused=True)
        for block in (None, 2):
            if block:
                monkeypatch.setattr(jet_fused, "BLOCK", 1)
                monkeypatch.setattr(jet_fused, "GRAIN", block)
            got = jet_fused.run_chain(source, chain, only_top=only_top)
            assert "_Chain" in type(got.grad_fn).__name__ or "_Chain" in str(got.grad_fn.next_functions)  # type: ignore[union-attr]
            close([got], [expected])
            found = torch.autograd.grad(got, inputs, cotangent, allow_unused=True)
            for a, b in zip(found, reference, strict=True):
                assert (a is None) == (b is None)
                if a is not None and b is not None:
                    close([a], [b])


@pytest.mark.parametrize("steps", ["activation first", "layers in a row"])
def test_the_operation_passes_gradcheck_twice(steps: str) -> None:
    parameters = [0.5 * randn(*s, seed=n) for n, s in enumerate([(2, 2), (2,), (1, 2)])]
    value, rest = randn(2, 2, seed=5), randn(3, 2, 2, seed=6)
    inputs = tuple(t.requires_grad_() for t in (value, rest, *parameters))

    def function(value: Tensor, rest: Tensor, *p: Tensor) -> Tensor:
        source = Source((Bundle(2, 2, collapsed=True),), 2, value=value, rest=rest)
        return jet_fused.run_chain(source, STEPS[steps](p), only_top=False)

    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("block", [1, 2, 3, 7, 100])
def test_blocks_do_not_change_the_result(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = mlp(), randn(POINTS, D, seed=1)
    groups = [Directions(2, torch.eye(D)), Directions(4, randn(2, D))]

    def run() -> list[Tensor]:
        sums = directional_sums(model, x, groups)[1:]
        return [*sums, *torch.autograd.grad(torch.cat(sums).square().mean(), list(model.parameters())[:-1])]

    whole = run()
    monkeypatch.setattr(jet_fused, "BLOCK", 1)
    monkeypatch.setattr(jet_fused, "GRAIN", block)
    close(run(), whole)


def test_the_reference_is_taken_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = mlp(), randn(POINTS, D)
    fast = directional_sums(model, x, [Directions(2, torch.eye(D))])
    monkeypatch.setenv("SCIML_KERNELS", "reference")
    monkeypatch.setattr(jet_fused._Chain, "forward", None)
    close(directional_sums(model, x, [Directions(2, torch.eye(D))]), fast)


@pytest.mark.parametrize("bundles", BUNDLES, ids=["second order", "all orders"])
def test_the_backward_pass_repeats_and_inputs_stay(bundles: tuple[Bundle, ...]) -> None:
    """Stacks of columns are overwritten, but none that belongs to others or is still needed."""
    columns = sum(sum(bundle.widths(4)) for bundle in bundles)
    stack = randn(1 + columns, 5, 3, seed=3).requires_grad_()
    parameters = [randn(*s, seed=n).requires_grad_() for n, s in enumerate([(3, 3), (3,), (3, 3), (3,)])]
    before = [t.detach().clone() for t in (stack, *parameters)]
    steps = (
        *(Activation(tanh), Affine(parameters[0], parameters[1]), Activation(tanh)),
        *(Affine(parameters[2], parameters[3]), Activation(tanh), Affine(parameters[0], None)),
    )
    result = jet_fused.run_chain(Source(bundles, 4, stack=stack), steps, only_top=True)
    cotangent = randn(*result.shape, seed=7)
    first, second = (
        torch.autograd.grad(result, (stack, *parameters), cotangent, retain_graph=True) for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(before, (stack, *parameters), strict=True))
    expected = jet_fused.plain_chain(Source(bundles, 4, stack=stack), steps, only_top=True)
    close([result], [expected])
    close(first, torch.autograd.grad(expected, (stack, *parameters), cotangent))
