"""The points of a DeepXDE problem, apart from the object that made them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.pinns.deepxde_import import quiet, seeded

Array = NDArray[np.floating[Any]]

_RANDOM = ("pseudo", "LHS")  # what gives other points when asked again
_WORTH = 0.9  # share of distinct rows below which it pays to look at each once


@dataclass(frozen=True, eq=False)
class Points:
    """Where a problem is looked at: what DeepXDE keeps in its data object.

    Attributes
    ----------
    x : (rows, dim)
        What the network sees: the rows of every condition, one after the other, then those of the equation.
    x_all : (n, dim)
        All points of the domain, on its boundary and of the start.
    x_bc : (m, dim)
        The rows of the conditions.
    counts : tuple of int
        Rows of each condition.
    auxiliary : (rows, k), optional
        What the problem's auxiliary function gives there.
    batches : tuple of arrays or None
        Of each condition on given points, which of them these are.
    """

    x: Array
    x_all: Array
    x_bc: Array
    counts: tuple[int, ...]
    auxiliary: Array | None = None
    batches: tuple[NDArray[np.int64] | None, ...] = ()
    _kept: dict[Any, Any] = field(default_factory=dict)

    @staticmethod
    def of(data: Any) -> Points:
        """Those on which a data object would train now."""
        return Points(
            data.train_x,
            data.train_x_all,
            data.train_x_bc,
            tuple(int(n) for n in data.num_bcs),
            data.train_aux_vars,
            tuple(getattr(bc, "batch_indices", None) for bc in data.bcs),
        )

    @property
    def before(self) -> int:
        """Rows before those of the equation."""
        return sum(self.counts)

    def array(self, dtype: torch.dtype) -> Array:
        """The rows as DeepXDE's functions of NumPy see them, in the precision of the network."""
        key = ("array", dtype)
        if key not in self._kept:
            self._kept[key] = self.x.astype(str(dtype).removeprefix("torch."), copy=False)
        found: Array = self._kept[key]
        return found

    def tensor(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """The rows."""
        key = ("tensor", dtype, device)
        if key not in self._kept:
            self._kept[key] = torch.as_tensor(self.x).to(device, dtype)
        found: Tensor = self._kept[key]
        return found

    def distinct(self, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor] | None:
        """Each row once, and which of these every row is; None where too few repeat to be worth it.

        DeepXDE lists the rows of conditions a second time among all points, and once for every condition.
        """
        key = ("distinct", dtype, device)
        if key not in self._kept:
            rows = self.array(dtype)
            once, which = np.unique(rows, axis=0, return_inverse=True)
            self._kept[key] = None
            if len(once) < _WORTH * len(rows):
                found = torch.as_tensor(once), torch.as_tensor(which.reshape(-1))
                self._kept[key] = tuple(tensor.to(device) for tensor in found)
        kept: tuple[Tensor, Tensor] | None = self._kept[key]
        return kept

    def values(self, key: Any, compute: Callable[[], Tensor]) -> Tensor:
        """Values of a condition at its rows, computed once unless something is learned in them."""
        if key in self._kept:
            found: Tensor = self._kept[key]
            return found
        value = compute()
        if not value.requires_grad:
            self._kept[key] = value
        return value

    def state(self) -> dict[str, Any]:
        """As data that a checkpoint can hold."""

        def saved(array: NDArray[Any] | None) -> Tensor | None:
            return None if array is None else torch.as_tensor(array)

        return {
            "x": saved(self.x),
            "x_all": saved(self.x_all),
            "x_bc": saved(self.x_bc),
            "counts": list(self.counts),
            "auxiliary": saved(self.auxiliary),
            "batches": [saved(batch) for batch in self.batches],
        }

    @staticmethod
    def from_state(state: Mapping[str, Any]) -> Points:
        """The inverse of `state`."""

        def loaded(tensor: Tensor | None) -> Any:
            return None if tensor is None else tensor.cpu().numpy()

        return Points(
            loaded(state["x"]),
            loaded(state["x_all"]),
            loaded(state["x_bc"]),
            tuple(state["counts"]),
            loaded(state["auxiliary"]),
            tuple(loaded(batch) for batch in state["batches"]),
        )


@contextlib.contextmanager
def installed(data: Any, points: Points, x: Array | None = None) -> Iterator[None]:
    """The data object at these points inside the block; its own are untouched.

    ``x`` are the rows in another precision.
    """
    there: dict[str, Any] = {
        "train_x": points.x if x is None else x,
        "train_x_all": points.x_all,
        "train_x_bc": points.x_bc,
        "num_bcs": list(points.counts),
        "train_aux_vars": points.auxiliary,
        "train_y": None,
    }
    batched = [
        (bc, b) for bc, b in zip(data.bcs, points.batches, strict=True) if hasattr(bc, "batch_indices")
    ]
    with contextlib.ExitStack() as stack:
        for owner, name, value in [
            *((data, name, value) for name, value in there.items()),
            *((bc, "batch_indices", batch) for bc, batch in batched),
        ]:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield


@contextlib.contextmanager
def conditions_at(data: Any, points: Points, x: Tensor) -> Iterator[None]:
    """Conditions whose values belong to these points, in the precision and on the device of x.

    DeepXDE keeps values by the address of the array of points, which a later array may have, and keeps the
    graph of values that are learned.  Here values live as long as their points, and learned ones are computed
    at each call.
    """
    with contextlib.ExitStack() as stack:

        def replace_attribute(owner: Any, name: str, value: Any) -> None:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)

        for number, bc in enumerate(data.bcs):
            for name in ("func", "boundary_normal"):
                function: Any = getattr(bc, name, None)
                if _caches(function):
                    key = (number, name, x.dtype, x.device)
                    replace_attribute(bc, name, _at_points(function.__wrapped__.__wrapped__, points, key, x))
            if isinstance(getattr(bc, "values", None), Tensor):
                replace_attribute(bc, "values", bc.values.to(x))
        yield


