"""Rules of jets for functions of every element."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sciml.kernels import jet_ladders as ladders
from sciml.kernels.jet_chain import Activation
from sciml.kernels.jet_ladders import LadderFunction
from sciml.kernels.jet_registry import rule, unsupported
from sciml.kernels.jet_tensor import Jet


def elementwise(*operations: Callable[..., Any]) -> Callable[[LadderFunction], LadderFunction]:
    r"""Teach jets a function of every element: decorate the one that returns its Taylor coefficients.

    Parameters
    ----------
    operations : functions of one tensor
        For ``torch.f`` the method ``Tensor.f`` is included.

    Returns
    -------
    A decorator of a function ``(u, order) -> [f(u), f'(u), f''(u)/2!, ..., f^(order)(u)/order!]``, tensors
    like u or None for zero. It must not depend on tensors that require gradients; such a function is written
    with `rule`.

    Examples
    --------
    >>> import torch
    >>> from sciml.kernels.jet import elementwise, jet
    >>> x = torch.tensor([[0.5]], dtype=torch.float64)
    >>> @elementwise(torch.special.bessel_j0)  # J0' = -J1, J1' = J0 - J1 / u
    ... def _(u, order):
    ...     if order > 2:
    ...         raise ValueError("bessel_j0: orders up to 2 are written down here.")
    ...     zero, one = torch.special.bessel_j0(u), torch.special.bessel_j1(u)
    ...     return [zero, -one, (one / u - zero) / 2][: order + 1]
    >>> value, first = jet(torch.special.bessel_j0, x, torch.ones(1, dtype=torch.float64), 1)
    >>> torch.equal(first, -torch.special.bessel_j1(x))
    True
    """

    def register(ladder: LadderFunction) -> LadderFunction:
        def apply(x: Jet) -> Jet:
            return x.then(Activation(ladder))

        rule(*operations)(apply)
        return ladder

    return register


_ELEMENTARY: list[tuple[LadderFunction, tuple[Any, ...]]] = [
    (ladders.exp, (torch.exp,)),
    (ladders.exp2, (torch.exp2, torch.special.exp2)),
    (ladders.expm1, (torch.expm1, torch.special.expm1)),
    (ladders.logarithm, (torch.log,)),
    (ladders.log2, (torch.log2,)),
    (ladders.log10, (torch.log10,)),
    (ladders.log1p, (torch.log1p, torch.special.log1p)),
    (ladders.root, (torch.sqrt,)),
    (ladders.reciprocal_root, (torch.rsqrt,)),
    (ladders.reciprocal, (torch.reciprocal,)),
    (ladders.square, (torch.square,)),
    (ladders.sine, (torch.sin,)),
    (ladders.cosine, (torch.cos,)),
    (ladders.tan, (torch.tan,)),
    (ladders.arcsin, (torch.asin, torch.arcsin)),
    (ladders.arccos, (torch.acos, torch.arccos)),
    (ladders.arctan, (torch.atan, torch.arctan)),
    (ladders.sinh, (torch.sinh,)),
    (ladders.cosh, (torch.cosh,)),
    (ladders.tanh, (torch.tanh,)),
    (ladders.arsinh, (torch.asinh, torch.arcsinh)),
    (ladders.arcosh, (torch.acosh, torch.arccosh)),
    (ladders.artanh, (torch.atanh, torch.arctanh)),
    (ladders.sigmoid, (torch.sigmoid, torch.special.expit)),
    (ladders.erf, (torch.erf, torch.special.erf)),
    (ladders.erfc, (torch.erfc, torch.special.erfc)),
    (ladders.normal_cdf, (torch.special.ndtr,)),
    (ladders.logsigmoid, (F.logsigmoid,)),
    (ladders.tanhshrink, (F.tanhshrink,)),
    (ladders.absolute, (torch.abs, torch.absolute)),
    (ladders.relu, (torch.relu,)),
]

for _ladder, _operations in _ELEMENTARY:
    elementwise(*_operations)(_ladder)


# Activations of torch.nn.functional with settings; their ladders name them the same.
_ACTIVATIONS: dict[Any, Callable[..., ladders.Coefficients]] = {
    F.relu: ladders.relu,
    F.leaky_relu: ladders.leaky_relu,
    F.elu: ladders.elu,
    F.celu: ladders.celu,
    F.selu: ladders.selu,
    F.silu: ladders.silu,
    F.mish: ladders.mish,
}


def _activation(operation: Any, x: Jet, inplace: bool = False, **settings: float) -> Jet:
    if inplace:
        raise unsupported(operation, "Jets never change in place: set inplace=False.")
    return x.then(Activation(partial(_ACTIVATIONS[operation], **settings)))


for _operation in _ACTIVATIONS:
    rule(_operation)(partial(_activation, _operation))


@rule(F.gelu)
def _gelu(x: Jet, *, approximate: str = "none") -> Jet:
    return x.then(Activation(ladders.gelu if approximate == "none" else ladders.gelu_tanh))


@rule(F.softplus)
def _softplus(x: Jet, beta: float = 1.0, threshold: float = 20.0) -> Jet:
    return x.then(Activation(partial(ladders.softplus, beta=beta, threshold=threshold)))


@rule(torch.clamp, torch.clip)
def _clamp(x: Jet, min: float | Tensor | None = None, max: float | Tensor | None = None) -> Jet:
    low, high = min, max
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        raise unsupported(
            torch.clamp, "Jets take bounds that are numbers; torch.maximum and minimum take tensors."
        )
    return x.then(Activation(partial(ladders.clamp, low=low, high=high)))


@rule(F.hardtanh)
def _hardtanh(x: Jet, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Jet:
    if inplace:
        raise unsupported(F.hardtanh, "Jets never change in place: set inplace=False.")
    return _clamp(x, min_val, max_val)


# Operations whose result does not change with the inputs, or jumps: a plain tensor of the value.
_OF_VALUES: list[Any] = [
    *(torch.lt, torch.le, torch.gt, torch.ge, torch.eq, torch.ne, torch.isnan, torch.isinf, torch.isfinite),
    *(torch.sign, torch.floor, torch.ceil, torch.round, torch.trunc, torch.heaviside, torch.logical_not),
    *(torch.argmax, torch.argmin, torch.argsort, torch.allclose, torch.isclose, torch.equal, torch.numel),
    *(
        torch.zeros_like,
        torch.ones_like,
        torch.full_like,
        torch.empty_like,
        torch.rand_like,
        torch.randn_like,
    ),
    *(torch.is_floating_point, torch.is_complex, torch.detach),
    *(Tensor.new_zeros, Tensor.new_ones, Tensor.new_full, Tensor.new_empty, Tensor.new_tensor),
]


def _of_value(operation: Any, *arguments: Any, **named: Any) -> Any:
    values = [x.value if isinstance(x, Jet) else x for x in arguments]
    return operation(*values, **{k: x.value if isinstance(x, Jet) else x for k, x in named.items()})


for _operation in _OF_VALUES:
    rule(_operation)(partial(_of_value, _operation))
