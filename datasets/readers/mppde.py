"""Files of the message passing PDE solvers: trajectories at several resolutions, for each split."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.readers.containers import attributes_of, contents, load, marks, opened, room
from sciml.datasets.readers.foreign import Foreign
from sciml.datasets.readers.pieces import grid_of, lacking, numbers_in, times_of
from sciml.description import describable
from sciml.errors import DataError, nearest
from sciml.schema import SPLITS, Field, Provenance, storable

_ARRAY = re.compile(r"(?P<split>train|valid|test)/(?P<array>pde_\d+-\d+)")
_COEFFICIENTS = ("alpha", "beta", "gamma")


@describable
@dataclass(frozen=True)
class MessagePassing:
    """HDF5 files of Brandstetter et al. (ICLR 2022): ``/<split>/pde_<frames>-<points>``, (sample, time, x).

    The array is the state "u"; ``alpha``, ``beta``, ``gamma`` of the samples are parameters.  Times follow
    from the attributes ``tmin``, ``tmax`` or ``dt``, coordinates from ``x`` or ``dx``.  The groups are the
    split.

    Parameters
    ----------
    array : str
        Which resolution, if a file has several, such as "pde_250-100".

    Examples
    --------
    >>> MessagePassing(array="pde_250-100").format
    'an MP-PDE file'
    """

    array: str = ""

    @property
    def format(self) -> str:
        """For messages and the converted file."""
        return "an MP-PDE file"

    def detect(self, path: Path) -> bool:
        """Whether an HDF5 file has an array ``pde_<frames>-<points>`` in a group of a split."""
        found = marks(path, "HDF5")
        return found is not None and any(_ARRAY.fullmatch(name) for name in found.arrays)

    def read(self, path: Path) -> Foreign:
        """The content.

        Raises
        ------
        DataError
            If there are several resolutions and none was chosen, or shapes, attributes and coefficients do
            not belong together.
        """
        found = contents(path)
        names = set() if found is None else found.names()
        matches = [match for name in sorted(names) if (match := _ARRAY.fullmatch(name))]
        known = sorted({match["array"] for match in matches})
        if found is None or not known:
            raise DataError(f"{path}: no array pde_<frames>-<points> in a group train, valid or test.")
        if self.array and self.array not in known:
            raise DataError(
                f"{path}: has no array {self.array!r}; it has {', '.join(known)}.{nearest(self.array, known)}"
            )
        if len(known) > 1 and not self.array:
            raise DataError(
                f"{path}: has several resolutions, {', '.join(known)}. Choose one with "
                "MessagePassing(array=...), on the command line --array."
            )
        chosen = self.array or known[0]
        splits = [s for s in SPLITS if f"{s}/{chosen}" in names]
        coefficients = [c for c in _COEFFICIENTS if any(f"{s}/{c}" in names for s in splits)]
        if missing := {f"{s}/{c}" for s in splits for c in coefficients} - names:
            raise lacking(path, self.format, missing, found.listing())
        shapes = {s: found.arrays[f"{s}/{chosen}"].shape for s in splits}
        frames, points = (int(n) for n in chosen.removeprefix("pde_").split("-"))
        for split, shape in shapes.items():
            if len(shape) != 3 or shape[1:] != (frames, points):
                raise DataError(
                    f"{path}: {split}/{chosen} has shape {shape}; its name says (sample, {frames}, {points})."
                )
        notes: list[str] = []
        with opened(path) as file:
            said = {s: attributes_of(file[f"{s}/{chosen}"]) for s in splits}
        counts = [shapes[s][0] for s in splits]
        u = room((sum(counts), frames, points), found.arrays[f"{splits[0]}/{chosen}"].dtype)
        np.concatenate([load(path, [name])[name] for name in (f"{s}/{chosen}" for s in splits)], out=u)
        times, x = (
            _same(path, [said[s] for s in splits], which, count)
            for which, count in (("t", frames), ("x", points))
        )
        grid = grid_of(path, [("x", x)], u, [2], notes)
        several = len(splits) > 1
        if not several:
            notes.append(f"all samples are of the group {splits[0]}")
        others = sorted(set(known) - {chosen})
        if others:
            notes.append(f"left out: the resolutions {', '.join(others)}")
        return Foreign(
            grid,
            ((Field("u", "state", long_name=chosen, time=True), storable(path, "u", u, notes)),),
            split=np.repeat([SPLITS.index(s) for s in splits], counts).astype(np.int8) if several else None,
            times=times_of(path, times, frames, notes),
            variables={
                c: np.concatenate([_numbers(path, f"{s}/{c}", shapes[s][0]) for s in splits])
                for c in coefficients
            },
            attributes=numbers_in({k: v for k, v in said[splits[0]].items() if k in ("dt", "dx")}),
            provenance=Provenance(title=f"{path.name}, message passing PDE solvers", dtype_compute="unknown"),
            notes=tuple(notes),
        )


def _numbers(path: Path, name: str, count: int) -> NDArray[np.float64]:
    values = load(path, [name])[name].astype(np.float64).ravel()
    if values.size != count:
        raise DataError(f"{path}: {name} has {values.size} numbers for {count} samples.")
    return values


def _same(path: Path, said: list[dict[str, Any]], which: str, count: int) -> NDArray[np.float64]:
    """Times or coordinates from the attributes, equal in all splits."""
    found = [_points(path, attributes, which, count) for attributes in said]
    if any(not np.allclose(found[0], other, rtol=1e-6, atol=0) for other in found):
        raise DataError(f"{path}: the splits have different {'times' if which == 't' else 'coordinates'}.")
    return found[0]


def _points(path: Path, said: dict[str, Any], which: str, count: int) -> NDArray[np.float64]:
    given = said.get(which)
    if isinstance(given, list) and len(given) == count:
        return np.asarray(given, dtype=np.float64)
    numbers = numbers_in(said)
    if which == "t" and {"tmin", "tmax"} <= numbers.keys():
        return np.linspace(numbers["tmin"], numbers["tmax"], count).astype(np.float64)
    if f"d{which}" in numbers:
        steps = np.arange(count, dtype=np.float64)
        return np.asarray(numbers.get(f"{which}min", 0.0) + numbers[f"d{which}"] * steps, dtype=np.float64)
    wanted = "tmin and tmax, or dt" if which == "t" else "x, or dx"
    raise lacking(path, "an MP-PDE file", {f"attributes {wanted}"}, str(sorted(said)))
