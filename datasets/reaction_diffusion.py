"""Any system u_t = D Laplacian(u) + R(u), periodic or with walls that no flux crosses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.numerics.periodic import solved
from sciml.datasets.numerics.pseudo_spectral import Modes
from sciml.datasets.numerics.semilinear import Semilinear, pointwise, run
from sciml.datasets.solutions import Function, labelled, on_grid
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Axis, Grid

if TYPE_CHECKING:
    import xarray

Float = NDArray[np.float64]
Reaction = Callable[..., Any]
"""Of the components, one array each, to their rates: ``lambda u, v: (u - u**3 - v, u - v)``."""

SOLVER = "Fourier-Galerkin, exact dealiasing (|k| < n / (degree + 1)); ETDRK4 of order 4"
EVEN = "cosine series by even extension"


def system(modes: Modes, diffusivity: Sequence[float], reaction: Reaction) -> Semilinear:
    """The system in the coefficients of ``modes``, whose degree should be that of the reaction.

    Diffusion is exact; the reaction, of arrays (samples, *grid), is evaluated at the points.
    """
    rates = np.asarray(diffusivity, dtype=np.float64).reshape(-1, *[1] * modes.grid.rank)

    def values(u: Float) -> Float:
        found = reaction(*(u[:, i] for i in range(len(rates))))
        parts = [found] if len(rates) == 1 else list(found)
        shapes = [np.shape(part) for part in parts]
        if len(parts) != len(rates) or any(shape not in ((), u[:, 0].shape) for shape in shapes):
            raise ShapeError(
                f"reaction_diffusion: the reaction must return {len(rates)} arrays {u[:, 0].shape} like "
                f"those that it is given, got {shapes}."
            )
        return np.stack([np.broadcast_to(part, u[:, 0].shape) for part in parts], axis=1)

    return Semilinear(modes, rates * modes.laplacian, pointwise(modes, values))


def evolved(
    initial: Float,
    grid: Grid,
    times: ArrayLike,
    *,
    diffusivity: Sequence[float],
    reaction: Reaction,
    degree: int,
    step: float,
) -> Float:
    """Frames (samples, len(times), components, *grid.shape) from values (samples, components, *grid.shape).

    On periodic nodes, or on nodes with both ends and no flux through them: fields are then continued evenly
    to twice the interval.  See `sciml.datasets.numerics.semilinear.run`.
    """
    whole = even_grid(grid)
    equation = partial(system, Modes(whole, degree=degree), diffusivity, reaction)
    found = run(equation, even_extension(initial, grid), times, step=step)
    return np.ascontiguousarray(_part(found, grid))


def solved_field(
    who: str,
    equation: Callable[[Modes], Semilinear],
    initial: ArrayLike | Function,
    grid: Grid,
    *,
    times: ArrayLike,
    step: float | None,
    refinement: int | None,
    tolerance: float,
    about: Mapping[str, Any],
) -> xarray.Dataset:
    """``u`` (time, *space) of an equation of one component and degree 3 on periodic nodes; see `solved`.

    ``about`` are the attributes, but for the solver and its accuracy.
    """
    frames, accuracy = solved(
        who,
        equation,
        initial,
        grid,
        times=times,
        degree=3,
        step=step,
        refinement=refinement,
        tolerance=tolerance,
    )
    return labelled(
        {"u": (("time", *grid.names), frames.reshape(-1, *grid.shape), {"units": "1", "long_name": "u"})},
        grid,
        times=times,
        attributes={"solver": SOLVER, **about, **accuracy},
    )


def even_grid(grid: Grid) -> Grid:
    """The periodic grid that holds the even extension of fields on ``grid`` over its upper ends.

    Periodic axes stay.  Of nodes with both ends, n + 1 of them, 2 n are left on twice the interval.
    """
    axes = []
    for axis in grid.axes:
        if axis.location != "node":
            raise ShapeError(f"even_grid: needs axes of nodes, got {axis}.")
        upper = axis.upper if axis.periodic else 2 * axis.upper - axis.lower
        size = axis.size if axis.periodic else 2 * (axis.size - 1)
        axes.append(Axis(axis.name, axis.lower, upper, size, "node", True, axis.units))
    return Grid(tuple(axes))


def even_extension(values: Float, grid: Grid) -> Float:
    """Values (..., *grid.shape) on `even_grid`."""
    for i, axis in enumerate(grid.axes):
        if not axis.periodic:
            at = values.ndim - grid.rank + i
            mirrored = np.flip(values, axis=at)[(*[slice(None)] * at, slice(1, -1))]
            values = np.concatenate([values, mirrored], axis=at)
    return values


def _part(values: Float, grid: Grid) -> Float:
    """The inverse of `even_extension`."""
    here: tuple[Any, ...] = (..., *map(slice, grid.shape))
    found: Float = values[here]
    return found


def solve(
    initial: Mapping[str, ArrayLike | Function],
    grid: Grid,
    *,
    diffusivity: Sequence[float],
    reaction: Reaction,
    degree: int = 3,
    times: ArrayLike = (0.0, 1.0),
    step: float | None = None,
    refinement: int | None = None,
    tolerance: float = 1e-9,
) -> xarray.Dataset:
    """Solve u_t = D Laplacian(u) + R(u) for one or several components.

    Parameters
    ----------
    initial : mapping
        Names of the components to their starts: numbers, values (*grid.shape), or functions of the
        coordinates.
    grid : Grid
        Nodes where the solution is wanted, of any rank: periodic, or with both ends, which no flux crosses:
        ``Grid.box((65, 65), location="node")``.
    diffusivity : sequence of float
        D of each component, >= 0.
    reaction : callable
        R, a polynomial: ``lambda u, v: (u - u**3 - v, u - v)``; of one component, ``lambda u: u - u**3``.
    degree : int
        Of the polynomial.  A reaction that is none has no degree: choose one, and look at the accuracy.
    times : increasing
        Of the frames.
    step, refinement, tolerance : optional
        Longest step, points of the solver per point of the grid, and wanted relative error; see
        `sciml.datasets.numerics.periodic.solved`.

    Returns
    -------
    xarray.Dataset
        Each component (time, *space), with the estimated accuracy among the attributes.

    Raises
    ------
    ConfigError, DataError, ShapeError
        If an argument is out of range or does not fit, or the solution blows up.

    Examples
    --------
    Ginzburg and Landau's equation for A = u + i v, A_t = D Laplacian(A) + 10 (A - (1 + 1.5 i) |A|^2 A); a
    uniform A of modulus 1 turns with the rate -15:

    >>> def landau(u, v):
    ...     square = u**2 + v**2
    ...     return 10 * (u - square * (u - 1.5 * v)), 10 * (v - square * (v + 1.5 * u))
    >>> grid = Grid.box((8, 8), lower=-1.0, location="node", periodic=True)
    >>> found = solve({"u": 1.0, "v": 0.0}, grid, diffusivity=(0.004, 0.004), reaction=landau, times=(0, 0.1))
    >>> bool(np.allclose(found["u"][-1], np.cos(1.5))), bool(np.allclose(found["v"][-1], -np.sin(1.5)))
    (True, True)
    """
    names = list(initial)
    rates = np.atleast_1d(np.asarray(diffusivity, dtype=np.float64))
    if not names or rates.shape != (len(names),) or not ((rates >= 0) & np.isfinite(rates)).all():
        raise ConfigError(
            f"reaction_diffusion.solve: needs one diffusivity >= 0 for each of {names}, got {diffusivity}."
        )
    if {"time", *grid.names} & set(names):
        raise ConfigError(f"reaction_diffusion.solve: components need names of their own, got {names}.")
    if not isinstance(degree, Integral) or degree < 1:
        raise ConfigError(f"reaction_diffusion.solve: degree must be a number from 1 on, got {degree}.")
    whole = even_grid(grid)
    frames, accuracy = solved(
        "reaction_diffusion.solve",
        partial(system, diffusivity=rates.tolist(), reaction=reaction),
        _start(initial, grid),
        whole,
        times=times,
        degree=degree,
        components=len(names),
        step=step,
        refinement=refinement,
        tolerance=tolerance,
    )
    found = _part(frames.reshape(len(frames), len(names), *whole.shape), grid)
    walls = "" if whole == grid else f"; {EVEN}"
    return labelled(
        {
            name: (("time", *grid.names), found[:, i], {"units": "1", "long_name": name})
            for i, name in enumerate(names)
        },
        grid,
        times=times,
        attributes={
            "equation": r"u_t = D \Delta u + R(u)",
            "solver": SOLVER + walls,
            "diffusivity": rates.tolist(),
            **accuracy,
        },
    )


def _start(initial: Mapping[str, ArrayLike | Function], grid: Grid) -> ArrayLike | Function:
    """The starts of all components, evenly extended: a function if all are, which a finer grid asks anew."""
    starts = list(initial.values())
    one = len(starts) == 1
    if all(map(callable, starts)):

        def extended(*x: Float) -> Any:
            points = [
                c if axis.periodic else axis.upper - np.abs(axis.upper - c)
                for c, axis in zip(x, grid.axes, strict=True)
            ]
            found = [start(*points) for start in starts]  # type: ignore[operator]
            return found[0] if one else found

        return extended
    who = "reaction_diffusion.solve: initial"
    values = [on_grid(f"{who} {name!r}", start, grid) for name, start in initial.items()]
    return even_extension(values[0] if one else np.stack(values), grid)
