"""Structured spectral weights: each equals the tensor that it stands for, in values, gradients and parts."""

from collections.abc import Callable
from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sciml.kernels import spectral_conv
from sciml.kernels.contractions import Contraction, Dense
from sciml.kernels.factorized import CP, BlockDiagonal, Separable, Tucker

# Sums of some hundred products of numbers of order 1.
EXACT: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-12}

MODES = {1: (4,), 2: (3, 2), 3: (1, 2, 3)}
SHAPES = {1: (9,), 2: (8, 7), 3: (4, 5, 6)}
C_IN, C_OUT = 4, 6


def stored(modes: tuple[int, ...]) -> tuple[int, ...]:
    return (*(2 * m for m in modes[:-1]), modes[-1])


def cp(frequencies: tuple[int, ...]) -> CP:
    return CP.random(frequencies, (C_IN, C_OUT), 3)


def tucker(frequencies: tuple[int, ...]) -> Tucker:
    ranks = (*(max(1, n - 1) for n in frequencies), 3, 2)
    return Tucker.random(frequencies, (C_IN, C_OUT), ranks)


def separable(frequencies: tuple[int, ...]) -> Separable:
    return Separable.random(frequencies, C_IN)


def blocks(frequencies: tuple[int, ...]) -> BlockDiagonal:
    return BlockDiagonal.random(frequencies, (C_IN, C_OUT), 2)


Maker = Callable[[tuple[int, ...]], Contraction]
MAKERS: list[Maker] = [cp, tucker, separable, blocks]
every_kind = pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
every_rank = pytest.mark.parametrize("rank", [1, 2, 3])


def make(maker: Maker, rank: int, seed: int = 0) -> Contraction:
    torch.manual_seed(seed)
    return maker(stored(MODES[rank])).to(torch.float64)


def randn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def with_tensors(contraction: Contraction, tensors: tuple[Tensor, ...]) -> Contraction:
    if isinstance(contraction, CP):
        return CP(tensors)
    if isinstance(contraction, Tucker):
        return Tucker(tensors[0], tensors[1:])
    return type(contraction)(*tensors)


def by_definition(contraction: Contraction) -> Tensor:
    """The formula of the docstring, in complex numbers."""
    letters = "abc"[: len(contraction.frequencies)]
    values = [torch.view_as_complex(tensor) for tensor in contraction.tensors]
    if isinstance(contraction, CP):
        indices = ",".join(f"{k}r" for k in (*letters, "i", "o"))
        dense = torch.einsum(f"{indices}->{letters}io", *values)
    elif isinstance(contraction, Tucker):
        small = letters.upper()
        indices = ",".join(f"{k}{k.upper()}" for k in letters)
        dense = torch.einsum(f"{small}st,{indices},is,ot->{letters}io", *values)
    else:
        (c_in, c_out), weight = contraction.channels, values[0]
        if isinstance(contraction, Separable):
            weight = weight[..., None, None]
        groups = weight.shape[-3]
        dense = torch.zeros(*contraction.frequencies, c_in, c_out, dtype=weight.dtype)
        for g, (rows, columns) in enumerate(
            zip(torch.arange(c_in).chunk(groups), torch.arange(c_out).chunk(groups), strict=True)
        ):
            dense[..., rows[:, None], columns] = weight[..., g, :, :]
    return torch.view_as_real(dense.contiguous())


@every_rank
@every_kind
def test_it_stands_for_the_tensor_of_its_definition(maker: Maker, rank: int) -> None:
    contraction = make(maker, rank)
    assert isinstance(contraction, Contraction)
    assert contraction.frequencies == stored(MODES[rank])
    assert contraction.channels == (C_IN, C_IN if maker is separable else C_OUT)
    dense = contraction.dense()
    assert dense.shape == (*contraction.frequencies, *contraction.channels, 2)
    torch.testing.assert_close(dense, by_definition(contraction), **EXACT)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@every_rank
@every_kind
def test_factors_and_tensor_convolve_alike(
    maker: Maker, rank: int, dtype: torch.dtype, tolerance: float
) -> None:
    """Values and gradients of the factors, on a grid that resolves all modes and on one that does not.

    The tolerance is relative to the largest entry: float32 carries 6e-8, and each entry sums up to a hundred
    products.
    """
    contraction = make(maker, rank).to(dtype)
    for shape in (SHAPES[rank], tuple(n - 3 for n in SHAPES[rank])):
        x = randn(2, C_IN, *shape).to(dtype)
        results = []
        for reconstructed in (False, True):
            leaves = tuple(tensor.clone().requires_grad_() for tensor in contraction.tensors)
            weight = with_tensors(contraction, leaves)
            y = spectral_conv(x, weight.dense() if reconstructed else weight, MODES[rank])
            results.append((y, *torch.autograd.grad(y.square().sum(), leaves)))
        for factorized, reference in zip(*results, strict=True):
            atol = tolerance * float(reference.detach().abs().max())
            torch.testing.assert_close(factorized, reference, rtol=0, atol=atol)


