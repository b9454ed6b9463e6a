"""Whether a file is what ``docs/dataset-format.md`` says: every departure, not only the first."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml import dataset_file, schema
from sciml.dataset_file import Layout
from sciml.dataset_points import check_points
from sciml.errors import DataError
from sciml.hdf5 import (
    check_beginning,
    check_storage,
    check_variable,
    is_dimension_only,
    open_file,
    read_attributes,
    refusing,
    rows_per_block,
    runs,
    walk,
)
from sciml.moments import moments
from sciml.sandbox import Progress, examine
from sciml.sandbox_child import report
from sciml.schema import Field, Variable, canonical, chunk_shape

# Two programs that add up the same numbers in float64 in another order differ by far less.
STATISTICS_TOLERANCE = 1e-9
_MAX_CHUNK = 2**22
_TEXTS = ("Conventions", "sciml_schema", "sciml_format", "checksum_algorithm", "sciml_digest")


@dataclass(frozen=True)
class Departure:
    """One thing that is not as the format says.

    Attributes
    ----------
    rule : str
        "structure", "completion", "attributes", "digest", "storage", "dimensions", "values", "content" or
        "statistics".
    text : str
        A sentence that names the object.
    """

    rule: str
    text: str


@dataclass(frozen=True)
class Conformance:
    """What `check` found.

    Attributes
    ----------
    path : Path
    digest : str
        As the file states it; empty if it states none.
    variables : int
        Variables that were read in full.
    bytes : int
        Of their values.
    departures : tuple of Departure
        Empty for a file that can be trusted.
    """

    path: Path
    digest: str
    variables: int
    bytes: int
    departures: tuple[Departure, ...]

    @property
    def conforms(self) -> bool:
        """Whether nothing departs from the format."""
        return not self.departures

    def __str__(self) -> str:
        read = f"{self.variables} variables, {self.bytes} bytes read"
        if self.conforms:
            return f"{self.path}: conforms to schema {schema.SCHEMA} ({read})"
        count = f"{len(self.departures)} departure{'s' * (len(self.departures) > 1)}"
        lines = [f"{self.path}: {count} from schema {schema.SCHEMA} ({read})"]
        return "\n".join([*lines, *(f"  {item.rule}: {item.text}" for item in self.departures)])


def check(path: str | Path, *, progress: Progress | None = None) -> Conformance:
    """Read a whole dataset file, in a child process, and list everything in which it departs from the format.

    Parameters
    ----------
    path : str or Path
    progress : callable, optional
        Called with the bytes of values read so far, and how many there are.

    Returns
    -------
    Conformance
        It names the departures in the order structure, attributes, values, content.  A crash or an endless
        loop of the HDF5 library on the file is a departure too.

    Raises
    ------
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import tempfile
    >>> from sciml.dataset import Field, write_dataset
    >>> from sciml.grid import Grid
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fields = [(Field("u", "output"), np.zeros((2, 4)))]
    ...     data = write_dataset(folder + "/u.h5", grid=Grid.box((4,)), fields=fields, split=[0, 2])
    ...     check(data.path).conforms
    True
    """
    target = Path(path)
    try:
        check_beginning(target)
        found = examine(target, departures, progress=progress)
    except DataError as error:
        found = {"digest": "", "variables": 0, "bytes": 0, "departures": [["structure", str(error)]]}
    listed = tuple(
        Departure(rule, text.removeprefix(f"{target.absolute()}: ").removeprefix(f"{target}: "))
        for rule, text in found["departures"]
    )
    return Conformance(target, found["digest"], found["variables"], found["bytes"], listed)


def departures(path: Path) -> dict[str, Any]:
    """What `check` returns, as plain data; to be run by `sciml.sandbox.examine`."""
    examination = _Examination(path)
    with examination.noting("structure"), refusing(path, "the file"):
        file = open_file(path)
        try:
            examination.run(file)
        finally:
            file.close()
    return {
        "digest": examination.digest,
        "variables": examination.read,
        "bytes": examination.bytes,
        "departures": examination.found,
    }


class _Examination:
    """One pass over an open file.  Each step notes what it finds and leaves the next ones possible."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[tuple[str, str]] = []
        self.digest = ""
        self.read = self.bytes = self.total = 0
        self.variables: dict[str, Variable] = {}
        self.small: dict[str, NDArray[Any]] = {}

    def note(self, rule: str) -> Callable[[str], None]:
        """A departure from a rule, by its sentence; one sentence is noted once."""

        def refuse(sentence: str) -> None:
            item = (rule, sentence.removeprefix(f"{self.path}: "))
            if item not in self.found:
                self.found.append(item)

        return refuse

    @contextlib.contextmanager
    def noting(self, rule: str, what: str = "its content") -> Iterator[None]:
        """Whatever is raised inside is a departure."""
        try:
            with refusing(self.path, what):
                yield
        except DataError as error:
            self.note(rule)(str(error))

    def run(self, file: Any) -> None:
        """All rules."""
        dataset_file.check_header(file, self.path, self.note("completion"))
        names: list[str] = []
        with self.noting("structure", "its structure"):
            for name, _ in walk(file, self.path, self.note("storage")):
                if name.count("/") == 1 and not is_dimension_only(file[name]):
                    names.append(name[1:])
        attributes: dict[str, Any] = {}
        with self.noting("attributes", "the attributes of the root"):
            attributes = read_attributes(file, self.path, "the root", self.note("attributes"))
            self.digest = str(attributes.get("sciml_digest", ""))
        numbers: dict[int, str] = {}
        with self.noting("dimensions", "its dimensions"):
            numbers = dataset_file.dimension_names(file)
        for name in names:
            with self.noting("storage", f"{name!r}"):
                self.variables[name] = dataset_file.read_variable(
                    file, self.path, name, numbers, self.note("storage")
                )
        with self.noting("digest"):
            dataset_file.check_digest(attributes, self.variables, self.path)
        self.total = sum(math.prod(v.shape) * v.dtype.itemsize for v in self.variables.values())
        for name, variable in self.variables.items():
            self._values(file[name], variable)
        self._root(attributes)
        self._content(file, attributes)

    def _values(self, dataset: Any, variable: Variable) -> None:
        """Checksum, finiteness and scales of one variable, in one pass over its values."""
        name, refuse = variable.name, self.note("values")
        try:
            check_storage(dataset.id, self.path, name)
            check_variable(dataset, self.path, name)
        except DataError:  # noted before; bytes of other files, or more than there are, must not be read
            return
        with self.noting("dimensions"):
            dataset_file.check_scales(dataset, variable, self.path)
        with self.noting("values", f"{name!r}"):
            state, finite, kept = hashlib.sha256(), True, []
            step = rows_per_block(dataset.shape, dataset.dtype.itemsize, (dataset.chunks or (1,))[0])
            for start in range(0, dataset.shape[0], step):
                block = np.ascontiguousarray(dataset[start : start + step], canonical(dataset.dtype))
                state.update(block.data)
                self.bytes += block.nbytes
                report(self.bytes, self.total)
                if block.dtype.kind == "f" and finite and not np.isfinite(block).all():
                    where = np.argwhere(~np.isfinite(block))[0]
                    where[0] += start
                    finite = name == "discretization_error"
                    if not finite:
                        refuse(f"{name!r} is not finite at {tuple(where.tolist())} of {variable.dims}.")
                if dataset_file.is_small(variable):
                    kept.append(block)
            self.read += 1
            if state.hexdigest() != variable.attributes.get("sha256"):
                refuse(f"the values of {name!r} are not those that its attribute sha256 is of.")
            if kept:
                self.small[name] = np.concatenate(kept).astype(variable.dtype.newbyteorder("="))
        if dataset.dtype.byteorder == ">":
            refuse(f"{name!r} is big-endian; values are little-endian.")
        self._chunks(dataset, variable)

    def _chunks(self, dataset: Any, variable: Variable) -> None:
        """The rule of the format, as far as it concerns readers: no sample costs the reading of another."""
        if dataset.chunks is None or len(variable.dims) < 2:
            return
        itemsize = dataset.dtype.itemsize
        rule = chunk_shape(variable.dims, variable.shape, itemsize)
        if "sample" in variable.dims and dataset.chunks[variable.dims.index("sample")] > 1:
            self.note("storage")(f"{variable.name!r} has chunks {dataset.chunks} that cross samples: {rule}.")
        if math.prod(dataset.chunks) * itemsize > max(_MAX_CHUNK, math.prod(rule) * itemsize):
            self.note("storage")(f"{variable.name!r} has chunks {dataset.chunks} above 4 MiB: {rule}.")

    def _root(self, attributes: Mapping[str, Any]) -> None:
        """What the root must state, and in which form."""
        refuse = self.note("attributes")
        for name in (*_TEXTS, *schema.JSON_ATTRIBUTES):
            if not isinstance(attributes.get(name), str):
                refuse(f"the root attribute {name!r} must be a text, got {attributes.get(name)!r}.")
            elif name in schema.JSON_ATTRIBUTES:
                try:
                    decoded = json.loads(attributes[name])
                except (ValueError, RecursionError):
                    decoded = None
                if not isinstance(decoded, dict):
                    refuse(f"the root attribute {name!r} must be a JSON object.")
        if attributes.get("Conventions", "CF-") and "CF-" not in str(attributes.get("Conventions", "CF-")):
            refuse(f"the root attribute 'Conventions' names no CF version: {attributes['Conventions']!r}.")
        if attributes.get("checksum_algorithm", "sha256") != "sha256":
            refuse(f"checksum_algorithm is {attributes['checksum_algorithm']!r}; the format has sha256 only.")

    def _content(self, file: Any, attributes: Mapping[str, Any]) -> None:
        """What the variables mean together; the fields one by one, and their statistics."""
        layout = None
        with self.noting("content"):
            layout = dataset_file.interpret(attributes, self.variables, self.small, self.path)
        self._bookkeeping()
        for name, variable in self.variables.items():
            self._description(name, variable)
        if layout is not None:
            with self.noting("content", "its points and cells"):
                refuse = self.note("content")
                check_points(file, layout.place, layout.locations, layout.variables, refuse)
            for item in layout.fields.values():
                with self.noting("statistics", f"the statistics of {item.name!r}"):
                    self._statistics(file[item.name], item, layout)
            return
        # What else is wrong with fields and axes, each by itself.
        fields = [v for v in self.variables.values() if "sciml_role" in v.attributes]
        for variable in fields:
            with self.noting("content"):
                dataset_file.described_field(variable, self.path)
        if attributes.get("sciml_format") != "grid":
            return
        for name in dataset_file.axis_names(v for v in fields if not dataset_file.is_parameter(v)):
            with self.noting("content"):
                domain = json.loads(attributes["domain"])
                dataset_file.read_grid([name], domain, self.variables, self.small, self.path)

    def _bookkeeping(self) -> None:
        """Numbers per sample."""
        refuse, small = self.note("content"), self.small
        if "sample" in small and not np.array_equal(small["sample"], np.arange(len(small["sample"]))):
            refuse("'sample' is not 0, 1, 2, ...")
        if "time" in small and (np.diff(small["time"]) <= 0).any():
            refuse("'time' does not increase.")
        for name, kind in schema.BOOKKEEPING.items():
            variable = self.variables.get(name)
            if variable is None:
                continue
            if canonical(variable.dtype).str[1:] != kind:
                refuse(f"{name!r} has type {variable.dtype}; the format says {np.dtype(kind).name}.")
            flags = schema.FLAGGED.get(name)
            if flags is None:
                continue
            if variable.attributes.get("flag_meanings") != " ".join(flags):
                refuse(f"{name!r} must state flag_meanings {' '.join(flags)!r}.")
            if name in small and not np.isin(small[name], range(len(flags))).all():
                refuse(f"{name!r} has values other than 0 to {len(flags) - 1}, which mean {flags}.")

    def _description(self, name: str, variable: Variable) -> None:
        """Names and attributes of one variable."""
        refuse, told = self.note("attributes"), variable.attributes
        with self.noting("content"):
            schema.check_name(name, f"{self.path}")
        if name in schema.BOOKKEEPING or name in schema.STRUCTURAL or name.endswith("_count"):
            return
        for key in ("units", "long_name"):
            if not isinstance(told.get(key), str):
                refuse(f"{name!r} has no attribute {key!r}.")
        if variable.dims != (name,) and "sciml_role" not in told and not name.endswith("_points"):
            refuse(f"{name!r} has no attribute 'sciml_role'; nothing tells what it is.")
        if told.get("sciml_role") == "parameter" and canonical(variable.dtype).str != "<f8":
            refuse(f"the parameter {name!r} has type {variable.dtype}; the format says float64.")

    def _statistics(self, dataset: Any, item: Field, layout: Layout) -> None:
        """Those in the attributes beside those of the training samples."""
        told, refuse = layout.variables[item.name].attributes, self.note("statistics")
        train = np.flatnonzero(layout.small["split"] == 0)
        if item.sample and len(train) == 0:
            if "statistics_split" in told:
                refuse(f"{item.name!r} has statistics, but there are no training samples.")
            return
        stated = dataset_file.stored_statistics(layout, item.name, self.path)
        if stated is None:
            refuse(f"{item.name!r} has no statistics of the training split (statistics_split).")
            return
        computed = _moments(dataset, item, layout, train)
        # Differences of frames are as exact as the frames, which may be much larger.
        scale = STATISTICS_TOLERANCE * (computed.rms + np.maximum(abs(computed.min), abs(computed.max)))
        for key in ("mean", "std", "rms", "min", "max", "mean_delta", "std_delta"):
            here = np.atleast_1d(told[key]) if key in told else None
            there = getattr(computed, key)
            if (here is None) != (there is None):
                refuse(f"{item.name!r}: {key} is {'missing' if here is None else 'not expected'}.")
            elif here is not None and (here.shape != there.shape or (abs(here - there) > scale).any()):
                refuse(f"{item.name!r}: {key} is {here.tolist()}, the training split has {there.tolist()}.")


def _moments(dataset: Any, item: Field, layout: Layout, train: NDArray[np.int64]) -> schema.Statistics:
    """The moments of a field over training samples, read in file order."""
    variable, location = layout.variables[item.name], layout.location(item)
    places = train
    if location is not None and location.ragged:
        places = location.places(train)
    step = rows_per_block(variable.shape, variable.dtype.itemsize)
    cut = item.sample or not item.time  # differences of frames must not be cut

    def blocks() -> Iterator[NDArray[Any]]:
        if not item.sample:
            pieces = [(0, dataset.shape[0])]
        else:
            pieces = [(start, stop) for _, _, start, stop in runs(places)]
        for begin, end in pieces:
            for start in range(begin, end, step if cut else end):
                values = dataset[start : min(end, start + step) if cut else end]
                yield values if item.components > 1 else values[..., None]

    return moments(blocks, item.name, time_axis=variable.dims.index("time") if item.time else None)
