"""The exceptions of sciml, each a built-in kind with a name of its own.

A message says who speaks, what was expected, what came, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DataError(ValueError):
    """A file or an array holds something that must not be used: damaged, unsafe, incomplete or not finite."""


class ConfigError(ValueError):
    """A setting is unknown, contradictory or out of range."""


class ShapeError(ValueError):
    """A tensor's shape, channel count or grid is not what its reader expects."""


class CheckpointError(RuntimeError):
    """A checkpoint or a saved surrogate cannot be read, or does not fit what it is loaded into."""


class DivergedError(RuntimeError):
    """The loss or a gradient is no longer finite."""


class RunLockedError(RuntimeError):
    """Another live process holds the run folder."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A closing sentence with the nearest known spelling, or nothing.

    Examples
    --------
    >>> nearest("presure", ["permeability", "pressure"])
    " Did you mean 'pressure'?"
    >>> nearest("xyz", ["permeability"])
    ''
    """
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean '{matches[0]}'?" if matches else ""
