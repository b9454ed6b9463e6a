"""A surrogate as one traced graph whose batch and grid sizes stay open."""

from __future__ import annotations

import contextlib
import inspect
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sciml.artefact import INPUT, OUTPUT
from sciml.calling import EXTRAS, call, name_of
from sciml.errors import ConfigError

if TYPE_CHECKING:
    from sciml.grid import Axis
    from sciml.surrogate import Surrogate

_TRACED_BATCH = 2  # torch takes a size of 1 for a constant


class Physical(nn.Module):
    """Decode(model(encode(x))) of physical fields, with coordinates made from the sizes of x.

    The sizes may be symbolic: only whole numbers, and quotients of them in float64, are computed from them.
    """

    def __init__(self, surrogate: Surrogate) -> None:
        super().__init__()
        self.model = surrogate.model
        self.encoder, self.decoder = surrogate.input_normalization, surrogate.output_normalization
        self.axes, self.dtype = surrogate.grid.axes, surrogate.dtype
        self.asked = asked_of(surrogate.model)
        self.dt = None if surrogate.evolution is None else surrogate.evolution.dt

    def forward(self, fields: Tensor) -> Tensor:
        """(batch, channel, *space) to (batch, channels of the outputs, *space), float32."""
        batch, _, *sizes = fields.shape
        extras: dict[str, Tensor] = {}
        if "coordinates" in self.asked:
            lines = [unit_points(axis, n) for axis, n in zip(self.axes, sizes, strict=True)]
            points = torch.stack(torch.meshgrid(*lines, indexing="ij")).to(self.dtype)
            extras["coordinates"] = points.expand(batch, *points.shape)
        if self.dt is not None:
            extras["dt"] = torch.full((batch,), self.dt, dtype=self.dtype)
        encoded = self.encoder.encode(fields).to(self.dtype)
        return self.decoder.decode(call(self.model, encoded, extras).to(torch.float32))


def unit_points(axis: Axis, size: int) -> Tensor:
    """`Grid.unit_coordinates` along one axis of any size, which may be symbolic: (size,), float64."""
    intervals = size - 1 if axis.location == "node" and not axis.periodic else size
    offset = 0.5 if axis.location == "cell" else 0.0
    return (torch.arange(size, dtype=torch.float64) + offset) / intervals


def asked_of(model: nn.Module) -> frozenset[str]:
    """The extras that a model names; of one that wraps another as ``model``, those that both name."""
    named = frozenset(inspect.signature(type(model).forward).parameters) & set(EXTRAS)
    inner = getattr(model, "model", None)
    return named & asked_of(inner) if isinstance(inner, nn.Module) else named


@dataclass(frozen=True)
class Size:
    """The sizes that one axis of the grid may have.

    Parameters
    ----------
    trained, least : int
        That of the training, and the smallest one.
    symbol : str or None
        Its name in the graph; None if only the size of the training is possible.
    like : int or None
        The number of an earlier axis that must have the same size.
    """

    trained: int
    least: int
    symbol: str | None
    like: int | None = None


@dataclass(frozen=True)
class Traced:
    """A graph of `torch.export`, the symbol of its batch size, and the sizes of each axis."""

    program: torch.export.ExportedProgram
    batch: str
    sizes: tuple[Size, ...]


