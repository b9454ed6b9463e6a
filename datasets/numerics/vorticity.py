"""The solver of two-dimensional incompressible flow on the periodic unit square, in vorticity form."""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sciml.datasets.numerics.compiled_vorticity import CompiledSteps, is_compiled
from sciml.datasets.numerics.pseudo_spectral import ETDRK4, Modes
from sciml.errors import ConfigError
from sciml.grid import Grid

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]

_CHECK = 1.0  # time after which the step is chosen anew, at the latest
_MOST = 3 * 2**13  # steps per check; more means that the solution has blown up
_POINTS = 2**14  # per array and pass: four samples of 64 x 64 stay in the cache with all that a step needs
_NOTHING = 1e-15  # of the largest coefficient of the forcing: rounding
_TURN = cmath.exp(0.25j * math.pi)


class VorticitySolver:
    r"""w_t + u . grad w = nu Laplacian(w) + f on the unit torus, u the velocity with curl w and mean zero.

    Fourier-Galerkin in space, with all |k| < n/3 per axis and exact products ("2/3 rule", `Modes`): without
    viscosity and forcing, energy and enstrophy are conserved but for the error of the steps.  Time: `ETDRK4`
    of order 4, steps that divide the time between two frames, so that no frame is interpolated.  float64.

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
    Where `is_compiled` says so, `CompiledSteps` takes the steps; else NumPy does, in chunks of samples, which
    agrees to rounding.  What follows is about the latter.

    The Courant number is h k_max max(|u| + |v|) with k_max = 2 pi m for the highest wave number m: the bound
    of the fastest wave that the advection makes.  The nonlinear part of the method is stable below 2.83.

    One complex transform there and one back give the nonlinearity.  With z = u + i v, whose coefficients are
    those of w times (k_x + i k_y) / |k|^2,

        -u . grad w = (d_yy - d_xx)(u v) + d_xy (u^2 - v^2) = -2 Im d^2 (z^2),  d = (d_x - i d_y) / 2.

    The coefficient of the wave (k, l) is kept at place c + n k + l of a row, c = m (n + 1), with zeros
    between -m .. m and the next row of waves.  That is where the flattened n x n spectrum of the field times
    e^(2 pi i m (x + y)) has it; the square of such a field has it at 2 c + n k + l.  So no wave wraps around,
    and opposite waves lie mirrored about the middle, of which a real field needs one half only.  All
    coefficients carry a factor e^(i pi / 4): then that of the opposite wave has real and imaginary part
    exchanged, and the other half is this one, backwards in memory.

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
        n = resolution
        self.modes = _torus(n)
        m = self.modes.shape[1] - 1
        self._center, self._k_max = m * (n + 1), 2 * math.pi * m
        k, l = (np.rint(waves / (2 * math.pi)).astype(np.int64) for waves in self.modes.wavenumbers)
        self._places: NDArray[np.int64] = self._center + n * k + l
        slopes = (np.broadcast_to(self.modes.derivative(axis), self.modes.shape) for axis in (0, 1))
        kx, ky = (self._row(slope).imag for slope in slopes)
        squares = kx**2 + ky**2
        self._viscosity = viscosity
        self._linear = -viscosity * np.repeat(squares[self._center :], 2)
        squares[squares == 0.0] = 1.0  # the mean and the gaps
        self._velocity = (kx + 1j * ky) / squares / _TURN
        self._back = -0.25j * _TURN * (kx - 1j * ky) ** 2 / n**2
        self._phase = np.exp(-2j * math.pi * m * self.modes.grid.coordinates().sum(axis=0))
        chunk = max(1, _POINTS // n**2)
        self._rows: Complex = torch.zeros(chunk, 2 * self._center + 1, dtype=torch.complex128).numpy()
        self._spectra = torch.zeros(chunk, n, n, dtype=torch.complex128)  # zeros stay in the gaps
        self._methods: dict[float, ETDRK4] = {}
        self._forcing: Float = np.zeros(2 * self._center + 2)
        if forcing is not None:
            self._forcing = self.packed(np.asarray(forcing, dtype=np.float64))
            self._forcing[:2] = 0.0
        forced = np.flatnonzero(np.abs(self._forcing) > _NOTHING * np.abs(self._forcing).max())
        self._forced = slice(forced.min(), forced.max() + 1) if forced.size else slice(0)

    def packed(self, values: Float) -> Float:
        """Coefficients of w as `rate` takes them, (..., 2 c + 2), of its values (..., n, n)."""
        return self._pack(self.modes.to_modes(values))

    def _pack(self, coefficients: Complex) -> Float:
        rows: Complex = _TURN * self._row(coefficients)[..., self._center :]
        return rows.view(np.float64)

    def _unpack(self, packed: Float) -> Complex:
        """Coefficients of `Modes`, (..., *shape)."""
        places = self._places - self._center
        found: Complex = packed.view(np.complex128)[..., np.abs(places)] / _TURN
        return np.where(places < 0, found.conj(), found)

    def rate(self, packed: Float) -> Float:
        """The part of w_t that is not viscous, -u . grad w + f, of a chunk of samples."""
        count, c = len(packed), self._center
        z = self._points(packed, self._velocity)
        np.multiply(z.numpy(), z.numpy(), out=z.numpy())
        squares = torch.fft.fft2(z).numpy().reshape(count, -1)
        rows = np.multiply(squares[:, c : 3 * c + 1], self._back, out=self._rows[:count]).view(np.float64)
        found: Float = rows[:, 2 * c :] + rows[:, 2 * c + 1 :: -1]
        found[:, self._forced] += self._forcing[self._forced]
        return found

    def _points(self, packed: Float, factors: ArrayLike) -> Tensor:
        """Values of a linear function of w, times e^(2 pi i m (x + y)), (samples, n, n)."""
        count, c = len(packed), self._center
        rows, spectra = self._rows[:count], self._spectra[:count]
        parts = rows.view(np.float64)
        parts[:, 2 * c :] = packed
        parts[:, : 2 * c] = packed[:, :1:-1]
        np.multiply(rows, factors, out=spectra.numpy().reshape(count, -1)[:, : 2 * c + 1])
        found: Tensor = torch.fft.ifft2(spectra, norm="forward")
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
        w = self.packed(initial)
        frames = np.empty((len(initial), len(instants), n, n))
        self._store(w, frames[:, 0])
        for j in range(1, len(instants)):
            parts = max(1, math.ceil((instants[j] - instants[j - 1]) / _CHECK - 1e-9))
            for _ in range(parts):
                w = self._advance(w, (instants[j] - instants[j - 1]) / parts, step, courant)
            self._store(w, frames[:, j])
        return frames

    def _store(self, packed: Float, frame: Float) -> None:
        """The values of all samples, into ``frame``."""
        for part in self._chunks(np.arange(len(packed))):
            frame[part] = (self._points(packed[part], 1 / _TURN).numpy() * self._phase).real

    def _advance(self, w: Float, duration: float, step: float, courant: float) -> Float:
        """All samples over one stretch of time, those with equal steps together."""
        counts = self._counts(w, duration, step, courant)
        after = np.full_like(w, np.nan)
        for count in np.unique(counts[counts > 0]).tolist():
            chosen = np.flatnonzero(counts == count)
            if self._compiled is not None:
                after[chosen] = self._pack(
                    self._compiled.advance(self._unpack(w[chosen]), duration / count, count)
                )
                continue
            method = self._method(duration / count)
            for part in self._chunks(chosen):
                packed = w[part]
                with np.errstate(over="ignore", invalid="ignore"), torch.inference_mode():
                    for _ in range(count):
                        packed = method.advance(packed, self.rate)
                after[part] = packed
        return after

    def _counts(self, w: Float, duration: float, step: float, courant: float) -> NDArray[np.int64]:
        """Steps of each sample, 2^j or 3 * 2^j (few kinds: they run together); 0 if there is no hope."""
        least = np.full(len(w), duration / step)
        if courant < math.inf:
            for part in self._chunks(np.arange(len(w))):
                with np.errstate(over="ignore", invalid="ignore"):
                    z = self._points(w[part], self._velocity).numpy() * self._phase
                    speed = (np.abs(z.real) + np.abs(z.imag)).max(axis=(1, 2))
                    least[part] = np.maximum(least[part], duration * self._k_max * speed / courant)
        return np.array([round_up(value) for value in least.tolist()])

    def _chunks(self, samples: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Equal parts, no larger than there is room for."""
        return np.array_split(samples, -(-len(samples) // len(self._rows))) if len(samples) else []

    def _row(self, coefficients: Complex) -> Complex:
        """Coefficients of `Modes` (..., *shape) at their places, all waves, (..., 2 c + 1)."""
        last = 2 * self._center
        row = np.zeros((*coefficients.shape[:-2], last + 1), dtype=np.complex128)
        row[..., last - self._places] = coefficients.conj()
        row[..., self._places] = coefficients
        return row

    @cached_property
    def _compiled(self) -> CompiledSteps | None:
        if not is_compiled(self.modes.grid.shape[0]):
            return None
        return CompiledSteps(self.modes, self._viscosity, self._unpack(self._forcing))

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
