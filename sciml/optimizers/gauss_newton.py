"""What methods for sums of squares share: residuals, their Jacobian, iterations, and why they stopped."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from sciml.errors import ConfigError
from sciml.optimizers.asking import asked
from sciml.optimizers.flat import Flat
from sciml.optimizers.linearization import Dense, Linearization, by_rows

_MOST = 2_000_000_000  # bytes of a Jacobian

Residuals = Callable[[], Tensor]
Side = Literal["smaller", "samples", "parameters"]


class GaussNewton(Optimizer):
    """Minimizes ``r @ r`` by steps along which r is linear to first order.

    One `step` makes ``iterations`` iterations on one batch.

    Parameters
    ----------
    params : iterable of parameters
        Real, of one dtype, in one group.
    settings : mapping
        ``iterations``, ``momentum``, ``tolerance`` and those of the method.

    Attributes
    ----------
    stopped : str or None
        Why the last step ended before its iterations were over.

    Raises
    ------
    ConfigError
        For parameters that make no vector.
    """

    def __init__(self, params: Iterable[Tensor], settings: dict[str, Any]) -> None:
        super().__init__(params, {"lr": 1.0, **settings})  # the whole step, for the trainer's log
        self._flat = Flat(self)
        self.stopped: str | None = None

    @property
    def _memory(self) -> dict[str, Any]:
        """What is kept from batch to batch; saved with the first parameter."""
        found: dict[str, Any] = self.state[self._flat.parameters[0]]
        return found

    @abstractmethod
    def _linearized(self, r: Tensor, jacobian: Residuals | None) -> Linearization:
        """What the residuals are to first order."""

    @abstractmethod
    def _lower(self, residuals: Residuals, place: Place, linear: Linearization) -> Place | None:
        """A place with a smaller loss; if there is none, None, and why it stopped."""

    def step(self, closure: Callable[[], float]) -> float:  # type: ignore[override]
        """Iterations on one batch.

        Parameters
        ----------
        closure : object
            Its ``residuals()`` returns r (n,) with its graph; it may have ``jacobian()``, which returns the
            derivatives (n, P) of the last residuals.  That of `sciml.Trainer` has both.

        Returns
        -------
        float
            The loss ``r @ r`` before the iterations.
        """
        residuals = asked(self, closure, "residuals", "the vector r with loss = r @ r")
        with torch.no_grad():
            return self._iterate(residuals, getattr(closure, "jacobian", None))

    def _iterate(self, residuals: Residuals, jacobian: Residuals | None) -> float:
        group, flat = self.param_groups[0], self._flat
        self.stopped = None
        place = Place(flat.values(), residuals())
        first = place.loss
        if not math.isfinite(first):
            return first
        for _ in range(group["iterations"]):
            linear = self._linearized(place.r, jacobian)
            if float(linear.back(place.r.detach()).abs().max()) <= group["tolerance"]:
                self.stopped = f"the gradient is at most {group['tolerance']:g}"
                break
            found = self._lower(residuals, place, linear)
            if found is None:
                flat.assign(place.values)
                self._memory.clear()
                break
            place = found
        return first

    def _dense(
        self, r: Tensor, jacobian: Residuals | None, side: Side, *, cutoff: float | None = None, instead: str
    ) -> Dense:
        """J as a matrix."""
        size = r.element_size() * len(r) * self._flat.size
        if size > _MOST:
            raise ConfigError(
                f"{type(self).__name__}: the Jacobian of {len(r)} residuals by {self._flat.size} parameters "
                f"takes {size / 1e9:.1f} GB; use {instead}, or fewer points."
            )
        matrix = by_rows(r, self._flat.parameters) if jacobian is None else jacobian()
        chosen = {"samples": True, "parameters": False, "smaller": len(r) < self._flat.size}
        return Dense(matrix.detach(), samples=chosen[side], cutoff=cutoff)

    def _momentum(self) -> Tensor | None:
        """What the next step stays close to, if anything."""
        share, memory = self.param_groups[0]["momentum"], self._memory
        return share * memory["last"] if "last" in memory else None


@dataclass(eq=False)
class Place:
    """Values of the parameters, and their residuals with the graph."""

    values: Tensor
    r: Tensor

    def __post_init__(self) -> None:
        self.loss = squares(self.r)


def squares(r: Tensor) -> float:
    """``r @ r``."""
    return float(r.detach() @ r.detach())


def toward(linear: Linearization, r: Tensor, start: Tensor | None, damping: float) -> Tensor | None:
    """The minimum of ``|r + J d|^2 + damping |d - start|^2``; None where rounding leaves none."""
    if start is None:
        found = linear.solve(r, damping)
        return None if found is None else -found
    found = linear.solve(r + linear.along(start), damping)
    return None if found is None else start - found
