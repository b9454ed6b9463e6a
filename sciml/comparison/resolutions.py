"""The test samples of a generator's data on other grids: what a model is worth where it was not trained."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np

from sciml.dataset import Dataset, open_dataset, write_dataset
from sciml.errors import ConfigError
from sciml.grid import Grid
from sciml.presets import generator_of, short_hash

_BLOCK = 16  # samples solved at a time


def samples_at(data: Dataset, test: Dataset, resolution: int, folder: Path) -> Dataset:
    """The samples ``test`` of ``data``, solved anew from their seeds on another grid.

    The file lies in ``folder`` and is made on first use.  A seed must mean the same function on both grids;
    the docstring of the generator says from which resolution on it does.

    Raises
    ------
    ConfigError
        If the data were not made by a generator that has a setting ``resolution`` and fields on a grid.
    """
    generator: Any = generator_of(data)
    named = {} if generator is None else {item.name for item in dataclasses.fields(generator)}
    if "resolution" not in named or not isinstance(generator.grid, Grid):
        raise ConfigError(
            f"{data.path}: only data that a generator of sciml.datasets made on a grid can be had at the "
            f"resolution {resolution}; leave --resolutions out."
        )
    other = dataclasses.replace(generator, resolution=resolution)
    seeds = [int(seed) for seed in test.variable("sample_seed")]
    name = short_hash({"settings": other.settings(), "seeds": seeds})
    path = folder / f"{other.name.replace('_', '-')}-at-{resolution}-{name}.h5"
    if path.exists():
        return open_dataset(path).test
    folder.mkdir(parents=True, exist_ok=True)
    blocks = [other.sample(seeds[i : i + _BLOCK]) for i in range(0, len(seeds), _BLOCK)]
    arrays = [np.concatenate(cast(Any, parts)) for parts in zip(*blocks, strict=True)]
    fields = [
        (item, array if item.role == "parameter" else array.astype(np.float32))
        for item, array in zip(other.fields, arrays, strict=True)
    ]
    return write_dataset(
        path,
        grid=other.grid,
        fields=fields,
        split=np.full(len(seeds), 2),
        times=other.times if any(item.time for item in other.fields) else None,
        variables={"sample_seed": np.array(seeds)},
        attributes={f"sciml_{key}": value for key, value in other.settings().items()},
        provenance=other.provenance(int(data.attributes["seed"])),
    ).test
