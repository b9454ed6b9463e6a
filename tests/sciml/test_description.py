from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from sciml.description import build, describable, describe
from sciml.errors import ConfigError
from sciml.grid import Grid
from sciml.metrics import relative_h1, relative_l2
from sciml.operators.fno import FNO
from sciml.pinns.recipe import Stage
from sciml.pinns.samplers import Uniform
from sciml.trainer import EarlyStop, Phase


def test_round_trip_through_json() -> None:
    values: list[Any] = [
        FNO(2, 1, 1, modes=(3, 4), width=5, padding=0.1),
        Phase(partial(AdamW, lr=1 / 3, betas=(0.9, 0.99)), 7),
        EarlyStop(3, metric="rmse"),
        [1, 2.5, None, True, ("a", "b"), {"k": torch.float64}],
        nn.GELU,
        relative_l2,
        partial(relative_h1, grid=Grid.box((5, 4), upper=2.0, periodic=(True, False))),
    ]
    for value in values:
        text = json.dumps(describe(value))
        assert json.dumps(describe(build(json.loads(text)))) == text


def test_a_grid_is_built_again() -> None:
    grid = Grid.box((5, 4), upper=(1.0, 2.0), location="node", periodic=(True, False), units="m")
    assert build(json.loads(json.dumps(describe(grid)))) == grid == pickle.loads(pickle.dumps(grid))


def test_built_model_is_the_same_model() -> None:
    one = FNO(2, 1, 1, modes=3, width=5)
    two = build(describe(one))
    two.load_state_dict(one.state_dict())
    x, xi = torch.randn(2, 1, 12, 10), torch.as_tensor(Grid.box((12, 10)).unit_coordinates()).float()
    xi = xi.expand(2, -1, -1, -1)
    assert torch.equal(one(x, xi), two(x, xi))


def test_objects_of_other_people_are_named_but_not_built() -> None:
    class Net(nn.Linear):
        pass

    description = describe(Net(1, 1))
    assert description["arguments"] is None
    with pytest.raises(ConfigError, match=r"Surrogate\.load\(folder, model=mine\)"):
        build(description)


def test_subclass_does_not_inherit_the_record_of_its_parent() -> None:
    @describable
    class Parent:
        def __init__(self, a: int) -> None:
            pass

    class Child(Parent):
        def __init__(self, b: int) -> None:
            super().__init__(b + 1)

    assert describe(Parent(1))["arguments"] == {"a": 1}
    assert describe(Child(1))["arguments"] is None


def test_a_default_that_is_made_is_recorded_as_what_it_is() -> None:
    @describable
    @dataclass(frozen=True)
    class Parent:
        name: str
        rates: list[float] = field(default_factory=lambda: [0.5])
        size: int = field(default=3, kw_only=True)

    @describable
    class Child(Parent):
        def __init__(self, rates: int = 7) -> None:
            super().__init__(str(rates))

    made = Parent("a")
    assert describe(made)["arguments"] == {"name": "a", "rates": [0.5], "size": 3}
    assert made == Parent("a", [0.5]) and made.rates is not Parent("a").rates
    assert describe(Parent("a", [1.0], size=2))["arguments"] == {"name": "a", "rates": [1.0], "size": 2}
    assert describe(Child())["arguments"] == {"rates": 7} and Child().rates == [0.5]
    # A change of what is made is a change of the description, as of any other default.
    stage = json.loads(json.dumps(describe(Stage(partial(AdamW, lr=1e-3), 5))))
    assert stage["arguments"]["sampler"] == describe(Uniform())


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "builtins.eval",
        "subprocess.Popen",
        "torch.load",
        "torch.nn.Linear",
        "torch.optim.Optimizer.register_load_state_dict_pre_hook",
        "sciml.files._remove",
        "sciml.files.shutil.rmtree",
        "sciml.run.RunFolder",
        "sciml.metrics.torch",
        "sciml.nowhere.Thing",
        "nodots",
    ],
)
def test_files_cannot_name_arbitrary_code(path: str) -> None:
    for description in ({"class": path, "arguments": {}}, {"partial": path, "arguments": {}}, {"name": path}):
        with pytest.raises(ConfigError, match="may not be made from a file"):
            build(description)


def test_nameless_things_are_refused() -> None:
    with pytest.raises(ConfigError, match="no name that a file could hold"):
        describe(lambda x: x)
    with pytest.raises(ConfigError, match="give them by keyword"):
        describe(partial(AdamW, 1e-3))


def test_unknown_argument_in_a_file_is_a_sentence() -> None:
    description = describe(EarlyStop(3))
    description["arguments"]["patients"] = 1
    with pytest.raises(ConfigError, match="patients"):
        build(description)
