"""From short names and NAME=VALUE texts to objects: the only place where strings become classes."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import inspect
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

from sciml.errors import ConfigError, nearest


def operators() -> dict[str, Callable[..., Any]]:
    """Operator classes by lower-case name: those of `sciml.operators`, then installed entry points.

    Wrappers of other operators, which have no channels of their own, are left out.
    """
    from sciml import operators as area

    listed = {name.lower(): getattr(area, name) for name in area.__all__}
    known = {n: cls for n, cls in listed.items() if "in_channels" in inspect.signature(cls).parameters}
    return _with_plugins(known, "sciml.operators")


def generators() -> dict[str, Callable[..., Any]]:
    """Generators of data, NavierStokes as "navier-stokes": `sciml.datasets`, then installed entry points."""
    from sciml import datasets as area

    return _with_plugins({dashed(name): getattr(area, name) for name in area.__all__}, "sciml.datasets")


def problems() -> dict[str, Callable[..., Any]]:
    """Problems, AllenCahn as "allen-cahn": `sciml.pinns.problems`, those with unknowns, entry points."""
    from sciml.pinns import problems as area
    from sciml.pinns.problems import inverse

    known = {dashed(name): getattr(home, name) for home in (area, inverse) for name in home.__all__}
    return _with_plugins(known, "sciml.problems")


def dashed(name: str) -> str:
    """The name of a class as people type it.

    Examples
    --------
    >>> dashed("NavierStokes"), dashed("Darcy")
    ('navier-stokes', 'darcy')
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def _with_plugins(known: dict[str, Callable[..., Any]], group: str) -> dict[str, Callable[..., Any]]:
    for entry in importlib.metadata.entry_points(group=group):
        try:
            known.setdefault(entry.name.lower(), entry.load())
        except Exception as error:  # somebody else's broken package must not break ours
            warnings.warn(f"the plug-in {entry.name!r} ({entry.value}) is left out: {error}", stacklevel=2)
    return known


