"""How much of neuraloperator's small Darcy files no map from their coefficients can know.

    python tools/darcy_floor.py darcy_train_16.pt [SAMPLES] [DRAWS] [SWEEPS]

The files keep every 26th point of a medium.  Many media agree with what is kept, and their solutions differ;
the best map, in the mean square, gives the mean of these solutions.  For each of the last SAMPLES samples
this draws DRAWS media from the law of the file (`tools/darcy_proxy.py`: the sign of a Gaussian field) given
its kept points: Gibbs sampling of the field there, truncated to the known signs, then kriging of a free
sample to it.  It solves the equation in each medium, and prints two estimates of the floor of the mean
relative L2 error:

- the error of the mean of the draws against y of the file: what knowing the law and a solver reaches, and an
  upper bound if the law is not quite the file's;
- the error of the mean of all other draws against each draw: the floor if the law is the file's.

A mean of K draws has an error larger by sqrt(1 + 1/K) than the mean of all; both are corrected for that.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from darcy_proxy import amplitudes, coefficients, solve
from numpy.typing import NDArray
from scipy.fft import idctn
from scipy.special import ndtr, ndtri

CELLS = 162  # of which every 10th node is 0.06173 apart, as the 26 of 421 points, 0.06176
KEPT = slice(0, 160, 10)
START = 0.1, 1.0  # standard deviations of the free field: chains start from both, in turn
Float = NDArray[np.float64]


def covariance(amplitude: Float, kept: slice) -> Float:
    """Of the field at all nodes with the field at kept ones, (node, node, kept²)."""
    n = len(amplitude)
    basis = np.sqrt(2 / n) * np.cos(np.pi * np.outer(np.arange(n) + 0.5, np.arange(n)) / n)
    basis[:, 0] = np.sqrt(1 / n)
    some = basis[kept]
    along_x = np.einsum("xk,sk,kl->xsl", basis, some, amplitude**2, optimize=True)
    both = np.einsum("xsl,yl,tl->xyst", along_x, basis, some, optimize=True)
    return both.reshape(n, n, -1)


def sample_signs(z: Float, precision: Float, sweeps: int, rng: np.random.Generator) -> Float:
    """Gibbs sampling of normal vectors with this precision and the signs of z, (site, chain)."""
    z, sign = z.copy(), np.sign(z)
    variance = 1 / np.diag(precision)
    deviation = np.sqrt(variance)
    for _ in range(sweeps):
        chance = rng.random(z.shape)
        for i in range(len(z)):
            mean = sign[i] * (z[i] - variance[i] * (precision[i] @ z))
            # mean + deviation e, e standard normal above -mean / deviation, by inversion of its distribution
            drawn = mean - deviation[i] * ndtri(ndtr(mean / deviation[i]) * chance[i])
            z[i] = sign[i] * np.where(np.isfinite(drawn), np.maximum(drawn, 0), deviation[i] * 1e-3)
    return z


def solutions(kept: NDArray[np.bool_], media: tuple[float, float], draws: int, sweeps: int) -> Float:
    """Solutions at the kept points in media that agree with kept ones, (sample, draw, 16, 16)."""
    rng = np.random.default_rng(0)
    amplitude = amplitudes(CELLS + 1)
    to_all = covariance(amplitude, KEPT)
    among = to_all[KEPT, KEPT].reshape(to_all.shape[2], -1)
    signs = np.repeat(np.where(kept, 1.0, -1.0).reshape(len(kept), -1), draws, 0).T
    start = np.resize(START, signs.shape[1]) * np.sqrt(np.diag(among).mean())
    z = sample_signs(signs * start, np.linalg.inv(among), sweeps, rng)
    weights = np.linalg.solve(among, to_all.reshape(-1, len(among)).T)
    found = []
    for values in z.T:
        free = idctn(amplitude * rng.standard_normal(amplitude.shape), norm="ortho")
        field = free + ((values - free[KEPT, KEPT].ravel()) @ weights).reshape(free.shape)
        found.append(solve(np.where(field >= 0, media[1], media[0]))[KEPT, KEPT])
    return np.stack(found).reshape(len(kept), draws, *kept.shape[1:])


def floors(drawn: Float, y: Float) -> tuple[Float, Float]:
    """Both estimates for each sample: against y (sample, 16, 16), and of the draws among themselves."""
    draws = drawn.shape[1]
    size = np.linalg.norm(drawn, axis=(2, 3))
    others = (drawn.sum(1, keepdims=True) - drawn) / (draws - 1)
    among = np.linalg.norm(drawn - others, axis=(2, 3)) / size / np.sqrt(1 + 1 / (draws - 1))
    error = np.linalg.norm(drawn.mean(1) - y, axis=(1, 2)) / np.linalg.norm(y, axis=(1, 2))
    return error / np.sqrt(1 + 1 / draws), among.mean(1)


def main(path: Path, samples: int = 40, draws: int = 8, sweeps: int = 1500) -> None:
    """Print both estimates with their standard errors."""
    found = torch.load(path, weights_only=True)
    x, y = found["x"][-samples:].numpy(), found["y"][-samples:].numpy().astype(np.float64)
    drawn = solutions(x, coefficients(path), draws, sweeps)
    names = "against the file", "among the draws"
    for name, values in zip(names, floors(drawn, y), strict=True):
        print(f"{name}: {values.mean():.4f} +- {values.std(ddof=1) / np.sqrt(len(values)):.4f}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
