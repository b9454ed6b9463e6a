"""A network made into a function on a domain: coordinates scaled, periods and conditions built in."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from sciml.description import describable
from sciml.errors import ConfigError, ShapeError
from sciml.pinns.problem import Ansatz, Problem
from sciml.pinns.remembered import Remembered


@describable
class Coordinates(nn.Module):
    r"""Points to features: each coordinate scaled to [-1, 1]; a periodic one to cos and sin of its harmonics.

    With period L the features are ``cos(2 pi k (x - a) / L), sin(...)``, k = 1..harmonics, so that whatever
    follows is periodic with all its derivatives.

    Parameters
    ----------
    bounds : ((lower, upper), ...)
        One for each coordinate.
    periodic : tuple of int
        Coordinates whose period is their interval.
    harmonics : int, at least 1

    Examples
    --------
    >>> features = Coordinates(((-1.0, 1.0), (0.0, 1.0)), periodic=(0,))
    >>> x = torch.tensor([[0.0, 0.5]], dtype=torch.float64)
    >>> features.features, features(x).round(decimals=6).abs().tolist()
    (3, [[1.0, 0.0, 0.0]])
    """

    def __init__(
        self,
        bounds: tuple[tuple[float, float], ...],
        periodic: tuple[int, ...] = (),
        harmonics: int = 1,
    ) -> None:
        super().__init__()
        if harmonics < 1 or not set(periodic) <= set(range(len(bounds))):
            raise ConfigError(
                f"Coordinates: needs harmonics >= 1 and periodic coordinates among {len(bounds)}, got "
                f"{harmonics} and {periodic}."
            )
        lower, upper = torch.tensor(bounds, dtype=torch.float64).T
        self.periodic = tuple(periodic)
        self.plain = tuple(i for i in range(len(bounds)) if i not in periodic)
        # No buffers: rounded to float32 and back, pi would keep half its digits.
        self._center, self._scale = (lower + upper) / 2, 2 / (upper - lower)
        self._waves = math.pi * torch.arange(1, harmonics + 1, dtype=torch.float64)
        self.features = len(self.plain) + 2 * harmonics * len(self.periodic)

    @property
    def scaling(self) -> tuple[Tensor, Tensor]:
        """c and s of ``(x - c) s``, the coordinate on [-1, 1], each (dim,)."""
        return self._center, self._scale

    def forward(self, x: Tensor) -> Tensor:
        center, scale, waves = (
            t.to(device=x.device, dtype=x.dtype) for t in (self._center, self._scale, self._waves)
        )
        z = (x - center) * scale
        if not self.periodic:
            return z
        parts = []
        for i in self.periodic:
            # From -1 to 1 is one period; the wave begins at the lower end.
            angle = (z[:, i : i + 1] + 1) * waves
            parts += [torch.cos(angle), torch.sin(angle)]
        return torch.cat([*parts, *(z[:, i : i + 1] for i in self.plain)], dim=1)


@describable
class Constrained(nn.Module):
    """``u(x) = lift(x) + factor(x) N(coordinates(x))`` with what the problem knows, see `Ansatz`.

    Parameters
    ----------
    problem : Problem
    network : module, (n, features) -> (n, outputs), or (n,) for one output
        N; for its size see `features`.
    hard : bool
        Build conditions and periods in; without it the loss asks for all of them.
    harmonics : int
        Of periodic coordinates.

    Attributes
    ----------
    satisfies : tuple of str
        Names of the conditions that hold whatever the weights.
    """

    def __init__(
        self, problem: Problem, network: nn.Module, *, hard: bool = True, harmonics: int = 1
    ) -> None:
        super().__init__()
        periodic = problem.periods if hard else ()
        self.coordinates = Coordinates(problem.domain.bounds, periodic, harmonics)
        self.network = network
        self.ansatz = _remembering(problem.ansatz) if hard else None
        self._features = Remembered(self.coordinates)
        self.outputs = problem.outputs
        self.satisfies = problem.satisfied() if hard else ()

    def forward(self, x: Tensor) -> Tensor:
        """Points (n, dim) to (n,), of a system (n, outputs)."""
        return self._network(x) if self.ansatz is None else self.ansatz.around(self._network)(x)

    def _network(self, x: Tensor) -> Tensor:
        value: Tensor = self.network(self._features(x))
        if self.outputs == 1 and value.ndim == 2 and value.shape[1] == 1:
            value = value[:, 0]
        if tuple(value.shape[1:]) != (() if self.outputs == 1 else (self.outputs,)):
            raise ShapeError(
                f"Constrained: the network must map {self.coordinates.features} features to {self.outputs} "
                f"outputs, got values of shape {tuple(value.shape)} for {x.shape[0]} points."
            )
        return value


def _remembering(ansatz: Ansatz | None) -> Ansatz | None:
    """The same, whose parts are evaluated once for each set of points."""
    if ansatz is None:
        return None
    lift, factor, shift = (
        None if part is None else Remembered(part) for part in (ansatz.lift, ansatz.factor, ansatz.shift)
    )
    return replace(ansatz, lift=lift, factor=factor, shift=shift)
