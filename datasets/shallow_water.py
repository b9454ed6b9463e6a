"""Shallow water: the equations with bathymetry and dry land, random dam breaks, and one flow of your own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.numerics.finite_volume import Boundaries, FiniteVolumes, Limiter, cell_averages
from sciml.datasets.numerics.finite_volume_flow import SOLVER, Flow, one_flow, vector_on_grid
from sciml.datasets.numerics.series import instants
from sciml.datasets.numerics.starts import smooth_field
from sciml.datasets.solutions import Function, labelled, on_grid
from sciml.description import describable
from sciml.errors import ConfigError, DataError
from sciml.grid import Grid
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray

Float = NDArray[np.float64]
Start = Literal["radial_dam", "smooth"]

_TINY = 1e-300  # keeps 0 / 0 out of dry places
_ROUNDING = 1e-14  # of depths near 1: as much may be missing where all water leaves a cell
_HEIGHT = 0.1  # standard deviation of log(h) of smooth starts


@dataclass(frozen=True)
class ShallowWaterLaw:
    r"""The shallow-water equations as `FiniteVolumes` sees them.

    .. math:: h_t + \nabla \cdot (h v) = 0, \quad
              (h v)_t + \nabla \cdot (h v \otimes v + g h^2 / 2) = -g h \nabla b

    Conserved values h, h v_1 .. h v_rank[, b], primitive values h, v_1 .. v_rank[, h + b], with the bed b
    only where there is one.  Fluxes: HLLC, that is HLL for depth and normal momentum with the wave speeds of
    two rarefactions or shocks (Toro, *Shock-Capturing Methods for Free-Surface Shallow Flows* (2001), chapter
    10), and tangential momentum carried by the mass flux.  It opens sonic rarefactions without an entropy
    fix, keeps a standing shear layer, and knows the fronts of dry land.  The bed enters through hydrostatic
    reconstruction (Audusse, Bouchut, Bristeau, Klein and Perthame (2004), SIAM J. Sci. Comput. 25, section
    3), which keeps a lake at rest, with and without islands, and depths positive.

    Parameters
    ----------
    rank : int
        1 or 2.
    gravity : float, positive
    bed : bool
    dry : float
        Cut-off: below this depth velocities are 0, and so is momentum.
    """

    rank: int
    gravity: float = 1.0
    bed: bool = False
    dry: float = 1e-8

    def __post_init__(self) -> None:
        if self.rank not in (1, 2) or not (0 < self.gravity < math.inf and self.dry > 0):
            raise ConfigError(
                "shallow water: needs one or two axes, gravity > 0 and dry > 0, got "
                f"rank={self.rank}, gravity={self.gravity}, dry={self.dry}."
            )

    @property
    def components(self) -> int:
        """Depth, momentum and, where there is one, the bed."""
        return 1 + self.rank + self.bed

    def primitive(self, conserved: Float) -> Float:
        """Depth, velocity and, with a bed, the level of the surface."""
        found = conserved.copy()
        depth = conserved[0]
        wet = depth > self.dry
        found[1 : 1 + self.rank] *= wet / np.where(wet, depth, 1.0)
        if self.bed:
            found[-1] += depth
        return found

    def speed(self, primitive: Float, axis: int) -> Float:
        """|v| + sqrt(g h)."""
        found: Float = np.abs(primitive[1 + axis]) + np.sqrt(self.gravity * primitive[0])
        return found

    def fluxes(self, left: Float, right: Float, axis: int) -> tuple[Float, Float]:
        """HLLC of the states that hydrostatic reconstruction leaves, and the push of steps of the bed."""
        if not self.bed:
            flux = self._hllc(left, right, axis)
            return flux, flux
        bed = np.maximum(left[-1] - left[0], right[-1] - right[0])
        depths = [np.minimum(np.maximum(side[-1] - bed, 0.0), side[0]) for side in (left, right)]
        states = [np.concatenate([h[None], side[1:]]) for h, side in zip(depths, (left, right), strict=True)]
        flux = self._hllc(states[0], states[1], axis)
        sides = []
        for h, side in zip(depths, (left, right), strict=True):
            one = flux.copy()
            one[1 + axis] += self.gravity / 2 * (side[0] - h) * (side[0] + h)
            sides.append(one)
        return sides[0], sides[1]

    def source(self, low: Float, high: Float, axis: int) -> Float | None:
        """-g h b' inside the cells."""
        if not self.bed:
            return None
        found = np.zeros_like(low)
        found[1 + axis] = self.gravity / 2 * (low[0] + high[0]) * ((low[-1] - low[0]) - (high[-1] - high[0]))
        return found

    def restore(self, conserved: Float) -> NDArray[np.bool_]:
        """Negative depths become 0, and momentum of dry cells too; depths below rounding are reported."""
        negative: NDArray[np.bool_] = conserved[0] < -_ROUNDING
        np.maximum(conserved[0], 0.0, out=conserved[0])
        conserved[1 : 1 + self.rank] *= ~(conserved[0] <= self.dry)
        return negative

    def _hllc(self, left: Float, right: Float, axis: int) -> Float:
        g, n = self.gravity, 1 + axis
        hl, hr, ul, ur = left[0], right[0], left[n], right[n]
        cl, cr = np.sqrt(g * hl), np.sqrt(g * hr)
        middle = np.maximum((cl + cr) / 2 + (ul - ur) / 4, 0.0) ** 2 / g
        low, high = ul - self._faster(middle, hl, cl), ur + self._faster(middle, hr, cr)
        low = np.where(hl > self.dry, low, ur - 2 * cr)
        high = np.where(hr > self.dry, high, ul + 2 * cl)
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
        width = np.maximum(high - low, _TINY)
        ml, mr = hl * ul, hr * ur
        flux = np.zeros_like(left)
        flux[0] = (high * ml - low * mr + low * high * (hr - hl)) / width
        pl, pr = ml * ul + g / 2 * hl * hl, mr * ur + g / 2 * hr * hr
        flux[n] = (high * pl - low * pr + low * high * (mr - ml)) / width
        for other in range(1, 1 + self.rank):
            if other != n:
                flux[other] = flux[0] * np.where(flux[0] > 0, left[other], right[other])
        return flux

    def _faster(self, middle: Float, h: Float, c: Float) -> Float:
        """Speed relative to the water of a shock into depth h, or c of a rarefaction."""
        shock = np.sqrt(self.gravity / 2 * (middle + h) * middle / np.maximum(h, _TINY))
        return np.where(middle > h, shock, c)


