"""Time-harmonic waves in an open domain of variable speed: the generator, its baseline and one instance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.generator import NOTHING, Generator, Values, richardson
from sciml.datasets.numerics.open_waves import HelmholtzSolver, waves_are_resolved
from sciml.datasets.numerics.starts import smooth_field
from sciml.datasets.solutions import Function, labelled, on_grid
from sciml.description import describable
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray
    from torch import Tensor

Float = NDArray[np.float64]

_EQUATION = r"-\Delta u - (k / c)^2 u = f"
_SOLVER = "finite differences of order 4, perfectly matched layers; sparse LU, relative residual below 1e-9"

_WAVES = 8  # of the speed, 0 .. 7 per axis
_WIDTH = 0.75  # of the source, in units of 1/k: its tail ends at the walls, and 10 points per wave resolve it


@describable
@dataclass(frozen=True)
class Helmholtz(Generator):
    r"""The field of a source in a medium of random speed: -Laplacian(u) - (k/c)^2 u = f on the unit square.

    Waves leave through the walls (`HelmholtzSolver`).  The map to learn is c -> u; ``u`` has two components,
    real and imaginary part.  Everything is dimensionless.

    * c = 1 + ``contrast`` tanh(g) with a Gaussian field g of standard deviation about 1, correlation length
      0.15 and Neumann boundary conditions, wave numbers up to 7 per axis (`smooth_field`).
    * f = k^2 exp(-r^2 / 2w^2), w = 0.75 / k, with r the distance from the point (``x``, ``y``).

    Scheme: finite differences of order 4 with perfectly matched layers, sparse LU.

    Parameters
    ----------
    resolution : int
        Intervals per axis: one more node, both ends included.
    wavenumber : float, positive
        k.  The shortest wave has the length 2 pi (1 - contrast) / k.
    contrast : float
        At least 0, below 1.
    x, y : float
        Position of the source, at least 3 / k from the walls.

    Raises
    ------
    ConfigError
        If a setting is out of range or the grid does not resolve the waves (`waves_are_resolved`).

    Notes
    -----
    The speed is that of the acoustic problem of de Hoop, Huang, Qian and Stuart (2022), arXiv:2203.13181, c =
    20 + tanh(g) with the frequency 1000, hence k = 50, which MgNO (He, Liu and Xu 2024, arXiv:2310.19809)
    uses too; ``Helmholtz(resolution=128, wavenumber=50.0, contrast=0.05)`` comes nearest.  The data are not
    theirs: there waves are driven through one wall and reflected by the others, so that solutions are near
    resonances.

    Examples
    --------
    >>> c, u = Helmholtz(resolution=16).sample([0, 1])
    >>> c.shape, u.shape, bool((np.abs(c - 1) < 0.2).all())
    ((2, 17, 17), (2, 2, 17, 17), True)
    """

    least: ClassVar[int] = 8

    resolution: int = 64
    wavenumber: float = 8.0
    contrast: float = 0.2
    x: float = 0.5
    y: float = 0.5

    def __post_init__(self) -> None:
        if self.resolution < 4 or not (0 < self.wavenumber < math.inf and 0 <= self.contrast < 1):
            raise ConfigError(
                "Helmholtz: needs resolution >= 4, wavenumber > 0 and 0 <= contrast < 1, got "
                f"resolution={self.resolution}, wavenumber={self.wavenumber}, contrast={self.contrast}."
            )
        margin = 3 / self.wavenumber
        if not (margin <= self.x <= 1 - margin and margin <= self.y <= 1 - margin):
            raise ConfigError(
                f"Helmholtz: the source must lie 3/k = {margin:.3g} from the walls, got ({self.x}, {self.y})."
            )
        waves_are_resolved("Helmholtz", self.grid, self.wavenumber, 1 - self.contrast)

    @property
    def grid(self) -> Grid:
        """Nodes of the unit square."""
        return Grid.box((self.resolution + 1, self.resolution + 1), location="node")

    @property
    def fields(self) -> tuple[Field, ...]:
        """Input ``c`` and output ``u``."""
        return (
            Field("c", "input", long_name="wave speed"),
            Field("u", "output", long_name="amplitude", components=2, rank=0),
        )

    @property
    def about(self) -> Provenance:
        """Equation, walls and solver."""
        return Provenance(
            title="Time-harmonic waves in a medium of random speed",
            pde="helmholtz_2d",
            equation=_EQUATION,
            boundary={name: ("open", "open") for name in self.grid.names},
            solver=_SOLVER,
        )

    def sample(self, seeds: Sequence[int]) -> tuple[Float, Float]:
        """Speeds (n, *space) and fields (n, 2, *space) for each seed."""
        law = smooth_field(2, boundary="neumann", modes=_WAVES)
        c = 1 + self.contrast * np.tanh(law.sample(seeds, self.grid))
        u = HelmholtzSolver(self.grid, self.wavenumber).solve(c, self.source(self.grid))
        return c, np.stack([u.real, u.imag], axis=1)

    def source(self, grid: Grid) -> Float:
        """f at the nodes of a grid."""
        x, y = grid.coordinates()
        squares = (x - self.x) ** 2 + (y - self.y) ** 2
        values: Float = self.wavenumber**2 * np.exp(-squares * (self.wavenumber / _WIDTH) ** 2 / 2)
        return values

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 error of u, (n,), from a solution on twice the intervals; order 4."""
        return richardson(self, replace(self, resolution=2 * self.resolution), seeds, arrays, order=4)

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> HelmholtzBaseline:
        """The same scheme on other intervals."""
        return HelmholtzBaseline(self, resolution)


