"""Random starts that several equations share; the same function at every resolution."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.numerics.random_fields import Boundary, GaussianField
from sciml.errors import ConfigError

Float = NDArray[np.float64]


@dataclass(frozen=True)
class SineSum:
    r"""Sums of a few sine waves on the periodic unit box, some of them rectified or cut by a window.

    With ``terms`` independent draws of a wave vector k (components 1 .. ``waves``, of random sign from the
    second on), an amplitude a ~ U(0, 1) and a phase p ~ U(0, 2 pi),

        g(s) = +- sum_i a_i sin(2 pi k_i . s + p_i),

    then |g| before the sign with probability ``rectified``, and with probability ``windowed`` times the
    window prod_j (tanh((s_j - l_j) / 0.01) - tanh((s_j - r_j) / 0.01)) / 2, l_j ~ U(0.1, 0.45), r_j ~
    U(0.55, 0.9), which is 2e-9 or less at the ends.

    Parameters
    ----------
    waves, terms : int
    rectified, windowed : float
        Probabilities.

    Notes
    -----
    The law of the one-dimensional problems of PDEBench (Takamoto et al. 2022, arXiv:2210.07182, appendix D)
    without the faults of its published generator.  There the wave number is divided by the distance of the
    first and last *center*, so that starts jump by O(h) where the period closes; the waves that are not drawn
    stay in the sum as constants, and one drawn twice becomes a wave of twice the number; and amplitudes,
    chosen waves, signs and windows come from the same random key, so that they depend on each other.  Here
    the functions are periodic, only the drawn waves are in the sum, and all draws are independent.  The
    statistics are therefore not those of the files.

    Examples
    --------
    >>> start = SineSum(rectified=0.0, windowed=0.0).draw(3)
    >>> s = np.linspace(0, 1, 5)
    >>> bool(np.isclose(start(s)[0], start(s)[-1])), bool(np.allclose(start(s), start(s + 1)))
    (True, True)
    """

    waves: int = 4
    terms: int = 2
    rectified: float = 0.1
    windowed: float = 0.1

    def __post_init__(self) -> None:
        if self.waves < 1 or self.terms < 1 or not (0 <= self.rectified <= 1 and 0 <= self.windowed <= 1):
            raise ConfigError(
                f"SineSum: needs waves >= 1, terms >= 1 and probabilities, got waves={self.waves}, "
                f"terms={self.terms}, rectified={self.rectified}, windowed={self.windowed}."
            )

    def draw(self, seed: int, rank: int = 1) -> Callable[..., Float]:
        """The function of this seed; takes one array per axis of coordinates in units of the period."""
        rng = np.random.default_rng(seed)
        k = rng.integers(1, self.waves + 1, (self.terms, rank)).astype(np.float64)
        k[:, 1:] *= rng.choice([-1.0, 1.0], (self.terms, rank - 1))
        amplitude, phase = rng.uniform(size=self.terms), rng.uniform(0.0, 2 * math.pi, self.terms)
        rectified, windowed = rng.uniform(size=2) < (self.rectified, self.windowed)
        sign = rng.choice([-1.0, 1.0])
        left, right = rng.uniform(0.1, 0.45, rank), rng.uniform(0.55, 0.9, rank)

        def start(*s: Float) -> Float:
            total = np.zeros(np.broadcast_shapes(*(np.shape(c) for c in s)))
            for i in range(self.terms):
                angle = sum((2 * math.pi * k[i, j] * s[j] for j in range(rank)), phase[i])
                total = total + amplitude[i] * np.sin(angle)
            total = sign * (np.abs(total) if rectified else total)
            for j in range(rank if windowed else 0):
                r = np.mod(s[j], 1.0)
                total = total * (np.tanh((r - left[j]) / 0.01) - np.tanh((r - right[j]) / 0.01)) / 2
            return np.asarray(total)

        return start


def smooth_field(
    rank: int,
    *,
    boundary: Boundary = "periodic",
    smoothness: float = 2.0,
    scale: float = 0.15,
    modes: int = 8,
) -> GaussianField:
    """A Gaussian field on the unit box with standard deviation about 1.

    The Matern covariance of `GaussianField` with ``alpha = smoothness + rank / 2``, ``tau = 1 / scale`` and
    the ``sigma`` that gives variance 1 on the whole space.  On the torus the standard deviation is 1.02 to
    1.06 (rank 1 to 3).  Near walls it rises to sqrt(2) per axis with "neumann" and vanishes with "dirichlet".

    Parameters
    ----------
    rank : int
        Axes.
    boundary : "periodic", "neumann" or "dirichlet"
    smoothness : float, positive
    scale : float, positive
        Correlation length.
    modes : int
        Wave numbers per axis: periodic functions need 2 modes points per axis, the others modes intervals.
    """
    alpha, tau = smoothness + rank / 2, 1 / scale
    variance = math.gamma(smoothness) / math.gamma(alpha) / (4 * math.pi) ** (rank / 2)
    return GaussianField(
        alpha=alpha, tau=tau, sigma=tau**smoothness / math.sqrt(variance), boundary=boundary, modes=modes
    )


def subseeds(seeds: Sequence[int], stream: int) -> list[int]:
    """One further seed per seed, for a draw that is independent of that of the seed itself."""
    return [int(np.random.SeedSequence([s, stream]).generate_state(1, np.uint64)[0]) for s in seeds]
