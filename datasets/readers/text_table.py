"""Tables of numbers in text: exports of COMSOL, and columns with a line of names."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.readers.foreign import Foreign
from sciml.datasets.readers.pieces import plain_name, real
from sciml.datasets.readers.scattered import Column, placed
from sciml.description import describable
from sciml.errors import DataError
from sciml.schema import RESERVED, Field, Provenance

_COMMENTS = ("%", "#")
_COORDINATES = ("x", "y", "z", "r", "t")
_HEAD_BYTES = 2**16
_MAX_LINES = 200  # of comments
_COLUMN = re.compile(
    r"(?P<name>[^@(]+?)\s*(?:\((?P<units>[^()]*(?:\([^()]*\)[^()]*)*)\))?\s*(?:@\s*(?P<at>.+))?"
)


@dataclass
class _Head:
    """What the comments say."""

    facts: dict[str, str] = field(default_factory=dict)  # "% Dimension: 2"
    names: list[str] = field(default_factory=list)  # of the columns
    separator: str | None = None
    columns: int = 0
    skip: int = 0  # lines before the first numbers

    @property
    def comsol(self) -> bool:
        """Whether COMSOL wrote it."""
        return "Model" in self.facts or "Expressions" in self.facts


@describable
@dataclass(frozen=True)
class TextTable:
    """Text with a row of numbers for each point: the first columns are coordinates, the others fields.

    COMSOL's exports say how many coordinates there are (``% Dimension``); their columns are named as in
    ``u (m/s) @ t=0.1, Re=100``: times are the frames of a state, values of other parameters are samples with
    these parameters.  In other tables the last line of comments (``#`` or ``%``), or a first line of names,
    names the columns; those called x, y, z, r, t at the beginning are coordinates.  Two columns without
    names are a function y of x.

    Notes
    -----
    Points that form a uniform grid become one.  Rows with NaN, which COMSOL writes outside of the domain, are
    left out.  ``i`` marks imaginary parts.

    Examples
    --------
    >>> TextTable().format
    'a text table (COMSOL export)'
    """

    @property
    def format(self) -> str:
        """For messages and the converted file."""
        return "a text table (COMSOL export)"

    def detect(self, path: Path) -> bool:
        """Whether it is text with a head and a row of as many numbers, or with the head of COMSOL."""
        head = _head(path) if path.is_file() else None
        return head is not None and (head.comsol or head.columns > 1)

    def read(self, path: Path) -> Foreign:
        """The content.

        Raises
        ------
        DataError
            If nothing says which columns are coordinates, or rows and columns do not fit the head.
        """
        head = _head(path)
        if head is None:
            raise DataError(f"{path}: no table of numbers in text.")
        notes: list[str] = []
        table = _numbers(path, head)
        dim = _dimension(path, head, table.shape[1], notes)
        if len(table) < 2:
            raise DataError(f"{path}: has {len(table)} rows of numbers; expected at least two points.")
        if np.iscomplexobj(table) and np.any(table[:, :dim].imag):
            raise DataError(f"{path}: the coordinates are complex.")
        columns, times, parameters, attributes = _columns(path, head, table, dim, notes)
        names, units = _coordinates(head, dim)
        if units is None:
            said = head.facts.get("Length unit", "1")
            units = said if said not in ("", "null") else "1"
        place, fields = placed(path, names, table[:, :dim].real.astype(float), columns, notes, units=units)
        return Foreign(
            place,
            fields,
            times=times,
            variables=parameters,
            attributes=attributes,
            provenance=Provenance(
                title=path.name,
                generator=head.facts.get("Version", ""),
                dtype_compute="unknown",
                time_units="s" if head.comsol and times is not None else "1",
            ),
            notes=tuple(notes),
        )


def _head(path: Path) -> _Head | None:
    """The comments and the first row, or None if the file is no text with numbers in rows."""
    with path.open("rb") as file:
        raw = file.read(_HEAD_BYTES)
    if not raw or b"\0" in raw:
        return None
    lines = raw.decode("utf-8", "replace").lstrip("\ufeff").splitlines()
    head, last = _Head(), ""
    for number, line in enumerate(lines[: _MAX_LINES + 1]):
        text = line.strip()
        if text.startswith(_COMMENTS):
            text = text.lstrip("".join(_COMMENTS)).strip()
            key, colon, value = text.partition(":")
            if colon and re.fullmatch(r"[A-Za-z ]+", key):
                head.facts[key.strip()] = value.strip()
            elif text:
                last = text
        elif text:
            head.skip = number
            return _first_row(head, text, last, lines[number + 1 : number + 2])
    return head if head.comsol else None


def _first_row(head: _Head, text: str, last: str, following: list[str]) -> _Head | None:
    """Separator and number of columns of the first line without comment, which may hold names."""
    for candidate in (text, following[0].strip() if following else ""):
        for separator in (None, ",", ";"):
            values = _split(candidate, separator)
            if len(values) > 0 and all(_is_number(value) for value in values):
                head.separator, head.columns = separator, len(values)
                if candidate is not text:
                    head.names, head.skip = _split_names(text, len(values)), head.skip + 1
                    return head if len(head.names) == len(values) > 1 else None
                head.names = _split_names(last, len(values)) if last else []
                return head
    return head if head.comsol else None


def _split(text: str, separator: str | None) -> list[str]:
    return [part.strip() for part in text.strip().rstrip(separator or " ").split(separator)]


def _is_number(text: str) -> bool:
    try:
        complex(text.replace("i", "j") if text.lower() != "inf" else text)
    except ValueError:
        return False
    return True


def _split_names(line: str, count: int) -> list[str]:
    """Names of ``count`` columns, as they are separated; nothing if they are not as many."""
    ways = (
        re.split(r"\s{2,}|\t", line),
        [part.strip().strip('"') for part in line.split(",")],
        [part.strip().strip('"') for part in line.split(";")],
        re.findall(r"\S+(?:\s\([^)]*\))?(?:\s@\s\S+)?", line),
        line.split(),
    )
    return next(([name.strip() for name in way] for way in ways if len(way) == count), [])


def _numbers(path: Path, head: _Head) -> NDArray[Any]:
    """(row, column) float64, or complex128."""
    text = path.read_text(encoding="utf-8", errors="replace").lstrip("\ufeff")
    options: dict[str, Any] = {"comments": list(_COMMENTS), "delimiter": head.separator, "ndmin": 2}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of empty files
            lines = io.StringIO("\n".join(text.splitlines()[head.skip :]))
            try:
                return np.loadtxt(lines, dtype=np.float64, **options)
            except ValueError:
                lines = io.StringIO(re.sub(r"(?<=[\d.])i\b", "j", "\n".join(text.splitlines()[head.skip :])))
                return np.loadtxt(lines, dtype=np.complex128, **options)
    except ValueError as error:
        raise DataError(f"{path}: not a whole table of numbers ({error}).") from error


def _dimension(path: Path, head: _Head, columns: int, notes: list[str]) -> int:
    """How many of the columns are coordinates."""
    said = head.facts.get("Dimension", "")
    if head.comsol:
        if not said.isdecimal() or not 1 <= int(said) <= 3:
            raise DataError(
                f"{path}: has the marks of a COMSOL export but lacks the line '% Dimension: 1', 2 or 3."
            )
        expected = head.facts.get("Expressions", "")
        if expected.isdecimal() and int(said) + int(expected) != columns:
            raise DataError(
                f"{path}: its head says {said} coordinates and {expected} expressions, but rows have "
                f"{columns} numbers."
            )
        if columns <= int(said):
            raise DataError(f"{path}: has {columns} columns, all of them coordinates; no field.")
        return int(said)
    if not head.names:
        if columns == 2:
            notes.append("two columns without names: called x and y, y as a function of x")
            head.names = ["x", "y"]
            return 1
        raise DataError(
            f"{path}: a table of {columns} columns without names, so nothing says which are coordinates; "
            "put a line such as '# x, y, u' before it."
        )
    plain = [_coordinate_name(name) for name in head.names]
    dim = next((i for i, name in enumerate(plain) if name not in _COORDINATES), columns)
    dim = min(dim, columns - 1, 3)  # the last column is a field
    if dim == 0:
        raise DataError(
            f"{path}: the first column is {head.names[0]!r}; expected coordinates, x, y, z, r or t, first."
        )
    return dim


def _coordinate_name(name: str) -> str:
    """x for "X", "x (m)", "Points:0" and "Points_0"."""
    letter = re.sub(r"\s*\(.*\)$", "", name.strip().strip('"')).lower()
    if found := re.fullmatch(r"points[:_]([012])", letter):
        return "xyz"[int(found[1])]
    return letter


def _coordinates(head: _Head, dim: int) -> tuple[tuple[str, ...], str | None]:
    names = [_coordinate_name(name) for name in head.names[:dim]] or list("xyz"[:dim])
    plain = [plain_name(name) or "xyz"[i] for i, name in enumerate(names)]
    units = [found[1] for name in head.names[:dim] if (found := re.search(r"\((.*)\)$", name.strip()))]
    return tuple(plain) if len(set(plain)) == dim else tuple("xyz"[:dim]), units[0] if units else None


def _columns(
    path: Path, head: _Head, table: NDArray[Any], dim: int, notes: list[str]
) -> tuple[list[Column], NDArray[np.float64] | None, dict[str, NDArray[np.float64]], dict[str, Any]]:
    """The fields, (sample, frame, component, point), with times, parameters of samples and attributes."""
    found: dict[str, dict[tuple[tuple[str, float], ...], dict[float, int]]] = {}
    units: dict[str, str] = {}
    names = head.names or [f"column_{i}" for i in range(table.shape[1])]
    for place in range(dim, table.shape[1]):
        match = _COLUMN.fullmatch(names[place].strip())
        name = plain_name(match["name"] if match else names[place]) or f"column_{place}"
        name = f"{name}_value" if name in RESERVED or name in _coordinates(head, dim)[0] else name
        settings = _settings(match["at"] if match and match["at"] else "")
        time = settings.pop("t", 0.0) if "t" in settings else 0.0
        units[name] = (match["units"] or "1").strip() if match else "1"
        frames = found.setdefault(name, {}).setdefault(tuple(sorted(settings.items())), {})
        if time in frames:
            raise DataError(f"{path}: the column {names[place]!r} comes twice.")
        frames[time] = place
    samples = list(next(iter(found.values())))
    times = sorted(next(iter(found[next(iter(found))].values())))
    whole = all(
        list(each) == samples and all(sorted(frames) == times for frames in each.values())
        for each in found.values()
    )
    if not whole:
        raise DataError(f"{path}: its fields have different times or parameters: {', '.join(found)}.")
    timed = len(times) > 1
    columns: list[Column] = []
    for name, each in found.items():
        places = [[frames[time] for time in times] for frames in each.values()]
        values, paired = real(name, np.moveaxis(table[:, np.array(places)], 0, -1), notes)
        values = np.moveaxis(values, -1, 2) if paired else values[:, :, None]
        columns.append(
            (
                Field(
                    name,
                    "state" if timed else "output",
                    units=units[name] or "1",
                    components=values.shape[2],
                    time=timed,
                    rank=0,
                ),
                values,
            )
        )
    keys = [key for key, _ in samples[0]]
    parameters: dict[str, NDArray[np.float64]] = {}
    attributes: dict[str, Any] = {}
    for i, key in enumerate(keys):
        plain = plain_name(key)
        if plain is None or any([k for k, _ in sample] != keys for sample in samples):
            continue
        values = np.array([sample[i][1] for sample in samples])
        if len(samples) > 1:
            parameters[plain] = values
        else:
            attributes[f"source_{plain}"] = float(values[0])
    return columns, np.array(times) if timed else None, parameters, attributes


def _settings(text: str) -> dict[str, float]:
    """``t=0.1, Re=100``, perhaps after the number of the solution, as numbers."""
    found = {}
    for part in re.split(r"[,;]\s*", re.sub(r"^\d+:\s*", "", text)):
        key, equals, value = part.partition("=")
        number = re.match(r"[-+]?[0-9.]+(?:[eE][-+]?\d+)?", value.strip())
        if equals and number:
            found[key.strip()] = float(number[0])
    return found
