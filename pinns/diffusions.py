"""The process behind a parabolic equation: what Monte Carlo, deep BSDE and forward-backward losses follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sciml.errors import ShapeError

Drift = Callable[[Tensor], Tensor]
Noise = Callable[[Tensor, Tensor], Tensor]
Driver = Callable[[Tensor, Tensor, Tensor], Tensor]
Transition = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Diffusion:
    r"""``u_t = tr(s s^T Hess u)/2 + m . grad u + f(x, u, s^T grad u)``, ``u(x, 0) = g(x)``, on all of space.

    t is the time to go, so that along ``dX = m dr + s dW`` from (x, t), r from 0 to t, whose points are
    ``(X_r, t - r)``, Ito's formula reads ``du = -f dr + (s^T grad u) . dW``, and ``u(x, 0) = g(x)`` is the
    value at the end of the path.  Without f it is ``u(x, t) = E g(X_t)``.

    Points are rows (n, d + 1), d coordinates of space, then t, for every function here.

    Parameters
    ----------
    start : function (n, d + 1) -> (n,)
        g.
    noise : function ((n, d + 1), (n, k)) -> (n, d)
        ``s(x) w``, linear in w.
    drift : function (n, d + 1) -> (n, d), optional
        m; zero without it.
    driver : function ((n, d + 1), (n,), (n, k)) -> (n,), optional
        f of the points, of u and of ``z = s^T grad u``, interest and sources included; zero without it.
    affine : bool
        Whether the driver is ``a(x) + b(x) u``, without z: the equation is linear then.
    columns : int, optional
        k, the columns of s; as many as there are coordinates by default.
    transition : function ((n, d + 1), (n,), (n, k)) -> (n, d), optional
        The position in space after times (n,) with increments ``W_r - W_0`` (n, k), where a formula for it is
        known; else one step of Euler and Maruyama, which is exact where drift and s are constant.

    Examples
    --------
    The heat equation ``u_t = Laplace(u)`` from ``|x|^2``, whose solution is ``|x|^2 + 2 d t``:

    >>> heat = Diffusion(lambda x: x[:, :-1].square().sum(1), lambda x, w: 2**0.5 * w)
    >>> x = torch.tensor([[1.0, 2.0, 3.0, 0.5]])
    >>> heat.step(x, torch.tensor([0.5]), torch.zeros(1, 3))
    tensor([[1., 2., 3., 0.]])
    >>> heat.linear, heat.width(x)
    (True, 3)
    """

    start: Callable[[Tensor], Tensor] = field(repr=False)
    noise: Noise = field(repr=False)
    drift: Drift | None = field(default=None, repr=False)
    driver: Driver | None = field(default=None, repr=False)
    affine: bool = False
    columns: int | None = None
    transition: Transition | None = field(default=None, repr=False)

    @property
    def linear(self) -> bool:
        """Whether u is a mean over paths: no driver, or one that is affine in u."""
        return self.driver is None or self.affine

    def width(self, x: Tensor) -> int:
        """k, the numbers that make up one increment."""
        return x.shape[1] - 1 if self.columns is None else self.columns

    def step(self, x: Tensor, duration: Tensor, w: Tensor) -> Tensor:
        """Points (n, d + 1) after times (n,) with increments (n, k) of variance ``duration`` each.

        The last column counts down.
        """
        if self.transition is not None:
            space = self.transition(x, duration, w)
        else:
            space = x[:, :-1] + self.noise(x, w)
            if self.drift is not None:
                space = space + self.drift(x) * duration[:, None]
        return torch.cat([space, x[:, -1:] - duration[:, None]], dim=1)

    def transposed(self, x: Tensor, gradient: Tensor) -> Tensor:
        """``z = s(x)^T gradient``, (n, k), for gradients (n, d) in space; differentiable in them."""
        recorded = torch.is_grad_enabled()
        with torch.enable_grad():
            w = gradient.new_zeros(len(x), self.width(x)).requires_grad_()
            moved = self.noise(x, w)
            if moved.shape != gradient.shape:
                raise ShapeError(
                    f"Diffusion: noise(x, w) must map increments {tuple(w.shape)} to moves in space "
                    f"{tuple(gradient.shape)}, got {tuple(moved.shape)}."
                )
            (z,) = torch.autograd.grad(moved, w, gradient, create_graph=recorded)
        return z

    def growth(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``a`` and ``b`` (n,) of an affine driver ``a(x) + b(x) u``; zeros without a driver."""
        nothing = x.new_zeros(len(x))
        if self.driver is None:
            return nothing, nothing
        z = x.new_zeros(len(x), self.width(x))
        source = self.driver(x, nothing, z)
        return source, self.driver(x, nothing + 1, z) - source
