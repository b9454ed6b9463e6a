"""Memory for the columns of jets: used again for every block of points, so that it stays in the cache."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Apart:
    """A value (points, features) and other columns (columns - 1, points or 1, features)."""

    value: Tensor
    rest: Tensor


class Columns:
    """A stack (columns, points, features), and views of it, which are made once."""

    def __init__(self, whole: Tensor) -> None:
        self.whole = whole
        self._parts: dict[tuple[int, int], Tensor] = {}

    @cached_property
    def rows(self) -> Tensor:
        """As one matrix."""
        return self.whole.reshape(-1, self.whole.shape[-1])

    @cached_property
    def each(self) -> tuple[Tensor, ...]:
        """Every column."""
        return self.whole.unbind()

    @cached_property
    def rest(self) -> Tensor:
        """All columns behind the value."""
        return self.whole[1:]

    @cached_property
    def value(self) -> Tensor:
        """The first column."""
        return self.whole[0]

    def part(self, start: int, stop: int) -> Tensor:
        """The columns start, ..., stop - 1."""
        found = self._parts.get((start, stop))
        if found is None:
            found = self._parts[start, stop] = self.whole[start:stop]
        return found


class Memory:
    """Stacks of columns for blocks of points.

    Parameters
    ----------
    like : tensor
        Of the dtype and device of the stacks.
    lasting : int
        Elements of all stacks together that are kept. They are one piece: an allocator that has seen it once
        keeps the pages for the next sweep, where it would return those of many smaller pieces.
    """

    def __init__(self, like: Tensor, lasting: int = 0) -> None:
        self.like = like
        self.one = like.new_ones(())
        self._arena = like.new_empty(lasting)
        self._taken = 0
        self._used: dict[tuple[int | str, int, int, int], Columns] = {}

    def lasting(self, columns: int, points: int, features: int) -> Columns:
        """Memory that nobody else gets."""
        shape = (columns, points, features)
        stride = (points * features, features, 1)
        piece = self._arena.as_strided(shape, stride, self._taken)
        self._taken += columns * points * features
        return Columns(piece)

    def shared(self, role: int | str, columns: int, points: int, features: int) -> Columns:
        """Memory that all steps of one role share."""
        key = (role, columns, points, features)
        found = self._used.get(key)
        if found is None:
            found = self._used[key] = Columns(self.like.new_empty(key[1:]))
        return found
