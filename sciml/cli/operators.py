"""``sciml operators``: what there is, what it can do, and with which arguments others have published it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from sciml.cli import names
from sciml.cli.output import emit_json
from sciml.operators.presets import setups_of
from sciml.operators.properties import Properties


def cards() -> dict[str, dict[str, Any]]:
    """For each operator of the command line: ``summary``, ``properties`` (phrases), ``setups``.

    Examples
    --------
    >>> card = cards()["mgno"]
    >>> card["properties"][0], card["setups"]["mgno/darcy-smooth"]["parameters"]
    ('on grids', 678093)
    """
    found = {}
    for name, operator in names.operators().items():
        described = {
            f"{name}/{title}": {"source": setup.source, "parameters": setup.parameters}
            for title, setup in setups_of(operator).items()
        }
        found[name] = {
            "summary": _summary(operator),
            "properties": phrases(getattr(operator, "properties", None)),
            "setups": described,
        }
    return found


def phrases(properties: Properties | None) -> list[str]:
    """What an operator promises, in words; of one of a plug-in that promises nothing, no words."""
    if properties is None:
        return []
    return [
        "on grids" if properties.needs_grid else "on grids, points and meshes",
        *(["periodic domains only"] if properties.periodic else []),
        "one resolution" if properties.resolution_bound else "any resolution",
        *(["linear"] if properties.linear else []),
        *([] if properties.exports else ["no export"]),
    ]


def _summary(operator: Callable[..., Any]) -> str:
    """The first paragraph of its docstring, on one line."""
    return " ".join((inspect.getdoc(operator) or "").partition("\n\n")[0].split())


def show_operators(*, json: bool) -> int:
    """List all operators and their published set-ups."""
    found = cards()
    if json:
        emit_json({"operators": found})
        return 0
    for name, card in found.items():
        print(f"{name}: {card['summary'].replace('`', '')}")
        print(f"  {', '.join(card['properties'])}")
        for title, setup in card["setups"].items():
            count = "" if setup["parameters"] is None else f" ({setup['parameters']:,} parameters)"
            print(f"  {title}: {setup['source']}{count}")
    return 0
