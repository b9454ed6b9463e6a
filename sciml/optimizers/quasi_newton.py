"""What quasi-Newton methods share: iterations on one batch, line search, restart, and why they stopped."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from sciml.errors import ConfigError
from sciml.optimizers.flat import Flat
from sciml.optimizers.line_search import Point, strong_wolfe

_STILL = 10  # iterations


class QuasiNewton(Optimizer):
    """Minimizes by directions from the gradients of earlier iterations, each with a line search.

    One `step` makes ``iterations`` iterations on one batch.  What was learned of the curvature is kept from
    batch to batch; where it misleads, so that no step along its direction falls, it is forgotten once.

    Parameters
    ----------
    params : iterable of parameters
        Real, of one dtype, in one group.
    iterations : int
        Of one step.
    decrease, curvature : float
        Of the line search, see `sciml.optimizers.line_search.strong_wolfe`.
    tolerance : float
        A gradient whose greatest entry is not above this ends a step.

    Attributes
    ----------
    stopped : str or None
        Why the last step ended before its iterations were over.

    Raises
    ------
    ConfigError
        For settings out of range or parameters that make no vector.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        iterations: int,
        decrease: float,
        curvature: float,
        tolerance: float,
        **more: Any,
    ) -> None:
        who = type(self).__name__
        if iterations < 1 or not 0 < decrease < curvature < 1 or not tolerance >= 0:
            raise ConfigError(
                f"{who}: needs iterations >= 1, 0 < decrease < curvature < 1 and tolerance >= 0, got "
                f"{iterations}, {decrease}, {curvature} and {tolerance}."
            )
        defaults = {
            "lr": 1.0,  # the first step that a line search tries, for the trainer's log
            "iterations": iterations,
            "decrease": decrease,
            "curvature": curvature,
            "tolerance": tolerance,
            **more,
        }
        super().__init__(params, defaults)
        self._flat = Flat(self)
        self.stopped: str | None = None

    @property
    def _memory(self) -> dict[str, Any]:
        """What is saved with the first parameter."""
        found: dict[str, Any] = self.state[self.param_groups[0]["params"][0]]
        return found

    @abstractmethod
    def _direction(self, gradient: Tensor) -> Tensor:
        """The way down from where this is the gradient."""

    @abstractmethod
    def _learn(self, s: Tensor, y: Tensor, step: float, gradient: Tensor) -> Tensor:
        """Take up that ``s`` changed the gradient by ``y`` to ``gradient``; returns the next direction."""

    @abstractmethod
    def _forget(self) -> None:
        """All that was learned."""

    def step(self, closure: Callable[[], float]) -> float:  # type: ignore[override]
        """Iterations on one batch.

        Parameters
        ----------
        closure : callable
            Returns the loss, and leaves its gradient in the parameters.

        Returns
        -------
        float
            The loss before the iterations.
        """
        evaluated = torch.enable_grad()(closure)
        with torch.no_grad():
            return self._iterate(lambda: float(evaluated()))

    def _iterate(self, closure: Callable[[], float]) -> float:
        group, flat = self.param_groups[0], self._flat
        self.stopped = None
        place, value, gradient = flat.values(), closure(), flat.gradient()
        first = value
        if not math.isfinite(value):
            return value
        direction, still = self._direction(gradient), 0
        for _ in range(group["iterations"]):
            if float(gradient.abs().max()) <= group["tolerance"]:
                self.stopped = f"the gradient is at most {group['tolerance']:g}"
                break
            found = self._searched(closure, place, value, gradient, direction)
            if found is None and self._memory.get("learned", 0):
                self._forget()
                direction = -gradient
                found = self._searched(closure, place, value, gradient, direction)
            if found is None:
                flat.assign(place)
                self.stopped = "no step along the steepest descent makes the loss smaller"
                break
            still = still + 1 if value - found.value <= 8 * math.ulp(value) else 0
            if still == _STILL:
                self.stopped = f"the loss has not changed beyond rounding in {_STILL} iterations"
                break
            s = found.step * direction
            place, value, change = place + s, found.value, found.gradient - gradient
            gradient = found.gradient
            direction = self._learn(s, change, found.step, gradient)
        flat.assign(place)
        return first

    def _searched(
        self, closure: Callable[[], float], place: Tensor, value: float, gradient: Tensor, direction: Tensor
    ) -> Point | None:
        group, flat = self.param_groups[0], self._flat
        slope = float(gradient @ direction)
        if not slope < 0:
            return None

        def evaluate(step: float) -> tuple[float, Tensor, float]:
            flat.assign(place + step * direction)
            found = closure()
            there = flat.gradient()
            return found, there, float(there @ direction)

        # Before anything is learned the scale of the direction means nothing.
        first = 1.0 if self._memory.get("learned", 0) else min(1.0, 1 / float(gradient.abs().sum()))
        return strong_wolfe(
            evaluate,
            Point(0.0, value, gradient, slope),
            first,
            decrease=group["decrease"],
            curvature=group["curvature"],
        )