@describable
@dataclass(frozen=True)
class HelmholtzBaseline:
    """The solver of `Helmholtz` on ``intervals`` per axis, with splines of degree 5 to the grid of the input.

    Examples
    --------
    >>> HelmholtzBaseline(Helmholtz(), 32).name
    'finite differences 32x32'
    """

    problem: Helmholtz
    intervals: int

    @property
    def name(self) -> str:
        """For tables."""
        return f"finite differences {self.intervals}x{self.intervals}"

    def predict(self, inputs: Tensor, grid: Grid) -> Tensor:
        """Fields (n, 2, *grid.shape) for speeds (n, 1, *grid.shape); type and device of the input.

        Raises
        ------
        ShapeError
            If the input has more than one channel.
        """
        import torch

        if inputs.ndim != grid.rank + 2 or tuple(inputs.shape[1:]) != (1, *grid.shape):
            raise ShapeError(
                f"HelmholtzBaseline: inputs must have shape (n, 1, *{grid.shape}), got {tuple(inputs.shape)}."
            )
        own = grid.with_shape([self.intervals + 1] * grid.rank)
        c = _interpolated(inputs[:, 0].detach().cpu().numpy().astype(np.float64), grid, own)
        found = HelmholtzSolver(own, self.problem.wavenumber).solve(c, self.problem.source(own))
        u = _interpolated(np.stack([found.real, found.imag], axis=1), own, grid)
        return torch.from_numpy(np.ascontiguousarray(u)).to(device=inputs.device, dtype=inputs.dtype)


def _interpolated(values: Float, grid: Grid, other: Grid) -> Float:
    """Values (..., *grid.shape) at the nodes of another grid, by splines of degree 5."""
    from scipy.interpolate import make_interp_spline

    for i, (axis, wanted) in enumerate(zip(grid.axes, other.axes, strict=True)):
        if axis.size != wanted.size:
            at = values.ndim - grid.rank + i
            values = make_interp_spline(axis.coordinates, values, k=5, axis=at)(wanted.coordinates)
    return values


def solve(
    speed: ArrayLike | Function,
    grid: Grid,
    *,
    wavenumber: float,
    source: ArrayLike | Function,
) -> xarray.Dataset:
    """Solve -Laplacian(u) - (wavenumber / speed)^2 u = source in a box from which waves radiate freely.

    Parameters
    ----------
    speed : number, array or callable
        c > 0 at the nodes (*grid.shape), or a function of the coordinates.
    grid : Grid
        Bounded nodes, of rank 1 or 2: ``Grid.box((65, 65), location="node")``.
    wavenumber : float, positive
        k, for the speed 1.
    source : number, array or callable
        f; zero at the walls, or nearly.

    Returns
    -------
    xarray.Dataset
        ``u``, complex, ``c`` and ``f``, each (*space).

    Raises
    ------
    ShapeError
        If the grid has cells or periodic axes, or shapes do not fit it.
    DataError
        If the speed is not positive, or a value not finite.
    ConfigError
        If the wave number is not positive, or the grid does not resolve the waves.

    Notes
    -----
    `HelmholtzSolver`, of order 4; time dependence exp(-i omega t).

    Examples
    --------
    >>> grid = Grid.box((65, 65), location="node")
    >>> bump = lambda x, y: np.exp(-800 * ((x - 0.5) ** 2 + (y - 0.5) ** 2))
    >>> found = solve(1.0, grid, wavenumber=20.0, source=bump)
    >>> found["u"].dtype, bool(abs(found["u"].sel(x=0.5, y=0.75) - found["u"].sel(x=0.25, y=0.5)) < 1e-15)
    (dtype('complex128'), True)
    """
    if not 0 < wavenumber < math.inf:
        raise ConfigError(f"helmholtz.solve: the wave number must be positive, got {wavenumber}.")
    c = on_grid("helmholtz.solve: speed", speed, grid)
    f = on_grid("helmholtz.solve: source", source, grid)
    if c.min() > 0:  # else the solver complains
        waves_are_resolved("helmholtz.solve", grid, wavenumber, float(c.min()))
    (u,) = HelmholtzSolver(grid, wavenumber).solve(c[None], f[None])
    return labelled(
        {
            "u": (grid.names, u, {"units": "1", "long_name": "amplitude"}),
            "c": (grid.names, c, {"units": "1", "long_name": "wave speed"}),
            "f": (grid.names, f, {"units": "1", "long_name": "source"}),
        },
        grid,
        attributes={
            "equation": _EQUATION,
            "solver": _SOLVER,
            "boundary": "open",
            "wavenumber": float(wavenumber),
        },
    )