def trace(surrogate: Surrogate, dynamic: bool) -> Traced:
    """The graph of a surrogate whose model lies on the CPU, in evaluation mode.

    Raises
    ------
    ConfigError
        If torch.export cannot follow the model.
    ShapeError
        If the model does not fit its own grid.
    """
    shape, dim = surrogate.grid.shape, torch.export.Dim.AUTO
    least = _least_sizes(surrogate) if dynamic else shape
    hints = {0: dim(min=1)} | ({2 + a: dim(min=n) for a, n in enumerate(least)} if dynamic else {})
    example = inputs(surrogate, _TRACED_BATCH, shape)
    try:
        with torch.no_grad(), _quiet():
            program = torch.export.export(Physical(surrogate).eval(), (example,), dynamic_shapes=(hints,))
    except Exception as error:  # whatever the code of the model runs into
        raise ConfigError(
            f"export: torch.export cannot follow {name_of(surrogate.model)}: {type(error).__name__}: "
            f"{str(error).strip().partition(chr(10))[0]}."
            f"{' A fixed grid (dynamic=False, --static) may do.' if dynamic else ''}"
        ) from error
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # paths of this machine
    program.example_inputs = None  # would be written as a pickle
    name = program.graph_signature.user_inputs[0]
    value = next(node.meta["val"] for node in program.graph.nodes if node.name == name)
    symbols = [None if isinstance(n, int) else str(n) for n in value.shape[2:]]
    sizes = []
    for axis, (trained, smallest, symbol) in enumerate(zip(shape, least, symbols, strict=True)):
        if symbol is None:
            sizes.append(Size(trained, trained, None))
        else:
            first = symbols.index(symbol)
            sizes.append(Size(trained, smallest, symbol, first if first < axis else None))
    return Traced(program, str(value.shape[0]), tuple(sizes))


def _least_sizes(surrogate: Surrogate) -> tuple[int, ...]:
    """The coarsest grid that the model's ``check_grid`` accepts; without that, the grid of training."""
    shape, model = surrogate.grid.shape, surrogate.model
    if not all(hasattr(module, "check_grid") for module in (model, getattr(model, "model", model))):
        return shape
    check: Callable[[Sequence[int]], None] = model.check_grid  # type: ignore[assignment]
    check(shape)

    def accepted(sizes: Sequence[int]) -> bool:
        try:
            check(tuple(sizes))
        except ValueError:
            return False
        return True

    found = []
    for axis, trained in enumerate(shape):
        least = trained
        # Alone, or with all axes of this size: some models exchange them.
        while least > 2 and (
            accepted([least - 1 if a == axis else n for a, n in enumerate(shape)])
            or accepted([least - 1 if n == trained else n for n in shape])
        ):
            least -= 1
        found.append(least)
    return tuple(found)


def inputs(surrogate: Surrogate, batch: int, shape: Sequence[int]) -> Tensor:
    """Noise in the range of training, (batch, channel, *shape): it has all frequencies; always the same."""
    normalization = surrogate.input_normalization
    low, high = normalization.mean - normalization.scale, normalization.mean + normalization.scale
    for channel, (field, i) in enumerate(surrogate.columns):
        if field.minimum is not None and field.maximum is not None:
            low[channel], high[channel] = field.minimum[i], field.maximum[i]
    low, high = (bound.reshape(-1, *[1] * len(shape)) for bound in (low, high))
    noise = torch.rand(batch, len(low), *shape, generator=torch.Generator().manual_seed(0))
    return (low + (high - low) * noise).to(torch.float32)


def to_onnx(traced: Traced, axes: Sequence[str], model: str) -> Any:
    """The graph as an `onnx.ModelProto` with readable names of sizes, and without paths of this machine.

    Raises
    ------
    ConfigError
        If an operation of the model has no translation.
    """
    try:
        with _quiet():
            converted: Any = torch.onnx.export(
                traced.program, (), dynamo=True, verbose=False, input_names=[INPUT], output_names=[OUTPUT]
            )
    except Exception as error:  # of the translator of an operation
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ConfigError(
            f"export: torch.onnx cannot translate {model} ({reason[0]}). Export it to .pt2."
        ) from error
    proto = converted.model_proto
    renamed: dict[str | None, str] = {traced.batch: "batch"}
    for size, name in zip(traced.sizes, axes, strict=True):
        renamed.setdefault(size.symbol, f"n_{name}")
    for value in (*proto.graph.input, *proto.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(r"\w+", lambda found: renamed.get(found[0], found[0]), dim.dim_param)
    del proto.graph.value_info[:]  # sizes of intermediate results, under the names of the graph
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.output):
        del part.metadata_props[:]
    return proto


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch and its exporters have to say about their own code."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
