"""What one call of a time-stepping model sees, and how training chains calls: settings of `Rollout`."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sciml.description import describable
from sciml.errors import ConfigError
from sciml.reading import rows_of_step
from sciml.streams import Streams


@describable
@dataclass(frozen=True)
class Frames:
    """What one call of the model sees and gives.

    Parameters
    ----------
    window : int
        Frames of the state that go in.
    bundle : int
        Frames that come out (temporal bundling: Brandstetter et al., ICLR 2022).
    stride : int
        Frames of the data per frame of the model: 2 leaves every other one out.
    inputs : tuple of names
        Fields without a time axis that go in too, such as a forcing or a coefficient.

    Raises
    ------
    ConfigError
        If a count is below 1, or ``inputs`` is a single string.
    """

    window: int = 1
    bundle: int = 1
    stride: int = 1
    inputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if min(self.window, self.bundle, self.stride) < 1 or isinstance(self.inputs, str):
            raise ConfigError(
                "Frames: window, bundle and stride are at least 1 and inputs is a tuple of names, got "
                f"{self.window}, {self.bundle}, {self.stride} and {self.inputs!r}."
            )

    def span(self, calls: int) -> int:
        """Frames of the data from the first of a window to the last of so many bundles."""
        return self.stride * (self.window + calls * self.bundle - 1) + 1


@describable
@dataclass(frozen=True)
class Unroll:
    """How many calls a training step chains, and through which of them the gradient goes.

    With one call the model learns from true states only, and meets its own errors first when it is used.
    Chained calls show it those errors: all bundles count and the gradient goes through all calls, or, with
    ``pushforward``, only the last bundle counts and the window before it is taken as it is, without gradient
    (Brandstetter et al., ICLR 2022, section 3.1).  Noise on the first window is a cheaper way to the same end
    (Sanchez-Gonzalez et al., ICML 2020).

    Parameters
    ----------
    calls : int or tuple of (step, calls)
        A number, or a curriculum: from each optimizer step on, so many calls.
    pushforward : bool
    vary : bool
        Draw the number of calls of each step uniformly from 1 to ``calls``.
    noise : float
        Standard deviation of Gaussian noise on the first window, where the state has 1.

    Raises
    ------
    ConfigError
        If numbers are out of range, or a curriculum does not begin at step 0 with increasing steps.

    Examples
    --------
    >>> unroll = Unroll(calls=((0, 1), (1000, 2), (1500, 4)), pushforward=True)
    >>> [unroll.calls_at(step) for step in (0, 999, 1000, 2000)]
    [1, 1, 2, 4]
    """

    calls: int | tuple[tuple[int, int], ...] = 1
    pushforward: bool = False
    vary: bool = False
    noise: float = 0.0

    def __post_init__(self) -> None:
        steps = [step for step, _ in self.curriculum]
        if not steps or steps[0] != 0 or steps != sorted(set(steps)):
            raise ConfigError(
                f"Unroll: a curriculum is ((0, calls), (step, calls), ...) with increasing steps, "
                f"got {self.calls}."
            )
        if min(calls for _, calls in self.curriculum) < 1 or not 0 <= self.noise < float("inf"):
            raise ConfigError(
                f"Unroll: needs at least one call and noise >= 0, got {self.calls} and {self.noise}."
            )

    @property
    def curriculum(self) -> tuple[tuple[int, int], ...]:
        """The pairs (step, calls), also of a single number."""
        return ((0, self.calls),) if isinstance(self.calls, int) else tuple(self.calls)

    @property
    def most(self) -> int:
        """The most calls of any step."""
        return max(calls for _, calls in self.curriculum)

    def calls_at(self, step: int) -> int:
        """How many calls the curriculum says for this optimizer step."""
        return next(calls for start, calls in reversed(self.curriculum) if start <= step)


@dataclass(frozen=True)
class Stepping:
    """How a state is stepped through time, and how that is learned: what one call sees, how many are chained.

    The default is also that of files, whatever their frames.
    """

    frames: Frames = field(default_factory=Frames)
    unroll: Unroll = field(default_factory=Unroll)


def pieces_of_step(
    step: int,
    *,
    streams: Streams,
    frames: Frames,
    unroll: Unroll,
    size: int,
    length: int,
    batch_size: int,
) -> tuple[list[int], Tensor]:
    """The samples of a step, of ``size``, and for each the positions of its frames, of ``length``.

    Positions are (batch, window + calls x bundle), from a start that is uniform over all that fit.
    """
    calls = unroll.calls_at(step)
    if unroll.vary:
        calls = int(streams.of("calls").numpy(step).integers(1, calls + 1))
    rows = rows_of_step(step, size, batch_size, streams.of("order"))
    last = length - frames.span(calls)
    starts = torch.from_numpy(streams.of("start").numpy(step).integers(0, last + 1, size=batch_size))
    return rows, starts[:, None] + frames.stride * torch.arange(frames.window + calls * frames.bundle)
