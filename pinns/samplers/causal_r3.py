"""Retain, resample, release behind a gate in time that opens as the residual in front of it falls."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.pinns.samplers.r3 import renewed
from sciml.pinns.samplers.sampler import Sampler, Site, State, check_every, uniform
from sciml.streams import Stream

_FULLY_OPEN = 1.5  # the gate moves no further: g(1) = 0.993 with the steepness of the paper


@describable
@dataclass(frozen=True)
class CausalR3(Sampler):
    r"""`R3` with fitness ``g |r|`` and points that weigh ``g^2``, so that the loss is ``mean (g r)^2``.

    The gate is :math:`g(t) = (1 - \tanh(\alpha (t - \beta))) / 2`, t from 0 at the start to 1 at the end.  It
    is open before :math:`\beta` and closed behind.  At each draw, with the points there are before they are
    replaced,

    .. math::

        \beta \leftarrow \beta
        + \text{rate} \cdot \min(e^{-\text{tolerance} \cdot \text{mean} (g r)^2}, \text{cap})

    until it is at 1.5.  It is kept in the state, as ``gate``.

    Parameters
    ----------
    every : int
        Steps between draws.
    steepness : float, positive
        Alpha.
    gate : float
        Beta at the start.
    rate, cap : float, positive
        It moves by their product at most: in 20 000 draws across the whole interval, with the defaults.
        5e-3 suits Kuramoto-Sivashinsky.
    tolerance : float, positive
        The mean square of the gated residual at which the gate waits, as its inverse.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Notes
    -----
    Where there is no time, or one only, as for initial conditions, it is `R3`.  Source: Daw, Bu, Wang,
    Perdikaris and Karpatne, Mitigating propagation failures in physics-informed neural networks using
    retain-resample-release sampling, ICML 2023, algorithm 2; defaults are theirs.
    """

    every: int = 1
    steepness: float = 5.0
    gate: float = -0.5
    rate: float = 1e-3
    tolerance: float = 20.0
    cap: float = 0.1

    def __post_init__(self) -> None:
        check_every("CausalR3", self.every)
        if min(self.steepness, self.rate, self.tolerance, self.cap) <= 0:
            raise ConfigError(f"CausalR3: steepness, rate, tolerance and cap must be positive, got {self}.")

    def redraw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        source = uniform(stream.generator(step))
        if state is None:
            return self._gated(
                site.rows(source, site.count), torch.tensor(self.gate, dtype=torch.float64), site
            )
        rows = state["rows"]
        gate = state.get("gate", torch.tensor(self.gate, dtype=torch.float64))  # after another sampler: new
        fitness = site.score(rows).cpu()
        if site.time is not None:
            fitness = self.openness(site.time(rows), gate) * fitness
        moved = self.moved(gate, fitness.double().square().mean())
        return self._gated(renewed(rows, fitness, site, source), moved, site)

    def openness(self, t: Tensor, gate: Tensor) -> Tensor:
        """g at times t, with the gate at ``gate``."""
        return (1 - torch.tanh(self.steepness * (t - gate))) / 2

    def moved(self, gate: Tensor, loss: Tensor) -> Tensor:
        """Where the gate is after a draw with this mean square of the gated residual."""
        step = self.rate * torch.exp(-self.tolerance * loss).clamp(max=self.cap)
        return torch.where(gate > _FULLY_OPEN, gate, gate + step)

    def _gated(self, rows: Tensor, gate: Tensor, site: Site) -> State:
        if site.time is None:
            return {"rows": rows}
        return {"rows": rows, "weight": self.openness(site.time(rows), gate).square(), "gate": gate}
