"""Attention whose cost is linear in the number of points: through products of features, or through slices.

No matrix of points by points is ever formed. Sums over points are taken at least in float32, also under
autocast, and only over the real points of a sample.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from sciml.errors import ConfigError
from sciml.feeding import cleared
from sciml.kernels.spectral import without_autocast

LAYERS = 4  # widths of layers along a boundary
FLOOR = 1e-12  # of mean weights that are divided by: below, slopes would overflow single precision
_HALVES = (torch.float16, torch.bfloat16)


def check_heads(who: str, width: int, heads: int) -> None:
    """Refuse a width that the heads do not divide.

    Raises
    ------
    ConfigError
    """
    if width % heads:
        raise ConfigError(f"{who}: heads={heads} must divide the width, got width={width}.")


def in_heads(x: Tensor, heads: int) -> Tensor:
    """(batch, point, heads * size) as (batch, heads, point, size)."""
    parts: Tensor = x.unflatten(-1, (heads, -1))
    return parts.transpose(1, 2)


def out_of_heads(x: Tensor) -> Tensor:
    """The inverse of `in_heads`."""
    return x.transpose(1, 2).flatten(2)


def normalized_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """``Σ_s (q_t · k_s) v_s / Σ_s (q_t · k_s)``: for every t a mean of the values, in linear time.

    Parameters
    ----------
    query : (batch, heads, target, size)
    key, value : (batch, heads, point, size)
        Queries and keys have non-negative entries.
    mask : (batch, point) bool, optional
        True at the points that count.

    Returns
    -------
    (batch, heads, target, size)
        0 where no point counts.

    Notes
    -----
    ``q_t · Σ_s k_s v_s^T`` and ``q_t · Σ_s k_s``: O((targets + points) size^2).

    Source: Hao et al., GNOT, ICML 2023 (arXiv:2302.14376), section 3.2.

    Examples
    --------
    >>> q, k, v = torch.rand(1, 1, 3, 4), torch.rand(1, 1, 5, 4), torch.ones(1, 1, 5, 4)
    >>> bool(torch.allclose(normalized_attention(q, k, v), torch.ones(1, 1, 3, 4)))
    True
    """
    query, key, value = (_widened(part) for part in (query, key, value))
    key = key if mask is None else _only(key, mask)
    with without_autocast(query.device.type):
        found, weight = query @ (key.mT @ value), query @ key.sum(dim=2).unsqueeze(-1)
    return found / torch.maximum(weight, _least(key, mask))


def slice_means(weights: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
    """``Σ_i s_ig v_i / Σ_i s_ig``: the mean value of every slice.

    Parameters
    ----------
    weights : (batch, heads, point, slice)
        Non-negative, finite also where the mask is false.
    values : (batch, heads, point, size)
    mask : (batch, point) bool, optional
        True at the points that count.

    Returns
    -------
    (batch, heads, slice, size)
        0 for a slice without points.

    Examples
    --------
    >>> slice_means(torch.tensor([[[[1.0], [3.0]]]]), torch.tensor([[[[0.0], [4.0]]]]))
    tensor([[[[3.]]]])
    """
    weights, values = _widened(weights), _widened(values)
    counted = torch.cat((values, torch.ones_like(values[..., :1])), dim=-1)
    counted = counted if mask is None else _only(counted, mask)
    with without_autocast(weights.device.type):
        sums = weights.mT @ counted
    return sums[..., :-1] / torch.maximum(sums[..., -1:], _least(weights, mask))


def with_waves(coordinates: Tensor, count: int) -> Tensor:
    """Coordinates (batch, point, rank), and along every axis sine and cosine of π k ξ, k = 1 .. count.

    Examples
    --------
    >>> with_waves(torch.zeros(1, 1, 1), 2)
    tensor([[[0., 0., 1., 0., 1.]]])
    """
    phases = [pi * number * coordinates for number in range(1, count + 1)]
    waves = [wave(phase) for phase in phases for wave in (torch.sin, torch.cos)]
    return torch.cat((coordinates, *waves), dim=-1)


def with_layers(distances: Tensor, waves: int) -> Tensor:
    """Distances (batch, point, d) to boundaries in the unit box as `with_waves`, and ``exp(-distance / δ)``.

    δ halves four times from 1/4 on: layers along a boundary, as thin as a thirty-second of the box.

    Examples
    --------
    >>> with_layers(torch.zeros(1, 1, 1), 0)
    tensor([[[0., 1., 1., 1., 1.]]])
    """
    layers = [torch.exp(-distances * 2**power) for power in range(2, 2 + LAYERS)]
    return torch.cat((with_waves(distances, waves), *layers), dim=-1)


def mlp(into: int, hidden: int, out: int) -> nn.Sequential:
    """Linear, GELU, linear, at every point."""
    return nn.Sequential(nn.Linear(into, hidden), nn.GELU(), nn.Linear(hidden, out))


class ResidualMLP(nn.Module):
    """``v_0 = σ(W x + b)``, ``v_l = v_{l-1} + σ(W_l v_{l-1} + b_l)``, and a last linear map; σ is GELU.

    Examples
    --------
    >>> ResidualMLP(3, 16, 1, layers=2)(torch.zeros(2, 10, 3)).shape
    torch.Size([2, 10, 1])
    """

    def __init__(self, into: int, hidden: int, out: int, *, layers: int) -> None:
        super().__init__()
        self.entrance, self.exit = nn.Linear(into, hidden), nn.Linear(hidden, out)
        self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, point, into) -> (batch, point, out)."""
        v = gelu(self.entrance(x))
        for layer in self.layers:
            v = v + gelu(layer(v))
        u: Tensor = self.exit(v)
        return u


def _only(x: Tensor, mask: Tensor) -> Tensor:
    """(batch, heads, point, ...) with 0 where the mask is false."""
    return cleared(x, mask[:, None].expand(x.shape[:3]))


def _widened(x: Tensor) -> Tensor:
    return x.float() if x.dtype in _HALVES else x


def _least(weights: Tensor, mask: Tensor | None) -> Tensor:
    """The least sum of weights over points to divide by, (batch, 1, 1, 1) or one number."""
    if mask is None:
        return weights.new_tensor(FLOOR * weights.shape[2])
    return FLOOR * mask.sum(dim=1).clamp(min=1).to(weights.dtype)[:, None, None, None]
