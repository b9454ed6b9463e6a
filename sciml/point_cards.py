"""A surrogate on points on disk, as `sciml.cards` keeps one on a grid."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from sciml import cards
from sciml.calling import evaluating
from sciml.description import build, describe
from sciml.labelled import Channel
from sciml.mesh import Space
from sciml.normalization import Normalization
from sciml.point_layout import Item, PointLayout

if TYPE_CHECKING:
    from sciml.point_surrogate import PointSurrogate

FORMAT = "sciml.point-surrogate"
_POINTS = 64  # of the answers
_SIDES = ("inputs", "outputs", "parameters")
_SCALES = ("input_normalization", "output_normalization", "parameter_normalization")


def write_card(surrogate: PointSurrogate, folder: Path) -> Path:
    """See `PointSurrogate.save`."""
    weights = cards.serialize(surrogate)
    layout = surrogate.layout
    card = {
        "format": FORMAT,
        **cards.common(surrogate, weights),
        **{side: [channel.to_dict() for channel in getattr(surrogate, side)] for side in _SIDES},
        **{name: getattr(surrogate, name).to_dict() for name in _SCALES},
        "space": asdict(layout.space),
        "boundaries": list(layout.boundaries),
        "cells": layout.cells,
        "measured": layout.measured,
        "neighbors": describe(layout.neighbors),
        "answers": {"points": _POINTS, "values": _answer(surrogate, _POINTS).tolist()},
    }
    return cards.store(folder, weights, card)


def digest(surrogate: PointSurrogate) -> str:
    """See `PointSurrogate.digest`."""
    return cards.digest(surrogate)


def read_card(folder: Path, model: nn.Module | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of a `PointSurrogate`, and the stored answers."""
    card, weights = cards.fetch(folder, FORMAT)
    with cards.complete(folder):
        made = cards.model_of(card, weights, model, folder)
        space: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in card["space"].items()}
        layout = PointLayout(
            Space(**space),
            tuple(card["boundaries"]),
            card["cells"],
            card["measured"],
            build(card["neighbors"]),
        )
        sides = {side: [Channel.from_dict(channel) for channel in card[side]] for side in _SIDES}
        scales = {name: Normalization.from_dict(card[name]) for name in _SCALES}
        return {"model": made, "layout": layout, **sides, **scales}, card["answers"]


def verify(surrogate: PointSurrogate, stored: dict[str, Any], folder: Path) -> None:
    """Refuse a model that answers otherwise than when it was saved; see `sciml.cards.verify`."""
    points = int(stored["points"])
    if not 0 < points <= _POINTS:
        raise cards.strange(folder, f"{points} points")
    cards.agree(surrogate, _answer(surrogate, points), stored["values"], folder)


def _answer(surrogate: PointSurrogate, count: int) -> Tensor:
    """Normalized output for cos(2 pi c sum_i x_i + c) in channel c = 1, 2, ... at points all over the box."""
    on_cpu = copy.copy(surrogate)
    if surrogate.device.type != "cpu":  # rounding differs between devices, and a folder is loaded on the CPU
        on_cpu.model = copy.deepcopy(surrogate.model).cpu()
    with torch.no_grad(), evaluating(on_cpu.model):
        physical = on_cpu.physical(on_cpu.batch([_example(surrogate, count)]))
    found = on_cpu.output_normalization.encode(physical, axis=2).flatten()
    return found[:: max(1, -(-len(found) // cards.ANSWERS))]


def _example(surrogate: PointSurrogate, count: int) -> Item:
    """One sample in physical units: a low-discrepancy lattice, each point with the next two as neighbors."""
    layout, channels = surrogate.layout, surrogate.input_normalization.channels
    number = np.arange(1.0, count + 1)
    # Roberts' sequence: powers of the root of g^(d+1) = g + 1.
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (layout.space.rank + 1))
    places = np.mod(number[:, None] * root ** -np.arange(1.0, layout.space.rank + 1), 1.0)
    c = np.arange(1.0, channels + 1)
    waves = torch.from_numpy(np.cos(2 * math.pi * c * places.sum(axis=1)[:, None] + c))
    item = {"x": surrogate.input_normalization.decode(waves).numpy(), "coordinates": places}
    if layout.measured:
        item["weights"] = np.full(count, 1 / count)
    if layout.neighbors is not None:
        here = np.arange(count)
        item["neighbors"] = np.stack([np.repeat(here, 2), (np.repeat(here, 2) + [1, 2] * count) % count], 1)
    if surrogate.parameters:
        item["parameters"] = surrogate.parameter_normalization.mean.cpu().numpy() + 0.0
    return item
