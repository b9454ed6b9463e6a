"""Means of random numbers: as many of them as an accuracy asks for, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor

from sciml.errors import ConfigError, ShapeError
from sciml.pinns.monte_carlo.expected import Expected, joined
from sciml.streams import Stream, Streams

Draw = Callable[[Tensor, int, Generator], Tensor]
"""``(x, count, generator)`` to ``count`` independent samples at each point, (n, count, 1 + controls).

Behind the sample stand numbers of mean zero that go along with it; what they explain is subtracted.
"""

PILOT = 512  # samples of a point that tell the variance and how controls go along
_NUMBERS = 2**19  # held together: with what is computed from them they stay in the cache
_POINTS = 64  # sampled together


class Sampler:
    """Independent samples at points, and what their mean is so far.

    Parameters
    ----------
    draw : Draw
    x : (n, dim)
    size : int
        Numbers that one sample takes, for chunks of bounded memory.
    stream : Stream
        Of the generators, one for each chunk.

    Attributes
    ----------
    count, mean : (n,), float64
    drawn : int
        Samples in all, with those from which controls were fitted.
    """

    def __init__(self, draw: Draw, x: Tensor, *, size: int, stream: Stream) -> None:
        self._draw, self._x, self._size, self._stream = draw, x, size, stream
        self.count, self.mean, self._squares = torch.zeros(3, len(x), dtype=torch.float64, device=x.device)
        self._slopes: Tensor | None = None
        self._chunks = self.drawn = 0

    @property
    def variance(self) -> Tensor:
        """Of one sample, (n,)."""
        found: Tensor = self._squares / (self.count - 1).clamp(min=1)
        return found

    @property
    def standard_error(self) -> Tensor:
        """Of the mean, (n,)."""
        found: Tensor = (self.variance / self.count.clamp(min=1)).sqrt()
        return found

    def start(self, count: int) -> None:
        """So many samples of each point; with controls twice, the first of them to fit these and no more.

        Slopes that were fitted to the samples of the mean would make it biased.
        """
        wanted = torch.full_like(self.count, count)
        first: list[list[Tensor]] = [[] for _ in self._x]
        for rows, samples in self._in_chunks(wanted):
            if samples.shape[2] == 1:
                self._add(rows, samples[:, :, 0])
            for row, of_point in zip(rows.tolist(), samples, strict=True):
                first[row].append(of_point)
        if first[0][0].shape[1] > 1:
            self._slopes = torch.stack([_slopes(torch.cat(parts)) for parts in first])
            self.more(wanted)

    def more(self, wanted: Tensor) -> None:
        """At least so many (n,) further samples."""
        for rows, samples in self._in_chunks(wanted):
            values = samples[:, :, 0]
            if self._slopes is not None:
                values = values - torch.einsum("nkc,nc->nk", samples[:, :, 1:], self._slopes[rows])
            self._add(rows, values)

    def until(self, accuracy: float, most: int, pilot: int = PILOT) -> None:
        """Samples until the standard error is at most ``accuracy`` times the mean, or there are ``most``."""
        self.start(min(pilot, most))
        while True:
            needed = self.variance / (accuracy * self.mean).square()
            # 5 % beyond, since the variance is an estimate; where there is none, there is nothing to do.
            needed = torch.where(self.variance == 0, 0.0, 1.05 * needed).clamp(max=most)
            missing = (needed - self.count).ceil().clamp(min=0)
            if not missing.any():
                return
            self.more(torch.minimum(missing, 3 * self.count))

    def _in_chunks(self, wanted: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Places of points, and samples of these, until each has as many as wanted."""
        missing = wanted.clone()
        while True:
            rows = (missing > 0).nonzero()[:, 0]
            if not len(rows):
                return
            count = max(1, min(int(missing.max()), _NUMBERS // (self._size * len(rows))))
            generator = self._stream.generator(self._chunks, self._x.device)
            self._chunks += 1
            self.drawn += count * len(rows)
            missing[rows] -= count
            yield rows, self._draw(self._x[rows], count, generator).double()

    def _add(self, rows: Tensor, values: Tensor) -> None:
        """Values (len(rows), count), by the formula of Chan, Golub and LeVeque for two sets."""
        count = values.shape[1]
        mean = values.mean(1)
        before = self.count[rows]
        after, apart = before + count, mean - self.mean[rows]
        squares = (values - mean[:, None]).square().sum(1) + apart.square() * before * count / after
        self.mean[rows] += apart * count / after
        self._squares[rows] += squares
        self.count[rows] = after


def sampled(
    draw: Draw,
    x: Tensor,
    *,
    size: int,
    accuracy: float,
    seed: int,
    most: int,
    pilot: int = PILOT,
    paths: int = 1,
) -> Expected:
    """The means of ``draw`` at points, each to a standard error of ``accuracy`` times its size.

    Parameters
    ----------
    draw : Draw
    x : (n, dim)
    size : int
        Numbers that one sample takes.
    accuracy : float, positive
    seed : int
    most : int
        Samples of a point, however far its standard error is then.
    pilot : int
        Samples that tell the variance.
    paths : int
        In one sample.
    """

    def mean(part: Tensor, streams: Streams) -> Expected:
        sampler = Sampler(draw, part, size=size, stream=streams.of("paths"))
        sampler.until(accuracy, most, pilot)
        bias = torch.zeros_like(sampler.mean)
        return Expected(sampler.mean, sampler.standard_error, paths * sampler.drawn, 0.0, bias)

    check(x, accuracy, most)
    return in_blocks(x, size, seed, mean)


def in_blocks(x: Tensor, size: int, seed: int, solve: Callable[[Tensor, Streams], Expected]) -> Expected:
    """What ``solve`` finds for so few of the points (n, dim) at a time that one sample of each fits."""
    started = time.perf_counter()
    together = max(1, min(_POINTS, _NUMBERS // size))
    blocks = Streams(seed).of("blocks")
    parts = [solve(part, Streams(blocks.seed(k))) for k, part in enumerate(x.split(together))]
    return joined(parts, time.perf_counter() - started)


def check(x: Tensor, accuracy: float, most: int) -> None:
    """That points, accuracy and the largest number of samples make sense."""
    if x.ndim != 2 or not len(x):
        raise ShapeError(f"Monte Carlo: x must be points (n, dim), got shape {tuple(x.shape)}.")
    if not accuracy > 0 or most < 2:
        raise ConfigError(
            f"Monte Carlo: needs a positive accuracy and at least 2 samples, got accuracy {accuracy} and "
            f"most {most}."
        )


def _slopes(samples: Tensor) -> Tensor:
    """How the first of (count, 1 + controls) columns goes along with the others, by least squares."""
    apart = samples - samples.mean(0)
    # Controls of no variance, such as those of a path of no length, explain nothing.
    slopes: Tensor = torch.linalg.pinv(apart[:, 1:]) @ apart[:, 0]
    return slopes
