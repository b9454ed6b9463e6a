r"""Where a function is evaluated: at the points, or behind its first layer where directions are short.

For ``u(x) = g(x W + b)`` every operator of u at x is one of g at ``z = x W + b``, along ``v W`` instead of v.
With d variables and h features behind the layer:

* unit vectors drawn by `SparseDirections` are rows of W, which are read and not multiplied;
* operators that do not change under rotations (the Laplacian, its square) see ``min(d, h)`` directions only,
  and so do estimators with a law that is invariant under rotations: they draw vectors of that length.

Source: Z. Shi et al., Stochastic Taylor derivative estimator, arXiv:2412.00088, for rows; the second fact
follows from ``Σ_i D²g[W_i, W_i] = Σ_r D²g[T_r, T_r]`` for any T with ``T^T T = W^T W``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from sciml.kernels.estimators import Estimator, Exact, Hutchinson, SparseDirections
from sciml.kernels.forms import Form, LineForm, SquaredLaplacian
from sciml.kernels.jet import Directions
from sciml.kernels.shared_blocks import SharedBlocks
from sciml.kernels.sweeps import Sweep
from sciml.kernels.wide_linear import LinearMap, WideLinear

Function = Callable[[Tensor], Tensor]
_ELEMENTWISE = (nn.Tanh, nn.Sigmoid, nn.SiLU, nn.GELU, nn.Softplus)


class Entrance(Protocol):
    """Where to evaluate, what is left of the function, and how directions look from there."""

    @property
    def points(self) -> Tensor:
        """(batch, features)."""

    def __call__(self, points: Tensor) -> Tensor:
        """What is left of the function."""

    def estimate(
        self, form: Form, estimator: Estimator, generator: Generator | None
    ) -> tuple[Directions, ...]:
        """The directions of an estimator for a form in x."""

    def outward(self) -> Tensor:
        """The direction x at each point, (1, batch, features)."""


@dataclass(frozen=True, eq=False)
class Direct:
    """The function as it is."""

    function: Function
    points: Tensor

    def __call__(self, points: Tensor) -> Tensor:
        return self.function(points)

    def estimate(
        self, form: Form, estimator: Estimator, generator: Generator | None
    ) -> tuple[Directions, ...]:
        return estimator.directions(form, self.points, generator)

    def outward(self) -> Tensor:
        return self.points[None]


@dataclass(frozen=True, eq=False)
class BehindLinear:
    """``g(z)``, ``z = x W + b``.

    Parameters
    ----------
    map : LinearMap
        W and b.
    layers : tuple of modules
        g, one after the other.
    x : (batch, d)
    points : (batch, h)
        z.
    """

    map: LinearMap
    layers: tuple[nn.Module, ...]
    x: Tensor
    points: Tensor

    def __call__(self, points: Tensor) -> Tensor:
        for layer in self.layers:
            points = layer(points)
        return points

    def estimate(
        self, form: Form, estimator: Estimator, generator: Generator | None
    ) -> tuple[Directions, ...]:
        d, h = self.map.weight.shape
        if type(form) is LineForm and form.order == 2 and form.weights is None:
            vectors = form.vectors
            if (
                isinstance(estimator, Exact)
                and vectors is not None
                and vectors.ndim == 2
                and len(vectors) > h
            ):
                return (Directions(2, LinearMap(self.map.along(vectors)).root()),)
        if is_laplacian(form) and isinstance(estimator, Exact) and _adds_up(self.layers):
            return (Directions(2, self.map.lengths()[None]),)
        if _is_isotropic(form) and estimator.turns(form):
            r = min(d, h)
            orthogonal = isinstance(estimator, Hutchinson) and estimator.distribution == "orthogonal"
            if orthogonal and r < estimator.samples <= d:  # type: ignore[attr-defined]
                estimator = Exact()  # all there are
            seen = self.x.new_zeros(()).expand(len(self.x), r)
            found = estimator.directions(form, seen, generator)
            return tuple(replace(group, vectors=group.vectors @ self.root) for group in found)
        if _is_plain(form) and estimator.draws_summands:
            return estimator.directions(Rows(form.order, self.map), self.x, generator)
        found = estimator.directions(form, self.x, generator)
        return tuple(replace(group, vectors=self.map.along(group.vectors)) for group in found)

    @cached_property
    def root(self) -> Tensor:
        """See `LinearMap.root`."""
        return self.map.root()

    def outward(self) -> Tensor:
        z = self.points if self.map.bias is None else self.points - self.map.bias
        return z[None]


@dataclass(frozen=True, eq=False)
class BehindBlocks:
    """``g(t W + b)``, ``t = f(s)``, for sums s over blocks; only for the Laplacian, `Exact` or
    `SparseDirections`.

    Parameters
    ----------
    inner : BehindLinear
        g at ``t W + b``; its x is t.
    blocks : SharedBlocks
    sums : (batch, blocks)
        s.
    x : (batch, d)
    """

    inner: BehindLinear
    blocks: SharedBlocks
    sums: Tensor
    x: Tensor

    @property
    def points(self) -> Tensor:
        return self.inner.points

    def __call__(self, points: Tensor) -> Tensor:
        return self.inner(points)

    def estimate(
        self, form: Form, estimator: Estimator, generator: Generator | None
    ) -> tuple[Directions, ...]:
        drawn, scale = None, 1.0
        if isinstance(estimator, SparseDirections):
            drawn = estimator.draw(form, self.x, generator)
            scale = 1.0 if drawn is None else self.x.shape[1] / estimator.samples
        block, length = self.blocks.lengths(drawn)
        rows = self.inner.map.rows(block)
        t = self.inner.x
        if block.ndim == 1:  # the same for all points
            t, length, rows = t.T[block], length[:, None], rows[:, None]
        else:
            t = t.T.gather(0, block)
        slope = (1 - t.square()) * length
        along, bent = slope[..., None] * rows, (-2 * t * slope * length)[..., None] * rows
        size = t.new_full((len(t),), scale)
        return Directions(2, along, size), Directions(1, bent, size)

    def outward(self) -> Tensor:
        t = self.inner.x
        return self.inner.map.along((1 - t.square()) * (self.sums - self.blocks.bias))[None]


@dataclass(frozen=True, eq=False)
class Rows:
    """``Σ_j D^K g[W_j, …, W_j]`` over the rows of W: the form ``Σ_j ∂^K u/∂x_j^K`` behind the layer."""

    order: int
    map: LinearMap

    def lines(self, x: Tensor) -> Directions:
        return Directions(self.order, self.map.rows())

    def count(self, x: Tensor) -> int:
        return len(self.map.weight)

    def some(self, x: Tensor, index: Tensor, scale: float) -> Directions:
        return Directions(self.order, self.map.rows(index), x.new_full((len(index),), scale))


def enter(u: Function, x: Tensor, operators: Sequence[object], estimator: Estimator) -> Entrance:
    """Behind the first layer if u is an `nn.Sequential` that begins with a linear one, else `Direct`.

    Behind `SharedBlocks` and a linear layer if nothing but exact or sparse Laplacians is asked for.
    """
    if (
        not isinstance(u, nn.Sequential)
        or not is_untouched(u, nn.Sequential)
        or not isinstance(x, Tensor)
        or torch.is_autocast_enabled(x.device.type)
    ):
        return Direct(u, x)
    first, rest = next(iter(u), None), tuple(u)[1:]
    if isinstance(first, SharedBlocks) and rest and is_untouched(first, SharedBlocks):
        following = _linear_map(rest[0])
        known = isinstance(estimator, Exact | SparseDirections) and all(map(is_laplacian, operators))
        if following is not None and known:
            sums = first.sums(x)
            t = torch.tanh(sums)
            return BehindBlocks(BehindLinear(following, rest[1:], t, following.values(t)), first, sums, x)
        return Direct(u, x)
    found = _linear_map(first)
    if found is None or x.shape[1] != len(found.weight):
        return Direct(u, x)
    return BehindLinear(found, rest, x, found.values(x))


def moved(entrance: Entrance, sweep: Sweep) -> Sweep:
    """Sums along given lines in x, seen from behind the entrance."""
    if isinstance(entrance, BehindLinear):
        return replace(sweep, vectors=entrance.map.along(sweep.vectors))
    return sweep


def _linear_map(layer: nn.Module | None) -> LinearMap | None:
    if isinstance(layer, WideLinear) and is_untouched(layer, WideLinear):
        return layer.map
    if isinstance(layer, nn.Linear) and is_untouched(layer, nn.Linear):
        return LinearMap(layer.weight.T, layer.bias)
    return None


def is_untouched(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether calling it does what its class says: no parametrization, no hook, no forward of a subclass."""
    return type(module).forward is kind.forward and not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or hasattr(module, "parametrizations")
    )


def _adds_up(layers: tuple[nn.Module, ...]) -> bool:
    """Whether they are ``Σ_k a_k f(z_k)``, of which mixed second derivatives are zero.

    Then ``Σ_r D²g[T_r, T_r] = Σ_k g_kk |W_k|²`` for columns W_k, and this is ``D²g[v, v]`` for the one
    direction with ``v_k = |W_k|``.
    """
    return (
        len(layers) == 2
        and isinstance(layers[0], _ELEMENTWISE)
        and any(is_untouched(layers[0], kind) for kind in _ELEMENTWISE)
        and _linear_map(layers[1]) is not None
    )


def is_laplacian(operator: object) -> bool:
    """Whether it is the form of the Laplacian in all variables."""
    return isinstance(operator, LineForm) and operator.order == 2 and _is_plain(operator)


def _is_plain(form: Form) -> bool:
    """Whether it is ``Σ_j ∂^K/∂x_j^K`` over all variables."""
    return type(form) is LineForm and form.vectors is None and form.weights is None


def _is_isotropic(form: Form) -> bool:
    """Whether it is the Laplacian, or a multiple of its square."""
    if isinstance(form, SquaredLaplacian):
        return form.stretch is None
    return is_laplacian(form)
