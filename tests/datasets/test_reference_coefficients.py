"""The equations of other people's solutions, found again in what our readers make of their files.

A wrong order of axes, spacing or period would show in the coefficients at once.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sciml.datasets.readers import ReferenceSolution, open_any

Array = np.ndarray[Any, Any]


def solution(
    path: Path, name: str, cache: Path, axes: tuple[str, ...] | None = None
) -> tuple[Array, Array, float]:
    """u (time, x) in float64, the times, and the spacing in x."""
    readers = None if axes is None else [ReferenceSolution(axes=axes)]
    data = open_any(path, cache=cache, readers=readers)
    assert data.grid is not None and data.times is not None
    x = data.grid.axes[0].coordinates
    return data.load(name)[0].astype(np.float64), np.asarray(data.times), float(x[1] - x[0])


def in_time(u: Array, t: Array) -> Array:
    """u_t at all but the two outermost frames, to fourth order."""
    dt = t[1] - t[0]
    return (u[:-4] - 8 * u[1:-3] + 8 * u[3:-1] - u[4:]) / (12 * dt)


def in_space(u: Array, dx: float, order: int) -> Array:
    """A derivative of a periodic function by the FFT."""
    k = 2 * np.pi * np.fft.rfftfreq(u.shape[1], dx)
    return np.fft.irfft((1j * k) ** order * np.fft.rfft(u), u.shape[1])


def second_difference(u: Array, dx: float) -> Array:
    return (u[:, 2:] - 2 * u[:, 1:-1] + u[:, :-2]) / dx**2


def fitted(left: Array, *terms: Array) -> Array:
    """Coefficients c of ``left = Σ c_i term_i`` in the sense of least squares."""
    matrix = np.stack([term.ravel() for term in terms], axis=1)
    return np.linalg.lstsq(matrix, left.ravel(), rcond=None)[0]


def test_allen_cahn_of_raissi(test_data: Path, tmp_path: Path) -> None:
    u, t, dx = solution(test_data / "raissi_pinns" / "AC.mat", "uu", tmp_path)
    inner = u[2:-2]
    found = fitted(in_time(u, t), in_space(inner, dx, 2), inner, inner**3)
    # u_t = 1e-4 u_xx + 5 u - 5 u^3; the stated digits.
    np.testing.assert_allclose(found, (1.0000e-4, 4.9997, -4.9996), rtol=2e-4)


def test_allen_cahn_of_deepxde(test_data: Path, tmp_path: Path) -> None:
    u, t, dx = solution(test_data / "deepxde" / "Allen_Cahn.mat", "u", tmp_path)
    inner = u[2:-2]
    found = fitted(in_time(u, t)[:, 1:-1], inner[:, 1:-1], inner[:, 1:-1] ** 3, second_difference(inner, dx))
    # Stated: 5.006, -5.002, 0.0011 by finite differences, which are of second order in space here.
    np.testing.assert_allclose(found[:2], (5.006, -5.002), rtol=2e-3)
    assert found[2] == pytest.approx(0.0011, abs=1e-4)


def test_kuramoto_sivashinsky_of_pysindy(test_data: Path, tmp_path: Path) -> None:
    u, t, dx = solution(test_data / "pysindy" / "kuramoto_sivishinky.mat", "uu", tmp_path)
    inner = u[2:-2]
    advection = inner * in_space(inner, dx, 1)
    found = fitted(in_time(u, t), advection, in_space(inner, dx, 2), in_space(inner, dx, 4))
    # u_t = -u u_x - u_xx - u_xxxx. Stated: 0.992 each, with a difference quotient of second order in time,
    # since the step is coarse; with one of fourth order the error of 8e-3 becomes about 2e-4.
    np.testing.assert_allclose(found, -1.0, atol=5e-4)


def test_reaction_diffusion_of_deepxde(test_data: Path, tmp_path: Path) -> None:
    path = test_data / "deepxde" / "reaction.npz"
    a, t, dx = solution(path, "Ca", tmp_path, axes=("t", "x"))
    b, _, _ = solution(path, "Cb", tmp_path, axes=("t", "x"))
    late = slice(20, -2)  # the start varies fast beside the frames
    sink = (a * b**2)[late, 1:-1]
    shown = slice(late.start - 2, None)
    for u, rate in ((a, -0.1), (b, -0.2)):
        found = fitted(in_time(u[shown], t)[:, 1:-1], second_difference(u[late], dx), sink)
        assert found[0] == pytest.approx(2e-3, rel=1e-3)
        # Stated: 0.3 %. With these quotients the rate comes out 0.4 to 0.7 % low, whichever frames are taken.
        assert found[1] == pytest.approx(rate, rel=1e-2)
