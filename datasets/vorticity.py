"""The solver of two-dimensional incompressible flow on the periodic unit square, in vorticity form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.pseudo_spectral import ETDRK4, Modes, velocity_factors
from sciml.errors import ConfigError
from sciml.grid import Grid

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]

_CHECK = 1.0  # time after which the step is chosen anew, at the latest
_MOST = 3 * 2**13  # steps per check; more means that the solution has blown up
_POINTS = 2**15  # values per array and pass: eight samples of 64 x 64 stay in the cache


class VorticitySolver:
    r"""w_t + u . grad w = nu Laplacian(w) + f on the unit torus, u the velocity with curl w and mean zero.

    Fourier-Galerkin in space, with all |k| < n/3 per axis and exact products ("2/3 rule", `Modes`): without
    viscosity and forcing, energy and enstrophy are conserved but for the error of the steps.  The
    nonlinearity is u . grad w = (d_yy - d_xx)(u v) + d_xy (u^2 - v^2), two transforms there and two back.
    Time: `ETDRK4` of order 4, steps that divide the time between two frames, so that no frame is
    interpolated.  float64.

    Parameters
    ----------
    resolution : int
        n, points per axis, at least 4.
    viscosity : float
        nu >= 0.
    forcing : (n, n) array, optional
        f at the nodes i/n, constant in time; its mean is left out.

    Raises
    ------
    ConfigError
        If the viscosity is negative or there are too few points.

    Notes
    -----
    The Courant number is h k_max max(|u| + |v|) with k_max = 2 pi m for the highest wave number m: the bound
    of the fastest wave that the advection makes.  The nonlinear part of the method is stable below 2.83.

    Examples
    --------
    >>> solver = VorticitySolver(12, viscosity=0.01)
    >>> x, y = solver.modes.grid.coordinates()
    >>> vortices = np.cos(2 * np.pi * x) * np.cos(2 * np.pi * y)  # Taylor and Green's decay
    >>> frames = solver.run(vortices[None], [0.0, 1.0], courant=1.0)
    >>> bool(np.allclose(frames[0, 1], np.exp(-0.01 * 8 * np.pi**2) * vortices, atol=1e-14))
    True
    """

    def __init__(self, resolution: int, viscosity: float, forcing: ArrayLike | None = None) -> None:
        if resolution < 4 or not viscosity >= 0:
            raise ConfigError(
                f"VorticitySolver: needs resolution >= 4 and viscosity >= 0, got {resolution}, {viscosity}."
            )
        self.modes = _torus(resolution)
        self._linear = viscosity * self.modes.laplacian
        self._along_u, self._along_v = velocity_factors(self.modes)
        kx, ky = self.modes.wavenumbers
        self._shear, self._strain = (kx**2 - ky**2) + 0j, kx * ky + 0j
        self._methods: dict[float, ETDRK4] = {}
        self._forcing = np.zeros(self.modes.shape, dtype=np.complex128)
        if forcing is not None:
            self._forcing = self.modes.to_modes(np.asarray(forcing, dtype=np.float64))
            self._forcing[0, 0] = 0.0

    def rate(self, vorticity: Complex) -> Complex:
        """The part of w_t that is not viscous, -u . grad w + f; coefficients in and out, (..., *shape)."""
        u = self.modes.to_values(self._along_u * vorticity)
        v = self.modes.to_values(self._along_v * vorticity)
        shear, strain = self.modes.to_modes(u * v), self.modes.to_modes((v - u) * (v + u))
        found: Complex = self._shear * shear + self._strain * strain + self._forcing
        return found

    def run(
        self, initial: Float, times: Sequence[float], *, step: float = math.inf, courant: float = math.inf
    ) -> Float:
        """Frames (samples, len(times), n, n) that begin with the vorticity ``initial`` (samples, n, n).

        Parameters
        ----------
        initial : array
            At the nodes; modes above n/3 are dropped, from the first frame too.
        times : increasing, the first is that of ``initial``
        step : float
            Longest step.
        courant : float
            Largest Courant number, looked at for each sample at every frame and at least once per unit of
            time.  It decides the step of that sample only, whose number is 2^j or 3 * 2^j.

        Returns
        -------
        array
            NaN from the frame on in which a sample became infinite, or needed more than 24576 steps per unit
            of time.

        Raises
        ------
        ConfigError
            If neither step nor Courant number is limited, or the times do not increase.
        """
        if not (step > 0 and courant > 0 and min(step, courant) < math.inf):
            raise ConfigError(
                "VorticitySolver: needs a positive finite step or Courant number, got "
                f"step={step}, courant={courant}."
            )
        instants = [float(t) for t in times]
        if not instants or not all(b > a for a, b in pairwise(instants)):
            raise ConfigError(f"VorticitySolver: times must increase, got {instants}.")
        n = self.modes.grid.shape[0]
        chunk = max(1, _POINTS // n**2)
        frames = np.empty((len(initial), len(instants), n, n))
        for i in range(0, len(initial), chunk):
            w = self.modes.to_modes(initial[i : i + chunk])
            frames[i : i + chunk, 0] = self.modes.to_values(w)
            for j in range(1, len(instants)):
                parts = max(1, math.ceil((instants[j] - instants[j - 1]) / _CHECK - 1e-9))
                for _ in range(parts):
                    w = self._advance(w, (instants[j] - instants[j - 1]) / parts, step, courant)
                frames[i : i + chunk, j] = self.modes.to_values(w)
        return frames

    def _advance(self, w: Complex, duration: float, step: float, courant: float) -> Complex:
        """All samples over one stretch of time, those with equal steps together."""
        counts = self._counts(w, duration, step, courant)
        after = np.full_like(w, np.nan)
        for count in np.unique(counts[counts > 0]).tolist():
            rows = counts == count
            method = self._method(duration / count)
            part = w[rows]
            with np.errstate(over="ignore", invalid="ignore"):
                for _ in range(count):
                    part = method.advance(part, self.rate)
            after[rows] = part
        return after

    def _counts(self, w: Complex, duration: float, step: float, courant: float) -> NDArray[np.int64]:
        """Steps of each sample, 2^j or 3 * 2^j (few kinds: they run together); 0 if there is no hope."""
        least = np.full(len(w), duration / step)
        if courant < math.inf:
            with np.errstate(over="ignore", invalid="ignore"):
                speed = np.abs(self.modes.to_values(self._along_u * w))
                speed += np.abs(self.modes.to_values(self._along_v * w))
                k_max = self.modes.wavenumbers[1].max()
                least = np.maximum(least, duration * k_max * speed.max(axis=(1, 2)) / courant)
        return np.array([round_up(value) for value in least.tolist()])

    def _method(self, step: float) -> ETDRK4:
        if step not in self._methods:
            self._methods[step] = ETDRK4(self._linear, step)
        return self._methods[step]


def round_up(steps: float) -> int:
    """The least 2^j or 3 * 2^j that is not below ``steps``; 0 if it exceeds the limit or is no number."""
    if not steps <= _MOST:
        return 0
    needed = max(1, math.ceil(steps * (1 - 1e-9)))
    power: int = 1 << (needed - 1).bit_length()
    return 3 * power // 4 if power >= 4 and 4 * needed <= 3 * power else power


@lru_cache(maxsize=8)
def _torus(n: int) -> Modes:
    return Modes(Grid.box((n, n), location="node", periodic=True), degree=2)
