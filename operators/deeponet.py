"""Deep operator networks: a branch that reads the input, a trunk that knows the place, and their product."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sciml.description import describable
from sciml.operators.box import Box, check_counts, per_axis
from sciml.operators.properties import Properties
from sciml.operators.sensors import Sensors, as_sensors, points_of

if TYPE_CHECKING:
    from sciml.grid import Grid

_MOST_SENSORS = 4096  # on a training grid with more points, a coarser one is read

published: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "antiderivative": (
        {"sensors": Sensors(100, "node"), "width": 40, "depth": 2, "activation": nn.ReLU},
        "DeepXDE, example antiderivative_aligned: branch 100-40-40, trunk 1-40-40",
    ),
    "burgers": (
        {"sensors": Sensors(128, "node", True), "width": 128, "depth": (4, 3), "activation": nn.Tanh},
        "Lu et al. 2022 (arXiv:2111.05512), the authors' code: branch 128-128-128-128-128, "
        "trunk 4-128-128-128",
    ),
}
"""Arguments of `DeepONet` in published set-ups for one axis and one channel, with their sources."""


@describable
class DeepONet(nn.Module):
    r"""Deep operator network: ``u_o(ξ) = Σ_k b_ok(a) t_ok(ξ) + c_o``.

    The branch b sees the input field at fixed `Sensors`, ``b = A_l σ A_{l-1} ⋯ σ A_1 (a(s_1), ..., a(s_m))``,
    the trunk t sees a place, ``t = σ B_l ⋯ σ B_1 φ(ξ)``: with its last activation, and φ the coordinates in
    [-1, 1], or waves along periodic axes. A and B are affine, σ the activation. All outputs share both
    networks up to their last layers, which have ``width`` functions k for every output o.

    Parameters
    ----------
    rank : int
        Axes of the grid on which inputs come, and coordinates of a place.
    in_channels, out_channels : int
        Channels of the input and of the output field, coordinates not counted.
    sensors : Sensors, int or one int per axis
        Where inputs are read; numbers are counts of cells of a bounded domain. `suited` takes those of the
        training grid.
    width : int
        Width of the hidden layers, and functions k for every output.
    depth : int or pair
        Affine layers of the branch and of the trunk.
    linear : bool
        Whether the branch is one matrix and c is 0: then u depends linearly on a, and the instance says so
        in its ``properties``.
    activation : class
        Of a module without parameters, such as ``nn.Tanh``.

    Attributes
    ----------
    requires : tuple of str
        ``("coordinates",)``.

    Raises
    ------
    ConfigError
        If a setting is out of range, or sensors have another number of axes.

    Notes
    -----
    Resolution: inputs may come on any grid, from which they are interpolated linearly to the sensors, with
    an error O(h²) for smooth fields, and none where points and sensors coincide. Outputs are functions of
    the place. So outputs on finer grids converge (not `resolution_bound`), but no more detail of the input is
    seen than the sensors resolve. A training grid coarser than the sensors is refused (`check_grid`).

    Cost: where all samples are asked for at the same places, as on a grid, the trunk is evaluated once for
    the batch. Weights start Glorot normal, biases 0, as in the authors' code.

    Of the four ways to have several outputs in the second source, this splits the last layers of both
    networks.

    Source: Lu, Jin, Pang, Zhang, Karniadakis, Nature Machine Intelligence 3 (2021) 218-229, the unstacked
    network with bias (arXiv:1910.03193); activation of the trunk's last layer, waves and several outputs as
    in Lu et al., Comput. Methods Appl. Mech. Engrg. 393 (2022) 114778 (arXiv:2111.05512).

    Examples
    --------
    >>> from sciml.grid import Grid
    >>> model = DeepONet(2, in_channels=1, out_channels=1, sensors=16, width=64)
    >>> ξ = torch.as_tensor(Grid.box((32, 32)).unit_coordinates(), dtype=torch.float32).expand(5, -1, -1, -1)
    >>> model(torch.zeros(5, 1, 32, 32), ξ).shape
    torch.Size([5, 1, 32, 32])
    >>> model(torch.zeros(5, 1, 32, 32), ξ, queries=torch.rand(5, 100, 2)).shape
    torch.Size([5, 100, 1])
    """

    properties = Properties(
        needs_grid=True, periodic=False, resolution_bound=False, linear=False, exports=True
    )

    def __init__(
        self,
        rank: int,
        in_channels: int,
        out_channels: int,
        *,
        sensors: Sensors | int | Sequence[int],
        width: int = 128,
        depth: int | Sequence[int] = 4,
        linear: bool = False,
        activation: Callable[[], nn.Module] = nn.GELU,
    ) -> None:
        super().__init__()
        who = type(self).__name__
        depths = per_axis(who, "depth", depth, 2)
        counts = {"rank": rank, "in_channels": in_channels, "out_channels": out_channels}
        check_counts(who, {**counts, "width": width, "depth": min(depths)})
        self.rank, self.in_channels, self.out_channels = rank, in_channels, out_channels
        self.box = Box(who, rank, in_channels, coordinates=True, padding=0.0)
        self.sensors = as_sensors(who, sensors, rank)
        self.requires: tuple[str, ...] = ("coordinates",)
        if linear:
            self.properties = replace(type(self).properties, linear=True)
        self.branch, self.trunk = self._networks(width, depths, linear, activation)
        self.bias = None if linear else nn.Parameter(torch.zeros(out_channels))

    def _networks(
        self, width: int, depths: Sequence[int], linear: bool, activation: Callable[[], nn.Module]
    ) -> tuple[nn.Module, nn.Module]:
        """Branch and trunk: (..., inputs) -> (..., out_channels, functions)."""
        seen, last = self.in_channels * self.sensors.count, width * self.out_channels
        hidden = [[width] * (1 if linear and number == 0 else n) for number, n in enumerate(depths)]
        branch, trunk = ([*sizes[:-1], last] for sizes in hidden)
        return (
            _Layers([seen, *branch], self.out_channels, activation, linear=linear, plain_end=True),
            _Layers([self.sensors.features, *trunk], self.out_channels, activation),
        )

    def forward(self, x: Tensor, coordinates: Tensor | None = None, queries: Tensor | None = None) -> Tensor:
        """Apply the operator.

        Parameters
        ----------
        x : (batch, in_channels, *space) real
            Normalized input fields.
        coordinates : (batch, rank, *space)
            `Grid.unit_coordinates`.
        queries : (batch, point, rank), optional
            Places in the unit box at which outputs are asked for, instead of the points of the grid.

        Returns
        -------
        (batch, out_channels, *space), or (batch, point, out_channels) at queries

        Raises
        ------
        ShapeError
            If a shape does not fit, or coordinates are missing.
        """
        self.box.check(x, coordinates)
        assert coordinates is not None
        b = self.branch(self.sensors.read(x, coordinates).flatten(1))
        points = points_of(self.box.who, self.rank, coordinates, queries)
        t = self.trunk(self.sensors.features_of(points.to(x.dtype)))
        # The trunk's batch is 1 where all samples have their places in common: then it is one product.
        equation = "bok,nok->bno" if t.shape[0] == 1 else "bok,bnok->bno"
        u = torch.einsum(equation, b, t[0] if t.shape[0] == 1 else t)
        u = u if self.bias is None else u + self.bias
        return u if queries is not None else u.mT.reshape(x.shape[0], self.out_channels, *x.shape[2:])

    def check_grid(self, shape: Sequence[int]) -> None:
        """Refuse a training grid that is coarser than the sensors.

        Raises
        ------
        ShapeError
            As `Sensors.check_grid`.
        """
        self.sensors.check_grid(self.box.who, shape)

    @classmethod
    def suited(cls, grid: Grid) -> dict[str, Any]:
        """Arguments to start from on a training grid: sensors at its points, or at 4096 at most.

        Examples
        --------
        >>> from sciml.grid import Grid
        >>> DeepONet.suited(Grid.box((16, 16)))["sensors"].shape
        (16, 16)
        """
        return {"sensors": Sensors.on(grid, _MOST_SENSORS)}

    @staticmethod
    def small(rank: int, in_channels: int, out_channels: int) -> DeepONet:
        """A tiny instance that trains in seconds, for tests."""
        sensors = Sensors((5,) * rank, "node", periodic=True)
        return DeepONet(rank, in_channels, out_channels, sensors=sensors, width=64, depth=(2, 4))


@describable
class MultiONet(DeepONet):
    r"""`DeepONet` with a product at every layer: ``u_o(ξ) = (1/L) Σ_l w_l Σ_k b^l_ok(a) t^l_ok(ξ) + c_o``.

    Branch and trunk have L + 1 layers of equal width, ``b^l = σ A_l b^{l-1}`` and ``t^l = σ B_l t^{l-1}``;
    the first, ``b^0 = σ A_0 a``, ``t^0 = σ B_0 φ(ξ)``, takes no part in a product.

    Parameters
    ----------
    rank, in_channels, out_channels, sensors, linear, activation
        As of `DeepONet`; with ``linear=True`` the branch has neither activations nor biases.
    width : int
        Functions k for every output in each layer, all of which are ``width * out_channels`` wide.
    depth : int
        L, the number of products.

    Raises
    ------
    ConfigError
        If a setting is out of range, or sensors have another number of axes.

    Notes
    -----
    What differs from the authors' code: the weights w start at 1, not at 0, where no other parameter has a
    gradient; activations are the same in branch and trunk; several outputs share the layers and have
    functions of their own in each.

    Source: Zang, Koutsourelakis, *DGenNO: a novel physics-aware neural operator for solving forward and
    inverse PDE problems based on deep, generative probabilistic modeling*, 2025 (arXiv:2502.06250), and
    the authors' code.

    Examples
    --------
    >>> model = MultiONet(1, in_channels=1, out_channels=1, sensors=32, width=64, depth=3)
    >>> sum(p.numel() for p in model.parameters())  # 32-64-64-64-64, 1-64-64-64-64, three weights, one bias
    27204
    """

    def __init__(
        self,
        rank: int,
        in_channels: int,
        out_channels: int,
        *,
        sensors: Sensors | int | Sequence[int],
        width: int = 64,
        depth: int = 4,
        linear: bool = False,
        activation: Callable[[], nn.Module] = nn.GELU,
    ) -> None:
        super().__init__(
            rank,
            in_channels,
            out_channels,
            sensors=sensors,
            width=width,
            depth=depth,
            linear=linear,
            activation=activation,
        )

    def _networks(
        self, width: int, depths: Sequence[int], linear: bool, activation: Callable[[], nn.Module]
    ) -> tuple[nn.Module, nn.Module]:
        count, outputs = depths[0], self.out_channels
        seen, sizes = self.in_channels * self.sensors.count, [width * outputs] * (count + 1)
        return (
            _WeightedMean(_Layers([seen, *sizes], outputs, activation, linear=linear, read=count), count),
            _Layers([self.sensors.features, *sizes], outputs, activation, read=count),
        )

    @staticmethod
    def small(rank: int, in_channels: int, out_channels: int) -> MultiONet:
        """A tiny instance that trains in seconds, for tests."""
        sensors = Sensors((5,) * rank, "node", periodic=True)
        return MultiONet(rank, in_channels, out_channels, sensors=sensors, width=24, depth=3)


class _Layers(nn.Module):
    """``σ A_l ⋯ σ A_1 x``, of which the outputs of the last ``read`` layers are given, side by side.

    (..., inputs) -> (..., groups, read * sizes[-1] / groups).  ``linear``: neither activations nor biases;
    ``plain_end``: no activation after the last layer.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        groups: int,
        activation: Callable[[], nn.Module],
        *,
        linear: bool = False,
        plain_end: bool = False,
        read: int = 1,
    ) -> None:
        super().__init__()
        self.groups, self.read = groups, read
        pairs = list(pairwise(sizes))
        self.layers = nn.ModuleList(nn.Linear(into, out, bias=not linear) for into, out in pairs)
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            nn.init.xavier_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        plain = [linear or (plain_end and number == len(pairs)) for number in range(1, len(pairs) + 1)]
        self.activations = nn.ModuleList(nn.Identity() if still else activation() for still in plain)

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for layer, activation in zip(self.layers, self.activations, strict=True):
            x = activation(layer(x))
            found.append(x)
        return torch.cat([y.unflatten(-1, (self.groups, -1)) for y in found[-self.read :]], dim=-1)


class _WeightedMean(nn.Module):
    """``count`` parts of the last axis, each times its weight and over their number."""

    def __init__(self, parts: nn.Module, count: int) -> None:
        super().__init__()
        self.parts, self.weights = parts, nn.Parameter(torch.ones(count))

    def forward(self, x: Tensor) -> Tensor:
        found = self.parts(x)
        scale = self.weights / len(self.weights)
        scaled: Tensor = found * scale.repeat_interleave(found.shape[-1] // len(self.weights))
        return scaled
