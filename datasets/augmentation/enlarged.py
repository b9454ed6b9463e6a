"""Augmentation once, into a file: the samples of a dataset and changed copies of its training samples."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.dataset import Dataset
from sciml.dataset_writing import write_dataset
from sciml.datasets.augmentation.augmentation import Augmentation, Problem
from sciml.description import describe
from sciml.errors import ConfigError, DataError
from sciml.schema import BOOKKEEPING, NOT_CONTENT, Field, Provenance
from sciml.streams import Streams

_SCHEMA = frozenset({"Conventions", "sciml_schema", "sciml_format", "checksum_algorithm", "domain"})


def enlarged(
    data: Dataset, path: str | Path, augmentation: Augmentation, *, copies: int = 1, seed: int = 0
) -> Dataset:
    """Write a file with all samples of a dataset and ``copies`` changed ones of each training sample.

    The copies come last, belong to the training split and keep seed, status and error of their originals.  A
    copy is a pure function of (seed, sample, number of the copy), computed in float64.  The attributes are
    those of the original, with ``augmentation``, ``augmentation_copies`` and ``augmentation_seed``.

    Parameters
    ----------
    data : Dataset
        On a grid; it has to fit into memory with all copies.
    path : str or Path
        Of the new file.
    augmentation : Augmentation
    copies : int
    seed : int

    Raises
    ------
    ConfigError
        If ``copies`` is negative.
    DataError
        If the augmentation does not fit, or there is no training sample.

    Examples
    --------
    >>> import tempfile
    >>> from sciml.datasets import Darcy
    >>> from sciml.datasets.augmentation import BoxSymmetry
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     small = Darcy(resolution=8).make(folder + "/a.h5", train=3, valid=0, test=1, workers=1)
    ...     larger = enlarged(small, folder + "/b.h5", BoxSymmetry("full"), copies=2)
    ...     len(larger.train), len(larger.test)
    (9, 1)
    """
    if copies < 0:
        raise ConfigError(f"enlarged: copies must not be negative, got {copies}.")
    problem = Problem.of(data)
    augmentation.check(problem)
    split = data.variable("split")
    chosen = np.flatnonzero(split == 0)
    if len(chosen) == 0:
        raise DataError(f"enlarged: {data.path} has no training samples in this view.")
    fixed = [name for name, item in problem.fields.items() if not item.sample]
    arrays = {name: data.load(name) for name in problem.fields if name in data.fields}
    arrays |= {name: data.variable(name) for name in data.parameter_names}
    pieces = {name: [array] for name, array in arrays.items() if name not in fixed}
    for copy in range(copies):
        stream = Streams(seed).of(f"augmentation/{copy}")
        for row in chosen.tolist():
            one = {name: _tensor(arrays[name][row : row + 1], item) for name, item in problem.fields.items()}
            new = augmentation.apply(one, problem, stream.generator(int(data.indices[row])))
            same = next((name for name in fixed if not torch.equal(new[name], one[name])), None)
            if same is not None:
                raise DataError(
                    f"enlarged: {same!r} is one field for all samples, but would change in each copy; store "
                    "it for each sample."
                )
            for name, parts in pieces.items():
                parts.append(_array(new[name], problem.fields[name], parts[0].dtype))
    whole = {name: np.concatenate(parts) for name, parts in pieces.items()}
    whole |= {name: arrays[name][0] for name in fixed}
    labels = data.to_xarray() if data.parameter_names else {}
    fields = [
        dataclasses.replace(item, units=labels[name].attrs.get("units", "1"))
        if item.role == "parameter"
        else item
        for name, item in problem.fields.items()
    ]
    order = np.concatenate([np.arange(len(data)), *[chosen] * copies])
    book = {name: data.variable(name)[order] for name in BOOKKEEPING if name != "split" and _has(data, name)}
    told: dict[str, Any] = {"augmentation": json.dumps(describe(augmentation), sort_keys=True)}
    told |= {"augmentation_copies": copies, "augmentation_seed": seed}
    known = {k: v for k, v in data.attributes.items() if k not in NOT_CONTENT | _SCHEMA}
    return write_dataset(
        path,
        grid=data.grid,
        fields=[(item, whole[item.name]) for item in fields],
        split=split[order],
        times=data.times,
        variables=book,
        attributes=known | told,
        provenance=Provenance(time_units=data.time_units),
    )


def _tensor(values: NDArray[Any], item: Field) -> Tensor:
    """A stored field as `Augmentation.apply` takes it, in float64."""
    found = torch.from_numpy(np.array(values, dtype=np.float64))
    return found if item.role == "parameter" or item.components > 1 else found.unsqueeze(1 + item.time)


def _array(values: Tensor, item: Field, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The inverse of `_tensor`."""
    plain = item.role == "parameter" or item.components > 1
    return (values if plain else values.squeeze(1 + item.time)).numpy().astype(dtype)


def _has(data: Dataset, name: str) -> bool:
    try:
        data.variable(name)
    except DataError:
        return False
    return True
