"""Reference solutions of physics-informed networks: .npz and .mat with axes and fields on them, or points."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.readers.axes import is_uniform
from sciml.datasets.readers.containers import Contents, Kind, contents, load, marks
from sciml.datasets.readers.fno import FNOFile
from sciml.datasets.readers.foreign import Foreign
from sciml.datasets.readers.pieces import grid_of, numbers_in, plain_name, real, times_of
from sciml.datasets.readers.scattered import Column, placed, product
from sciml.description import describable
from sciml.errors import ConfigError, DataError
from sciml.grid import Grid
from sciml.mesh import Points
from sciml.schema import RESERVED, Field, Provenance, storable

_KINDS: tuple[Kind, ...] = ("npz", "MATLAB 5", "MATLAB 7.3")
_ENDING = r"(?:_?(?:star|test|ref|train|data|exact|grid|vec))?"
_AXIS = re.compile(rf"(?:(?P<x>xx?)|(?P<y>yy?)|(?P<z>zz?)|(?P<t>tt?|times?)){_ENDING}", re.IGNORECASE)
_CLOUD = re.compile(
    rf"(?:x|xy|xyz|xt|points?|coords?|coordinates|nodes|vertices|pos){_ENDING}", re.IGNORECASE
)


@describable
@dataclass(frozen=True)
class ReferenceSolution:
    """The reference data of DeepXDE, of Raissi's PINNs, of PySINDy and their followers: one solution.

    ======================  ====================================================================
    in the file             dataset of one sample
    ======================  ====================================================================
    x (n), t (m), u (n, m)  state "u" on a grid, whichever order the axes have in u
    x, y (n), w (n)         "w" at n points, or on a grid if the points are one
    X (n, d), u (n, c)      the same; with t (m) and u (n, m) or (n, c, m) a state
    t (m), y (m, c)         "y" with c components along the axis t
    ======================  ====================================================================

    Names of axes are x, y, z, t, also doubled or with an ending such as ``_star``.  Other arrays keep their
    names; complex ones have the real and the imaginary part as components; single numbers are attributes.

    Parameters
    ----------
    axes : tuple of str
        The order of the axes in the fields, such as ("t", "x"), where their lengths do not tell.

    Raises
    ------
    ConfigError
        If an axis is not x, y, z or t, or comes twice.

    Examples
    --------
    >>> ReferenceSolution(axes=("t", "x")).format
    'a reference solution (.npz, .mat)'
    """

    axes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        if len(set(self.axes)) != len(self.axes) or not set(self.axes) <= set("xyzt"):
            raise ConfigError(f"ReferenceSolution: axes are some of x, y, z, t, each once, got {self.axes}.")

    @property
    def format(self) -> str:
        """For messages and the converted file."""
        return "a reference solution (.npz, .mat)"

    def detect(self, path: Path) -> bool:
        """Whether an .npz or .mat has vectors or points named as axes, and is not one of the FNO's files."""
        found = marks(path, *_KINDS)
        if found is None or FNOFile().detect(path):
            return False
        return bool(_vectors(found) or _cloud(found))

    def read(self, path: Path) -> Foreign:
        """The content.

        Raises
        ------
        DataError
            If no array fits the axes, or their order is not unique.
        """
        found = contents(path)
        if found is None:
            raise DataError(f"{path}: no .npz or .mat.")
        notes: list[str] = []
        vectors, cloud = _vectors(found), _cloud(found)
        clock = vectors.pop("t", None)
        if cloud is not None and not vectors:
            place, fields, times, used = _scattered(path, found, [cloud], clock, notes)
        elif _is_cloud(found, vectors, clock):
            place, fields, times, used = _scattered(path, found, list(vectors.values()), clock, notes)
        else:
            place, fields, times, used = self._on_axes(path, found, vectors, clock, notes)
        scalars = [name for name, entry in found.arrays.items() if _size(entry.shape) == 1]
        left = sorted((found.names() | set(found.others)) - used - set(scalars))
        if left:
            notes.append(f"left out: {', '.join(left)}")
        values = load(path, scalars)
        return Foreign(
            place,
            fields,
            times=times,
            attributes=numbers_in({name: values[name].real.ravel().tolist() for name in scalars}),
            provenance=Provenance(title=f"{path.name}, a reference solution", dtype_compute="unknown"),
            notes=tuple(notes),
        )

    def _on_axes(
        self,
        path: Path,
        found: Contents,
        vectors: dict[str, str],
        clock: str | None,
        notes: list[str],
    ) -> tuple[Grid | Points, tuple[tuple[Field, NDArray[Any]], ...], NDArray[np.float64] | None, set[str]]:
        """Fields on the tensor product of the axes."""
        space = {letter: np.asarray(load(path, [name])[name]).ravel() for letter, name in vectors.items()}
        times = None if clock is None else load(path, [clock])[clock].ravel()
        if not space and times is not None:  # an ordinary differential equation
            space, times = {"t": times}, None
        axes = {**space, **({} if times is None or "t" in space else {"t": times})}
        used = {*vectors.values(), *({clock} if clock else set())}
        columns: list[Column] = []
        for name, entry in found.arrays.items():
            if name in used or _size(entry.shape) == 1:
                continue
            order = self._order(path, name, entry.shape, axes)
            if order is None:
                continue
            used.add(name)
            columns.append(_column(path, name, load(path, [name])[name], order, axes, space, notes))
        if not columns:
            lengths = {letter: len(values) for letter, values in axes.items()}
            raise DataError(
                f"{path}: no array fits the axes {lengths}; it holds {found.listing()}. A field has one "
                "dimension for each axis, perhaps one more for components."
            )
        timed = any(item.time for item, _ in columns)
        stamps = times_of(path, times, len(times), notes) if times is not None and timed else None
        sizes = tuple(len(values) for values in space.values())
        for letter, values in space.items():
            if (np.diff(values) <= 0).any() or not np.isfinite(values).all():
                raise DataError(f"{path}: the axis {vectors.get(letter, letter)} does not increase.")
        if all(is_uniform(values) for values in space.values()):
            fields = [(i, v.reshape(*v.shape[:3], *sizes)) for i, v in columns]
            pairs = list(space.items())
            place: Grid | Points = grid_of(path, pairs, fields[0][1], range(3, 3 + len(pairs)), notes)
            squeezed = [
                (i, v.squeeze(tuple(([] if i.components > 1 else [2]) + ([] if i.time else [1]))))
                for i, v in fields
            ]
            return place, tuple(squeezed), stamps, used
        place, scattered = placed(path, tuple(space), product(space), columns, notes)
        return place, scattered, stamps, used

    def _order(
        self, path: Path, name: str, shape: tuple[int, ...], axes: dict[str, NDArray[Any]]
    ) -> tuple[str, ...] | None:
        """The axes in the order of the dimensions of an array, with "c" for a last one of components."""
        plain = _squeezed(shape)
        for count in (len(axes), len(axes) - 1):
            for components in (False, True):
                if count < 1 or len(plain) != count + components or (components and count < len(axes)):
                    continue
                fitting = [
                    order
                    for order in itertools.permutations(axes, count)
                    if tuple(len(axes[letter]) for letter in order) == plain[:count]
                    and (count == len(axes) or "t" not in order)
                ]
                wanted = [o for o in fitting if o == tuple(a for a in self.axes if a in o)]
                fitting = wanted if wanted and self.axes else fitting
                if len({order.index("t") for order in fitting if "t" in order}) > 1:
                    raise DataError(
                        f"{path}: {name} {plain} has axes of equal length, so it may be "
                        f"{' or '.join(str(o).replace(chr(39), '') for o in fitting)}. Say which with "
                        "ReferenceSolution(axes=('t', 'x')), on the command line --axes t --axes x."
                    )
                if fitting:  # of orders that differ in space alone the one with x first
                    return (*min(fitting, key=lambda o: [a for a in o if a != "t"]), *(("c",) * components))
        return None


