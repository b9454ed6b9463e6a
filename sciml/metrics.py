"""Distances between a prediction and a target: metrics and losses are one set of functions.

Axes. ``prediction`` and ``target`` are (batch, channel, *space), equal in shape; nothing is broadcast. For
trajectories (batch, time, channel, *space) give ``rank``, the number of axes of space.

Order of means. ``per="sample"`` (default) gives (batch,), one number for each sample; ``per="channel"``
keeps (batch, [time,] channel). Where a metric is defined per channel (all but relative_* and max_error) its
sample value is the mean of the channel values over time and channel: roots and ratios first, means after.
The mean over samples comes last and is taken by `sciml.scores.Scores`, never over batches; a loss takes
``.mean()``.

Weights. ``weights`` (*space) is a quadrature such as ``grid.weights()``; only their ratios count. The
default counts every point once, as published benchmarks do; with a quadrature a smooth field has the same
norm on every grid. All integrals are divided by the volume: a norm is a root *mean* square. With a batch
axis, (batch, *space), each sample has weights of its own: on meshes of different size (batch, channel,
point) the mask of the points, or the weights of the meshes. What has weight 0 does not count, to the last
bit of rounding.

Zero targets. Where the norm of the target is 0, a relative metric is the absolute one (a root mean square),
with a finite gradient. `sciml.norms.zero_target` names these samples.

Precision. Sums are taken in the dtype of the arguments, float32 at least. Evaluation passes float64,
physical units. All functions are differentiable; where a root vanishes the gradient is 0.

All raise `ShapeError` for unequal shapes, complex values or weights that do not fit. [PDEBench] is Takamoto
et al., NeurIPS 2022, and [The Well] Ohana et al., NeurIPS 2024, both as their published code computes.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid
from sciml.norms import (
    Per,
    Weights,
    check,
    counted,
    mean,
    per_sample,
    ratio,
    root,
    scale_of,
    spread,
    spread_weights,
)
from sciml.spectra import band_means, h1_square, mean_squares, shells, spaced_edges

__all__ = [
    "relative_l2",
    "relative_l1",
    "relative_lp",
    "relative_h1",
    "mse",
    "mae",
    "rmse",
    "nrmse",
    "vrmse",
    "max_error",
    "pearson",
    "conservation_rmse",
    "boundary_rmse",
    "fourier_rmse",
    "spectral_mse",
    "wasserstein",
]


def relative_lp(
    prediction: Tensor,
    target: Tensor,
    *,
    p: float = 2.0,
    weights: Weights | None = None,
    rank: int | None = None,
    per: Per = "sample",
) -> Tensor:
    r"""‖prediction - target‖_p / ‖target‖_p of each sample, over space, time and all channels together.

    With ``per="channel"`` the ratio of each channel (and time) instead.  Invariant under scaling of both
    arguments, also by 1e-38 and 1e38 in float32.  Takes any (batch, ...) if neither option is used.

    Raises
    ------
    ConfigError
        If p is not at least 1 and finite.

    Examples
    --------
    >>> target = torch.tensor([[[3.0, 4.0]], [[0.0, 0.0]]])
    >>> relative_lp(target + 1.0, target, p=1.0).tolist()  # 2/7, and the absolute error of the zero target
    [0.2857142984867096, 1.0]
    """
    if not 1.0 <= p < math.inf:
        raise ConfigError(
            f"relative_lp: p must be at least 1 and finite, got {p}; max_error is p = infinity."
        )
    prediction, target, keep = check("relative_lp", prediction, target, rank)
    before, keep = keep, 1 if per == "sample" else keep
    scale = scale_of(target, keep)
    error, reference = (prediction / scale - target / scale).abs(), (target / scale).abs()
    if p == 2:
        powers = error.square(), reference.square()
    else:
        powers = (error, reference) if p == 1 else (error**p, reference**p)
    numerator, denominator = (root(mean(values, keep, weights, before=before), p) for values in powers)
    return per_sample(ratio(numerator, denominator), "channel")


def relative_l2(
    prediction: Tensor,
    target: Tensor,
    *,
    weights: Weights | None = None,
    rank: int | None = None,
    per: Per = "sample",
) -> Tensor:
    r"""‖prediction - target‖₂ / ‖target‖₂ of each sample, over everything but the batch axis: (batch,).

    The reference definition (FNO: Li et al., ICLR 2021, and most tables since): ratio first, then the mean
    over samples.  See `relative_lp`.

    Examples
    --------
    >>> target = torch.tensor([[[3.0, 4.0]]])
    >>> relative_l2(2 * target, target).tolist()
    [1.0]
    """
    return relative_lp(prediction, target, p=2.0, weights=weights, rank=rank, per=per)


def relative_l1(
    prediction: Tensor,
    target: Tensor,
    *,
    weights: Weights | None = None,
    rank: int | None = None,
    per: Per = "sample",
) -> Tensor:
    r"""‖prediction - target‖₁ / ‖target‖₁ of each sample: `relative_lp` with p = 1."""
    return relative_lp(prediction, target, p=1.0, weights=weights, rank=rank, per=per)


def relative_h1(
    prediction: Tensor,
    target: Tensor,
    grid: Grid,
    *,
    weights: Weights | None = None,
    per: Per = "sample",
) -> Tensor:
    r"""sqrt(∫ e² + |∇e|²) / sqrt(∫ y² + |∇y|²) of each sample, e = prediction - target.

    The derivative is spectral along periodic axes of ``grid`` and of second order elsewhere, one-sided at the
    ends; a periodic stencil there would see a jump.  Physical lengths count: the spacing is that of the grid.

    Examples
    --------
    >>> grid = Grid.box((8,), periodic=True)
    >>> y = torch.sin(2 * torch.pi * torch.as_tensor(grid.coordinates()))[None]
    >>> round(relative_h1(1.5 * y, y, grid).item(), 12)
    0.5
    """
    prediction, target, keep = check("relative_h1", prediction, target, grid.rank)
    before, keep = keep, 1 if per == "sample" else keep
    scale = scale_of(target, keep)
    error, reference = prediction / scale - target / scale, target / scale
    squares = (h1_square(v, grid) for v in (error, reference))
    numerator, denominator = (root(mean(s, keep, weights, before=before)) for s in squares)
    return per_sample(ratio(numerator, denominator), "channel")


def mse(
    prediction: Tensor,
    target: Tensor,
    *,
    weights: Weights | None = None,
    rank: int | None = None,
    per: Per = "sample",
) -> Tensor:
    r"""mean_x e² of each sample, time and channel, then the mean over time and channel; unit [u]²."""
    prediction, target, keep = check("mse", prediction, target, rank)
    return per_sample(mean((prediction - target).square(), keep, weights), per)


def mae(
    prediction: Tensor,
    target: Tensor,
    *,
    weights: Weights | None = None,
    rank: int | None = None,
    per: Per = "sample",
) -> Tensor:
    r"""mean_x |e| of each sample, time and channel, then the mean over time and channel; unit [u]."""
    prediction, target, keep = check("mae", prediction, target, rank)
    return per_sample(mean((prediction - target).abs(), keep, weights), per)


def rmse(
    prediction: Tensor,
    target: Tensor,
    *,
    weights: Weights | None = None,
    rank: int | None = None,
    per: Per = "sample",
) -> Tensor:
    r"""sqrt(mean_x e²) of each sample, time and channel, then the mean over time and channel; unit [u].

    [PDEBench].  The root comes before the mean over channels: this is not the root of `mse`.
    """
    prediction, target, keep = check("rmse", prediction, target, rank)
    return per_sample(root(mean((prediction - target).square(), keep, weights)), per)


def nrmse(
    prediction: Tensor,
    target: Tensor,
    *,
    weights: Weights | None = None,
    rank: int | None = None,
    per: Per = "sample",
) -> Tensor:
    r"""sqrt(mean_x e²)/sqrt(mean_x y²) of each sample, time and channel, then the mean over time and channel.

    [PDEBench], which gives infinity where a channel of the target is 0; here that channel counts with its
    absolute error.
    """
    values = relative_lp(prediction, target, weights=weights, rank=rank, per="channel")
    return per_sample(values, per)


def vrmse(
    prediction: Tensor,
    target: Tensor,
    *,
    epsilon: float = 1e-7,
    weights: Weights | None = None,
    rank: int | None = None,
    per: Per = "sample",
) -> Tensor:
    r"""sqrt(mean_x e² / (var_x(y) + epsilon)) of each sample, time and channel, then the mean over both.

    [The Well]: unbiased variance over space, epsilon inside the root.  Predicting the mean of y gives
    sqrt((N-1)/N).  A channel that is constant in space is divided by sqrt(epsilon) alone: 3162 times its
    error.

    Examples
    --------
    >>> y = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]], dtype=torch.float64)
    >>> round(vrmse(torch.full_like(y, 2.5), y, epsilon=0.0).item() ** 2, 12)
    0.75
    """
    prediction, target, keep = check("vrmse", prediction, target, rank)
    points = counted(target, keep, weights)
    deviation = target - spread(mean(target, keep, weights), target)
    variance = mean(deviation.square(), keep, weights) * (points / (points - 1).clamp(min=1))
    return per_sample(root(mean((prediction - target).square(), keep, weights) / (variance + epsilon)), per)


def max_error(
    prediction: Tensor,
    target: Tensor,
    *,
    weights: Weights | None = None,
    rank: int | None = None,
    per: Per = "sample",
) -> Tensor:
    r"""max |e| of each sample over space, time and channel (or for each of the latter two); unit [u].

    Of ``weights`` only counts where they are 0.

    [PDEBench] reports ``Scores(per="channel").worst``: the maximum over samples, then the mean over channels.
    """
    prediction, target, keep = check("max_error", prediction, target, rank)
    error = (prediction - target).abs()
    if weights is not None:
        error = torch.where(spread_weights(error, keep, weights) == 0, 0.0, error)
    keep = 1 if per == "sample" else keep
    return error.flatten(keep).amax(-1) if error.ndim > keep else error


def pearson(
    prediction: Tensor,
    target: Tensor,
    *,
    weights: Weights | None = None,
    rank: int | None = None,
    per: Per = "sample",
) -> Tensor:
    r"""Correlation over space of each sample, time and channel, then the mean over both; 1 is perfect.

    0 where either field is constant.  As a loss: ``1 - pearson(...)``.
    """
    prediction, target, keep = check("pearson", prediction, target, rank)
    p = prediction - spread(mean(prediction, keep, weights), prediction)
    y = target - spread(mean(target, keep, weights), target)
    p, y = p / scale_of(p, keep), y / scale_of(y, keep)
    norms = root(mean(p.square(), keep, weights)) * root(mean(y.square(), keep, weights))
    return per_sample(ratio(mean(p * y, keep, weights), norms), per)


def conservation_rmse(
    prediction: Tensor,
    target: Tensor,
    *,
    weights: Weights | None = None,
    rank: int | None = None,
    per: Per = "sample",
) -> Tensor:
    r"""\|mean_x e\| (the error of the total) of each sample, time and channel, then the mean over both.

    [PDEBench] takes the root mean square over *samples* of each channel and then the mean over channels:
    ``Scores.root_mean_square`` of the values with ``per="channel"``.
    """
    prediction, target, keep = check("conservation_rmse", prediction, target, rank)
    return per_sample(mean(prediction - target, keep, weights).abs(), per)


def boundary_rmse(
    prediction: Tensor, target: Tensor, *, rank: int | None = None, per: Per = "sample"
) -> Tensor:
    r"""Root mean square of e over the faces of the box, for each sample, time and channel, then their mean.

    [PDEBench]: the first and last layer of every axis; an edge or a corner counts once for each of its faces.

    Raises
    ------
    ShapeError
        If there is no axis of space.
    """
    prediction, target, keep = check("boundary_rmse", prediction, target, rank)
    error = prediction - target
    if error.ndim <= keep:
        raise ShapeError(f"boundary_rmse: needs axes of space, got shape {tuple(error.shape)}.")
    faces = [
        error.select(dim, end).unsqueeze(dim).flatten(keep)
        for dim in range(keep, error.ndim)
        for end in (0, -1)
    ]
    return per_sample(root(mean(torch.cat(faces, dim=-1).square(), keep)), per)


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
    rank: int | None = None,
    per: Per = "sample",
) -> Tensor:
    r"""Mean square error carried by bins of \|k\| for each sample, time and channel, then the mean over both.

    (batch, bins); the bins add up to `mse`.  [The Well]: k per grid point (spacing 1, Nyquist π), three bins
    between four edges spaced evenly in the logarithm from 2π/max(n) to π sqrt(rank), of which the first is
    replaced by 0; the last bin is open, so that it holds the corner of the spectrum.  Own ``edges`` are given
    in the same unit.
    """
    prediction, target, keep = check("spectral_mse", prediction, target, rank)
    shape = tuple(target.shape[keep:])
    spacings = tuple(2 * math.pi / n for n in shape)
    values = mean_squares(prediction - target, keep, edges or spaced_edges(shape), spacings)
    return values if per == "channel" else values.flatten(1, -2).mean(1)


def wasserstein(
    prediction: Tensor, target: Tensor, *, rank: int | None = None, per: Per = "sample"
) -> Tensor:
    r"""Distance W₁ of the distributions of values over space and time, divided by the rms of the target.

    For each sample and channel the mean |difference| of the sorted values, then the mean over channels.
    [The Well] divides by the mean square, which is not free of units.
    """
    prediction, target, keep = check("wasserstein", prediction, target, rank)
    if keep == 3:  # time joins space
        prediction, target, keep = prediction.movedim(1, 2), target.movedim(1, 2), 2
    p, y = (v.flatten(keep) if v.ndim > keep else v.unsqueeze(-1) for v in (prediction, target))
    scale = scale_of(y, keep)
    p, y = p / scale, y / scale
    distance = (p.sort(-1).values - y.sort(-1).values).abs().mean(-1)
    return per_sample(ratio(distance, root(mean(y.square(), keep))), per)
