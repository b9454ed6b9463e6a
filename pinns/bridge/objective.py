"""A problem of DeepXDE as an objective of the one trainer."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from sciml.calling import dtype_of, evaluating
from sciml.errors import ConfigError, ShapeError, nearest
from sciml.objective import Batch, Objective, Term
from sciml.pinns.bridge.evaluation import Evaluation, check_data
from sciml.pinns.bridge.points import (
    Points,
    interior,
    points_of_test,
    redrawn,
    samplers_of,
    with_interior,
)
from sciml.pinns.deepxde_import import quiet, seeded
from sciml.pinns.domain import Source
from sciml.pinns.samplers.sampler import Sampler, Site, State
from sciml.streams import Streams

_CHUNK = 2**14  # rows whose residuals are scored together
_NAMES = {
    "DirichletBC": "dirichlet",
    "NeumannBC": "neumann",
    "RobinBC": "robin",
    "PeriodicBC": "periodic",
    "OperatorBC": "operator",
    "PointSetBC": "points",
    "PointSetOperatorBC": "points",
    "Interface2DBC": "interface",
    "IC": "initial",
}


def from_deepxde(
    data: Any,
    *,
    external: Mapping[str, Tensor] | Sequence[Tensor] = (),
    weights: Mapping[str, float] | Sequence[float] | None = None,
    every: int | None = None,
    sampler: Sampler | None = None,
    points: int | None = None,
    kernels: bool = True,
) -> DeepXDEResidual:
    """A ``dde.data.PDE`` or ``dde.data.TimePDE``, unchanged, as what our trainer minimizes.

    The loss is that of ``dde.Model``: the mean square of every residual of the equation and of every
    condition.  Networks are modules (points, dim) to (points, outputs); those of ``dde.nn`` keep their
    transforms.  Derivatives that the problem asks for through ``dde.grad`` come from `sciml.kernels`, all in
    one pass, if the first call shows the same numbers as DeepXDE's own, and from those otherwise.

    Parameters
    ----------
    data : dde.data.PDE
        Left as it is: what changes in training is kept here.
    external : mapping or sequence of tensors
        Unknowns of an inverse problem, ``dde.Variable``, in the dtype of the network.  They are trained, and
        shown under their names, or as ``external``, ``external.2``, ...
    weights : mapping or sequence, optional
        Of the terms, by name, or one for each in DeepXDE's order: residuals, then conditions.  1 by default.
    every : int, optional
        Steps after which all points are drawn anew, those of conditions too, whose number may change.  They
        are pseudorandom then, whatever the distribution, unless it is ``"LHS"``.
    sampler : Sampler, optional
        Instead of ``every``: chooses the points inside, such as `sciml.pinns.samplers.RAD` or ``R3``, out of
        random points of the geometry.  All others stay.
    points : int, optional
        How many the sampler chooses, from the first step on; as many as the data have by default.
    kernels : bool
        Without, DeepXDE computes all derivatives.

    Returns
    -------
    DeepXDEResidual
        Its terms are ``equation``, ``equation.2``, ..., and after the kind of each condition ``dirichlet``,
        ``neumann``, ``robin``, ``periodic``, ``initial``, ``operator``, ``points``, ``interface``.

    Raises
    ------
    ConfigError
        For other data objects, unknown weights, or a backend of DeepXDE that is not PyTorch.

    Notes
    -----
    Random numbers are a function of the trainer's seed and the step, and NumPy's global generator is left as
    it was.  Every process of ``torchrun`` computes the whole loss.

    Examples
    --------
    >>> from sciml.pinns.deepxde_import import imported
    >>> dde = imported()  # deepxde
    >>> interval = dde.geometry.Interval(0, 1)
    >>> def equation(x, u):
    ...     return dde.grad.hessian(u, x) + 2
    >>> ends = dde.icbc.DirichletBC(interval, lambda x: 0, lambda _, on_boundary: on_boundary)
    >>> loss = from_deepxde(dde.data.PDE(interval, equation, ends, num_domain=20, num_boundary=2))
    >>> from sciml import Streams
    >>> from sciml.pinns.networks import MLP
    >>> model = MLP(1, 1)
    >>> list(loss.terms(model, loss.draw(0, model, Streams(0))))
    ['equation', 'dirichlet']
    """
    return DeepXDEResidual(
        data,
        external=external,
        weights=weights,
        every=every,
        sampler=sampler,
        points=points,
        kernels=kernels,
    )


class DeepXDEResidual(Objective):
    """The loss of a DeepXDE problem; made by `from_deepxde`, which tells its parameters."""

    def __init__(
        self,
        data: Any,
        *,
        external: Mapping[str, Tensor] | Sequence[Tensor] = (),
        weights: Mapping[str, float] | Sequence[float] | None = None,
        every: int | None = None,
        sampler: Sampler | None = None,
        points: int | None = None,
        kernels: bool = True,
    ) -> None:
        check_data(data)
        if every is not None and (sampler is not None or every < 1):
            raise ConfigError(
                f"from_deepxde: takes a number of steps, every >= 1, or a sampler, got {every} and {sampler}."
            )
        if points is not None and (sampler is None or points < 1):
            raise ConfigError(
                f"from_deepxde: {points} points take a sampler that chooses them, got {sampler}."
            )
        self.data = data
        self.every, self.sampler, self.count = every, sampler, points
        self._evaluation = Evaluation(data, kernels=kernels)
        self._external = _named_tensors(external)
        self._weights = weights
        self._conditions = _numbered([_NAMES.get(type(bc).__name__, "condition") for bc in data.bcs])
        self.points = Points.of(data)
        self._digest = hashlib.sha256(np.ascontiguousarray(self.points.x).tobytes()).hexdigest()[:16]
        self._test = points_of_test(data, self.points)
        self._inside = interior(data, self.points) if sampler is not None else None
        self._state: State | None = None
        self._draws = 0

    def description(self) -> dict[str, Any]:
        """For `describe`: what can be told of objects made of functions."""
        return {
            "data": type(self.data).__name__,
            "equation": _source(self.data.pde),
            "conditions": list(self._conditions),
            "points": self._digest,
            "external": list(self._external),
            "weights": self._weights if self._weights is None else _plain(self._weights),
            "every": self.every,
            "sampler": self.sampler,
            "count": self.count,
        }

    # Points.

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        stream = streams.of("points/deepxde")
        if step and self.every is not None and step % self.every == 0:
            self.points = redrawn(self.data, self.points, stream.seed(step))
            self._draws += 1
        elif self.sampler is not None and (step or self.count is not None):
            self._choose(self.sampler, step, model, streams)
        x = self.points.tensor(dtype_of(model), next(model.parameters()).device)
        shared = {"points": x, "draw": torch.tensor(self._draws)}
        if self._state is not None and "weight" in self._state:
            shared["weight"] = self._state["weight"]
        return Batch(shared=shared)

    def _choose(self, sampler: Sampler, step: int, model: nn.Module, streams: Streams) -> None:
        """Points inside by the residual there; the state of the sampler begins with those of the data."""
        assert self._inside is not None
        if self._state is None and self.count is None:
            self._state = {"rows": torch.as_tensor(self.points.x_all[self._inside])}
        before = self._state
        count = int(self._inside.sum()) if self.count is None else self.count
        site = Site(self._random_rows, count, lambda rows: self._score(model, rows))
        self._state = sampler.draw(before, site, step, streams.of("points/equation"))
        if self._state is not before:
            rows = self._state["rows"].cpu().numpy()
            self.points = with_interior(self.data, self.points, self._inside, rows)
            outside = int((~self._inside).sum())
            self._inside = np.arange(outside + len(rows)) >= outside
            self._draws += 1

    def _random_rows(self, source: Source, count: int) -> Tensor:
        """Points of the geometry, which draws by itself: the source gives the seed."""
        if not count:
            return torch.empty(0, self.points.x.shape[1], dtype=torch.as_tensor(self.points.x).dtype)
        with seeded(int(2**32 * float(source(1, 1)))), quiet():
            return torch.as_tensor(self.data.geom.random_points(count, random="pseudo"))

    def _score(self, model: nn.Module, rows: Tensor) -> Tensor:
        device = next(model.parameters()).device
        sizes = []
        for part in rows.to(device, dtype_of(model)).split(_CHUNK):
            squares = [v.square().sum(1) for v in self._evaluation.residuals(model, part)]
            sizes.append(torch.stack(squares).sum(0).sqrt())
        return torch.cat(sizes)

    # The loss.

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        if int(batch["draw"]) != self._draws:
            raise ConfigError("DeepXDEResidual: the points of this batch were replaced by a later draw.")
        found = self._named(self._evaluation.errors(model, self.points))
        weights = self._weights_of(found)
        terms = {name: Term(values, weights[name], square=True) for name, values in found.items()}
        if "weight" in batch.shared:
            return {name: self._weighted(name, term, batch["weight"]) for name, term in terms.items()}
        return terms

    def _weighted(self, name: str, term: Term, weight: Tensor) -> Term:
        """Points inside may count differently in the equation, those on the boundary do not."""
        if name in self._conditions:
            return term
        outside = len(term.values) - len(weight)
        whole = torch.cat([weight.new_ones(outside), weight]).to(term.values)[:, None]
        return Term(term.values, term.weight * whole, term.square)

    def _named(self, errors: list[Tensor]) -> dict[str, Tensor]:
        residuals = _numbered(["equation"] * (len(errors) - len(self._conditions)))
        return dict(zip([*residuals, *self._conditions], errors, strict=True))

    def _weights_of(self, found: Mapping[str, Tensor]) -> dict[str, float]:
        given = self._weights
        if given is None:
            return dict.fromkeys(found, 1.0)
        if not isinstance(given, Mapping):
            if len(given) != len(found):
                raise ConfigError(
                    f"from_deepxde: {len(given)} weights for {len(found)} terms: {', '.join(found)}."
                )
            return dict(zip(found, given, strict=True))
        for name in given:
            if name not in found:
                raise ConfigError(
                    f"from_deepxde: there is no term {name!r} to weigh; there is {', '.join(found)}."
                    f"{nearest(name, found)}"
                )
        return {name: given.get(name, 1.0) for name in found}

    @property
    def external(self) -> dict[str, Tensor]:
        """The unknowns by name."""
        return dict(self._external)

    @property
    def derivatives(self) -> str | None:
        """Where they come from, once it is known: ``kernels`` or ``autograd``."""
        return self._evaluation.mode

    def parameters(self) -> Iterable[nn.Parameter]:
        # A dde.Variable is a plain tensor that requires gradients, which is all that anybody asks of it.
        return cast(Iterable[nn.Parameter], self._external.values())

    # Checks, validation, state.

    def check(self, model: nn.Module) -> None:
        parameter = next(model.parameters(), None)
        if parameter is None:
            raise ConfigError("DeepXDEResidual: the model has no parameters.")
        if getattr(model, "regularizer", None) is not None:
            raise ConfigError(
                f"DeepXDEResidual: the network has a regularizer, {model.regularizer}, which is no part of "
                "this loss. Build it without and give the optimizer a weight_decay."
            )
        for name, tensor in self._external.items():
            if not tensor.requires_grad or tensor.device != parameter.device:
                raise ConfigError(
                    f"DeepXDEResidual: {name} must be a trainable tensor on {parameter.device} like the "
                    f"network, as dde.Variable makes it; it is on {tensor.device}"
                    f"{'' if tensor.requires_grad else ' and requires no gradient'}."
                )
        x = self.points.tensor(dtype_of(model), parameter.device)[:2]
        with torch.no_grad(), evaluating(model):
            shape = tuple(model(x).shape)
        if len(shape) > 2 or shape[:1] != (len(x),):
            raise ShapeError(
                f"DeepXDEResidual: the model must map points {tuple(x.shape)} to ({len(x)}, outputs), got "
                f"{shape}."
            )
        self._evaluation.forget()
        self._weights_of(self._named(self._evaluation.errors(model, self.points)))

    def evaluate(self, model: nn.Module, streams: Streams) -> dict[str, float]:
        """The loss and its terms on DeepXDE's test points, the relative L2 error where the data have a
        solution, and the unknowns.

        Conditions are compared at rows of their own, not at those of training, which may have moved.
        """
        test = self.points if self.data.num_test is None else self._test
        with torch.no_grad():
            found = self._named(self._evaluation.errors(model, test, test=True))
            weights = self._weights_of(found)
            terms = {name: weights[name] * float(v.square().mean()) for name, v in found.items()}
            scores = {"loss": sum(terms.values())} | (terms if len(terms) > 1 else {})
            if self.data.soln is not None:
                x = test.tensor(dtype_of(model), next(model.parameters()).device)
                exact = torch.as_tensor(self.data.soln(test.x)).to(x)
                error = model(x).reshape(exact.shape) - exact
                scores["relative_l2"] = float(error.norm() / exact.norm())
        return scores | {name: float(t.detach()) for name, t in self._external.items() if t.numel() == 1}

    def state_dict(self) -> dict[str, Any]:
        """The points, which of those given are seen, and how derivatives are found.

        What was drawn by NumPy's generator is a function of seed and step, so there is none to keep.
        """
        anchors = self.data.anchors
        return {
            "points": self.points.state(),
            "anchors": None if anchors is None else torch.as_tensor(anchors),
            "inside": None if self._inside is None else torch.as_tensor(self._inside),
            "sampler": None if self._state is None else dict(self._state),
            "batches": [
                [torch.as_tensor(s._indices.copy()), s._epochs_completed, s._index_in_epoch]
                for s in samplers_of(self.data)
            ],
            "draws": self._draws,
            "derivatives": self._evaluation.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.points = Points.from_state(state["points"])
        if state["anchors"] is not None:
            self.data.anchors = state["anchors"].cpu().numpy()
        self._inside = None if state["inside"] is None else state["inside"].cpu().numpy()
        kept = state["sampler"]
        self._state = None if kept is None else {name: t.cpu() for name, t in kept.items()}
        for sampler, saved in zip(samplers_of(self.data), state["batches"], strict=True):
            sampler._indices = saved[0].cpu().numpy()
            sampler._epochs_completed, sampler._index_in_epoch = saved[1], saved[2]
        self._draws = state["draws"]
        self._evaluation.load_state_dict(state["derivatives"])


def _numbered(names: Sequence[str]) -> list[str]:
    """Equal names get numbers: u, u.2, u.3."""
    found: list[str] = []
    for i, name in enumerate(names):
        copy = names[:i].count(name) + 1
        found.append(name if copy == 1 else f"{name}.{copy}")
    return found


def _named_tensors(external: Mapping[str, Tensor] | Sequence[Tensor] | Tensor) -> dict[str, Tensor]:
    if isinstance(external, Mapping):
        return dict(external)
    tensors = [external] if isinstance(external, Tensor) else list(external)
    return dict(zip(_numbered(["external"] * len(tensors)), tensors, strict=True))


def _source(function: Any) -> str | None:
    """A digest of how a function is written, for the record of a run."""
    try:
        return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:16]
    except (OSError, TypeError):
        return None


def _plain(weights: Mapping[str, float] | Sequence[float]) -> Any:
    return dict(weights) if isinstance(weights, Mapping) else list(weights)
