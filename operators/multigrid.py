"""Linear maps between fields in the form of a multigrid V-cycle: the weights of `MgNO`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from sciml.description import describable
from sciml.errors import ConfigError, ShapeError
from sciml.operators.box import check_counts
from sciml.operators.stencils import Beyond, extend

Kept = Literal["even", "odd"]

_CONVOLVE: Mapping[int, Callable[..., Tensor]] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: functional.conv3d,
}
_TRANSPOSED: Mapping[int, Callable[..., Tensor]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


@describable
@dataclass(frozen=True)
class Cycle:
    """The grids of a V-cycle, finest first, and what happens on them.

    Parameters
    ----------
    pre : sequence of int
        One for each grid: smoothing steps before the coarser grids are visited, at least one.
    post : sequence of int
        One for each grid: smoothing steps afterwards. Empty means none anywhere.
    taps : int or one int per transition
        3 or 4: weights per axis of the way up from a grid to the next finer one. With 3 a fine point between
        two coarse ones sees these two, as in linear interpolation, and one on a coarse point sees that; with
        4 the latter sees the next coarse point behind it, too, so that both see two.
    kept : "even" or "odd"
        Which points of an axis, counted from 0, the next coarser grid has. The even ones are ceil(n / 2) of
        n, with the first, and the last if n is odd. The odd ones are floor(n / 2): the choice for the
        2^k - 1 points inside of a domain on whose boundary the fields are zero.
    residual : bool
        Whether a coarser grid receives the residual ``f - A u``, as in classical multigrid, or f, as in the
        published models.

    Raises
    ------
    ConfigError
        If a number is out of range, or how many there are.

    Examples
    --------
    >>> Cycle((1, 1, 2)).post
    (0, 0, 0)
    """

    pre: Sequence[int] = (1, 1, 1, 1, 1, 2)
    post: Sequence[int] = ()
    taps: int | Sequence[int] = 4
    kept: Kept = "even"
    residual: bool = False

    def __post_init__(self) -> None:
        pre, post = tuple(self.pre), tuple(self.post) or (0,) * len(self.pre)
        object.__setattr__(self, "pre", pre)
        object.__setattr__(self, "post", post)
        taps = self.transitions
        if not pre or len(post) != len(pre) or len(taps) != len(pre) - 1:
            raise ConfigError(
                f"Cycle: for each grid there is one number in pre and in post, for each but the finest one "
                f"in taps, got {pre}, {post} and {taps}."
            )
        check_counts("Cycle", {"pre": min(pre)})
        if min(post) < 0 or not {*taps, 3} <= {3, 4} or self.kept not in ("even", "odd"):
            raise ConfigError(
                f"Cycle: post are at least 0, taps 3 or 4, kept is 'even' or 'odd', got {post}, {taps} and "
                f"{self.kept!r}."
            )

    @property
    def transitions(self) -> tuple[int, ...]:
        """The taps between each two grids."""
        return (self.taps,) * (len(self.pre) - 1) if isinstance(self.taps, int) else tuple(self.taps)

    def check_grid(self, who: str, shape: Sequence[int]) -> None:
        """Refuse a finest grid of which nothing is left on the coarsest.

        Raises
        ------
        ShapeError
            With odd points kept, if an axis has fewer than ``2^(grids - 1)``.
        """
        least = 2 ** (len(self.pre) - 1)
        if self.kept == "odd" and min(shape) < least:
            raise ShapeError(
                f"{who}: {len(self.pre)} grids of odd points need at least {least} points on every axis, got "
                f"{tuple(shape)}. Use fewer grids, or Cycle(kept='even')."
            )


class VCycle(nn.Module):
    r"""A linear map f ↦ u, parameterized as one V-cycle of multigrid.

    On the finest grid, ``u = 0``. Then on every grid, fine to coarse: some times ``u ← u + S (f - A u)``, and
    on to the next with ``f ← R f`` (or ``R (f - A u)``) and ``u ← Π u``. Back again, coarse to fine: ``u ← u
    + P u_coarse``, and some times ``u ← u + S (f - A u)``. Each A, S, R, Π and P is a convolution without
    bias, with weights of its own: 3^d, R and Π of stride 2, P the transposed one of stride 2.

    Parameters
    ----------
    boundary : one word per axis
        What fields on all grids are beyond the ends, as of `sciml.operators.stencils.Stencil`.
    in_channels, out_channels : int
        Of f and of u.
    cycle : Cycle

    Notes
    -----
    Without biases the map is linear, whatever the weights. One evaluation is O(N), and every output depends
    on inputs at a distance of about 2^grids points.

    Source: He, Liu and Xu, *MgNO*, ICLR 2024 (arXiv:2310.19809), and the authors' code. With ``S = ω /
    diag A``, Π = 0, ``R = P^T`` linear interpolation, and ``residual=True`` it is the V-cycle of
    textbooks: Trottenberg, Oosterlee and Schüller, *Multigrid*, 2001, section 2.4.

    Examples
    --------
    >>> VCycle(("zeros", "zeros"), 2, 8, Cycle((1, 1, 2)))(torch.zeros(1, 2, 9, 12)).shape
    torch.Size([1, 8, 9, 12])
    """

    def __init__(self, boundary: Sequence[Beyond], in_channels: int, out_channels: int, cycle: Cycle) -> None:
        super().__init__()
        f, u, last = in_channels, out_channels, len(cycle.pre) - 1
        self.pre = nn.ModuleList(
            _Steps(boundary, f, u, count, from_zero=number == 0) for number, count in enumerate(cycle.pre)
        )
        self.down = nn.ModuleList(_Down(boundary, f, u, cycle) for _ in range(last))
        self.up = nn.ModuleList(
            Interpolation(boundary, u, taps=taps, kept=cycle.kept) for taps in cycle.transitions
        )
        self.post = nn.ModuleList(_Steps(boundary, f, u, count) for count in cycle.post)

    def forward(self, f: Tensor) -> Tensor:
        """(batch, in_channels, *space) -> (batch, out_channels, *space)."""
        u: Tensor = self.pre[0](f, f)  # a step from zero does not look at u
        visited = [(u, f)]
        for down, steps in zip(self.down, list(self.pre)[1:], strict=True):
            u, f = down(u, f)
            u = steps(u, f)
            visited.append((u, f))
        u = self.post[-1](u, f)
        for up, steps, (fine, f) in reversed(list(zip(self.up, self.post, visited, strict=False))):
            u = steps(fine + up(u, fine.shape[2:]), f)
        return u


class Coupling(nn.Module):
    """``y(j) = Σ_s W_s x(stride j + first + s)``, s in {-1, 0, 1}^rank: a convolution without bias.

    Parameters
    ----------
    boundary : one word per axis
        What x is beyond its ends, as of `sciml.operators.stencils.Stencil`.
    in_channels, out_channels : int
        Weights start uniform in ±1/sqrt(3^rank in_channels).
    kept : "even", "odd" or "all"
        Of which points j counts: ``2 j``, ``2 j + 1`` or ``j``.

    Examples
    --------
    >>> [Coupling(("zeros",), 1, 1, kept)(torch.zeros(1, 1, 7)).shape[-1] for kept in ("even", "odd", "all")]
    [4, 3, 7]
    """

    def __init__(
        self,
        boundary: Sequence[Beyond],
        in_channels: int,
        out_channels: int,
        kept: Literal["even", "odd", "all"] = "all",
    ) -> None:
        super().__init__()
        self.boundary, self.kept = tuple(boundary), kept
        self.weight = _weight((out_channels, in_channels), (3,) * len(self.boundary), 3)
        self.padding = tuple(1 if word == "zeros" and kept != "odd" else 0 for word in boundary)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, *space) -> (batch, out_channels, *space of the points kept)."""
        x = extend(x, 1, self.boundary)
        if self.kept == "odd":  # neighbors behind the last point, but not before the first
            for dim, word in enumerate(self.boundary, start=2):
                x = _zero_behind(x, dim) if word == "zeros" else x.narrow(dim, 1, x.shape[dim] - 1)
        stride = 1 if self.kept == "all" else 2
        return _CONVOLVE[len(self.boundary)](x, self.weight, stride=stride, padding=self.padding)


