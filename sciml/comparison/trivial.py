"""Predictors that a learned map has to beat: the mean of the training outputs, the best linear map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sciml.assessment import Predictor, mean_output

if TYPE_CHECKING:
    from sciml.dataset import Dataset

MOST = 40_000_000
"""Numbers in all training samples together beyond which `linear` is left out: 320 MB, half a minute."""
_RIDGES = np.geomspace(1e-9, 1e2, 23)  # of the mean eigenvalue


def mean(training: Dataset, outputs: Sequence[str]) -> Predictor:
    """The mean of the training outputs at each point, whatever the input."""
    found = mean_output(training, outputs)
    return lambda x: found.expand(len(x), *found.shape)


def linear(
    training: Dataset, inputs: Sequence[str], outputs: Sequence[str]
) -> tuple[Predictor, float] | None:
    """The affine map from all input to all output values with the least squares, and its ridge.

    Samples are fewer than values, so the squares of the coefficients are kept small: y = mean + (x - mean)
    X^T (X X^T + r)^(-1) Y with the centered training samples as rows of X and Y.  The ridge r is chosen on
    the training samples alone, by generalized cross-validation (Golub, Heath and Wahba, Technometrics 21,
    1979): the least |(X X^T + r)^(-1) Y|^2 / trace((X X^T + r)^(-1))^2.

    Returns
    -------
    (predictor, r over the mean eigenvalue of X X^T), or None for more than `MOST` numbers
    """
    count = len(training)
    size = sum(training.fields[name].components for name in (*inputs, *outputs))
    if count < 3 or count * size * int(np.prod(training.grid.shape)) > MOST:
        return None
    x, y = (training.tensor(list(names), dtype=torch.float64) for names in (inputs, outputs))
    x_mean, y_mean, shape = x.mean(0), y.mean(0), y.shape[1:]
    x, y = ((values - center).flatten(1) for values, center in ((x, x_mean), (y, y_mean)))
    eigenvalues, vectors = torch.linalg.eigh(x @ x.T)
    # Centered rows add up to 0: the first eigenvector is the constant, which the mean has taken.
    eigenvalues, vectors = eigenvalues[1:].clamp(min=0.0), vectors[:, 1:]
    scale = float(eigenvalues.mean()) or 1.0  # 1 if all inputs are equal
    rotated = vectors.T @ y
    energies = rotated.square().sum(1)

    def score(ridge: float) -> float:
        inverse = 1.0 / (eigenvalues + ridge * scale)
        return float((energies * inverse.square()).sum() / inverse.sum().square())

    ridge = float(min(_RIDGES, key=score))
    coefficients = vectors @ (rotated / (eigenvalues + ridge * scale)[:, None])

    def predict(given: Tensor) -> Tensor:
        weights = (given.double() - x_mean).flatten(1) @ x.T
        found: Tensor = y_mean + (weights @ coefficients).reshape(-1, *shape)
        return found

    return predict, ridge
