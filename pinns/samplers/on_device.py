"""Independent points, made where and as the network needs them."""

from __future__ import annotations

from dataclasses import dataclass

from sciml.description import describable
from sciml.pinns.samplers.sampler import Sampler, Site, State, check_every
from sciml.pinns.sources import Random
from sciml.streams import Stream


@describable
@dataclass(frozen=True)
class OnDevice(Sampler):
    """Independent uniform points as of `Uniform`, drawn on the device and in the precision of the network.

    For many dimensions, in which a batch is as large as the weights: nothing is made in float64, copied or
    rounded, and a ball is filled from normal vectors.

    Parameters
    ----------
    every : int
        Steps between new points.

    Notes
    -----
    Each kind of device has random numbers of its own, so runs repeat to the bit on one kind only.
    """

    every: int = 1

    def __post_init__(self) -> None:
        check_every("OnDevice", self.every)

    def redraw(self, state: State | None, site: Site, step: int, stream: Stream) -> State:
        source = Random(stream.generator(step, site.device), site.dtype)
        return {"rows": site.rows(source, site.count)}
