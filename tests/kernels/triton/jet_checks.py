"""Layers on the columns of jets: values and gradients, and what the operators owe torch."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any
from unittest import SkipTest

import torch
import triton
from functorch.compile import make_boxed_func
from jet_case import Case, bundle, coefficients, collapsed_second_order
from layer_case import EXACT, ROUNDED, close, counted, plain, raises
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch.autograd import forward_ad
from torch.autograd.graph import saved_tensors_hooks

from sciml.kernels.jet import Directions, directional_sums, jet
from sciml.kernels.jet_chain import Activation, Affine
from sciml.kernels.jet_ladders import relu
from sciml.kernels.triton import jet_on_chip, jet_ops
from sciml.kernels.triton.jet_plain import LADDERS
from sciml.kernels.triton.jets import jet_usable

SLOW = {
    "a_compiled_chain_takes_other_numbers_of_points",
    "every_order_and_kind",
    "gradients_of_some_inputs_of_a_chain",
    "several_bundles_share_the_value",
}


def the_forward_laplacian() -> None:
    """As a network has it: directions that all points share, and only the sums at the end."""
    Case(collapsed_second_order(3), ["tanh", "tanh"], shared=True, tail=True, only_top=True).compare()


def columns_of_each_point() -> None:
    second = bundle(2, 2, weights=[1.0, -0.5])
    Case([second], ["tanh", "sine"], degree=2, starts=True, tail=True).compare()
    Case([second], ["sine"], degree=1, points=9, widths=(3, 5)).compare()


def several_bundles_share_the_value() -> None:
    bundles = [bundle(1, 1), *collapsed_second_order(2), bundle(3, 1, weights=[-1.0])]
    Case(bundles, ["silu", "gelu"], shared=True, tail=True, only_top=True).compare()


def fourth_order() -> None:
    Case([bundle(4, 2, weights=[1.0, -0.5])], ["tanh", "sigmoid"], shared=True, tail=True).compare()
    Case([bundle(4, 1, collapsed=False)], ["cosine"], degree=4, stacked=True, only_top=True).compare()


def every_order_and_kind() -> None:
    for order in (1, 2, 3, 4):
        for collapsed in (True, False):
            for degree in (1, 2, order):
                for only_top in (True, False):
                    weights = [0.5, -1.0] if collapsed else None
                    kind = [bundle(order, 2, collapsed=collapsed, weights=weights)]
                    for shared in (True, False):
                        settings = {"degree": degree, "only_top": only_top, "tail": not only_top}
                        Case(kind, ["tanh"], shared=shared, **settings).compare()
                    Case(kind, ["gelu", "sine"], starts=True, stacked=True, **settings).compare()


def all_layers_in_one_kernel() -> None:
    """The interpreter takes that kernel wherever it fits; the backward pass reads what it keeps."""
    ran: list[int] = []
    run = jet_on_chip.run
    jet_on_chip.run = lambda *arguments: (ran.append(1), run(*arguments))[1]
    try:
        network = {"widths": (5, 5, 5, 2), "points": 9}
        Case(
            collapsed_second_order(3), ["tanh"] * 3, shared=True, tail=True, only_top=True, **network
        ).compare()
        signed = bundle(2, 2, weights=[1.0, -0.5])
        Case([signed], ["sine"] * 2, degree=2, stacked=True, tail=True, **network).compare()
        Case([signed], ["gelu"] * 3, only_top=True, **network).compare()
        assert len(ran) == 3
        other = Case(collapsed_second_order(2), ["tanh", "sine"], shared=True, **network)
        other.compare()
        Case(collapsed_second_order(15), ["tanh"] * 2, shared=True, **network).chain()
        assert len(ran) == 3
        with torch.no_grad():  # keeps nothing
            case = Case(collapsed_second_order(2), ["tanh"] * 2, shared=True, tail=True, **network)
            close(case.chain(), case.reference(), EXACT)
        assert len(ran) == 4
    finally:
        jet_on_chip.run = run


def one_point_and_one_feature() -> None:
    case = Case(
        collapsed_second_order(1), ["tanh", "tanh"], shared=True, tail=True, points=1, widths=(1, 1, 1)
    )
    case.compare()


def rounded_factors() -> None:
    for precision, tolerance in (("tf32", EXACT), ("bf16", ROUNDED)):
        Case(
            collapsed_second_order(2),
            ["tanh", "tanh"],
            shared=True,
            tail=True,
            precision=precision,
            tolerance=tolerance,
        ).compare()


def coefficients_of_the_activations() -> None:
    """To a few roundings of numbers up to 9, from large negative to large positive arguments."""
    u = torch.linspace(-9.0, 9.0, 256)
    for name, ladder in LADDERS.items():
        found = torch.empty(6, 256)
        coefficients[(1,)](u, found, 256, name)
        expected = torch.stack([g for g in ladder(u.double(), 5) if g is not None])
        torch.testing.assert_close(found.double(), expected, rtol=0.0, atol=9 * 2.0**-23)


def gradients_of_the_operator_in_double_precision() -> None:
    """By finite differences, along random directions."""
    if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 8):
        raise SkipTest(f"products of Triton {triton.__version__} are added up in float32")
    for activation in ("tanh", "silu"):
        case = Case(
            collapsed_second_order(2), [activation] * 2, shared=True, points=2, widths=(2, 2), double=True
        )
        inputs = [t.detach().requires_grad_() for t in case.operator_inputs()]

        def operator(leading: Tensor, rest: Tensor, *tensors: Tensor, case: Case = case) -> Tensor:
            return case.operator(leading, rest, tensors)

        # tanh of the kernels has a relative error of 4e-9; divided by steps of 1e-4 that is 4e-5.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # gradcheck warns that it checks gradients of None
            assert torch.autograd.gradcheck(operator, inputs, fast_mode=True, eps=1e-4, atol=1e-4)


def gradients_of_some_inputs_of_a_chain() -> None:
    for wanted in ((0,), (1,), (2,), (3,), (0, 3)):
        case = Case(collapsed_second_order(2), ["tanh", "sine"], shared=True, tail=True)
        inputs = [case.inputs[i] for i in wanted]
        for i, t in enumerate(case.inputs):
            t.requires_grad_(i in wanted)
        found, expected = (
            torch.autograd.grad(y.square().sum(), inputs) for y in (case.chain(), case.reference())
        )
        for a, b in zip(found, expected, strict=True):
            close(a, b, EXACT)


def second_derivatives_of_a_chain() -> None:
    case = Case(collapsed_second_order(2), ["tanh", "sine"], shared=True, tail=True)
    results = []
    for y in (case.chain(), case.reference()):
        gradients = torch.autograd.grad(y.square().sum(), case.inputs, create_graph=True)
        penalty = sum(g.square().sum() for g in gradients)
        results.append([*gradients, *torch.autograd.grad(penalty, case.inputs, allow_unused=True)])
    for value, expected in zip(*results, strict=True):
        assert (value is None) == (expected is None)
        if value is not None:
            close(value, expected, 1e-4)  # squares of squares of what is right to 1e-6


def only_columns_before_activations_are_kept() -> None:
    case = Case(collapsed_second_order(2), ["tanh", "sine"], shared=True, tail=True, points=5)
    shapes: list[tuple[int, ...]] = []
    with saved_tensors_hooks(lambda t: (shapes.append(tuple(t.shape)), t)[1], lambda t: t):
        case.chain()
    columns = 2 + 2
    own = {tuple(t.shape) for t in case.operator_inputs()}
    assert [s for s in shapes if s not in own and s != (0,)] == [(columns * 5 * case.widths[1],)]


def derivatives_of_a_network() -> None:
    """From the outside: `directional_sums` and `jet` take the kernels where they may."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 5), nn.SiLU(), nn.Linear(5, 2))
    x = torch.randn(7, 3)
    groups = [Directions(1, torch.randn(1, 3)), Directions(2, torch.eye(3), torch.tensor([1.0, -1.0, 2.0]))]

    def results() -> list[Tensor]:
        sums = [*directional_sums(model, x, groups), *jet(model, x, torch.ones(3), 3)]
        parameters = list(model.parameters())
        return [*sums, *torch.autograd.grad(sum(s.square().sum() for s in sums), parameters)]

    with counted() as calls:
        found = results()
    assert calls == ["jet_chain"] * 2 + ["jet_chain_backward"] * 2, calls
    with plain(), counted() as calls:
        expected = results()
    assert calls == []
    for a, b in zip(found, expected, strict=True):
        close(a, b, EXACT)


