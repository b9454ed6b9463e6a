"""Files of neuraloperator: a dictionary of tensors x, y and perhaps visc, saved by torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.readers.foreign import Foreign
from sciml.datasets.readers.torch_file import as_array, known_keys, load_tensors, text_in_pickle
from sciml.description import describable
from sciml.errors import DataError
from sciml.grid import Axis, Grid
from sciml.schema import Field, Provenance

_NODES = 421  # per axis of the grid on which the Darcy data were solved; the small files are slices of it
_SAMPLES = 256  # that decide on the grid: more would not change an average by a tenth


@describable
@dataclass(frozen=True)
class NeuralOperator:
    """The ``.pt`` files that neuraloperator ships and downloads: ``{"x": ..., "y": ..., ["visc": ...]}``.

    ``x`` (sample, [channel,] *space) becomes the input "a" and ``y`` the output "u".  If y has one axis more
    than x, (sample, time, *space), it is a trajectory: x, the initial condition, becomes "u0", and y the
    state "u" of a rollout.  Truth values become float32, and there are no units.

    Notes
    -----
    The files say nothing about their grid, so it is read off the edges of y, and said in the notes:

    - y vanishes at both ends of an axis: nodes with both ends, on [0, 1];
    - y vanishes at the lower end only: left ends of cells.  The Darcy files are ``x[::r][:n]`` of 421 nodes
      with r = 421 // n, at ``i r / 420``: r = 26 for n = 16 and 13 for n = 32, both on [0, 416/420).  The
      grid of 32 is that of 16 refined, and a surrogate trained on one takes the other;
    - from the last to the first point y changes no more than between neighbors: periodic nodes on [0, 1);
      if the two are equal, the last is the first again and is left out;
    - else nodes with both ends, on [0, 1], by assumption.

    Times are not in the files: frames are numbered.

    Examples
    --------
    >>> NeuralOperator().format
    'a neuraloperator file (torch dictionary with x and y)'
    """

    @property
    def format(self) -> str:
        """For messages and the converted file."""
        return "a neuraloperator file (torch dictionary with x and y)"

    def detect(self, path: Path) -> bool:
        """Whether it is a torch archive in whose structure the names x and y occur."""
        return {"x", "y"} <= text_in_pickle(path)

    def read(self, path: Path) -> Foreign:
        """The content.

        Raises
        ------
        DataError
            For an unsafe or damaged archive, other names, or shapes that do not belong together.
        """
        found = load_tensors(path)
        known_keys(path, found, {"x", "y"}, {"visc"})
        notes: list[str] = []
        x, y = (_as_float(name, as_array(found[name]), notes) for name in ("x", "y"))
        trajectory = y.ndim == x.ndim + 1
        rank = _rank(path, x, y)
        space = y.shape[y.ndim - rank :]
        with np.errstate(all="ignore"):  # what is not finite is refused by name when it is written
            axes = [_axis(place, space, y, notes) for place in range(rank)]
        keep: Any = (..., *(slice(0, axis.size) for axis in axes))
        was = found["x"].dtype.is_floating_point
        boolean = str(found["x"].dtype) == "torch.bool"
        long = "phase indicator, truth values in the file" if boolean else "x of the file"
        if trajectory:
            same = np.array_equal(x, y[:, 0])
            fields = (
                (Field("u0", "input", long_name="initial condition, x of the file"), x[keep]),
                (Field("u", "state" if same else "output", long_name="y of the file", time=True), y[keep]),
            )
            notes.append("frames are numbered 0, 1, ...; their times are not in the file")
            notes.append(f"x {'equals' if same else 'does not equal'} the first frame of y")
        else:
            components = [array.shape[1] if array.ndim > rank + 1 else 1 for array in (x, y)]
            fields = (
                (Field("a", "input", long_name=long, components=components[0], rank=0), x[keep]),
                (Field("u", "output", long_name="y of the file", components=components[1], rank=0), y[keep]),
            )
        if not was and not boolean:
            notes.append("x was integers and is float32")
        variables, attributes = _viscosity(path, found.get("visc"), len(x), notes)
        if boolean and len(axes) == 2 and replace(axes[0], name="") == replace(axes[1], name=""):
            attributes = {**attributes, "sciml_symmetry": "permutations"}
            notes.append("x tells two isotropic media apart on a square: exchanging the axes is a symmetry")
        rollout = trajectory and fields[1][0].role == "state"
        return Foreign(
            Grid(tuple(axes)),
            fields,
            times=np.arange(y.shape[1], dtype=np.float64) if trajectory else None,
            variables=variables,
            attributes=attributes,
            provenance=Provenance(
                title=f"{path.name}, a file of neuraloperator",
                dtype_compute="unknown",
                # The initial condition is the first frame: a rollout needs the state alone.
                task={"kind": "rollout", "inputs": ["u"], "outputs": ["u"]} if rollout else None,
            ),
            notes=tuple(notes),
        )


def _as_float(name: str, values: NDArray[Any], notes: list[str]) -> NDArray[Any]:
    if values.dtype.kind == "b":
        notes.append(f"{name} was truth values and is 0.0 and 1.0 in float32")
    if values.dtype.kind == "f" and values.dtype.itemsize >= 4:
        return values
    if values.dtype.kind == "f":
        notes.append(f"{name} was {values.dtype} and is float32")
    return values.astype(np.float32)


def _rank(path: Path, x: NDArray[Any], y: NDArray[Any]) -> int:
    """Axes of space, from the shapes: 1 and 2 without channels, 2 and 3 with them."""
    if x.ndim in (2, 3) and y.ndim in (x.ndim, x.ndim + 1):
        rank, front = x.ndim - 1, 1
    elif x.ndim in (4, 5) and y.ndim == x.ndim:
        rank, front = x.ndim - 2, 2
    else:
        rank, front = 0, 0
    if (
        not rank
        or x.shape[front:] != y.shape[y.ndim - rank :]
        or len(x) != len(y)
        or min(x.shape[front:]) < 2
    ):
        raise DataError(
            f"{path}: x has shape {x.shape} and y {y.shape}. Expected (sample, *space) for both with one or "
            "two axes of space, y perhaps with a time axis after sample, or (sample, channel, *space) for "
            "both with two or three."
        )
    return rank


def _axis(place: int, space: tuple[int, ...], y: NDArray[Any], notes: list[str]) -> Axis:
    """The convention of one axis, from the values of y along it; see `NeuralOperator`."""
    name, size = "xyz"[place], space[place]
    values = np.moveaxis(y[:_SAMPLES], y.ndim - len(space) + place, -1).astype(np.float64)
    level = float(np.abs(values).mean())
    # u grows linearly from a wall where it vanishes: within a twentieth of its mean only at the wall itself.
    low, high = (float(np.abs(values[..., end]).mean()) < 0.05 * level for end in (0, -1))
    if low and high:
        notes.append(f"{name}: nodes with both ends on [0, 1], since y vanishes there")
        return Axis(name, 0.0, 1.0, size, "node")
    if low:
        stride = _NODES // size
        sliced = len(space) == 2 and space[0] == space[1] and size < _NODES
        upper = size * stride / (_NODES - 1) if sliced else 1.0
        how = f"every {stride}th of {_NODES} nodes, " if sliced else ""
        notes.append(f"{name}: {how}left ends on [0, {upper:.6g}), since y vanishes at the lower end only")
        return Axis(name, 0.0, upper, size, "left")
    jump, step = _rms(values[..., 0] - values[..., -1]), _rms(np.diff(values, axis=-1))
    if jump <= 1e-5 * _rms(values) and size > 2:
        notes.append(f"{name}: periodic on [0, 1); the last point repeated the first and is left out")
        return Axis(name, 0.0, 1.0, size - 1, "node", periodic=True)
    if jump <= 2 * step:
        notes.append(f"{name}: periodic nodes on [0, 1), since y goes on from its last point to its first")
        return Axis(name, 0.0, 1.0, size, "node", periodic=True)
    notes.append(f"{name}: nodes with both ends on [0, 1], an assumption")
    return Axis(name, 0.0, 1.0, size, "node")


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _viscosity(
    path: Path, visc: Any, count: int, notes: list[str]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, Any]]:
    """One number for all samples is an attribute, one for each a parameter."""
    if visc is None:
        return {}, {}
    values = as_array(visc).astype(np.float64).ravel()
    if values.size == 1:
        notes.append("visc is the attribute viscosity")
        return {}, {"viscosity": float(values[0])}
    if values.size != count:
        raise DataError(
            f"{path}: visc has {values.size} numbers; expected one, or one for each of {count} samples."
        )
    notes.append("visc is the parameter viscosity")
    return {"viscosity": values}, {}
