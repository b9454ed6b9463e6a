"""Compressible gas: random smooth flows and random jumps, and one flow of your own."""

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
from sciml.datasets.numerics.starts import smooth_field, subseeds
from sciml.datasets.solutions import Function, labelled, on_grid
from sciml.description import describable
from sciml.errors import ConfigError, DataError
from sciml.grid import Grid
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray

Float = NDArray[np.float64]
Start = Literal["smooth", "jumps"]
Ends = Literal["periodic", "outflow", "wall"]

_VARIATION = 0.2  # standard deviation of the logarithms of density and pressure of smooth starts
_EQUATION = r"\rho_t + \nabla \cdot m = 0, m_t + \nabla \cdot (m \otimes m / \rho + p) = 0, " + (
    r"E_t + \nabla \cdot ((E + p) m / \rho) = 0, p = (\gamma - 1)(E - |m|^2 / (2 \rho))"
)


@dataclass(frozen=True)
class EulerLaw:
    r"""The Euler equations of a perfect gas as `FiniteVolumes` sees them.

    .. math:: \rho_t + \nabla \cdot (\rho v) = 0, \quad
              (\rho v)_t + \nabla \cdot (\rho v \otimes v + p) = 0, \quad
              E_t + \nabla \cdot ((E + p) v) = 0, \quad E = p / (\gamma - 1) + \rho |v|^2 / 2

    Conserved values rho, rho v_1 .. rho v_rank, E, primitive values rho, v_1 .. v_rank, p.  Fluxes: HLLC
    (Toro, *Riemann Solvers and Numerical Methods for Fluid Dynamics* (2009), section 10.4) with the wave
    speeds of Batten, Clarke, Lambert and Causon (1997), SIAM J. Sci. Comput. 18: the smaller of those of the
    cell and of Roe's averages on the left, the larger on the right.  Positive, exact for lone shocks and
    standing contacts, and without an expansion shock at sonic points.

    Parameters
    ----------
    rank : int
        1, 2 or 3.
    gamma : float
        Ratio of specific heats, above 1.
    floor : float, positive
        Least density and pressure.
    """

    rank: int
    gamma: float = 1.4
    floor: float = 1e-12

    def __post_init__(self) -> None:
        if self.rank not in (1, 2, 3) or not (1 < self.gamma < math.inf and self.floor > 0):
            raise ConfigError(
                "Euler: needs one to three axes, gamma > 1 and floor > 0, got "
                f"rank={self.rank}, gamma={self.gamma}, floor={self.floor}."
            )

    @property
    def components(self) -> int:
        """Density, momentum, energy."""
        return self.rank + 2

    def primitive(self, conserved: Float) -> Float:
        """Density, velocity, pressure."""
        found = conserved.copy()
        found[1:-1] /= conserved[0]
        found[-1] -= self._kinetic(conserved[1:-1], found[1:-1])
        found[-1] *= self.gamma - 1
        return found

    def conserved(self, primitive: Float) -> Float:
        """The inverse of `primitive`."""
        found = primitive.copy()
        found[1:-1] *= primitive[0]
        found[-1] /= self.gamma - 1
        found[-1] += self._kinetic(found[1:-1], primitive[1:-1])
        return found

    def speed(self, primitive: Float, axis: int) -> Float:
        """|v| + sqrt(gamma p / rho)."""
        found: Float = np.abs(primitive[1 + axis]) + np.sqrt(self.gamma * primitive[-1] / primitive[0])
        return found

    def fluxes(self, left: Float, right: Float, axis: int) -> tuple[Float, Float]:
        """HLLC."""
        n = 1 + axis
        (rl, ul, pl), (rr, ur, pr) = ((w[0], w[n], w[-1]) for w in (left, right))
        low, high = self._outer_speeds(rl, ul, pl, rr, ur, pr)
        # What each outer wave sweeps up per unit time, and the speed of the contact between them.
        ml, mr = rl * (low - ul), rr * (high - ur)
        contact = (pr - pl + ul * ml - ur * mr) / (ml - mr)
        # From here on the state on the side of the contact where the face is.
        from_left = contact >= 0
        w = np.where(from_left, left, right)
        r, u, p = w[0], w[n], w[-1]
        swept = np.where(from_left, np.minimum(low, 0.0), np.maximum(high, 0.0))
        ahead = np.where(from_left, low, high) - u
        # Differences to the state outside, not states, so that a standing contact gives exactly 0.
        jump = contact - u
        gain = jump / (ahead - jump)
        energy = self._kinetic(r * w[1:-1], w[1:-1])
        energy += p / (self.gamma - 1)
        flux = np.empty_like(w)
        np.multiply(r, u + swept * gain, out=flux[0])
        np.multiply(flux[0], w[1:-1], out=flux[1:-1])
        jump *= 1 + gain
        jump *= r
        flux[n] += p + swept * jump
        jump *= contact + p / (r * ahead)
        jump += gain * energy
        np.multiply(energy + p, u, out=flux[-1])
        flux[-1] += swept * jump
        return flux, flux

    def source(self, low: Float, high: Float, axis: int) -> Float | None:
        """None."""
        return None

    def restore(self, conserved: Float) -> NDArray[np.bool_]:
        """Density and pressure not below the floor; momentum stays."""
        thin = conserved[0] < self.floor
        np.maximum(conserved[0], self.floor, out=conserved[0])
        least = self._kinetic(conserved[1:-1], conserved[1:-1] / conserved[0]) + self.floor / (self.gamma - 1)
        cold = conserved[-1] < least
        np.maximum(conserved[-1], least, out=conserved[-1])
        found: NDArray[np.bool_] = thin | cold
        return found

    @staticmethod
    def _kinetic(momentum: Float, velocity: Float) -> Float:
        """Half the product, axis by axis; a sum over few axes in one fixed order."""
        total: Float = momentum[0] * velocity[0]
        for i in range(1, len(momentum)):
            total += momentum[i] * velocity[i]
        total /= 2
        return total

    def _outer_speeds(
        self, rl: Float, ul: Float, pl: Float, rr: Float, ur: Float, pr: Float
    ) -> tuple[Float, Float]:
        """Of the first and the last wave: those of the cells or of Roe's averages."""
        square_l, square_r = self.gamma * pl / rl, self.gamma * pr / rr
        root_l, root_r = np.sqrt(rl), np.sqrt(rr)
        total = root_l + root_r
        a, b = root_l / total, root_r / total
        mean = a * ul + b * ur
        c = np.sqrt(a * square_l + b * square_r + (self.gamma - 1) / 2 * a * b * (ur - ul) ** 2)
        return np.minimum(ul - np.sqrt(square_l), mean - c), np.maximum(ur + np.sqrt(square_r), mean + c)


