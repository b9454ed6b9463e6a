"""Navier-Stokes: the scheme of `sciml.datasets.vorticity` one sample at a time with real transforms of SciPy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2

from sciml.datasets.bench.timing import Race
from sciml.datasets.navier_stokes import NavierStokes
from sciml.datasets.pseudo_spectral import ETDRK4
from sciml.datasets.vorticity import round_up

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]

COURANT = 1.5


class PlainLoop:
    """One sample at a time: arrays of the half spectrum, masked by the "2/3 rule", all updates in place.

    Two transforms there and two back for each of the four stages; all factors are computed once.
    """

    def __init__(self, flow: NavierStokes) -> None:
        n = flow.resolution
        self.flow, self.n = flow, n
        waves = np.fft.fftfreq(n, 1 / n)[:, None], np.fft.rfftfreq(n, 1 / n)[None, :]
        kept = (3 * np.abs(waves[0]) < n) & (3 * np.abs(waves[1]) < n)
        kx, ky = (2 * math.pi * k for k in waves)
        squares = kx**2 + ky**2
        self.linear = -flow.viscosity * squares
        inverse = np.where(squares > 0, 1 / np.where(squares > 0, squares, 1.0), 0.0)
        # The velocity from the vorticity; masked products back to its rate.  Two fields, one behind the other.
        self.velocity = np.stack([1j * ky * inverse, -1j * kx * inverse])
        self.back = np.stack([np.where(kept, kx**2 - ky**2, 0.0), np.where(kept, kx * ky, 0.0)]) + 0j
        self.kept, self.k_max = kept, 2 * math.pi * math.ceil(n / 3 - 1)
        self.force = np.where(kept, rfft2(flow.force(flow.grid)), 0.0)
        self.force[0, 0] = 0.0
        self.methods: dict[float, tuple[Complex, ...]] = {}
        self.spectra: Complex = np.empty((2, n, n // 2 + 1), dtype=np.complex128)
        self.products: Float = np.empty((2, n, n))

    def sample(self, seed: int) -> Float:
        """Frames (frames, n, n) of one flow."""
        times = self.flow.times.tolist()
        w = rfft2(self.flow.initial.sample([seed], self.flow.grid)[0]) * self.kept
        frames = np.empty((len(times), self.n, self.n))
        frames[0] = irfft2(w, s=(self.n, self.n))
        for j in range(1, len(times)):
            parts = max(1, math.ceil(times[j] - times[j - 1] - 1e-9))
            for _ in range(parts):
                self.advance(w, (times[j] - times[j - 1]) / parts)
            frames[j] = irfft2(w, s=(self.n, self.n))
        return frames

    def advance(self, w: Complex, duration: float) -> None:
        """Whole steps of equal length; the Courant number at the start decides how many."""
        u, v = irfft2(self.velocity * w, s=(self.n, self.n))
        count = round_up(duration * self.k_max * float((np.abs(u) + np.abs(v)).max()) / COURANT)
        step = duration / count
        if step not in self.methods:
            method = ETDRK4(self.linear, step)
            self.methods[step] = method.whole, method.half, method.q, method.f1, method.f2, method.f3
        whole, half, q, f1, f2, f3 = self.methods[step]
        a, b, n_w, n_a, n_b = (np.empty_like(w) for _ in range(5))
        for _ in range(count):
            self.rate(w, n_w)
            np.multiply(half, w, out=b)
            np.multiply(q, n_w, out=a)
            a += b  # a = half w + q N(w)
            self.rate(a, n_a)
            w *= whole
            w += f1 * n_w  # all of N(w) that the new w needs
            n_w *= -0.5
            b += q * n_a
            self.rate(b, n_b)
            a *= half
            n_w += n_b
            n_w *= q
            n_w *= 2
            a += n_w  # c = half a + q (2 N(b) - N(w))
            n_a += n_b
            n_a *= f2
            w += n_a
            self.rate(a, n_b)
            n_b *= f3
            w += n_b

    def rate(self, w: Complex, out: Complex) -> None:
        """-u . grad w + f = (d_yy - d_xx)(u v) + d_xy (u^2 - v^2) + f."""
        np.multiply(self.velocity, w, out=self.spectra)
        u, v = irfft2(self.spectra, s=(self.n, self.n), overwrite_x=True)
        np.multiply(u, v, out=self.products[0])
        np.multiply(v - u, v + u, out=self.products[1])
        products = rfft2(self.products)
        products *= self.back
        np.add(products[0], products[1], out=out)
        out += self.force


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
        samples=2 if quick else 16,
    )
