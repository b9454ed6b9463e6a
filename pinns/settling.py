"""A periodic function at one time as its waves: what a window of time may start from."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sciml.errors import ConfigError
from sciml.pinns.problem import Problem, predict

_FEWEST, _MOST = 128, 8192  # points of a period
_TAIL = 1e-12  # of the largest wave


class FourierSeries(nn.Module):
    """``sum_k a_k cos(k q x) + b_k sin(k q x)`` of the first coordinate, whatever the others are.

    Parameters
    ----------
    cosines, sines : (waves, outputs), float64
        a_k and b_k from k = 0 on.
    lower, upper : float
        Of the period.
    """

    cosines: Tensor
    sines: Tensor

    def __init__(self, cosines: Tensor, sines: Tensor, lower: float, upper: float) -> None:
        super().__init__()
        self.register_buffer("cosines", cosines)
        self.register_buffer("sines", sines)
        self.lower, self.upper = lower, upper

    def forward(self, x: Tensor) -> Tensor:
        """Points (n, dim) to (n,), of a system (n, outputs)."""
        rate = 2 * math.pi / (self.upper - self.lower)
        rates = rate * torch.arange(len(self.cosines), dtype=self.cosines.dtype, device=self.cosines.device)
        angle = (x[:, :1] - self.lower) * rates
        value: Tensor = torch.cos(angle) @ self.cosines + torch.sin(angle) @ self.sines
        return value[:, 0] if value.shape[1] == 1 else value


def fourier_series(network: nn.Module, problem: Problem, time: float) -> FourierSeries:
    """A network at one time as the waves that it is made of, for ``march(..., settle=fourier_series)``.

    Parameters
    ----------
    network : module
        Points (n, 2) to (n,) or (n, outputs), periodic.
    problem : Problem
        In one periodic coordinate and time.
    time : float

    Raises
    ------
    ConfigError
        If the problem is another one, or the network has waves shorter than 1/4096 of the period.

    Examples
    --------
    >>> from sciml.pinns import problems
    >>> class Wave(nn.Module):
    ...     def forward(self, x):
    ...         return torch.cos(3 * x[:, 0] + x[:, 1])
    >>> series = fourier_series(Wave(), problems.ChaoticKuramotoSivashinsky(), 0.5)
    >>> len(series.cosines), round(float(series.cosines[3, 0]), 6)
    (4, 0.877583)
    """
    if problem.domain.space.dim != 1 or problem.domain.time is None or problem.periods != (0,):
        raise ConfigError(
            f"fourier_series: {type(problem).__name__} is no problem in one periodic coordinate and time; "
            "leave out settle."
        )
    lower, upper = problem.domain.bounds[0]
    count = _FEWEST
    while count <= _MOST:
        x = lower + (upper - lower) * torch.arange(count, dtype=torch.float64) / count
        values = predict(network, torch.stack([x, torch.full_like(x, time)], dim=1), problem.outputs)
        waves = torch.fft.rfft(values, dim=0)[:-1] * (2 / count)
        waves[0] /= 2
        size = waves.abs().amax(1)
        seen = int((size > _TAIL * size.max()).nonzero().max()) + 1 if size.max() > 0 else 1
        if seen <= count / 3:
            return FourierSeries(waves.real[:seen].clone(), -waves.imag[:seen], lower, upper)
        count *= 2
    raise ConfigError(
        f"fourier_series: the network has waves shorter than 1/{_MOST // 2} of the period of "
        f"{type(problem).__name__}: it is not periodic, or not smooth."
    )
