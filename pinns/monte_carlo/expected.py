"""A value with an error bar."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Expected:
    """Means over random paths, one for each point.

    Attributes
    ----------
    values, standard_error : (n,), float64
        The mean, and the standard deviation that it has if all is done again with another seed.
    paths : int
        Drawn for all points together.
    seconds : float
    bias : (n,), float64
        What steps of time, or iterations that were left out, are estimated to have changed; zeros without.
    """

    values: Tensor = field(repr=False)
    standard_error: Tensor = field(repr=False)
    paths: int
    seconds: float
    bias: Tensor = field(repr=False)

    def interval(self, deviations: float = 3.0) -> tuple[Tensor, Tensor]:
        """Lower and upper ends (n,): so many standard errors, and the bias, to either side."""
        half = deviations * self.standard_error + self.bias.abs()
        return self.values - half, self.values + half

    def contains(self, values: Tensor, deviations: float = 3.0, tolerance: float = 0.0) -> Tensor:
        """Whether values (n,) lie in the interval, or beyond it by at most ``tolerance`` times the mean.

        Examples
        --------
        >>> one = torch.ones(1)
        >>> found = Expected(one, 0.001 * one, paths=1000, seconds=0.1, bias=0 * one)
        >>> found.contains(torch.tensor([1.002])), found.contains(torch.tensor([1.004]))
        (tensor([True]), tensor([False]))
        """
        lower, upper = self.interval(deviations)
        slack = tolerance * self.values.abs()
        return (values >= lower - slack) & (values <= upper + slack)


def joined(parts: list[Expected], seconds: float) -> Expected:
    """The results for several sets of points, one after the other."""
    values, errors, bias = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("values", "standard_error", "bias")
    )
    return Expected(values, errors, sum(part.paths for part in parts), seconds, bias)
