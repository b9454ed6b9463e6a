"""Multilevel Monte Carlo: most paths with few steps, few paths with many."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor

from sciml.errors import ConfigError
from sciml.pinns.diffusions import Diffusion
from sciml.pinns.monte_carlo.expected import Expected
from sciml.pinns.monte_carlo.paths import check_linear, follow
from sciml.pinns.monte_carlo.sampling import PILOT, Draw, Sampler, check, in_blocks
from sciml.streams import Streams

_FEWEST = 3  # levels, without which nothing is known of how they converge
_PAIR = 2  # paths: an increment and its opposite


def multilevel(
    diffusion: Diffusion,
    x: Tensor,
    *,
    accuracy: float,
    seed: int = 0,
    levels: int = 10,
    most: int = 2**20,
) -> Expected:
    r"""As `feynman_kac`, with ``u = E P_0 + sum_l E(P_l - P_{l-1})``, P_l by 2^l steps of Euler and Maruyama.

    P_l and P_{l-1} follow the same increments: their difference has a small variance, and needs few paths.
    Each level gets paths in proportion to ``sqrt(variance / cost)``, both as measured, and levels are added
    until the last one says that what is left out is at most half of the accuracy.

    Parameters
    ----------
    diffusion, x, accuracy, seed, most
        As for `feynman_kac`; ``most`` holds for each level.
    levels : int
        At the most, at least 3.  If they do not do, ``bias`` says how much is missing.

    Raises
    ------
    ConfigError
        If the driver is not affine, or a number is out of range.

    Notes
    -----
    The scheme is of weak order one, so that the levels left out amount to the last difference; half of the
    one before is asked too, lest the last be small by chance.  Source: Giles, Operations Research 56 (2008)
    607, section 5, and Acta Numerica 24 (2015) 259.

    Examples
    --------
    A mean-reverting process ``dX = -X dr + dW``, of which ``E X_t = x e^{-t}``:

    >>> process = Diffusion(lambda x: x[:, 0], lambda x, w: w, drift=lambda x: -x[:, :-1])
    >>> found = multilevel(process, torch.tensor([[1.0, 1.0]]).double(), accuracy=0.01)
    >>> found.contains(torch.tensor([-1.0]).exp()).item()
    True
    """
    check(x, accuracy, most)
    check_linear(diffusion)
    if levels < _FEWEST:
        raise ConfigError(f"multilevel: needs at least {_FEWEST} levels, got {levels}.")

    def solve(part: Tensor, streams: Streams) -> Expected:
        ladder = _Ladder(diffusion, part, streams)
        while True:
            ladder.until(accuracy, most)
            goal = accuracy / 2 * ladder.mean.abs()
            if len(ladder.samplers) >= levels or bool((ladder.bias <= goal).all()):
                break
            ladder.climb()
        error = sum(s.standard_error.square() for s in ladder.samplers) ** 0.5
        paths = _PAIR * sum(s.drawn for s in ladder.samplers)
        return Expected(ladder.mean, torch.as_tensor(error), paths, 0.0, ladder.bias)

    return in_blocks(x, _size(diffusion, x, 1), seed, solve)


class _Ladder:
    """One sampler for each level."""

    def __init__(self, diffusion: Diffusion, x: Tensor, streams: Streams) -> None:
        self._diffusion, self._x, self._streams = diffusion, x, streams
        self.samplers: list[Sampler] = []
        for _ in range(_FEWEST):
            self.climb()

    def climb(self) -> None:
        """One more level."""
        level = len(self.samplers)
        sampler = Sampler(
            _difference(self._diffusion, level),
            self._x,
            size=_size(self._diffusion, self._x, 2**level),
            stream=self._streams.of(f"level {level}"),
        )
        sampler.start(PILOT)
        self.samplers.append(sampler)

    @property
    def mean(self) -> Tensor:
        """Of the finest level, (n,)."""
        return torch.stack([s.mean for s in self.samplers]).sum(0)

    @property
    def bias(self) -> Tensor:
        """Of the levels that are not there, (n,)."""
        *_, before, last = self.samplers
        return torch.maximum(last.mean.abs(), before.mean.abs() / 2)

    def until(self, accuracy: float, most: int) -> None:
        """Paths on all levels until the standard errors are together at most ``accuracy`` times the mean."""
        cost = torch.tensor([1.5 * 2**level for level in range(len(self.samplers))]).double()
        cost[0] = 1.0  # of the other levels a half for the coarse path
        while True:
            variance = torch.stack([s.variance for s in self.samplers], dim=1)
            scale = (variance * cost).sqrt().sum(1) / (accuracy * self.mean).square()
            needed = (1.05 * scale[:, None] * (variance / cost).sqrt()).nan_to_num().clamp(max=most)
            count = torch.stack([s.count for s in self.samplers], dim=1)
            missing = torch.minimum((needed - count).ceil().clamp(min=0), 3 * count)
            if not missing.any():
                return
            for sampler, wanted in zip(self.samplers, missing.unbind(1), strict=True):
                sampler.more(wanted)


def _size(diffusion: Diffusion, x: Tensor, steps: int) -> int:
    return _PAIR * (steps * diffusion.width(x) + 2 * x.shape[1])


def _difference(diffusion: Diffusion, level: int) -> Draw:
    """What 2^level steps give beyond half as many."""
    steps = 2**level

    def draw(x: Tensor, count: int, generator: Generator) -> Tensor:
        rows = x.repeat_interleave(count, 0)
        shape = (steps, len(rows), diffusion.width(x))
        normal = torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device)
        rows, normal = rows.repeat(_PAIR, 1), torch.cat([normal, -normal], dim=1)
        _, values = follow(diffusion, rows, steps, _one_by_one(normal))
        if level:
            _, coarse = follow(
                diffusion, rows, steps // 2, _one_by_one((normal[::2] + normal[1::2]) / 2**0.5)
            )
            values = values - coarse
        return values.reshape(_PAIR, len(x), count).mean(0)[:, :, None]

    return draw


def _one_by_one(normal: Tensor) -> Callable[[], Tensor]:
    numbers: Iterator[Tensor] = iter(normal)
    return lambda: next(numbers)
