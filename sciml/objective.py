"""What a training minimizes, and on what: the protocol between problems and the one trainer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sciml.errors import ConfigError
from sciml.streams import Streams

if TYPE_CHECKING:
    from sciml.point_surrogate import PointSurrogate
    from sciml.surrogate import Surrogate


@dataclass(frozen=True)
class Term:
    """One summand of a loss, with its per-point values kept.

    The loss it stands for is ``mean(weight * values)``, or ``mean(weight * values**2)`` when ``square``.
    Least-squares optimizers, neural-tangent weights and causal weights read the same ``values``.
    """

    values: Tensor
    weight: Tensor | float = 1.0
    square: bool = False

    def mean(self) -> Tensor:
        """The weighted mean, a scalar."""
        return self.summands().mean()

    def sum(self) -> Tensor:
        """The weighted sum, a scalar; what processes add up before they divide."""
        return self.summands().sum()

    def summands(self) -> Tensor:
        """What the mean is taken of."""
        return self.weight * (self.values.square() if self.square else self.values)

    def factor(self) -> Tensor:
        """What the values are multiplied by so that their squares add up to `mean`, in their shape."""
        weight = torch.as_tensor(self.weight, dtype=self.values.dtype, device=self.values.device)
        return (weight / self.values.numel()).sqrt().expand_as(self.values)

    @property
    def weighted(self) -> bool:
        """Whether a weight other than 1 was given."""
        return isinstance(self.weight, Tensor) or self.weight != 1

    def times(self, factor: Tensor) -> Term:
        """With its weight times this one: a scalar, or (n,) for values (n, ...)."""
        shape = (-1, *(1,) * (self.values.ndim - 1)) if factor.ndim else ()
        return replace(self, weight=self.weight * factor.to(self.values).reshape(shape))

    def plain(self) -> Term:
        """Without its weight and without gradients: what can be compared between steps."""
        return Term(self.values.detach(), square=self.square)


def total(terms: Mapping[str, Term]) -> Tensor:
    """The scalar loss: the sum of all terms' means."""
    return sum_of({name: term.mean() for name, term in terms.items()})


def sum_of(means: Mapping[str, Tensor]) -> Tensor:
    """The scalar loss from the terms' means, or from one process's shares of them: where it is formed."""
    return torch.stack(list(means.values())).sum()


def roots(terms: Mapping[str, Term]) -> dict[str, Tensor]:
    """Residuals of each term, (n,), weights and means within them: their squares add up to the loss.

    Raises
    ------
    ConfigError
        If a term is no mean of squares, or has a negative weight.
    """
    for name, term in terms.items():
        if not term.square or bool((torch.as_tensor(term.weight) < 0).any()):
            what = "has a negative weight" if term.square else "is no mean of squares"
            raise ConfigError(
                f"the term {name!r} {what}, so a least-squares optimizer has no residuals to work on; take "
                "one that needs the gradient only, such as AdamW or sciml.optimizers.SelfScaledBroyden."
            )
    return {name: (term.factor() * term.values).flatten() for name, term in terms.items()}


