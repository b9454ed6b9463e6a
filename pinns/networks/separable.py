"""Separable networks: one network for each coordinate, and sums of products of their outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from itertools import accumulate
from math import prod

import torch
from torch import Tensor, nn

from sciml.description import describable
from sciml.errors import ConfigError, ShapeError
from sciml.kernels.jet import Jet
from sciml.pinns.networks.mlp import MLP


@describable
class SPINN(nn.Module):
    r"""``u(x) = sum_r prod_d f_dr(x_d)``: a network f_d of one coordinate each, with ``rank`` outputs.

    Where the points are a grid, N points on each of d axes, the networks are evaluated at ``d N`` numbers
    instead of ``N^d`` points, with all derivatives, and what is left is a product of small matrices.  A
    batch is recognized as a grid where it is one, as from the samplers `RandomGrid` and `GridPoints`; on
    other points the same function costs as much as d networks.

    Parameters
    ----------
    inputs, outputs : int
    rank : int
        Summands of each output.
    groups : tuple of int, optional
        How many neighboring inputs are features of one coordinate: ``(2, 1)`` if the first coordinate comes
        as cosine and sine, as periodic ones do from `Coordinates`.  By default each input is a coordinate.
    network : factory
        Of the f_d, called as ``network(size of group, rank * outputs)``.

    Raises
    ------
    ConfigError
        If a size is below 1, or groups do not add up to inputs.

    Notes
    -----
    Source: Cho, Nam, Yang, Yun, Hong and Park, Separable physics-informed neural networks, NeurIPS 2023,
    arXiv:2306.15969.  There points are always grids, and derivatives are taken in forward mode.

    The networks see ``x + 1``: those of tanh start as odd functions, and a product of odd functions of
    centered coordinates has no gradient towards one that is even in two of them, a saddle that training
    leaves slowly.

    Examples
    --------
    >>> network = SPINN(2, 1, rank=4)
    >>> axes = torch.linspace(-1, 1, 5), torch.linspace(-1, 1, 3)
    >>> network.on_grid(axes).shape
    torch.Size([5, 3, 1])
    >>> torch.allclose(network(torch.cartesian_prod(*axes)), network.on_grid(axes).reshape(15, 1), atol=1e-6)
    True
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        rank: int = 32,
        groups: tuple[int, ...] | None = None,
        network: Callable[[int, int], nn.Module] = partial(MLP, width=30, depth=3),  # noqa: B008
    ) -> None:
        super().__init__()
        sizes = (1,) * inputs if groups is None else tuple(groups)
        if min(inputs, outputs, rank, *sizes) < 1 or sum(sizes) != inputs:
            raise ConfigError(
                "SPINN: inputs, outputs, rank and groups must be at least 1 and groups add up to inputs, got "
                f"{inputs}, {outputs}, {rank} and {sizes}."
            )
        self.outputs, self.rank, self.groups = outputs, rank, sizes
        self.networks = nn.ModuleList(network(size, rank * outputs) for size in sizes)

    def forward(self, x: Tensor) -> Tensor:
        axes = _axes(x, self.groups)
        if axes is not None:
            return self._on_axes(axes).reshape(-1, self.outputs)
        parts = x.split(self.groups, 1)
        factors = self._factors(parts)
        value: Tensor = reduce(torch.mul, factors).unflatten(1, (self.outputs, self.rank)).sum(-1)
        return value

    def on_grid(self, axes: Sequence[Tensor]) -> Tensor:
        """u at the points of a grid, whatever their number, (n_1, ..., n_d, outputs).

        Parameters
        ----------
        axes : d tensors (n_i,), or (n_i, size of group)

        Raises
        ------
        ShapeError
            If there are not as many axes as coordinates.
        """
        if len(axes) != len(self.groups):
            raise ShapeError(f"SPINN: a grid has {len(self.groups)} axes here, got {len(axes)}.")
        return self._on_axes([axis[:, None] if axis.ndim == 1 else axis for axis in axes])

    def _factors(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """The f_d, (n_d, outputs * rank) each."""
        return [network(part + 1.0) for network, part in zip(self.networks, parts, strict=True)]

    def _on_axes(self, axes: Sequence[Tensor]) -> Tensor:
        # (outputs, n_i, rank)
        factors = [f.unflatten(1, (self.outputs, self.rank)).transpose(0, 1) for f in self._factors(axes)]
        if len(factors) == 1:
            total = factors[0].sum(-1)
        else:
            *first, last = factors
            # The last axis by a product of matrices: no tensor of all points and ranks.
            rows = reduce(lambda a, b: (a[:, :, None] * b[:, None]).flatten(1, 2), first)
            total = rows @ last.transpose(1, 2)
        value: Tensor = total.reshape(self.outputs, *(len(axis) for axis in axes)).movedim(0, -1)
        return value


def _axes(x: Tensor, groups: Sequence[int]) -> list[Tensor] | None:
    """The axes (n_i, size) if the points (n, inputs) are those of a grid, first axis slowest, and of more
    than one axis.

    None too where rows may not stand for each other: points that gradients go to, and traced ones.
    """
    jet = isinstance(x, Jet)
    columns = [x.value[None], x.rest] if jet else [x[None]]  # type: ignore[attr-defined]
    if (
        len(x) < 4
        or any(c.requires_grad for c in columns)
        or torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
    ):
        return None
    ends = list(accumulate(groups))
    places = [slice(end - size, end) for size, end in zip(groups, ends, strict=True)]
    points = columns[0][0]
    shape = _shape(points, places)
    if sum(size > 1 for size in shape) < 2 or prod(shape) != len(points):
        return None
    axes = []
    for i, place in enumerate(places):
        stride = prod(shape[i + 1 :])
        for column in columns:
            if column.shape[1] == 1:  # directions that all points share
                continue
            on_grid = column[..., place].reshape(len(column), -1, shape[i], stride, groups[i])
            if not torch.equal(on_grid, on_grid[:, :1, :, :1].expand_as(on_grid)):
                return None
        axes.append(x[: stride * shape[i] : stride, place])
    return axes


def _shape(points: Tensor, places: Sequence[slice]) -> list[int]:
    """How many rows pass until the last coordinate is what it was at first, until the one before is, ..."""
    shape: list[int] = []
    for place in reversed(places):
        again = (points[:: prod(shape), place] == points[0, place]).all(1)[1:].nonzero()
        shape.insert(0, int(again[0]) + 1 if len(again) else -(-len(points) // prod(shape)))
    return shape
