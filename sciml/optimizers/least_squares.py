"""Levenberg-Marquardt: Gauss-Newton steps for sums of squares, damped by what the last ones achieved."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from sciml.errors import ConfigError
from sciml.optimizers.gauss_newton import GaussNewton, Place, Residuals, squares, toward
from sciml.optimizers.linearization import Linearization, Products

_START = 1e-3  # damping as a share of the mean eigenvalue
_ENOUGH = 1e-4  # of the promised decrease
_TRIES = 25  # with growing damping
_PROBE = 0.1  # of a step, from where its bend is seen
_BEND = 0.75  # of a step's length, at most


class LevenbergMarquardt(GaussNewton):
    r"""Damped Gauss-Newton method for losses that are sums of squares.

    With residuals r, their Jacobian J and the damping :math:`\mu` the step is

    .. math:: d = -(J^T J + \mu I)^{-1} J^T r = -J^T (J J^T + \mu I)^{-1} r,

    solved in the space of parameters or in that of samples, whichever is smaller.  There is no factor 1/2:
    the loss is :math:`r^T r`, its gradient :math:`2 J^T r`, and the matrix of Gauss and Newton
    :math:`2 J^T J`, so the 2 cancels, and the whole step is exact where r is linear.  To d is added the
    acceleration of the geodesic that it begins, :math:`-\frac12 (J^T J + \mu I)^{-1} J^T r_{dd}`, with the
    second derivative :math:`r_{dd}` along d from one evaluation more: losses of networks are narrow, bent
    valleys, in which straight steps are short.

    One `step` makes ``iterations`` iterations on one batch.  The step is taken if the loss falls, and the
    damping follows the share :math:`\rho` of the decrease that the linear model promised: it is multiplied by
    :math:`\max(1/3, 1 - (2 \rho - 1)^3)` after success, and doubled, then multiplied by 4, 8, ... after
    failures.  It is kept from batch to batch.

    Parameters
    ----------
    params : iterable of parameters
        Real, float64 if it shall be precise.
    iterations : int
        Of one step.
    system : "smaller", "samples", "parameters" or "matrix-free"
        Which equations are solved, by Cholesky factors; or by conjugate gradients with products of J, where
        J is too large.
    damping : float, optional
        At the start; a thousandth of the mean eigenvalue by default.
    momentum : float, in [0, 1)
        Share :math:`\beta` of the last step p that a step stays close to, as in SPRING: the minimum of
        :math:`|r + J d|^2 + \mu |d - \beta p|^2`.  For new points at every step.
    tolerance : float
        A step ends when no entry of :math:`J^T r` is greater.
    accuracy, products : float, int
        Of conjugate gradients, see `sciml.optimizers.linearization.Products`.

    Attributes
    ----------
    stopped : str or None
        Why the last step ended before its iterations were over.

    Raises
    ------
    ConfigError
        For settings out of range or parameters that make no vector.

    Source: Madsen, Nielsen and Tingleff, *Methods for Non-Linear Least Squares Problems* (2004), algorithm
    3.16; Transtrum and Sethna, *Improvements to the Levenberg-Marquardt Algorithm* (2012), section 3, for the
    acceleration; Müller and Zeinhofer, *Achieving High Accuracy with PINNs via Energy Natural Gradient
    Descent* (2023); Goldshlager, Abrahamsen and Lin, *J. Comput. Phys.* 516 (2024) 113351, for the momentum.

    Examples
    --------
    >>> x = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
    >>> class Rosenbrock:
    ...     def residuals(self):
    ...         return torch.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])
    >>> optimizer = LevenbergMarquardt([x], iterations=30)
    >>> round(optimizer.step(Rosenbrock()), 3)
    24.2
    >>> bool((x - 1).abs().max() < 1e-10)
    True
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        iterations: int = 10,
        system: Literal["smaller", "samples", "parameters", "matrix-free"] = "smaller",
        damping: float | None = None,
        momentum: float = 0.0,
        tolerance: float = 0.0,
        accuracy: float = 1e-6,
        products: int = 200,
    ) -> None:
        if system not in ("smaller", "samples", "parameters", "matrix-free"):
            raise ConfigError(
                "LevenbergMarquardt: system is 'smaller', 'samples', 'parameters' or 'matrix-free', got "
                f"{system!r}."
            )
        fits = iterations >= 1 and products >= 1 and 0 <= momentum < 1 and tolerance >= 0 and accuracy > 0
        if not fits or (damping is not None and not damping >= 0):
            raise ConfigError(
                "LevenbergMarquardt: needs iterations and products >= 1, damping and tolerance >= 0, 0 <= "
                f"momentum < 1 and accuracy > 0, got {iterations}, {products}, {damping}, {tolerance}, "
                f"{momentum} and {accuracy}."
            )
        settings = {
            "iterations": iterations,
            "system": system,
            "damping": damping,
            "momentum": momentum,
            "tolerance": tolerance,
            "accuracy": accuracy,
            "products": products,
        }
        super().__init__(params, settings)

    def _linearized(self, r: Tensor, jacobian: Residuals | None) -> Linearization:
        group = self.param_groups[0]
        if group["system"] == "matrix-free":
            return Products(r, self._flat.parameters, accuracy=group["accuracy"], most=group["products"])
        return self._dense(r, jacobian, group["system"], instead="system='matrix-free'")

    def _lower(self, residuals: Residuals, place: Place, linear: Linearization) -> Place | None:
        memory, momentum = self._memory, self.param_groups[0]["momentum"]
        if "damping" not in memory:
            scale, given = linear.scale(), self.param_groups[0]["damping"]
            memory["damping"] = _START * scale if given is None else float(given)
            memory["least"] = torch.finfo(place.r.dtype).eps * scale
            memory["growth"] = 2.0
        start = self._momentum()
        failures = 0
        while failures < _TRIES:
            step = toward(linear, place.r.detach(), start, memory["damping"])
            # Momentum leads where it does, whatever the damping; the second attempt goes without.
            pulled, start = start is not None, None
            if step is not None:
                promised = place.loss - squares(place.r + linear.along(step))
                if not pulled and promised <= 8 * math.ulp(place.loss):
                    break
                found, linear = self._tried(residuals, place, linear, step)
                share = (place.loss - found.loss) / promised if found and promised > 0 else -math.inf
                if found and share > _ENOUGH:
                    self._damp(max(1 / 3, 1 - (2 * share - 1) ** 3))
                    memory["growth"] = 2.0
                    if momentum:
                        memory["last"] = step
                    return found
                if found:
                    linear = self._back(residuals, place, linear)
            if not pulled:
                failures += 1
                self._damp(memory["growth"])
                memory["growth"] *= 2
        self.stopped = "no damping makes the loss smaller" if failures else "the loss is down to its rounding"
        return None

    def _damp(self, factor: float) -> None:
        self._memory["damping"] = max(self._memory["damping"] * factor, self._memory["least"])

    def _tried(
        self, residuals: Residuals, place: Place, linear: Linearization, step: Tensor
    ) -> tuple[Place | None, Linearization]:
        """Where the step and its acceleration lead, unless it bends too much; and J, perhaps made anew."""
        slope = linear.along(step)
        self._flat.assign(place.values + _PROBE * step)
        bend = 2 / _PROBE * ((residuals().detach() - place.r.detach()) / _PROBE - slope)
        linear = self._back(residuals, place, linear)
        turn = linear.solve(bend, self._memory["damping"])
        if turn is None or not float(turn.norm()) <= _BEND * float(step.norm()):
            return None, linear
        values = place.values + step - turn / 2
        self._flat.assign(values)
        return Place(values, residuals()), linear

    def _back(self, residuals: Residuals, place: Place, linear: Linearization) -> Linearization:
        """The same J after the parameters were changed: products belong to the graph of the old values."""
        if not isinstance(linear, Products):
            return linear
        self._flat.assign(place.values)
        return self._linearized(residuals(), None)
