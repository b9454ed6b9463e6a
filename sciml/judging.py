"""A surrogate beside the truth of a dataset."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sciml import stepping
from sciml.errors import DataError
from sciml.labelled import check_same_domain
from sciml.metrics import max_error, nrmse, relative_l2, rmse, vrmse
from sciml.norms import zero_target
from sciml.scores import Scores

if TYPE_CHECKING:
    from sciml.dataset import Dataset
    from sciml.point_surrogate import PointSurrogate
    from sciml.surrogate import Surrogate


def judge(surrogate: Surrogate, dataset: Dataset, batch_size: int) -> dict[str, Scores]:
    """See `Surrogate.evaluate`."""
    check_same_domain(f"Surrogate.evaluate: {dataset.path}", dataset.grid, surrogate.grid)
    check_units(surrogate, dataset)
    metrics = (relative_l2, rmse, nrmse, vrmse, max_error)
    scores = {metric.__name__: Scores() for metric in metrics}
    zeros: list[int] = []
    for start in range(0, len(dataset), batch_size):
        rows = list(range(start, min(start + batch_size, len(dataset))))
        prediction, y = _pair(surrogate, dataset, rows)
        for metric in metrics:
            scores[metric.__name__].add(metric(prediction, y, rank=surrogate.grid.rank))
        zeros += [start + int(i) for i in torch.nonzero(zero_target(y))]
    if zeros:
        warnings.warn(
            f"Surrogate.evaluate: the target is 0 in {len(zeros)} of {len(dataset)} samples (first: "
            f"{zeros[0]}); their relative errors are absolute ones.",
            UserWarning,
            stacklevel=3,
        )
    return scores


def check_units(surrogate: Surrogate | PointSurrogate, dataset: Dataset) -> None:
    """Refuse fields of the surrogate's names in other units.

    Raises
    ------
    DataError
        Naming the first one.
    """
    for field in (*surrogate.inputs, *surrogate.outputs):
        if field.name in dataset.fields and dataset.fields[field.name].units != field.units:
            raise DataError(
                f"{type(surrogate).__name__}.evaluate: {dataset.path} has {field.name!r} in "
                f"{dataset.fields[field.name].units!r}, but training used {field.units!r}."
            )


def _pair(surrogate: Surrogate, dataset: Dataset, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Prediction and truth of these samples, float64; of all frames after the first window."""
    if surrogate.evolution is not None:
        return stepping.judge(surrogate, dataset, rows)
    names = ([field.name for field in fields] for fields in (surrogate.inputs, surrogate.outputs))
    x, y = (dataset.tensor(listed, rows, dtype=torch.float64) for listed in names)
    return surrogate.predict(x), y
