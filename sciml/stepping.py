"""Roll-outs of a surrogate: of tensors, of labelled arrays, and beside the truth of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml import admission
from sciml.calling import evaluating
from sciml.errors import DataError, ShapeError
from sciml.evolution import Evolution, evolution_of, frame_step
from sciml.labelled import read, write

if TYPE_CHECKING:
    import xarray

    from sciml.dataset import Dataset
    from sciml.surrogate import Surrogate

TIME = "time"  # the axis of frames in labelled arrays, as in dataset files


def predict_frames(
    surrogate: Surrogate,
    window: Tensor,
    steps: int,
    *,
    inputs: Tensor | None = None,
    parameters: Tensor | None = None,
    time: Tensor | float = 0.0,
) -> Tensor:
    """See `Surrogate.roll_out`, whose shapes must have been checked; in physical units, without gradient."""
    evolution = evolution_of(surrogate)
    device = surrogate.device
    times = torch.as_tensor(time, dtype=torch.float64).expand(len(window))
    pieces = []
    with torch.no_grad(), evaluating(surrogate.model):
        for start in range(0, len(window), surrogate.batch_size):
            rows = slice(start, start + surrogate.batch_size)
            fixed, numbers = (None if t is None else t[rows].to(device) for t in (inputs, parameters))

            def advance(
                frames: Tensor,
                call: int,
                fixed: Tensor | None = fixed,
                numbers: Tensor | None = numbers,
                since: Tensor = times[rows],
            ) -> Tensor:
                x = evolution.stacked(frames)
                x = x if fixed is None else torch.cat([x, fixed.to(x.dtype)], dim=1)
                extras = evolution.extras(call, since, numbers)
                return evolution.unstacked(surrogate.physical(x, extras))

            pieces.append(evolution.roll_out(advance, window[rows].to(device), steps).to(window.device))
    return torch.cat(pieces) if pieces else window.new_zeros((0, steps, *window.shape[2:]))


@dataclass(frozen=True)
class Start:
    """What trajectories begin with, and how they went on; float64, physical units.

    ``window`` and ``truth`` are (batch, frames, channel, *space); ``inputs`` (batch, channel, *space) and
    ``parameters`` (batch, p) may be None.  ``times`` are those of the last frame of the window and of the
    frames of the truth.
    """

    window: Tensor
    truth: Tensor
    inputs: Tensor | None
    parameters: Tensor | None
    times: NDArray[np.float64]


def start_of(surrogate: Surrogate, dataset: Dataset, rows: Sequence[int]) -> Start:
    """The first windows of these samples, and all frames after them, as a surrogate takes them.

    Raises
    ------
    DataError
        As `read_start`.
    """
    states = [field.name for field in surrogate.outputs]
    fixed = [field.name for field in surrogate.inputs if field.name not in states]
    return read_start(dataset, rows, evolution_of(surrogate), states, fixed)


def read_start(
    dataset: Dataset, rows: Sequence[int], evolution: Evolution, states: Sequence[str], fixed: Sequence[str]
) -> Start:
    """The first windows of these samples, and all frames after them; ``fixed`` are inputs without time.

    Raises
    ------
    DataError
        If no frame is left after the window, or the time steps do not fit.
    """
    stride = stride_of(dataset, evolution)
    frames = dataset.tensor(states, rows, torch.float64)[:, ::stride]
    window, truth = frames[:, : evolution.window], frames[:, evolution.window :]
    if truth.shape[1] == 0:
        raise DataError(
            f"{dataset.path}: has {frames.shape[1]} frames at the time step of the model, a window takes "
            f"{evolution.window} of them, and none is left to predict."
        )
    assert dataset.times is not None
    parameters = dataset.parameters(rows)
    return Start(
        window=window,
        truth=truth,
        inputs=dataset.tensor(fixed, rows, torch.float64) if fixed else None,
        parameters=None if parameters is None else torch.from_numpy(parameters),
        times=dataset.times[::stride][evolution.window - 1 :],
    )


def predict_from(surrogate: Surrogate, start: Start) -> Tensor:
    """The prediction of ``start.truth``."""
    return predict_frames(
        surrogate,
        start.window,
        start.truth.shape[1],
        inputs=start.inputs,
        parameters=start.parameters,
        time=float(start.times[0]),
    )


def judge(surrogate: Surrogate, dataset: Dataset, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Prediction and truth of all frames after the first window: (batch, time, channel, *space), float64."""
    start = start_of(surrogate, dataset, rows)
    return predict_from(surrogate, start), start.truth


