"""Every operation that jets know, against nested reverse mode, for all orders up to four."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sciml.kernels.jet import jet

# The acceptance bound of the library: derivatives equal those of nested reverse mode in float64. Values are
# of size one, fourth derivatives up to some hundreds.
EXACT = {"rtol": 1e-10, "atol": 1e-10}
ORDER = 4
BATCH, D = 3, 4

Function = Callable[[Any], Any]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def positive(*shape: int, seed: int = 0) -> Tensor:
    return randn(*shape, seed=seed).abs() + 0.5


def nested(function: Function, x: Tensor, v: Tensor, order: int) -> list[Tensor]:
    """Derivatives along v of the outputs, contracted with random numbers to one."""
    t = torch.zeros((), dtype=x.dtype, requires_grad=True)
    y = function(x + t * v)
    results = [(y * randn(*y.shape, seed=9)).sum()]
    for _ in range(order):
        last = results[-1]
        derivative = None
        if last.requires_grad:
            (derivative,) = torch.autograd.grad(last, t, create_graph=True, allow_unused=True)
        results.append(torch.zeros_like(t) if derivative is None else derivative)
    return [result.detach() for result in results]


def check(function: Function, x: Tensor, *, order: int = ORDER, expected: Function | None = None) -> None:
    """Directions that differ from point to point, and one for all: they take other ways through the rules."""
    for v in (0.5 * randn(*x.shape, seed=1), 0.5 * randn(1, x.shape[1], seed=2)):
        jets = jet(function, x, v.squeeze(0), order)
        assert len(jets) == order + 1
        for k, derivative in enumerate(nested(expected or function, x, v, order)):
            got = (jets[k] * randn(*jets[k].shape, seed=9)).sum()
            torch.testing.assert_close(got, derivative, msg=lambda text, k=k: f"order {k}: {text}", **EXACT)


ELEMENTWISE: dict[str, tuple[Function, Callable[..., Tensor]]] = {
    **{
        name: (getattr(torch, name), randn)
        for name in [
            "exp",
            "exp2",
            "expm1",
            "sin",
            "cos",
            "sinh",
            "cosh",
            "tanh",
            "sigmoid",
            "erf",
            "erfc",
            "square",
            "atan",
            "asinh",
            "abs",
            "relu",
            "neg",
        ]
    },
    **{
        name: (getattr(torch, name), positive)
        for name in ["log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal"]
    },
    "tan": (lambda x: torch.tan(0.3 * x), randn),
    "asin": (lambda x: torch.asin(0.2 * x), randn),
    "acos": (lambda x: torch.acos(0.2 * x), randn),
    "atanh": (lambda x: torch.atanh(0.2 * x), randn),
    "acosh": (lambda x: torch.acosh(1.0 + x), positive),
    "normal cdf": (torch.special.ndtr, randn),
    "expit": (torch.special.expit, randn),
    "silu": (F.silu, randn),
    "mish": (F.mish, randn),
    "gelu": (F.gelu, randn),
    "gelu by tanh": (lambda x: F.gelu(x, approximate="tanh"), randn),
    "softplus": (F.softplus, randn),
    "softplus, beta": (lambda x: F.softplus(x, 2.0, 3.0), randn),
    "logsigmoid": (F.logsigmoid, randn),
    "tanhshrink": (F.tanhshrink, randn),
    "softsign": (F.softsign, randn),
    "elu": (lambda x: F.elu(x, 0.7), randn),
    "celu": (lambda x: F.celu(x, 0.5), randn),  # torch rounds 1 / alpha to single precision
    "selu": (F.selu, randn),
    "leaky relu": (lambda x: F.leaky_relu(x, 0.2), randn),
    "relu squared": (lambda x: F.relu(x) ** 2, randn),
    "prelu": (lambda x: F.prelu(x, torch.full((D,), 0.3, dtype=torch.float64)), randn),
    "hardtanh": (F.hardtanh, randn),
    "clamp": (lambda x: x.clamp(-0.4, 0.6), randn),
    "clamp below": (lambda x: torch.clamp(x, min=0.1), randn),
    "power 3": (lambda x: x**3, randn),
    "power -2": (lambda x: x**-2, positive),
    "power 2.5": (lambda x: torch.pow(x, 2.5), positive),
    "power 0": (lambda x: x**0 + x, randn),
    "number to the power": (lambda x: 1.7**x, randn),
    "tensor to the power": (lambda x: positive(D, seed=3) ** x, randn),
    "power of tensors": (lambda x: x ** positive(D, seed=3), positive),
    "jet to the power": (lambda x: x ** torch.sin(x), positive),
    "sign": (lambda x: torch.sign(x) * x, randn),
    "floor": (lambda x: (x - torch.floor(x)) * x, randn),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_functions_of_every_element(name: str) -> None:
    function, domain = ELEMENTWISE[name]
    check(function, domain(BATCH, D))


W, B = randn(5, D, seed=4), randn(5, seed=5)
M = randn(BATCH, D, seed=6)


def tokens(x: Any) -> Any:
    """(batch, 4) -> (batch, 3, 2): values that differ from one another, for layers on sequences."""
    return F.linear(x, randn(6, D, seed=7), randn(6, seed=8)).tanh().reshape(len(x), 3, 2)


ARITHMETIC: dict[str, Function] = {
    "add": lambda x: x + torch.sin(x) + 1.5 + M,
    "add from the left": lambda x: M + x,
    "add wide": lambda x: x[:, :1] + torch.exp(x),
    "add ranks": lambda x: x[0] + x.exp(),
    "alpha": lambda x: (
        torch.add(x, x.exp(), alpha=-0.3) + torch.add(M, x, alpha=2.0) + torch.sub(x, M, alpha=0.5)
    ),
    "subtract": lambda x: (x - torch.exp(x)) - (2.0 - x) - (M - x),
    "multiply": lambda x: x * torch.cos(x) * 0.5 * M,
    "multiply from the left": lambda x: M * (3 * x),
    "multiply wide": lambda x: x[:, :1] * torch.exp(x) * randn(2, BATCH, D, seed=7).sum(0),
    "powers of a polynomial": lambda x: x * x * x[:, :1],
    "divide": lambda x: torch.sin(x) / (2.0 + x * x) / 3 / positive(D),
    "divide by": lambda x: 1.0 / (2.0 + x * x) + M / (3.0 + torch.sin(x)) + M.reciprocal() / torch.exp(x),
    "addcmul": lambda x: torch.addcmul(x, x.sin(), M, value=0.5) + torch.addcmul(M, x, x, value=2.0),
    "addcdiv": lambda x: torch.addcdiv(x, x.sin(), x.exp(), value=0.5),
    "lerp": lambda x: torch.lerp(x, x.sin(), 0.3) + torch.lerp(M, M + 1.0, x) + torch.lerp(x, M, x.cos()),
    "where": lambda x: (
        torch.where(x > 0.1, x.exp(), x.sin()) + torch.where(M > 0, x, 0.0) * torch.where(M < 0, M, x)
    ),
    "maximum": lambda x: torch.maximum(x, x.sin() + 0.1) + torch.minimum(x**2, M),
    "rsub": lambda x: torch.rsub(x, M) + torch.rsub(x, 2.0),
    "times zeros like": lambda x: x * torch.ones_like(x) + torch.zeros_like(x) + x.new_ones(D),
    "detach": lambda x: x.detach() * x.sin() + x.detach(),
    "negative of a linear layer": lambda x: -(2.0 * F.linear(x, W, B)).tanh() * 0.5,
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic(name: str) -> None:
    check(ARITHMETIC[name], randn(BATCH, D))


LINEAR: dict[str, Function] = {
    "linear": lambda x: F.linear(x, W, B),
    "linear twice": lambda x: F.linear(F.linear(x.sin(), W, B), W.T).exp(),
    "linear in a row": lambda x: F.linear(F.linear(x, W, B), W.T).exp(),
    "linear with jets as weights": lambda x: F.linear(M, x.sin()) + F.linear(x, x, M[:, 0]),
    "matmul": lambda x: torch.sin(x) @ W.T + x @ W.T,
    "matmul from the left": lambda x: (M @ torch.sin(x).T) * (randn(2, 5, BATCH) @ x.exp()).sum((0, 1))[:3],
    "matmul of jets": lambda x: tokens(x) @ tokens(x.sin()).transpose(1, 2),
    "bmm": lambda x: torch.bmm(tokens(x), tokens(x).mT) + torch.bmm(tokens(x), randn(BATCH, 2, 3)),
    "mv": lambda x: torch.mv(x.sin(), M[0]) + torch.mv(M, M[0]) * x[:, 0],
    "dot": lambda x: torch.stack([torch.dot(r.sin(), M[0]) + torch.dot(r, r) for r in x]),
    "addmm": lambda x: torch.addmm(B, x.sin(), W.T, beta=2.0, alpha=0.5),
    "outer": lambda x: torch.stack([torch.outer(r, r.exp()) for r in x]),
    "einsum": lambda x: torch.einsum("bi,oi->bo", x.sin(), W),
    "einsum of jets": lambda x: torch.einsum("bij,bkj->bik", tokens(x), tokens(x.cos())),
    "einsum implicit": lambda x: torch.einsum("ba,bj", x.sin(), M[:, :2]).T.reshape(-1)[None] * x[:, :1],
    "einsum ellipsis": lambda x: torch.einsum("...i,...i->...", x.sin(), x),
    "conv1d": lambda x: F.conv1d(tokens(x).mT, randn(3, 2, 2), randn(3)),
    "conv2d": lambda x: F.conv2d(tokens(x)[:, None], randn(3, 1, 2, 2), randn(3), padding=1),
    "sum": lambda x: x.sin().sum(1) + x.sum(-1) + tokens(x).sum((1, 2)) + x.exp().sum(),
    "mean": lambda x: x.sin().mean(dim=1, keepdim=True) + torch.mean(x) + tokens(x).mean((-1, 1))[:, None],
    "cumsum": lambda x: x.sin().cumsum(1),
    "norm": lambda x: torch.linalg.vector_norm(x, dim=1) + x.norm(dim=-1) + torch.norm(x.exp(), dim=1),
}

SHAPES: dict[str, Function] = {
    "reshape": lambda x: tokens(x).reshape(BATCH, -1) + tokens(x).view(BATCH, 6) + tokens(x).flatten(1),
    "unflatten": lambda x: x.sin().unflatten(1, (2, 2)) * x.unflatten(-1, (2, 2)),
    "squeeze": lambda x: (
        x.unsqueeze(1).sin().squeeze(1) + x[:, None].squeeze() + x.sin()[..., None].squeeze(-1)
    ),
    "transpose": lambda x: tokens(x).transpose(1, 2) + tokens(x).mT + tokens(x).permute(0, 2, 1),
    "transpose to the front": lambda x: (x.T.sin() * x.T).T + x.movedim(0, 1).t().exp(),
    "expand": lambda x: (
        x[:, :1].expand(-1, 3) * x[:, 1:2].sin().expand(BATCH, 3) + x[:, :3].expand_as(x[:, :3])
    ),
    "repeat": lambda x: x.repeat(1, 2) * x.sin().repeat(1, 2),
    "flip and roll": lambda x: x.flip(1) * x.sin().flip((1,)) + x.roll(1, 1) * x.sin().roll((1,), (1,)),
    "clone": lambda x: x.clone().contiguous().double().to(torch.float64).type_as(x) * x,
    "index": lambda x: (
        x[:, 1] * x.sin()[..., 2] + x[:, [0, 2]].sum(1) + x.exp()[:, torch.tensor([3, 1])].sum(1)
    ),
    "index slices": lambda x: x[:, 1:3] * x.sin()[:, ::2] + x[..., None, :2][:, 0],
    "index rows": lambda x: (x[0] + x.sin()[-1])[None] * x,
    "index by mask": lambda x: x[:, torch.tensor([True, False, True, True])] * x.sin()[:, :3],
    "index apart": lambda x: (
        tokens(x)[:, torch.tensor([0, 2])][..., torch.tensor([0, 1])]
        * tokens(x)[torch.tensor([0, 1, 2])[:, None], :, torch.tensor([[0, 1]])][:, :, :2].mT
    ),
    "select": lambda x: x.select(1, 2) * x.sin().select(-1, 0) + x.narrow(1, 1, 2).sum(1),
    "index_select": lambda x: x.index_select(1, torch.tensor([2, 0])) * x[:, :2],
    "split": lambda x: torch.split(x, 3, 1)[0].sum(1) * x.sin().split([1, 3], dim=1)[1].sum(1),
    "chunk": lambda x: x.chunk(2, -1)[0] * x.sin().chunk(2, 1)[1],
    "unbind": lambda x: x.unbind(1)[0] * x.sin().unbind(-1)[2] + torch.stack(list(x.exp())).sum(1),
    "cat": lambda x: torch.cat([x, x.sin(), M, x[:, :1] ** 2], 1).exp(),
    "cat of coordinates": lambda x: torch.cat([x[:, :1], x[:, 2:]], dim=-1).exp(),
    "stack": lambda x: torch.stack([x, x.sin(), M], 1) * torch.stack((x, x, x), dim=-2),
    "hstack": lambda x: torch.hstack([x, x.cos()]),
    "pad": lambda x: (
        F.pad(x, (1, 2)) * F.pad(x.sin(), (2, 1), value=0.5) + F.pad(x.exp(), (1, 2), mode="circular")
    ),
}


@pytest.mark.parametrize("name", [*LINEAR, *SHAPES])
def test_linear_maps(name: str) -> None:
    check({**LINEAR, **SHAPES}[name], randn(BATCH, D))


LAYERS: dict[str, Function] = {
    "softmax": lambda x: torch.softmax(x.sin(), 1) + F.softmax(x, -1) + x.softmax(1),
    "log_softmax": lambda x: torch.log_softmax(3 * x, 1) + F.log_softmax(x.sin(), dim=1) - F.softmin(x, 1),
    "logsumexp": lambda x: torch.logsumexp(x, 1) + x.sin().logsumexp((1,), keepdim=True),
    "glu": lambda x: F.glu(x) * F.glu(x.sin(), 1),
    "rms norm": lambda x: F.rms_norm(x, (D,), M[0]) + F.rms_norm(x.sin(), (D,), eps=1e-2),
    "group norm": lambda x: F.group_norm(tokens(x).reshape(BATCH, 2, 3), 2, M[0, :2], M[1, :2]),
    "batch norm of constants": lambda x: F.batch_norm(x.sin(), M[0], M[1].abs(), M[2], M[0], False),
    "normalize": lambda x: F.normalize(x) + F.normalize(x.sin(), dim=-1),
    "dropout at rest": lambda x: F.dropout(x.sin(), 0.5, False) + F.dropout(x, 0.0),
    "attention": lambda x: F.scaled_dot_product_attention(tokens(x), tokens(x.sin()), tokens(x.cos())),
    "attention, causal": lambda x: F.scaled_dot_product_attention(
        tokens(x), tokens(x), tokens(x), is_causal=True, scale=0.3
    ),
    "attention, masked": lambda x: (
        F.scaled_dot_product_attention(
            tokens(x), tokens(x), tokens(x), attn_mask=torch.eye(3, dtype=torch.bool)
        )
        + F.scaled_dot_product_attention(tokens(x), tokens(x), randn(BATCH, 3, 2), attn_mask=randn(3, 3))
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    check(LAYERS[name], randn(BATCH, D))


def test_layer_norm() -> None:
    """Against its formula: nested reverse mode through torch's is wrong from the third order on (2.13)."""

    def formula(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
        centered = x - x.mean(axes, keepdim=True)
        return centered / torch.sqrt((centered * centered).mean(axes, keepdim=True) + eps)

    for case, expected in (
        (
            lambda x: F.layer_norm(x.sin(), (D,), M[0], M[1]) + F.layer_norm(x, (D,), eps=1e-3),
            lambda x: formula(x.sin(), (1,), 1e-5) * M[0] + M[1] + formula(x, (1,), 1e-3),
        ),
        (lambda x: F.layer_norm(tokens(x), (3, 2)), lambda x: formula(tokens(x), (1, 2), 1e-5)),
    ):
        check(case, randn(BATCH, D), expected=expected)


@pytest.mark.parametrize("function", [torch.exp, torch.sin, lambda x: 1.0 / (1.0 + x)])
def test_order_eight(function: Function) -> None:
    """Against calculus: eight-fold reverse mode is slow, and these are known."""
    x = torch.tensor([[0.3], [1.1]], dtype=torch.float64)
    derivatives = jet(function, x, torch.full((1,), 0.7, dtype=torch.float64), 8)
    factorial = 1.0
    for k, got in enumerate(derivatives):
        factorial *= max(k, 1)
        if function is torch.exp:
            expected = torch.exp(x)
        elif function is torch.sin:
            expected = torch.sin(x + k * torch.pi / 2)
        else:
            expected = (-1.0) ** k * factorial / (1.0 + x) ** (k + 1)
        torch.testing.assert_close(got, 0.7**k * expected, rtol=1e-12, atol=1e-12)
