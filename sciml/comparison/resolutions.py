"""The test samples of a dataset on other grids: what a model is worth where it was not trained."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sciml.comparison.benchmark import Benchmark
from sciml.dataset import Dataset, open_dataset, write_dataset
from sciml.description import describe
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Axis, Grid
from sciml.presets import generator_of, short_hash
from sciml.schema import Provenance
from sciml.subsampling import thinned

_BLOCK = 16  # samples solved or read at a time


def samples_at(benchmark: Benchmark, data: Dataset, resolution: int, folder: Path) -> Dataset:
    """The samples on which a benchmark judges, on another grid; a file in ``folder``, made on first use.

    Those that a generator with a setting ``resolution`` made are solved anew from their seeds.  A seed must
    mean the same function on both grids; the docstring of the generator says from which resolution on it
    does.  Of any other file there are `coarser` grids only.

    Parameters
    ----------
    benchmark : Benchmark
    data : Dataset
        What it opened.
    resolution : int
        Points along the first axis.
    folder : Path

    Raises
    ------
    ConfigError
        If these data cannot be had at that resolution.
    """
    test = benchmark.judged(data).test
    if test.kind != "grid":
        raise ConfigError(f"{data.path}: --resolutions are for data on a grid, not on {test.kind}.")
    generator: Any = generator_of(data)
    named = {} if generator is None else {item.name for item in dataclasses.fields(generator)}
    if "resolution" in named:
        return benchmark.judged(_solved_anew(data, test, resolution, folder)).test
    return coarser(test, resolution, folder)


def _solved_anew(data: Dataset, test: Dataset, resolution: int, folder: Path) -> Dataset:
    other: Any = dataclasses.replace(cast(Any, generator_of(data)), resolution=resolution)
    seeds = [int(seed) for seed in test.variable("sample_seed")]
    name = short_hash({"settings": other.settings(), "seeds": seeds})
    path = folder / f"{other.name.replace('_', '-')}-at-{resolution}-{name}.h5"
    if path.exists():
        return open_dataset(path)
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
    )


def coarser(test: Dataset, resolution: int, folder: Path) -> Dataset:
    """Samples on a coarser grid over the same domain, made of their own values.

    Of nodes, and of left ends of cells, every k-th is kept, the first and, unless periodic, the last among
    them; k cells along every axis become their mean.  Parameters stay; functions on points of their own are
    left out.

    Parameters
    ----------
    test : Dataset
        On a grid.
    resolution : int
        Points along the first axis; k is the same for all axes.
    folder : Path
        Where the file lies, made on first use.

    Raises
    ------
    ConfigError
        If the grid is not finer, or k is not whole.
    """
    step = _step(test, resolution)
    path = (
        folder / f"{test.path.stem}-at-{resolution}-{short_hash({'of': describe(test), 'at': resolution})}.h5"
    )
    if path.exists():
        return open_dataset(path).test
    folder.mkdir(parents=True, exist_ok=True)
    rows, fields = range(len(test)), []
    for item in test.fields.values():
        if item.on == "points":
            blocks = [rows[i : i + _BLOCK] for i in rows[::_BLOCK]]
            parts = [_coarsened(test.load(item.name, block), test.grid, step) for block in blocks]
            fields.append((item, np.concatenate(parts) if item.sample else parts[0][0]))
    digest = test.digest.partition(":")[2][:16]
    return write_dataset(
        path,
        grid=Grid(tuple(_coarse(axis, step) for axis in test.grid.axes)),
        fields=fields,
        split=np.full(len(test), 2),
        times=test.times if any(item.time for item, _ in fields) else None,
        variables={name: test.variable(name) for name in test.parameter_names},
        provenance=Provenance(
            history=f"samples of {test.path.name} ({digest}), coarsened", time_units=test.time_units
        ),
    ).test


def _step(test: Dataset, resolution: int) -> int:
    """Points between those that are kept, or cells that become one, along every axis."""
    axes, found = test.grid.axes, dict[int, int]()
    for step in range(2, min(test.grid.shape)):
        with contextlib.suppress(ShapeError):
            sizes = [_coarse(axis, step).size for axis in axes]
            if min(sizes) > 1:
                found[sizes[0]] = step
    if resolution in found:
        return found[resolution]
    shape = " x ".join(map(str, test.grid.shape))
    known = f"with {', '.join(map(str, found))} points along {axes[0].name}" if found else "none"
    raise ConfigError(
        f"{test.path}: of {shape} {axes[0].kind} the coarser grids are {known}, and not with {resolution}; "
        "others are there for data of generators of sciml.datasets. Change --resolutions, or leave it out."
    )


def _coarse(axis: Axis, step: int) -> Axis:
    """The axis with every ``step``-th point, or with cells that long.

    Raises
    ------
    ShapeError
        If the step does not divide the axis.
    """
    if axis.location != "cell":
        return thinned(axis, step)[0]
    if axis.size % step:
        raise ShapeError(f"{step} does not divide the {axis.size} cells of {axis.name!r}.")
    return axis.with_size(axis.size // step)


def _coarsened(values: NDArray[Any], grid: Grid, step: int) -> NDArray[Any]:
    """Values (..., *space), in their type."""
    found = values
    for number, axis in enumerate(grid.axes, start=-grid.rank):
        last = np.moveaxis(found, number, -1)
        if axis.location == "cell":
            last = last.reshape(*last.shape[:-1], -1, step).mean(-1, dtype=np.float64)
        else:
            last = last[..., thinned(axis, step)[1]]
        found = np.moveaxis(last, -1, number)
    return np.ascontiguousarray(found, dtype=values.dtype)
