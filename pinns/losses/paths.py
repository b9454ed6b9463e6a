"""Paths of the process behind a parabolic equation, and what a network is along them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sciml.calling import dtype_of
from sciml.errors import ConfigError, ShapeError
from sciml.kernels.jet import jet
from sciml.objective import Batch, Term, total
from sciml.pinns.conditions import Function
from sciml.pinns.diffusions import Diffusion
from sciml.pinns.gradients import value_and_gradient
from sciml.pinns.losses.loss import Loss, check_weights
from sciml.pinns.problem import Problem
from sciml.pinns.residual import EQUATION
from sciml.pinns.samplers.sampler import uniform
from sciml.streams import Streams


class Along(NamedTuple):
    """A network along steps of paths: its values, how they move, and z, of n paths of N steps.

    Attributes
    ----------
    values : (n, N)
        u at the beginning of each step.
    moves : (n, N)
        ``(s^T grad u) . dW``.
    z : (n, N, k)
        ``s^T grad u``; zeros where the driver does not see it.
    """

    values: Tensor
    moves: Tensor
    z: Tensor


class PathLoss(Loss):
    """A loss over paths that begin in the domain and end where u is given.

    Parameters
    ----------
    problem : Problem
        With a `diffusion`.
    points : int or mapping
        Paths, new ones at every step of the optimizer; of a mapping ``equation``.
    steps : int
        Of equal length, from the beginning of a path to its end.
    at : float or tuple of float, optional
        Where in space all paths begin, at the last time; a number stands for the same one in all coordinates.
        By default they begin at random points of the domain.
    anytime : bool
        Whether those are at all times, or all moved to the last one.
    weights : mapping, optional
        Of the terms, 1 by default.

    Raises
    ------
    ConfigError
        If the problem has no diffusion, or a number is out of range.
    """

    names: tuple[str, ...]
    """Of the terms."""

    def __init__(
        self,
        problem: Problem,
        points: int | Mapping[str, int],
        steps: int,
        at: float | tuple[float, ...] | None,
        anytime: bool,
        weights: Mapping[str, float] | None,
    ) -> None:
        who, what = type(self).__name__, type(problem).__name__
        process = problem.diffusion
        if process is None or problem.domain.time is None or problem.outputs != 1:
            raise ConfigError(
                f"{who}: {what} has no diffusion; it is for equations u_t = tr(s s^T Hess u)/2 + ... of one "
                "function whose class gives their process as diffusion. Residual takes any equation."
            )
        paths = points.get(EQUATION, 0) if isinstance(points, Mapping) else points
        if paths < 1 or steps < 1:
            raise ConfigError(f"{who}: needs points >= 1 and steps >= 1, got {points} and {steps}.")
        if problem.coefficients:
            raise ConfigError(f"{who}: {what} has unknown coefficients, which Residual learns.")
        dim = problem.domain.space.dim
        if isinstance(at, tuple) and len(at) != dim:
            raise ConfigError(f"{who}: at has {len(at)} coordinates, {what} has {dim} in space.")
        check_weights(who, weights or {}, self.names)
        self.problem = problem
        self.process: Diffusion = process
        self.paths, self.steps, self.at, self.anytime = paths, steps, at, anytime
        self.weights = dict.fromkeys(self.names, 1.0) | dict(weights or {})
        self._start, self._end = problem.domain.time
        self._begun: Tensor | None = None  # where the last paths began

    @property
    def unknowns(self) -> nn.Module:
        return nn.ModuleDict()

    @property
    def coefficients(self) -> dict[str, Tensor | Function]:
        return {}

    @abstractmethod
    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        """Of paths (n, N + 1, d + 1) and increments (n, N, k)."""

    # Paths.

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        device, dtype = next(model.parameters()).device, dtype_of(model)
        self._begun = self._beginnings(streams.of("points/paths").generator(step))
        begun = self._begun.to(device, dtype)
        counts = torch.arange(self.steps, -1, -1, device=device, dtype=dtype)
        # Not by subtraction, whose rounding may end before the start of time.
        times = self._start + (begun[:, -1:] - self._start) / self.steps * counts
        paths, increments = self.follow(begun, times, streams.of("increments").generator(step, device))
        return Batch({"paths": paths, "increments": increments})

    def follow(self, begun: Tensor, times: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Paths (n, N + 1, d + 1) from points (n, d + 1) at times (n, N + 1), increments (n, N, k)."""
        durations = times[:, :-1] - times[:, 1:]
        shape = (*durations.shape, self.process.width(begun))
        normal = torch.randn(shape, generator=generator, device=begun.device, dtype=begun.dtype)
        increments = durations.sqrt()[:, :, None] * normal
        places = [begun]
        with torch.no_grad():
            for i in range(durations.shape[1]):
                here = self.process.step(places[-1], durations[:, i], increments[:, i])
                here[:, -1] = times[:, i + 1]
                places.append(here)
        return torch.stack(places, dim=1), increments

    def _beginnings(self, generator: torch.Generator) -> Tensor:
        if self.at is not None:
            return self._place().expand(self.paths, -1).clone()
        found = self.problem.domain.interior(uniform(generator), self.paths)
        if not self.anytime:
            found[:, -1] = self._end
        return found

    def _place(self) -> Tensor:
        """The one point (1, d + 1) where paths begin."""
        assert self.at is not None
        dim = self.problem.domain.space.dim
        at = self.at if isinstance(self.at, tuple) else (self.at,) * dim
        return torch.tensor([[*at, self._end]], dtype=torch.float64)

    # The network along them.

    def along(self, model: nn.Module, paths: Tensor, increments: Tensor) -> Along:
        """u, its moves and z at the beginning of every step, in one pass.

        Where the driver does not see z only the derivative along each move is needed: a jet of order 1.
        """
        n, steps, width = increments.shape
        x, w = paths[:, :-1].flatten(0, 1), increments.flatten(0, 1)
        moved = self.process.noise(x, w)
        if moved.shape != (len(x), x.shape[1] - 1):
            raise ShapeError(
                f"{type(self).__name__}: noise(x, w) of {type(self.problem).__name__} must map points "
                f"{tuple(x.shape)} and increments {tuple(w.shape)} to {(len(x), x.shape[1] - 1)}, got "
                f"{tuple(moved.shape)}."
            )
        if self.process.linear:
            direction = torch.cat([moved, torch.zeros_like(moved[:, :1])], dim=1)
            values, moves = jet(model, x, direction, 1)
            z = torch.zeros_like(w)
        else:
            values, gradient = value_and_gradient(model, x)
            moves = (gradient[:, :-1] * moved).sum(1)
            z = self.process.transposed(x, gradient[:, :-1])
        return Along(values.reshape(n, steps), moves.reshape(n, steps), z.reshape(n, steps, width))

    def drive(self, x: Tensor, u: Tensor, z: Tensor) -> Tensor:
        """f at points (n, d + 1), (n,)."""
        if self.process.driver is None:
            return torch.zeros_like(u)
        found = self.process.driver(x, u, z)
        if found.shape != u.shape:
            raise ShapeError(
                f"{type(self).__name__}: driver(x, u, z) of {type(self.problem).__name__} must be one number "
                f"per point, shape {tuple(u.shape)}, got {tuple(found.shape)}."
            )
        return found

    def durations(self, paths: Tensor) -> Tensor:
        """Of each step, (n, N)."""
        return paths[:, :-1, -1] - paths[:, 1:, -1]

    # Checks, validation, state.

    def check(self, model: nn.Module) -> None:
        batch = self.draw(0, model, Streams(0))
        x = batch["paths"][:2, 0]
        with torch.no_grad():
            found = model(x)
        if found.shape != x.shape[:1]:
            raise ShapeError(
                f"{type(self).__name__}: the model must map points {tuple(x.shape)} to values ({len(x)},), "
                f"got {tuple(found.shape)}. Constrained(problem, network) does."
            )
        self.terms(model, Batch({name: tensor[:2] for name, tensor in batch.tensors.items()}))

    def evaluate(self, model: nn.Module, streams: Streams) -> dict[str, float]:
        """The relative L2 error where the solution is known, else the loss on other paths; and the value
        where all paths begin."""
        if self.problem.has_reference:
            found = {"relative_l2": self.problem.relative_l2(model)}
        else:
            kept = self._begun
            batch = self.draw(0, model, Streams(streams.of("validation").seed()))
            self._begun = kept
            with torch.no_grad():
                found = {"loss": float(total(self.terms(model, batch)))}
        if self.at is not None:
            device = next(model.parameters()).device
            with torch.no_grad():
                found["value"] = float(model(self._place().to(device, dtype_of(model))))
        return found

    def state_dict(self) -> dict[str, Any]:
        """Where the last paths began; paths themselves are a function of seed and step."""
        return {"points": {} if self._begun is None else {EQUATION: {"rows": self._begun}}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        begun = state["points"].get(EQUATION, {}).get("rows")
        self._begun = None if begun is None else begun.cpu()


def slope_of(function: Function, x: Tensor) -> Tensor:
    """The gradient in space (n, d) of a function of points (n, d + 1)."""
    return value_and_gradient(function, x)[1][:, :-1]
