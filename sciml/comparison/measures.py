"""The metrics of a comparison, per sample: the same for contestants, trivial predictors and solvers."""

from __future__ import annotations

from torch import Tensor

from sciml.assessment import map_errors
from sciml.comparison.posed import Place, distances
from sciml.forecasts import FrameErrors, frame_errors
from sciml.grid import Grid
from sciml.metrics import boundary_rmse, fourier_rmse

BANDS = ("fourier_low", "fourier_mid", "fourier_high")


def whereabouts(prediction: Tensor, truth: Tensor, grid: Grid) -> dict[str, Tensor]:
    """Where the errors of (sample, [frame,] channel, *space) are, root mean squares, (sample,) each.

    In bands of wavenumbers [0, 4), [4, 12) and [12, infinity), periods per domain; and at the faces of the
    bounded axes, if there are any.
    """
    bands = fourier_rmse(prediction, truth, rank=grid.rank)
    found = {name: bands[:, i] for i, name in enumerate(BANDS)}
    if not all(axis.periodic for axis in grid.axes):
        found["boundary_rmse"] = boundary_rmse(prediction, truth, grid)
    return found


def of_fields(prediction: Tensor, truth: Tensor, place: Place) -> dict[str, Tensor]:
    """The metrics of fields (sample, channel, *space), (sample,) each; on a mesh those that need no grid."""
    if not isinstance(place, Grid):
        return distances(prediction, truth, place)
    return {**map_errors(prediction, truth, place), **whereabouts(prediction, truth, place)}


def of_frames(prediction: Tensor, truth: Tensor, times: Tensor, grid: Grid) -> FrameErrors:
    """The metrics of roll-outs (sample, frame, channel, *space).

    Those of `sciml.forecasts.frame_errors`, the whereabouts of the errors, and ``accumulated_mse``, the sum
    over frames and channels of the mean square error (Brandstetter et al., ICLR 2022).
    """
    found = frame_errors(prediction, truth, times, grid)
    accumulated = (prediction - truth).square().flatten(3).mean(-1).sum((1, 2))
    more = {**whereabouts(prediction, truth, grid), "accumulated_mse": accumulated}
    return FrameErrors({**found.scores, **more}, found.durations, found.course)
