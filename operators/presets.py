"""Set-ups of operators that somebody has published, by names such as ``mgno/darcy-rough``.

The file of an operator has them as ``published``, a mapping from a name to (arguments, source).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Set-up -> (rank, channels in, channels out), and the parameters that its source counts there.
_COUNTED = {
    "fno/darcy": ((2, 1, 1), 1_188_353),
    "mgno/darcy-rough": ((2, 1, 1), 572_661),
    "mgno/darcy-multiscale": ((2, 1, 1), 572_661),
    "mgno/darcy-smooth": ((2, 1, 1), 678_093),
    "mppde/e1": ((1, 25, 25), 634_745),
    "mppde/e3": ((1, 25, 25), 639_737),
}


@dataclass(frozen=True)
class Setup:
    """Arguments of an operator that somebody has published.

    Parameters
    ----------
    operator : class
    arguments : mapping
        All that is not left at its default; the data give rank and channels.
    source : str
        Where they are from.
    problem : (int, int, int), optional
        Rank, input and output channels for which the source counts parameters.
    parameters : int, optional
        Their number, in which a complex number is one.
    """

    operator: Any
    arguments: Mapping[str, Any]
    source: str
    problem: tuple[int, int, int] | None = None
    parameters: int | None = None


def setups_of(operator: Any) -> dict[str, Setup]:
    """The published set-ups of one operator, by name without that of the operator.

    An operator that derives from another one in its file has none.

    Examples
    --------
    >>> from sciml.operators import MPPDE, MultiONet
    >>> found = setups_of(MPPDE)
    >>> list(found), found["e1"].parameters
    (['e1', 'e2', 'e3'], 634745)
    >>> setups_of(MultiONet)
    {}
    """
    home = getattr(operator, "__module__", None)
    if home not in sys.modules or any(b.__module__ == home for b in getattr(operator, "__bases__", ())):
        return {}
    published: Mapping[str, tuple[Mapping[str, Any], str]] = getattr(sys.modules[home], "published", {})
    found = {}
    for title, (arguments, source) in published.items():
        name = title.replace("_", "-").lower()
        counted = _COUNTED.get(f"{operator.__name__.lower()}/{name}", (None, None))
        found[name] = Setup(operator, arguments, source, *counted)
    return found


def setups() -> dict[str, Setup]:
    """The published set-ups of all operators, by ``operator/name``.

    Examples
    --------
    >>> setups()["mgno/darcy-smooth"].arguments["width"]
    24
    """
    from sciml import operators as area

    classes = [getattr(area, name) for name in area.__all__]
    return {f"{cls.__name__.lower()}/{name}": s for cls in classes for name, s in setups_of(cls).items()}
