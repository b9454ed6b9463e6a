"""Calls as text, ``RAD(every=50)``: read without running anything, and spelled in one way.

Arguments are Python literals, or calls of a few known functions with literals.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sciml.errors import ConfigError, nearest

_OPENING, _CLOSING, _QUOTES = "([{", ")]}", "'\""
_NUMBER = (int, float)


@dataclass(frozen=True)
class Call:
    """A name with arguments; without parentheses it has none.

    Examples
    --------
    >>> [str(call) for call in calls_in("R3+RAD(50,power=2)")]
    ['R3', 'RAD(50, power=2)']
    """

    name: str
    positional: tuple[Any, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        told = [repr(value) for value in self.positional]
        told += [f"{name}={value!r}" for name, value in self.named.items()]
        return f"{self.name}({', '.join(told)})" if told else self.name

    def arguments(self, function: Callable[..., Any], hidden: Collection[str] = ()) -> dict[str, Any]:
        """The arguments of a call of ``function`` by name, in its order, without those that are the defaults.

        Whole numbers are floats where the default is one, so that texts that mean the same are spelled alike.

        Parameters
        ----------
        function : callable
        hidden : collection of str
            Parameters that the text may not give.

        Raises
        ------
        ConfigError
            If the function does not take them, with what it takes.
        """
        signature = inspect.signature(function)
        known = {name: p for name, p in signature.parameters.items() if name not in hidden}
        listed = ", ".join(_told(parameter) for parameter in known.values()) or "no arguments"
        takes = f"{self.name} takes {listed}"
        for name in self.named:
            if name not in known:
                raise ConfigError(f"{takes}; got {name}={self.named[name]!r}.{nearest(name, known)}")
        try:
            open_to = signature.replace(parameters=[*known.values()])
            bound = open_to.bind(*self.positional, **self.named)
        except TypeError as error:
            raise ConfigError(f"{takes}; got {self}: {error}.") from None
        for name, value in bound.arguments.items():
            if isinstance(known[name].default, _NUMBER) and not isinstance(value, _NUMBER):
                raise ConfigError(f"{takes}; got {name}={value!r}, which is no number.")
        found = {name: _as(value, known[name].default) for name, value in bound.arguments.items()}
        return {name: value for name, value in found.items() if not _same(value, known[name].default)}


def calls_in(
    text: str, form: str = "Class(name=value)+...", parts: Mapping[str, Callable[..., Any]] | None = None
) -> list[Call]:
    """The calls in ``A+B(x=1)``.

    Parameters
    ----------
    text : str
    form : str
        What errors call the right form.
    parts : mapping
        What may be called in arguments, by name, in either case.

    Raises
    ------
    ConfigError
        If the text is something else, or an argument no literal.
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        raise ConfigError(f"{text!r} is not of the form {form}.") from None
    found = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        found.append(_call(node.right, text, form, parts or {}))
        node = node.left
    return [_call(node, text, form, parts or {}), *reversed(found)]


def _call(node: ast.expr, text: str, form: str, parts: Mapping[str, Callable[..., Any]]) -> Call:
    if isinstance(node, ast.Name):
        return Call(node.id)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise ConfigError(f"{text!r} is not of the form {form}.")
    who = node.func.id
    positional = tuple(_value(argument, who, parts) for argument in node.args)
    names = [str(keyword.arg) for keyword in node.keywords]
    if len(set(names)) < len(names):
        raise ConfigError(f"{text!r} gives {who} an argument twice.")
    values = [_value(keyword.value, f"{who}, {keyword.arg}", parts) for keyword in node.keywords]
    named = dict(zip(names, values, strict=True))
    return Call(who, positional, named)


def _value(node: ast.expr, who: str, parts: Mapping[str, Callable[..., Any]]) -> Any:
    made_by = {name.lower(): (name, function) for name, function in parts.items()}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.lower() in made_by:
        name, function = made_by[node.func.id.lower()]
        made = replace(_call(node, "", "", {}), name=name)
        try:
            return function(**made.arguments(function))
        except TypeError as error:
            raise ConfigError(f"{who}: {made} cannot be made: {error}.") from None
    try:
        return _hashable(ast.literal_eval(node))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        also = f", or one of {', '.join(sorted(parts))}" if parts else ""
        raise ConfigError(
            f"{who}: {ast.unparse(node)} is not a number, True, False, None, a text in quotes or a tuple of "
            f"these{also}."
        ) from None


def spelled(name: str, arguments: Mapping[str, Any]) -> str:
    """The text of a call, the same for the same arguments.

    Examples
    --------
    >>> spelled("RAD", {"every": 50}), spelled("R3", {})
    ('RAD(every=50)', 'R3')
    """
    return (
        f"{name}({','.join(f'{key}={value!r}' for key, value in arguments.items())})" if arguments else name
    )


def split_list(text: str) -> list[str]:
    """The parts of a text between commas that are in no brackets and no quotes, stripped.

    Examples
    --------
    >>> split_list("plain, plain+RAD(every=50,power=2),small")
    ['plain', 'plain+RAD(every=50,power=2)', 'small']
    """
    return [part.strip() for part in _parts(text)]


def _parts(text: str) -> Iterator[str]:
    depth, quote, begin = 0, "", 0
    for i, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES:
            quote = letter
        elif letter in _OPENING:
            depth += 1
        elif letter in _CLOSING:
            depth -= 1
        elif letter == "," and depth == 0:
            yield text[begin:i]
            begin = i + 1
    yield text[begin:]


def _told(parameter: inspect.Parameter) -> str:
    return (
        parameter.name if parameter.default is parameter.empty else f"{parameter.name}={parameter.default!r}"
    )


def _as(value: Any, default: Any) -> Any:
    return float(value) if isinstance(default, float) and type(value) is int else value


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)


def _hashable(value: Any) -> Any:
    """Frozen values hold tuples."""
    return tuple(_hashable(item) for item in value) if isinstance(value, list | tuple) else value