def _column(
    path: Path,
    name: str,
    values: NDArray[Any],
    order: tuple[str, ...],
    axes: dict[str, NDArray[Any]],
    space: dict[str, NDArray[Any]],
    notes: list[str],
) -> Column:
    """A field as (sample, frame, component, point)."""
    values, paired = real(name, values.reshape(_squeezed(values.shape)), notes)
    if paired:
        order = (*order, "c")
    if values.ndim > len(order):  # components of complex numbers
        values = values.reshape(*values.shape[: len(order) - 1], -1)
    timed = "t" in order and "t" not in space
    wanted = ([] if not timed else ["t"]) + (["c"] if "c" in order else []) + list(space)
    values = values.transpose([order.index(letter) for letter in wanted])
    if not timed:
        values = values[None]
    if "c" not in order:
        values = values[:, None]
    values = values.reshape(1, *values.shape[:2], -1)
    return _field(name, values, timed, axes), storable(path, name, values, notes)


def _field(name: str, values: NDArray[Any], timed: bool, axes: Any) -> Field:
    plain = plain_name(name) or "u"
    if plain in RESERVED or plain in axes or plain.split("_")[0] == "component":
        plain = f"{plain}_value"
    role = "state" if timed else "output"
    return Field(plain, role, long_name=name, components=values.shape[2], time=timed, rank=0)