@describable
@dataclass(frozen=True)
class Euler(Flow):
    r"""A perfect gas in the unit box of rank 1, 2 or 3, without viscosity and heat conduction.

    Mass, momentum and energy are conserved: rho_t + div(m) = 0, m_t + div(m m / rho + p) = 0, E_t + div((E +
    p) m / rho) = 0 with p = (gamma - 1) (E - \|m\|^2 / (2 rho)).  Everything is dimensionless.  The state is
    density, momentum and energy, averages over cells.

    ========  ========================================================================================
    "smooth"  log rho = 0.2 f, log p = 0.2 f', v_i = mach sqrt(gamma / rank) f_i with independent
              periodic Gaussian fields of standard deviation about 1 (`starts.smooth_field`)
    "jumps"   constant states in the 2^rank orthants around a point, its coordinates from U(0.3, 0.7):
              shock tubes in one dimension, four quadrants in two.  rho, p ~ U(0.2, 1) and v_i ~ mach
              sqrt(gamma) U(-1, 1)
    ========  ========================================================================================

    Scheme (`FiniteVolumes`, `EulerLaw`): MUSCL in density, velocity and pressure, HLLC fluxes, Runge-Kutta
    steps of order 2 that preserve strong stability.  ORDER 2 where the solution is smooth, 0.8 to 0.9 with
    shocks and contacts (Sod's tube, 100 to 1600 cells); STABLE STEP 0.4 / max(sum over axes of (\|v_i\| + c)
    / spacing), per sample and step.  In the periodic box mass, momentum and energy change by rounding only
    (below 1e-13 per unit time).

    Parameters
    ----------
    resolution : int
        Cells per axis, at least 4.
    rank : 1, 2 or 3
    start : "smooth" or "jumps"
    boundary : "periodic", "outflow" or "wall"
        Of all ends.
    gamma : float
        Ratio of specific heats, above 1.
    mach : float, positive
        Size of the velocities at the start relative to the speed of sound at rho = p = 1.
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
    PDEBench (Takamoto et al. 2022, arXiv:2210.07182) and The Well (Ohana et al. 2024, arXiv:2412.00568) have
    data of these two kinds; the laws of the starts here are others, so that errors on files of theirs and
    ours are comparable, not equal.  The fields are conserved values, whose averages over cells go from grid
    to grid exactly; `EulerLaw.primitive` turns them into density, velocity and pressure.  Nothing is viscous:
    where shear layers roll up, details near the size of cells are those of the scheme, and the error estimate
    of the file says how much of the flow that is.

    Examples
    --------
    >>> rho, m, e = Euler(resolution=16, frames=3).sample([0, 1])
    >>> rho.shape, m.shape, e.shape
    ((2, 3, 16, 16), (2, 3, 2, 16, 16), (2, 3, 16, 16))
    """

    resolution: int = 128
    rank: int = 2
    start: Start = "smooth"
    boundary: Ends = "periodic"
    gamma: float = 1.4
    mach: float = 0.5
    final_time: float = 0.5
    frames: int = 21
    limiter: Limiter = "mc"

    def __post_init__(self) -> None:
        for name, value, known in (("start", self.start, Start), ("boundary", self.boundary, Ends)):
            if value not in get_args(known):
                raise ConfigError(f"Euler: {name} is one of {get_args(known)}, got {value!r}.")
        self.check("mach")

    @property
    def grid(self) -> Grid:
        """Cells of the unit box."""
        return Grid.box([self.resolution] * self.rank, periodic=self.boundary == "periodic")

    @property
    def fields(self) -> tuple[Field, ...]:
        """The state, conserved values: ``rho``, ``m`` and ``E``, with time."""
        return (
            Field("rho", "state", long_name="density", time=True),
            Field("m", "state", long_name="momentum", components=self.rank, time=True, rank=1),
            Field("E", "state", long_name="energy", time=True),
        )

    def scheme(self, grid: Grid) -> FiniteVolumes:
        """The solver on another grid of the box."""
        ends: Boundaries = "wall" if self.boundary == "wall" else "outflow"
        return FiniteVolumes(grid, EulerLaw(self.rank, self.gamma), self.limiter, ends)

    def initial(self, seeds: Sequence[int]) -> Float:
        """Density, momentum and energy at time 0, (n, rank + 2, *grid.shape)."""
        return self._smooth(seeds) if self.start == "smooth" else self._jumps(seeds)

    def _smooth(self, seeds: Sequence[int]) -> Float:
        fine = Grid.box([2 * self.resolution] * self.rank, periodic=True)
        field = smooth_field(self.rank)
        w = np.stack([field.sample(subseeds(seeds, i), fine) for i in range(self.rank + 2)])
        w[0], w[-1] = np.exp(_VARIATION * w[0]), np.exp(_VARIATION * w[-1])
        w[1:-1] *= self.mach * math.sqrt(self.gamma / self.rank)
        averages = cell_averages(EulerLaw(self.rank, self.gamma).conserved(w), 2, self.rank)
        return np.ascontiguousarray(np.moveaxis(averages, 0, 1))

    def _jumps(self, seeds: Sequence[int]) -> Float:
        law = EulerLaw(self.rank, self.gamma)
        edges = np.arange(self.resolution + 1) / self.resolution
        found = np.zeros((len(seeds), law.components, *self.grid.shape))
        for row, seed in zip(found, seeds, strict=True):
            rng = np.random.default_rng(seed)
            point = rng.uniform(0.3, 0.7, self.rank)
            states = rng.uniform(0.2, 1.0, (law.components, 2**self.rank))
            states[1:-1] = rng.uniform(-1, 1, (self.rank, 2**self.rank)) * self.mach * math.sqrt(self.gamma)
            # The part of each cell that lies below and above the point, along each axis.
            below = [np.diff(np.minimum(edges, at)) * self.resolution for at in point]
            for j, state in enumerate(law.conserved(states).T):
                share = np.ones(())
                for i, lower in enumerate(below):
                    share = np.multiply.outer(share, 1 - lower if j >> i & 1 else lower)
                row += np.multiply.outer(state, share)
        return found

    @property
    def about(self) -> Provenance:
        """Title, equation, boundary conditions and solver."""
        names = self.grid.names if self.boundary != "periodic" else ()
        return Provenance(
            title="Compressible gas, " + ("smooth starts" if self.start == "smooth" else "jumps"),
            pde=f"euler_{self.rank}d",
            equation=_EQUATION,
            boundary={name: (self.boundary, self.boundary) for name in names},
            solver=SOLVER,
        )


