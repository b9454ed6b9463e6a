"""Which operation on jets is carried out how, and what is said of one that has no rule."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

RuleFunction = TypeVar("RuleFunction", bound=Callable[..., Any])

_RULES: dict[Any, Callable[..., Any]] = {}


def rule(*operations: Callable[..., Any]) -> Callable[[RuleFunction], RuleFunction]:
    """Teach jets an operation: decorate the function that is called instead of it.

    Parameters
    ----------
    operations : functions of torch, or others that dispatch by ``__torch_function__``
        For ``torch.f`` the method ``Tensor.f`` is included.

    Returns
    -------
    A decorator. The rule gets the arguments of the operation, at least one of them a `Jet`, and returns jets;
    written with operations that have rules it is the formula itself.

    Examples
    --------
    >>> import torch
    >>> from sciml.kernels.jet import jet, rule
    >>> x = torch.tensor([[0.5]], dtype=torch.float64)
    >>> @rule(torch.logaddexp)
    ... def _(a, b):
    ...     return torch.log(torch.exp(a) + torch.exp(b))
    >>> value, first = jet(lambda x: torch.logaddexp(x, -x), x, torch.ones(1, dtype=torch.float64), 1)
    >>> torch.allclose(first, torch.tanh(x))
    True
    """

    def register(function: RuleFunction) -> RuleFunction:
        for operation in operations:
            _RULES[operation] = function
            name = getattr(operation, "__name__", "")
            if getattr(torch, name, None) is operation and hasattr(Tensor, name):
                _RULES[getattr(Tensor, name)] = function
        return function

    return register


def supported() -> tuple[str, ...]:
    """The names of the operations that have a rule, in alphabetical order."""
    return tuple(sorted({name_of(operation) for operation in _RULES}))


def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """An operation on jets by its rule.

    Raises
    ------
    ValueError
        If it has none.
    """
    found = _RULES.get(operation)
    if found is None:
        raise unsupported(operation)
    return found(*args, **kwargs)


def name_of(operation: Any) -> str:
    name = getattr(operation, "__name__", repr(operation))
    return name.strip("_") if name.startswith("__") else name


def unsupported(operation: Any, reason: str = "") -> ValueError:
    """The error for an operation without a rule, or with settings that its rule does not take."""
    name = name_of(operation)
    original = getattr(operation, "__name__", "")
    in_place = original.startswith("__i") or original == "__setitem__" or name.endswith("_")
    if reason:
        way_out = reason
    elif in_place:
        way_out = "Jets never change in place: write the operation so that it returns a new tensor."
    else:
        way_out = (
            "Write it with operations that have one (sciml.kernels.jet.supported() lists them), or add its "
            f"rule with @sciml.kernels.jet.rule({name})."
        )
    return ValueError(f"sciml.kernels.jet: {name}{_place()} has no rule for Taylor series. {way_out}")


def _place() -> str:
    """Where the operation was called: the module, as its outermost module names it, and the line."""
    outside = (str(Path(__file__).parent), str(Path(torch.__file__).parent))
    modules: list[nn.Module] = []
    line = ""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not line and not file.startswith(outside):
            line = f" at {Path(file).name}:{frame.f_lineno}"
        module = frame.f_locals.get("self")
        if isinstance(module, nn.Module) and module not in modules:
            modules.append(module)
        frame = frame.f_back
    if not modules:
        return line
    inner, outer = modules[0], modules[-1]
    path = next((name for name, module in outer.named_modules() if module is inner), "")
    return f" in {path or 'the module'} ({type(inner).__name__}){line}"
