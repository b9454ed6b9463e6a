"""What the operators owe torch: derivatives, transformations of functions, graphs; and who calls them."""

from itertools import product
from typing import Any

import torch
from functorch.compile import make_boxed_func
from layer_case import EXACT, Case, close, counted, plain, raises
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch.autograd import forward_ad
from torch.autograd.graph import saved_tensors_hooks

from sciml.kernels.triton import ops, spectral_layer, usable

SLOW = {"operators_obey_in_traces_with_other_sizes"}


class Layer(torch.nn.Module):
    """The layer as part of a model."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return spectral_layer(x, self.weight, (3,))


def only_modes_are_kept_without_skip_and_activation() -> None:
    def kept(case: Case) -> list[tuple[int, ...]]:
        shapes: list[tuple[int, ...]] = []
        with saved_tensors_hooks(lambda t: (shapes.append(tuple(t.shape)), t)[1], lambda t: t):
            case.layer()
        return sorted(shape for shape in shapes if shape != (0,))

    modes, weight = (3, 2, 2, 3), (3, 3, 2, 2)
    assert kept(Case((9,), (3,))) == sorted([modes, weight])
    case = Case((9,), (3,), skip=True, activation="gelu")
    assert kept(case) == sorted([modes, weight, (2, 3), (2, 3, 9), (2, 2, 9)])
    case.matrix = case.matrix.detach()  # a frozen skip path does not need x
    assert kept(case) == sorted([modes, weight, (2, 3), (2, 2, 9)])
    case = Case((9,), (3,), skip=True, activation="gelu_first")  # nothing of the size of the result
    assert kept(case) == sorted([modes, weight, (2, 3), (2, 3, 9)])


def gradients_of_some_inputs() -> None:
    for wanted, activation in product(([0], [1], [2], [3], [0, 3]), ("gelu", "gelu_first")):
        case = Case((8,), (3,), batch=1, skip=True, bias=True, activation=activation)
        inputs = [case.inputs[i] for i in wanted]
        for i, tensor in enumerate(case.inputs):
            tensor.requires_grad_(i in wanted)
        gradients = torch.autograd.grad(case.layer().square().sum(), inputs)
        references = torch.autograd.grad(case.reference().square().sum(), inputs)
        for gradient, reference in zip(gradients, references, strict=True):
            close(gradient, reference, EXACT)


def second_derivatives() -> None:
    for case in (
        Case((8, 7), (2, 2), batch=1, skip=True, bias=True, activation="gelu"),
        Case((7,), (5,), out_shape=(9,)),
        Case((7,), (3,), skip=True, activation="gelu_first"),
    ):
        results = []
        for y in (case.layer(), case.reference()):
            gradients = torch.autograd.grad(y.square().sum(), case.inputs, create_graph=True)
            penalty = sum(gradient.square().sum() for gradient in gradients)
            results.append([*gradients, *torch.autograd.grad(penalty, case.inputs)])
        for value, expected in zip(*results, strict=True):
            close(value, expected, 1e-4)  # a chain of several layers, with squares between


def forward_mode_takes_the_plain_path_and_the_operator_refuses() -> None:
    case = Case((8,), (3,), skip=True, activation="gelu")
    tangent = torch.randn_like(case.x)
    with plain():
        _, expected = torch.func.jvp(case.layer, (case.x.detach(),), (tangent,))
    assert expected.norm() > 0.1
    _, value = torch.func.jvp(case.layer, (case.x.detach(),), (tangent,))
    close(value, expected, EXACT)
    with forward_ad.dual_level():
        y = case.layer(forward_ad.make_dual(case.x.detach(), tangent))
        close(forward_ad.unpack_dual(y).tangent, expected, EXACT)

    def operator(x: Any) -> Any:
        return ops.spectral_layer(x, case.weight.detach(), None, None, [3], [8], "none", "tf32x3")[0]

    def dual() -> None:
        with forward_ad.dual_level():
            operator(forward_ad.make_dual(case.x.detach(), tangent))

    raises(NotImplementedError, "no forward-mode derivative", dual)
    primals = (case.x.detach(),)
    raises(NotImplementedError, "no forward-mode", lambda: torch.func.jvp(operator, primals, (tangent,)))


def transformations_of_functions() -> None:
    case = Case((8,), (3,), skip=True, bias=True)
    fields = torch.randn(2, 3, 4, 8)
    with counted() as calls:
        value = torch.func.vmap(case.layer, in_dims=2)(fields)
    assert calls == ["spectral_layer"], calls  # one larger batch
    close(value, torch.stack([case.reference(x) for x in fields.unbind(2)]), EXACT)
    of_x = torch.func.grad(lambda x: case.layer(x).square().sum())(case.x.detach())
    close(of_x, torch.autograd.grad(case.reference().square().sum(), case.x)[0], EXACT)


def the_operator_under_vmap_over_weights() -> None:
    x, weights = torch.randn(4, 2, 3, 8), torch.randn(3, 3, 2, 4, 2)

    def operator(x: Any, weight: Any) -> Any:
        return ops.spectral_layer(x, weight, None, None, [3], [8], "none", "tf32x3")[0]

    value = torch.func.vmap(operator, in_dims=(0, 3))(x, weights)
    close(value, torch.stack([operator(a, b) for a, b in zip(x, weights.unbind(3), strict=True)]), 1e-9)


def operators_obey_the_rules_of_torch() -> None:
    """Schemas, registrations, and that shapes, dtypes and strides without values are those of the results."""
    case = Case((8,), (3,), batch=1, skip=True, bias=True)
    arguments = (*case.inputs, [3], [8], "gelu", "tf32x3")
    tests = "test_schema", "test_autograd_registration", "test_faketensor"
    torch.library.opcheck(ops.spectral_layer, arguments, test_utils=tests)
    with torch.no_grad():
        y, modes, z = ops.spectral_layer(*arguments)
    needed = [True, True, True, True]
    arguments = (
        torch.randn_like(y),
        modes,
        z,
        case.x,
        case.weight,
        case.matrix,
        [3],
        [8],
        needed,
        "gelu",
        "tf32x3",
    )
    torch.library.opcheck(ops.spectral_layer_backward, arguments, test_utils=(tests[0], tests[2]))


def operators_obey_in_traces_with_other_sizes() -> None:
    case = Case((8,), (3,), batch=2, skip=True, bias=True)
    for activation in ("none", "gelu", "gelu_first"):
        torch.library.opcheck(ops.spectral_layer, (*case.inputs, [3], [8], activation, "tf32x3"))
    compiled = torch.compile(lambda x: case.layer(x) + 1.0, backend="aot_eager", dynamic=True, fullgraph=True)
    for size in (8, 13):
        x = torch.randn(2, 3, size)
        close(compiled(x), case.reference(x) + 1.0, EXACT)


def a_compiled_graph_holds_the_operator() -> None:
    graphs: list[str] = []

    def keep(graph: Any, _: Any) -> Any:
        graphs.append(str(graph.graph))
        return make_boxed_func(graph.forward)

    case = Case((6, 7), (1, 2), batch=1, skip=True, bias=True, activation="gelu")
    backend = aot_autograd(fw_compiler=keep, bw_compiler=keep)
    y = torch.compile(case.layer, backend=backend, fullgraph=True)(case.x)
    gradients = torch.autograd.grad(y.square().sum(), case.inputs)
    assert "sciml.spectral_layer.default" in graphs[0]
    assert "sciml.spectral_layer_backward.default" in graphs[1]
    expected = case.reference()
    references = torch.autograd.grad(expected.square().sum(), case.inputs)
    for value, wanted in zip((y, *gradients), (expected, *references), strict=True):
        close(value, wanted, EXACT)


def what_the_kernels_do_not_take() -> None:
    x, weight = torch.randn(2, 3, 8), torch.randn(3, 3, 2, 2)
    assert usable(x, weight)
    assert not usable(x.double(), weight)
    assert not usable(x, weight.double())
    assert not usable(x[:0], weight)
    assert not usable(x.to("meta"), weight.to("meta"))
    with plain():
        assert not usable(x, weight)
    with counted() as calls:
        assert spectral_layer(x.double(), weight, (3,)).dtype == torch.float64
        exported = torch.export.export(Layer(weight), (x,))
    assert calls == []
    assert "sciml" not in str(exported.graph)