def solve(
    density: ArrayLike | Function,
    grid: Grid,
    *,
    velocity: ArrayLike | Function = 0.0,
    pressure: ArrayLike | Function = 1.0,
    boundary: Boundaries = "outflow",
    gamma: float = 1.4,
    times: Sequence[float] = (0.0, 1.0),
    limiter: Limiter = "mc",
) -> xarray.Dataset:
    """One flow of a perfect gas, by the scheme of `Euler`.

    Parameters
    ----------
    density, pressure : number, array or callable
        Positive, at ``times[0]``, (*grid.shape); a function is taken at the centers of the cells.
    grid : Grid
        One to three axes of cells, periodic or not.
    velocity : number, array or callable
        At ``times[0]``, (rank, *grid.shape), or (*grid.shape) on one axis.
    boundary : text, or axis name to text or to a pair (lower, upper)
        "outflow", "wall" or "held" for axes that are not periodic; see `FiniteVolumes`.
    gamma : float
        Ratio of specific heats, above 1.
    times : increasing
        Of the frames.
    limiter : "mc", "van_leer" or "minmod"

    Returns
    -------
    xarray.Dataset
        Conserved ``rho``, ``m`` and ``E``, and of the same averages velocity ``v`` and pressure ``p``: (time,
        [component,] *space); the attribute ``floored`` counts how often a value below 1e-12 was lifted.

    Raises
    ------
    ShapeError
        If the grid has no cells, or a shape does not fit it.
    DataError
        If a density or pressure is not positive or a value not finite, or the flow blows up.
    ConfigError
        If the times do not increase or a setting is out of range.

    Examples
    --------
    Sod's shock tube beside its exact solution, `sciml.datasets.numerics.shock_tube.riemann`:

    >>> from sciml.datasets.numerics.shock_tube import riemann
    >>> grid = Grid.box((100,), lower=-0.5, upper=0.5)
    >>> flow = solve(
    ...     lambda x: np.where(x < 0, 1.0, 0.125),
    ...     grid,
    ...     pressure=lambda x: np.where(x < 0, 1.0, 0.1),
    ...     times=[0.0, 0.2],
    ... )
    >>> exact, _, _ = riemann((1, 0, 1), (0.125, 0, 0.1), grid.axes[0].coordinates / 0.2)
    >>> round(float(abs(flow["rho"][-1] - exact).mean()), 4)
    0.0049
    """
    who, at = "euler.solve", instants("euler.solve", times)
    law = EulerLaw(grid.rank, gamma)
    start = [
        on_grid(f"{who}: density", density, grid)[None],
        vector_on_grid(f"{who}: velocity", velocity, grid),
    ]
    w = np.concatenate([*start, on_grid(f"{who}: pressure", pressure, grid)[None]])
    if min(w[0].min(), w[-1].min()) <= 0:
        raise DataError(f"{who}: densities and pressures are positive, got {w[0].min():g}, {w[-1].min():g}.")
    u, floored = one_flow(who, FiniteVolumes(grid, law, limiter, boundary), law.conserved(w), at)
    w = law.primitive(u)
    scalar, vector = ("time", *grid.names), ("time", "component", *grid.names)
    return labelled(
        {
            "rho": (scalar, u[0], {"units": "1", "long_name": "density"}),
            "m": (vector, np.moveaxis(u[1:-1], 0, 1), {"units": "1", "long_name": "momentum"}),
            "E": (scalar, u[-1], {"units": "1", "long_name": "energy"}),
            "v": (vector, np.moveaxis(w[1:-1], 0, 1), {"units": "1", "long_name": "velocity"}),
            "p": (scalar, w[-1], {"units": "1", "long_name": "pressure"}),
        },
        grid,
        times=at,
        attributes={"equation": _EQUATION, "solver": SOLVER, "gamma": gamma, "floored": floored},
    )
