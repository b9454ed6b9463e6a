"""Energy natural gradient: Gauss-Newton steps by a cut-off inverse, with a length from a grid."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from sciml.errors import ConfigError
from sciml.optimizers.gauss_newton import GaussNewton, Place, Residuals, Side, toward
from sciml.optimizers.linearization import Linearization

_HALVINGS = 30


class EnergyNaturalGradient(GaussNewton):
    r"""Natural gradient in the metric of the residuals, for losses that are sums of squares.

    The Gram matrix of the map from weights to residuals r with the Jacobian J is :math:`G = J^T J`: as r has
    weights and means in it, the sum over terms of :math:`\lambda_k / N_k \sum_i \partial_\theta F_k(x_i)\,
    \partial_\theta F_k(x_i)^T`.  The direction

    .. math:: d = -G^+ J^T r = -J^T (J J^T)^+ r

    moves the function, not the weights, straight to the solution.  The inverse leaves out eigenvectors of
    small eigenvalues.  As everywhere here the loss is :math:`r^T r` without a factor 1/2: :math:`J^T r` is
    half of its gradient and G half of its Gauss-Newton matrix, so the 2 cancels, and length 1 is exact where
    r is linear.  The length is one of :math:`2^0, 2^{-1}, \ldots, 2^{-30}`: the first at which the loss is
    below where it began and not above that of half the length.

    With ``system="samples"``, damping and momentum it is ENGD-W and SPRING.

    One `step` makes ``iterations`` iterations on one batch.

    Parameters
    ----------
    params : iterable of parameters
        Real, float64 if it shall be precise; a thousand or two, or few residuals, since eigenvectors are made
        of a full matrix.
    iterations : int
        Of one step.
    system : "smaller", "samples" or "parameters"
        Of which of the two matrices, :math:`J J^T` or :math:`J^T J`; the step is the same.
    cutoff : float, in [0, 1)
        Eigenvalues up to this share of the greatest are left out.  Smaller ones lead the direction astray far
        from the solution, and bring the last digits near it.
    damping : float
        :math:`\mu`, added to the eigenvalues that stay.
    momentum : float, in [0, 1)
        Share :math:`\beta` of the last direction p that a direction stays close to: the minimum of
        :math:`|r + J d|^2 + \mu |d - \beta p|^2`.  For new points at every step.
    tolerance : float
        A step ends when no entry of :math:`J^T r` is greater.

    Attributes
    ----------
    stopped : str or None
        Why the last step ended before its iterations were over.

    Raises
    ------
    ConfigError
        For settings out of range or parameters that make no vector.

    Notes
    -----
    `LevenbergMarquardt` goes the same way without cut-off and grid: its damping is what shortens steps, and
    turns them to the gradient, where the residuals bend; it adds the acceleration of the geodesic.

    The public code evaluates all 31 lengths and takes the best; here the search ends at the first minimum,
    which is at length 1 near the solution.  Its cut-off is the rounding of the matrix, with which a small
    network of two hidden layers hardly moved on Poisson's equation in 20 iterations; with 1e-10 it arrived.
    Momentum is left out where it leads upward.

    Source: Müller and Zeinhofer, *Achieving High Accuracy with PINNs via Energy Natural Gradient Descent*
    (ICML 2023); Goldshlager, Abrahamsen and Lin, *J. Comput. Phys.* 516 (2024) 113351, for samples and
    momentum.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
    >>> class Rosenbrock:
    ...     def residuals(self):
    ...         return torch.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])
    >>> optimizer = EnergyNaturalGradient([x], iterations=30)
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
        system: Side = "smaller",
        cutoff: float = 1e-10,
        damping: float = 0.0,
        momentum: float = 0.0,
        tolerance: float = 0.0,
    ) -> None:
        if system not in ("smaller", "samples", "parameters"):
            raise ConfigError(
                f"EnergyNaturalGradient: system is 'smaller', 'samples' or 'parameters', got {system!r}."
            )
        fits = iterations >= 1 and damping >= 0 and tolerance >= 0
        if not (fits and 0 <= cutoff < 1 and 0 <= momentum < 1):
            raise ConfigError(
                "EnergyNaturalGradient: needs iterations >= 1, damping and tolerance >= 0, 0 <= cutoff < 1 "
                f"and 0 <= momentum < 1, got {iterations}, {damping}, {tolerance}, {cutoff} and {momentum}."
            )
        settings = {
            "iterations": iterations,
            "system": system,
            "cutoff": cutoff,
            "damping": damping,
            "momentum": momentum,
            "tolerance": tolerance,
        }
        super().__init__(params, settings)

    def _linearized(self, r: Tensor, jacobian: Residuals | None) -> Linearization:
        group = self.param_groups[0]
        return self._dense(
            r,
            jacobian,
            group["system"],
            cutoff=group["cutoff"],
            instead="sciml.optimizers.LevenbergMarquardt with system='matrix-free'",
        )

    def _lower(self, residuals: Residuals, place: Place, linear: Linearization) -> Place | None:
        group, start = self.param_groups[0], self._momentum()
        for near in (None,) if start is None else (start, None):
            direction = toward(linear, place.r.detach(), near, group["damping"])
            assert direction is not None
            found = self._best(residuals, place, direction)
            if found is not None:
                if group["momentum"]:
                    self._memory["last"] = direction
                return found
        self.stopped = "no step along the natural gradient makes the loss smaller"
        return None

    def _best(self, residuals: Residuals, place: Place, direction: Tensor) -> Place | None:
        """The first minimum on the grid of lengths that is below where it began."""
        best, least = None, place.loss
        for k in range(_HALVINGS + 1):
            found = self._at(residuals, place.values + 2.0**-k * direction)
            if found.loss < least:
                best, least = found, found.loss
            elif best is not None:
                # The closure's Jacobian belongs to what it was asked last.
                return self._at(residuals, best.values)
        return best

    def _at(self, residuals: Residuals, values: Tensor) -> Place:
        self._flat.assign(values)
        return Place(values, residuals())
