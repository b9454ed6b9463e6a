"""The attention of Transolver between slices, and a stream beside it in which nothing is bent."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor, nn

from sciml.operators.attention import in_heads, out_of_heads, slice_means
from sciml.operators.stencils import Beyond, Stencil

TEMPERATURE, COLDEST, HOTTEST = 0.5, 0.1, 5.0  # at the start, and bounds, of the authors' code for grids
CAREFUL = 0.5  # what a block adds to the linear stream at the start, over what is there, about


class PhysicsAttention(nn.Module):
    """``P`` of `sciml.operators.Transolver`.

    Parameters
    ----------
    width, heads, slices : int
    stencil : words or None
        As of `sciml.operators.Transolver`.

    Examples
    --------
    >>> PhysicsAttention(16, heads=2, slices=4)(torch.zeros(3, 50, 16)).shape
    torch.Size([3, 50, 16])
    """

    def __init__(self, width: int, heads: int, slices: int, stencil: Sequence[Beyond] | None = None) -> None:
        super().__init__()
        self.heads, size = heads, width // heads
        self.inward = nn.Linear(width, 2 * width) if stencil is None else Stencil(stencil, width, 2 * width)
        self.slicing = nn.Linear(size, slices)
        self.temperature = nn.Parameter(torch.full((heads, 1, 1), TEMPERATURE))
        self.inner = nn.Linear(size, 3 * size, bias=False)  # queries, keys, values of the tokens
        self.outward = nn.Linear(width, width)

    def forward(self, z: Tensor, mask: Tensor | None = None, space: tuple[int, ...] | None = None) -> Tensor:
        """(batch, point, width) -> the same; ``space`` is the shape of the grid for a stencil."""
        return self.along(z, mask, space)[0]

    def along(
        self,
        z: Tensor,
        mask: Tensor | None = None,
        space: tuple[int, ...] | None = None,
        stream: tuple[Linearly, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """As `forward`, and what values (batch, point, width) get that go the same way through their maps."""
        places, values = (in_heads(part, self.heads) for part in self._sent(z, space).chunk(2, dim=-1))
        size, weights = values.shape[-1], self.shares(places)
        if stream is not None:
            maps, v = stream
            values = torch.cat((values, in_heads(maps.inward(v), self.heads)), dim=-1)
        tokens = slice_means(weights, values, mask).to(z.dtype)
        query, key, value = self.inner(tokens[..., :size]).chunk(3, dim=-1)
        if stream is not None:
            value = torch.cat((value, maps.between(tokens[..., size:]).to(value.dtype)), dim=-1)
        found = (query @ key.mT / sqrt(size)).softmax(dim=-1) @ value
        found = weights.to(found.dtype) @ found
        result: Tensor = self.outward(out_of_heads(found[..., :size]))
        return result, None if stream is None else maps.outward(out_of_heads(found[..., size:]))

    def shares(self, places: Tensor) -> Tensor:
        """How far each point belongs to each slice, (batch, heads, point, slice); sums over slices are 1."""
        # The temperature divides the weights, of which a head has one set, and not the scores of every point.
        colder = 1 / self.temperature.clamp(COLDEST, HOTTEST)
        scores = places @ (self.slicing.weight.mT * colder) + self.slicing.bias * colder
        return scores.softmax(dim=-1)

    def _sent(self, z: Tensor, space: tuple[int, ...] | None) -> Tensor:
        """What every point sends: (batch, point, 2 width)."""
        if space is None or isinstance(self.inward, nn.Linear):
            sent: Tensor = self.inward(z)
            return sent
        field: Tensor = self.inward(z.mT.reshape(z.shape[0], z.shape[2], *space))
        return field.flatten(2).mT


class Linearly(nn.Module):
    """What a block does to the linear stream ``v``: with its slices, and with its hidden channels at points.

    Parameters
    ----------
    width, heads : int
    hidden : int
        Channels of the network at every point.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        size = width // heads
        self.inward, self.outward = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.inner = nn.Parameter(torch.empty(heads, size, size))
        self.up, self.down = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, width, bias=False)

    def between(self, tokens: Tensor) -> Tensor:
        """A map of the tokens (batch, heads, slice, size), in each head its own."""
        return tokens @ self.inner

    def at_points(self, hidden: Tensor, v: Tensor) -> Tensor:
        """``W (hidden ⊙ U v)``."""
        found: Tensor = self.down(hidden * self.up(v))
        return found

    def start(self) -> None:
        """Weights that keep the size of values, but for what is added to the stream."""
        nn.init.normal_(self.inner, std=self.inner.shape[-1] ** -0.5)
        for module, size in (
            (self.inward, 1.0),
            (self.up, 1.0),
            (self.outward, CAREFUL),
            (self.down, CAREFUL),
        ):
            preserving(module, size)


class Forced(nn.Module):
    """The ends of the linear stream: ``v = W ((1 + h) ⊙ E (b, 1))`` of forcing b, and means of ``G_o z ⊙ v``.

    Parameters
    ----------
    forcing, width, out : int
        Channels.
    """

    def __init__(self, forcing: int, width: int, out: int) -> None:
        super().__init__()
        self.out = out
        self.entrance = nn.Linear(forcing + 1, 2 * width, bias=False)
        self.inward, self.gate = nn.Linear(2 * width, width, bias=False), nn.Linear(width, out * width)

    def enter(self, hidden: Tensor, forcing: Tensor) -> Tensor:
        """(batch, point, 2 width) and (batch, point, forcing) -> (batch, point, width)."""
        forcing = torch.cat((forcing, torch.ones_like(forcing[..., :1])), dim=-1)
        v: Tensor = self.inward((1 + hidden) * self.entrance(forcing))
        return v

    def leave(self, z: Tensor, v: Tensor) -> Tensor:
        """(batch, point, width), both -> (batch, point, out)."""
        # A mean, not weights of its own: those would be small, and any usual rate too large for them.
        gates: Tensor = self.gate(z).unflatten(-1, (self.out, -1))
        return (gates * v.unsqueeze(-2)).mean(dim=-1)

    def start(self) -> None:
        """Weights that keep the size of values."""
        for module in (self.entrance, self.inward, self.gate):
            preserving(module)


def preserving(module: nn.Linear, size: float = 1.0) -> None:
    """Normal weights, cut off at two standard deviations, ``size`` over the root of the number of inputs."""
    spread = size * module.in_features**-0.5
    nn.init.trunc_normal_(module.weight, std=spread, a=-2 * spread, b=2 * spread)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
