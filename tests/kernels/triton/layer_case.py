"""A spectral layer with random numbers, run by the Triton kernels and by plain torch."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sciml.kernels.triton import spectral_layer

# Sums of a few hundred float32 products of numbers of size one, in another order than the reference.
EXACT = 1e-5
# Factors rounded to the 10 bits of float16: 2^-11 each, as white noise.
ROUNDED = 2e-3


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
        x = self.x if x is None else x
        return spectral_layer(x, self.weight, self.modes, self.matrix, self.constant, **self.settings)

    def reference(self, x: Any = None) -> Any:
        with plain():
            return self.layer(x)

    def compare(self) -> None:
        """Values and all gradients."""
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
    calls: list[str] = []

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func.namespace == "sciml":
                calls.append(func.name().split("::")[1])
            return func(*args, **(kwargs or {}))

    with Count():
        yield calls
