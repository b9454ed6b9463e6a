"""Jets of networks: against nested reverse mode, against themselves in other ways, and what they refuse."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from sciml.kernels.jet import Directions, directional_sums, jet

# The acceptance bound of the library in float64; values and derivatives here are of size one to a hundred.
EXACT = {"rtol": 1e-10, "atol": 1e-10}
D, POINTS = 3, 7

pytestmark = pytest.mark.usefixtures("double")


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def mlp(activation: Callable[[], nn.Module] = nn.Tanh, width: int = 6, outputs: int = 2) -> nn.Module:
    hidden = [layer for _ in range(2) for layer in (nn.Linear(width, width), activation())]
    return nn.Sequential(nn.Linear(D, width), activation(), *hidden, nn.Linear(width, outputs))


class ModifiedMLP(nn.Module):
    """Gates between two embeddings: Wang, Teng, Perdikaris, Gradient flow pathologies (2021), equation 41."""

    def __init__(self) -> None:
        super().__init__()
        self.u, self.v, self.first = (nn.Linear(D, 6) for _ in range(3))
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))
        self.last = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        u, v = torch.tanh(self.u(x)), torch.tanh(self.v(x))
        h = torch.tanh(self.first(x))
        for layer in self.layers:
            z = torch.tanh(layer(h))
            h = (1 - z) * u + z * v
        result: Tensor = self.last(h)
        return result * (1 - (x * x).sum(-1, keepdim=True))


class Fourier(nn.Module):
    """Periodic embedding and random Fourier features before an MLP; a layer with weight normalization."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", randn(4, D, seed=3))
        self.net = nn.Sequential(nn.Linear(10, 6), nn.SiLU(), nn.Linear(6, 6), nn.SiLU())
        self.last = nn.utils.parametrizations.weight_norm(nn.Linear(6, 1))

    def forward(self, x: Tensor) -> Tensor:
        waves = F.linear(x, self.get_buffer("frequencies"))
        periodic = 2 * torch.pi * x[:, :1]
        features = torch.cat(
            [waves.sin(), torch.cos(waves), torch.sin(periodic), torch.cos(periodic)], dim=-1
        )
        result: Tensor = self.last(self.net(features))
        return result


class Residual(nn.Module):
    """Sines with a frequency factor (Sitzmann et al., 2020), skips, jets that several layers take."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.a, self.b, self.c = (
            nn.Linear(D, 6),
            nn.Linear(6, 6),
            nn.Linear(6, 6),
            nn.Linear(6, 6),
        )
        self.norm = nn.RMSNorm(6)
        self.leave = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        z = self.enter(x)
        h = torch.sin(3 * z)
        h = h + self.b(F.gelu(self.a(h)))
        h = self.norm(h + F.silu(self.c(h)) * torch.sigmoid(z))
        result: Tensor = self.leave(h)
        return result


class Transformer(nn.Module):
    """Coordinates as tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(1, 4)
        self.place = nn.Parameter(randn(D, 4, seed=4))
        self.block = nn.TransformerEncoderLayer(4, 2, 5, dropout=0.0, activation=F.gelu, batch_first=True)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.last = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.block(self.embed(x.unsqueeze(-1)) + self.place)
        attended, _ = self.attention(tokens, tokens, tokens)
        result: Tensor = self.last(attended.mean(1))
        return result


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "tanh": mlp,
    **{
        a.__name__.lower(): lambda a=a: mlp(a)
        for a in (nn.SiLU, nn.GELU, nn.Softplus, nn.Sigmoid, nn.Mish, nn.ELU)
    },
    "modified": ModifiedMLP,
    "fourier": Fourier,
    "residual": Residual,
    "transformer": Transformer,
}


