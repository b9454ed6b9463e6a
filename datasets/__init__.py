"""Generators of data sets (each a real classical solver) and readers of foreign formats.

``__all__`` lists the generators; their contract is tested for every one of them.  `check` reads a dataset
file in full and lists everything in which it departs from the format.
"""

from __future__ import annotations

from sciml.conformance import check as check
from sciml.datasets.darcy import Darcy
from sciml.datasets.navier_stokes import NavierStokes

__all__ = ["Darcy", "NavierStokes"]
