"""Poisson's equation by walks from sphere to sphere."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from sciml.errors import ConfigError
from sciml.pinns.domain import Ball, Box, Geometry
from sciml.pinns.monte_carlo.expected import Expected
from sciml.pinns.monte_carlo.sampling import sampled

Function = Callable[[Tensor], Tensor]


def walk_on_spheres(
    space: Geometry,
    x: Tensor,
    *,
    source: Function | None = None,
    boundary: Function | None = None,
    accuracy: float,
    seed: int = 0,
    within: float = 1e-4,
    most: int = 2**20,
) -> Expected:
    r"""u with ``-Laplace(u) = f`` inside a ball or a box, and ``u = g`` on its boundary, at points inside.

    The mean of u over a sphere of radius r is ``u(x) - E[f(Y)] r^2 / (2 d)``, with Y inside the sphere,
    distributed as Green's function of its center.  A walk jumps to a random point of the largest sphere
    around where it is, again and again, and ends at the nearest boundary point when that is closer than
    ``within``.

    Parameters
    ----------
    space : Ball or Box
    x : (n, d)
        Points inside.
    source, boundary : function of points (n, d) to (n,), optional
        f and g; zero by default.
    accuracy, seed, most
        As for `sciml.pinns.monte_carlo.feynman_kac`.
    within : float
        In units of half of the smallest width.  The solution is wrong by something of this order.

    Raises
    ------
    ConfigError
        If the region is another, a point is not inside, or a number is out of range.

    Notes
    -----
    The distance of Y is ``r U^{1/2} V^{1/d}`` with U and V uniform: its density is proportional to
    ``s - s^{d-1}``, for d = 2 to ``-s log(s)``.  In a ball of many dimensions a sphere around a point near
    the boundary hardly comes closer to it: walks take some 2 d log(1/within) steps.  Source: Muller, Ann.
    Math. Stat. 27 (1956) 569; Sawhney and Crane, Monte Carlo geometry processing, ACM TOG 39 (2020) 123.

    Examples
    --------
    >>> x = torch.tensor([[0.5, 0.0, 0.0]])
    >>> found = walk_on_spheres(Ball(3), x, source=lambda x: 6 + 0 * x[:, 0], accuracy=0.02)
    >>> found.contains(torch.tensor([0.75])).item()  # 1 - |x|^2
    True
    """
    if not isinstance(space, Ball | Box):
        raise ConfigError(
            f"walk_on_spheres: knows distances from the boundary of a Ball or a Box, got {space}."
        )
    if x.ndim != 2 or x.shape[1] != space.dim or not bool(space.contains(x).all()):
        raise ConfigError(
            f"walk_on_spheres: x must be points (n, {space.dim}) inside, got shape {tuple(x.shape)}"
            f"{' with points outside' if x.ndim == 2 and x.shape[1] == space.dim else ''}."
        )
    if not 0 < within < 1:
        raise ConfigError(f"walk_on_spheres: within must be between 0 and 1, got {within}.")
    close = within * min(b - a for a, b in space.bounds) / 2

    def draw(x: Tensor, count: int, generator: Generator) -> Tensor:
        values = _walk(space, x.repeat_interleave(count, 0), source, boundary, close, generator)
        return values.reshape(len(x), count, 1)

    return sampled(draw, x, size=4 * space.dim, accuracy=accuracy, seed=seed, most=most)


def _walk(
    space: Ball | Box,
    x: Tensor,
    source: Function | None,
    boundary: Function | None,
    close: float,
    generator: Generator,
) -> Tensor:
    """What one walk from each point (n, d) collects, (n,)."""
    total = torch.zeros_like(x[:, 0])
    walking = torch.arange(len(x), device=x.device)
    while len(walking):
        radius, nearest = _nearest(space, x)
        ended = radius < close
        if boundary is not None:
            total[walking[ended]] += boundary(nearest[ended])
        walking, x, radius = walking[~ended], x[~ended], radius[~ended, None]
        if source is not None:
            away = _uniform(x, generator) ** 0.5 * _uniform(x, generator) ** (1 / space.dim)
            seen = x + radius * away * _direction(x, generator)
            total[walking] += radius[:, 0].square() / (2 * space.dim) * source(seen)
        x = x + radius * _direction(x, generator)
    return total


def _nearest(space: Ball | Box, x: Tensor) -> tuple[Tensor, Tensor]:
    """How far points (n, d) are from the boundary (n,), and its nearest points (n, d)."""
    lower, upper = torch.tensor(space.bounds, dtype=x.dtype, device=x.device).T
    if isinstance(space, Ball):
        middle = (lower + upper) / 2
        away = torch.linalg.vector_norm(x - middle, dim=1, keepdim=True)
        tiny = torch.finfo(x.dtype).tiny
        return space.radius - away[:, 0], middle + space.radius * (x - middle) / away.clamp(min=tiny)
    least, axis = torch.minimum(x - lower, upper - x).min(1)
    near_lower = x - lower < upper - x
    ends = torch.where(near_lower, lower, upper)
    return least, x.scatter(1, axis[:, None], ends.gather(1, axis[:, None]))


def _uniform(x: Tensor, generator: Generator) -> Tensor:
    return torch.rand(len(x), 1, generator=generator, dtype=x.dtype, device=x.device)


def _direction(x: Tensor, generator: Generator) -> Tensor:
    normal = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    return torch.nn.functional.normalize(normal, dim=1)
