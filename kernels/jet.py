r"""Derivatives of networks by truncated Taylor series.

`jet` gives the derivatives ``d^k/dt^k f(x + t v)`` of a module or function along directions v, for all k up
to some order at once. `directional_sums` gives weighted sums of them over many directions, which is what
differential operators consist of: the Laplacian is the sum of the second derivatives along an orthonormal
basis. It carries the sum through the network instead of its terms (*collapsed* series): 1 + R (K - 1) + 1
columns for R directions and order K; with K = 2 this is the forward Laplacian.

Both call the function with a `Jet` in the place of x. Whatever is built of the operations that `supported`
lists works, and `rule` and `elementwise` teach further ones. Results are differentiable with respect to
parameters, x, directions and weights.

Source: A. Griewank, A. Walther, Evaluating Derivatives (2008), chapter 13; R. Li et al., A computational
framework for neural network-based variational Monte Carlo with Forward Laplacian (2024); F. Dangel, T.
Siebert, M. Zeinhofer, A. Walther, Collapsing Taylor mode automatic differentiation (2025).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import factorial
from typing import Any

import torch
from torch import Tensor

from sciml.kernels import jet_layers, jet_parts, jet_shapes  # noqa: F401  (the rules)
from sciml.kernels.jet_chain import Source
from sciml.kernels.jet_elementwise import elementwise
from sciml.kernels.jet_registry import rule, supported
from sciml.kernels.jet_series import Bundle, split
from sciml.kernels.jet_tensor import Jet

__all__ = ["Directions", "Jet", "directional_sums", "elementwise", "jet", "rule", "supported"]

HIGHEST = 8


@dataclass(frozen=True, eq=False)
class Directions:
    r"""What is summed: ``Σ_r w_r D^order f(x)[v_r, ..., v_r]``.

    Parameters
    ----------
    order : int
        1..8.
    vectors : (R, d) or (R, batch, d)
        v_r, the same for all points, which is cheaper, or one for each.
    weights : (R,) or (R, batch), optional
        w_r, of any sign; by default all one.
    """

    order: int
    vectors: Tensor
    weights: Tensor | None = None


def jet(function: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor, order: int) -> tuple[Tensor, ...]:
    r"""The derivatives ``d^k/dt^k f(x + t v)`` at t = 0, for k = 0, ..., order.

    Parameters
    ----------
    function : callable
        A module or function of x (batch, d), made of supported operations.
    x : (batch, d)
    direction : (d,) or (batch, d), or (R, d) or (R, batch, d)
        v; or R of them, for which everything is computed in one sweep. A matrix of the shape of x is one
        direction per point; to give R = batch directions for all points, write (R, 1, d).
    order : int
        1..8.

    Returns
    -------
    order + 1 tensors: f(x) (batch, ...), then the derivatives, (batch, ...) or (R, batch, ...)

    Raises
    ------
    ValueError
        If a shape, a dtype or the order does not fit, or the function contains an operation without a rule.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[0.3]], dtype=torch.float64)
    >>> f0, f1, f2, f3 = jet(torch.sin, x, torch.ones(1, dtype=torch.float64), 3)
    >>> torch.allclose(f3, -torch.cos(x))
    True
    """
    _check_points("jet", x, function)
    _check_order("jet", order)
    _check_like("jet", "direction", direction, x)
    batch, d = x.shape
    single = direction.ndim == 1 or direction.shape == x.shape
    vectors = direction[None] if single else direction
    if vectors.ndim == 2:
        vectors = vectors[:, None]
    if vectors.ndim != 3 or vectors.shape[1] not in (1, batch) or vectors.shape[2] != d:
        raise ValueError(
            f"jet: direction must have shape ({d},), ({batch}, {d}), (R, {d}) or (R, {batch}, {d}) for x of "
            f"shape {tuple(x.shape)}, got {tuple(direction.shape)}."
        )
    bundle = Bundle(order, len(vectors), collapsed=False)
    result = function(_start(x, (bundle,), vectors))  # type: ignore[arg-type]
    if not isinstance(result, Jet):
        value = _constant("jet", result)
        zero = torch.zeros_like(value) if single else value.new_zeros(len(vectors), *value.shape)
        return value, *[zero] * order
    columns = result.columns
    series = split(columns[1:], (bundle,), result.degree)[0]
    derivatives = [
        factorial(k) * series[k] if k in series else torch.zeros_like(series[1]) for k in range(1, order + 1)
    ]
    return columns[0], *(part[0] if single else part for part in derivatives)


def directional_sums(
    function: Callable[[Tensor], Tensor], x: Tensor, groups: Sequence[Directions]
) -> tuple[Tensor, ...]:
    r"""The value of a function and weighted sums of its derivatives along directions, in one sweep.

    Parameters
    ----------
    function : callable
        A module or function of x (batch, d), made of supported operations.
    x : (batch, d)
    groups : sequence of `Directions`
        Each asks for ``Σ_r w_r D^order f(x)[v_r, ..., v_r]``.

    Returns
    -------
    1 + len(groups) tensors (batch, ...): f(x), then one sum per group

    Raises
    ------
    ValueError
        If a shape, a dtype or an order does not fit, or the function contains an operation without a rule.

    Notes
    -----
    A group of order K with R directions costs R (K - 1) + 1 columns besides the one of the value, which all
    groups share. It costs R K where weights require gradients, or differ from point to point in sign.

    Examples
    --------
    The Laplacian of |x|^4 in three dimensions is 20 |x|^2:

    >>> import torch
    >>> x = torch.tensor([[1.0, 2.0, 2.0]], dtype=torch.float64)
    >>> basis = torch.eye(3, dtype=torch.float64)
    >>> value, laplacian = directional_sums(lambda x: x.square().sum(-1) ** 2, x, [Directions(2, basis)])
    >>> value, laplacian
    (tensor([81.], dtype=torch.float64), tensor([180.], dtype=torch.float64))
    """
    _check_points("directional_sums", x, function)
    parts = [_prepared(x, group, n) for n, group in enumerate(groups)]
    if not parts:
        return (_constant("directional_sums", function(x)),)
    bundles = tuple(bundle for bundle, _, _ in parts)
    wide = any(vectors.shape[1] != 1 for _, vectors, _ in parts)
    width = len(x) if wide else 1
    columns = torch.cat([vectors.expand(-1, width, -1) for _, vectors, _ in parts])
    result = function(_start(x, bundles, columns))  # type: ignore[arg-type]
    if not isinstance(result, Jet):
        value = _constant("directional_sums", result)
        return value, *(torch.zeros_like(value) for _ in groups)
    value, *highest = result.highest()
    sums = [_weighted(top, weights) for top, (_, _, weights) in zip(highest, parts, strict=True)]
    return value, *(factorial(bundle.order) * total for bundle, total in zip(bundles, sums, strict=True))


def _start(x: Tensor, bundles: tuple[Bundle, ...], columns: Tensor) -> Jet:
    """x + t v, as a jet of degree one."""
    return Jet(Source(bundles, 1, value=x, rest=columns), x.shape)


def _prepared(x: Tensor, group: Directions, place: int) -> tuple[Bundle, Tensor, Tensor | None]:
    """How a group is carried: its bundle, its directions (R, 1 or batch, d), and weights for the end."""
    name = f"directional_sums: group {place}"
    _check_order(name, group.order)
    vectors, weights = group.vectors, group.weights
    _check_like(name, "vectors", vectors, x)
    if vectors.ndim == 2:
        vectors = vectors[:, None]
    if (
        vectors.ndim != 3
        or vectors.shape[1] not in (1, len(x))
        or vectors.shape[2] != x.shape[1]
        or not len(vectors)
    ):
        raise ValueError(
            f"{name}: vectors must have shape (R, {x.shape[1]}) or (R, {len(x)}, {x.shape[1]}) with R >= 1 "
            f"for x of shape {tuple(x.shape)}, got {tuple(group.vectors.shape)}."
        )
    if weights is not None:
        _check_like(name, "weights", weights, x)
        if weights.shape not in ((len(vectors),), (len(vectors), len(x))):
            raise ValueError(
                f"{name}: weights must have shape ({len(vectors)},) or ({len(vectors)}, {len(x)}), got "
                f"{tuple(weights.shape)}."
            )
    if group.order == 1:  # linear: one direction
        if weights is not None:
            weights = weights.reshape(len(vectors), -1, 1)
            vectors = weights * vectors
        return Bundle(1, 1, collapsed=True), vectors.sum(0, keepdim=True), None
    return _collapsed(group.order, vectors, weights)


def _collapsed(order: int, vectors: Tensor, weights: Tensor | None) -> tuple[Bundle, Tensor, Tensor | None]:
    """Weights go into the directions, ``w D^K[v] = ± D^K[|w|^(1/K) v]``, where that is cheap and smooth."""
    count = len(vectors)
    if weights is None:
        return Bundle(order, count, collapsed=True), vectors, None
    if weights.requires_grad or torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        known = False  # a root has no derivative at zero, and a tracer does not know signs
    else:
        known = weights.device.type == "cpu" or weights.ndim == 2
    if not known:
        if weights.ndim == 1:
            return Bundle(order, count, collapsed=True, weights=weights), vectors, None
        return Bundle(order, count, collapsed=False), vectors, weights
    positive = order % 2 == 1 or bool((weights >= 0).all())
    if not positive and weights.ndim == 2:
        return Bundle(order, count, collapsed=False), vectors, weights
    root = weights.abs() ** (1.0 / order)
    if order % 2 == 1:
        root = root * weights.sign()
    signs = None if positive else weights.sign()
    return Bundle(order, count, collapsed=True, weights=signs), root.reshape(count, -1, 1) * vectors, None


def _weighted(top: Tensor, weights: Tensor | None) -> Tensor:
    """The sum over directions at the end of a sweep, top (R, batch, ...)."""
    if weights is None:
        return top[0]
    return (weights.reshape(*weights.shape, *(1,) * (top.ndim - 2)) * top).sum(0)


def _check_points(name: str, x: Tensor, function: object) -> None:
    if isinstance(x, Jet):
        raise ValueError(
            f"{name}: x is a jet already. For derivatives of derivatives ask for a higher order."
        )
    if not isinstance(x, Tensor) or x.ndim != 2 or not x.dtype.is_floating_point:
        got = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"{name}: x must be a real tensor of shape (batch, d), got {got}.")
    if not callable(function):
        raise ValueError(
            f"{name}: function must be a module or a function of x, got {type(function).__name__}."
        )


def _check_order(name: str, order: int) -> None:
    if not 1 <= order <= HIGHEST:
        raise ValueError(f"{name}: order must be 1..{HIGHEST}, got {order}.")


def _check_like(name: str, what: str, tensor: Tensor, x: Tensor) -> None:
    if tensor.dtype != x.dtype or tensor.device != x.device:
        raise ValueError(
            f"{name}: {what} must be {x.dtype} on {x.device} like x, got {tensor.dtype} on {tensor.device}. "
            f"{what}.to(x) makes it so."
        )


def _constant(name: str, result: Any) -> Tensor:
    if not isinstance(result, Tensor):
        raise ValueError(f"{name}: function must return one tensor, got {type(result).__name__}.")
    return result
