"""Operators behind a wide first layer: values and gradients as without it, along fewer directions."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sciml.kernels.differential import biharmonic, laplacian, third, trace
from sciml.kernels.entrance import BehindBlocks, BehindLinear, Direct, enter
from sciml.kernels.estimators import CubatureLines, Estimator, Exact, Hutchinson, SparseDirections
from sciml.kernels.factored_gradient import recorded
from sciml.kernels.forms import LineForm
from sciml.kernels.radial_product import RadialProduct
from sciml.kernels.shared_blocks import SharedBlocks
from sciml.kernels.wide_linear import LinearMap, WideLinear

WIDTH, POINTS = 6, 3


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(dim: int, count: int = POINTS) -> Tensor:
    return torch.randn(count, dim, dtype=torch.float64, generator=seeded(1))


def network(first: nn.Module, width: int = WIDTH) -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(first, nn.Tanh(), nn.Linear(width, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def wide(dim: int) -> nn.Sequential:
    return network(WideLinear(dim, WIDTH, generator=seeded()))


def shared(dim: int, block: int) -> nn.Sequential:
    torch.manual_seed(3)
    blocks = SharedBlocks(dim, block, generator=seeded())
    nn.init.constant_(blocks.bias, 0.3)
    layers = [WideLinear(blocks.out_features, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1)]
    return nn.Sequential(blocks, *layers).double()


def second_derivatives(u: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The diagonals of the Hessians by nested reverse mode, (batch, d)."""
    rows = []
    for point in x:
        hessian = torch.autograd.functional.hessian(lambda y: u(y[None]).sum(), point, create_graph=True)
        rows.append(hessian.diagonal())
    return torch.stack(rows)


def gradients(loss: Tensor, module: nn.Module) -> list[Tensor]:
    found = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(module.parameters(), found, strict=True)]


