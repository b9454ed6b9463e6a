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

import torch
from torch import Tensor

from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid
from sciml.norms import (
    Per,
    Weights,
    check,
    counted,
    face_weights,
    mean,
    per_sample,
    ratio,
    root,
    scale_of,
    spread,
    spread_weights,
)
from sciml.spectra import h1_square
from sciml.spectral_metrics import fourier_rmse, spectral_mse

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
    prediction: Tensor,
    target: Tensor,
    grid: Grid | None = None,
    *,
    rank: int | None = None,
    per: Per = "sample",
) -> Tensor:
    r"""Root mean square of e over the faces of the box, for each sample, time and channel, then their mean.

    With ``grid`` it is sqrt(∫ e² / ∫ 1) over the faces of its bounded axes, by the quadrature of the grid: of
    cells and left ends the outermost layers stand for the faces.  Without, as [PDEBench], every point of the
    first and last layer of every axis counts once, in an edge or a corner once for each of its faces.

    Raises
    ------
    ShapeError
        If there is no axis of space, none that is bounded, or the values do not lie on the grid.

    Examples
    --------
    >>> grid = Grid.box((5, 8), location="node", periodic=(False, True))
    >>> x = torch.as_tensor(grid.coordinates()[0])[None, None]
    >>> round(boundary_rmse(x, 0 * x, grid).item() ** 2, 12)  # 0 on one of the two sides, 1 on the other
    0.5
    """
    rank = rank if grid is None else grid.rank
    prediction, target, keep = check("boundary_rmse", prediction, target, rank)
    square = (prediction - target).square()
    if square.ndim <= keep:
        raise ShapeError(f"boundary_rmse: needs axes of space, got shape {tuple(square.shape)}.")
    total, size = torch.zeros(square.shape[:keep], dtype=square.dtype, device=square.device), 0.0
    for axis, weights in face_weights(tuple(square.shape[keep:]), grid):
        w = torch.as_tensor(weights, dtype=square.dtype, device=square.device)
        for end in (0, -1):
            face = square.select(keep + axis, end) * w
            total = total + face.reshape(*total.shape, -1).sum(-1)
            size += float(weights.sum())
    return per_sample(root(total / size), per)


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
