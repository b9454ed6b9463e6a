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


def exact_steps(diffusion: Diffusion, x: Tensor) -> bool:
    """Whether the position after any time is had in one step: by a formula, or as the sum of increments.

    It is their sum where drift and noise are the same everywhere; looked at on some paths from points x.
    """
    if diffusion.transition is not None:
        return True
    seen = _along(diffusion, x)
    one = torch.ones(len(seen), diffusion.width(x), dtype=x.dtype, device=x.device)
    signs = (-1.0) ** torch.arange(one.shape[1], device=x.device)
    found = [diffusion.noise(seen, one), diffusion.noise(seen, signs * one)]
    if diffusion.drift is not None:
        found.append(diffusion.drift(seen))
    return all(map(_constant, found))


def exact_in_one_step(diffusion: Diffusion, x: Tensor) -> bool:
    """Whether paths need no points between their ends, since what is collected there needs none either.

    So it is without a source, and with a rate of growth that is the same everywhere.
    """
    if not exact_steps(diffusion, x):
        return False
    source, growth = diffusion.growth(_along(diffusion, x))
    return not bool(source.any()) and _constant(growth)


def _along(diffusion: Diffusion, x: Tensor) -> Tensor:
    """Points at the beginning, in the middle and at the end of some paths."""
    rows = x[:_SEEN]
    generator = torch.Generator(x.device).manual_seed(0)
    w = torch.randn(len(rows), diffusion.width(x), generator=generator, dtype=x.dtype, device=x.device)
    later = [share * rows[:, -1] for share in (0.5, 1.0)]
    return torch.cat([rows, *(diffusion.step(rows, t, t.sqrt()[:, None] * w) for t in later)])


def _constant(values: Tensor) -> bool:
    return torch.allclose(values, values[:1].expand_as(values))


def check_linear(diffusion: Diffusion) -> None:
    """That the solution is a mean over paths."""
    if not diffusion.linear:
        raise ConfigError(
            "Feynman and Kac's formula needs an equation that is linear in u: Diffusion(driver=None), or "
            "affine=True where the driver is a(x) + b(x) u. For others there is multilevel_picard."
        )
