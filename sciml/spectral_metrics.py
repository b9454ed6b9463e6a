"""Where in the spectrum an error is; axes, means and precision as in `sciml.metrics`."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from sciml.errors import ConfigError
from sciml.norms import Per, check, ratio, root
from sciml.spectra import band_means, mean_squares, shells, spaced_edges


def fourier_rmse(
    prediction: Tensor,
    target: Tensor,
    *,
    bands: tuple[float, ...] = (4.0, 12.0),
    convention: Literal["parseval", "pdebench"] = "parseval",
    lengths: tuple[float, ...] | None = None,
    rank: int | None = None,
    per: Per = "sample",
) -> Tensor:
    r"""Root mean square of e carried by low, middle and high wavenumbers.

    ``"parseval"``: sqrt(Σ_{|k| in band} |F_k|²)/N for each sample, time and channel, then the mean over both:
    (batch, bands).  Bands are [0, 4), [4, 12), [12, ∞) in |k|, periods per domain.  The squares of the three
    add up to the mean square error.

    ``"pdebench"``: |F|² summed over the shells floor(|k|) < n/2 of the non-negative wavenumbers (in 1-D every
    k), root of the mean over the SAMPLES GIVEN, times Π length/N, mean over the shells of a band, then over
    time and channel: (bands,).  The root over samples cannot be put together from batches, so pass the whole
    set.  A band without a shell is NaN.

    Examples
    --------
    >>> import torch
    >>> x = torch.arange(32, dtype=torch.float64) / 32
    >>> e = torch.cos(2 * torch.pi * 5 * x)[None, None]
    >>> [round(v, 6) for v in fourier_rmse(e, torch.zeros_like(e))[0].tolist()]
    [0.0, 0.707107, 0.0]
    """
    prediction, target, keep = check("fourier_rmse", prediction, target, rank)
    error = prediction - target
    edges = (0.0, *bands, math.inf)
    if convention == "parseval":
        values = root(mean_squares(error, keep, edges))
        return values if per == "channel" else values.flatten(1, -2).mean(1)
    if convention != "pdebench":
        raise ConfigError(f"fourier_rmse: convention is 'parseval' or 'pdebench', got {convention!r}.")
    amplitudes = root(shells(error, keep).mean(0)).flatten(0, -2).mean(0)
    return band_means(amplitudes, edges) * (math.prod(lengths) if lengths is not None else 1.0)


def spectral_mse(
    prediction: Tensor,
    target: Tensor,
    *,
    edges: tuple[float, ...] | None = None,
    relative: bool = False,
    rank: int | None = None,
    per: Per = "sample",
) -> Tensor:
    r"""Mean square error carried by bins of \|k\| for each sample, time and channel, then the mean over both.

    (batch, bins); the bins add up to `mse`.  [The Well]: k per grid point (spacing 1, Nyquist π), three bins
    between four edges spaced evenly in the logarithm from 2π/max(n) to π sqrt(rank), of which the first is
    replaced by 0; the last bin is open, so that it holds the corner of the spectrum.  Own ``edges`` are given
    in the same unit.

    With ``relative`` each bin is divided by what it carries of the target, or left as it is where that is 0.

    Examples
    --------
    >>> import torch
    >>> x = 2 * math.pi * torch.arange(32, dtype=torch.float64) / 32
    >>> y = (torch.sin(x) + 0.1 * torch.sin(4 * x) + 0.1 * torch.sin(12 * x))[None, None]
    >>> [round(v, 6) for v in spectral_mse(0.9 * torch.sin(x)[None, None], y)[0].tolist()]
    [0.005, 0.005, 0.005]
    >>> [round(v, 6) for v in spectral_mse(0.9 * torch.sin(x)[None, None], y, relative=True)[0].tolist()]
    [0.01, 1.0, 1.0]
    """
    prediction, target, keep = check("spectral_mse", prediction, target, rank)
    shape = tuple(target.shape[keep:])
    spacings = tuple(2 * math.pi / n for n in shape)
    bins = edges or spaced_edges(shape)
    values = mean_squares(prediction - target, keep, bins, spacings)
    if relative:
        values = ratio(values, mean_squares(target, keep, bins, spacings))
    return values if per == "channel" else values.flatten(1, -2).mean(1)
