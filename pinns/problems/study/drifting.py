"""A series of waves that drift, for flow in a periodic box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.samplers.sampler import Sampler, Site, State, check_every
from sciml.streams import Stream


@describable
class DriftingWaves(nn.Module):
    r"""``sum_kl phi_k(x - c t) phi_l(y - d t) a_kl(t)``: phi are 1, cosines and sines, the a polynomials.

    In a short window of time sizes change little in a frame that moves with the mean flow, and an equation is
    nearly linear in them, so that a few steps of Gauss and Newton find them.  They are zero at first.

    Parameters
    ----------
    inputs, outputs : int
        Harmonics of two periodic coordinates and the time scaled to (-1, 1), see
        `sciml.pinns.constrained.Coordinates`.
    drift : (c, d)
        Periods per unit of the scaled time.
    degree : int
        Of the polynomials.

    Raises
    ------
    ConfigError
        If the inputs are not harmonics of two coordinates and the time, or the degree is negative.

    Examples
    --------
    >>> DriftingWaves(9, 2, drift=(0.1, 0.3))(torch.zeros(7, 9)).shape
    torch.Size([7, 2])
    """

    def __init__(
        self, inputs: int, outputs: int, *, drift: Sequence[float] = (0.0, 0.0), degree: int = 2
    ) -> None:
        super().__init__()
        harmonics, left = divmod(inputs - 1, 4)
        if harmonics < 1 or left or len(drift) != 2 or degree < 0:
            raise ConfigError(
                "DriftingWaves: takes the harmonics of two coordinates and the time, two numbers as drift "
                f"and a degree that is not negative, got {inputs} inputs, {drift} and {degree}."
            )
        self.outputs, self.degree, self._harmonics = outputs, degree, harmonics
        # No buffer: rounded to float32 and back, it would drift at another rate.
        numbers = torch.arange(1, harmonics + 1, dtype=torch.float64)
        self._rates = [2 * math.pi * float(d) * numbers for d in drift]
        self.sizes = nn.Linear(1 + 2 * harmonics, outputs * (degree + 1) * (1 + 2 * harmonics), bias=False)
        nn.init.zeros_(self.sizes.weight)

    def forward(self, x: Tensor) -> Tensor:
        first, second = (self._waves(x, axis) for axis in range(2))
        t = x[:, -1:]
        powers = torch.cat([t**power for power in range(self.degree + 1)], dim=1)
        terms = self.sizes(second).unflatten(1, (self.outputs, self.degree + 1, -1))
        value: Tensor = ((terms * first[:, None, None]).sum(-1) * powers[:, None]).sum(-1)
        return value

    def _waves(self, x: Tensor, axis: int) -> Tensor:
        """1, cosines and sines of one coordinate in the frame that moves, (n, 1 + 2 harmonics)."""
        h, begin = self._harmonics, 2 * axis * self._harmonics
        cosines, sines = x[:, begin : begin + h], x[:, begin + h : begin + 2 * h]
        angle = x[:, -1:] * self._rates[axis].to(x.detach())
        cosine, sine = torch.cos(angle), torch.sin(angle)
        one = torch.ones_like(x.detach()[:, :1])
        return torch.cat([one, cosines * cosine + sines * sine, sines * cosine - cosines * sine], dim=1)


@describable
@dataclass(frozen=True)
class Lattice(Sampler):
    """A regular grid of a periodic box at a few times, moved at random when it is drawn.

    As many points per axis as there are waves tell them apart, where independent points need several times
    as many.

    Parameters
    ----------
    times : int, at least 2
        Of a site with time; the rest of its count is shared between the axes of space.
    every : int

    Raises
    ------
    ConfigError
        If there are fewer times, or a draw never comes.
    """

    times: int = 4
    every: int = 1

    def __post_init__(self) -> None:
        check_every("Lattice", self.every)
        if self.times < 2:
            raise ConfigError(f"Lattice: needs 2 times at least, got {self.times}.")

    def redraw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        moved = stream.generator(step)
        times = 1 if site.time is None else self.times

        def points(n: int, k: int) -> Tensor:
            axes = k - (times > 1)
            size = int((n / times) ** (1 / axes) + 1e-9)
            nodes = [(torch.arange(size) + torch.rand(1, generator=moved, dtype=torch.float64)) / size] * axes
            if times > 1:
                nodes.append((torch.arange(times, dtype=torch.float64) + 0.5) / times)
            return torch.cartesian_prod(*nodes).reshape(-1, k)

        return {"rows": site.rows(points, site.count)}
