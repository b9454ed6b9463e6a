"""What a model on points or meshes is worth: its errors and times beside the mean, and samples to look at."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from sciml.assessment import (
    TIMED_SAMPLES,
    Assessment,
    Kind,
    Row,
    discretization_error,
    seconds_per_sample,
)
from sciml.calling import name_of
from sciml.errors import ConfigError, DataError, nearest
from sciml.feeding import PointFeed, boundaries_of
from sciml.judging import check_units
from sciml.mesh import Points
from sciml.metrics import max_error, nrmse, relative_l2, rmse, vrmse
from sciml.padding import padded
from sciml.point_surrogate import BATCH_SIZE, PointSurrogate
from sciml.report import Example, chosen_rows, named, units_of
from sciml.scores import Scores
from sciml.supervised import Supervised

if TYPE_CHECKING:
    from sciml.dataset import Dataset

Predictor = Callable[[list[int]], tuple[Tensor, Mapping[str, Tensor]]]


def assess_points(task: Supervised, model: nn.Module | PointSurrogate) -> Assessment:
    """Errors and times of a model, and of the mean of the training outputs, on the samples of a task.

    Errors are those of `sciml.metrics` in physical units and float64, each point counted once; the mean over
    samples comes last.

    Parameters
    ----------
    task : Supervised
        On the split to judge on.
    model : nn.Module or PointSurrogate
        A surrogate has the normalization of its own training, whatever the data of the task.

    Raises
    ------
    ConfigError
        If the task is on a grid; `sciml.assessment.assess` judges surrogates on grids.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sciml import Field, Points, Supervised, write_dataset
    >>> clouds = [Points(np.random.default_rng(i).random((3 + i, 2))) for i in range(2)]
    >>> u = [cloud.coordinates[:, 0] for cloud in clouds]
    >>> fields = [(Field("a", "input"), u), (Field("u", "output"), u)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data = write_dataset(folder + "/u.h5", grid=clouds, fields=fields, split=[0, 0])
    ...     found = assess_points(Supervised(data.train, ["a"], ["u"]), torch.nn.Identity())
    >>> found.surrogate.error < 1e-6, found.rows[1].name
    (True, 'mean of training outputs')
    """
    feed = task.feed
    if not isinstance(feed, PointFeed):
        raise ConfigError("assess_points: the task is on a grid; assess judges its surrogate.")
    data, batch = task.dataset, min(TIMED_SAMPLES, len(task.dataset))
    timed = list(range(batch))

    if isinstance(model, PointSurrogate):
        module, model_on = model.model, surrogate_predictor(task, model)
    else:
        module, model_on = model, point_predictor(task, model)
    mean_on = mean_on_points(task)

    def judged(name: str, kind: Kind, predict: Predictor) -> Row:
        scores = point_scores(task, predict)
        seconds = None
        if kind == "surrogate":
            seconds = seconds_per_sample(lambda x: predict(timed)[0], torch.empty(batch))
        summaries = {metric: values.summary() for metric, values in scores.items()}
        return Row(name, kind, summaries, scores["relative_l2"].values.tolist(), seconds)

    return Assessment(
        rows=(
            judged(name_of(module), "surrogate", model_on),
            judged("mean of training outputs", "trivial", mean_on),
        ),
        samples=len(data),
        batch=batch,
        threads=torch.get_num_threads(),
        device=str(next(module.parameters(), torch.empty(0)).device),
        digest=data.digest,
        floor=discretization_error(data),
        indices=data.indices.tolist(),
    )


def point_predictor(task: Supervised, model: nn.Module) -> Predictor:
    """The model on rows of the task: physical values, float64, and the batch they belong to."""

    def predict(rows: list[int]) -> tuple[Tensor, Mapping[str, Tensor]]:
        prediction, found = task.judged(model, rows)
        return prediction.cpu(), found.to("cpu").tensors

    return predict


def task_of_surrogate(surrogate: PointSurrogate, data: Dataset) -> Supervised:
    """What a surrogate learned, on other data.

    Raises
    ------
    DataError
        If the data are on a grid, lack a field, or have one in other units.
    """
    who = f"PointSurrogate: {data.path}"
    if data.kind == "grid":
        raise DataError(f"{who} is on a grid; the surrogate is for points and meshes.")
    known = (*data.fields, *data.parameter_names, *boundaries_of(data))
    names = [channel.name for channel in (*surrogate.inputs, *surrogate.parameters)]
    outputs = [channel.name for channel in surrogate.outputs]
    for name in (*names, *outputs):
        if name not in known:
            raise DataError(f"{who} has no {name!r}; it has {', '.join(known)}.{nearest(name, known)}")
    check_units(surrogate, data)
    return Supervised(data, names, outputs, batch_size=BATCH_SIZE)


def surrogate_predictor(task: Supervised, surrogate: PointSurrogate) -> Predictor:
    """A surrogate on rows of a task: physical values, float64, and the batch they belong to."""
    given = functools.lru_cache(maxsize=TIMED_SAMPLES)(partial(sample_of, task.dataset, surrogate))

    def predict(rows: list[int]) -> tuple[Tensor, Mapping[str, Tensor]]:
        clouds, fields = zip(*(given(row) for row in rows), strict=True)
        found = surrogate.predict(clouds, fields)
        names = [channel.name for channel in surrogate.outputs]
        columns = [np.concatenate([u[n].reshape(len(u[n]), -1) for n in names], axis=1) for u in found]
        return padded(columns), dict(zip(task.feed.keys, task.feed.read(rows), strict=True))

    return predict


def sample_of(data: Dataset, surrogate: PointSurrogate, row: int) -> tuple[Points, dict[str, Any]]:
    """What a surrogate takes of one sample of a dataset."""
    fields = [channel.name for channel in surrogate.inputs if channel.name in data.fields]
    values: dict[str, Any] = {name: data.arrays(name, [row])[0] for name in fields}
    values |= {channel.name: data.variable(channel.name)[row] for channel in surrogate.parameters}
    return data.mesh(row), values


def mean_on_points(task: Supervised) -> Predictor:
    """The mean of the training outputs, the same number at every point."""

    def predict(rows: list[int]) -> tuple[Tensor, Mapping[str, Tensor]]:
        found = dict(zip(task.feed.keys, task.feed.read(rows), strict=True))
        return task.decoder.mean.cpu().expand(found["y"].shape), found

    return predict


def point_scores(task: Supervised, predict: Predictor) -> dict[str, Scores]:
    """Every metric of predictions of some rows of the task, one value per sample, each point counted once."""
    scores = {metric.__name__: Scores() for metric in (relative_l2, nrmse, vrmse, rmse, max_error)}
    for start in range(0, len(task.dataset), task.batch_size):
        rows = list(range(start, min(start + task.batch_size, len(task.dataset))))
        prediction, batch = predict(rows)
        compare = partial(task.feed.compare, prediction=prediction, target=batch["y"].double(), batch=batch)
        for metric in (relative_l2, nrmse, vrmse, rmse, max_error):
            scores[metric.__name__].add(compare(metric))
    return scores


def point_examples(task: Supervised, model: nn.Module, errors: list[float]) -> list[Example]:
    """The best, the median and the worst sample by ``errors``, one number for each sample of the task."""
    data = task.dataset
    outputs = [data.fields[name] for name in task.outputs]
    inputs = [f for name in task.inputs if (f := data.fields.get(name)) is not None and f.on == outputs[0].on]
    examples = []
    for label, row in chosen_rows(errors).items():
        prediction, batch = task.judged(model, [row])
        examples.append(
            Example(
                label,
                int(data.indices[row]),
                float(errors[row]),
                inputs=named(inputs, batch["x"][0].T.double().cpu()),
                truth=named(outputs, batch["y"][0].T.double().cpu()),
                prediction=named(outputs, prediction[0].T.cpu()),
                units=units_of(outputs),
                place=data.mesh(row),
            )
        )
    return examples
