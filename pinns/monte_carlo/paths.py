"""Paths of a diffusion, and what is collected along them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sciml.errors import ConfigError
from sciml.pinns.diffusions import Diffusion

_SEEN = 8  # paths on which coefficients are looked at


def follow(
    diffusion: Diffusion, x: Tensor, steps: int, normal: Callable[[], Tensor]
) -> tuple[Tensor, Tensor]:
    """The ends of paths from points (n, d + 1), and ``D_t g(X_t) + ∫ D a dr`` (n,) along each.

    ``normal()`` gives the numbers (n, k) of the next step.  Integrals by the rule of trapezoids.
    """
    h = x[:, -1] / steps
    root = h.sqrt()[:, None]
    discounting = diffusion.driver is not None
    logarithm, total = torch.zeros_like(h), torch.zeros_like(h)
    source, growth = diffusion.growth(x) if discounting else (total, total)
    for _ in range(steps):
        x = diffusion.step(x, h, root * normal())
        x[:, -1].clamp_(min=0)  # the last step ends at the start of time, up to rounding
        if not discounting:
            continue
        source_before, growth_before = source, growth
        source, growth = diffusion.growth(x)
        before, logarithm = logarithm, logarithm + h / 2 * (growth_before + growth)
        total = total + h / 2 * (torch.exp(before) * source_before + torch.exp(logarithm) * source)
    return x, torch.exp(logarithm) * diffusion.start(x) + total


def exact_in_one_step(diffusion: Diffusion, x: Tensor) -> bool:
    """Whether a path needs no points between its ends.

    So it is where the position is known by a formula, or drift and noise are the same everywhere, and no
    source is collected and the rate of growth is the same everywhere.  Looked at on some paths.
    """
    rows = x[:_SEEN]
    generator = torch.Generator(x.device).manual_seed(0)
    w = torch.randn(len(rows), diffusion.width(x), generator=generator, dtype=x.dtype, device=x.device)
    t = rows[:, -1]
    half, whole = (diffusion.step(rows, share * t, (share * t).sqrt()[:, None] * w) for share in (0.5, 1.0))
    seen = torch.cat([rows, half, whole])
    found = [] if diffusion.transition is not None else [diffusion.noise(seen, w[:1].expand(len(seen), -1))]
    if diffusion.transition is None and diffusion.drift is not None:
        found.append(diffusion.drift(seen))
    if diffusion.driver is not None:
        source, growth = diffusion.growth(seen)
        if source.any():
            return False
        found.append(growth[:, None])
    return all(torch.allclose(values, values[:1].expand_as(values)) for values in found)


def check_linear(diffusion: Diffusion) -> None:
    """That the solution is a mean over paths."""
    if not diffusion.linear:
        raise ConfigError(
            "Feynman and Kac's formula needs an equation that is linear in u: Diffusion(driver=None), or "
            "affine=True where the driver is a(x) + b(x) u. For others there is multilevel_picard."
        )
