"""Darcy flow through random media: the generator, its classical baseline, and one given medium."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciml.datasets.generator import NOTHING, Generator, Values, relative_change, restrict, richardson
from sciml.datasets.numerics.coarse_elliptic import CoarseEllipticSolver
from sciml.datasets.numerics.elliptic import EllipticSolver, Walls
from sciml.datasets.numerics.random_fields import GaussianField
from sciml.datasets.solutions import Function, labelled, on_grid
from sciml.description import describable
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    import xarray
    from torch import Tensor

Float = NDArray[np.float64]
Law = Literal["piecewise", "smooth", "multiscale"]

_EQUATION = r"-\nabla \cdot (a \nabla u) = f"
_SOLVER = "finite volumes on cells, harmonic means; relative residual below 1e-10"


@describable
@dataclass(frozen=True)
class Darcy(Generator):
    r"""Flow through a random medium: -div(a grad u) = f on the unit square, u = 0 on its walls, f constant.

    The map to learn is a -> u.  Everything is dimensionless.  With the Gaussian field g of mean zero and
    covariance tau^(2 alpha - 2) (-Laplacian + tau^2)^(-alpha), Neumann boundary conditions, without its
    constant mode (`GaussianField`), of standard deviation s over the square, the permeability is

    ============  ====================================================================================
    "piecewise"   ``high`` where g >= ``threshold``, ``low`` elsewhere: two materials
    "smooth"      sqrt(low high) (high / low)^(g / 2s): log-normal, one standard deviation around its
                  median reaches from ``low`` to ``high``
    "multiscale"  the product over k = 0 .. 5 of (1 + cos(w_k pi (x + y)) / 2) (1 + sin(w_k pi (y - 3x)) / 2),
                  w_k uniform in 2^k (1, 1.5); the other settings are not used
    ============  ====================================================================================

    Scheme: finite volumes on ``resolution`` x ``resolution`` cells with harmonic means (`EllipticSolver`) in
    float64, of order 2 for smooth media.  Observed orders of u between grids of 32 to 512 cells per axis:

    * "smooth": 1.7 to 2.0 for ``alpha = 2``, 2.0 from ``alpha = 3`` on.
    * "piecewise", whose interfaces are staircases of cells: 0.7 to 1.6, which is 1 on the average.
    * "multiscale": below 0.5 up to 256 cells, 1.6 then; its shortest wave has the length 0.013.

    `estimate_error` counts on 2, 1 and 1/2.

    Parameters
    ----------
    resolution : int
        Cells per axis, at least 2.
    law : "piecewise", "smooth" or "multiscale"
    low, high : float, positive
        Permeabilities.
    alpha, tau : float
        Smoothness and inverse correlation length of g.
    threshold : float
        Level of g at which the material changes.
    source : float, positive
        f, everywhere.
    modes : int
        Wave numbers of g per axis, whatever the resolution: the same seed gives the same medium on every
        grid. 128 leave out 0.7 percent of the standard deviation of g.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Media of the literature, which the settings give:

    =====================================  =====================================================
    FNO, "Darcy smooth" of MgNO            ``Darcy()``: low 3, high 12, alpha 2, tau 3
    "Darcy rough" of MgNO                  ``Darcy(tau=5)``; also 9, 15, 18
    multiscale trigonometric               ``Darcy(law="multiscale", resolution=1023)``
    PDEBench                               ``Darcy(low=0.1, high=1.0, source=beta)``, beta 0.01 .. 100
    =====================================  =====================================================

    The distribution of the default is that of Li et al., Fourier Neural Operator for Parametric Partial
    Differential Equations (2021), arXiv:2010.08895, section 5.2.  The data are not theirs: the published
    files hold a node scheme on 421 points per axis with arithmetic means, sub-sampled, so that errors on the
    two are comparable, not equal.  Rough media: He, Liu and Xu, MgNO (2024), arXiv:2310.19809; trigonometric
    ones: Liu, Xu and Zhang (2022), arXiv:2210.10890.

    PDEBench (Takamoto et al. 2022, arXiv:2210.07182) has faults that are not repeated here: its ghost cells
    hold u = 0, which puts the wall half a cell outside of the square (an error of order 1); its states at
    t = 2 of a heat equation are called steady but have not always forgotten their random start; and its
    phases are thresholded at a mean over the whole batch, so that a medium depends on its neighbors in the
    file.  The media differ also in law: there g is a sum of five Gaussian functions.

    Examples
    --------
    >>> a, u = Darcy(resolution=16).sample([0, 1])
    >>> a.shape, np.unique(a).tolist(), bool((u > 0).all())
    ((2, 16, 16), [3.0, 12.0], True)
    """

    resolution: int = 64
    law: Law = "piecewise"
    low: float = 3.0
    high: float = 12.0
    alpha: float = 2.0
    tau: float = 3.0
    threshold: float = 0.0
    source: float = 1.0
    modes: int = 128

    def __post_init__(self) -> None:
        if self.law not in get_args(Law):
            raise ConfigError(f"Darcy: law is one of {get_args(Law)}, got {self.law!r}.")
        if self.resolution < 2 or self.low <= 0 or self.high <= 0 or self.tau <= 0 or self.alpha <= 1:
            raise ConfigError(
                "Darcy: needs resolution >= 2, low > 0, high > 0, tau > 0 and alpha > 1, got "
                f"resolution={self.resolution}, low={self.low}, high={self.high}, tau={self.tau}, "
                f"alpha={self.alpha}."
            )
        if not (0 < self.source < math.inf and self.modes >= 2):
            raise ConfigError(
                f"Darcy: needs source > 0 and modes >= 2, got source={self.source}, modes={self.modes}."
            )

    @property
    def grid(self) -> Grid:
        """Cells of the unit square."""
        return Grid.box((self.resolution, self.resolution))

    @property
    def fields(self) -> tuple[Field, ...]:
        """Input ``a`` and output ``u``."""
        return (
            Field("a", "input", units="1", long_name="permeability"),
            Field("u", "output", units="1", long_name="pressure"),
        )

    @property
    def about(self) -> Provenance:
        """Equation, walls and solver."""
        title = {
            "piecewise": "Darcy flow through a medium of two materials",
            "smooth": "Darcy flow through a log-normal medium",
            "multiscale": "Darcy flow through a medium of many scales",
        }[self.law]
        return Provenance(
            title=title,
            pde="darcy_2d",
            equation=f"{_EQUATION} in (0,1)^2, f = {self.source:g}, u = 0 on the boundary",
            boundary={"x": ("dirichlet", "dirichlet"), "y": ("dirichlet", "dirichlet")},
            solver=_SOLVER,
        )

    def sample(self, seeds: Sequence[int]) -> tuple[Float, Float]:
        """Permeability and pressure for each seed, both (len(seeds), resolution, resolution), float64."""
        a = self.medium(seeds)
        return a, EllipticSolver(self.grid).solve(a, self.source)

    def medium(self, seeds: Sequence[int]) -> Float:
        """Permeability for each seed, (len(seeds), resolution, resolution)."""
        if self.law == "multiscale":
            return np.stack([_multiscale(seed, self.grid) for seed in seeds])
        field = GaussianField(
            alpha=self.alpha,
            tau=self.tau,
            sigma=self.tau ** (self.alpha - 1),
            boundary="neumann",
            modes=self.modes,
            zero_mean=True,
        )
        g = field.sample(seeds, self.grid)
        if self.law == "piecewise":
            return np.where(g >= self.threshold, float(self.high), float(self.low))
        # Midpoint sums of the squares of all modes are exact on as many cells as there are modes.
        deviation = math.sqrt(field.variance(Grid.box((self.modes, self.modes))).mean())
        medium: Float = math.sqrt(self.low * self.high) * (self.high / self.low) ** (g / (2 * deviation))
        return medium

    def estimate_error(self, seeds: Sequence[int], arrays: Sequence[Values]) -> Float:
        """Relative L2 error of u, (n,), from the change of its averages when each cell is split in four.

        A medium of two materials stays what it is; others are evaluated on the finer grid.
        """
        fine = dataclasses.replace(self, resolution=2 * self.resolution)
        if self.law != "piecewise":
            return richardson(self, fine, seeds, arrays, order=2.0 if self.law == "smooth" else 0.5)
        a, u = (np.asarray(array) for array in arrays)
        split = EllipticSolver(fine.grid).solve(a.repeat(2, axis=1).repeat(2, axis=2), self.source)
        return 2 * relative_change(u, restrict(split, fine.grid, self.grid))  # order 1

    def coarser(
        self, resolution: int, step: float = 1.0, known: Mapping[str, Float] = NOTHING
    ) -> DarcySolver:
        """The same equation on ``resolution`` cells per axis; on those of the data it reproduces them.

        To be judged with the ``discretization_error`` of the data in mind: about 0.7 percent at 64 x 64.
        """
        return DarcySolver(resolution, self.source)


def _multiscale(seed: int, grid: Grid) -> Float:
    """The trigonometric coefficient with one random frequency in every octave."""
    x, y = grid.coordinates()
    frequencies = math.pi * 2.0 ** np.arange(6) * np.random.default_rng(seed).uniform(1.0, 1.5, 6)
    a = np.ones(grid.shape)
    for w in frequencies:
        a *= (1 + 0.5 * np.cos(w * (x + y))) * (1 + 0.5 * np.sin(w * (y - 3 * x)))
    return a


@describable
@dataclass(frozen=True)
class DarcySolver:
    """Classical solver of `Darcy` on ``cells`` x ``cells``, with output on the (finer) grid of the input.

    ``source`` is f, the same everywhere.

    Upscaling and interpolation of `CoarseEllipticSolver`, the most accurate of those compared there.

    Examples
    --------
    >>> DarcySolver(32).name
    'finite volumes 32x32'
    """

    cells: int
    source: float = 1.0

    @property
    def name(self) -> str:
        """For tables."""
        return f"finite volumes {self.cells}x{self.cells}"

    def predict(self, inputs: Tensor, grid: Grid) -> Tensor:
        """Pressure (n, 1, *grid.shape) for permeabilities (n, 1, *grid.shape); type and device of the input.

        Raises
        ------
        ShapeError
            If the input has more than one channel, or fewer cells than the solver.
        """
        import torch

        if inputs.ndim != grid.rank + 2 or inputs.shape[1] != 1 or tuple(inputs.shape[2:]) != grid.shape:
            raise ShapeError(
                f"DarcySolver: inputs must have shape (n, 1, *{grid.shape}), got {tuple(inputs.shape)}."
            )
        solver = CoarseEllipticSolver(grid, [self.cells] * grid.rank)
        a = inputs[:, 0].detach().cpu().numpy().astype(np.float64)
        solution = torch.from_numpy(solver.solve(a, self.source)[:, None])
        return solution.to(device=inputs.device, dtype=inputs.dtype)


def solve(
    coefficient: ArrayLike | Function,
    grid: Grid,
    *,
    source: ArrayLike | Function = 1.0,
    walls: Walls | None = None,
) -> xarray.Dataset:
    """Solve -div(a grad u) = f on a box of cells with given values of u on its walls.

    Parameters
    ----------
    coefficient : number, array or callable
        a > 0: values in the cells (*grid.shape), or a function of the coordinates.
    grid : Grid
        Cells, bounded, of rank 1, 2 or 3: ``Grid.box((64, 64))``.
    source : number, array or callable
        f.
    walls : a pair (lower, upper) per axis, optional
        Values of u on the walls: numbers, or arrays over the other axes.  Default: zero.

    Returns
    -------
    xarray.Dataset
        ``u``, ``a`` and ``f``, each (*space).

    Raises
    ------
    ShapeError
        If the grid has nodes or periodic axes, or shapes do not fit it.
    DataError
        If the coefficient is not positive, or a value not finite.

    Notes
    -----
    `EllipticSolver`: order 2 for a smooth coefficient; exact for layers without source that end on faces.

    Examples
    --------
    >>> found = solve(lambda x: np.where(x < 0.5, 1.0, 3.0), Grid.box((8,)), source=0.0, walls=[(0.0, 4.0)])
    >>> found["u"].round(12).values.tolist()
    [0.375, 1.125, 1.875, 2.625, 3.125, 3.375, 3.625, 3.875]
    """
    a = on_grid("darcy.solve: coefficient", coefficient, grid)
    f = on_grid("darcy.solve: source", source, grid)
    (u,) = EllipticSolver(grid).solve(a[None], f[None], walls)
    return labelled(
        {
            "u": (grid.names, u, {"units": "1", "long_name": "pressure"}),
            "a": (grid.names, a, {"units": "1", "long_name": "permeability"}),
            "f": (grid.names, f, {"units": "1", "long_name": "source"}),
        },
        grid,
        attributes={"equation": _EQUATION, "solver": _SOLVER, "boundary": "dirichlet"},
    )
