"""GNOT: points attend to any number of input functions, and experts share the domain among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.mesh import PointSet
from sciml.operators.attention import (
    ResidualMLP,
    check_heads,
    in_heads,
    mlp,
    normalized_attention,
    out_of_heads,
    with_waves,
)
from sciml.operators.box import check_counts, check_queries
from sciml.operators.cloud import Cloud
from sciml.operators.properties import Properties

if TYPE_CHECKING:
    from sciml.grid import Grid

Source = tuple[Tensor, Tensor | None]
"""Features of an input function (batch, point, width), and which points are real."""


@describable
@dataclass(frozen=True)
class Gated:
    """The blocks of a `GNOT`.

    Parameters
    ----------
    depth : int
        Blocks.
    heads : int
        Of the attention; they divide the width.
    experts : int
        Networks among which the domain is shared, by a gate that sees coordinates alone. One has no gate.
    encoder : int
        Residual layers of the networks that encode points and input functions, and of the last one.
    expansion : int
        Hidden channels of an expert over the width.
    waves : int
        The place of a point is told by its coordinates and, along every axis, sine and cosine of π k ξ for k
        from 1 to this number.

    Raises
    ------
    ConfigError
        If a number is below 1, of waves below 0.
    """

    depth: int = 3
    heads: int = 1
    experts: int = 1
    encoder: int = 3
    expansion: int = 4
    waves: int = 0

    def __post_init__(self) -> None:
        check_counts("Gated", {**asdict(self), "waves": self.waves + 1})


published: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "paper": (
        {"width": 128, "layers": Gated(depth=3, heads=1, experts=1)},
        "Hao et al., ICML 2023: the command of the authors' repository",
    ),
    "benchmark": (
        {"width": 128, "layers": Gated(depth=3, heads=8, experts=3)},
        "later benchmarks of transformers for PDEs: eight heads, three experts",
    ),
}
"""Arguments of published set-ups, and where they are from."""


@describable
class GNOT(nn.Module):
    r"""General neural operator transformer: heterogeneous normalized attention and geometric gating.

    Query points z (location, the input there, numbers of the sample) and each of m input functions y_i
    (rows of location and values) are encoded by a residual network each. With the queries and keys of each
    head made positive, ``q = softmax(W_q z)``, ``k = softmax(W_k^i y_i)`` over features, ``v = W_v^i y_i``,

    ``A(z)_t = q_t + (1/m) Σ_i Σ_s (q_t · k_is) v_is / Σ_s (q_t · k_is)``

    is a mean over the points of every input function, in time linear in all of them. A block is

    ``z ↦ z + W A(N z; N y_1 .. N y_m)``, ``z ↦ z + N E(z)``, ``z ↦ z + W' A(N z; N z)``, ``z ↦ z + N E'(z)``

    with layer normalization N and experts ``E(z) = Σ_k G_k(ξ) E_k(z)`` weighted by ``G = softmax(MLP(ξ))``
    of the coordinates ξ alone: a soft decomposition of the domain.

    Parameters
    ----------
    rank : int
        Coordinates of a point.
    in_channels, out_channels : int
        Channels of the input (there may be none) and of the output, coordinates not counted.
    width : int
        Hidden channels.
    layers : Gated or int
        A number is the depth of `Gated`.
    parameters : int
        Numbers of each sample.
    functions : sequence of int
        For each input function on points of its own the length of its rows: coordinates and values. The first
        input function is always the input at the points themselves.
    local : bool
        Whether a query knows the input at its own point. Without, values enter by attention alone, as in the
        paper, and outputs may be asked for at other points (``queries``).

    Attributes
    ----------
    requires : tuple of str
        The extras that this instance cannot do without.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Complexity: O((N + Σ N_i) width^2 / heads) for attention; no matrix of points by points. Values do not
    depend on the order of points, nor on how often all of them are repeated, nor on padding: keys are 0
    there, and what stood there is cleared first. Means over points are means with respect to their density,
    so that outputs converge as a grid or a mesh is refined evenly.

    What differs from the authors' code: padding is masked (a prediction there depends on the batch it sits
    in); the mean over input functions, as in the paper, where the code has a sum; one gate for each block.

    Source: Hao et al., *GNOT: A General Neural Operator Transformer for Operator Learning*, ICML 2023
    (arXiv:2302.14376), sections 3.2 to 3.4.

    Examples
    --------
    >>> model = GNOT(2, in_channels=1, out_channels=1, width=32, layers=Gated(depth=2, experts=2))
    >>> model(torch.zeros(4, 100, 1), torch.rand(4, 100, 2)).shape
    torch.Size([4, 100, 1])
    >>> model(torch.zeros(4, 1, 8, 8), torch.rand(4, 2, 8, 8)).shape
    torch.Size([4, 1, 8, 8])
    """

    properties = Properties(
        needs_grid=False, periodic=False, resolution_bound=False, linear=False, exports=True
    )

    def __init__(
        self,
        rank: int,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 128,
        layers: Gated | int = 3,
        parameters: int = 0,
        functions: Sequence[int] = (),
        local: bool = True,
    ) -> None:
        super().__init__()
        self.layers = layers if isinstance(layers, Gated) else Gated(layers)
        check_counts("GNOT", {"out_channels": out_channels, "width": width})
        check_heads("GNOT", width, self.layers.heads)
        self.rank, self.in_channels, self.out_channels = rank, in_channels, out_channels
        self.cloud = Cloud("GNOT", rank, in_channels, parameters=parameters, functions=functions)
        self.local, self.requires = local, self.cloud.requires

        def network(into: int, out: int) -> ResidualMLP:
            return ResidualMLP(into, width, out, layers=self.layers.encoder)

        place = rank * (1 + 2 * self.layers.waves)
        sources = (place + in_channels, *self.cloud.functions)
        self.trunk = network(place + (in_channels if local else 0) + parameters, width)
        self.branches = nn.ModuleList(network(size, width) for size in sources)
        self.blocks = nn.ModuleList(
            _Block(width, rank, len(sources), self.layers) for _ in range(self.layers.depth)
        )
        self.exit = network(width, out_channels)

    def forward(
        self,
        x: Tensor,
        coordinates: Tensor | None = None,
        mask: Tensor | None = None,
        parameters: Tensor | None = None,
        functions: Sequence[PointSet] | None = None,
        queries: Tensor | None = None,
    ) -> Tensor:
        """Apply the operator.

        Parameters
        ----------
        x : (batch, point, in_channels) or (batch, in_channels, *space) real
            Normalized input, on points or on a grid.
        coordinates : (batch, point, rank) or (batch, rank, *space)
            With the domain scaled to the unit box.
        mask : (batch, point) bool, optional
            True at points, False at padding.
        parameters : (batch, p), optional
        functions : sequence of PointSet, optional
            Needed if the model was built for some, else ignored, as parameters are.
        queries : (batch, query, rank), optional
            Where outputs are asked for, if not at the points; of models with ``local=False``.

        Returns
        -------
        (batch, point, out_channels), (batch, out_channels, *space) or (batch, query, out_channels)
            0 at padding.

        Raises
        ------
        ShapeError
            If a shape does not fit, or something needed is missing.
        ConfigError
            If there are queries and the model wants to know the input there.
        """
        rows = self.cloud.enter(x, coordinates, mask)
        given = [
            (torch.cat((with_waves(rows.coordinates, self.layers.waves), rows.values), dim=-1), rows.mask)
        ]
        given += self.cloud.rows_of(functions, x.dtype)
        sources = [(net(y), real) for net, (y, real) in zip(self.branches, given, strict=True)]
        places = rows.coordinates if queries is None else self._asked(queries, x)
        told = with_waves(places, self.layers.waves)
        seen = (told, rows.values) if self.local else (told,)
        # The sum over blocks stays in the precision of the input, also under autocast.
        z = self.trunk(self.cloud.at_every_point(seen, parameters)).to(x.dtype)
        for block in self.blocks:
            z = block(z, sources, places, rows.mask if queries is None else None)
        u: Tensor = self.exit(z)
        return rows.back(u) if queries is None else u

    def _asked(self, queries: Tensor, x: Tensor) -> Tensor:
        if self.local:
            raise ConfigError("GNOT: the input is not known at queries; build the model with local=False.")
        check_queries("GNOT", x.shape[0], self.rank, queries)
        return queries.to(x.dtype)

    @staticmethod
    def suited(grid: Grid) -> dict[str, Any]:
        """Arguments to start from on a training grid: small, for training on a few cores.

        Examples
        --------
        >>> from sciml.grid import Grid
        >>> GNOT.suited(Grid.box((64, 64)))["width"]
        64
        """
        return {"width": 64, "layers": Gated(depth=2, heads=4, experts=2, encoder=2, expansion=2)}

    @staticmethod
    def suited_points() -> dict[str, Any]:
        """Arguments to start from on points and meshes: those of grids, and waves."""
        layers = Gated(depth=2, heads=4, experts=2, encoder=2, expansion=2, waves=4)
        return {"width": 64, "layers": layers}

    @staticmethod
    def small(rank: int, in_channels: int, out_channels: int) -> GNOT:
        """A tiny instance that trains in seconds, for tests."""
        layers = Gated(depth=1, heads=2, experts=2, encoder=1, expansion=2, waves=2)
        return GNOT(rank, in_channels, out_channels, width=32, layers=layers)


class _Block(nn.Module):
    """Attention to the inputs, experts, attention to each other, experts."""

    def __init__(self, width: int, rank: int, sources: int, layers: Gated) -> None:
        super().__init__()
        self.gate = ResidualMLP(rank, width, layers.experts, layers=1) if layers.experts > 1 else None
        self.across, self.among = (_Attention(width, count, layers.heads) for count in (sources, 1))
        self.norm, self.norm_among = nn.LayerNorm(width), nn.LayerNorm(width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(sources))
        self.experts = nn.ModuleList(_Experts(width, layers) for _ in range(2))

    def forward(self, z: Tensor, sources: Sequence[Source], places: Tensor, mask: Tensor | None) -> Tensor:
        shares = None if self.gate is None else self.gate(places).softmax(dim=-1)
        first, second = self.experts
        seen = [(norm(y), real) for norm, (y, real) in zip(self.norms, sources, strict=True)]
        z = z + self.across(self.norm(z), seen)
        z = z + first(z, shares)
        normed = self.norm_among(z)
        z = z + self.among(normed, [(normed, mask)])
        total: Tensor = z + second(z, shares)
        return total


class _Attention(nn.Module):
    """``W A(z; y_1 .. y_m)``."""

    def __init__(self, width: int, sources: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.outward = nn.Linear(width, width), nn.Linear(width, width)
        self.inward = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(sources))  # keys, values

    def forward(self, z: Tensor, sources: Sequence[Source]) -> Tensor:
        query = in_heads(self.query(z), self.heads).softmax(dim=-1)
        means = []
        for inward, (y, mask) in zip(self.inward, sources, strict=True):
            key, value = (in_heads(part, self.heads) for part in inward(y).chunk(2, dim=-1))
            means.append(normalized_attention(query, key.softmax(dim=-1), value, mask))
        found: Tensor = self.outward(out_of_heads(query + sum(means) / len(means)))
        return found


class _Experts(nn.Module):
    """``N Σ_k G_k E_k(z)``; of one expert G is 1."""

    def __init__(self, width: int, layers: Gated) -> None:
        super().__init__()
        hidden = layers.expansion * width
        self.experts = nn.ModuleList(mlp(width, hidden, width) for _ in range(layers.experts))
        self.norm = nn.LayerNorm(width)

    def forward(self, z: Tensor, shares: Tensor | None) -> Tensor:
        outputs = [expert(z) for expert in self.experts]
        if shares is not None:
            outputs = [share * output for share, output in zip(shares.split(1, -1), outputs, strict=True)]
        found: Tensor = self.norm(sum(outputs))
        return found
