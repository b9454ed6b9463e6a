"""Errors over time, valid time, correlation time and spectra against values by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sciml.errors import ShapeError
from sciml.grid import Grid
from sciml.trajectories import (
    correlation_over_time,
    correlation_time,
    energy_spectrum,
    error_over_time,
    kinetic_spectrum,
    valid_time,
)

TIMES = torch.tensor([0.5, 1.0, 1.5, 2.0], dtype=torch.float64)


def curve(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def waves(shifts: list[float], channels: int = 1) -> Tensor:
    """sin(2 pi x - shift), one frame for each shift: (1, time, channel, 32)."""
    x = torch.arange(32, dtype=torch.float64) / 32
    frames = torch.stack([torch.sin(2 * math.pi * x - shift) for shift in shifts])
    return frames[None, :, None].expand(1, len(shifts), channels, 32).clone()


def test_error_and_correlation_of_a_phase_error_are_known() -> None:
    shifts = [0.0, 0.3, 1.0, math.pi]
    target, prediction = waves([0.0] * 4, 2), waves(shifts, 2)
    # |sin(x - s) - sin(x)| has norm 2 sin(s/2) relative to sin(x); the correlation is cos(s).
    expected = curve(*(2 * math.sin(s / 2) for s in shifts))
    torch.testing.assert_close(error_over_time(prediction, target), expected, rtol=1e-12, atol=1e-12)
    cosines = curve(*(math.cos(s) for s in shifts))
    torch.testing.assert_close(correlation_over_time(prediction, target), cosines, rtol=1e-12, atol=1e-12)


def test_error_takes_all_channels_together_and_weights_of_space() -> None:
    target = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    prediction = target.clone()
    prediction[0, 0, 0, 0] = 3.0
    assert error_over_time(prediction, target).item() == pytest.approx(1.0)  # sqrt(4/4)
    weights = torch.tensor([1.0, 3.0])
    assert error_over_time(prediction, target, weights=weights).item() == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize(
    ("values", "time", "censored"),
    [
        ((0.5, 0.6, 0.7, 0.8), 0.5, False),  # from the first frame on
        ((0.1, 0.4, 0.41, 0.2), 1.5, False),  # the threshold itself is still valid
        ((0.1, 0.2, 0.3, 0.4), 2.0, True),
        ((0.1, math.nan, 0.1, 0.1), 1.0, False),
        ((0.1, 0.2, 0.3, math.inf), 2.0, False),
    ],
)
def test_valid_time(values: tuple[float, ...], time: float, censored: bool) -> None:
    found = valid_time(curve(*values), TIMES, threshold=0.4)
    assert (found.values.item(), found.censored.item()) == (time, censored)


@pytest.mark.parametrize(
    ("values", "time", "censored"),
    [
        ((0.9, 0.85, 0.75, 0.9), 1.25, False),
        ((0.6, 0.5, 0.4, 0.3), 0.25, False),  # halfway from 1 at time 0 to 0.6 at time 0.5
        ((0.9, 0.9, 0.9, 0.8), 2.0, True),
        ((0.9, 0.9, math.nan, 0.9), 1.0, False),
        ((0.8, 0.4, 0.4, 0.4), 0.5, False),
    ],
)
def test_correlation_time(values: tuple[float, ...], time: float, censored: bool) -> None:
    found = correlation_time(curve(*values), TIMES)
    assert found.values.item() == pytest.approx(time, abs=1e-12)
    assert found.censored.item() is censored


def test_means_are_over_samples_and_count_the_censored() -> None:
    error = torch.cat([curve(0.1, 0.9, 0.9, 0.9), curve(0.1, 0.1, 0.1, 0.1), curve(0.1, 0.1, 0.1, 0.9)])
    found = valid_time(error, TIMES, threshold=0.4)
    assert (found.mean, found.count) == (pytest.approx((1.0 + 2.0 + 2.0) / 3), 1)


def test_shells_hold_half_the_mean_square() -> None:
    field = torch.randn(3, 12, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    spectrum = energy_spectrum(field)
    torch.testing.assert_close(spectrum.sum(-1), field.square().mean((-2, -1)) / 2, rtol=1e-12, atol=0)
    line = energy_spectrum(field[0, 0], components=0)
    torch.testing.assert_close(line.sum(), field[0, 0].square().mean() / 2, rtol=1e-12, atol=0)


def test_kinetic_spectrum_is_that_of_the_velocity() -> None:
    """A stream function of two modes on a box that is not square: u = d psi/dy, v = -d psi/dx."""
    grid = Grid.box((16, 12), upper=(2.0, 3.0), periodic=True)
    x, y = torch.as_tensor(grid.coordinates())
    a, b = 2 * math.pi / 2.0 * 3, 2 * math.pi / 3.0 * 2
    velocity = -b * torch.sin(b * y) + 0 * x, a * torch.sin(a * x) + 0 * y
    vorticity = a**2 * torch.cos(a * x) + b**2 * torch.cos(b * y)  # of psi = cos(a x) + cos(b y): -laplacian
    spectrum = kinetic_spectrum(vorticity, grid)
    whole = sum(energy_spectrum(component) for component in velocity)
    torch.testing.assert_close(spectrum, whole, rtol=1e-12, atol=1e-12)
    assert spectrum[3].item() == pytest.approx(a**2 / 4)


def test_misfits_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"trajectories \(sample, time, channel, \*space\)"):
        error_over_time(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3))
    with pytest.raises(ShapeError, match="as many times"):
        valid_time(torch.zeros(1, 3), TIMES, threshold=0.1)
    with pytest.raises(ShapeError, match="periodic grid of rank 2"):
        kinetic_spectrum(torch.zeros(4, 4), Grid.box((4, 4)))
    with pytest.raises(ShapeError, match=r"\(4, 5\) does not lie on the grid \(4, 4\)"):
        kinetic_spectrum(torch.zeros(4, 5), Grid.box((4, 4), periodic=True))