@describable
@dataclass(frozen=True)
class ShallowWater(Flow):
    r"""Water on a flat bed in (-2.5, 2.5)^2: h_t + div(h v) = 0, (h v)_t + div(h v v + g h^2 / 2) = 0.

    Everything is dimensionless.  The state is depth and momentum, averages over cells, and starts at rest.

    ============  ====================================================================================
    "radial_dam"  h = 2 for \|x\| < r, else 1, with r ~ U(0.3, 0.7); waves leave through the sides
    "smooth"      h = exp(0.1 f), f a periodic Gaussian field of standard deviation about 1
                  (`sciml.datasets.numerics.starts.smooth_field`); the square is periodic
    ============  ====================================================================================

    Scheme (`FiniteVolumes`, `ShallowWaterLaw`): MUSCL in depth and velocity, HLLC fluxes, Runge-Kutta steps
    of order 2 that preserve strong stability.  ORDER 2 where the solution is smooth, 1 at shocks; STABLE STEP
    0.4 / max(sum over axes of (\|v_i\| + sqrt(g h)) / spacing), per sample and step.  Mass, and momentum on
    the periodic square, change by rounding only (below 1e-13 per unit time).

    Parameters
    ----------
    resolution : int
        Cells per axis, at least 4.
    start : "radial_dam" or "smooth"
    gravity : float, positive
    final_time : float, positive
        Of the last frame; the first has time 0.
    frames : int
        At least 2, equally spaced, both ends included.
    limiter : "mc", "van_leer" or "minmod"

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    "radial_dam" is the law of PDEBench (Takamoto et al. 2022, arXiv:2210.07182, appendix D.5), whose files
    hold the depth alone, 101 frames of 128 x 128 values.  The depth alone is not a state: flows of equal
    depth and other momenta part, which is why both are stored here.  There the dam is sampled at the centers
    of cells; here cells that it cuts hold the average (of 64 points).

    `estimate_error` counts on order 1, that of shocks; for smooth flows it is 1.5 times too careful.

    Examples
    --------
    >>> h, m = ShallowWater(resolution=16, frames=3).sample([0, 1])
    >>> h.shape, m.shape, bool((m[:, 0] == 0).all())
    ((2, 3, 16, 16), (2, 3, 2, 16, 16), True)
    """

    resolution: int = 128
    start: Start = "radial_dam"
    gravity: float = 1.0
    final_time: float = 1.0
    frames: int = 21
    limiter: Limiter = "mc"

    def __post_init__(self) -> None:
        if self.start not in get_args(Start):
            raise ConfigError(f"ShallowWater: start is one of {get_args(Start)}, got {self.start!r}.")
        self.check("gravity")

    @property
    def grid(self) -> Grid:
        """Cells of the square."""
        cells = (self.resolution, self.resolution)
        return Grid.box(cells, lower=-2.5, upper=2.5, periodic=self.start == "smooth")

    @property
    def fields(self) -> tuple[Field, ...]:
        """The state, conserved values: ``h`` and ``m``, with time."""
        return (
            Field("h", "state", long_name="depth", time=True),
            Field("m", "state", long_name="momentum", components=2, time=True),
        )

    def scheme(self, grid: Grid) -> FiniteVolumes:
        """The solver on another grid of the square."""
        return FiniteVolumes(grid, ShallowWaterLaw(2, self.gravity), self.limiter)

    def initial(self, seeds: Sequence[int]) -> Float:
        """Depth and momentum at time 0, (n, 3, *grid.shape)."""
        grid = self.grid
        found = np.zeros((len(seeds), 3, *grid.shape))
        if self.start == "smooth":
            fine = grid.with_shape([2 * n for n in grid.shape])
            depth = np.exp(_HEIGHT * smooth_field(2).sample(seeds, Grid.box(fine.shape, periodic=True)))
            found[:, 0] = cell_averages(depth, 2, grid.rank)
        else:
            fine = grid.with_shape([8 * n for n in grid.shape])
            square = (fine.coordinates() ** 2).sum(axis=0)
            for row, seed in zip(found, seeds, strict=True):
                radius = np.random.default_rng(seed).uniform(0.3, 0.7)
                row[0] = 1.0 + cell_averages((square < radius**2).astype(np.float64), 8, grid.rank)
        return found

    @property
    def about(self) -> Provenance:
        """Title, equation, boundary conditions and solver."""
        walls = {} if self.start == "smooth" else dict.fromkeys("xy", ("outflow", "outflow"))
        return Provenance(
            title="Shallow water, " + ("dam breaks" if self.start == "radial_dam" else "smooth waves"),
            pde="shallow_water_2d",
            equation=r"h_t + \nabla \cdot m = 0, m_t + \nabla \cdot (m \otimes m / h + g h^2 / 2) = 0",
            boundary=walls,
            solver=SOLVER,
        )


