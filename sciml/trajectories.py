"""Errors as functions of time, and how long a prediction can be trusted.

Trajectories are (sample, time, channel, *space).  Times (time,) are those since the last frame that was
given: there, at time 0, a prediction is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.errors import ShapeError
from sciml.grid import Grid
from sciml.kernels import spectrum
from sciml.metrics import pearson, relative_l2
from sciml.norms import Weights
from sciml.spectra import axes_of_space


@dataclass(frozen=True)
class Duration:
    """How long something lasted in each sample.

    ``values`` (sample,) has the unit of the times; where ``censored`` (sample,) is true it lasted to the end,
    so the value, the last time, is only a lower bound, and so is the `mean`.
    """

    values: Tensor
    censored: Tensor

    @property
    def mean(self) -> float:
        """Over samples."""
        return float(self.values.mean())

    @property
    def count(self) -> int:
        """How many are censored."""
        return int(self.censored.sum())


def error_over_time(prediction: Tensor, target: Tensor, *, weights: Weights | None = None) -> Tensor:
    """‖prediction - target‖₂/‖target‖₂ of each frame, over space and channels: (sample, time).

    See `sciml.metrics.relative_l2`; where the target is 0 it is the absolute error.

    Examples
    --------
    >>> target = torch.ones(1, 3, 1, 4)
    >>> growth = torch.tensor([1.0, 1.5, 3.0]).reshape(1, 3, 1, 1)
    >>> error_over_time(growth * target, target).tolist()
    [[0.0, 0.5, 2.0]]
    """
    _check(prediction, target)
    errors = relative_l2(prediction.flatten(0, 1), target.flatten(0, 1), weights=weights)
    return errors.reshape(target.shape[:2])


def correlation_over_time(prediction: Tensor, target: Tensor, *, weights: Weights | None = None) -> Tensor:
    """The correlation over space of each frame, its mean over channels: (sample, time).

    0 where a field is constant; see `sciml.metrics.pearson`.
    """
    _check(prediction, target)
    correlations = pearson(prediction.flatten(0, 1), target.flatten(0, 1), weights=weights)
    return correlations.reshape(target.shape[:2])


def geometric_mean_error(error: Tensor, *, floor: float = 1e-12) -> Tensor:
    """exp(mean_t log e_t) of errors (sample, time): (sample,), 0 replaced by ``floor``, NaN passed on.

    Every frame counts by its order of magnitude, so that neither the first steps nor a blow-up decide alone
    (Koehler et al., APEBench, NeurIPS 2024, over 100 steps).

    Examples
    --------
    >>> geometric_mean_error(torch.tensor([[0.25, 1.0], [0.5, 0.5]])).tolist()
    [0.5, 0.5]
    """
    return error.clamp(min=floor).log().mean(1).exp()


def valid_time(error: Tensor, times: Tensor, *, threshold: float) -> Duration:
    """The time of the first frame whose error (sample, time) is above ``threshold``, or not a number.

    Examples
    --------
    >>> error = torch.tensor([[0.1, 0.3, 0.2], [0.1, 0.1, 0.1]])
    >>> found = valid_time(error, torch.tensor([1.0, 2.0, 3.0]), threshold=0.25)
    >>> found.values.tolist(), found.censored.tolist()
    ([2.0, 3.0], [False, True])
    """
    after, censored = _first(~(error <= threshold), times)
    return Duration(times[after].clone(), censored)


def correlation_time(correlation: Tensor, times: Tensor, *, threshold: float = 0.8) -> Duration:
    """The first time at which the correlation (sample, time) falls below ``threshold``.

    Linear between frames, starting from 1 at time 0; where it becomes NaN, the time of the frame before.
    The threshold of 0.8 is usual for turbulent flows (Lippe et al., NeurIPS 2023).

    Examples
    --------
    >>> correlation = torch.tensor([[0.875, 0.625], [0.875, 0.75]])
    >>> found = correlation_time(correlation, torch.tensor([1.0, 2.0]), threshold=0.75)
    >>> found.values.tolist(), found.censored.tolist()
    ([1.5, 2.0], [False, True])
    """
    after, censored = _first(~(correlation >= threshold), times)
    rows = torch.arange(len(correlation), device=correlation.device)
    curve = torch.cat([torch.ones_like(correlation[:, :1]), correlation], dim=1)
    knots = torch.cat([torch.zeros_like(times[:1]), times])
    above, below = curve[rows, after], curve[rows, after + 1]
    share = torch.nan_to_num((above - threshold) / (above - below), nan=0.0).clamp(0.0, 1.0)
    crossing = knots[after] + share.to(times.dtype) * (knots[after + 1] - knots[after])
    return Duration(torch.where(censored, times[-1], crossing), censored)


def energy_spectrum(values: Tensor, *, components: int | None = None) -> Tensor:
    """Half the mean square carried by each shell of wavenumbers: (..., shells), from (..., *space).

    Shell s holds the integer wave vectors with s - 1/2 <= \\|k\\| < s + 1/2, up to the corner of the box, so
    the shells sum to half the mean square (Parseval).  Of velocity components it is the kinetic energy of
    each; `kinetic_spectrum` starts from vorticity.  Half of `sciml.kernels.spectrum.energy_spectrum`.

    Parameters
    ----------
    values : (..., *space) real
    components : int, optional
        How many leading axes are not space; by default all but the last two.

    Examples
    --------
    >>> x = torch.arange(16, dtype=torch.float64) / 16
    >>> u = torch.cos(2 * torch.pi * 3 * x)[:, None].expand(16, 16)
    >>> [round(v, 6) for v in energy_spectrum(u)[:5].tolist()]
    [0.0, 0.0, 0.0, 0.25, 0.0]
    """
    keep = values.ndim - 2 if components is None else components
    return spectrum.energy_spectrum(values, axes=axes_of_space(values, keep)) / 2


def kinetic_spectrum(vorticity: Tensor, grid: Grid) -> Tensor:
    """Kinetic energy per mass of each shell of wavenumbers, from vorticity (..., x, y): (..., shells).

    With u the velocity without divergence or mean whose curl is the vorticity: 1/2 |u_k|^2 =
    1/2 |w_k|^2/|k|^2, k in radians per unit of length.  Shells as in `energy_spectrum`, for a periodic grid
    of rank 2; the sum is the mean kinetic energy.

    Raises
    ------
    ShapeError
        If the grid is not periodic, not of rank 2, or of another shape.

    Examples
    --------
    >>> grid = Grid.box((16, 16), upper=2 * math.pi, periodic=True)
    >>> x = torch.as_tensor(grid.coordinates()[0])
    >>> round(float(kinetic_spectrum(2 * torch.cos(2 * x), grid)[2]), 6)  # u = (0, sin 2x)
    0.25
    """
    if grid.rank != 2 or not all(axis.periodic for axis in grid.axes):
        raise ShapeError("kinetic_spectrum: needs a periodic grid of rank 2.")
    if tuple(vorticity.shape[-2:]) != grid.shape:
        raise ShapeError(
            f"kinetic_spectrum: vorticity {tuple(vorticity.shape)} does not lie on the grid {grid.shape}."
        )
    squares = spectrum.mode_energies(vorticity, (-2, -1))
    lengths = tuple((axis.upper - axis.lower) / (2 * math.pi) for axis in grid.axes)
    size = spectrum.wavenumbers(grid.shape, lengths, device=squares.device)
    size = torch.where(size > 0, size, math.inf).to(squares)  # the mean carries no energy
    ones = (1.0, 1.0)
    numbers = spectrum.wavenumbers(grid.shape, ones, device=squares.device)
    return spectrum.binned(squares / size.square(), numbers, spectrum.shell_edges(grid.shape, ones)) / 2


def _first(beyond: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """The first frame of each sample that is beyond (the last one if none is), and where none is."""
    if beyond.ndim != 2 or beyond.shape[1] == 0 or times.shape != beyond.shape[1:]:
        raise ShapeError(
            f"expected a curve (sample, time) and as many times, got {tuple(beyond.shape)} and "
            f"{tuple(times.shape)}."
        )
    censored = ~beyond.any(1)
    return torch.where(censored, beyond.shape[1] - 1, beyond.int().argmax(1)), censored


def _check(prediction: Tensor, target: Tensor) -> None:
    if prediction.shape != target.shape or target.ndim < 4:
        raise ShapeError(
            "expected two trajectories (sample, time, channel, *space) of one shape, got "
            f"{tuple(prediction.shape)} and {tuple(target.shape)}."
        )
