"""Forward-backward networks: Ito's formula at every step of a path, or over longer pieces of it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.objective import Batch, Term
from sciml.pinns.conditions import Initial, names_of
from sciml.pinns.gradients import value_and_gradient
from sciml.pinns.losses.paths import PathLoss, slope_of
from sciml.pinns.problem import Problem
from sciml.streams import Streams


@describable
class ForwardBackward(PathLoss):
    r"""By how much u misses Ito's formula between points of a path, and g at its end.

    .. math::

        \sum_j \Big( u(X_{j+s}) - u(X_j)
            - \sum_{i=j}^{j+s-1} \big( \sigma^T \nabla u(X_i) \cdot \Delta W_i - f_i\,\Delta t \big) \Big)^2
        + (u - g)^2(X_N) + |\nabla u - \nabla g|^2(X_N)

    in the mean over paths of Euler and Maruyama, where j goes in strides of s = ``span``.  With s = 1 these
    are forward-backward networks; with s = ``steps`` the whole path is one piece, as in `BackwardSDE`, but f
    is taken at u instead of Y, so nothing is followed from step to step: the diffusion loss, which
    interpolates between the residual (short pieces) and backward equations (long ones).

    With ``pairs`` two independent pieces begin at each X_j, and the first sum becomes the mean of the product
    of what they miss, over the square of their length in time.

    Parameters
    ----------
    problem, points, steps, at, anytime, weights
        See `sciml.pinns.losses.paths.PathLoss`.  The terms are ``path``, ``final`` and ``slope``; the last
        two are left out where the model has its start built in.
    span : int
        s, which divides ``steps``.
    pairs : bool
        See above, and below.

    Raises
    ------
    ConfigError
        If the problem has no diffusion, or a number is out of range.

    Notes
    -----
    Over a step of length h what is missed is ``h r``, r the residual of the equation, plus an error of the
    order of h with mean zero, ``tr(S (dW dW^T - h I))/2`` with ``S = s^T Hess(u) s``: the error of
    Hutchinson's estimate of the trace with one normal vector.  So the mean square, over ``h^2``, is ``r^2 +
    |S|^2/2`` whatever the step: single steps, as published, have a bias towards small second derivatives,
    which pieces of s steps divide by s.  Products of independent pairs are without it.

    Source: Raissi, Forward-backward stochastic neural networks (2018), arXiv:1804.07010, whose sums
    over paths are means here; for s > 1 Nuesken and Richter, Interpolating between BSDEs and PINNs, J. Mach.
    Learn. 2 (2023), arXiv:2112.03749.

    Examples
    --------
    >>> from sciml import Streams
    >>> from sciml.pinns.networks import MLP
    >>> from sciml.pinns.problems import HeatInSpace
    >>> problem = HeatInSpace(dim=3)
    >>> loss = ForwardBackward(problem, points=5, steps=4)
    >>> model = problem.build(MLP, hard=False)
    >>> {name: term.values.shape for name, term in loss.terms(model, loss.draw(0, model, Streams())).items()}
    {'path': torch.Size([5, 4]), 'final': torch.Size([5]), 'slope': torch.Size([5, 3])}
    """

    names = ("path", "final", "slope")

    def __init__(
        self,
        problem: Problem,
        *,
        points: int | Mapping[str, int] = 128,
        steps: int = 20,
        span: int = 1,
        pairs: bool = False,
        at: float | tuple[float, ...] | None = None,
        anytime: bool = True,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(problem, points, steps, at, anytime, weights)
        if span < 1 or steps % span:
            raise ConfigError(f"ForwardBackward: span divides the {steps} steps of a path, got {span}.")
        self.span, self.pairs = span, pairs

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        batch = super().draw(step, model, streams)
        if not self.pairs:
            return batch
        paths = batch["paths"]
        times = paths[:, :, -1].unfold(1, self.span + 1, self.span)
        generator = streams.of("pairs").generator(step, paths.device)
        again = self.follow(paths[:, : -1 : self.span].flatten(0, 1), times.flatten(0, 1), generator)
        others, increments = (tensor.unflatten(0, times.shape[:2]) for tensor in again)
        return Batch({**batch.tensors, "others": others, "other increments": increments})

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        paths = batch["paths"]
        end = paths[:, -1]
        if self._has_start(model):
            values, final = model(end), {}
        else:
            values, gradient = value_and_gradient(model, end)
            slope = gradient[:, :-1] - slope_of(self.process.start, end)
            final = {
                "final": Term(values - self.process.start(end), self.weights["final"], square=True),
                "slope": Term(slope, self.weights["slope"] * slope.shape[1], square=True),
            }
        return {
            "path": self._path(self._missed(model, paths, batch["increments"], values), model, batch),
            **final,
        }

    def _path(self, missed: Tensor, model: nn.Module, batch: Batch) -> Term:
        # Means over paths: of sums over pieces, or of a mean.
        if not self.pairs:
            return Term(missed, self.weights["path"] * missed.shape[1], square=True)
        others = batch["others"].flatten(0, 1)
        again = self._missed(model, others, batch["other increments"].flatten(0, 1), model(others[:, -1]))
        length = (others[:, 0, -1] - others[:, -1, -1]).reshape(missed.shape)
        return Term(missed * again.reshape(missed.shape) / length.square(), self.weights["path"])

    def _missed(self, model: nn.Module, paths: Tensor, increments: Tensor, last: Tensor) -> Tensor:
        """By how much u misses Ito's formula on each piece of paths with values ``last`` in the end."""
        found = self.along(model, paths, increments)
        x, u, z = (tensor.flatten(0, 1) for tensor in (paths[:, :-1], found.values, found.z))
        rates = self.drive(x, u, z).reshape(found.values.shape)
        moves = found.moves - rates * self.durations(paths)
        knots = found.values[:, :: self.span]
        later = torch.cat([knots[:, 1:], last[:, None]], dim=1)
        missed: Tensor = later - knots - moves.unflatten(1, (-1, self.span)).sum(2)
        return missed

    def _has_start(self, model: nn.Module) -> bool:
        conditions = self.problem.conditions
        starts = [n for n, c in zip(names_of(conditions), conditions, strict=True) if isinstance(c, Initial)]
        return bool(starts) and set(starts) <= set(getattr(model, "satisfies", ()))
