"""The tensorized Fourier neural operator: an FNO whose spectral weights are stored in factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sciml.description import describable
from sciml.operators.fno import FNO
from sciml.operators.spectral_weights import SpectralWeights, TuckerWeights

if TYPE_CHECKING:
    from sciml.grid import Grid

published: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "darcy": (
        {"modes": TuckerWeights(8, rank=0.42), "width": 32, "depth": 4},
        "neuraloperator, example of Darcy flow at 16 x 16: n_modes=(16, 16), rank=0.42",
    ),
}
"""Arguments of published set-ups, and where they are from."""


@describable
class TFNO(FNO):
    r"""`FNO` with the tensor ``R (*frequencies, width, width)`` of each layer in Tucker or CP form.

    Tucker: ``R = G ×_1 F^1 ... ×_d F^d ×_in U ×_out V``, a small core with a matrix along every mode.  CP: a
    sum of outer products.  The layers multiply by the factors; R is never built.

    Parameters
    ----------
    rank, in_channels, out_channels, width, depth, coordinates, padding
        As of `FNO`.
    modes : int, one int per axis, or SpectralWeights
        Numbers m stand for ``TuckerWeights(m, rank=0.1)``, a tenth of the parameters; another rank or form is
        given as ``TuckerWeights(m, rank=0.05)``, ``CPWeights(m, rank=0.1)``.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Factors start such that R has the variance that it has in `FNO`.  A trained dense weight becomes factors
    by `sciml.kernels.factorized.Tucker.from_dense`.

    What differs from the implementation in the neuraloperator library: complex numbers count as two real ones
    on both sides of the fraction, which is spent on core and factors together and never exceeded; lifting and
    blocks are those of `FNO`, ``σ(K v + W v + b)``, without normalization and without the pointwise network
    with a gated skip connection that follows each of its layers; each layer has a tensor of its own, whereas
    the paper also joins those of all layers into one; no multi-grid domain decomposition.

    Source: Kossaifi, Kovachki, Azizzadenesheli, Anandkumar, *Multi-Grid Tensorized Fourier Neural Operator
    for High-Resolution PDEs*, TMLR 2024 (arXiv:2310.00120), section 3.

    Examples
    --------
    >>> dense, model = FNO(2, 1, 1, modes=12, width=32), TFNO(2, 1, 1, modes=12, width=32)
    >>> sum(p.numel() for p in dense.parameters()), sum(p.numel() for p in model.parameters())
    (2368001, 230969)
    """

    def __init__(
        self,
        rank: int,
        in_channels: int,
        out_channels: int,
        *,
        modes: int | Sequence[int] | SpectralWeights = 16,
        width: int = 32,
        depth: int = 4,
        coordinates: bool = True,
        padding: float | Sequence[float] = 0.0,
    ) -> None:
        super().__init__(
            rank,
            in_channels,
            out_channels,
            modes=modes if isinstance(modes, SpectralWeights) else TuckerWeights(modes),
            width=width,
            depth=depth,
            coordinates=coordinates,
            padding=padding,
        )

    @staticmethod
    def suited(grid: Grid) -> dict[str, Any]:
        """Modes and padding of `FNO.suited`, from which to start; nothing was tuned for this operator."""
        return FNO.suited(grid)

    @staticmethod
    def small(rank: int, in_channels: int, out_channels: int) -> TFNO:
        """A tiny instance that trains in seconds, for tests."""
        weights = TuckerWeights(4 if rank < 3 else 3, rank=0.5)
        return TFNO(rank, in_channels, out_channels, modes=weights, width=16, depth=2)
