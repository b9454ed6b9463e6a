"""Contestants of the bench of differential operators that run on torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from sciml.kernels.bench.harness import Contestant, Missing, Prepared, find
from sciml.kernels.differential import biharmonic, laplacian
from sciml.kernels.draws import signs
from sciml.kernels.estimators import Hutchinson

PEER_HINT = "pip install jet-for-pytorch, which needs Python 3.12"
DEPTH, SAMPLES, SEED = 4, 16, 0
# A full Hessian for each point: beyond this many variables it is out of the question.
MOST_FOR_HESSIANS = 10

Operator = Callable[[Tensor], Tensor]
Weights = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Problem:
    """An operator ("laplacian", "16 directions" or "biharmonic"), variables, points, width of the network."""

    operator: str
    dim: int
    points: int = 1000
    width: int = 128

    def weights(self) -> Weights:
        """Matrices (out, in) and biases, the same for every contestant."""
        torch.manual_seed(SEED)
        sizes = [self.dim, *[self.width] * DEPTH, 1]
        return [
            (torch.empty(n, m).uniform_(-1 / sqrt(m), 1 / sqrt(m)), torch.empty(n).uniform_(-0.5, 0.5))
            for m, n in pairwise(sizes)
        ]

    def at(self) -> Tensor:
        """The points (points, dim)."""
        torch.manual_seed(SEED + 1)
        return torch.randn(self.points, self.dim)

    def directions(self, x: Tensor) -> Tensor:
        """What is summed over: unit vectors, or the random signs that `Hutchinson` draws, over 4."""
        if self.operator != "16 directions":
            return torch.eye(self.dim).to(x)
        return signs((SAMPLES, self.dim), x, torch.Generator().manual_seed(SEED)) / sqrt(SAMPLES)


def network(problem: Problem) -> nn.Sequential:
    """The MLP."""
    layers: list[nn.Module] = []
    for weight, bias in problem.weights():
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def in_torch(problem: Problem, device: torch.device) -> list[Contestant]:
    """Nested reverse mode first."""
    makers: dict[str, Callable[[Problem, nn.Module, Tensor], Operator]] = {
        "nested reverse": nested,
        "sciml": ours,
        "torch.func hessian": hessian,
        "torch.func jvp of grad": jvp_of_grad,
        "jet-for-pytorch": peer,
    }

    def prepared(maker: Callable[[Problem, nn.Module, Tensor], Operator]) -> Prepared:
        model, x = network(problem).to(device), problem.at().to(device)
        operator, parameters = maker(problem, model, x), list(model.parameters())

        def values() -> tuple[Tensor, ...]:
            value = operator(x)
            loss = value.square().mean()
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
            # The last bias has no part in derivatives.
            return value.detach(), *gradients[:-1]

        return Prepared(values, values)

    return [Contestant(name, lambda maker=maker: prepared(maker)) for name, maker in makers.items()]  # type: ignore[misc]


def ours(problem: Problem, model: nn.Module, x: Tensor) -> Operator:
    """This library."""
    if problem.operator == "biharmonic":
        return lambda x: biharmonic(model, x)
    if problem.operator == "laplacian":
        return lambda x: laplacian(model, x)
    return lambda x: laplacian(model, x, estimator=Hutchinson(SAMPLES), generator=SEED)


def nested(problem: Problem, model: nn.Module, x: Tensor) -> Operator:
    """Reverse mode over reverse mode, as DeepXDE does it: one call for each component of the gradient."""
    directions = problem.directions(x)

    def gradient(y: Tensor, x: Tensor) -> Tensor:
        (found,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return found

    def along(y: Tensor, x: Tensor) -> Tensor:
        slope = gradient(y, x)
        if problem.operator != "16 directions":
            return sum_of([gradient(slope[:, i], x)[:, i] for i in range(problem.dim)])
        return sum_of([(gradient(slope @ v, x) @ v) for v in directions])

    def operator(x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        value = along(model(x)[:, 0], x)
        return along(value, x) if problem.operator == "biharmonic" else value

    return operator


def hessian(problem: Problem, model: nn.Module, x: Tensor) -> Operator:
    """The trace of the whole Hessian of each point."""
    if problem.operator != "laplacian" or problem.dim > MOST_FOR_HESSIANS:
        raise Missing(f"whole Hessians are for Laplacians with d up to {MOST_FOR_HESSIANS}")
    whole = torch.func.vmap(torch.func.hessian(lambda p: model(p)[0]))
    return lambda x: torch.einsum("pii->p", whole(x))


def jvp_of_grad(problem: Problem, model: nn.Module, x: Tensor) -> Operator:
    """Forward over reverse mode, vectorized over directions and points."""
    directions = problem.directions(x)

    def along(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def second(p: Tensor, v: Tensor) -> Tensor:
            slope: Tensor = torch.func.jvp(torch.func.grad(function), (p,), (v,))[1]
            return slope @ v

        return lambda p: torch.func.vmap(second, (None, 0))(p, directions).sum()

    operator = along(lambda p: model(p)[0])
    return torch.func.vmap(along(operator) if problem.operator == "biharmonic" else operator)


def peer(problem: Problem, model: nn.Module, x: Tensor) -> Operator:
    """The collapsed Taylor mode of jet-for-pytorch, vectorized over points."""
    library: Any = find("jet:laplacian", PEER_HINT), find("jet:bilaplacian", PEER_HINT)
    mock = (torch.zeros(problem.dim).to(x),)
    if problem.operator == "biharmonic":
        single = library[1](model, mock)
    elif problem.operator == "laplacian":
        single = library[0](model, mock)
    else:
        directions = problem.directions(x)
        single = library[0](model, mock, weighting=(lambda _, v: v @ directions, SAMPLES))
    mapped = torch.func.vmap(single)
    return lambda x: mapped(x)[:, 0]


def sum_of(terms: list[Tensor]) -> Tensor:
    """Their sum."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
