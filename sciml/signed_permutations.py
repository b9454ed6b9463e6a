"""The symmetries of a box that map its axes onto its axes: permutations and reflections, and what they do."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from sciml.errors import ShapeError

GROUPS = ("reflections", "permutations", "rotations", "full")
KINDS = ("scalar", "pseudoscalar", "vector", "symmetric", "tensor")


@dataclass(frozen=True)
class SignedPermutation:
    """Axis i of the image is axis ``permutation[i]``, reversed if ``flips[i]``."""

    permutation: tuple[int, ...]
    flips: tuple[bool, ...]

    @property
    def determinant(self) -> int:
        """-1 if it mirrors."""
        pairs = itertools.combinations(self.permutation, 2)
        return -1 if (sum(a > b for a, b in pairs) + sum(self.flips)) % 2 else 1

    def channels(self, kinds: tuple[str, ...], who: str, count: int) -> tuple[list[int], list[int]]:
        """For each channel of the image: the channel that it comes from, and its sign.

        Parameters
        ----------
        kinds : sequence of str
            What the channels are: "scalar"; "pseudoscalar"; "vector", one channel for each axis; "symmetric",
            the upper half of a tensor row by row; "tensor", all of it.  Without any all are scalars.
        who : str
            For messages.
        count : int
            How many channels there are.

        Raises
        ------
        ShapeError
            If the kinds are another number of channels.

        Examples
        --------
        >>> quarter = SignedPermutation((1, 0), (False, True))
        >>> quarter.channels(("vector", "pseudoscalar"), "here", 3), quarter.determinant
        (([1, 0, 2], [1, -1, 1]), 1)
        >>> quarter.channels(("symmetric",), "here", 3)
        ([2, 1, 0], [1, -1, 1])
        """
        sources: list[int] = []
        signs: list[int] = []
        for kind in kinds or ("scalar",) * count:
            start = len(sources)
            for image, source, sign in self._components(kind):
                assert len(sources) == start + image
                sources.append(start + source)
                signs.append(sign)
        if len(sources) != count:
            raise ShapeError(
                f"{who}={kinds} are {len(sources)} channels on a grid with {len(self.flips)} axes, but there "
                f"are {count}."
            )
        return sources, signs

    def _components(self, kind: str) -> list[tuple[int, int, int]]:
        """Position in the image, position before, sign."""
        axes, sign = range(len(self.flips)), [-1 if flipped else 1 for flipped in self.flips]
        if kind == "scalar":
            return [(0, 0, 1)]
        if kind == "pseudoscalar":
            return [(0, 0, self.determinant)]
        if kind == "vector":
            return [(i, self.permutation[i], sign[i]) for i in axes]
        pairs = list(itertools.product(axes, axes))
        if kind == "symmetric":
            pairs = [(i, j) for i, j in pairs if i <= j]
        found = []
        for at, (i, j) in enumerate(pairs):
            source = self.permutation[i], self.permutation[j]
            before = pairs.index(source if source in pairs else source[::-1])
            found.append((at, before, sign[i] * sign[j]))
        return found


def signed_permutations(
    group: str, rank: int, axes: Sequence[int] | None = None
) -> tuple[SignedPermutation, ...]:
    """All elements of a group of the box, the identity first.

    "reflections" of the axes, 2^d; "permutations" of the axes, d!; "full", all 2^d d! symmetries of the
    square or cube; "rotations", the half of "full" without mirroring.  Only ``axes`` take part, by default
    all.

    Examples
    --------
    >>> [len(signed_permutations(group, 2)) for group in GROUPS]
    [4, 2, 4, 8]
    """
    used = tuple(range(rank)) if axes is None else tuple(axes)
    orders = [used] if group == "reflections" else list(itertools.permutations(used))
    signs = [False] if group == "permutations" else [False, True]
    found = []
    for order in orders:
        for flipped in itertools.product(signs, repeat=len(used)):
            permutation, flips = list(range(rank)), [False] * rank
            for place, source, flip in zip(used, order, flipped, strict=True):
                permutation[place], flips[place] = source, flip
            found.append(SignedPermutation(tuple(permutation), tuple(flips)))
    return tuple(g for g in found if group != "rotations" or g.determinant == 1)
