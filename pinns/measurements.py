"""What is known besides equations: measured values with their errors, and beliefs about unknowns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.kernels.partials import Partials
from sciml.pinns.conditions import Condition, Function, Unknown, Value, value_at
from sciml.pinns.domain import Domain, Source


@dataclass(frozen=True, eq=False)
class PointData(Condition):
    """Measured values at points: what an inverse problem learns from.

    With ``noise`` its residual is ``(u - value) / noise``, whose mean square is 1 where all is well; sets of
    measurements, and beliefs, then weigh what their errors say, see `evidence`.

    Parameters
    ----------
    points : (n, dim)
    values : (n,)
    component, name
        As for `Dirichlet`.
    noise : float or (n,), positive, optional
        Standard deviation of the errors of measurement.

    Raises
    ------
    ConfigError
        If there is not one value for each point, or a noise is not positive.
    """

    points: Tensor = field(repr=False)
    values: Tensor = field(repr=False)
    component: int = 0
    name: str = "data"
    noise: float | Tensor | None = None

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.values.shape != self.points.shape[:1]:
            raise ConfigError(
                "PointData: needs points (n, dim) and values (n,), got shapes "
                f"{tuple(self.points.shape)} and {tuple(self.values.shape)}."
            )
        if self.noise is not None:
            noise = torch.as_tensor(self.noise)
            if not bool((noise > 0).all()) or noise.shape not in ((), self.values.shape):
                raise ConfigError(
                    f"PointData: noise is a positive number, or {len(self.values)} of them, got {self.noise}."
                )

    @property
    def deviations(self) -> Tensor | None:
        """Of the errors, (n,), if they are known."""
        if self.noise is None:
            return None
        return torch.as_tensor(self.noise, dtype=torch.float64).expand(len(self.values))

    def description(self) -> dict[str, object]:
        """For `describe`: what was measured, by its digest."""
        from sciml.pinns.fingerprints import digest

        return {
            "points": digest([self.points]),
            "values": digest([self.values]),
            "component": self.component,
            "name": self.name,
            "noise": None if self.noise is None else digest([torch.as_tensor(self.noise)]),
        }

    @property
    def fixed(self) -> int | None:
        return len(self.points)

    def rows(self, domain: Domain, source: Source, count: int) -> Tensor:
        columns = [self.points, self.values[:, None]]
        if (deviations := self.deviations) is not None:
            columns.append(deviations[:, None])
        return torch.cat([column.double() for column in columns], dim=1)

    def residual(self, u: Function, rows: Tensor, domain: Domain) -> Tensor:
        dim = domain.dim
        gap = u(rows[:, :dim]) - rows[:, dim]
        return gap if self.noise is None else gap / rows[:, dim + 1]


@describable
@dataclass(frozen=True)
class Prior(Condition):
    r"""What is believed of an unknown before anything was measured: it regularizes what data leave open.

    The mean over the domain of ``(c - mean)^2 / deviation^2``; with ``order`` 1 or 2 of the squares of all
    first or second derivatives of ``c - mean``: a function that is smooth.  Beside measurements with
    ``noise`` it counts as much as one of them, see `evidence`.

    Parameters
    ----------
    of : str or Unknown
        The name of the unknown, or something made of it.
    mean : float or function of points (n, dim)
    deviation : float, positive
    order : 0, 1 or 2
    name : str
        Of the term in the loss.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Examples
    --------
    >>> smooth = Prior("a", order=1, deviation=2.0)
    >>> a = smooth.given({"a": lambda x: 4 * x[:, 0]})
    >>> a.residual(lambda x: x, torch.zeros(2, 1), None).flatten().tolist()
    [2.0, 2.0]
    """

    of: str | Value
    mean: Value = 0.0
    deviation: float = 1.0
    order: int = 0
    name: str = "prior"
    component = None

    def __post_init__(self) -> None:
        if isinstance(self.of, str):
            object.__setattr__(self, "of", Unknown(self.of))
        if not self.deviation > 0 or self.order not in (0, 1, 2):
            raise ConfigError(f"Prior: needs a positive deviation and order 0, 1 or 2, got {self}.")

    def rows(self, domain: Domain, source: Source, count: int) -> Tensor:
        return domain.interior(source, count)

    def residual(self, u: Function, rows: Tensor, domain: Domain) -> Tensor:
        assert not isinstance(self.of, str)

        def away(x: Tensor) -> Tensor:
            assert not isinstance(self.of, str)
            return value_at(self.of, x) - value_at(self.mean, x) + 0 * x[:, 0]

        if self.order == 0:
            return away(rows) / self.deviation
        axes = range(rows.shape[1])
        indices = [(i,) for i in axes] if self.order == 1 else [(i, j) for i in axes for j in axes if i <= j]
        found = Partials(indices, rows.shape[1])(away, rows)[1]
        # A mixed derivative stands for two; the mean over columns shall be their sum.
        scales = [math.sqrt(len(indices) * (1 if len(set(i)) == 1 else 2)) for i in indices]
        columns = [scale * found[i] for scale, i in zip(scales, indices, strict=True)]
        return torch.stack(columns, dim=1) / self.deviation


def evidence(conditions: Mapping[str, Condition]) -> dict[str, float]:
    r"""How much sets of measurements of known noise, and beliefs, weigh in the loss.

    A negative logarithm of probability sums ``(u - value)^2 / noise^2`` over all measurements, and a belief
    once.  The loss has a mean for each set; so a set of n_k among N in K sets gets the weight
    :math:`K \frac{n_k}{N} \bar\sigma^2` and a belief :math:`K \frac 1N \bar\sigma^2`, with
    :math:`\bar\sigma^{-2}` the mean of ``noise^-2``: for one set, or for equal ones, the mean square of
    ``u - value`` as without noise, so that the balance with the equation stays as it was.

    Examples
    --------
    >>> x, y = torch.zeros(10, 1), torch.zeros(10)
    >>> sets = {"good": PointData(x, y, noise=0.1), "bad": PointData(x, y, noise=0.3)}
    >>> {name: round(weight / sets[name].noise ** 2, 3) for name, weight in evidence(sets).items()}
    {'good': 1.8, 'bad': 0.2}
    """
    sets = {name: c for name, c in conditions.items() if isinstance(c, PointData) and c.noise is not None}
    if not sets:
        return {}
    precisions = [float(c.deviations.pow(-2).sum()) for c in sets.values() if c.deviations is not None]
    # K / N times N / sum of noise^-2.
    unit = len(sets) / sum(precisions)
    found = {name: unit * len(c.values) for name, c in sets.items()}
    return found | {name: unit for name, c in conditions.items() if isinstance(c, Prior)}