@contextmanager
def differentiable() -> Iterator[None]:
    """Layer norm by its formula: reverse mode through torch's is wrong from the third order on (2.13)."""

    def formula(x: Tensor, shape: Sequence[int], weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        centered = x - x.mean(-1, keepdim=True)
        return centered * (centered.square().mean(-1, keepdim=True) + eps) ** -0.5 * weight + bias

    with (
        pytest.MonkeyPatch.context() as patch,
        sdpa_kernel(SDPBackend.MATH),
    ):  # the others have no second derivative
        patch.setattr(F, "layer_norm", formula)
        yield


def nested(function: Callable[[Tensor], Tensor], x: Tensor, v: Tensor, order: int) -> Tensor:
    """D^order f(x)[v, ..., v] by reverse mode, for outputs (batch, channels); v (d,) or (batch, d)."""
    y = function(x)
    results = []
    for channel in y.unbind(-1):
        for _ in range(order):
            (gradient,) = torch.autograd.grad(channel.sum(), x, create_graph=True)
            channel = (gradient * v).sum(-1)
        results.append(channel)
    return torch.stack(results, -1)


def gradients(model: nn.Module, x: Tensor, residual: Tensor) -> list[Tensor]:
    """Of the mean square, with respect to all parameters and the points; zero where there is none."""
    inputs = [*model.parameters(), x]
    found = torch.autograd.grad(residual.square().mean(), inputs, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(t) if g is None else g for t, g in zip(inputs, found, strict=True)]


def close(got: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, **EXACT)


@pytest.mark.parametrize("name", NETWORKS)
def test_laplacian_and_its_gradients(name: str) -> None:
    model, x = NETWORKS[name](), randn(POINTS, D, seed=1).requires_grad_()
    value, laplacian = directional_sums(model, x, [Directions(2, torch.eye(D))])
    with differentiable():
        expected = sum((nested(model, x, v, 2) for v in torch.eye(D)), torch.zeros(()))
        close([value], [model(x)])
        reference = gradients(model, x, expected)
    close([laplacian], [expected])
    close(gradients(model, x, laplacian), reference)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["tanh", "modified", "residual"])
def test_weighted_sums_of_every_order(name: str, order: int) -> None:
    """Weights of both signs; directions for all points, for each point, and weights for each point."""
    model, x = NETWORKS[name](), randn(POINTS, D, seed=1).requires_grad_()
    weights = torch.tensor([0.7, -1.2])
    shared, single = randn(2, D, seed=2), randn(2, POINTS, D, seed=3)
    each = randn(2, POINTS, seed=4)
    groups = [
        Directions(order, shared, weights),
        Directions(order, single, weights.abs()),
        Directions(order, shared, each.abs()),
        Directions(order, shared, each),
    ]
    _, *sums = directional_sums(model, x, groups)
    terms = [nested(model, x, v, order) for v in shared]
    own = [nested(model, x, v, order) for v in single]
    expected = [
        sum(w * t for w, t in zip(weights, terms, strict=True)),
        sum(w * t for w, t in zip(weights.abs(), own, strict=True)),
        sum(w[:, None] * t for w, t in zip(each.abs(), terms, strict=True)),
        sum(w[:, None] * t for w, t in zip(each, terms, strict=True)),
    ]
    close(sums, expected)  # type: ignore[arg-type]
    close(gradients(model, x, torch.cat(sums)), gradients(model, x, torch.cat(expected)))  # type: ignore[arg-type]


def test_groups_of_several_orders_share_a_sweep() -> None:
    """An advection-diffusion-dispersion operator, all terms at once."""
    model, x = mlp(), randn(POINTS, D, seed=1).requires_grad_()
    basis = torch.eye(D)
    value, *sums = directional_sums(
        model,
        x,
        [Directions(2, basis), Directions(1, basis[:1]), Directions(3, basis[1:]), Directions(4, basis)],
    )
    expected = [
        sum(nested(model, x, v, 2) for v in basis),
        nested(model, x, basis[0], 1),
        sum(nested(model, x, v, 3) for v in basis[1:]),
        sum(nested(model, x, v, 4) for v in basis),
    ]
    close([value, *sums], [model(x), *expected])  # type: ignore[list-item]
    close(gradients(model, x, sum(sums)), gradients(model, x, sum(expected)))  # type: ignore[arg-type]


