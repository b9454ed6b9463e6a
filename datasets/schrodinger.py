"""The cubic nonlinear Schroedinger equation on periodic boxes: generator and solver."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.generator import NOTHING, Generator, Values, richardson
from sciml.datasets.numerics.periodic import solved
from sciml.datasets.numerics.pseudo_spectral import Modes
from sciml.datasets.numerics.semilinear import Semilinear, longest_steps, pointwise, run
from sciml.datasets.numerics.series import check_settings
from sciml.datasets.numerics.spectral_solver import SpectralSolver
from sciml.datasets.numerics.starts import smooth_field, subseeds
from sciml.datasets.solutions import Function, labelled
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.grid import Grid
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray

Float = NDArray[np.float64]

_WAVES = 16  # of the start, 0 .. 15 per axis
_SOLVER = "Fourier-Galerkin, exact dealiasing (|k| < n/4); ETDRK4 of order 4"


@describable
@dataclass(frozen=True)
class Schrodinger(Generator):
    r"""i h_t + a Laplacian(h) + b |h|^2 h = 0 for a complex h on a periodic interval or square.

    The state ``h`` has two components, real and imaginary part.  Everything is dimensionless.  Mass, the
    integral of |h|^2, and energy, that of a |grad h|^2 - b |h|^4 / 2, are conserved.  For a b > 0 waves
    focus: a constant of size A is unstable against waves below sqrt(2 b / a) A, and in two dimensions large
    starts collapse to a point, where the solution ends.

    The start is ``amplitude / sqrt(2)`` times two independent Gaussian fields of Matern covariance,
    smoothness 2, length 0.25 ``length`` and standard deviation 1.1.

    Scheme: Fourier-Galerkin with exact dealiasing of the cubic term (|k| < n/4 per axis), so that the
    semi-discrete system conserves mass and energy.  In time `ETDRK4` of order 4; the linear part, diagonal in
    h and its conjugate, is exact.  The step of a sample is the power of 2 below ``courant / (9 |b| max|h|^2 +
    |a| K^2)``, max|h| at the start, with 3^2 as room to grow, and K = min(k_max, 16 pi / length).  Frames
    are hit by whole steps.

    Parameters
    ----------
    resolution : int
        Points per axis, at least 8.
    rank : int
        1 or 2.
    length : float, positive
        Of the sides; the origin is in the middle.
    dispersion, focusing : float
        a, not 0, and b, any number.
    amplitude : float, positive
    final_time : float, positive
        Of the last frame; the first has time 0.
    frames : int
        At least 2, equally spaced in time, both ends included.
    courant : float, positive

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    a = 1/2, b = 1 is the equation of the benchmark of physics-informed networks: Raissi, Perdikaris and
    Karniadakis, J. Comput. Phys. 378 (2019), section 3.1.1.

    Examples
    --------
    >>> (h,) = Schrodinger(resolution=32).sample([0, 1])
    >>> mass = (h**2).mean(axis=(2, 3))
    >>> h.shape, bool(np.abs(mass / mass[:, :1] - 1).max() < 1e-7)
    ((2, 21, 2, 32), True)
    """

    resolution: int = 128
    rank: int = 1
    length: float = 10.0
    dispersion: float = 0.5
    focusing: float = 1.0
    amplitude: float = 0.7
    final_time: float = 1.0
    frames: int = 21
    courant: float = 0.5

    def __post_init__(self) -> None:
        check_settings(
            self,
            least={"resolution": 8, "frames": 2},
            positive=("length", "amplitude", "final_time", "courant"),
            ranks=(1, 2),
        )
        _check("Schrodinger", self.dispersion, self.focusing)

    @property
    def grid(self) -> Grid:
        """Nodes -length / 2 + i length / resolution."""
        shape, half = (self.resolution,) * self.rank, self.length / 2
        return Grid.box(shape, lower=-half, upper=half, location="node", periodic=True)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The state ``h``, real and imaginary part, with time."""
        long_name = "wave function, real and imaginary part"
        return (Field("h", "state", long_name=long_name, components=2, time=True, rank=0),)

    @property
    def about(self) -> Provenance:
        """Equation and solver."""
        return Provenance(
            title="Nonlinear Schroedinger equation",
            pde=f"schrodinger_{self.rank}d",
            equation=r"i h_t + a \Delta h + b |h|^2 h = 0",
            solver=f"{_SOLVER}, steps <= {self.courant:g} of the fastest rate",
        )

    def sample(self, seeds: Sequence[int]) -> tuple[Float]:
        """Frames for each seed, (n, frames, 2, *space).  A sample that blows up is NaN from then on."""
        law = smooth_field(self.rank, scale=0.25, modes=min((self.resolution + 3) // 4, _WAVES))
        unit = Grid.box(self.grid.shape, location="node", periodic=True)
        parts = [law.sample(subseeds(seeds, stream), unit) for stream in (0, 1)]
        return (self.evolve(self.amplitude / math.sqrt(2) * np.stack(parts, axis=1), self.times),)

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 error over all frames, (n,): 16/15 of the change on twice the points, half the step."""
        fine = replace(self, resolution=2 * self.resolution, courant=self.courant / 2)
        return richardson(self, fine, seeds, arrays, order=4)

    def evolve(self, initial: Float, times: ArrayLike, *, step: float = math.inf) -> Float:
        """Frames (n, len(times), 2, *space) from values (n, 2, *space) on any grid of the box."""
        modes = Modes(self.grid.with_shape(initial.shape[2:]), degree=3)
        square = (initial**2).sum(axis=1).max(axis=tuple(range(1, self.rank + 1)))
        wave = min(float(modes.wavenumbers[-1].max()), 16 * math.pi / self.length)
        steps = self.courant / (9 * abs(self.focusing) * square + abs(self.dispersion) * wave**2)
        equation = partial(system, modes, self.dispersion, self.focusing)
        instants = np.asarray(times, dtype=np.float64)
        return run(equation, initial, instants, step=longest_steps(steps, instants, step))

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> SpectralSolver:
        """The same solver on other points, with long steps, at most from frame to frame."""
        flow, gap = replace(self, courant=1.5 * step), self.final_time / (self.frames - 1)
        return SpectralSolver(flow, resolution, step * gap)


def system(modes: Modes, dispersion: float, focusing: float) -> Semilinear:
    """The equation of Re h and Im h in `Modes` of degree 3; L is diagonal in h and its conjugate."""

    def turned(values: Float) -> Float:
        u, v = values[:, 0], values[:, 1]
        return np.stack([-v, u], axis=1) * (focusing * (u**2 + v**2))[:, None]

    waves = 1j * dispersion * modes.laplacian
    return Semilinear(
        modes, np.stack([waves, -waves]), pointwise(modes, turned), mix=np.array([[1, 1j], [1, -1j]])
    )


def _check(who: str, dispersion: float, focusing: float) -> None:
    if not (math.isfinite(dispersion) and dispersion != 0 and math.isfinite(focusing)):
        raise ConfigError(
            f"{who}: dispersion must be finite and not 0, focusing finite, got {dispersion} and {focusing}."
        )


def solve(
    initial: ArrayLike | Function,
    grid: Grid,
    *,
    dispersion: float = 0.5,
    focusing: float = 1.0,
    times: ArrayLike = (0.0, 1.0),
    step: float | None = None,
    refinement: int | None = None,
    tolerance: float = 1e-9,
) -> xarray.Dataset:
    """Solve i h_t + dispersion Laplacian(h) + focusing |h|^2 h = 0 on any periodic box.

    Parameters
    ----------
    initial : number, array or callable
        At ``times[0]``, complex or real: values (*grid.shape) or a function of the coordinates.
    grid : Grid
        Periodic nodes, ``Grid.box((256,), lower=-5, upper=5, location="node", periodic=True)``.
    dispersion, focusing : float
    times : increasing
        Of the frames.
    step, refinement, tolerance : optional
        Longest step, and points of the solver per point of the grid and axis; by default both are refined
        until the solution changes no more than the tolerance, see `sciml.datasets.numerics.periodic.solved`.

    Returns
    -------
    xarray.Dataset
        ``h`` (time, *space), complex128, with ``relative_error`` and ``spectral_tail`` among the attributes.

    Raises
    ------
    ConfigError, DataError, ShapeError
        If an argument is out of range, or the solution blows up.

    Examples
    --------
    A soliton turns its phase, h = sech(x) exp(i t / 2):

    >>> grid = Grid.box((256,), lower=-20, upper=20, location="node", periodic=True)
    >>> found = solve(lambda x: 1 / np.cosh(x), grid, times=[0.0, 1.0])
    >>> exact = np.exp(0.5j) / np.cosh(grid.axes[0].coordinates)
    >>> bool(np.allclose(found["h"][-1], exact, atol=1e-7))
    True
    """
    _check("schrodinger.solve", dispersion, focusing)

    def parts(value: Any) -> Float:
        return np.stack([np.real(value), np.imag(value)]).astype(np.float64)

    start: Any = parts(np.asarray(initial)) if not callable(initial) else lambda *x: parts(initial(*x))
    if not callable(initial) and np.ndim(initial) == 0:
        start = np.broadcast_to(start.reshape(2, *[1] * grid.rank), (2, *grid.shape))
    frames, accuracy = solved(
        "schrodinger.solve",
        partial(system, dispersion=dispersion, focusing=focusing),
        start,
        grid,
        times=times,
        degree=3,
        components=2,
        step=step,
        refinement=refinement,
        tolerance=tolerance,
    )
    attributes = {
        "equation": "i h_t + dispersion Laplacian(h) + focusing |h|^2 h = 0",
        "solver": _SOLVER,
        "dispersion": dispersion,
        "focusing": focusing,
        **accuracy,
    }
    h = (
        ("time", *grid.names),
        frames[:, 0] + 1j * frames[:, 1],
        {"units": "1", "long_name": "wave function"},
    )
    return labelled({"h": h}, grid, times=times, attributes=attributes)
