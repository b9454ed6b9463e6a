"""Generators of data sets (each a real classical solver) and readers of foreign formats."""

from __future__ import annotations

__all__: list[str] = []
