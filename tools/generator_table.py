"""The table of `docs/generators.md`: what each generator solves, how long a sample takes, how wrong it is.

``python tools/generator_table.py [NAME ...]`` prints Markdown.  Default settings of each class; eight samples
by one thread; the median error estimate of the first four, and the same at half the resolution.
"""

from __future__ import annotations

import dataclasses
import sys
import time

import numpy as np
from threadpoolctl import threadpool_limits

import sciml.datasets
from sciml.datasets.generation import sample_seed
from sciml.datasets.generator import Generator
from sciml.grid import Grid
from sciml.mesh import Mesh

SAMPLES, ESTIMATED = 8, 4


def errors(generator: Generator) -> tuple[float, float]:
    """Milliseconds for each sample of a block, and the median error estimate."""
    seeds = [sample_seed(generator.name, 0, i) for i in range(SAMPLES)]
    start = time.perf_counter()
    arrays = generator.sample(seeds)
    elapsed = (time.perf_counter() - start) / SAMPLES
    first = [array[:ESTIMATED] for array in arrays]
    return 1000 * elapsed, float(np.median(generator.estimate_error(seeds[:ESTIMATED], first)))


def coarser(generator: Generator) -> Generator | None:
    """The same problem at half the resolution, if it has one."""
    resolution = getattr(generator, "resolution", None)
    if resolution is None:
        return None
    try:
        return dataclasses.replace(generator, resolution=resolution // 2)  # type: ignore[type-var]
    except ValueError:  # too coarse for these settings
        return None


def place(generator: Generator) -> str:
    """Size of the grid, and frames."""
    where = generator.grid
    size = " x ".join(map(str, where.shape)) if isinstance(where, Grid) else "a mesh"
    if where is None:
        size = "a mesh each"
    elif isinstance(where, Mesh):
        size = "one mesh"
    return size if generator.times is None else f"{size}, {len(generator.times)} frames"


def main(names: list[str]) -> None:
    print("| generator | equation | fields | size | ms a sample | error | error at half the resolution |")
    print("|---|---|---|---|---|---|---|")
    for name in names or sciml.datasets.__all__:
        generator: Generator = getattr(sciml.datasets, name)()
        told = ", ".join(f"{item.name} ({item.role})" for item in generator.fields)
        with threadpool_limits(limits=1):
            milliseconds, error = errors(generator)
            half = coarser(generator)
            rough = f"{errors(half)[1]:.1e}" if half is not None else ""
        equation = generator.about.equation.replace("|", "\\|")
        row = (name, f"`{equation}`", told, place(generator))
        print("|", " | ".join((*row, f"{milliseconds:.1f}", f"{error:.1e}", rough)), "|", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
