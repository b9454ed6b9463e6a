"""Semilinear parabolic equations by multilevel Picard iteration."""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from torch import Generator, Tensor

from sciml.errors import ConfigError
from sciml.pinns.diffusions import Diffusion
from sciml.pinns.monte_carlo.expected import Expected
from sciml.pinns.monte_carlo.paths import exact_steps
from sciml.pinns.monte_carlo.sampling import check, sampled
from sciml.streams import Streams

_PILOT = 16  # one sample is a whole tree of paths


def multilevel_picard(
    diffusion: Diffusion,
    x: Tensor,
    *,
    accuracy: float,
    seed: int = 0,
    branches: int = 3,
    iterations: int = 7,
    most: int = 2**16,
) -> Expected:
    r"""u with ``u_t = tr(s s^T Hess u)/2 + m . grad u + f(x, u)`` from g, at points.

    U_0 = 0, and with M paths for each one of the iteration before, each with independent numbers,

        U_n(x, t) = mean_{M^n} g(X_t)
                    + sum_{l < n} t mean_{M^{n-l}} [f(X_R, U_l(X_R)) - f(X_R, U_{l-1}(X_R))],

    R uniform in (0, t) and without the second f for l = 0.  The number of operations grows with d and
    1/accuracy no faster than a polynomial.  Such estimates are averaged until their standard error is small
    enough, for n = 1, 2, ... until two in a row differ by no more than half of the accuracy and twice the
    standard error of their difference.

    Parameters
    ----------
    diffusion : Diffusion
        With a driver that does not depend on z, and whose paths are exact in one step: by a formula, or with
        drift and noise that are the same everywhere.
    x : (n, d + 1)
        Points, the last column the time t.
    accuracy : float
        Standard errors are to be at most this times the value.
    seed : int
    branches : int
        M, at least 2.  With the Lipschitz constant L of f the error falls like ``((1 + 2 L t) / sqrt(M))^n``:
        long times need more of them.
    iterations : int
        n at the most, at least 2; ``bias`` tells the last difference, beyond twice its standard error.
    most : int
        Estimates for each point, at the most.

    Raises
    ------
    ConfigError
        If the diffusion is another, or a number is out of range.

    Notes
    -----
    Source: E, Hutzenthaler, Jentzen and Kruse, J. Sci. Comput. 79 (2019) 1534; Hutzenthaler, Jentzen, Kruse,
    Nguyen and von Wurstemberger, Proc. R. Soc. A 476 (2020) 20190630, Theorem 3.8.

    Examples
    --------
    ``u_t = u_xx + u - u^3`` from 1/2, without x: ``u^2 = 1 / (1 + 3 e^{-2 t})``.

    >>> logistic = Diffusion(
    ...     lambda x: 0.5 + 0 * x[:, 0], lambda x, w: 2**0.5 * w, driver=lambda x, u, z: u - u**3
    ... )
    >>> found = multilevel_picard(logistic, torch.tensor([[0.0, 0.2]]).double(), accuracy=2e-3)
    >>> found.contains((1 / (1 + 3 * torch.tensor([-0.4]).exp())) ** 0.5).item()
    True
    """
    check(x, accuracy, most)
    if iterations < 2 or branches < 2:
        raise ConfigError(
            f"multilevel_picard: needs at least 2 iterations and 2 branches, got {iterations} and {branches}."
        )
    _check_diffusion(diffusion, x)
    started, paths = time.perf_counter(), 0
    before: Expected | None = None
    for n in range(1, iterations + 1):

        def draw(x: Tensor, count: int, generator: Generator, n: int = n) -> Tensor:
            found = _iterate(diffusion, x.repeat_interleave(count, 0), n, branches, generator)
            return found.reshape(len(x), count, 1)

        size = 2 * branches**n * x.shape[1]
        seed_of = Streams(seed).of("iterations").seed(n)
        found = sampled(draw, x, size=size, accuracy=accuracy, seed=seed_of, most=most, pilot=_PILOT)
        paths += found.paths * _paths(n, branches)
        if before is not None:
            noise = (found.standard_error.square() + before.standard_error.square()).sqrt()
            apart = (found.values - before.values).abs()
            found = replace(found, bias=(apart - 2 * noise).clamp(min=0))
            if (found.bias <= accuracy / 2 * found.values.abs()).all():
                break
        before = found
    return replace(found, paths=paths, seconds=time.perf_counter() - started)


def _iterate(diffusion: Diffusion, x: Tensor, n: int, m: int, generator: Generator) -> Tensor:
    """U_n with m paths for each of the iteration before, once for each point (n, d + 1)."""
    if n == 0:
        return torch.zeros_like(x[:, 0])
    assert diffusion.driver is not None
    t = x[:, -1]

    def moved(rows: Tensor, duration: Tensor) -> Tensor:
        shape = (len(rows), diffusion.width(rows))
        w = torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device)
        return diffusion.step(rows, duration, duration.sqrt()[:, None] * w)

    rows = x.repeat_interleave(m**n, 0)
    total = diffusion.start(moved(rows, rows[:, -1])).reshape(len(x), -1).mean(1)
    for level in range(n):
        rows = x.repeat_interleave(m ** (n - level), 0)
        share = torch.rand(len(rows), generator=generator, dtype=x.dtype, device=x.device)
        places = moved(rows, share * rows[:, -1])
        z = x.new_zeros(len(rows), diffusion.width(x))
        values = diffusion.driver(places, _iterate(diffusion, places, level, m, generator), z)
        if level:
            rougher = _iterate(diffusion, places, level - 1, m, generator)
            values = values - diffusion.driver(places, rougher, z)
        total = total + t * values.reshape(len(x), -1).mean(1)
    return total


def _paths(n: int, m: int) -> int:
    """Of one estimate."""
    if n == 0:
        return 0
    total: int = m**n
    for k in range(n):
        total += m ** (n - k) * (1 + _paths(k, m) + (_paths(k - 1, m) if k else 0))
    return total


def _check_diffusion(diffusion: Diffusion, x: Tensor) -> None:
    if diffusion.driver is None:
        raise ConfigError("multilevel_picard: there is no driver; feynman_kac solves linear equations.")
    if not exact_steps(diffusion, x):
        raise ConfigError(
            "multilevel_picard: paths must be exact in one step, but drift or noise vary from place to "
            "place; give the Diffusion a transition."
        )
    rows, u = x[:8], x[:8, -1]
    z = x.new_zeros(len(rows), diffusion.width(x))
    if not torch.equal(diffusion.driver(rows, u, z), diffusion.driver(rows, u, z + 1)):
        raise ConfigError(
            "multilevel_picard: the driver must not depend on z, since gradients are not known along paths."
        )