@pytest.mark.parametrize("order", [2, 3, 4, 6])
@pytest.mark.parametrize("name", ["tanh", "residual", "transformer"])
def test_collapsed_sum_equals_the_sum_of_the_series(name: str, order: int) -> None:
    model, x, vectors = NETWORKS[name](), randn(POINTS, D, seed=1), randn(5, D, seed=2)
    weights = randn(5, seed=3)
    _, collapsed = directional_sums(model, x, [Directions(order, vectors, weights)])
    top = jet(model, x, vectors, order)[-1]
    summed = torch.tensordot(weights, top, 1)
    # Sixth derivatives are of size 1e4 and more.
    torch.testing.assert_close(collapsed, summed, rtol=1e-10, atol=1e-10 * float(top.detach().abs().max()))


def test_shapes_of_directions() -> None:
    model, x = mlp(), randn(POINTS, D, seed=1)
    one, several = randn(D, seed=2), randn(2, D, seed=2)
    single = jet(model, x, one, 2)
    assert [t.shape for t in single] == [(POINTS, 2)] * 3
    both = jet(model, x, several, 2)
    assert [t.shape for t in both] == [(POINTS, 2), (2, POINTS, 2), (2, POINTS, 2)]
    close([t[0] for t in both[1:]], single[1:])
    close([t[0] for t in jet(model, x, several[:, None], 2)[1:]], single[1:])
    close(jet(model, x, one.expand(POINTS, D), 2), single)
    close(jet(model, x, several[:, None].expand(2, POINTS, D), 2), both)


def test_functions_without_derivatives() -> None:
    x, groups = randn(POINTS, D), [Directions(1, torch.eye(D)), Directions(2, torch.eye(D))]
    for function, first in (
        (lambda x: x.new_ones(len(x), 1), 0.0),
        (nn.Linear(D, 1), None),
        (lambda x: x, 1.0),
    ):
        value, gradient, laplacian = directional_sums(function, x, groups)
        close([value, laplacian], [function(x), torch.zeros_like(value)])
        if first is not None:
            close([gradient], [torch.full_like(value, first)])
        assert float(jet(function, x, torch.ones(D), 3)[3].abs().max()) == 0.0


def test_trainable_weights_and_directions() -> None:
    """Unknown coefficients of an operator are found through them, also where they are zero."""
    model, x = mlp(outputs=1), randn(POINTS, D, seed=1)
    weights = torch.tensor([0.0, 0.5, -0.5], requires_grad=True)
    each = randn(D, POINTS, seed=5).requires_grad_()
    vectors = randn(D, D, seed=2).requires_grad_()
    _, *sums = directional_sums(model, x, [Directions(2, vectors, weights), Directions(3, vectors, each)])
    x.requires_grad_()
    second = torch.stack([nested(model, x, v, 2) for v in vectors])
    third = torch.stack([nested(model, x, v, 3) for v in vectors])
    expected = [torch.tensordot(weights, second, 1), (each[..., None] * third).sum(0)]
    close(sums, expected)
    inputs = [weights, each, vectors, *list(model.parameters())[:-1]]
    loss, reference = (
        sum((s.square().mean() for s in values), torch.zeros(())) for values in (sums, expected)
    )
    close(torch.autograd.grad(loss, inputs), torch.autograd.grad(reference, inputs))


def test_a_tensor_may_be_the_weight_of_two_layers() -> None:
    layer, x = nn.Linear(D, D), randn(POINTS, D, seed=1).requires_grad_()
    model = nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), layer)
    (laplacian,) = directional_sums(model, x, [Directions(2, torch.eye(D))])[1:]
    expected = sum((nested(model, x, v, 2) for v in torch.eye(D)), torch.zeros(()))
    close(gradients(model, x, laplacian), gradients(model, x, expected))
    twice: list[Tensor] = []
    for values in (laplacian, expected):
        (gradient,) = torch.autograd.grad(values.square().mean(), layer.weight, create_graph=True)
        twice += torch.autograd.grad(gradient.square().sum(), layer.weight)
    close(twice[:1], twice[1:])