def recorded_gradients(loss: Callable[[], Tensor], module: nn.Module) -> list[Tensor]:
    """The same with factors in the place of the wide layer's gradient."""
    module.zero_grad()
    with recorded(module.parameters()) as factors:
        loss().backward()
    found = []
    for parameter in module.parameters():
        if gradient := factors[parameter]:
            assert parameter.grad is None
            found.append(gradient.tile(0, len(parameter)))
        else:
            found.append(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    module.zero_grad()
    return found


def assert_close(found: list[Tensor], wanted: list[Tensor]) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


MODELS = {
    "fewer variables than features": lambda: wide(4),
    "more variables than features": lambda: wide(20),
    "linear layer of torch": lambda: network(nn.Linear(20, WIDTH)),
    "linear layer without bias": lambda: network(nn.Linear(20, WIDTH, bias=False)),
    "blocks": lambda: shared(12, 3),
    "blocks and a shorter one": lambda: shared(11, 3),
    "product": lambda: RadialProduct(wide(20)),
    "product on a shell": lambda: RadialProduct(wide(20), (1.0, 2.0)),
    "product of blocks": lambda: RadialProduct(shared(11, 3)),
}


def dim_of(model: nn.Module) -> int:
    first = next(m for m in model.modules() if hasattr(m, "in_features"))
    return int(first.in_features)


@pytest.mark.parametrize("name", MODELS)
def test_exact_laplacian_and_its_gradients_are_those_of_the_whole_hessian(name: str) -> None:
    model = MODELS[name]()
    x = points(dim_of(model))
    wanted = second_derivatives(model, x).sum(1)
    found = laplacian(model, x)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    by_hessian = gradients(wanted.square().sum(), model)
    assert_close(gradients(found.square().sum(), model), by_hessian)
    assert_close(recorded_gradients(lambda: laplacian(model, x).square().sum(), model), by_hessian)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("per_point", [False, True])
def test_sparse_laplacian_is_the_sum_of_the_drawn_second_derivatives(name: str, per_point: bool) -> None:
    model = MODELS[name]()
    x = points(dim_of(model))
    dim, samples = x.shape[1], 3
    estimator = SparseDirections(samples, replacement=True, per_point=per_point)
    drawn = estimator.draw(LineForm(2), x, seeded(4))
    assert drawn is not None
    index = (drawn[:, None].expand(-1, len(x)) if drawn.ndim == 1 else drawn).T

    def reference(network: nn.Module) -> Tensor:
        return dim / samples * second_derivatives(network, x).gather(1, index).sum(1)

    if isinstance(model, RadialProduct):  # only the Laplacian of the network is drawn
        y = x.clone().requires_grad_()
        value = model.network(y).squeeze(1)
        slope = torch.autograd.grad(value.sum(), y, create_graph=True)[0]
        s = x.square().sum(1)
        factor, first, second = model.factor(s)
        wanted = factor * reference(model.network) + 4 * first * (x * slope).sum(1)
        wanted = wanted + (2 * dim * first + 4 * s * second) * value
    else:
        wanted = reference(model)
    found = laplacian(model, x, estimator=estimator, generator=4)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    by_hessian = gradients(wanted.square().sum(), model)
    assert_close(gradients(found.square().sum(), model), by_hessian)

    def loss() -> Tensor:
        return laplacian(model, x, estimator=estimator, generator=4).square().sum()

    assert_close(recorded_gradients(loss, model), by_hessian)


@pytest.mark.parametrize(
    ("estimator", "count"),
    [
        (Exact(), WIDTH),
        (CubatureLines(2), WIDTH),
        (SparseDirections(4), 4),
        (Hutchinson(5, "gaussian"), 5),
        (Hutchinson(7, "orthogonal"), WIDTH),
    ],
)
def test_directions_are_as_long_as_the_layer_is_wide(estimator: Estimator, count: int) -> None:
    x = points(1000)
    entrance = enter(wide(1000), x, [], estimator)
    (group,) = entrance.estimate(LineForm(2), estimator, seeded())
    assert isinstance(entrance, BehindLinear)
    assert group.vectors.shape == (count, WIDTH)


@pytest.mark.parametrize("operator", [laplacian, biharmonic, third])
def test_other_operators_agree_with_the_function_as_a_whole(
    operator: Callable[..., Tensor],
) -> None:
    model, x = wide(9), points(9)
    as_a_whole = operator(lambda y: model(y), x)
    torch.testing.assert_close(operator(model, x), as_a_whole, rtol=1e-10, atol=1e-12)


def test_a_wide_factor_is_compressed() -> None:
    model, x = wide(20), points(20)
    factor = torch.randn(20, 15, dtype=torch.float64, generator=seeded(5))
    (group,) = enter(model, x, [], Exact()).estimate(LineForm(2, factor.T), Exact(), None)
    assert group.vectors.shape == (WIDTH, WIDTH)
    found, wanted = trace(model, x, factor=factor), trace(lambda y: model(y), x, factor=factor)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    by_whole = gradients(wanted.square().sum(), model)
    assert_close(gradients(found.square().sum(), model), by_whole)
    assert_close(recorded_gradients(lambda: trace(model, x, factor=factor).square().sum(), model), by_whole)


class Quadratic(nn.Module):
    """``½ z M zᵀ`` with a fixed symmetric M."""

    def __init__(self, width: int) -> None:
        super().__init__()
        m = torch.randn(width, width, dtype=torch.float64, generator=seeded(6))
        self.matrix = m + m.T

    def forward(self, z: Tensor) -> Tensor:
        return 0.5 * ((z @ self.matrix) * z).sum(-1)


@pytest.mark.parametrize("distribution", ["gaussian", "sphere"])
def test_laws_without_a_preferred_basis_are_drawn_behind_the_layer(distribution: str) -> None:
    dim, width, count = 12, 3, 20_000
    first = WideLinear(dim, width, generator=seeded()).double()
    u = nn.Sequential(first, Quadratic(width))
    w = first.weight.detach()
    hessian = w @ u[1].matrix @ w.T  # type: ignore[operator]
    square, total = hessian.square().sum(), hessian.trace()
    if distribution == "gaussian":
        variance = 2 * square
    else:
        variance = (2 * width * square - 2 * total**2) / (width + 2)  # in three dimensions, not in twelve
    estimator = Hutchinson(1, distribution, per_point=True)  # type: ignore[arg-type]
    found = laplacian(u, points(dim).new_zeros(count, dim), estimator=estimator, generator=7).detach()
    assert abs(found.mean() - total) < 5 * (variance / count).sqrt()
    # Five standard errors of a variance whose kurtosis is at most 15, that of one squared normal number.
    assert abs(found.var() / variance - 1) < 5 * (14 / count) ** 0.5


def test_signs_keep_the_basis_in_which_separable_functions_are_exact() -> None:
    class Separable(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return (z**3).sum(-1)

    first = WideLinear(4, 4).double()
    with torch.no_grad():
        first.weight.copy_(torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0])))
    u, x = nn.Sequential(first, Separable()), points(4)
    torch.testing.assert_close(laplacian(u, x, estimator=Hutchinson(1), generator=0), laplacian(u, x))


