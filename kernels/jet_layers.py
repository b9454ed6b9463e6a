"""Rules of jets for normalizations, softmax and attention, written with the rules of simpler operations."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sciml.kernels import jet_ladders as ladders
from sciml.kernels.jet_arithmetic import add, divide, multiply, subtract, where, x_to
from sciml.kernels.jet_chain import Activation
from sciml.kernels.jet_registry import rule, unsupported
from sciml.kernels.jet_shapes import affine, from_end, matmul, mean, total, vector_norm
from sciml.kernels.jet_tensor import Jet

# Softmax.


def _powers(x: Jet, axes: list[int]) -> tuple[Jet, Tensor]:
    """``exp(x - c)`` and c, the greatest values along some axes: constants, which cancel out later."""
    greatest = x.value.detach().amax(axes, keepdim=True)
    return subtract(x, greatest).then(Activation(ladders.exp)), greatest


@rule(torch.logsumexp, torch.special.logsumexp)
def _logsumexp(x: Jet, dim: Any, keepdim: bool = False) -> Jet:
    axes = [from_end(x, axis) for axis in ([dim] if isinstance(dim, int) else dim)]
    powers, greatest = _powers(x, axes)
    result = add(total(powers, axes, True).then(Activation(ladders.logarithm)), greatest)
    flat: Jet = result if keepdim else result.squeeze(axes)
    return flat


@rule(torch.softmax, F.softmax, torch.special.softmax)
def softmax(x: Jet, dim: int, dtype: torch.dtype | None = None, *, _stacklevel: int = 3) -> Jet:
    """``exp(x) / Σ exp(x)`` along an axis."""
    axis = from_end(x, dim)
    powers, _ = _powers(x if dtype is None else x.to(dtype), [axis])
    return divide(powers, total(powers, axis, True))


@rule(torch.log_softmax, F.log_softmax, torch.special.log_softmax)
def _log_softmax(x: Jet, dim: int, dtype: torch.dtype | None = None, *, _stacklevel: int = 3) -> Jet:
    axis = from_end(x, dim)
    x = x if dtype is None else x.to(dtype)
    return subtract(x, _logsumexp(x, axis, True))


@rule(F.softmin)
def _softmin(x: Jet, dim: int, dtype: torch.dtype | None = None, *, _stacklevel: int = 3) -> Jet:
    return softmax(-x, dim, dtype)


@rule(F.glu)
def _glu(x: Jet, dim: int = -1) -> Jet:
    a, b = x.chunk(2, dim)
    return multiply(a, b.sigmoid())


@rule(F.softsign)
def _softsign(x: Jet) -> Jet:
    return divide(x, add(1.0, x.then(Activation(ladders.absolute))))


@rule(torch.prelu)
def _prelu(x: Jet, weight: Tensor) -> Jet:
    slope = weight if weight.numel() == 1 else weight.reshape(-1, *(1,) * (x.ndim - 2))
    return where(x.value > 0, x, multiply(slope, x))


# Normalizations.


def _normalized(x: Jet, axes: list[int], eps: float, *, centered: bool) -> Jet:
    """``(x - mean) / sqrt(mean of squares + eps)``."""
    if centered:
        x = subtract(x, mean(x, axes, True))
    return multiply(x, x_to(add(mean(multiply(x, x), axes, True), eps), -0.5))


def _scaled(x: Jet, weight: Tensor | None, bias: Tensor | None) -> Jet:
    if weight is not None:
        x = multiply(x, weight)
    return x if bias is None else add(x, bias)


@rule(F.layer_norm, torch.layer_norm)
def layer_norm(
    x: Jet,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Jet:
    """Layer normalization over the last axes."""
    axes = list(range(-len(normalized_shape), 0))
    return _scaled(_normalized(x, axes, eps, centered=True), weight, bias)


@rule(F.rms_norm, torch.rms_norm)
def _rms_norm(
    x: Jet, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Jet:
    axes = list(range(-len(normalized_shape), 0))
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    return _scaled(_normalized(x, axes, eps, centered=False), weight, None)


@rule(F.group_norm, torch.group_norm)
def _group_norm(
    x: Jet, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Jet:
    batch, channels, *space = x.shape
    groups = x.reshape(batch, num_groups, -1)
    result = _normalized(groups, [-1], eps, centered=True).reshape(batch, channels, *space)
    ones = (1,) * len(space)
    return _scaled(
        result,
        None if weight is None else weight.reshape(-1, *ones),
        None if bias is None else bias.reshape(-1, *ones),
    )


@rule(F.batch_norm)
def _batch_norm(
    x: Jet,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Jet:
    if training or running_mean is None or running_var is None:
        raise unsupported(
            F.batch_norm,
            "Normalization over the batch makes each value depend on all points, so derivatives at a point "
            "lose their meaning. Call model.eval(), or use torch.nn.LayerNorm.",
        )
    ones = (1,) * (x.ndim - 2)
    scale = torch.rsqrt(running_var + eps) * (1.0 if weight is None else weight)
    shift = (0.0 if bias is None else bias) - running_mean * scale
    return _scaled(x, scale.reshape(-1, *ones), shift.reshape(-1, *ones))


@rule(F.normalize)
def _normalize(x: Jet, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None) -> Jet:
    length = vector_norm(x, p, dim, True)
    return divide(x, where(length.value > eps, length, eps))


@rule(F.dropout, torch.dropout)
def dropout(
    x: Jet, p: float = 0.5, training: bool = True, inplace: bool = False, *, train: bool = True
) -> Jet:
    """One random mask for all columns."""
    if inplace:
        raise unsupported(F.dropout, "Jets never change in place: set inplace=False.")
    if not training or not train or p == 0.0:
        return x
    return multiply(x, F.dropout(torch.ones_like(x.value), p))


# Attention.


@rule(F.scaled_dot_product_attention)
def attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Jet:
    """``softmax(Q K^T / sqrt(features) + mask) V``."""
    if enable_gqa:
        raise unsupported(
            F.scaled_dot_product_attention, "Repeat keys and values instead of enable_gqa=True."
        )
    weights = _weights(query, key, attn_mask, is_causal, scale)
    if dropout_p:
        weights = dropout(weights, dropout_p)
    return matmul(weights, value)


def _weights(query: Any, key: Any, mask: Any, causal: bool, scale: float | None) -> Any:
    scores = matmul(query, key.transpose(-2, -1)) * (1.0 / sqrt(query.shape[-1]) if scale is None else scale)
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores = torch.where(mask, scores, float("-inf")) if mask.dtype == torch.bool else scores + mask
    return torch.softmax(scores, -1)


@rule(F.multi_head_attention_forward)
def _multi_head_attention(
    query: Any,
    key: Any,
    value: Any,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Jet, Jet | None]:
    """What torch.nn.MultiheadAttention computes, for (tokens, batch, features) or (tokens, features)."""
    if add_zero_attn or any(t is not None for t in (bias_k, bias_v, static_k, static_v)):
        raise unsupported(
            F.multi_head_attention_forward,
            "Jets take neither add_zero_attn nor added or static keys and values.",
        )
    batched = query.ndim == 3
    tokens = [t if batched else t.unsqueeze(1) for t in (query, key, value)]
    if use_separate_proj_weight:
        weights: Sequence[Any] = (q_proj_weight, k_proj_weight, v_proj_weight)
    else:
        assert in_proj_weight is not None
        weights = in_proj_weight.chunk(3)
    biases: Sequence[Any] = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
    # (tokens, batch, features) -> (batch, heads, tokens, features of a head)
    q, k, v = (
        F.linear(t, w, b).unflatten(-1, (num_heads, -1)).permute(1, 2, 0, 3)
        for t, w, b in zip(tokens, weights, biases, strict=True)
    )
    mask = _joint_mask(q, attn_mask, key_padding_mask)
    attended = _weights(q, k, mask, is_causal and mask is None, None)
    mixed = attended if not dropout_p or not training else dropout(attended, dropout_p)
    heads = matmul(mixed, v).permute(2, 0, 1, 3).flatten(-2)
    result = affine(heads, out_proj_weight, out_proj_bias)
    shown = None
    if need_weights:
        shown = attended.mean(1) if average_attn_weights else attended
    if batched:
        return result, shown
    return result.squeeze(1), None if shown is None else shown.squeeze(0)


def _joint_mask(like: Any, attention: Tensor | None, padding: Tensor | None) -> Tensor | None:
    """Both masks as one that is added; True in a boolean one forbids, as in torch.nn.MultiheadAttention."""
    total = None
    if attention is not None and attention.ndim == 3:  # (batch * heads, tokens, tokens)
        attention = attention.unflatten(0, like.shape[:2])
    if padding is not None:
        padding = padding.reshape(-1, 1, 1, padding.shape[-1])
    for mask in (attention, padding):
        if mask is not None:
            if mask.dtype == torch.bool:
                mask = torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, float("-inf"))
            total = mask if total is None else total + mask
    return total
