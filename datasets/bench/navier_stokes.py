"""Navier-Stokes: the scheme of `VorticitySolver`, one sample at a time, in plain NumPy and SciPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2

from sciml.datasets.bench.timing import Race
from sciml.datasets.navier_stokes import NavierStokes
from sciml.datasets.numerics.pseudo_spectral import ETDRK4
from sciml.datasets.numerics.vorticity import round_up

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]

COURANT = 1.5


class PlainLoop:
    """One sample at a time: arrays of the half spectrum, masked by the "2/3 rule", all updates in place.

    Two transforms there and two back for each of the four stages.  All factors are computed once; those that
    are real multiply real and imaginary parts, which numpy does faster than complex products.
    """

    def __init__(self, flow: NavierStokes) -> None:
        n = flow.resolution
        self.flow, self.n = flow, n
        waves = np.fft.fftfreq(n, 1 / n)[:, None], np.fft.rfftfreq(n, 1 / n)[None, :]
        self.kept = (3 * np.abs(waves[0]) < n) & (3 * np.abs(waves[1]) < n)
        kx, ky = (2 * math.pi * k for k in waves)
        squares = kx**2 + ky**2
        self.linear, self.k_max = -flow.viscosity * squares, 2 * math.pi * math.ceil(n / 3 - 1)
        squares[0, 0] = 1.0  # both derivatives vanish there
        self.velocity = np.stack([1j * ky / squares, -1j * kx / squares])
        self.back = np.stack([pairs((kx**2 - ky**2) * self.kept), pairs(kx * ky * self.kept)])
        force = rfft2(flow.force(flow.grid)) * self.kept
        force[0, 0] = 0.0
        self.force = force.view(np.float64)
        self.methods: dict[float, tuple[Float, ...]] = {}
        self.spectra: Complex = np.empty((2, n, n // 2 + 1), dtype=np.complex128)
        self.products: Float = np.empty((2, n, n))
        self.work: tuple[Float, ...] = tuple(np.empty_like(self.force) for _ in range(6))

    def sample(self, seed: int) -> Float:
        """Frames (frames, n, n) of one flow."""
        times = self.flow.times.tolist()
        spectrum = rfft2(self.flow.initial.sample([seed], self.flow.grid)[0]) * self.kept
        frames = np.empty((len(times), self.n, self.n))
        frames[0] = irfft2(spectrum, s=(self.n, self.n))
        for j in range(1, len(times)):
            parts = max(1, math.ceil(times[j] - times[j - 1] - 1e-9))
            for _ in range(parts):
                self.advance(spectrum, (times[j] - times[j - 1]) / parts)
            frames[j] = irfft2(spectrum, s=(self.n, self.n))
        return frames

    def advance(self, spectrum: Complex, duration: float) -> None:
        """Whole steps of equal length; the Courant number at the start decides how many."""
        u, v = irfft2(self.velocity * spectrum, s=(self.n, self.n))
        count = round_up(duration * self.k_max * float((np.abs(u) + np.abs(v)).max()) / COURANT)
        step = duration / count
        if step not in self.methods:
            method = ETDRK4(self.linear, step)
            factors = method.whole, method.half, method.q, method.f1, method.f2, method.f3
            self.methods[step] = tuple(pairs(factor) for factor in factors)
        whole, half, q, f1, f2, f3 = self.methods[step]
        w, (a, b, n_w, n_a, n_b, t) = spectrum.view(np.float64), self.work
        for _ in range(count):
            self.rate(w, n_w)
            np.multiply(half, w, out=b)
            np.multiply(q, n_w, out=a)
            a += b  # half w + q N(w)
            self.rate(a, n_a)
            np.multiply(q, n_a, out=t)
            b += t
            self.rate(b, n_b)
            np.multiply(n_b, 2.0, out=t)
            t -= n_w
            t *= q
            a *= half
            a += t  # half a + q (2 N(b) - N(w))
            w *= whole
            n_w *= f1
            w += n_w
            n_a += n_b
            n_a *= f2
            w += n_a
            self.rate(a, n_b)
            n_b *= f3
            w += n_b

    def rate(self, w: Float, out: Float) -> None:
        """-u . grad w + f = (d_yy - d_xx)(u v) + d_xy (u^2 - v^2) + f, real and imaginary parts in turns."""
        np.multiply(self.velocity, w.view(np.complex128), out=self.spectra)
        u, v = irfft2(self.spectra, s=(self.n, self.n), overwrite_x=True)
        np.multiply(u, v, out=self.products[0])
        u *= u
        v *= v
        np.subtract(v, u, out=self.products[1])
        shear, strain = rfft2(self.products).view(np.float64)
        shear *= self.back[0]
        strain *= self.back[1]
        np.add(shear, strain, out=out)
        out += self.force


def pairs(factors: NDArray[Any]) -> Float:
    """Each number twice, for real and imaginary part."""
    return np.repeat(factors, 2, axis=-1)


def race(quick: bool) -> Race:
    """64 x 64 points, viscosity 1e-3, 21 frames until T = 20, with the default forcing."""
    flow = NavierStokes(resolution=16, final_time=2.0, frames=3) if quick else NavierStokes()
    return Race(
        caption=(
            f"{flow.frames} frames of the vorticity until T = {flow.final_time:g} on {flow.resolution} x "
            f"{flow.resolution} points, viscosity {flow.viscosity:g}, from the seed to the frames; ETDRK4, "
            "float64, one thread. The plain loop makes one sample at a time with scipy.fft.rfft2 and irfft2."
        ),
        plain=PlainLoop(flow).sample,
        ours=lambda seeds: flow.sample(seeds)[0],
        samples=2 if quick else 20,
    )