def solve(
    depth: ArrayLike | Function,
    grid: Grid,
    *,
    velocity: ArrayLike | Function = 0.0,
    bed: ArrayLike | Function = 0.0,
    boundary: Boundaries = "outflow",
    gravity: float = 1.0,
    times: Sequence[float] = (0.0, 1.0),
    limiter: Limiter = "mc",
) -> xarray.Dataset:
    r"""One flow of shallow water over a bed, wet or dry.

    h_t + div(h v) = 0, (h v)_t + div(h v v + g h^2 / 2) = -g h grad(b), by the scheme of `ShallowWater` with
    hydrostatic reconstruction of the bed (`ShallowWaterLaw`).

    Parameters
    ----------
    depth : number, array or callable
        h >= 0 at ``times[0]``, (*grid.shape), averages over cells; a function is taken at their centers.
    grid : Grid
        One or two axes of cells, periodic or not.
    velocity : number, array or callable
        v at ``times[0]``, (rank, *grid.shape), or (*grid.shape) on one axis.
    bed : number, array or callable
        b, (*grid.shape).
    boundary : text, or axis name to text or to a pair (lower, upper)
        "outflow", "wall" or "held" for axes that are not periodic; see `FiniteVolumes`.
    gravity : float, positive
    times : increasing
        Of the frames.
    limiter : "mc", "van_leer" or "minmod"

    Returns
    -------
    xarray.Dataset
        ``h`` (time, *space), ``m`` = h v and ``v`` (time, component, *space), ``b`` (*space); the attribute
        ``floored`` counts how often a negative depth became 0.

    Raises
    ------
    ShapeError
        If the grid has not cells on one or two axes, or a shape does not fit it.
    DataError
        If a depth is negative or a value not finite, or the flow blows up.
    ConfigError
        If the times do not increase or a setting is out of range.

    Examples
    --------
    A dam breaks over dry ground; the front has reached x = 2 sqrt(g h) t = 1 at t = 0.5 (Ritter 1892):

    >>> grid = Grid.box((200,), lower=-2.0, upper=2.0)
    >>> flow = solve(lambda x: np.where(x < 0, 1.0, 0.0), grid, times=[0.0, 0.5])
    >>> flow["h"].sel(time=0.5).interp(x=0.25).round(2).item()  # exact: 1/4
    0.25
    """
    who, at = "shallow_water.solve", instants("shallow_water.solve", times)
    h = on_grid(f"{who}: depth", depth, grid)
    b = on_grid(f"{who}: bed", bed, grid)
    v = vector_on_grid(f"{who}: velocity", velocity, grid)
    if h.min() < 0:
        raise DataError(f"{who}: depths are not negative, got {h.min():g}.")
    law = ShallowWaterLaw(grid.rank, gravity, bed=bool(np.any(b != b.flat[0])))
    state = np.concatenate([h[None], h * v, b[None]])[: law.components]
    conserved, floored = one_flow(who, FiniteVolumes(grid, law, limiter, boundary), state, at)
    primitive = law.primitive(conserved)
    vector = ("time", "component", *grid.names)
    r = slice(1, 1 + grid.rank)
    return labelled(
        {
            "h": (("time", *grid.names), conserved[0], {"units": "1", "long_name": "depth"}),
            "m": (vector, np.moveaxis(conserved[r], 0, 1), {"units": "1", "long_name": "momentum"}),
            "v": (vector, np.moveaxis(primitive[r], 0, 1), {"units": "1", "long_name": "velocity"}),
            "b": (grid.names, b, {"units": "1", "long_name": "bed"}),
        },
        grid,
        times=at,
        attributes={
            "equation": "h_t + div(h v) = 0, (h v)_t + div(h v v + g h^2 / 2) = -g h grad(b)",
            "solver": SOLVER,
            "gravity": gravity,
            "floored": floored,
        },
    )