class Interpolation(nn.Module):
    """From the points kept to all: the transposed convolution of stride 2, without bias.

    With 3 taps, "zeros" beyond and the weights of a `Coupling`, it is its transpose.

    Parameters
    ----------
    boundary : one word per axis
        What x is beyond its ends, as of `sciml.operators.stencils.Stencil`.
    channels : int
        Weights start uniform in ±1/sqrt(n), n the inputs of an output, (taps / 2)^rank channels on average.
    taps : int
        3 or 4 weights per axis.
    kept : "even" or "odd"
        Where among all the points of x are.

    Examples
    --------
    >>> Interpolation(("zeros",), 4, taps=3, kept="odd")(torch.zeros(1, 4, 3), (7,)).shape
    torch.Size([1, 4, 7])
    """

    def __init__(self, boundary: Sequence[Beyond], channels: int, *, taps: int, kept: Kept) -> None:
        super().__init__()
        self.boundary = tuple(boundary)
        self.weight = _weight((channels, channels), (taps,) * len(self.boundary), taps / 2)
        first = 1 if kept == "odd" else 0
        # One point more on each side begins two fine points earlier, which are cut off again.
        self.padding = tuple((1 if word == "zeros" else 3) - first for word in boundary)
        self.output_padding = 4 - taps if kept == "even" else 0  # the point behind the last one kept

    def forward(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """(batch, channels, *space) -> (batch, channels, *shape)."""
        y = _TRANSPOSED[len(self.boundary)](
            extend(x, 1, self.boundary),
            self.weight,
            stride=2,
            padding=self.padding,
            output_padding=self.output_padding,
        )
        for dim, size in enumerate(shape, start=2):
            if y.shape[dim] != size:
                y = y.narrow(dim, 0, size)
        return y


class _Steps(nn.Module):
    """Some times ``u ← u + S (f - A u)``; from zero, the first is ``u = S f``."""

    def __init__(
        self, boundary: Sequence[Beyond], f: int, u: int, count: int, *, from_zero: bool = False
    ) -> None:
        super().__init__()
        self.from_zero = from_zero
        self.operators = nn.ModuleList(Coupling(boundary, u, f) for _ in range(count - from_zero))
        self.smoothers = nn.ModuleList(Coupling(boundary, f, u) for _ in range(count))

    def forward(self, u: Tensor, f: Tensor) -> Tensor:
        smoothers = list(self.smoothers)
        if self.from_zero:
            u = smoothers.pop(0)(f)
        for operator, smoother in zip(self.operators, smoothers, strict=True):
            u = u + smoother(f - operator(u))
        return u


class _Down(nn.Module):
    """To the next coarser grid: ``Π u`` and ``R f``, or ``R (f - A u)``."""

    def __init__(self, boundary: Sequence[Beyond], f: int, u: int, cycle: Cycle) -> None:
        super().__init__()
        self.operator = Coupling(boundary, u, f) if cycle.residual else None
        self.restriction = Coupling(boundary, f, f, cycle.kept)
        self.projection = Coupling(boundary, u, u, cycle.kept)

    def forward(self, u: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
        if self.operator is not None:
            f = f - self.operator(u)
        return self.projection(u), self.restriction(f)


def _weight(channels: tuple[int, int], taps: tuple[int, ...], seen: float) -> nn.Parameter:
    """Uniform start values, of a convolution that sees this many points along every axis."""
    bound = 1.0 / sqrt(channels[1] * seen ** len(taps))
    return nn.Parameter(torch.empty(*channels, *taps).uniform_(-bound, bound))


def _zero_behind(x: Tensor, dim: int) -> Tensor:
    return functional.pad(x, [0, 0] * (x.ndim - 1 - dim) + [0, 1])
