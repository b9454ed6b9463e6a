"""Checks of the Triton kernels in Triton's interpreter, in a process of their own.

``python -P interpreted.py NAME...`` runs the checks of these names and prints one line of JSON for each. The
interpreter is chosen before Triton is imported, for a whole process. It computes in float32 whatever
``input_precision`` says, runs the programs of a launch one after the other, and multiplies bfloat16 wrongly:
what the kernels do with bfloat16 runs on float16 there (`sciml.kernels.triton.device.product`).
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

CHECKS: dict[str, Callable[[], None]] = {}
SLOW: list[str] = []
# Sums of a few hundred float32 products of numbers of size one, in another order than the reference.
EXACT = 1e-5
# Factors rounded to the 10 bits of float16: 2^-11 each, as white noise.
ROUNDED = 2e-3


def check(function: Callable[[], None]) -> Callable[[], None]:
    CHECKS[function.__name__] = function
    return function


def slow(function: Callable[[], None]) -> Callable[[], None]:
    SLOW.append(function.__name__)
    return check(function)


@dataclass
class Case:
    """A layer with random numbers, and what plain torch says about it."""

    shape: tuple[int, ...]
    modes: tuple[int, ...]
    batch: int = 2
    c_in: int = 3
    c_out: int = 2
    skip: bool = False
    bias: bool = False
    activation: str | None = None
    out_shape: tuple[int, ...] | None = None
    precision: str = "tf32x3"
    tolerance: float = EXACT
    settings: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        import torch

        torch.manual_seed(0)
        frequencies = (*(2 * m for m in self.modes[:-1]), self.modes[-1])
        self.x = torch.randn(self.batch, self.c_in, *self.shape, requires_grad=True)
        self.weight = torch.randn(*frequencies, self.c_in, self.c_out, 2, requires_grad=True)
        self.matrix = torch.randn(self.c_out, self.c_in, requires_grad=True) if self.skip else None
        self.constant = torch.randn(self.c_out, requires_grad=True) if self.bias else None
        self.settings = {
            "activation": self.activation,
            "precision": self.precision,
            "out_shape": self.out_shape,
        }

    @property
    def inputs(self) -> list[Any]:
        return [t for t in (self.x, self.weight, self.matrix, self.constant) if t is not None]

    def layer(self, x: Any = None) -> Any:
        from sciml.kernels.triton import spectral_layer

        x = self.x if x is None else x
        return spectral_layer(x, self.weight, self.modes, self.matrix, self.constant, **self.settings)

    def reference(self, x: Any = None) -> Any:
        with plain():
            return self.layer(x)

    def compare(self) -> None:
        """Values and all gradients."""
        import torch

        with counted() as calls:
            y = self.layer()
        assert calls == ["spectral_layer"], calls
        expected = self.reference()
        assert y.shape == expected.shape and y.is_contiguous()
        close(y, expected, self.tolerance)
        cotangent = torch.randn_like(y)
        with counted() as calls:
            gradients = torch.autograd.grad(y, self.inputs, cotangent)
        assert calls == ["spectral_layer_backward"], calls
        references = torch.autograd.grad(expected, self.inputs, cotangent)
        for gradient, wanted, tensor in zip(gradients, references, self.inputs, strict=True):
            assert gradient.shape == tensor.shape and gradient.dtype == tensor.dtype
            close(gradient, wanted, self.tolerance)


def close(value: Any, expected: Any, tolerance: float) -> None:
    error = (value.double() - expected.double()).norm() / expected.double().norm()
    assert error < tolerance, f"relative error {error:.1e} exceeds {tolerance:.0e}"


def raises(kind: type[BaseException], match: str, function: Callable[[], Any]) -> None:
    try:
        function()
    except kind as error:
        assert match in str(error), error
    else:
        raise AssertionError(f"no {kind.__name__}")


@contextmanager
def plain() -> Iterator[None]:
    os.environ["SCIML_KERNELS"] = "reference"
    try:
        yield
    finally:
        del os.environ["SCIML_KERNELS"]


@contextmanager
def counted() -> Iterator[list[str]]:
    """Names of our operators as they are called."""
    from torch.utils._python_dispatch import TorchDispatchMode

    calls: list[str] = []

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func.namespace == "sciml":
                calls.append(func.name().split("::")[1])
            return func(*args, **(kwargs or {}))

    with Count():
        yield calls


@check
def one_axis() -> None:
    Case((33,), (5,), c_in=17, skip=True, bias=True, activation="gelu").compare()
    Case((8,), (2,), batch=1, c_in=1, c_out=1).compare()


@check
def one_axis_onto_another_grid() -> None:
    Case((12,), (7,), batch=1, out_shape=(21,), bias=True).compare()
    Case((21,), (9,), batch=1, out_shape=(12,)).compare()


@check
def two_axes_with_everything() -> None:
    Case((18, 17), (2, 2), batch=1, c_in=2, skip=True, bias=True, activation="gelu").compare()


@check
def two_axes_without_a_skip_path() -> None:
    Case((18, 17), (2, 2), batch=1, c_in=2, bias=True, activation="gelu").compare()


@check
def an_activation_at_the_entrance() -> None:
    Case((9, 8), (1, 2), batch=1, skip=True, bias=True, activation="gelu_first").compare()
    Case((9, 8), (1, 2), batch=1, c_out=1, activation="gelu_first", out_shape=(8, 10)).compare()
    Case((9,), (3,), batch=1, skip=True, activation="gelu_first").compare()


@check
def a_highest_frequency_apart() -> None:
    """Eight modes on the full axis have the frequency -8 behind a full block of eight."""
    Case((20, 9), (8, 1), batch=1, c_in=1, c_out=1, out_shape=(17, 12)).compare()
    Case((16, 9), (8, 1), batch=1, c_in=1, c_out=1, skip=True).compare()


@check
def a_grid_too_coarse_for_the_modes() -> None:
    Case((4, 3), (3, 4), batch=1, skip=True).compare()
    Case((8, 8), (6, 5), batch=1, c_in=1, out_shape=(3, 4)).compare()
    Case((1, 3), (2, 2), batch=1).compare()


@check
def three_axes() -> None:
    Case((3, 5, 6), (1, 1, 3), batch=1, c_in=1, skip=True, activation="gelu").compare()
    Case((3, 5, 6), (1, 2, 1), batch=1, c_in=1, c_out=1, out_shape=(3, 6, 5)).compare()


@slow
def four_axes() -> None:
    Case((3, 4, 3, 5), (1, 2, 1, 2), batch=1, c_in=2, skip=True, bias=True).compare()


@check
def axes_one_by_one_where_a_plane_has_too_many_modes() -> None:
    from sciml.kernels.triton import blocks

    largest, blocks.LARGEST_PLANE = blocks.LARGEST_PLANE, 0
    try:
        Case((9, 10), (2, 2), batch=1, skip=True, activation="gelu").compare()
        Case((9, 10), (2, 2), batch=1, c_in=1, out_shape=(7, 8)).compare()
    finally:
        blocks.LARGEST_PLANE = largest


@check
def channels_and_batches_beyond_one_block() -> None:
    Case((6,), (1,), batch=35, c_in=19, c_out=9, skip=True).compare()


@slow
def more_modes() -> None:
    Case((18, 21), (4, 5), skip=True, bias=True, activation="gelu").compare()
    Case((20, 17), (8, 3), out_shape=(18, 33)).compare()
    Case((4, 9, 10), (2, 3, 4), skip=True, activation="gelu_first").compare()


@slow
def large_planes() -> None:
    Case((50, 37), (9, 17), batch=2, c_in=5, c_out=18, skip=True, bias=True, activation="gelu").compare()
    Case((64, 64), (16, 16), c_in=3, c_out=3, out_shape=(32, 48)).compare()


@check
def fields_with_other_strides() -> None:
    import torch

    case = Case((6, 7), (1, 2), c_in=2, c_out=1, skip=True)
    for x in (
        case.x.detach().movedim(1, -1).contiguous().movedim(-1, 1),
        case.x.detach()[:, :, ::2, 1:],
        case.x.detach()[:1].expand(3, -1, -1, -1),
    ):
        x.requires_grad_()
        y, expected = case.layer(x), case.reference(x)
        close(y, expected, EXACT)
        # sum() hands back a gradient with strides of zero
        of_x, wanted = (torch.autograd.grad(value.sum(), x)[0] for value in (y, expected))
        close(of_x, wanted, EXACT)


@check
def lower_precision() -> None:
    for precision in ("tf32", "bf16"):
        tolerance = ROUNDED if precision == "bf16" else EXACT
        Case(
            (9, 10), (1, 2), batch=1, skip=True, bias=True, precision=precision, tolerance=tolerance
        ).compare()


@check
def fields_in_bfloat16() -> None:
    """Samples are widened when read and rounded when written; modes and sums are float32."""
    import torch

    case = Case((9, 10), (1, 2), batch=1, skip=True, bias=True, activation="gelu")
    x = case.x.detach().to(torch.bfloat16).requires_grad_()
    y, expected = case.layer(x), case.reference(x.detach().float())
    assert y.dtype == torch.bfloat16
    close(y, expected, 2.0**-8)  # one rounding to 8 bits
    of_x, of_weight = torch.autograd.grad(y.float().square().sum(), [x, case.weight])
    assert (of_x.dtype, of_weight.dtype) == (torch.bfloat16, torch.float32)


@check
def half_precision_of_others_changes_nothing() -> None:
    """Under autocast float32 fields stay float32 in the kernels; weights may be stored in bfloat16."""
    import torch

    case = Case((3, 5, 6), (1, 1, 2), batch=1, c_in=1, c_out=1)
    expected = case.reference()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close(case.layer(), expected, EXACT)
    case.weight = case.weight.detach().to(torch.bfloat16).requires_grad_()
    close(case.layer(), case.reference(), EXACT)
    (of_weight,) = torch.autograd.grad(case.layer().square().sum(), case.weight)
    assert of_weight.dtype == torch.bfloat16


@check
def only_modes_are_kept_without_skip_and_activation() -> None:
    from torch.autograd.graph import saved_tensors_hooks

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


@check
def gradients_of_some_inputs() -> None:
    import torch

    for wanted, activation in product(([0], [1], [2], [3], [0, 3]), ("gelu", "gelu_first")):
        case = Case((8,), (3,), batch=1, skip=True, bias=True, activation=activation)
        inputs = [case.inputs[i] for i in wanted]
        for i, tensor in enumerate(case.inputs):
            tensor.requires_grad_(i in wanted)
        gradients = torch.autograd.grad(case.layer().square().sum(), inputs)
        references = torch.autograd.grad(case.reference().square().sum(), inputs)
        for gradient, reference in zip(gradients, references, strict=True):
            close(gradient, reference, EXACT)


@check
def second_derivatives() -> None:
    import torch

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


@check
def forward_mode_takes_the_plain_path_and_the_operator_refuses() -> None:
    import torch
    from torch.autograd import forward_ad

    from sciml.kernels.triton import ops

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


@check
def transformations_of_functions() -> None:
    import torch

    case = Case((8,), (3,), skip=True, bias=True)
    fields = torch.randn(2, 3, 4, 8)
    with counted() as calls:
        value = torch.func.vmap(case.layer, in_dims=2)(fields)
    assert calls == ["spectral_layer"], calls  # one larger batch
    close(value, torch.stack([case.reference(x) for x in fields.unbind(2)]), EXACT)
    of_x = torch.func.grad(lambda x: case.layer(x).square().sum())(case.x.detach())
    close(of_x, torch.autograd.grad(case.reference().square().sum(), case.x)[0], EXACT)


@check
def the_operator_under_vmap_over_weights() -> None:
    import torch

    from sciml.kernels.triton import ops

    x, weights = torch.randn(4, 2, 3, 8), torch.randn(3, 3, 2, 4, 2)

    def operator(x: Any, weight: Any) -> Any:
        return ops.spectral_layer(x, weight, None, None, [3], [8], "none", "tf32x3")[0]

    value = torch.func.vmap(operator, in_dims=(0, 3))(x, weights)
    close(value, torch.stack([operator(a, b) for a, b in zip(x, weights.unbind(3), strict=True)]), 1e-9)


@check
def operators_obey_the_rules_of_torch() -> None:
    """Schemas, registrations, and that shapes, dtypes and strides without values are those of the results."""
    import torch

    from sciml.kernels.triton import ops

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


@slow
def operators_obey_in_traces_with_other_sizes() -> None:
    import torch

    from sciml.kernels.triton import ops

    case = Case((8,), (3,), batch=2, skip=True, bias=True)
    for activation in ("none", "gelu", "gelu_first"):
        torch.library.opcheck(ops.spectral_layer, (*case.inputs, [3], [8], activation, "tf32x3"))


@check
def a_compiled_graph_holds_the_operator() -> None:
    import torch
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

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


@check
def what_the_kernels_do_not_take() -> None:
    import torch

    from sciml.kernels.triton import spectral_layer, usable

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


def Layer(weight: Any) -> Any:
    import torch

    from sciml.kernels.triton import spectral_layer

    class Module(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return spectral_layer(x, weight, (3,))

    return Module()


def loops_fail() -> str | None:
    """Why the interpreter cannot run here, if so."""
    import torch
    import triton

    from sciml.kernels.triton import mixing

    zeros = [torch.zeros(2) for _ in range(3)]
    try:
        mixing.mix[(1,)](*zeros, 1, 1, 1, BATCH=8, IN=16, OUT=8, PRECISION="tf32")
    except Exception as error:
        if "only 0-dimensional arrays" in str(error):  # Triton 3.6 with NumPy 2.4 or later
            return f"the interpreter of Triton {triton.__version__} does not run with this NumPy: {error}"
        raise
    return None


def main(names: list[str]) -> None:
    os.environ["TRITON_INTERPRET"] = "1"
    os.environ.pop("SCIML_KERNELS", None)
    if find_spec("sciml") is None:
        sys.path.append(str(Path(__file__).resolve().parents[3]))
    import torch

    torch.set_num_threads(1)
    missing = loops_fail()
    for name in names:
        start, failure = perf_counter(), None
        if missing is None:
            try:
                CHECKS[name]()
            except BaseException:
                failure = traceback.format_exc()
        result = {"name": name, "failure": failure, "skip": missing, "seconds": perf_counter() - start}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