def _caches(function: Any) -> bool:
    """Whether it is a function of points that DeepXDE has wrapped into its cache."""
    code = getattr(function, "__code__", None)
    return code is not None and code.co_name == "wrapper_cache" and hasattr(function, "__wrapped__")


def _at_points(
    function: Callable[[Array], Any], points: Points, key: tuple[Any, ...], x: Tensor
) -> Callable[..., Tensor]:
    def call(rows: Array, begin: int, end: int, _: Any) -> Tensor:
        return points.values(
            (*key, begin, end),
            lambda: torch.as_tensor(function(rows[begin:end])).to(x.device, x.dtype),
        )

    return call


def redrawn(data: Any, points: Points, seed: int) -> Points:
    """All points anew, those of conditions too, by the data object's own rule.

    Distributions that always give the same points are replaced by pseudorandom ones.
    """
    distribution = data.train_distribution
    with installed(data, points), seeded(seed), quiet():
        data.train_distribution = distribution if distribution in _RANDOM else "pseudo"
        try:
            data.resample_train_points()
            return Points.of(data)
        finally:
            data.train_distribution = distribution


def points_of_test(data: Any, points: Points) -> Points:
    """The points of DeepXDE's test losses with the rows of conditions that belong to them."""
    if data.num_test is None:
        return points
    x = data.test_x
    rows = points.x_bc
    if len(x) < len(rows) or not np.array_equal(x[: len(rows)], rows):  # the data were resampled
        with installed(data, points), seeded(0), quiet():
            x = data.test_points()
    auxiliary = None if data.auxiliary_var_fn is None else data.auxiliary_var_fn(x)
    return replace(points, x=x, x_all=x[len(rows) :], auxiliary=auxiliary, _kept={})


def interior(data: Any, points: Points) -> NDArray[np.bool_]:
    """Which of all points lie inside, neither on the boundary nor at the start, and were not given."""
    x = points.x_all
    found = ~np.asarray(data.geom.on_boundary(x), dtype=bool)
    if hasattr(data.geom, "on_initial"):
        found &= ~np.asarray(data.geom.on_initial(x), dtype=bool)
    if data.anchors is not None:
        given = {row.tobytes() for row in np.ascontiguousarray(data.anchors.astype(x.dtype))}
        found &= np.array([row.tobytes() not in given for row in np.ascontiguousarray(x)], dtype=bool)
    return found


def with_interior(data: Any, points: Points, inside: NDArray[np.bool_], rows: Array) -> Points:
    """The same points but those inside, which come last."""
    x_all = np.vstack([points.x_all[~inside], rows.astype(points.x_all.dtype)])
    x = np.vstack([points.x_bc, x_all])
    auxiliary = None if data.auxiliary_var_fn is None else data.auxiliary_var_fn(x)
    return replace(points, x=x, x_all=x_all, auxiliary=auxiliary, _kept={})


def samplers_of(data: Any) -> Sequence[Any]:
    """What chooses the batches of conditions on given points."""
    return [bc.batch_sampler for bc in data.bcs if hasattr(bc, "batch_sampler")]