@every_kind
def test_one_axis_of_several(maker: Maker) -> None:
    contraction = make(maker, 1)
    x = randn(2, C_IN, 3, 9, 2)
    y = spectral_conv(x, contraction, MODES[1], axes=(1,))
    torch.testing.assert_close(y, spectral_conv(x, contraction.dense(), MODES[1], axes=(1,)), **EXACT)


# torch itself calls torch.jit.script when its forward mode is first used.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    "contraction",
    [
        CP.random((2, 1), (2, 1), 2),
        Tucker.random((2, 1), (2, 1), (1, 1, 2, 1)),
        Separable.random((2, 1), 2),
        BlockDiagonal.random((2, 1), (2, 2), 2),
    ],
    ids=lambda contraction: type(contraction).__name__,
)
def test_derivatives_of_modes_and_factors(contraction: Contraction) -> None:
    def mix(modes: Tensor, *tensors: Tensor) -> Tensor:
        return with_tensors(contraction, tensors).mix(modes)

    modes = randn(2, 1, 2, 1, 2).requires_grad_()
    leaves = [randn(*t.shape, seed=i).requires_grad_() for i, t in enumerate(contraction.tensors)]
    assert torch.autograd.gradcheck(mix, (modes, *leaves), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(mix, (modes, *leaves))


@every_rank
@every_kind
def test_a_part_is_the_part_of_the_tensor(maker: Maker, rank: int) -> None:
    contraction = make(maker, rank)
    ranges = tuple((min(1, n - 1), max(1, n - 1) if n > 2 else n) for n in contraction.frequencies)
    assert any(
        (start, stop) != (0, n) for (start, stop), n in zip(ranges, contraction.frequencies, strict=True)
    )
    part, reference = contraction.narrow(ranges), Dense(contraction.dense()).narrow(ranges)
    assert part.frequencies == reference.frequencies
    torch.testing.assert_close(part.dense(), reference.dense(), **EXACT)


class _Largest(TorchDispatchMode):
    """The most numbers in one tensor that any operation makes; none may be complex."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, Tensor):
                assert not tensor.is_complex(), func
                self.numbers = max(self.numbers, tensor.numel())
        return result


@pytest.mark.parametrize(
    ("contraction", "limit"),
    [
        # Twice the modes times rank / channels: four blocks of a product before they are added up.
        (CP.random((12, 6), (64, 64), 8), 2 * 72 * 2 * 2 * 64),
        # The expanded core, 72 matrices of 32 x 16, four blocks to a complex number.
        (Tucker.random((12, 6), (64, 64), (6, 3, 32, 16)), 2 * 72 * 32 * 16 * 2),
        (Separable.random((12, 6), 64), 72 * 2 * 2 * 64),
        (BlockDiagonal.random((12, 6), (64, 64), 8), 72 * 64 * 8 * 2),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, int) else "",
)
def test_no_large_tensor_and_no_complex_one_is_made(contraction: Contraction, limit: int) -> None:
    """Forward and backward with a batch of two; the dense weight has 72 · 64² · 2 numbers."""
    leaves = tuple(tensor.requires_grad_() for tensor in contraction.tensors)
    modes = torch.randn(12, 6, 2, 2, 64, requires_grad=True)
    with _Largest() as largest:
        with_tensors(contraction, leaves).mix(modes).square().sum().backward()
    assert largest.numbers <= limit < 72 * 64 * 64 * 2


@every_kind
def test_an_empty_batch_stays_empty(maker: Maker) -> None:
    contraction = make(maker, 2)
    assert contraction.mix(randn(*stored(MODES[2]), 2, 0, C_IN)).shape[-2:] == (0, contraction.channels[1])


def test_tucker_of_full_rank_is_any_tensor() -> None:
    for shape in ((5, 4, 6), (4, 3, 2, 5), (4, 2, 3, 3, 4)):
        tensor = randn(*shape, 2)
        again = Tucker.from_dense(tensor)
        assert again.ranks == shape
        torch.testing.assert_close(again.dense(), tensor, **EXACT)
        torch.testing.assert_close(
            Tucker.from_dense(tensor.float()).dense(), tensor.float(), rtol=0, atol=1e-5
        )


def test_a_rank_above_that_of_the_unfolding_is_lowered() -> None:
    """Nine frequencies of a single channel pair span one dimension."""
    tensor = randn(9, 1, 1, 2)
    again = Tucker.from_dense(tensor)
    assert again.ranks == (1, 1, 1)
    torch.testing.assert_close(again.dense(), tensor, **EXACT)


def test_truncated_tucker_is_the_best_along_each_mode() -> None:
    """Eckart-Young for one truncated mode; for all together the tails add up to a bound on the square."""
    tensor, ranks = randn(6, 3, 5, 4, 2), (4, 2, 3, 2)
    values = torch.view_as_complex(tensor)
    tails = []
    for mode, rank in enumerate(ranks):
        unfolding = values.movedim(mode, 0).flatten(1)
        tails.append(torch.linalg.svdvals(unfolding)[rank:].square().sum())
        alone = tuple(rank if i == mode else n for i, n in enumerate(values.shape))
        error = (Tucker.from_dense(tensor, alone).dense() - tensor).square().sum()
        torch.testing.assert_close(error, tails[-1], **EXACT)
    truncated = Tucker.from_dense(tensor, ranks)
    assert truncated.ranks == ranks
    error = (truncated.dense() - tensor).square().sum()
    assert max(tails) <= error <= sum(tails)


@every_rank
def test_cp_of_full_rank_is_any_tensor(rank: int) -> None:
    """One term for each fiber along the first axis: c_in c_out of them in one dimension."""
    sizes = (*stored(MODES[rank]), 2, 3)
    tensor = randn(*sizes, 2)
    fibers = tensor.flatten(1, -2)  # (n_1, terms, 2)
    terms = prod(sizes[1:])
    positions = torch.cartesian_prod(*(torch.arange(n) for n in sizes[1:])).reshape(terms, -1)
    factors = [fibers]
    for axis, size in enumerate(sizes[1:]):
        unit = torch.nn.functional.one_hot(positions[:, axis], size).T.double()
        factors.append(torch.stack((unit, torch.zeros_like(unit)), dim=-1))
    again = CP(tuple(factors))
    assert again.rank == terms
    torch.testing.assert_close(again.dense(), tensor, **EXACT)


@pytest.mark.parametrize("variance", [1.0, 1 / 32])
@every_rank
def test_random_factors_give_the_tensor_its_variance(rank: int, variance: float) -> None:
    """E|R|² over draws; real and imaginary part have half of it each, and are uncorrelated.

    The entries of one draw share their factors, so it takes many draws: the relative standard error of the
    mean, estimated from the draws themselves, is 0.001 to 0.034 here; four of these are allowed.
    """
    frequencies = stored(MODES[rank])
    draws: dict[str, Callable[[], Tensor]] = {
        "cp": lambda: CP.random(frequencies, (C_IN, C_OUT), 5, variance=variance).dense(),
        "tucker": lambda: tucker_of(variance).dense(),
        "separable": lambda: Separable.random(frequencies, 40, variance=variance).weight,
        "blocks": lambda: BlockDiagonal.random(frequencies, (8, 8), 2, variance=variance).weight,
    }

    def tucker_of(variance: float) -> Tucker:
        ranks = (*(max(1, n - 1) for n in frequencies), 3, 2)
        return Tucker.random(frequencies, (C_IN, C_OUT), ranks, variance=variance)

    torch.manual_seed(0)
    for name, draw in draws.items():
        weights = torch.stack([draw() for _ in range(300)]).flatten(1, -2) / variance**0.5
        for value, expected in (
            (weights[..., 0].square(), 0.5),
            (weights[..., 1].square(), 0.5),
            (weights.prod(dim=-1), 0.0),
        ):
            means = value.mean(dim=1)
            error = float(means.std()) / len(means) ** 0.5
            assert error < 0.05, name
            assert abs(float(means.mean()) - expected) < 4 * error, name


@pytest.mark.parametrize(
    ("make_wrong", "message"),
    [
        (lambda: CP((torch.zeros(4, 3, 2), torch.zeros(2, 3, 2))), "CP: factors must be"),
        (lambda: CP((torch.zeros(4, 3, 2), torch.zeros(2, 3, 2), torch.zeros(2, 4, 2))), "with one rank"),
        (lambda: CP((torch.zeros(4, 3), torch.zeros(2, 3), torch.zeros(2, 3))), "CP: factors must be"),
        (
            lambda: Tucker(torch.zeros(2, 2, 2, 2), (torch.zeros(4, 2, 2),)),
            "one factor .size, r, 2. for each",
        ),
        (
            lambda: Tucker(torch.zeros(2, 2, 2, 2), tuple(torch.zeros(4, r, 2) for r in (2, 3, 2))),
            r"got a core \(2, 2, 2, 2\) and factors",
        ),
        (lambda: BlockDiagonal.random((4,), (6, 8), 4), r"4 groups do not divide the channels \(6, 8\)"),
    ],
)
def test_refuses_factors_that_do_not_fit(make_wrong: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_wrong()


def test_the_convolution_names_what_factors_stand_for() -> None:
    with pytest.raises(ValueError, match=r"\(6, 3, 4, c_out, 2\) for modes \(3, 3\), got \(6, 2, 4, 6, 2\)"):
        spectral_conv(torch.zeros(1, C_IN, 8, 8), cp((6, 2)), (3, 3))
