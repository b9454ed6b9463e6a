"""Integrals of a learned kernel over neighborhoods, for operators on graphs of points."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import embedding, gelu, linear

from sciml.operators.cloud import Rows
from sciml.operators.measures import difference
from sciml.operators.neighbor_table import side_by_side

Arrays = tuple[NDArray[np.generic], ...]
Found = TypeVar("Found", bound=Arrays)

KEPT_BYTES = 2**28  # of neighbor lists in one model
PROJECTION_WIDTH = 128  # hidden units of the map to the output, as in the code of Kovachki et al.


@dataclass(frozen=True)
class Table:
    """For each receiving point the points that it takes from, filled up to the largest number.

    Attributes
    ----------
    index : (batch, receiver, slot) int64
        Positions of the giving points; any at fill.
    weights : (batch, receiver, slot)
        The part of the neighborhood that each giving point stands for: their sum is 1, with 0 at fill, and 0
        altogether for a receiver without neighbors.
    """

    index: Tensor
    weights: Tensor

    @classmethod
    def of(cls, pairs: Tensor, weights: Tensor, receivers: int, *, own: bool = False) -> Table:
        """The table of a list of pairs.

        Parameters
        ----------
        pairs : (batch, edge, 2) int64
            (receiving, giving), in any order, filled up with -1; one list may serve a whole batch.
        weights : (batch, giver)
            The measures of the giving points.
        receivers : int
        own : bool
            Whether receivers are givers and every point takes from itself too, listed or not.

        Examples
        --------
        >>> table = Table.of(torch.tensor([[[1, 0], [1, 2]]]), torch.tensor([[0.25, 0.5, 0.25]]), 3, own=True)
        >>> table.weights[0].tolist()
        [[1.0, 0.0, 0.0], [0.5, 0.25, 0.25], [1.0, 0.0, 0.0]]
        """
        lists = len(pairs)
        real = pairs[..., 0] >= 0
        if own:
            real = real & (pairs[..., 0] != pairs[..., 1])
        sample, edge = real.nonzero(as_tuple=True)
        receiving, giving = pairs[sample, edge].unbind(-1)
        index = side_by_side(sample * receivers + receiving, giving, lists * receivers)
        if own:
            first = torch.arange(receivers, device=index.device).repeat(lists)
            index = torch.cat((first[:, None], index), dim=1)
        index = index.reshape(lists, receivers, -1).expand(weights.shape[0], -1, -1)
        return cls._normalized(index, weights)

    @classmethod
    def everything(cls, weights: Tensor, receivers: int) -> Table:
        """Every receiver takes from all points."""
        index = torch.arange(weights.shape[1], device=weights.device)
        return cls._normalized(index.expand(weights.shape[0], receivers, -1), weights)

    @classmethod
    def _normalized(cls, index: Tensor, weights: Tensor) -> Table:
        table = cls(index.clamp_min(0), torch.where(index >= 0, 1.0, 0.0).to(weights.dtype))
        found = table.weights * table.take(weights[..., None])[..., 0]
        total = found.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(found.dtype).tiny)
        return cls(table.index, found / total)

    def take(self, values: Tensor) -> Tensor:
        """Values of the givers, (batch, giver, channel) -> (batch, receiver, slot, channel)."""
        batch, givers, _ = values.shape
        start = torch.arange(batch, device=values.device)[:, None, None] * givers
        return embedding(self.index + start, values.flatten(0, 1))

    def mean(self, values: Tensor) -> Tensor:
        """The mean over each neighborhood, (batch, giver, channel) -> (batch, receiver, channel)."""
        return (self.weights[:, :, None] @ self.take(values))[:, :, 0]


class Basis(nn.Module):
    """The hidden layers of an MLP and the constant 1: what its last, affine layer combines.

    Parameters
    ----------
    features : int
    hidden : sequence of int
        Width of each hidden layer; without any the features themselves are the basis.
    places : sequence of int
        Which features are coordinates in the unit box, or steps: their weights start sqrt(12) times larger,
        so that they count as much as normalized values.

    Examples
    --------
    >>> Basis(3, (8, 16))(torch.zeros(5, 3)).shape
    torch.Size([5, 17])
    """

    def __init__(self, features: int, hidden: Sequence[int], places: Sequence[int] = ()) -> None:
        super().__init__()
        sizes = (features, *hidden)
        self.size = sizes[-1] + 1
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        if hidden and places:
            with torch.no_grad():
                self.layers[0].get_parameter("weight")[:, list(places)] *= sqrt(12)

    def forward(self, features: Tensor) -> Tensor:
        """(..., features) -> (..., size)."""
        for layer in self.layers:
            features = gelu(layer(features))
        return torch.cat((features, torch.ones_like(features[..., :1])), dim=-1)


class KernelIntegral(nn.Module):
    r"""``(K v)(x) = 1/|N(x)| ∫_{N(x)} κ(x, y - x, a(x), a(y)) v(y) dμ(y)``, κ a matrix given by an MLP.

    Parameters
    ----------
    channels : int
        Of a.
    width : int
        Channels of v before and after.
    periodic : one truth value per axis
        Whether y is the nearest image of the giving point along the axis.
    reach : float
        Unit in which the MLP sees ``y - x``, such as the radius of the neighborhood.
    hidden : sequence of int
        Hidden layers of the MLP.

    Notes
    -----
    The last layer of the MLP is affine, ``κ = Σ_h W_h b_h(x, y, ...)``, so that ``K v = Σ_h W_h ∫ b_h v dμ``:
    moments first, the weights once for each point. That equals the sum over edges of matrices, and spares
    them: with k neighbors, H basis functions and w channels k H w + H w² products for a point instead of
    k H w² + k w².
    """

    def __init__(
        self,
        channels: int,
        width: int,
        hidden: Sequence[int],
        periodic: Sequence[bool],
        *,
        reach: float = 1.0,
    ) -> None:
        super().__init__()
        self.periodic, self.reach = tuple(periodic), reach
        rank, half = len(self.periodic), len(self.periodic) + channels
        self.basis = Basis(2 * half, hidden, [*range(rank), *range(half, half + rank)])
        bound = 1 / sqrt(width * self.basis.size)
        self.weight = nn.Parameter(torch.empty(width, self.basis.size, width).uniform_(-bound, bound))

    def functions(self, table: Table, to: Rows, start: Rows) -> Tensor:
        """The basis on all edges times their weights, (batch, receiver, slot, size): once for many v."""
        here, slots = to.coordinates[:, :, None], table.index.shape[2]
        step = difference(table.take(start.coordinates), here, self.periodic) / self.reach
        own = torch.cat((here, to.values[:, :, None]), dim=-1).expand(-1, -1, slots, -1)
        features = torch.cat((own, step, table.take(start.values)), dim=-1)
        basis: Tensor = self.basis(features)
        return basis * table.weights[..., None]

    def forward(self, v: Tensor, table: Table, functions: Tensor) -> Tensor:
        """(batch, giver, width) -> (batch, receiver, width)."""
        moments = functions.mT @ table.take(v)
        return linear(moments.flatten(2), self.weight.flatten(1))


def two_layers(into: int, hidden: int, out: int) -> nn.Sequential:
    """The same map at every point, with one hidden layer."""
    return nn.Sequential(nn.Linear(into, hidden), nn.GELU(), nn.Linear(hidden, out))


def edge_functions(integral: nn.Module, table: Table, to: Rows, start: Rows) -> Tensor:
    """`KernelIntegral.functions` of a module that is known to be one."""
    assert isinstance(integral, KernelIntegral)
    return integral.functions(table, to, start)


def real_points(rows: Rows) -> list[tuple[Tensor, NDArray[np.int64]]]:
    """The real points of each sample and their positions in it; once, if all samples have the same."""
    places, mask = rows.coordinates, rows.mask
    if mask is not None and not bool(mask.all()):
        return [(p[m], m.nonzero()[:, 0].cpu().numpy()) for p, m in zip(places, mask, strict=True)]
    different = list(places[:1]) if bool((places == places[:1]).all()) else list(places)
    return [(p, np.arange(len(p))) for p in different]


class Kept(Generic[Found]):
    """What a rule finds for sets of points, kept for those seen last.

    Parameters
    ----------
    rule : callable
        Coordinates (point, rank) in float64 to a tuple of arrays.

    Examples
    --------
    >>> kept = Kept(lambda points: (points + 1,))
    >>> kept.of(torch.zeros(1, 2))[0] is kept.of(torch.zeros(1, 2))[0]
    True
    """

    def __init__(self, rule: Callable[[NDArray[np.float64]], Found]) -> None:
        self.rule = rule
        self._found: OrderedDict[bytes, Found] = OrderedDict()
        self._bytes = 0

    def of(self, coordinates: Tensor) -> Found:
        """The arrays for real points (point, rank)."""
        points = coordinates.detach().cpu().double().contiguous().numpy()
        key = hashlib.blake2b(points.tobytes() + bytes(str(points.shape), "ascii"), digest_size=16).digest()
        if key not in self._found:
            self._found[key] = self.rule(points)
            self._bytes += _size(self._found[key])
            while self._bytes > KEPT_BYTES and len(self._found) > 1:
                self._bytes -= _size(self._found.popitem(last=False)[1])
        self._found.move_to_end(key)
        return self._found[key]


def _size(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays)
