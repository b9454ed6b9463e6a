"""Linear parabolic equations as means over paths, after Feynman and Kac."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from sciml.errors import ConfigError
from sciml.pinns.diffusions import Diffusion
from sciml.pinns.monte_carlo.expected import Expected
from sciml.pinns.monte_carlo.multilevel import multilevel
from sciml.pinns.monte_carlo.paths import check_linear, exact_in_one_step, follow
from sciml.pinns.monte_carlo.sampling import Draw, sampled


@dataclass(frozen=True)
class Control:
    """Functions of the end of a path whose means are known, and that go along with the solution.

    Attributes
    ----------
    value : function of points (n, d + 1) at the end of their paths, to (n, controls)
    mean : function of points (n, d + 1) at the beginning, to (n, controls)
        Of ``value`` over all paths from there.
    """

    value: Callable[[Tensor], Tensor]
    mean: Callable[[Tensor], Tensor]


def feynman_kac(
    diffusion: Diffusion,
    x: Tensor,
    *,
    accuracy: float,
    seed: int = 0,
    steps: int | None = None,
    control: Control | None = None,
    antithetic: bool = True,
    most: int = 2**20,
) -> Expected:
    r"""``u(x, t) = E[D_t g(X_t) + \int_0^t D_r a(X_r) dr]``, ``D_r = exp(\int_0^r b(X_q) dq)``.

    u solves ``u_t = tr(s s^T Hess u)/2 + m . grad u + a + b u`` from g, see `Diffusion`.

    Parameters
    ----------
    diffusion : Diffusion
        With a driver that is affine in u, or without.
    x : (n, d + 1)
        Points, the last column the time t.
    accuracy : float
        Standard errors are to be at most this times the value.
    seed : int
    steps : int, optional
        Of Euler and Maruyama, which leave an error of order 1/steps.  By default one step where that is
        exact, and `multilevel` otherwise.
    control : Control, optional
        Subtracted with the slopes that explain most.
    antithetic : bool
        Average over each increment and its opposite: what is odd in the increments cancels.
    most : int
        Pairs of paths, or paths, for each point, at the most.

    Raises
    ------
    ConfigError
        If the driver is not affine, or a number is out of range.

    Notes
    -----
    Source: Kac, Trans. AMS 65 (1949) 1; Glasserman, Monte Carlo Methods in Financial Engineering (2003),
    chapters 4 and 6.

    Examples
    --------
    ``u_t = Laplace(u)`` from ``|x|^2`` in 100 dimensions, ``|x|^2 + 2 d t``:

    >>> heat = Diffusion(lambda x: x[:, :-1].square().sum(1), lambda x, w: 2**0.5 * w)
    >>> x = torch.cat([torch.ones(1, 100), torch.full((1, 1), 0.5)], dim=1)
    >>> found = feynman_kac(heat, x, accuracy=1e-3)
    >>> found.contains(torch.tensor([200.0])).item()
    True
    """
    check_linear(diffusion)
    if steps is None:
        if not exact_in_one_step(diffusion, x):
            return multilevel(diffusion, x, accuracy=accuracy, seed=seed, most=most)
        steps = 1
    if steps < 1:
        raise ConfigError(f"feynman_kac: steps must be at least 1, got {steps}.")
    size = 4 * x.shape[1]
    draw = _draw(diffusion, steps, control, antithetic)
    return sampled(draw, x, size=size, accuracy=accuracy, seed=seed, most=most, paths=2 if antithetic else 1)


def _draw(diffusion: Diffusion, steps: int, control: Control | None, antithetic: bool) -> Draw:
    signs = 2 if antithetic else 1

    def draw(x: Tensor, count: int, generator: Generator) -> Tensor:
        rows = x.repeat_interleave(count, 0)
        shape = (len(rows), diffusion.width(x))

        def normal() -> Tensor:
            w = torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device)
            return torch.cat([w, -w]) if antithetic else w

        ends, values = follow(diffusion, rows.repeat(signs, 1), steps, normal)
        columns = [values[:, None], *([] if control is None else [control.value(ends)])]
        found = torch.cat(columns, dim=1).reshape(signs, len(x), count, -1).mean(0)
        if control is not None:
            found[:, :, 1:] -= control.mean(x)[:, None]
        return found

    return draw