def stride_of(dataset: Dataset, evolution: Evolution) -> int:
    """How many frames of a dataset are one of the model's.

    Raises
    ------
    DataError
        If the dataset has no frames, or the model's time step is not a multiple of theirs.
    """
    if dataset.times is None:
        raise DataError(f"{dataset.path}: has no time axis to compare a roll-out with.")
    step = frame_step(dataset.times, str(dataset.path))
    stride = max(1, round(evolution.dt / step))
    if abs(stride * step - evolution.dt) > 1e-3 * evolution.dt:
        raise DataError(
            f"{dataset.path}: frames are {step:g} apart, but the model steps by {evolution.dt:g}, which is "
            "no multiple of it."
        )
    return stride


def predict_labelled(
    surrogate: Surrogate, data: xarray.Dataset | xarray.DataArray, steps: int
) -> xarray.Dataset:
    """The frames after those of ``data``, which has the dimension ``time``; see `Surrogate.roll_out`."""
    import xarray

    evolution, states = evolution_of(surrogate), list(surrogate.outputs)
    times = _times(data, evolution)
    read_frames = [
        read(data.isel({TIME: i}, drop=True), states, surrogate.grid) for i in range(evolution.window)
    ]
    layout = read_frames[0][1]
    window = torch.from_numpy(np.stack([values for values, _ in read_frames], axis=1))
    fixed = [field for field in surrogate.inputs if field.name not in {state.name for state in states}]
    inputs = None
    if fixed:
        values = torch.from_numpy(read(data, fixed, surrogate.grid)[0])
        inputs = values.expand(len(window), *values.shape[1:])
    if inputs is not None:
        admission.warn_outside(surrogate, torch.cat([evolution.stacked(window), inputs], dim=1))
    else:
        admission.warn_outside(surrogate, evolution.stacked(window))
    found = predict_frames(
        surrogate,
        window,
        steps,
        inputs=inputs,
        parameters=_parameters(data, evolution, len(window)),
        time=float(times[-1]),
    ).numpy()
    digest = surrogate.digest
    note = f"{steps} frames predicted by a sciml surrogate ({type(surrogate.model).__name__}, {digest})"
    written = [write(found[:, i], states, layout, note) for i in range(steps)]
    first = written[0]
    variables = {
        name: ((TIME, *first[name].dims), np.stack([w[name].values for w in written]), first[name].attrs)
        for name in first.data_vars
    }
    later = times[-1] + evolution.dt * np.arange(1, steps + 1)
    coordinates = {**first.coords, TIME: (TIME, later, {"units": evolution.units, "axis": "T"})}
    attributes = {**first.attrs, "sciml_surrogate": digest}
    front = [name for name in (layout.sample, TIME) if name is not None]
    return xarray.Dataset(variables, coords=coordinates, attrs=attributes).transpose(*front, ...)


def _times(data: xarray.Dataset | xarray.DataArray, evolution: Evolution) -> NDArray[np.float64]:
    """The times of the window, as many frames as one call takes, at its distance."""
    size = data.sizes.get(TIME, 0)
    if size != evolution.window:
        raise ShapeError(
            f"Surrogate.roll_out: needs {evolution.window} frames along the dimension {TIME!r}, got "
            f"{size if TIME in data.dims else 'no such dimension'}. "
            f"data.isel({TIME}=slice(-{evolution.window}, None)) takes the last ones."
        )
    if TIME not in data.coords:
        return evolution.dt * np.arange(1.0 - size, 1.0)
    values = data.coords[TIME].values
    if values.dtype.kind not in "fiu":
        raise DataError(
            f"Surrogate.roll_out: {TIME} must be numbers ({evolution.units}), got {values.dtype}."
        )
    times = values.astype(np.float64)
    if np.abs(np.diff(times) - evolution.dt).max(initial=0.0) > 1e-3 * evolution.dt:
        raise DataError(
            f"Surrogate.roll_out: the frames are at {times.tolist()}, but training used frames "
            f"{evolution.dt:g} apart."
        )
    return times


def _parameters(data: xarray.Dataset | xarray.DataArray, evolution: Evolution, count: int) -> Tensor | None:
    """The numbers per sample, (count, p), from variables or coordinates; None if none of them is there."""
    names = evolution.parameters
    known = [name for name in names if name in data.coords or name in getattr(data, "data_vars", ())]
    if not known:
        return None
    if len(known) < len(names):
        raise DataError(
            f"Surrogate.roll_out: the parameters {list(names)} belong together, got only {known}."
        )
    columns = [np.broadcast_to(np.asarray(data[name].values, dtype=np.float64), (count,)) for name in names]
    return torch.from_numpy(np.stack(columns, axis=1))
