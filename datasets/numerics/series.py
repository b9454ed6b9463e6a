"""Fourier, sine and cosine series on a box, in which linear equations are exact."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import reduce
from numbers import Integral
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.numerics.pseudo_spectral import Modes
from sciml.datasets.numerics.random_fields import Boundary
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid

Float = NDArray[np.float64]
Coefficients = NDArray[Any]


class Series:
    r"""The expansion of fields on a grid in the eigenfunctions of the Laplacian under one boundary condition.

    ==========  =======================================  ===============================  ================
    boundary    points of each axis                      one-dimensional functions        coefficients
    ==========  =======================================  ===============================  ================
    periodic    nodes, right end left out, n             exp(2 pi i k s)                  complex (`Modes`)
    dirichlet   nodes, both ends included, n + 1         sin(pi k s), 0 < k < n           real, n - 1
    neumann     nodes, both ends included, n + 1         cos(pi k s), 0 <= k <= n         real, n + 1
    ==========  =======================================  ===============================  ================

    with s = (x - lower) / L.  A field with ``dirichlet`` is zero at the ends: values there are ignored.

    Parameters
    ----------
    grid : Grid
        All axes of the kind in the table, of any number.
    boundary : "periodic", "dirichlet" or "neumann"

    Attributes
    ----------
    grid : Grid
    boundary : str
    eigenvalues : array
        Of -Laplacian, one per coefficient, in their shape.

    Raises
    ------
    ShapeError
        If the axes do not fit the boundary condition.
    ConfigError
        If the boundary condition is none of these.

    Notes
    -----
    The transforms are those of the discrete Fourier, sine (type I) and cosine (type I) family: exact for all
    functions in the table, and spectrally accurate for smooth fields whose odd (dirichlet) or even (neumann)
    periodic extension is smooth.  Leading axes are batches; **one sample at a time** gives bits that do not
    depend on the others.

    Examples
    --------
    >>> series = Series(Grid.box((9,), location="node"), "dirichlet")
    >>> x = series.grid.axes[0].coordinates
    >>> bent = series.laplacian(np.sin(3 * np.pi * x))
    >>> bool(np.allclose(bent, -((3 * np.pi) ** 2) * np.sin(3 * np.pi * x)))
    True
    """

    def __init__(self, grid: Grid, boundary: Boundary) -> None:
        if boundary not in get_args(Boundary):
            raise ConfigError(f"Series: boundary is one of {get_args(Boundary)}, got {boundary!r}.")
        wrapped = boundary == "periodic"
        if not all(axis.location == "node" and axis.periodic == wrapped for axis in grid.axes):
            raise ShapeError(
                f"Series: boundary {boundary!r} needs axes of nodes, such as Grid.box(shape, "
                f"location='node', periodic={wrapped}), got {grid}."
            )
        if boundary == "dirichlet" and min(grid.shape) < 3:
            raise ShapeError(
                f"Series: 'dirichlet' needs three nodes per axis, both ends and one, got {grid}."
            )
        self.grid, self.boundary = grid, boundary
        self._modes = Modes(grid, degree=1) if wrapped else None
        self.eigenvalues: Float = -self._modes.laplacian if self._modes else self._squares()

    def _squares(self) -> Float:
        first, last = (1, -1) if self.boundary == "dirichlet" else (0, 0)
        waves = [
            (math.pi / (axis.upper - axis.lower) * np.arange(first, axis.size + last)) ** 2
            for axis in self.grid.axes
        ]
        return np.asarray(reduce(np.add.outer, waves), dtype=np.float64)

    def to_modes(self, values: Float) -> Coefficients:
        """Coefficients (..., *eigenvalues.shape) of values (..., *grid.shape)."""
        import scipy.fft

        if self._modes is not None:
            return self._modes.to_modes(values)
        if self.boundary == "neumann":
            return np.asarray(scipy.fft.dctn(values, type=1, axes=self._axes, norm="forward"))
        inside = values[self._inside]
        return np.asarray(scipy.fft.dstn(inside, type=1, axes=self._axes, norm="forward"))

    def to_values(self, coefficients: Coefficients) -> Float:
        """Values (..., *grid.shape) of the series with these coefficients."""
        import scipy.fft

        if self._modes is not None:
            return self._modes.to_values(coefficients)
        if self.boundary == "neumann":
            return np.asarray(scipy.fft.idctn(coefficients, type=1, axes=self._axes, norm="forward"))
        values = np.zeros((*coefficients.shape[: -self.grid.rank], *self.grid.shape))
        values[self._inside] = scipy.fft.idstn(coefficients, type=1, axes=self._axes, norm="forward")
        return values

    def laplacian(self, values: Float) -> Float:
        """The Laplacian of the series through values (..., *grid.shape), at the points."""
        return self.to_values(-self.eigenvalues * self.to_modes(values))

    @property
    def _inside(self) -> tuple[Any, ...]:
        return (..., *[slice(1, -1)] * self.grid.rank)

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-self.grid.rank, 0))


def box(resolution: int, rank: int, boundary: Boundary, *, lower: float = 0.0, upper: float = 1.0) -> Grid:
    """Cubic grid of ``resolution`` intervals per axis for a `Series`: nodes, with both ends if bounded."""
    wrapped = boundary == "periodic"
    size = resolution if wrapped else resolution + 1
    return Grid.box([size] * rank, lower=lower, upper=upper, location="node", periodic=wrapped)


def check_settings(
    generator: Any,
    *,
    least: Mapping[str, int],
    positive: Sequence[str],
    finite: Sequence[str] = (),
    ranks: Sequence[int] = (1, 2, 3),
) -> None:
    """Refuse settings of a generator that are out of range, or not whole where their type is int.

    Parameters
    ----------
    generator : dataclass
        Has the settings as attributes; its class is named in messages.
    least : mapping
        Name of a setting to its least value.
    positive, finite : sequence of str
        Names of the settings that must be above zero and finite, or finite.
    ranks : sequence of int
        That ``rank`` may have.

    Raises
    ------
    ConfigError
        Names the first setting that is out of range.
    """
    values = vars(generator)
    whole = [item.name for item in dataclasses.fields(generator) if item.type in ("int", int)]
    rules = [(name, isinstance(values[name], Integral), "a whole number") for name in whole]
    rules += [(name, values[name] >= bound, f"at least {bound}") for name, bound in least.items()]
    rules += [(name, 0 < values[name] < math.inf, "positive and finite") for name in positive]
    rules += [(name, math.isfinite(values[name]), "finite") for name in finite]
    if "rank" in values:
        rules.append(("rank", values["rank"] in ranks, f"one of {tuple(ranks)}"))
    for name, kept, wanted in rules:
        if not kept:
            raise ConfigError(f"{type(generator).__name__}: {name} must be {wanted}, got {values[name]}.")


def instants(who: str, times: ArrayLike) -> list[float]:
    """The times of frames as floats; the first is that of the start.

    Raises
    ------
    ConfigError
        If they do not increase, there are none, or they are no sequence of finite numbers.
    """
    try:
        found = np.asarray(times, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.ndim != 1 or not (found.size and np.isfinite(found).all() and (np.diff(found) > 0).all()):
        raise ConfigError(f"{who}: times must increase, a sequence of finite numbers, got {times!r:.200}.")
    return [float(t) for t in found]
