"""Darcy flow through a medium of two materials: the generator and its classical baseline."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.coarse_elliptic import CoarseEllipticSolver
from sciml.datasets.elliptic import EllipticSolver
from sciml.datasets.generation import make
from sciml.datasets.random_fields import GaussianField
from sciml.description import describable
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    from torch import Tensor

    from sciml.baseline import Baseline
    from sciml.dataset import Dataset

Float = NDArray[np.float64]

_SOURCE = 1.0  # f, everywhere


@describable
@dataclass(frozen=True)
class Darcy:
    r"""Flow through a random medium: -div(a grad u) = 1 on the unit square, u = 0 on its walls.

    The permeability a takes two values, ``high`` where a Gaussian field g >= ``threshold`` and ``low``
    elsewhere; g has mean zero and covariance tau^(2 alpha - 2) (-Laplacian + tau^2)^(-alpha) with Neumann
    boundary conditions, without its constant mode (`GaussianField`).  The map to learn is a -> u.
    Everything is dimensionless.

    Scheme: finite volumes on ``resolution`` x ``resolution`` cells with harmonic means (`EllipticSolver`),
    solved directly in float64.  The interfaces are staircases of cells.  For such a coefficient the scheme's
    order lies between 1 and 2 (1.3 to 1.6 observed between 64, 128 and 256 cells); `estimate_error` counts
    on 1.

    Parameters
    ----------
    resolution : int
        Cells per axis, at least 2.
    low, high : float, positive
        The two permeabilities.
    alpha, tau : float
        Smoothness and inverse correlation length of g.
    threshold : float
        Level of g at which the material changes.
    modes : int
        Wave numbers of g per axis, whatever the resolution: the same seed gives the same medium on every
        grid. 128 leave out 0.7 percent of the standard deviation of g.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    The distribution of a is that of Li et al., Fourier Neural Operator for Parametric Partial Differential
    Equations (2021), arXiv:2010.08895, section 5.2.  The data are not theirs: the published files hold a
    node scheme on 421 points per axis with arithmetic means, sub-sampled, so that errors on the two are
    comparable, not equal.

    Examples
    --------
    >>> a, u = Darcy(resolution=16).sample([0, 1])
    >>> a.shape, np.unique(a).tolist(), bool((u > 0).all())
    ((2, 16, 16), [3.0, 12.0], True)
    """

    resolution: int = 64
    low: float = 3.0
    high: float = 12.0
    alpha: float = 2.0
    tau: float = 3.0
    threshold: float = 0.0
    modes: int = 128

    def __post_init__(self) -> None:
        if self.resolution < 2 or self.low <= 0 or self.high <= 0 or self.tau <= 0 or self.alpha <= 1:
            raise ConfigError(
                "Darcy: needs resolution >= 2, low > 0, high > 0, tau > 0 and alpha > 1, got "
                f"resolution={self.resolution}, low={self.low}, high={self.high}, tau={self.tau}, "
                f"alpha={self.alpha}."
            )

    @property
    def name(self) -> str:
        """Machine name, "darcy"."""
        return "darcy"

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

    def sample(self, seeds: Sequence[int]) -> tuple[Float, Float]:
        """Permeability and pressure for each seed, both (len(seeds), resolution, resolution), float64."""
        field = GaussianField(
            alpha=self.alpha,
            tau=self.tau,
            sigma=self.tau ** (self.alpha - 1),
            boundary="neumann",
            modes=self.modes,
            zero_mean=True,
        )
        a = np.where(field.sample(seeds, self.grid) >= self.threshold, float(self.high), float(self.low))
        return a, EllipticSolver(self.grid).solve(a, _SOURCE)

    def estimate_error(self, arrays: Sequence[Float]) -> Float:
        """Relative L2 error of u, (n,): twice the change of its averages when each cell is split in four.

        The medium stays the same.  2^p / (2^p - 1) = 2 for order p = 1, the safe side of the observed order.
        """
        a, u = arrays
        n = self.resolution
        split = a.repeat(2, axis=1).repeat(2, axis=2)
        fine = EllipticSolver(self.grid.with_shape((2 * n, 2 * n))).solve(split, _SOURCE)
        averages = fine.reshape(len(a), n, 2, n, 2).mean(axis=(2, 4))
        change: Float = np.sqrt(((u - averages) ** 2).sum(axis=(1, 2)) / (u**2).sum(axis=(1, 2)))
        return 2 * change

    def make(
        self,
        path: str | Path,
        *,
        train: int = 1000,
        valid: int = 100,
        test: int = 200,
        seed: int = 0,
        workers: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Dataset:
        """Generate a file.

        Parameters
        ----------
        path : str or Path
            Of the new file; its folder must exist.
        train, valid, test : int
            Samples of each split, in this order in the file.
        seed : int
            The whole file is a function of the settings, the counts and this number.
        workers : int, optional
            Child processes; by default one per available core.  Does not change a bit of the result.
        progress : callable, optional
            Called with (finished, all) samples.

        Notes
        -----
        Sample i has the seed `sciml.datasets.generation.sample_seed("darcy", seed, i)`: asking for more
        samples leaves the others as they are.  Every 100th sample and the first four carry
        ``discretization_error``. Stored as float32.  The default takes about 5 s on two cores.
        """
        return make(self, path, counts=(train, valid, test), seed=seed, workers=workers, progress=progress)

    def provenance(self, seed: int) -> Provenance:
        """What the file says about its origin."""
        return Provenance(
            title="Darcy flow through a medium of two materials",
            pde="darcy_2d",
            equation=r"-\nabla \cdot (a \nabla u) = 1 in (0,1)^2, u = 0 on the boundary",
            boundary={"x": ("dirichlet", "dirichlet"), "y": ("dirichlet", "dirichlet")},
            generator="sciml.datasets.Darcy",
            solver="finite volumes on cells, harmonic means; direct, relative residual below 1e-10",
            seed=seed,
        )

    def settings(self) -> dict[str, float | int | str]:
        """The constructor's arguments, for the attributes of the file."""
        return dataclasses.asdict(self)

    def baselines(self) -> list[Baseline]:
        """The same equation solved on 1, 1/2, 1/4 and 1/8 of the cells per axis, as far as they are whole.

        The first reproduces the data (its error is the rounding of the stored numbers), and all are to be
        judged with the ``discretization_error`` of the data in mind: about 0.7 percent at 64 x 64.
        """
        return [
            DarcySolver(self.resolution // factor)
            for factor in (1, 2, 4, 8)
            if self.resolution % factor == 0 and self.resolution // factor >= 2
        ]


@describable
@dataclass(frozen=True)
class DarcySolver:
    """Classical solver of `Darcy` on ``cells`` x ``cells``, with output on the (finer) grid of the input.

    Upscaling and interpolation of `CoarseEllipticSolver`, the most accurate of those compared there.

    Examples
    --------
    >>> DarcySolver(32).name
    'finite volumes 32x32'
    """

    cells: int

    @property
    def name(self) -> str:
        """For tables."""
        return f"finite volumes {self.cells}x{self.cells}"

    def predict(self, inputs: Tensor, grid: Grid) -> Tensor:
        """Pressure (n, 1, *grid.shape) for permeabilities (n, 1, *grid.shape); type and device of the input.

        Raises
        ------
        ShapeError
            If the input has more than one channel, or ``cells`` is neither the number of cells of the grid
            nor an even fraction of it.
        """
        import torch

        if inputs.ndim != grid.rank + 2 or inputs.shape[1] != 1 or tuple(inputs.shape[2:]) != grid.shape:
            raise ShapeError(
                f"DarcySolver: inputs must have shape (n, 1, *{grid.shape}), got {tuple(inputs.shape)}."
            )
        if grid.shape[0] % self.cells:
            raise ShapeError(
                f"DarcySolver: {self.cells} cells do not divide the {grid.shape[0]} cells of the grid."
            )
        solver = CoarseEllipticSolver(grid, factor=grid.shape[0] // self.cells)
        a = inputs[:, 0].detach().cpu().numpy().astype(np.float64)
        solution = torch.from_numpy(solver.solve(a, _SOURCE)[:, None])
        return solution.to(device=inputs.device, dtype=inputs.dtype)
