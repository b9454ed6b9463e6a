"""Random numbers as a pure function of (seed, purpose, step): nothing to save, so resume is exact."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Stream:
    """The random numbers of one purpose."""

    root: int
    purpose: str

    def seed(self, step: int = 0) -> int:
        """A non-negative 63-bit integer, by SHA-256 over (root, purpose, step)."""
        digest = hashlib.sha256(f"{self.root}/{self.purpose}/{step}".encode()).digest()
        return int.from_bytes(digest[:8], "little") >> 1

    def generator(self, step: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
        """A torch generator for this step."""
        return torch.Generator(device).manual_seed(self.seed(step))

    def numpy(self, step: int = 0) -> np.random.Generator:
        """A NumPy generator for this step."""
        return np.random.default_rng(self.seed(step))

    @contextlib.contextmanager
    def applied(self, step: int = 0) -> Iterator[None]:
        """Seed torch's global generators inside the block and restore them after it.

        For code that draws from the global state: initialization of modules, dropout.
        """
        devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
        with torch.random.fork_rng(devices=devices):
            # Not by `torch.manual_seed`: for every kind of device that is not in use it notes down where it
            # was called from, which takes a millisecond, and keeps that.
            torch.default_generator.manual_seed(self.seed(step))
            if devices:
                torch.cuda.manual_seed_all(self.seed(step))
            if torch.backends.mps.is_available():
                torch.mps.manual_seed(self.seed(step))
            yield


@dataclass(frozen=True)
class Streams:
    """One seed, and a stream for each purpose.

    Examples
    --------
    >>> streams = Streams(0)
    >>> streams.of("order").seed(3) == Streams(0).of("order").seed(3)
    True
    >>> streams.of("order").seed(3) == streams.of("points").seed(3)
    False
    """

    seed: int = 0

    def of(self, purpose: str) -> Stream:
        """The stream of ``purpose``: "init", "order", "points", "noise", ..."""
        return Stream(self.seed, purpose)