def _scattered(
    path: Path, found: Contents, names: list[str], clock: str | None, notes: list[str]
) -> tuple[Grid | Points, tuple[tuple[Field, NDArray[Any]], ...], NDArray[np.float64] | None, set[str]]:
    """Fields (point,), (point, component), (point, time) or (point, component, time) at points."""
    arrays = load(path, names)
    if len(names) == 1:
        points = np.asarray(arrays[names[0]], dtype=np.float64)
        letters: tuple[str, ...] = ("x", "y", "z")[: points.shape[1]]
    else:
        points = np.stack([arrays[name].ravel() for name in names], axis=1).astype(np.float64)
        letters = tuple(str(_letter(name)) for name in names)
    times = None if clock is None else load(path, [clock])[clock].ravel()
    frames = -1 if times is None else len(times)
    used, columns = set(names), list[Column]()
    for name, entry in found.arrays.items():
        shape = _squeezed(entry.shape)
        if name in used or name == clock or not shape or shape[0] != len(points) or len(shape) > 3:
            continue
        timed = len(shape) > 1 and shape[-1] == frames
        if len(shape) == 3 and not timed:
            continue
        values, paired = real(name, load(path, [name])[name].reshape(shape), notes)
        if paired:
            values = np.moveaxis(values, -1, 1) if timed else values
            values = values.reshape(len(points), -1, *((frames,) if timed else ()))
        if not timed:
            values = values[..., None]
        if values.ndim == 2:
            values = values[:, None]
        values = np.moveaxis(values, (2, 1, 0), (0, 1, 2))[None]
        columns.append((_field(name, values, timed, letters), storable(path, name, values, notes)))
        used.add(name)
    if not columns:
        raise DataError(
            f"{path}: no array has one row for each of {len(points)} points; it holds {found.listing()}."
        )
    timed = any(item.time for item, _ in columns)
    if timed and clock is not None and times is not None:
        used.add(clock)
        times = times_of(path, times, frames, notes)
    place, fields = placed(path, letters, points, columns, notes)
    return place, fields, times if timed else None, used


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _letter(name: str) -> str | None:
    match = _AXIS.fullmatch(name)
    return None if match is None else next(letter for letter in "xyzt" if match[letter])


def _vectors(found: Contents) -> dict[str, str]:
    """Letter of an axis to the name of its vector, in the order x, y, z, t.

    Two names for one axis are none; what is called y is a field where there is no x.
    """
    listed = [
        (letter, name)
        for name, entry in found.arrays.items()
        if (letter := _letter(name)) and len(_squeezed(entry.shape)) == 1 and entry.dtype.kind in "iuf"
    ]
    letters = [letter for letter, _ in listed]
    vectors = {letter: name for letter, name in sorted(listed, key=lambda pair: "xyzt".index(pair[0]))}
    vectors = {letter: name for letter, name in vectors.items() if letters.count(letter) == 1}
    if "x" not in vectors:
        vectors = {letter: name for letter, name in vectors.items() if letter == "t"}
    others = [n for n, e in found.arrays.items() if n not in vectors.values() and _size(e.shape) > 1]
    if "y" in vectors and not others:  # x and y alone: y is a function of x
        del vectors["y"]
    return vectors


def _cloud(found: Contents) -> str | None:
    """The name of the array of coordinates, (point, dim), if there is exactly one."""
    names = [
        name
        for name, entry in found.arrays.items()
        if _CLOUD.fullmatch(name) and len(entry.shape) == 2 and 1 <= entry.shape[1] <= 3 < entry.shape[0]
        and not (entry.shape[1] == 1 and _letter(name))
    ]  # fmt: skip
    return names[0] if len(names) == 1 else None


def _is_cloud(found: Contents, vectors: dict[str, str], clock: str | None) -> bool:
    """Whether the axes are the coordinates of points: of one length, and a field has that length."""
    sizes = {_size(found.arrays[name].shape) for name in vectors.values()}
    if len(vectors) < 2 or len(sizes) != 1:
        return False
    count, frames = sizes.pop(), 0 if clock is None else _size(found.arrays[clock].shape)
    rest = [_squeezed(e.shape) for n, e in found.arrays.items() if n not in (*vectors.values(), clock)]
    return any(shape in ((count,), (count, frames)) for shape in rest)
