"""Pieces of linear elasticity: constants, stiffness, the von Mises stress, motions without strain."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.numerics.finite_elements import FiniteElements, scikit_fem
from sciml.errors import ConfigError
from sciml.mesh import Mesh

Float = NDArray[np.float64]
Plane = Literal["stress", "strain"]


def lame_parameters(young: float, poisson: float, plane: Plane) -> tuple[float, float]:
    """lambda and mu; for "strain" those of space, for "stress" with E nu / (1 - nu^2) as lambda.

    Raises
    ------
    ConfigError
        If a number is out of range.
    """
    if plane not in get_args(Plane):
        raise ConfigError(f"elasticity: plane is one of {get_args(Plane)}, got {plane!r}.")
    limit = poisson <= 0.5 if plane == "stress" else poisson < 0.5
    if not (0 < young < math.inf and poisson > -1 and limit):
        raise ConfigError(
            f"elasticity: needs young > 0 and -1 < poisson < 0.5 (0.5 itself only in plane stress), got "
            f"young={young}, poisson={poisson} in plane {plane}."
        )
    shear = young / (2 * (1 + poisson))
    thin = young * poisson / (1 - poisson**2)
    return (thin if plane == "stress" else 2 * shear * poisson / (1 - 2 * poisson)), shear


def stiffness(elements: FiniteElements, lame: float, shear: float) -> Any:
    """Of all components, one after the other: lambda A_ij + mu A_ji + mu delta_ij sum_k A_kk.

    A_ij holds the integrals of d_i v d_j u.  Scalar elements assemble several times faster than vectors.
    """
    from scipy.sparse import bmat

    dim, product = elements.mesh.dim, scikit_fem().BilinearForm
    blocks: list[list[Any]] = [[None] * dim for _ in range(dim)]
    for i in range(dim):
        for j in range(i, dim):
            form = product(lambda u, v, w, i=i, j=j: v.grad[i] * u.grad[j])
            blocks[i][j] = form.assemble(elements.basis)
            blocks[j][i] = blocks[i][j].T
    laplacian = sum(blocks[i][i] for i in range(dim))
    rows = [
        [
            lame * blocks[i][j] + shear * blocks[j][i] + (shear * laplacian if i == j else 0)
            for j in range(dim)
        ]
        for i in range(dim)
    ]
    return bmat(rows, format="csr")


def von_mises(stress: Float, out_of_plane: Float | float = 0.0) -> Float:
    """sqrt(3/2) times the norm of the deviator, (...), of stresses (dim, dim, ...).

    Parameters
    ----------
    stress : (dim, dim, ...)
    out_of_plane : (...) or number
        sigma_zz of plane stresses: 0, or nu (sigma_xx + sigma_yy) in plane strain.

    Examples
    --------
    >>> float(von_mises(np.array([[0.0, 2.0], [2.0, 0.0]])).round(12)) == round(2 * 3**0.5, 12)
    True
    """
    third = out_of_plane if len(stress) == 2 else 0.0
    pressure = (np.trace(stress) + third) / 3
    square = np.sum(stress**2, axis=(0, 1)) + third**2 - 3 * pressure**2
    return np.asarray(np.sqrt(1.5 * np.maximum(square, 0.0)))


def rigid_motions(mesh: Mesh) -> Float:
    """Displacements without strain: translations, then rotations about the middle, (3 or 6, node, dim)."""
    dim = mesh.dim
    places = mesh.coordinates - mesh.coordinates.mean(axis=0)
    places = places / np.abs(places).max()
    found = [np.broadcast_to(row, places.shape) for row in np.eye(dim)]
    for i in range(dim):
        for j in range(i + 1, dim):
            turn = np.zeros(places.shape)
            turn[:, i], turn[:, j] = -places[:, j], places[:, i]
            found.append(turn)
    return np.stack(found)
