"""What a problem is, as a number: two texts of one problem have one fingerprint, two problems have two."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sciml.description import describe
from sciml.files import dump_json

if TYPE_CHECKING:
    from sciml.pinns.conditions import Function
    from sciml.pinns.domain import Source
    from sciml.pinns.problem import Problem

_PROBES, _POINTS = 2, 8
_WIDE = 200  # dimensions above which a problem goes by its description: exact derivatives would be slow
# Rounding differs between processors by some 1e-15; it crosses a border between digits once in 1e7 problems.
_DIGITS = 6


def fingerprint(problem: Problem) -> str:
    """See `sciml.pinns.Problem.fingerprint`.

    The residuals of equation and conditions are evaluated for fixed smooth functions at fixed points, and
    rounded.  A problem in more than 200 dimensions goes by its class and arguments instead.
    """
    domain = problem.domain
    if domain.dim > _WIDE:
        return digest_text(dump_json(describe(problem), indent=None))
    parts = [torch.tensor(domain.bounds, dtype=torch.float64).flatten()]
    for k in range(_PROBES):
        parts += _seen(problem, k)
    return digest(parts)


def _seen(problem: Problem, probe: int) -> list[Tensor]:
    from sciml.pinns.problem import component, residuals
    from sciml.pinns.unknowns import Coefficient

    domain = problem.domain
    lower, upper = torch.tensor(domain.bounds, dtype=torch.float64).T
    frequency = 1 + kronecker(problem.outputs, domain.dim, start=7 * probe + 1)

    def smooth(x: Tensor) -> Tensor:
        z = (x - lower) * (1 / (upper - lower))
        waves = torch.sin(z @ frequency.T + 0.3) + 0.5 * torch.cos(z @ (1.7 * frequency.T))
        return waves[:, 0] if problem.outputs == 1 else waves

    known: dict[str, Tensor | Function] = {}
    for name, unknown in problem.coefficients.items():
        start = torch.tensor(unknown.initial).double()
        known[name] = start if isinstance(unknown, Coefficient) else partial(_wave, start)
    found = residuals(problem, smooth, domain.interior(going_on(), _POINTS), coefficients=known)
    parts = [found[name].detach() for name in found]
    for condition in problem.conditions:
        rows = condition.rows(domain, going_on(), _POINTS)
        u = component(smooth, condition.component, problem.outputs)
        parts += [rows, condition.given(known).residual(u, rows, domain).detach()]
    return parts


def _wave(mean: Tensor, x: Tensor) -> Tensor:
    """What stands for an unknown function."""
    return mean + 0.5 * torch.sin(x.sum(1))


def kronecker(n: int, k: int, *, start: int = 0) -> Tensor:
    """n points of the unit cube: multiples of powers of the root of r^(k+1) = r + 1, without the integers.

    A source that needs no generator; Roberts (2018), generalizing the golden ratio.
    """
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (k + 1))
    steps = torch.tensor([root ** -(i + 1) for i in range(k)], dtype=torch.float64)
    numbers = torch.arange(start + 1, start + n + 1, dtype=torch.float64)
    return torch.frac(0.5 + numbers[:, None] * steps)


def going_on() -> Source:
    """`kronecker`, which gives later points when it is asked again, as by a region that rejects some."""
    asked = 0

    def points(n: int, k: int) -> Tensor:
        nonlocal asked
        found = kronecker(n, k, start=asked)
        asked += n
        return found

    return points


def digest(values: Iterable[Tensor]) -> str:
    """Eight hexadecimal digits of numbers, rounded."""
    return digest_text("|".join(" ".join(map(_rounded, value.flatten().tolist())) for value in values))


def digest_text(text: str) -> str:
    """Eight hexadecimal digits of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _rounded(value: float) -> str:
    if not math.isfinite(value) or abs(value) < 1e-12:  # what rounding leaves of zero has no digits to keep
        return f"{value if not math.isfinite(value) else 0.0}"
    return f"{value:.{_DIGITS}e}"
