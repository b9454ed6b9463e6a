"""The loss of a physics-informed network: residuals of equation and conditions at points of a sampler."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sciml import processes
from sciml.calling import dtype_of
from sciml.description import describable
from sciml.errors import ConfigError, ShapeError, nearest
from sciml.jacobian import jacobian
from sciml.kernels.differential import squared_residual
from sciml.kernels.estimators import Estimator, Exact
from sciml.objective import Batch, Objective, Term, roots, total
from sciml.pinns.conditions import Condition, Function, Initial, names_of
from sciml.pinns.measurements import evidence
from sciml.pinns.problem import EXACT, Estimate, Problem, component, residuals
from sciml.pinns.samplers.sampler import Sampler, Site, State
from sciml.pinns.samplers.uniform import Uniform
from sciml.pinns.unknowns import Unknowns, errors_of, numbers_of
from sciml.pinns.weightings.fixed import Fixed
from sciml.pinns.weightings.weighting import Scene, Weighting, Weights, with_weights
from sciml.streams import Streams

EQUATION = "equation"
_CHUNK = 2**14  # rows whose residuals are scored together
_FEWEST = 16  # rows of a condition by default
# A validation costs a few steps: coordinates of the points on which it is made, and points at least.
_JUDGED, _JUDGED_AT_LEAST = 2**23, 20


@describable
class Residual(Objective):
    """``mean r^2`` over points of the domain, plus ``weight * mean r^2`` for each condition.

    Conditions that the model satisfies by construction (its ``satisfies``, see `Constrained`) are left out.
    A term keeps its values per point.  As validation it gives the relative L2 error where the solution is
    known, else its loss, and unknown numbers; ``error_NAME`` of unknowns of which the truth is known.

    Parameters
    ----------
    problem : Problem
    sampler : Sampler
        For every site alike, or a mapping from ``equation`` and names of conditions to samplers.
    points : int or mapping
        Points of the equation, and a tenth of them for each condition; or by name.
    weights : mapping, optional
        Of terms, 1 by default.  A term is named after its condition, or after its residual.
    weighting : Weighting
        How weights move with the residuals; they multiply ``weights``.
    estimator : Estimator
        For equations that may be estimated.  The directions of a random one are shared between two
        independent estimates; the loss is their product, which is unbiased and costs no more than a square.

    Raises
    ------
    ConfigError
        For a name that is no site and no term, or an estimator that the problem does not take.

    Examples
    --------
    >>> from sciml.pinns import Constrained, problems
    >>> from sciml.pinns.networks import MLP
    >>> problem = problems.Burgers()
    >>> model = Constrained(problem, MLP(2, 1).double())
    >>> loss = Residual(problem, points=100)
    >>> list(loss.terms(model, loss.draw(0, model, Streams(0))))
    ['equation']
    """

    def __init__(
        self,
        problem: Problem,
        *,
        sampler: Sampler | Mapping[str, Sampler] = Uniform(),  # noqa: B008 - a frozen value
        points: int | Mapping[str, int] = 2000,
        weights: Mapping[str, float] | None = None,
        weighting: Weighting = Fixed(),  # noqa: B008
        estimator: Estimator = Exact(),  # noqa: B008
    ) -> None:
        self.problem = problem
        self.weighting = weighting
        self.estimator = estimator
        self._conditions = dict(zip(names_of(problem.conditions), problem.conditions, strict=True))
        self._given = dict(weights or {})  # as they came
        # Measurements and beliefs weigh what their errors say, times what was asked for.
        shares = evidence(self._conditions)
        self._weights = self._given | {name: s * self._given.get(name, 1.0) for name, s in shares.items()}
        self._samplers, self._points = sampler, points
        for given in (sampler, points):
            if isinstance(given, Mapping):
                self._check_names(given, [EQUATION, *self._conditions])
        if EQUATION in self._conditions:
            raise ConfigError(f"{type(problem).__name__}: a condition cannot be called {EQUATION!r}.")
        self.unknowns = Unknowns(problem.coefficients, problem.domain)
        self._states: dict[str, State] = {}
        self._kept: State | None = None  # by the weighting
        self._latest: Weights = {}

    def description(self) -> dict[str, Any]:
        """For `describe`: estimators of the kernels are told by how they print."""
        arguments: dict[str, Any] = dict(vars(self)["_arguments"])
        return {**arguments, "problem": self.problem, "estimator": repr(self.estimator)}

    # Points.

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        batch = self._points_of(step, model, streams)
        self._kept, self._latest = self.weighting.weigh(self._kept, self._scene(model, batch, streams), step)
        factors = {f"{name}/factor": weight for name, weight in self._latest.items()}
        return Batch(
            {**batch.tensors, **{key: w for key, w in factors.items() if w.ndim}},
            {**batch.shared, **{key: w for key, w in factors.items() if not w.ndim}},
        )

    def _points_of(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        sites = {name: self._site(name, model) for name in self._sites(model)}
        together: dict[int, tuple[Sampler, list[str]]] = {}
        for name in sites:
            sampler = self._sampler(name)
            together.setdefault(id(sampler), (sampler, []))[1].append(name)
        for sampler, names in together.values():
            seen = {name: sites[name] for name in names}
            self._states |= sampler.draw_all(
                self._states, seen, step, lambda name: streams.of(f"points/{name}")
            )
        tensors: dict[str, Tensor] = {}
        for name in sites:
            state = self._states[name]
            tensors[f"{name}/rows"] = state["rows"]
            if "weight" in state:
                tensors[f"{name}/weight"] = state["weight"]
        seed = streams.of("estimator").seed(step)
        return Batch(tensors, {"seed": torch.tensor(seed, dtype=torch.int64)})

    def _scene(self, model: nn.Module, batch: Batch, streams: Streams) -> Scene:
        device = next(model.parameters()).device
        domain = self.problem.domain
        rows = {name: batch[f"{name}/rows"] for name in self._sites(model)}
        return Scene(
            lambda: self._by_site(model, processes.own_part(batch).to(device)),
            [p for p in model.parameters() if p.requires_grad],
            None if domain.time is None else self._time(rows[EQUATION]),
            tuple(name for name in self._sites(model) if isinstance(self._conditions.get(name), Initial)),
            lambda tensor: processes.own_part(Batch({"": tensor}))[""],
            rows,
            streams.of("weighting"),
        )

    def _time(self, rows: Tensor) -> Tensor:
        """From 0 at the start to 1 at the end, (n,)."""
        domain = self.problem.domain
        assert domain.time is not None
        start, end = domain.time
        return (rows[:, domain.dim - 1] - start) / (end - start)

    def _sites(self, model: nn.Module) -> list[str]:
        built_in = getattr(model, "satisfies", ())
        return [EQUATION, *(name for name in self._conditions if name not in built_in)]

    def _site(self, name: str, model: nn.Module) -> Site:
        domain = self.problem.domain
        score = partial(self._score, name, model)
        slopes = partial(self._slopes, name, model)
        time = None if domain.time is None else self._time
        device, dtype = next(model.parameters()).device, dtype_of(model)
        if name == EQUATION:
            rows, given = domain.interior, False
        else:
            condition = self._conditions[name]
            time = None if isinstance(condition, Initial) else time
            rows, given = partial(condition.rows, domain), condition.fixed is not None
        return Site(rows, self._count(name), score, time, slopes, given, device, dtype)

    def _sampler(self, name: str) -> Sampler:
        if isinstance(self._samplers, Sampler):
            return self._samplers
        return self._samplers.get(name, Uniform())

    def _count(self, name: str) -> int:
        condition = self._conditions.get(name)
        if condition is not None and condition.fixed is not None:
            return condition.fixed
        if isinstance(self._points, Mapping):
            if name in self._points:
                return self._points[name]
            return self._points.get(EQUATION, 2000) if name == EQUATION else _FEWEST
        return self._points if name == EQUATION else max(_FEWEST, self._points // 10)

    def _score(self, name: str, model: nn.Module, rows: Tensor) -> Tensor:
        """The size of the residual at each row, over all terms of the site."""
        device = next(model.parameters()).device
        sizes = []
        with torch.no_grad():
            for part in rows.to(device, dtype_of(model)).split(_CHUNK):
                values = self._values(name, model, part, EXACT)
                squares = [v.reshape(len(part), -1).square().sum(1) for v in values.values()]
                sizes.append(torch.stack(squares).sum(0).sqrt())
        return torch.cat(sizes)

    def _slopes(self, name: str, model: nn.Module, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Residuals at each row (n, k), times the roots of their weights, and their slopes (n, k, P)."""
        plain = Residual(self.problem)
        plain.unknowns, plain._weights = self.unknowns, {}
        rows = rows.to(next(model.parameters()).device, dtype_of(model))
        batch = Batch({f"{name}/rows": rows})
        with torch.enable_grad():
            terms = plain.terms(model, batch)
            residuals = roots(terms)
        trained = [p for p in model.parameters() if p.requires_grad]
        slopes = jacobian(plain, model, batch, terms, residuals, [*trained, *self.parameters()])
        values, rates = [], []
        parts = slopes.split([len(r) for r in residuals.values()])
        for (term, r), part in zip(residuals.items(), parts, strict=True):
            scale = math.sqrt(len(rows) * self._weight(name, term))
            values.append(scale * r.detach().reshape(len(rows), -1))
            rates.append(scale * part.reshape(len(rows), -1, part.shape[1]))
        return torch.cat(values, dim=1), torch.cat(rates, dim=1)

    def _weight(self, site: str, term: str) -> float:
        """What a term weighs, in the mean of its points where they differ, as of the last step."""
        moving = [
            float(self._latest[key].mean()) for key in dict.fromkeys((site, term)) if key in self._latest
        ]
        return math.prod([self._weights.get(term, 1.0), *moving])

    # The loss.

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        found = {name: term for site in self._by_site(model, batch).values() for name, term in site.items()}
        self._check_names(self._weights, list(found), besides=self._conditions)
        return found

    def _by_site(self, model: nn.Module, batch: Batch) -> dict[str, dict[str, Term]]:
        dtype = dtype_of(model)
        estimate = self._estimate(batch)
        found: dict[str, dict[str, Term]] = {}
        weights: dict[str, Tensor] = {}
        for key, tensor in (*batch.tensors.items(), *batch.shared.items()):
            name, _, kind = key.rpartition("/")
            if kind == "factor":
                weights[name] = tensor
            elif kind == "rows":
                weight = batch.tensors.get(f"{name}/weight")
                values = self._values(name, model, tensor.to(dtype), estimate)
                found[name] = {term: self._term(term, v, weight) for term, v in values.items()}
        return with_weights(found, weights)

    def _estimate(self, batch: Batch) -> Estimate:
        if isinstance(self.estimator, Exact):
            return EXACT
        # The same directions however often a line search calls.
        generator = torch.Generator().manual_seed(int(batch["seed"]))
        return {"estimator": _half(self.estimator), "generator": generator, "draws": 2}

    def _values(self, name: str, model: nn.Module, rows: Tensor, estimate: Estimate) -> dict[str, Tensor]:
        if name == EQUATION:
            return residuals(self.problem, model, rows, coefficients=self.coefficients, estimate=estimate)
        condition = self._conditions[name].given(self.coefficients)
        u = component(model, condition.component, self.problem.outputs)
        return {name: condition.residual(u, rows, self.problem.domain)}

    def _term(self, name: str, values: Tensor, weight: Tensor | None) -> Term:
        estimated = (
            name not in self._conditions and not isinstance(self.estimator, Exact) and values.ndim == 2
        )
        if estimated:
            values = squared_residual(values)
        term = Term(values, self._weights.get(name, 1.0), square=not estimated)
        return term if weight is None else term.times(weight)

    @property
    def coefficients(self) -> dict[str, Tensor | Function]:
        """The unknown numbers and functions as they are now."""
        return self.unknowns.values()

    def parameters(self) -> Iterable[nn.Parameter]:
        return self.unknowns.parameters()

    def modules(self) -> Iterable[nn.Module]:
        return (self.unknowns,)

    # Checks, validation, state.

    def check(self, model: nn.Module) -> None:
        if not any(True for _ in model.parameters()):
            raise ConfigError("Residual: the model has no parameters.")
        self.weighting.check(self.problem)
        self._check_kinds(model)
        batch = self._points_of(0, model, Streams(0))
        self._states = {}
        x = batch[f"{EQUATION}/rows"][:2].to(next(model.parameters()).device, dtype_of(model))
        outputs = self.problem.outputs
        shape = (len(x),) if outputs == 1 else (len(x), outputs)
        with torch.no_grad():
            found = model(x)
        if tuple(found.shape) != shape:
            raise ShapeError(
                f"Residual: the model must map points {tuple(x.shape)} to values {shape}, got "
                f"{tuple(found.shape)}. Constrained(problem, network) does."
            )
        self._check_unknowns(self.terms(model, batch.to(x.device)))

    def _check_kinds(self, model: nn.Module) -> None:
        """Unknown functions compute as the model does."""
        kinds = {(p.dtype, p.device) for p in self.parameters() if p.ndim}
        if wrong := kinds - {(dtype_of(model), next(model.parameters()).device)}:
            raise ConfigError(
                f"Residual: unknown functions are {', '.join(map(str, wrong.pop()))}, but not the model; "
                "residual.unknowns.to(device, dtype) moves them."
            )

    def _check_unknowns(self, terms: Mapping[str, Term]) -> None:
        """Each of them is asked for somewhere."""
        if not (every := list(self.parameters())):
            return
        slopes = torch.autograd.grad(total(terms), every, allow_unused=True)
        used = {id(p) for p, slope in zip(every, slopes, strict=True) if slope is not None}
        for name in self.unknowns.names:
            if not used.intersection(map(id, self.unknowns.parameters_of(name))):
                raise ConfigError(
                    f"{type(self.problem).__name__}: neither its equation nor a condition in the loss "
                    f"depends on the unknown {name!r}, so nothing can be learned of it. Its residual takes "
                    "it as coefficients[...], a condition as Unknown(...)."
                )

    def evaluate(self, model: nn.Module, streams: Streams) -> dict[str, float]:
        if self.problem.has_reference:
            points = max(_JUDGED_AT_LEAST, _JUDGED // self.problem.domain.dim)
            found = {"relative_l2": self.problem.relative_l2(model, points=points)}
        else:
            own = self.aside()
            # Points of its own: on those of the training a loss says little.
            apart = Streams(streams.of("validation").seed())
            batch = own.draw(0, model, apart).to(next(model.parameters()).device)
            with torch.no_grad():
                found = {"loss": float(sum(term.mean() for term in own.terms(model, batch).values()))}
        errors = errors_of(self.coefficients, self.problem.truth, self.problem.domain)
        return found | numbers_of(self.coefficients) | {f"error_{name}": e for name, e in errors.items()}

    def aside(self) -> Residual:
        """The same loss, with the same unknowns, on points of its own; weights that move are left out."""
        own = Residual(self.problem, points=self._points, weights=self._given)
        own.unknowns = self.unknowns
        return own

    @property
    def conditions(self) -> Mapping[str, Condition]:
        """Those of the problem by the names of their terms."""
        return self._conditions

    def facts(self) -> dict[str, Any]:
        """The means of weights that move, what moved them, the gates of samplers, and points if they are not
        as many as wanted."""
        gates = {name: float(state["gate"]) for name, state in self._states.items() if "gate" in state}
        points = {name: len(state["rows"]) for name, state in self._states.items()}
        found = {
            "weights": {name: float(weight.mean()) for name, weight in self._latest.items()},
            "weighting": self.weighting.facts(self._kept) if self._kept else {},
            "gates": gates,
            "points": points if any(n != self._count(name) for name, n in points.items()) else {},
        }
        return {name: fact for name, fact in found.items() if fact}

    def state_dict(self) -> dict[str, Any]:
        points = {name: dict(state) for name, state in self._states.items()}
        weights = {name: weight.mean() for name, weight in self._latest.items()}
        return {"points": points, "weighting": dict(self._kept or {}), "weights": weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._states = {name: _on_processor(site) for name, site in state["points"].items()}
        self._kept = _on_processor(state["weighting"]) or None
        self._latest = _on_processor(state.get("weights", {}))

    def _check_names(
        self, given: Mapping[str, Any], known: list[str], besides: Mapping[str, Condition] | None = None
    ) -> None:
        for name in given:
            if name not in known and name not in (besides or {}):
                raise ConfigError(
                    f"Residual: there is no {name!r} in {type(self.problem).__name__}; there is "
                    f"{', '.join(known)}.{nearest(name, known)}"
                )


def _half(estimator: Estimator) -> Estimator:
    """The same with half of the directions, one at least; one that counts none as it is."""
    samples = getattr(estimator, "samples", None)
    if samples is None:
        return estimator
    halved: Estimator = replace(estimator, samples=(samples + 1) // 2)  # type: ignore[type-var]
    return halved


def _on_processor(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.cpu() for key, value in state.items()}
