"""The self-scaled Broyden family: dense quasi-Newton methods for ill-conditioned losses."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from sciml.errors import ConfigError
from sciml.optimizers.quasi_newton import QuasiNewton

_MOST = 20_000  # parameters: 3.2 GB of float64


class SelfScaledBroyden(QuasiNewton):
    r"""Dense quasi-Newton method whose inverse Hessian is scaled anew at each update.

    With the step :math:`s`, the change of the gradient :math:`y`, :math:`\rho = 1 / y^T s` and
    :math:`v = \rho s - H y / (y^T H y)` the inverse Hessian becomes

    .. math::

        H^+ = \frac{1}{\tau} \left( H - \frac{H y y^T H}{y^T H y} + \varphi\, (y^T H y)\, v v^T \right)
        + \rho s s^T,

    which maps :math:`y` to :math:`s` whatever :math:`\varphi` (BFGS: 1) and :math:`\tau` (1 without scaling).
    Both are chosen from :math:`b = s^T H^{-1} s / y^T s` and :math:`h = y^T H y / y^T s`, see `family`.  An
    iteration costs one product with H and one update of it, 24 P^2 bytes of memory traffic for P parameters,
    and one evaluation of the loss or a few.

    Parameters
    ----------
    params : iterable of parameters
        Real, float64 if it shall be precise, at most 20 000 numbers together.
    family : "broyden", "bfgs" or "unscaled"
        The self-scaled Broyden method of Al-Baali, its BFGS member (:math:`\varphi = 1`,
        :math:`\tau = \min(1, 1/b)`), or plain BFGS.
    iterations, decrease, curvature, tolerance
        See `sciml.optimizers.quasi_newton.QuasiNewton`.

    Source: Al-Baali, *Comput. Optim. Appl.* 9 (1998) 191; Urbán, Stefanou and Pons, *J. Comput. Phys.* 523
    (2025) 113656, equations 11 to 20.

    Examples
    --------
    >>> x = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
    >>> optimizer = SelfScaledBroyden([x], iterations=60)
    >>> def rosenbrock():
    ...     optimizer.zero_grad()
    ...     loss = 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
    ...     loss.backward()
    ...     return loss.item()
    >>> optimizer.step(rosenbrock)
    24.199999999999996
    >>> bool((x - 1).abs().max() < 1e-7)
    True
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        family: Literal["broyden", "bfgs", "unscaled"] = "broyden",
        iterations: int = 20,
        decrease: float = 1e-4,
        curvature: float = 0.9,
        tolerance: float = 0.0,
    ) -> None:
        if family not in ("broyden", "bfgs", "unscaled"):
            raise ConfigError(
                f"SelfScaledBroyden: family is 'broyden', 'bfgs' or 'unscaled', got {family!r}."
            )
        super().__init__(
            params,
            iterations=iterations,
            decrease=decrease,
            curvature=curvature,
            tolerance=tolerance,
            family=family,
        )
        if self._flat.size > _MOST:
            raise ConfigError(
                f"SelfScaledBroyden: {self._flat.size} parameters need a matrix of "
                f"{8 * self._flat.size**2 / 1e9:.1f} GB; use sciml.optimizers.LBFGS, or fewer than {_MOST}."
            )

    def _direction(self, gradient: Tensor) -> Tensor:
        inverse: Tensor | None = self._memory.get("inverse")
        if inverse is None:
            return -gradient
        # Rounding of the updates makes it lose its symmetry little by little.
        inverse.copy_((inverse + inverse.T) / 2)
        return -(inverse @ gradient)

    def _forget(self) -> None:
        self._memory.clear()

    def _learn(self, s: Tensor, y: Tensor, step: float, gradient: Tensor) -> Tensor:
        memory = self._memory
        inverse: Tensor | None = memory.get("inverse")
        old = s / -step  # H g before the step, since s = -step H g
        fresh = inverse is None
        image = gradient if inverse is None else inverse @ gradient
        turn = float(y @ s)
        if not turn > torch.finfo(s.dtype).eps * float(s.norm() * y.norm()):
            return -image
        if inverse is None:
            inverse = torch.eye(len(s), dtype=s.dtype, device=s.device)
            memory["inverse"] = inverse
        w = image - old  # H y
        q = float(y @ w)
        # s' H^-1 s: H^-1 s = -step g, and g = gradient - y.
        b = -step * float(s @ gradient - s @ y) / turn
        scale, share = _scales(self.param_groups[0]["family"], b, q / turn, len(s), first=fresh)
        rho = 1 / turn
        middle = torch.tensor(
            [
                [share * q * rho * rho / scale + rho, -share * rho / scale],
                [-share * rho / scale, (share - 1) / (q * scale)],
            ],
            dtype=s.dtype,
            device=s.device,
        )
        both = torch.stack([s, w], dim=1)
        left = both @ middle
        inverse.addmm_(left, both.T, beta=1 / scale)
        memory["learned"] = memory.get("learned", 0) + 1
        return -(image / scale + left @ (both.T @ gradient))


def _scales(family: str, b: float, h: float, size: int, *, first: bool) -> tuple[float, float]:
    r"""The divisor :math:`\tau` and the share :math:`\varphi` of an update.

    b h >= 1 by the inequality of Cauchy and Schwarz, up to rounding.
    """
    if family == "unscaled":
        return (h if first else 1.0), 1.0
    if family == "bfgs":
        return (h if first else min(1.0, 1 / b)), 1.0
    a = max(0.0, b * h - 1)
    if a < 1e-14:
        theta = 0.0
    else:
        c = math.sqrt(a / (1 + a))
        least = min(1.0, h * (1 - c))
        theta = max((least - 1) / a, min(1 / least, (1 - b) / b))
    sigma = 1 + a * theta
    share = (1 - theta) / sigma
    if first:
        return h / sigma, share
    spread = sigma ** (1 / (1 - max(size, 2)))
    bound = min(1.0, 1 / b)
    if theta <= 0:
        return min(bound * spread, sigma), share
    return bound * min(spread, 1 / theta), share
