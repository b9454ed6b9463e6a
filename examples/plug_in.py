"""Start a solver that one already trusts from the prediction of a surrogate, which the solver then certifies.

    python examples/train_darcy.py runs/example && python examples/plug_in.py runs/example/darcy.sciml

A surrogate gives no guarantee; conjugate gradients from its prediction give the solution to any tolerance.
What is gained is honest but modest, and shrinks with the tolerance: a prediction is wrong by a few percent
mainly in small scales, and these weigh most in a residual. Small setting (16 x 16 cells, a surrogate with a
relative error of 0.04), iterations with a diagonal preconditioner, mean over 20 media:

    residual        1e-1    1e-2    1e-6
    from zero       15      22      47
    from surrogate  5       16      46
"""

import sys
from pathlib import Path

import numpy as np
import xarray
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.linalg import LinearOperator, cg

import sciml
from sciml.datasets import Darcy
from sciml.datasets.numerics.elliptic import EllipticSolver

Float = NDArray[np.float64]


def finite_volumes(a: Float, solver: EllipticSolver) -> csr_array:
    """The matrix of -div(a grad u) on cells, zero values on the walls, for a of shape (nx, ny)."""
    x, y = (faces[0] for faces in solver.transmissibilities(a[None]))
    cell = np.arange(a.size).reshape(a.shape)
    rows = np.concatenate([cell[:-1].ravel(), cell[:, :-1].ravel()])
    columns = np.concatenate([cell[1:].ravel(), cell[:, 1:].ravel()])
    flux = np.concatenate([x[1:-1].ravel(), y[:, 1:-1].ravel()])
    upper = coo_array((flux, (rows, columns)), shape=(a.size, a.size))
    around = x[:-1] + x[1:] + y[:, :-1] + y[:, 1:]
    return (diags_array(around.ravel()) - upper - upper.T).tocsr()


def iterations(matrix: csr_array, right: Float, start: Float | None, tolerance: float) -> tuple[Float, int]:
    """The solution by conjugate gradients with a diagonal preconditioner, and how many steps it took."""
    diagonal, count = matrix.diagonal(), 0

    def step(_: Float) -> None:
        nonlocal count
        count += 1

    scale = LinearOperator(matrix.shape, matvec=lambda v: v / diagonal, dtype=np.float64)
    solution, failed = cg(matrix, right, x0=start, rtol=tolerance, M=scale, callback=step)
    if failed:
        raise RuntimeError(f"conjugate gradients did not reach {tolerance}")
    return solution, count


def main(
    folder: Path,
    *,
    resolution: int = 16,
    samples: int = 20,
    tolerances: tuple[float, ...] = (1e-1, 1e-2, 1e-6),
) -> dict[float, tuple[float, float, float]]:
    """For each tolerance the mean iterations from zero and from the surrogate, and the largest error."""
    surrogate = sciml.Surrogate.load(folder)
    generator = Darcy(resolution=resolution)
    solver = EllipticSolver(generator.grid)
    media, solutions = generator.sample(range(10**6, 10**6 + samples))  # far from the seeds of any data set
    coordinates = {axis.name: axis.coordinates for axis in generator.grid.axes}
    found: dict[float, list[tuple[int, int, float]]] = {tolerance: [] for tolerance in tolerances}
    for a, u in zip(media, solutions, strict=True):
        field = xarray.Dataset({"a": (("x", "y"), a)}, coords=coordinates)
        guess = surrogate(field)["u"].values.ravel().astype(np.float64)
        matrix = finite_volumes(a, solver)
        right = np.full(a.size, solver.volume)  # f = 1, integrated over each cell
        for tolerance in tolerances:
            _, cold = iterations(matrix, right, None, tolerance)
            certified, warm = iterations(matrix, right, guess, tolerance)
            error = float(np.linalg.norm(certified - u.ravel()) / np.linalg.norm(u))
            found[tolerance].append((cold, warm, error))
    table = {}
    for tolerance, rows in found.items():
        cold, warm, _ = np.mean(rows, axis=0)
        table[tolerance] = (float(cold), float(warm), max(error for *_, error in rows))
        print(f"residual {tolerance:g}: {cold:.0f} iterations from zero, {warm:.0f} from the surrogate")
    return table


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/example/darcy.sciml"))
