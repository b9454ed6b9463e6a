"""The Jacobian of a batch's residuals by weights of a model, entry by entry where they are independent.

A residual at one point of a batch depends on that point alone, so its gradient costs a backward pass through
one point and not through all.  This is seen and not asked for: entries are evaluated one by one, vectorized
by `torch.func`, and where the values are not those of the whole batch, or it cannot be done, the rows of that
term are differentiated one after the other.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from sciml.objective import Batch, Objective, Term
from sciml.optimizers.linearization import by_columns, by_rows

logger = logging.getLogger(__name__)

_CHUNK = 2**24  # numbers of the Jacobian that are made together


@torch.no_grad()
def jacobian(
    objective: Objective,
    model: nn.Module,
    batch: Batch,
    terms: Mapping[str, Term],
    residuals: Mapping[str, Tensor],
    parameters: Sequence[Tensor],
) -> Tensor:
    """The derivatives (n, P) of the residuals by the parameters.

    Parameters
    ----------
    objective, model, batch
    terms : mapping
        Those of the batch.
    residuals : mapping
        The ``roots(terms)``, with their graphs.
    parameters : sequence of tensors
        The trainable ones of the model, then those of the objective.
    """
    inside = _Inside(model, objective)
    weights = {name: p for name, p in inside.named_parameters() if p.requires_grad}
    known = {id(p) for p in weights.values()}
    own = [p for p in parameters if id(p) not in known]
    found: dict[str, Tensor] = {}
    for size in sorted({len(tensor) for tensor in _tensors(batch)}):
        found |= _of_entries(inside, weights, batch, size, terms)
    result = torch.cat(
        [
            found[name] if name in found else by_rows(r, list(weights.values()))
            for name, r in residuals.items()
        ]
    )
    if own:
        with torch.enable_grad():
            r = torch.cat(list(residuals.values()))
        result = torch.cat([result, by_columns(r, own)], dim=1)
    return _in_order(result, [*weights.values(), *own], parameters)


def _in_order(columns: Tensor, found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Columns of the one list of parameters as those of the other."""
    if all(one is other for one, other in zip(found, wanted, strict=True)):
        return columns
    parts = columns.split([p.numel() for p in found], dim=1)
    place = {id(p): part for p, part in zip(found, parts, strict=True)}
    return torch.cat([place[id(p)] for p in wanted], dim=1)


class _Inside(nn.Module):
    """The terms as a forward pass, which `torch.func` calls with other weights, also of unknown functions."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.own = nn.ModuleList(objective.modules())
        self.objective = objective

    def forward(self, batch: Batch) -> dict[str, Term]:
        return self.objective.terms(self.model, batch)


def _of_entries(
    inside: _Inside, weights: Mapping[str, Tensor], batch: Batch, size: int, terms: Mapping[str, Term]
) -> dict[str, Tensor]:
    """Rows of the terms that belong to the tensors of this many entries, if they can be had one by one."""
    names = [name for name, term in terms.items() if term.values.ndim and len(term.values) == size]
    if not names:
        return {}

    def of_one(weights: dict[str, Tensor], index: Tensor) -> Any:
        found = functional_call(inside, weights, (_entry(batch, size, index),))
        values = {name: found[name].values for name in names}
        return values, values

    numbers = sum(p.numel() for p in weights.values())
    each = vmap(jacrev(of_one, has_aux=True), (None, 0), chunk_size=max(1, _CHUNK // numbers))
    constants = {name: p.detach() for name, p in weights.items()}
    try:
        slopes, values = each(constants, torch.arange(size, device=terms[names[0]].values.device))
    except (RuntimeError, ValueError) as error:
        logger.info("the Jacobian of %s is made row by row: %s", ", ".join(names), error)
        return {}
    found = {}
    for name in names:
        term, factor = terms[name], terms[name].factor()
        if not factor.requires_grad and _same(values[name].reshape(term.values.shape), term.values.detach()):
            parts = [slope.reshape(term.values.numel(), -1) for slope in slopes[name].values()]
            found[name] = torch.cat(parts, dim=1) * factor.reshape(-1, 1)
    return found


def _entry(batch: Batch, size: int, index: Tensor) -> Batch:
    """One entry of the tensors of that size, the first of all others."""
    return Batch(
        {
            name: tensor.index_select(0, index[None]) if len(tensor) == size else tensor[:1]
            for name, tensor in batch.tensors.items()
        },
        batch.shared,
        tuple(_entry(part, size, index) for part in batch.parts),
    )


def _tensors(batch: Batch) -> Iterator[Tensor]:
    yield from batch.tensors.values()
    for part in batch.parts:
        yield from _tensors(part)


def _same(one: Tensor, other: Tensor) -> bool:
    """To half of the digits: the two ways round differently, and a dependence on neighbors shows more."""
    bound = math.sqrt(torch.finfo(other.dtype).eps) * float(other.abs().max())
    return float((one - other).abs().max()) <= bound
