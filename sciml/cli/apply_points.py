"""What ``sciml predict`` does with a surrogate on points: a mesh file to another one, or a whole dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sciml.dataset import open_dataset
from sciml.dataset_writing import write_dataset
from sciml.datasets.readers.mesh_file import read_mesh
from sciml.errors import ConfigError
from sciml.files import temporary_name
from sciml.judging import check_units
from sciml.meshes import values_of
from sciml.point_assessment import sample_of
from sciml.point_surrogate import PointSurrogate
from sciml.schema import Field, Provenance

DATASETS = (".h5", ".hdf5", ".nc")


def apply_on_points(
    surrogate: PointSurrogate, source: Path, output: Path, numbers: Mapping[str, Any]
) -> dict[str, list[int]]:
    """Write the predictions for a mesh, or for all samples of a dataset; their shapes.

    Raises
    ------
    ConfigError
        If the kinds of the two files do not go together, or numbers are given beside those of a dataset.
    DataError
        If the source cannot be read, or lacks an input.
    """
    if (source.suffix in DATASETS) != (output.suffix in DATASETS):
        raise ConfigError(
            f"of a dataset file ({', '.join(DATASETS)}) predict writes a dataset file, and of a mesh file a "
            f"mesh file such as .vtu; got {source} and --output {output}."
        )
    if source.suffix not in DATASETS:
        return _mesh(surrogate, source, output, numbers)
    if numbers:
        raise ConfigError(f"--number is for mesh files; the numbers of each sample are in {source}.")
    return _dataset(surrogate, source, output)


def _mesh(
    surrogate: PointSurrogate, source: Path, output: Path, numbers: Mapping[str, Any]
) -> dict[str, list[int]]:
    import meshio

    forms = meshio.extension_to_filetypes.get(output.suffix)
    if not forms:
        known = ", ".join(sorted(meshio.extension_to_filetypes))
        raise ConfigError(f"no kind of mesh file ends in {output.suffix!r}; there is {known}.")
    made = surrogate(read_mesh(source)[0], numbers)
    temporary = temporary_name(output)
    try:
        made.write(temporary, file_format=forms[0])
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
    values = values_of(made, cells=surrogate.layout.cells)
    return {name: list(array.shape) for name, array in values.items()}


def _dataset(surrogate: PointSurrogate, source: Path, output: Path) -> dict[str, list[int]]:
    data = open_dataset(source)
    check_units(surrogate, data)
    samples = [sample_of(data, surrogate, row) for row in range(len(data))]
    found = surrogate.predict([cloud for cloud, _ in samples], [fields for _, fields in samples])
    on = "cells" if surrogate.layout.cells else "points"
    fields = [
        (
            Field(c.name, "output", c.units, c.long_name, c.components, on=on),
            [values[c.name] for values in found],
        )
        for c in surrogate.outputs
    ]
    write_dataset(
        output,
        grid=[cloud for cloud, _ in samples],
        fields=fields,
        split=data.variable("split"),
        variables={c.name: data.variable(c.name) for c in surrogate.parameters},
        provenance=Provenance(
            title=f"Predictions for {source.name}", generator=f"sciml surrogate, weights {surrogate.digest}"
        ),
    )
    return {field.name: list(np.concatenate(arrays).shape) for field, arrays in fields}
