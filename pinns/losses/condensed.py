"""Residuals at points of which only what the equation and a network of few directions see of them is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sciml.calling import dtype_of
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.kernels.evaluation import evaluate
from sciml.kernels.forms import LineForm
from sciml.kernels.radial_product import squared_length
from sciml.objective import Batch, Term
from sciml.pinns.losses.loss import OnPoints
from sciml.pinns.networks.projected import Projected
from sciml.pinns.problem import Problem
from sciml.pinns.problems.ball import BallProblem, InsideBall
from sciml.pinns.residual import EQUATION, Residual
from sciml.pinns.sources import Random
from sciml.streams import Streams

_FEWEST = 4  # new points of a step: 20 000 in 5000 steps


@describable
class Condensed(OnPoints):
    r"""``mean r^2`` over points x that are kept as ``(V^T x + b, |x|^2, g(x))``, whatever their dimension.

    The residual of ``Laplace(u) + r(u) = g`` for ``u = (1 - |x|^2) N(V^T x + b)`` needs no more of a point,
    as V does not change: ``Laplace(N)`` goes along the lines of ``V^T V``, and ``x . grad N`` along
    ``V^T x``.  So a point costs what its dimension costs once, when it is made, and 12 numbers after that.
    Each step makes some new points, and takes its own at random from the last ones.

    Parameters
    ----------
    problem : BallProblem
        For models that are built of a `Projected` network.
    points : int
        Of a step; so many are made at the first one.
    kept : int
        The last points that are kept.
    numbers : int
        That make up the new points of a step: ``numbers / dim`` points, at least 4, at most ``points``.

    Raises
    ------
    ConfigError
        For another problem, another model, or sizes below 1.

    Notes
    -----
    While ``dim <= numbers / points`` every step has as many new points as it takes.

    Examples
    --------
    >>> from sciml.pinns import problems
    >>> problem = problems.SineGordon(dim=5000, interaction="hidden")
    >>> loss = Condensed(problem, points=8)
    >>> batch = loss.draw(0, problem.build(Projected), Streams(0))
    >>> batch["equation/rows"].shape
    torch.Size([8, 12])
    """

    def __init__(
        self, problem: Problem, *, points: int = 500, kept: int = 20_000, numbers: int = 2**17
    ) -> None:
        if not isinstance(problem, BallProblem):
            raise ConfigError(
                f"Condensed: needs a BallProblem, got {type(problem).__name__}; take the loss Residual."
            )
        if min(points, numbers) < 1 or kept < points:
            raise ConfigError(
                "Condensed: points and numbers must be at least 1 and kept at least points, got "
                f"{points}, {numbers} and {kept}."
            )
        super().__init__(Residual(problem, points=points))
        self.problem: BallProblem = problem
        self._points, self._most = points, kept
        self._new = min(points, max(_FEWEST, numbers // problem.dim))
        self._kept: Tensor | None = None

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        source = streams.of("points/equation")
        device, dtype = next(model.parameters()).device, dtype_of(model)
        before = self._kept
        random = Random(source.generator(step, device), dtype)
        x = self.problem.domain.interior(random, self._points if before is None else self._new)
        rows = self._condensed(_network(model), x)
        self._kept = rows if before is None else torch.cat([before.to(rows), rows])[-self._most :]
        chosen = torch.randint(len(self._kept), (self._points,), generator=source.generator(step))
        return Batch({f"{EQUATION}/rows": self._kept[chosen.to(device)]})

    @torch.no_grad()
    def _condensed(self, network: Projected, x: Tensor) -> Tensor:
        apart = [squared_length(x), self.problem.right_side(x)]
        return torch.cat([network.projection(x), torch.stack(apart, dim=1)], dim=1)

    def equation(self, model: nn.Module, x: Tensor, batch: Batch) -> dict[str, Term]:
        """The term at what is kept of points, (n, directions + 2)."""
        network = _network(model)
        assert isinstance(model, InsideBall)
        layer = network.projection
        seen, length, right = x[:, :-2], x[:, -2], x[:, -1]
        operators = [LineForm(2, layer.root), LineForm(1, (seen - layer.bias)[None])]
        value, laplacian, outward = evaluate(nn.Sequential(*tuple(network)[1:]), seen, operators)
        value, whole = model.assemble(length, self.problem.dim, value, outward, [laplacian])
        return {EQUATION: Term(whole + self.problem.reaction(value) - right, square=True)}

    def check(self, model: nn.Module) -> None:
        _network(model)

    def state_dict(self) -> dict[str, Any]:
        rows = {} if self._kept is None else {EQUATION: {"rows": self._kept}}
        return {**self._inner.state_dict(), "points": rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._inner.load_state_dict({**state, "points": {}})
        self._kept = state["points"][EQUATION]["rows"] if state["points"] else None


def _network(model: nn.Module) -> Projected:
    if isinstance(model, InsideBall) and isinstance(model.network, Projected):
        return model.network
    raise ConfigError(
        "Condensed: the model must be problem.build(...) of a Projected network, conditions built in, got "
        f"{type(model).__name__}."
    )
