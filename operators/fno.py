"""The Fourier neural operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from sciml.description import describable
from sciml.kernels.layer import spectral_layer
from sciml.operators.box import Box, check_counts, modes_per_axis
from sciml.operators.pointwise import Pointwise, PointwiseMLP
from sciml.operators.properties import Properties
from sciml.operators.spectral_weights import SpectralWeights, as_weights, contraction_of

if TYPE_CHECKING:
    from sciml.grid import Grid

PROJECTION_WIDTH = 128  # of the two-layer map from the last hidden field to the output, as in the paper

_SOURCE = "Li et al., ICLR 2021 (arXiv:2010.08895), scripts of the authors"
published: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "burgers": ({"modes": 16, "width": 64, "depth": 4}, f"{_SOURCE}: Burgers' equation"),
    "darcy": ({"modes": 12, "width": 32, "depth": 4}, f"{_SOURCE}: Darcy flow at 85 x 85"),
    "navier-stokes": (
        {"modes": 12, "width": 20, "depth": 4},
        f"{_SOURCE}: Navier-Stokes, ten frames in, one out",
    ),
}
"""Arguments of published set-ups, and where they are from."""


@describable
class FNO(nn.Module):
    r"""Fourier neural operator: layers ``v ↦ σ(K v + W v + b)`` with K diagonal in Fourier space.

    ``v_0 = P(a, ξ)``, ``v_l = GELU(K_l v_{l-1} + W_l v_{l-1} + b_l)`` (no GELU after the last layer), ``u =
    Q(v_depth)``; P is affine per point, Q maps width -> 128 -> out_channels per point with a GELU between,
    and ``K_l`` is `sciml.kernels.spectral_conv`.

    Parameters
    ----------
    rank : int
        Axes of the grid; any rank from 1.
    in_channels, out_channels : int
        Channels of the input and of the output field, coordinates not counted.
    modes : int, one int per axis, or SpectralWeights
        m keeps the frequencies -m..m-1, on the last axis 0..m-1, of the period of the (padded) domain.
        Libraries that count all kept frequencies call this 2m. Each kept frequency has a full matrix, unless
        `sciml.operators.spectral_weights` says otherwise, as in ``modes=BlockDiagonalWeights(12, groups=4)``.
    width : int
        Channels of the hidden fields.
    depth : int
        Number of Fourier layers.
    coordinates : bool
        Whether the unit coordinates of the grid join the input as `rank` further channels. Without them and
        without padding the operator commutes with translations of a periodic domain.
    padding : float or one float per axis
        The fraction by which the domain is extended behind its upper end, with zeros, for the Fourier layers
        only; 0 for periodic axes, 0.1 to 0.25 for others. A fraction, not a number of cells, keeps the period
        of the layers, and so the meaning of their weights, at every resolution (up to rounding to whole
        cells, at least one).

    Attributes
    ----------
    requires : tuple of str
        ``("coordinates",)`` if the instance needs that argument, else ``()``.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Complexity: O(N) per point-wise map, and per layer one pass of small matrix products over the grid.
    Resolution: weights act on functions, so the model runs on any grid; on one too coarse for all modes the
    layers use those it resolves. Training there would leave parameters idle: `check_grid` refuses.
    Initialization: real and imaginary parts of the spectral weights are normal with standard deviation
    ``sqrt(1 / (2 width))``, so that ``E|Σ_i R_io X_i|² = mean_i |X_i|²``: K keeps the variance of fields that
    consist of kept frequencies. (The constant and the other ``k_d = 0`` terms keep only their Hermitian
    half.) Weights are real pairs: optimizers, sharding and files see no complex numbers. Under autocast the
    Fourier layers compute in float32.

    Source: Li et al., ICLR 2021 (arXiv:2010.08895), section 4; GELU and padding follow the authors' later
    code.

    Examples
    --------
    >>> import torch
    >>> from sciml.grid import Grid
    >>> model = FNO(rank=2, in_channels=1, out_channels=1, modes=12, width=32)
    >>> sum(p.numel() for p in model.parameters())
    2368001
    >>> ξ = torch.as_tensor(Grid.box((32, 32)).unit_coordinates(), dtype=torch.float32)
    >>> model(torch.zeros(5, 1, 32, 32), ξ.expand(5, -1, -1, -1)).shape
    torch.Size([5, 1, 32, 32])
    """

    # Periodic domains are not the only ones: coordinates and padding serve the others.
    properties = Properties(
        needs_grid=True, periodic=False, resolution_bound=False, linear=False, exports=True
    )

    def __init__(
        self,
        rank: int,
        in_channels: int,
        out_channels: int,
        *,
        modes: int | Sequence[int] | SpectralWeights = 16,
        width: int = 32,
        depth: int = 4,
        coordinates: bool = True,
        padding: float | Sequence[float] = 0.0,
    ) -> None:
        super().__init__()
        who, weights = type(self).__name__, as_weights(modes)
        counts = {"rank": rank, "in_channels": in_channels, "out_channels": out_channels}
        check_counts(who, {**counts, "width": width, "depth": depth})
        self.rank, self.in_channels, self.out_channels = rank, in_channels, out_channels
        self.modes = modes_per_axis(who, weights.modes, rank)
        self.box = Box(who, rank, in_channels, coordinates=coordinates, padding=padding)
        self.padding = self.box.padding
        self.coordinates = coordinates
        self.requires: tuple[str, ...] = ("coordinates",) if coordinates else ()
        self.lifting = Pointwise(in_channels + (rank if coordinates else 0), width)
        self.layers = nn.ModuleList(_FourierLayer(width, self.modes, weights) for _ in range(depth))
        self.projection = PointwiseMLP(width, PROJECTION_WIDTH, out_channels)

    def forward(self, x: Tensor, coordinates: Tensor | None = None) -> Tensor:
        """Apply the operator.

        Parameters
        ----------
        x : (batch, in_channels, *space) real
            Normalized input fields.
        coordinates : (batch, rank, *space)
            `Grid.unit_coordinates`; needed if the model was built with ``coordinates=True``, else ignored.

        Returns
        -------
        (batch, out_channels, *space)

        Raises
        ------
        ShapeError
            If a shape does not fit, or coordinates are needed and missing.
        """
        space = x.shape[2:]
        v = self.box.extend(self.lifting(self.box.enter(x, coordinates)))
        for number, layer in enumerate(self.layers):
            v = layer(v, activation=number > 0)
        v = self.box.restrict(v, space)
        u: Tensor = self.projection(v)
        return u

    def padding_cells(self, shape: Sequence[int]) -> tuple[int, ...]:
        """How many grid points of zeros the padding fractions are on a grid of this shape."""
        return self.box.cells(shape)

    def check_grid(self, shape: Sequence[int]) -> None:
        """Refuse a training grid that cannot represent all modes.

        Parameters
        ----------
        shape : rank integers
            The grid, without padding.

        Raises
        ------
        ShapeError
            If ``2 m`` exceeds the (padded) grid size on an axis. Some weights would never be trained, and
            would act with their random start values on a finer grid.

        Notes
        -----
        Prediction on a coarser grid than that of the training is fine, so `forward` does not ask.

        Examples
        --------
        >>> FNO(1, 1, 1, modes=16).check_grid((32,))
        >>> FNO(1, 1, 1, modes=16).check_grid((30,))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
          ...
        sciml.errors.ShapeError: FNO: modes=16 on axis 0 need at least 32 grid points, got 30. ...
        """
        self.box.check_modes(self.modes, shape)

    @staticmethod
    def suited(grid: Grid) -> dict[str, Any]:
        """Arguments to start from on a training grid, chosen on validation data of Darcy flow at 16 x 16.

        A quarter of the domain is added on bounded axes; a third of the padded points, but at most 16, 12, 8
        in one, two, three dimensions, become modes: more than that fits noise on a coarse grid.

        Examples
        --------
        >>> from sciml.grid import Grid
        >>> FNO.suited(Grid.box((16, 16)))
        {'modes': (6, 6), 'padding': (0.25, 0.25)}
        """
        padding = tuple(0.0 if axis.periodic else 0.25 for axis in grid.axes)
        most = {1: 16, 2: 12}.get(grid.rank, 8)
        sizes = [axis.size * (1 + extra) for axis, extra in zip(grid.axes, padding, strict=True)]
        return {"modes": tuple(max(1, min(most, int(size / 3))) for size in sizes), "padding": padding}

    @staticmethod
    def small(rank: int, in_channels: int, out_channels: int) -> FNO:
        """A tiny instance that trains in seconds, for tests."""
        return FNO(rank, in_channels, out_channels, modes=3, width=12, depth=2)


class _FourierLayer(nn.Module):
    """``K a + W a + b`` of a = v, or of a = GELU(v): the activation of the layer before."""

    def __init__(self, width: int, modes: tuple[int, ...], weights: SpectralWeights) -> None:
        super().__init__()
        self.modes = modes
        frequencies = (*(2 * m for m in modes[:-1]), modes[-1])
        self.spectral_weight = weights.make(frequencies, (width, width))
        self.pointwise = Pointwise(width, width)

    def forward(self, v: Tensor, *, activation: bool) -> Tensor:
        weight, (skip, bias) = contraction_of(self.spectral_weight), self.pointwise.parameters()
        return spectral_layer(v, weight, self.modes, skip, bias, activation=activation)