@dataclass(frozen=True)
class Batch:
    """What one optimizer step is made on.

    ``tensors`` have the batch as first axis and are cut by `split`; ``shared`` (a grid, a scalar) are not.
    ``parts`` are the batches of the summands of an objective that is a sum.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    shared: Mapping[str, Tensor] = field(default_factory=dict)
    parts: tuple[Batch, ...] = ()

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name] if name in self.tensors else self.shared[name]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(
            {name: tensor.to(device, non_blocking=True) for name, tensor in self.tensors.items()},
            {name: tensor.to(device, non_blocking=True) for name, tensor in self.shared.items()},
            tuple(part.to(device) for part in self.parts),
        )

    def split(self, count: int) -> Iterator[Batch]:
        """``count`` batches of equal size, so that the mean of their losses is the loss of the whole.

        Raises
        ------
        ConfigError
            If a batch size is not a multiple of ``count``.
        """
        for name, tensor in self.tensors.items():
            if len(tensor) % count:
                raise ConfigError(
                    f"accumulate={count} does not divide the {len(tensor)} entries of {name!r} in a batch; "
                    "choose a batch size that is a multiple of it."
                )
        parts = [tuple(part.split(count)) for part in self.parts]
        for i in range(count):
            yield Batch(
                {name: tensor.chunk(count)[i] for name, tensor in self.tensors.items()},
                self.shared,
                tuple(part[i] for part in parts),
            )


class Objective(ABC):
    """What to minimize.  A subclass gives `draw` and `terms`; the rest has a default.

    ``a + 0.1 * b`` is an objective too: both are drawn each step, and their terms are added.
    """

    @abstractmethod
    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        """Sample, adapt, reweigh: called exactly once for each optimizer step; it may evaluate the model."""

    @abstractmethod
    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        """The loss terms on ``batch``: pure, called as often as a line search likes."""

    def check(self, model: nn.Module) -> None:  # noqa: B027 - a default, not an omission
        """Raise, in one sentence, whatever would go wrong; called before the first step."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """Trainable values of the objective itself: unknown coefficients, self-adaptive weights."""
        return ()

    def modules(self) -> Iterable[nn.Module]:
        """Modules that hold `parameters`, as unknown functions do: differentiated along with the model."""
        return ()

    def facts(self) -> dict[str, Any]:
        """What the row of a step tells besides the losses, by name: weights, say; as of the last `draw`."""
        return {}

    def evaluate(self, model: nn.Module, streams: Streams) -> dict[str, float]:
        """The metrics when this objective serves as validation; by default its loss on a fixed batch."""
        batch = self.draw(0, model, streams)
        with torch.no_grad():
            return {"loss": float(total(self.terms(model, batch)))}

    def surrogate(self, model: nn.Module) -> Surrogate | PointSurrogate | None:
        """The trained model as a surrogate, if the objective knows names and units for it."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Everything besides parameters that a resumed run needs: points, weights, causal state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - likewise
        """The inverse of `state_dict`."""

    def __add__(self, other: Objective) -> Objective:
        return Sum(((1.0, self), (1.0, other)))

    def __mul__(self, factor: float) -> Objective:
        return Sum(((float(factor), self),))

    __rmul__ = __mul__


class Sum(Objective):
    """A weighted sum of objectives; made by ``a + 0.1 * b``."""

    def __init__(self, parts: tuple[tuple[float, Objective], ...]) -> None:
        flat: list[tuple[float, Objective]] = []
        for factor, part in parts:
            inner = part.parts if isinstance(part, Sum) else ((1.0, part),)
            flat += [(factor * f, p) for f, p in inner]
        self.parts: tuple[tuple[float, Objective], ...] = tuple(flat)

    def description(self) -> dict[str, Any]:
        """For `describe`."""
        return {"parts": self.parts}

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        return Batch(parts=tuple(part.draw(step, model, streams) for _, part in self.parts))

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        found: dict[str, Term] = {}
        for (factor, part), piece in zip(self.parts, batch.parts, strict=True):
            for name, term in part.terms(model, piece).items():
                weighed = Term(term.values, factor * term.weight, term.square)
                found[_unused(name, found)] = weighed
        return found

    def check(self, model: nn.Module) -> None:
        for _, part in self.parts:
            part.check(model)

    def parameters(self) -> Iterable[nn.Parameter]:
        for _, part in self.parts:
            yield from part.parameters()

    def modules(self) -> Iterable[nn.Module]:
        for _, part in self.parts:
            yield from part.modules()

    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _, part in self.parts:
            for name, fact in part.facts().items():
                found[_unused(name, found)] = fact
        return found

    def surrogate(self, model: nn.Module) -> Surrogate | PointSurrogate | None:
        return next((s for _, part in self.parts if (s := part.surrogate(model)) is not None), None)

    def state_dict(self) -> dict[str, Any]:
        return {str(i): part.state_dict() for i, (_, part) in enumerate(self.parts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for i, (_, part) in enumerate(self.parts):
            part.load_state_dict(state[str(i)])


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    """Two summands of one kind keep both of their terms: u, u.2, u.3, ..."""
    found, copy = name, 2
    while found in taken:
        found, copy = f"{name}.{copy}", copy + 1
    return found
