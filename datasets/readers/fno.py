"""The .mat files of the Fourier neural operator: Darcy flow, Burgers equation, Navier-Stokes vorticity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.readers.axes import unit_axis
from sciml.datasets.readers.containers import Contents, contents, load, marks
from sciml.datasets.readers.foreign import Foreign
from sciml.datasets.readers.hdf5_probe import outline
from sciml.datasets.readers.pieces import AXES, lacking, times_of
from sciml.description import describable
from sciml.errors import DataError
from sciml.grid import Grid
from sciml.schema import Field, Provenance, storable

_PAIRS = (("coeff", "sol"), ("a", "u"), ("input", "output"))


@describable
@dataclass(frozen=True)
class FNOFile:
    """Files of Li et al. (ICLR 2021), MATLAB 5 and 7.3, and of others with the same names, HDF5 among them.

    ====================  ==========================================================================
    names                 dataset
    ====================  ==========================================================================
    coeff, sol            (sample, y, x): input "a", output "u", on nodes with both ends
    a, u of equal rank    (sample, x), or (sample, x, y): input "a", output "u", on periodic nodes
    a, u, perhaps t       a (sample, *space), u (sample, *space, time): initial condition "u0", state "u"
    input, output, tspan  (sample, x), (sample, time, x): initial condition "u0", state "u"
    ====================  ==========================================================================

    Further arrays shaped like coeff (``Kcoeff``, ``Kcoeff_x``, ``Kcoeff_y``: smoothed and differentiated) are
    inputs too.  Without coordinates in the file the domain is the unit interval or square.

    Notes
    -----
    The arrays of Darcy flow were made by MATLAB's meshgrid, so y comes before x; they are turned.  Times that
    are not in the file are numbered from 1, since ``a`` is time 0.

    Examples
    --------
    >>> FNOFile().format
    'an FNO file (coeff and sol, a and u, or input and output)'
    """

    @property
    def format(self) -> str:
        """For messages and the converted file."""
        return "an FNO file (coeff and sol, a and u, or input and output)"

    def detect(self, path: Path) -> bool:
        """Whether a MATLAB file has names of one of the pairs, or HDF5 without dimension scales both."""
        found = marks(path, "MATLAB 5", "MATLAB 7.3", "HDF5")
        pair = None if found is None else _pair(found)
        if found is None or pair is None:
            return False
        return found.kind != "HDF5" or (set(pair) <= found.names() and not outline(path)["scaled"])

    def read(self, path: Path) -> Foreign:
        """The content.

        Raises
        ------
        DataError
            If one of the pair is missing or the shapes do not belong together.
        """
        found = contents(path)
        pair = None if found is None else _pair(found)
        if found is None or pair is None:
            raise DataError(f"{path}: none of the pairs {_PAIRS} of the Fourier neural operator's files.")
        if missing := set(pair) - found.names():
            raise lacking(path, self.format, missing, found.listing())
        more = [
            name
            for name, entry in found.arrays.items()
            if name not in pair and pair[0] == "coeff" and entry.shape == found.arrays["coeff"].shape
        ]
        clock = next((name for name in ("t", "tspan") if name in found.arrays), None)
        arrays = load(path, [*pair, *more, *([clock] if clock else [])])
        notes = [f"left out: {', '.join(left)}"] if (left := sorted(found.names() - arrays.keys())) else []
        for name in pair:
            if arrays[name].dtype.kind == "c" and not np.any(arrays[name].imag):
                arrays[name] = arrays[name].real
        x, y = arrays[pair[0]], arrays[pair[1]]
        if y.ndim == x.ndim + 1:
            return _trajectory(path, pair, x, y, arrays.get(clock) if clock else None, notes)
        if x.shape != y.shape or x.ndim not in (2, 3, 4):
            raise DataError(
                f"{path}: {pair[0]} has shape {x.shape} and {pair[1]} {y.shape}; expected (sample, *space) "
                "for both, or an axis of time more in the second."
            )
        return _map(path, pair, {name: arrays[name] for name in (pair[0], *more, pair[1])}, notes)


def _pair(found: Contents) -> tuple[str, str] | None:
    """The pair of which the file has a mark: both names, or one that no other format has."""
    names = found.names()
    whole = next((pair for pair in _PAIRS if set(pair) <= names), None)
    if whole is not None:
        return whole
    if names & {"coeff", "sol"}:
        return _PAIRS[0]
    if names & {"input", "output"}:
        return _PAIRS[2]
    return _PAIRS[1] if "a" in names else None


def _map(path: Path, pair: tuple[str, str], arrays: dict[str, NDArray[Any]], notes: list[str]) -> Foreign:
    darcy = pair[0] == "coeff"
    rank = arrays[pair[0]].ndim - 1
    turned = darcy and rank > 1
    if turned:
        arrays = {
            name: np.moveaxis(array, range(1, rank + 1), range(rank, 0, -1)) for name, array in arrays.items()
        }
        notes.append("the arrays had the order y, x of MATLAB's meshgrid and are turned")
    solution = arrays[pair[1]]
    axes = []
    for place in range(rank):
        values = None if darcy else np.moveaxis(solution, place + 1, -1)
        axis, note = unit_axis(AXES[place], solution.shape[place + 1], values, "node")
        axes.append(axis)
        notes.append(note)
    fields = []
    for name, array in arrays.items():
        own = {pair[0]: "a", pair[1]: "u"}.get(name, name)
        role = "output" if name == pair[1] else "input"
        fields.append((Field(own, role, long_name=f"{name} of the file"), storable(path, name, array, notes)))
    inputs = [fields[0][0].name]  # the others are derived from it
    return Foreign(
        Grid(tuple(axes)),
        tuple(fields),
        provenance=Provenance(
            title=f"{path.name}, a file of the Fourier neural operator",
            pde="darcy_2d" if darcy and rank == 2 else "",
            dtype_compute="unknown",
            task={"kind": "map", "inputs": inputs, "outputs": ["u"], "conditioning": []},
        ),
        notes=tuple(notes),
    )


def _trajectory(
    path: Path,
    pair: tuple[str, str],
    start: NDArray[Any],
    u: NDArray[Any],
    clock: NDArray[Any] | None,
    notes: list[str],
) -> Foreign:
    """``start`` (sample, *space), ``u`` with the axis of time last, or second in files with tspan."""
    space = start.shape[1:]
    last, second = u.shape[1:-1] == space, u.shape[2:] == space
    if last and second:  # as many frames as points
        last = pair[0] != "input"
    if len(start) != len(u) or not (last or second) or len(space) not in (1, 2, 3):
        raise DataError(
            f"{path}: {pair[0]} has shape {start.shape} and {pair[1]} {u.shape}; expected (sample, *space) "
            "and (sample, *space, time)."
        )
    if last:
        u = np.moveaxis(u, -1, 1)
        notes.append(f"{pair[1]} had its axis of time last")
    frames = u.shape[1]
    if clock is None:
        times = np.arange(1, frames + 1, dtype=np.float64)
        notes.append("frames are numbered 1, 2, ...; their times are not in the file")
    else:
        clock = np.asarray(clock, dtype=np.float64).ravel()
        if len(clock) == frames + 1:
            clock = clock[1:]
            notes.append("the first of the times is that of the initial condition")
        times = times_of(path, clock, frames, notes)
    same = np.array_equal(start, u[:, 0])
    if not same:
        notes.append(f"{pair[0]} is the state before the first frame, the initial condition u0")
    axes = []
    for place, size in enumerate(space):
        axis, note = unit_axis(AXES[place], size, np.moveaxis(u, place + 2, -1), "node")
        axes.append(axis)
        notes.append(note)
    return Foreign(
        Grid(tuple(axes)),
        (
            (Field("u0", "input", long_name="initial condition"), storable(path, "u0", start, notes)),
            (
                Field("u", "state", long_name=f"{pair[1]} of the file", time=True),
                storable(path, "u", u, notes),
            ),
        ),
        times=times,
        provenance=Provenance(
            title=f"{path.name}, a file of the Fourier neural operator",
            dtype_compute="unknown",
            # The initial condition comes before the frames: a roll-out needs the state alone.
            task={"kind": "rollout", "inputs": ["u"], "outputs": ["u"]},
        ),
        notes=tuple(notes),
    )