def what_the_kernels_leave_to_others() -> None:
    case = Case(collapsed_second_order(2), ["tanh"], shared=True, tail=True)
    source, steps = case.source, case.steps
    assert jet_usable(source, steps)
    with plain():
        assert not jet_usable(source, steps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not jet_usable(source, steps)
    double = Case(collapsed_second_order(2), ["tanh"], double=True)
    assert not jet_usable(double.source, double.steps)
    assert not jet_usable(Case([bundle(5, 1)], ["tanh"]).source, steps)
    learned = bundle(2, 2, weights=[1.0, 2.0])
    assert learned.weights is not None
    learned.weights.requires_grad_()
    assert not jet_usable(Case([learned], ["tanh"]).source, steps)
    layer = Affine(torch.eye(3), None)
    refused: list[Sequence[Any]] = [
        [layer],
        [layer, layer, *steps],
        [*steps[:1], *steps[:1]],
        [Activation(relu)],
    ]
    for others in refused:
        assert not jet_usable(source, others)


def forward_mode_takes_the_plain_chain() -> None:
    case = Case(collapsed_second_order(2), ["tanh"], shared=True, tail=True)
    value, tangent = case.inputs[0].detach(), torch.randn_like(case.inputs[0])
    with counted() as calls:
        _, found = torch.func.jvp(lambda v: case.chain(v), (value,), (tangent,))
    assert calls == []
    _, expected = torch.func.jvp(lambda v: case.reference(v), (value,), (tangent,))
    close(found, expected, EXACT)
    leading, rest, *tensors = case.operator_inputs()

    def dual() -> None:
        with forward_ad.dual_level():
            case.operator(forward_ad.make_dual(leading, torch.ones_like(leading)), rest, tensors)

    raises(NotImplementedError, "sciml::jet_chain has no forward-mode derivative", dual)


def operators_of_jets_obey_the_rules_of_torch() -> None:
    """Schemas, registrations, and that shapes and strides without values are those of the results."""
    case = Case([bundle(2, 2, weights=[1.0, -1.0])], ["tanh", "sine"], shared=True, tail=True, points=2)
    tests = "test_schema", "test_autograd_registration", "test_faketensor"
    arguments = case.arguments()
    torch.library.opcheck(jet_ops.jet_chain, arguments, test_utils=tests)
    with torch.no_grad():
        y, kept = jet_ops.jet_chain(*arguments)
    needed = [True] * (1 + len(arguments[2]))
    given = (torch.randn_like(y), kept, *arguments[:11], arguments[12], needed)
    torch.library.opcheck(jet_ops.jet_chain_backward, given, test_utils=(tests[0], tests[2]))


def a_compiled_chain_takes_other_numbers_of_points() -> None:
    case = Case(collapsed_second_order(2), ["tanh", "sine"], shared=True, tail=True)
    compiled = torch.compile(case.chain, backend="aot_eager", dynamic=True, fullgraph=True)
    for points in (5, 9):
        value = torch.randn(points, 3, requires_grad=True)
        inputs = [value, *case.inputs[1:]]
        results = []
        for y in (compiled(value), case.reference(value)):
            results.append([y, *torch.autograd.grad(y.square().sum(), inputs)])
        for a, b in zip(*results, strict=True):
            close(a, b, EXACT)


def a_compiled_graph_holds_the_operators() -> None:
    graphs: list[str] = []

    def keep(graph: Any, _: Any) -> Any:
        graphs.append(str(graph.graph))
        return make_boxed_func(graph.forward)

    case = Case(collapsed_second_order(2), ["tanh"], shared=True, tail=True)
    backend = aot_autograd(fw_compiler=keep, bw_compiler=keep)
    compiled: Callable[..., Tensor] = torch.compile(case.chain, backend=backend, fullgraph=True)
    y = compiled(case.inputs[0])
    found = torch.autograd.grad(y.square().sum(), case.inputs)
    assert "sciml.jet_chain.default" in graphs[0] and "sciml.jet_chain_backward.default" in graphs[1]
    expected = case.reference()
    references = torch.autograd.grad(expected.square().sum(), case.inputs)
    for a, b in zip((y, *found), (expected, *references), strict=True):
        close(a, b, EXACT)
