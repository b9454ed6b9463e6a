"""The steps of `VorticitySolver` as machine code: `vorticity.c`, compiled when a process first needs it."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sciml.datasets.numerics.compiled import compiled
from sciml.datasets.numerics.pseudo_spectral import ETDRK4, Modes, velocity_factors

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]

_LANES = 8  # numbers side by side in vorticity.c
_PRIMES = (2, 3, 5)  # with other factors its transforms are no faster than those of torch


def is_compiled(n: int) -> bool:
    """Whether flows on n points per axis are computed by `CompiledSteps`.

    Not for a prime factor above 5, where there is no C compiler (``CC``, or ``cc``), nor with
    ``SCIML_KERNELS=reference`` in the environment.
    """
    rest = n
    for prime in _PRIMES:
        while rest % prime == 0:
            rest //= prime
    return rest == 1 and compiled("vorticity") is not None


class CompiledSteps:
    r"""Steps of `ETDRK4` for w_t + u . grad w = nu Laplacian(w) + f, one sample after the other.

    Parameters
    ----------
    modes : Modes
        Of degree 2, on n x n points.
    viscosity : float
        nu.
    forcing : complex array (*modes.shape)
        Coefficients of f, without a mean.

    Notes
    -----
    Along x, u and v are transformed for the waves l = 0 .. m along y; along y there is one complex transform
    of u + i v, and one back of its square, without storing either.  All that a step needs stays in the cache,
    about 0.4 MB for n = 64.  The rate agrees with `VorticitySolver.rate` to rounding.
    """

    def __init__(self, modes: Modes, viscosity: float, forcing: Complex) -> None:
        library = compiled("vorticity")
        assert library is not None, "ask is_compiled first"
        (self._n, _), (rows, waves) = modes.grid.shape, modes.shape
        self._blocks = -(-waves // _LANES)
        self._linear, (kx, ky) = viscosity * modes.laplacian, modes.wavenumbers
        along_u, along_v = (factors.imag for factors in velocity_factors(modes))
        angles = 2 * math.pi * np.arange(self._n) / self._n
        self._constant = [
            _aligned(np.stack([np.cos(angles), -np.sin(angles)], axis=-1)),
            self._lanes(along_u, along_v),
            self._lanes((kx**2 - ky**2) / (4 * self._n**2), -kx * ky / (2 * self._n**2)),
            self._states(forcing),
        ]
        columns = -(-self._n // _LANES)
        room = 5 * rows * self._blocks + (2 * self._blocks + 4) * _LANES * columns
        self._space = _aligned(np.zeros((room, 2, _LANES)))
        self._weights: dict[float, Float] = {}
        self._sizes = self._n, rows, self._blocks
        self._advance: Any = library.advance
        self._advance.argtypes = [ctypes.c_long] * 4 + [ctypes.c_void_p] * 7
        self._advance.restype = None

    def advance(self, coefficients: Complex, step: float, count: int) -> Complex:
        """The coefficients (samples, *shape) of w after ``count`` steps."""
        if step not in self._weights:
            method = ETDRK4(self._linear, step)
            factors = (method.whole, method.half, method.q, method.f1, method.f2, method.f3)
            self._weights[step] = self._lanes(*factors)
        states = self._states(coefficients)
        for state in states:
            arrays = [*self._constant, self._weights[step], state, self._space]
            self._advance(*self._sizes, count, *(array.ctypes.data for array in arrays))
        padded = states[..., 0, :] + 1j * states[..., 1, :]
        found: Complex = padded.reshape(*padded.shape[:-2], -1)[..., : coefficients.shape[-1]]
        return found

    def _lanes(self, *factors: Float) -> Float:
        """Real arrays (*shape) on top of each other, their rows filled with zeros to whole blocks."""
        return _aligned(np.stack([self._filled(factor) for factor in factors]))

    def _states(self, coefficients: Complex) -> Float:
        """(..., rows, blocks, 2, 8): real and imaginary parts of eight waves each."""
        blocks = self._filled(coefficients).reshape(*coefficients.shape[:-1], self._blocks, _LANES)
        return _aligned(np.stack([blocks.real, blocks.imag], axis=-2))

    def _filled(self, array: NDArray[Any]) -> NDArray[Any]:
        missing = self._blocks * _LANES - array.shape[-1]
        return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)])


def _aligned(values: Float) -> Float:
    """A copy that begins at a multiple of 64 bytes, as tensors do: the widest registers need it."""
    return torch.from_numpy(np.ascontiguousarray(values)).clone().numpy()