@pytest.mark.parametrize("shape", [(5, 8), (40, 8), (5000, 3)])
def test_root_has_the_gram_matrix_of_the_weight(shape: tuple[int, int]) -> None:
    weight = torch.randn(shape, dtype=torch.float64, generator=seeded())
    root = LinearMap(weight).root()
    assert root.shape == (min(shape), shape[1])
    torch.testing.assert_close(root.T @ root, weight.T @ weight)


def test_root_of_dependent_columns_has_the_right_gradient_and_no_second() -> None:
    weight = torch.randn(30, 4, dtype=torch.float64, generator=seeded())
    weight[:, 3] = weight[:, 0] - 2 * weight[:, 1]
    weight.requires_grad_()
    c = torch.randn(4, 4, dtype=torch.float64, generator=seeded(1))
    root = LinearMap(weight).root()
    torch.testing.assert_close(root.T @ root, weight.T @ weight)
    wanted = torch.autograd.grad((c * (weight.T @ weight)).sum().square(), weight)[0]
    found = torch.autograd.grad((c * (root.T @ root)).sum().square(), weight)[0]
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    root = LinearMap(weight).root()
    with pytest.raises(RuntimeError, match="only a first derivative"):
        torch.autograd.grad(root.square().sum(), weight, create_graph=True)


def test_laplacian_behind_the_layer_can_be_differentiated_twice() -> None:
    model, x = wide(9), points(9)
    weight = model[0].weight

    def doubled(u: Callable[[Tensor], Tensor]) -> Tensor:
        (slope,) = torch.autograd.grad(laplacian(u, x).square().sum(), weight, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), weight)[0]

    torch.testing.assert_close(doubled(model), doubled(lambda y: model(y)), rtol=1e-9, atol=1e-12)


def test_factors_cannot_be_differentiated_again() -> None:
    layer = WideLinear(50, 2)
    with recorded(layer.parameters()), pytest.raises(RuntimeError, match="cannot be differentiated again"):
        layer(torch.ones(1, 50)).square().sum().backward(create_graph=True)


def test_modules_that_do_more_than_their_class_says_are_called_as_they_are() -> None:
    x = points(20)
    hooked = wide(20)
    hooked[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    normed = network(nn.utils.parametrizations.weight_norm(nn.Linear(20, WIDTH)))
    for model in (hooked, normed, nn.Sequential(nn.Tanh()), nn.Sequential()):
        assert isinstance(enter(model, x, [], Exact()), Direct)
    assert not isinstance(enter(shared(12, 3), points(12), [LineForm(3)], Exact()), BehindBlocks)
    torch.testing.assert_close(laplacian(hooked, x), second_derivatives(hooked, x).sum(1))


def test_third_derivatives_through_blocks_take_the_usual_way() -> None:
    model, x = shared(11, 3), points(11)
    torch.testing.assert_close(third(model, x), third(lambda y: model(y), x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WideLinear(0, 3), "at least one input"),
        (lambda: WideLinear(5, 3)(torch.ones(2, 4)), "5 variables"),
        (lambda: SharedBlocks(5, 6), "1 to in_features=5"),
        (lambda: SharedBlocks(5, 2)(torch.ones(2, 4)), "5 variables"),
        (lambda: RadialProduct(nn.Identity(), ()), "at least one radius"),
        (lambda: RadialProduct(nn.Identity(), (1.0, -1.0)), "all positive"),
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("activation", [nn.Tanh, nn.SiLU])
@pytest.mark.parametrize("dim", [4, 9])  # below and above the width
def test_one_hidden_layer_needs_one_direction(dim: int, activation: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(WideLinear(dim, WIDTH), activation(), nn.Linear(WIDTH, 1)).double(), points(dim)
    (direction,) = enter(model, x, [LineForm(2)], Exact()).estimate(LineForm(2), Exact(), None)
    assert direction.vectors.shape == (1, WIDTH)
    deeper = nn.Sequential(*model, nn.Linear(1, 1)).double()
    (all_of_them,) = enter(deeper, x, [LineForm(2)], Exact()).estimate(LineForm(2), Exact(), None)
    assert len(all_of_them.vectors) == min(dim, WIDTH)
    found, wanted = laplacian(model, x), second_derivatives(model, x).sum(1)
    torch.testing.assert_close(found, wanted)
    slopes = [gradients(values.square().sum(), model) for values in (found, wanted)]
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-13)
