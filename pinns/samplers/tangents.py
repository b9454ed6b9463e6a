"""The empirical tangent kernel of points of every kind, from the slopes of their residuals.

Residuals F at points of all kinds, of the equation, of conditions, of data, move together when the weights
move: with J the slopes of F at points Z, the kernel is ``K = J J^T = V S^2 V^T``.  The rows of ``S^-1 V^T J``
are an orthonormal basis of the directions in which such points move the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from sciml.pinns.samplers.sampler import Site

_PART = 128  # rows whose slopes are made together
_SMALLEST = 1e-10  # eigenvalues below this share of the largest are rounding


@dataclass(frozen=True)
class Sketch:
    """A random projection of slopes to ``width`` numbers which keeps their products on average.

    Each column is added, with a random sign, to one of the numbers.  Then ``E <S g, S h> = <g, h>`` with a
    variance of at most ``(|g|^2 |h|^2 + <g, h>^2) / width``.  Slopes that are no longer than that stay.

    Source: Charikar, Chen and Farach-Colton, Finding frequent items in data streams, ICALP 2002.

    Examples
    --------
    >>> Sketch(8, 0)(torch.ones(2, 100)).shape
    torch.Size([2, 8])
    """

    width: int
    seed: int

    def __call__(self, slopes: Tensor) -> Tensor:
        """Of slopes (..., P): (..., width), or as they are."""
        size = slopes.shape[-1]
        if size <= self.width:
            return slopes
        generator = torch.Generator().manual_seed(self.seed)
        places = torch.randint(self.width, (size,), generator=generator).to(slopes.device)
        signs = (2 * torch.randint(2, (size,), generator=generator) - 1).to(slopes)
        found = slopes.new_zeros(*slopes.shape[:-1], self.width)
        return found.scatter_add_(-1, places.expand_as(slopes), slopes * signs)


def slopes_of(site: Site, rows: Tensor, sketch: Sketch) -> Tensor:
    """Of each residual at the rows (n, k, width), float64."""
    return torch.cat([slopes for _, slopes in _parts(site, rows, sketch)])


def pulls_of(site: Site, rows: Tensor, sketch: Sketch) -> Tensor:
    """The slope (n, width) of half the sum of squares of each row's residuals, float64."""
    return torch.cat(
        [torch.einsum("nk,nkp->np", residuals, slopes) for residuals, slopes in _parts(site, rows, sketch)]
    )


def _parts(site: Site, rows: Tensor, sketch: Sketch) -> Iterator[tuple[Tensor, Tensor]]:
    assert site.slopes is not None
    for part in rows.split(_PART):
        residuals, slopes = site.slopes(part)
        yield residuals.double().cpu(), sketch(slopes).double().cpu()


def directions(slopes: Tensor) -> Tensor:
    """The orthonormal basis (rank, P) of slopes (m, P), by the eigenvectors of their kernel."""
    values, vectors = torch.linalg.eigh(slopes @ slopes.T)
    kept = values > _SMALLEST * values[-1]
    found: Tensor = (vectors[:, kept] / values[kept].sqrt()).T @ slopes
    return found


def spread(
    vectors: Tensor, count: int, generator: Generator, *, kinds: Tensor, taken: Tensor, diverse: bool
) -> Tensor:
    """Indices of ``count`` vectors (n, p), drawn one after the other, in this order.

    In proportion to the square of their lengths; if ``diverse`` to that of their distance from what has been
    drawn and from zero, which is k-means++ with a center at zero.  The first draws are one of each kind.
    Where all that is left weighs nothing, it is drawn uniformly.

    Parameters
    ----------
    kinds : (n,)
        Whole numbers from 0.
    taken : (m,)
        Indices that were drawn before.
    """
    distance = vectors.square().sum(1)
    free = torch.ones(len(vectors), dtype=torch.bool)
    drawn: list[int] = []

    def take(i: int) -> None:
        free[i] = False
        if diverse:
            torch.minimum(distance, (vectors - vectors[i]).square().sum(1), out=distance)

    for i in taken.tolist():
        take(i)
    missing = kinds.unique().tolist()
    for number in range(min(count, int(free.sum()))):
        allowed = free & (kinds == missing[number]) if number < len(missing) else free
        if not allowed.any():
            allowed = free
        weight = torch.where(allowed, distance, 0.0)
        if not weight.sum() > 0:
            weight = allowed.double()
        drawn.append(int(torch.multinomial(weight, 1, generator=generator)))
        take(drawn[-1])
    return torch.tensor(drawn, dtype=torch.int64)
