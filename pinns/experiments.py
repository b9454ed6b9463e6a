"""Several experiments that share unknowns: one network for each, trained together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass, replace
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn

from sciml.description import describable, describe
from sciml.errors import ConfigError, DataError
from sciml.pinns.conditions import Condition, Function, names_of
from sciml.pinns.domain import Domain, Source
from sciml.pinns.measurements import Prior
from sciml.pinns.problem import EXACT, Estimate, Problem, Solution, residuals
from sciml.pinns.unknowns import Kind


@describable
@dataclass(frozen=True)
class Experiments(Problem):
    """Problems as one: runs from different starts, say, or under different forces, with common unknowns.

    u is that of all of them side by side, each with a network of its own; unknowns of one name are one
    unknown.  Terms of the loss are called ``RUN_TERM``.  Whatever solves a problem solves this one.

    Parameters
    ----------
    runs : mapping of names to Problem
        On one domain: if times differ, that up to the last of them.

    Raises
    ------
    ConfigError
        If there are none, domains differ, or an unknown is described in two ways.

    Notes
    -----
    An experiment whose conditions are numbers can also be one more coordinate of a single network, which then
    knows all values in between: a problem with that coordinate in its domain.  Here nothing connects the runs
    but the unknowns.

    Examples
    --------
    >>> from sciml.pinns.problems.inverse import LorenzConstants
    >>> both = Experiments({"one": LorenzConstants(seed=1), "two": LorenzConstants(seed=2)})
    >>> both.outputs, list(both.coefficients)
    (6, ['sigma', 'rho', 'beta'])
    """

    runs: dict[str, Problem]

    def __post_init__(self) -> None:
        if not self.runs:
            raise ConfigError("Experiments: needs at least one problem, got none.")
        domains = [run.domain for run in self.runs.values()]
        if any(domain != domains[0] for domain in domains):
            raise ConfigError(f"Experiments: all need one domain, got {', '.join(map(str, domains))}.")
        for name, kind in self.coefficients.items():
            for run, problem in self.runs.items():
                own = problem.coefficients.get(name, kind)
                # Partials of networks are equal only to themselves; their descriptions say what they are.
                if own != kind and describe(own) != describe(kind):
                    raise ConfigError(
                        f"Experiments: {name!r} is {own} in {run!r}, but {kind} in another run; unknowns of "
                        "one name are one unknown."
                    )

    @property
    def equation(self) -> str:  # type: ignore[override]
        """Of all runs."""
        return "; ".join(dict.fromkeys(run.equation for run in self.runs.values()))

    @property
    def source(self) -> str:  # type: ignore[override]
        """Of all runs."""
        return "; ".join(dict.fromkeys(run.source for run in self.runs.values()))

    @property
    def _first(self) -> Problem:
        return next(iter(self.runs.values()))

    @property
    def domain(self) -> Domain:
        return self._first.domain

    @property
    def grid(self) -> tuple[int, ...] | None:  # type: ignore[override]
        """Of the first run."""
        return self._first.grid

    @property
    def outputs(self) -> int:
        return sum(run.outputs for run in self.runs.values())

    @property
    def coefficients(self) -> Mapping[str, Kind]:
        return {name: c for run in self.runs.values() for name, c in run.coefficients.items()}

    @property
    def truth(self) -> Mapping[str, float | Function]:
        return {name: value for run in self.runs.values() for name, value in run.truth.items()}

    @property
    def conditions(self) -> tuple[Condition, ...]:
        found: list[Condition] = []
        for k, (run, problem) in enumerate(self.runs.items()):
            for name, condition in zip(names_of(problem.conditions), problem.conditions, strict=True):
                if isinstance(condition, Prior):
                    # About the unknown and not about the run: believed once, however many say so.
                    found += [condition] if condition not in found else []
                else:
                    found.append(self._of_run(k, condition, f"{run}_{name}"))
        return tuple(found)

    def _of_run(self, k: int, condition: Condition, name: str) -> Condition:
        if condition.component is None:
            return _OfRun(condition, self._places()[k], name)
        if not is_dataclass(condition):
            raise ConfigError(
                f"Experiments: the condition {name!r} is no dataclass, so it cannot be asked of a component."
            )
        first = self._places()[k].start
        moved: Condition = replace(condition, component=first + condition.component, name=name)
        return moved

    def _places(self) -> list[slice]:
        """The components of each run."""
        ends = [0]
        for run in self.runs.values():
            ends.append(ends[-1] + run.outputs)
        return [slice(a, b) for a, b in pairwise(ends)]

    def residual(
        self,
        u: Function,
        x: Tensor,
        coefficients: Mapping[str, Tensor | Function],
        estimate: Estimate = EXACT,
    ) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for k, (run, problem) in enumerate(self.runs.items()):
            # The network of the run alone, where there is one.
            own = u.runs[k] if isinstance(u, Apart) else _slice(u, self._places()[k])
            values = residuals(problem, own, x, coefficients=coefficients, estimate=estimate)
            found |= {f"{run}_{name}": value for name, value in values.items()}
        return found

    def build(
        self, network: Callable[[int, int], nn.Module], *, hard: bool = True, harmonics: int = 1
    ) -> nn.Module:
        built = {
            run: problem.build(network, hard=hard, harmonics=harmonics) for run, problem in self.runs.items()
        }
        satisfied = [f"{run}_{name}" for run, m in built.items() for name in getattr(m, "satisfies", ())]
        return Apart(list(built.values()), tuple(satisfied))

    @property
    def has_reference(self) -> bool:
        return all(run.has_reference for run in self.runs.values())

    def solve(self) -> Solution:
        known = [run.reference() for run in self.runs.values()]
        if any(not torch.equal(solution.x, known[0].x) for solution in known):
            raise DataError("Experiments: the references of the runs are at different points.")
        values = torch.cat([solution.values for solution in known], dim=1)
        source = "; ".join(dict.fromkeys(solution.source for solution in known))
        return Solution(known[0].x, values, max(solution.error for solution in known), source, known[0].shape)


class Apart(nn.Module):
    """Functions side by side, (n, dim) to (n, all outputs): one for each run.

    Parameters
    ----------
    runs : sequence of module
    satisfies : tuple of str
        The conditions that hold by construction.
    """

    def __init__(self, runs: list[nn.Module], satisfies: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.runs = nn.ModuleList(runs)
        self.satisfies = satisfies

    def forward(self, x: Tensor) -> Tensor:
        values = [run(x) for run in self.runs]
        if len(values) == 1:
            only: Tensor = values[0]
            return only
        return torch.cat([v if v.ndim == 2 else v[:, None] for v in values], dim=1)


def _slice(u: Function, place: slice) -> Function:
    if place.start == 0 and place.stop == 1:

        def first(x: Tensor) -> Tensor:
            value = u(x)
            return value if value.ndim == 1 else value[:, 0]

        return first
    if place.stop - place.start == 1:
        return lambda x: u(x)[:, place.start]
    return lambda x: u(x)[:, place]


@dataclass(frozen=True)
class _OfRun(Condition):
    """A condition on all components of one run."""

    inner: Condition
    place: slice
    name: str
    component = None

    def rows(self, domain: Domain, source: Source, count: int) -> Tensor:
        return self.inner.rows(domain, source, count)

    def residual(self, u: Function, rows: Tensor, domain: Domain) -> Tensor:
        return self.inner.residual(_slice(u, self.place), rows, domain)

    def given(self, coefficients: Mapping[str, Tensor | Function]) -> Self:
        return replace(self, inner=self.inner.given(coefficients))

    @property
    def fixed(self) -> int | None:
        return self.inner.fixed