def choose(what: str, name: str, known: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """The entry called ``name``, in either case.

    Raises
    ------
    ConfigError
        For an unknown name, with the nearest spelling and the list.
    """
    if name.lower() not in known:
        raise ConfigError(
            f"there is no {what} {name!r}; there is {', '.join(sorted(known))}.{nearest(name.lower(), known)}"
        )
    return known[name.lower()]


def setup_of(known: Mapping[str, Callable[..., Any]], name: str) -> Callable[..., Any]:
    """The class that ``name`` means; for ``operator/setup`` with the arguments of that published set-up.

    Raises
    ------
    ConfigError
        For an unknown operator or set-up.
    """
    from sciml.operators.presets import setups_of

    operator, slash, title = name.partition("/")
    cls = choose("operator", operator, known)
    if not slash:
        return cls
    found = setups_of(cls)
    if title.lower() not in found:
        listed = ", ".join(f"{operator}/{each}" for each in found) or "none"
        raise ConfigError(
            f"there is no published set-up {name!r}; of {operator} there is {listed}."
            f"{nearest(title.lower(), found)}"
        )
    return functools.partial(cls, **found[title.lower()].arguments)


def chosen_operator(
    name: str | None, default: functools.partial[Any] | None = None, *, allow_code: bool = False
) -> tuple[str, Callable[..., Any], str | None]:
    """The operator that ``name`` means: its name, what makes it, and SHA-256 of the user's file.

    ``mgno/darcy-rough`` has the arguments of that published set-up (`sciml.operators.presets`). Without a
    name it is ``default``, which also keeps its settings where the name is that of its class; without either
    it is fno.

    Raises
    ------
    ConfigError
        For an unknown operator or set-up, or a user's file without permission to run it.
    """
    if name is not None and is_code(name):
        function, code = load_code(name, allowed=allow_code)
        return name, function, code
    known = operators()
    cls = None if default is None else default.func
    own = next((listed for listed, found in known.items() if found is cls), "fno")
    chosen = (name or own).lower()
    factory = setup_of(known, chosen)
    return chosen, default if default is not None and factory is cls else factory, None


def parse_settings(pairs: Iterable[str], option: str = "--set") -> dict[str, Any]:
    """NAME=VALUE texts as a dictionary; values are Python literals, or one of `parts` made from literals.

    Raises
    ------
    ConfigError
        If a text is not of this form, a value is nothing of this kind, or a name comes twice.

    Examples
    --------
    >>> parse_settings(["width=64", "modes=(16, 8)", "coordinates=False"])
    {'width': 64, 'modes': (16, 8), 'coordinates': False}
    >>> parse_settings(["modes=TuckerWeights(16, rank=0.05)"])
    {'modes': TuckerWeights(modes=16, rank=0.05)}
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier():
            raise ConfigError(f"{option} takes NAME=VALUE, such as {option} width=64, got {pair!r}.")
        if name in found:
            raise ConfigError(f"{option} {name}=... is given twice.")
        try:
            found[name] = _value(name, ast.parse(text.strip(), mode="eval").body)
        except ConfigError:
            raise
        except (ValueError, SyntaxError):
            raise ConfigError(
                f"--set {name}: {text!r} is not a number, True, False, None, a quoted text or a tuple of "
                f"these; text needs quotes that reach Python: --set '{name}=\"{text.strip()}\"'."
            ) from None
    return found


def parts() -> dict[str, Callable[..., Any]]:
    """What an operator may take instead of a number, by the name of the class."""
    from sciml import neighbors
    from sciml.operators import (
        ffno,
        gino,
        gnot,
        message_settings,
        multigrid,
        sensors,
        spectral_weights,
        transolver,
        unet,
    )

    homes = {
        ffno: ("Stack",),
        gino: ("Lattice", "Sources"),
        gnot: ("Gated",),
        message_settings: ("Context", "Graph", "State"),
        multigrid: ("Cycle",),
        neighbors: ("Nearest", "Radius"),
        sensors: ("Sensors",),
        spectral_weights: (
            "BlockDiagonalWeights",
            "CPWeights",
            "DenseWeights",
            "SeparableWeights",
            "TuckerWeights",
        ),
        transolver: ("Sliced",),
        unet: ("Levels",),
    }
    return {name: getattr(home, name) for home, names in homes.items() for name in names}


def _value(name: str, node: ast.expr) -> Any:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return ast.literal_eval(node)
    known, called = parts(), node.func.id
    if called not in known:
        listed = ", ".join(sorted(known))
        raise ConfigError(f"--set {name}: there is no {called}; there is {listed}.{nearest(called, known)}")
    named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    try:
        return known[called](*(ast.literal_eval(argument) for argument in node.args), **named)
    except TypeError as error:  # a setting that it does not have, a text where a number belongs
        raise ConfigError(f"--set {name}: {called} does not accept this: {error}") from error


def check_settings(
    who: str, function: Callable[..., Any], given: Iterable[str], reserved: Iterable[str]
) -> None:
    """Refuse a setting that ``function`` does not take, and one that the data decide.

    Raises
    ------
    ConfigError
        With the nearest spelling and the list of settings.
    """
    taken = set(reserved)
    known = [name for name in inspect.signature(function).parameters if name not in taken]
    for name in given:
        if name in taken:
            raise ConfigError(f"--set {name}: the data decide this argument of {who}.")
        if name not in known:
            listed = ", ".join(known) or "none"
            raise ConfigError(
                f"--set {name}: {who} has no such setting; it has {listed}.{nearest(name, known)}"
            )


def is_code(text: str) -> bool:
    """Whether something is given as ``file.py:name``, not by a name of ours."""
    return ".py:" in text


class _AsWritten(SourceFileLoader):
    """Compiles what the file says now, not bytecode of what it said earlier in the same second."""

    def path_stats(self, path: Any) -> Any:
        raise OSError("no time, so no bytecode is read or written")


def load_code(
    text: str,
    *,
    allowed: bool,
    option: str = "--operator",
    form: str = "a function build(in_channels, out_channels, data)",
) -> tuple[Callable[..., Any], str]:
    """The function or class that ``file.py:name`` names, and the SHA-256 of the file.

    ``option`` and ``form`` say in errors where it was given and what it should be.

    Raises
    ------
    ConfigError
        Without permission, for a missing file, or a file without that name.
    """
    file, _, name = text.rpartition(":")
    path, who = Path(file), f"{option} {text}".strip()
    if not allowed:
        raise ConfigError(f"{who} runs the code in {path}; allow it with --allow-code.")
    if not path.is_file():
        raise ConfigError(f"{who}: there is no file {path}.")
    spec = importlib.util.spec_from_file_location(path.stem, path, loader=_AsWritten(path.stem, str(path)))
    if spec is None or spec.loader is None:
        raise ConfigError(f"{who}: {path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # dataclasses and annotations look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"{who}: {path} fails with {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ConfigError(f"{who}: {path} has no {name!r}; write it as {form}.{nearest(name, known)}")
    return found, hashlib.sha256(path.read_bytes()).hexdigest()
