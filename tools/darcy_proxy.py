"""Test data with the law of neuraloperator's small Darcy files, at both of their resolutions.

    python tools/darcy_proxy.py darcy_train_16.pt FOLDER [SAMPLES]

Where only the training data, 16 x 16, are at hand, what a model trained on them does at 32 x 32 is judged on
this stand-in: -div(a grad u) = 1 on 227 x 227 nodes, u = 0 on all edges, arithmetic means, two
media told apart by the sign of a Gaussian field (alpha 3, tau 10, Neumann: the correlations of its signs up
to 8 points apart are those of the file within 0.006); every 14th and 7th node is kept.  The two coefficients
are read off the file: inside a medium -lap(u) is 1/a.  Writes
FOLDER/darcy_test_16.pt and FOLDER/darcy_test_32.pt.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import idctn
from scipy.sparse import coo_array, diags_array
from scipy.sparse.linalg import spsolve

NODES = 227  # 226 intervals: 32 slices of 7 reach 0.991 of the domain, as 32 slices of 13 of 420 intervals do
Float = NDArray[np.float64]


def coefficients(path: Path) -> tuple[float, float]:
    """The coefficient where x is false, and where it is true."""
    found = torch.load(path, weights_only=True)
    x, y = found["x"].numpy(), found["y"].numpy().astype(np.float64)
    inner, step = x[:, 1:-1, 1:-1], 26 / 420
    around = y[:, 2:, 1:-1] + y[:, :-2, 1:-1] + y[:, 1:-1, 2:] + y[:, 1:-1, :-2]
    laplacian = (4 * y[:, 1:-1, 1:-1] - around) / step**2
    pure = np.ones_like(inner)
    for i in range(3):
        for j in range(3):
            pure &= x[:, i : 14 + i, j : 14 + j] == inner
    low, high = (float(1 / np.median(laplacian[pure & (inner == kind)])) for kind in (False, True))
    return low, high


def amplitudes(nodes: int) -> Float:
    """Standard deviations of the coefficients of the field's cosine transform; it has no mean."""
    wave = np.pi**2 * np.arange(nodes) ** 2
    found: Float = (wave[:, None] + wave + 10**2) ** -1.5
    found[0, 0] = 0
    return found


def solve(a: Float) -> Float:
    """The five-point scheme with arithmetic means on nodes."""
    n = len(a) - 2
    x, y = (a[1:, 1:-1] + a[:-1, 1:-1]) / 2, (a[1:-1, 1:] + a[1:-1, :-1]) / 2
    node = np.arange(n * n).reshape(n, n)
    rows = np.concatenate([node[1:].ravel(), node[:, 1:].ravel()])
    columns = np.concatenate([node[:-1].ravel(), node[:, :-1].ravel()])
    faces = np.concatenate([x[1:-1].ravel(), y[:, 1:-1].ravel()])
    side = coo_array((faces, (rows, columns)), shape=(n * n, n * n))
    matrix = (diags_array((x[1:] + x[:-1] + y[:, 1:] + y[:, :-1]).ravel()) - side - side.T).tocsc()
    load = np.full(n * n, 1 / (len(a) - 1) ** 2)
    return np.pad(spsolve(matrix, load, permc_spec="MMD_AT_PLUS_A").reshape(n, n), 1)


def main(path: Path, folder: Path, samples: int = 120) -> None:
    """Write both files."""
    low, high = coefficients(path)
    amplitude = amplitudes(NODES)
    rng, kept = np.random.default_rng(0), slice(0, 224, 7)
    media = [
        idctn(amplitude * rng.standard_normal((NODES, NODES)), norm="ortho") >= 0 for _ in range(samples)
    ]
    x = np.stack([medium[kept, kept] for medium in media])
    y = np.stack([solve(np.where(medium, high, low))[kept, kept] for medium in media])
    folder.mkdir(parents=True, exist_ok=True)
    for size, stride in ((16, 2), (32, 1)):
        part = {"x": x[:, ::stride, ::stride].copy(), "y": y[:, ::stride, ::stride].astype(np.float32)}
        saved = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in part.items()}
        torch.save(saved, folder / f"darcy_test_{size}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