def test_gradients_of_the_laplacian_with_respect_to_the_points() -> None:
    """As gradient-enhanced residuals need them: differentiated once more, with respect to parameters."""
    model, x = mlp(outputs=1), randn(POINTS, D, seed=1).requires_grad_()
    laplacians = (
        directional_sums(model, x, [Directions(2, torch.eye(D))])[1],
        sum((nested(model, x, v, 2) for v in torch.eye(D)), torch.zeros(())),
    )
    slopes = [torch.autograd.grad(l.sum(), x, create_graph=True)[0] for l in laplacians]
    close([slopes[0]], [slopes[1]])
    close(gradients(model, x, slopes[0]), gradients(model, x, slopes[1]))


def test_without_gradients_nothing_is_kept() -> None:
    model, x = mlp(), randn(POINTS, D)
    with torch.no_grad():
        quiet = directional_sums(model, x, [Directions(2, torch.eye(D))])
    assert not any(t.requires_grad for t in quiet)
    close(quiet, directional_sums(model, x, [Directions(2, torch.eye(D))]))


def test_single_precision() -> None:
    model, x = mlp(width=64).float(), randn(100, D).float()
    (rough,) = directional_sums(model, x, [Directions(2, torch.eye(D).float())])[1:]
    (exact,) = directional_sums(model.double(), x.double(), [Directions(2, torch.eye(D))])[1:]
    # Three layers of sums over 64 products: 20 roundings of 6e-8 of the largest value.
    torch.testing.assert_close(rough.double(), exact, rtol=0.0, atol=2e-6 * float(exact.detach().abs().max()))


# Transforms and compilers.


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own modules
def test_functional_transforms_over_parameters() -> None:
    """An ensemble by vmap, gradients by torch.func, tangents by forward mode."""
    model, x = mlp(outputs=1), randn(POINTS, D, seed=1)
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        function = lambda x: torch.func.functional_call(model, parameters, (x,))  # noqa: E731
        return directional_sums(function, x, [Directions(2, torch.eye(D))])[1].square().mean()

    double_ = {name: torch.stack([p, 2 * p]) for name, p in parameters.items()}
    expected = [loss(parameters), loss({name: 2 * p for name, p in parameters.items()})]
    close([torch.func.vmap(loss)(double_)], [torch.stack(expected)])
    direct = torch.autograd.grad(
        directional_sums(model, x, [Directions(2, torch.eye(D))])[1].square().mean(),
        list(model.parameters())[:-1],
    )
    functional = torch.func.grad(loss)(parameters)
    close([functional[name] for name in parameters][:-1], direct)
    _, slope = torch.func.jvp(loss, (parameters,), (parameters,))
    inner = sum(float((functional[name] * p).sum()) for name, p in parameters.items())
    close([slope], [torch.tensor(inner)])
    with torch.autograd.forward_ad.dual_level():
        dual = {name: torch.autograd.forward_ad.make_dual(p, p) for name, p in parameters.items()}
        tangent = torch.autograd.forward_ad.unpack_dual(loss(dual)).tangent
    assert tangent is not None
    close([tangent], [slope])


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own modules
@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("tanh", "aot_eager"),
        *(
            pytest.param(name, backend, marks=pytest.mark.slow)
            for name in ("tanh", "modified", "transformer")
            for backend in ("aot_eager", "inductor")
            if (name, backend) != ("tanh", "aot_eager")
        ),
    ],
)
def test_compiled_in_one_graph(name: str, backend: str) -> None:
    model, x = NETWORKS[name](), randn(POINTS, D, seed=1)
    weights = torch.tensor([1.0, -0.5, 2.0])

    def residual(x: Tensor) -> Tensor:
        value, laplacian = directional_sums(model, x, [Directions(2, torch.eye(D), weights)])
        return laplacian - value

    torch._dynamo.reset()
    compiled = torch.compile(residual, backend=backend, fullgraph=True)
    close([compiled(x)], [residual(x)])
    parameters = [p for n, p in model.named_parameters() if not n.endswith("last.bias")]
    close(
        torch.autograd.grad(compiled(x).square().mean(), parameters),
        torch.autograd.grad(residual(x).square().mean(), parameters),
    )
