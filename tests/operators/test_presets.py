"""Published set-ups: every one makes a model, of the size that its source states."""

import sys

import pytest
import torch
from torch import nn

import sciml.operators
from sciml.description import build, describe
from sciml.operators import presets
from sciml.operators.presets import Setup, setups, setups_of
from sciml.operators.sensors import Sensors

SETUPS = setups()
COUNTED = [name for name, setup in SETUPS.items() if setup.parameters is not None]


def problem(setup: Setup) -> tuple[int, int, int]:
    """The stated rank and channels; else those for which the arguments are."""
    if setup.problem is not None:
        return setup.problem
    given = (len(v.shape) for v in setup.arguments.values() if isinstance(v, Sensors))
    return next(given, 2), 1, 1


def made(setup: Setup) -> nn.Module:
    with torch.device("meta"):
        model = setup.operator(*problem(setup), **setup.arguments)
    assert isinstance(model, nn.Module)
    return model


@pytest.mark.parametrize("name", SETUPS)
def test_every_set_up_makes_a_model_that_a_run_can_repeat(name: str) -> None:
    setup = SETUPS[name]
    model = made(setup)
    assert setup.source
    with torch.device("meta"):
        again = build(describe(model))
    shapes, repeated = ({n: p.shape for n, p in m.named_parameters()} for m in (model, again))
    assert shapes == repeated


@pytest.mark.parametrize("name", COUNTED)
def test_t13_sizes_are_those_of_the_sources(name: str) -> None:
    """With complex numbers counted once: spectral weights are pairs of real ones."""
    setup = SETUPS[name]
    named = dict(made(setup).named_parameters())
    spectral = sum(p.numel() for part, p in named.items() if "spectral_weight" in part)
    assert sum(p.numel() for p in named.values()) - spectral // 2 == setup.parameters


def test_every_size_and_every_file_is_found() -> None:
    """A size that belongs to no set-up, or a file whose set-ups nobody collects, is a name misspelled."""
    assert set(presets._COUNTED) == set(COUNTED)
    classes = [getattr(sciml.operators, name) for name in sciml.operators.__all__]
    homes = {cls.__module__ for cls in classes if hasattr(sys.modules[cls.__module__], "published")}
    assert {setup.operator.__module__ for setup in SETUPS.values()} == homes


def test_what_derives_from_another_operator_has_its_own_or_none() -> None:
    assert setups_of(sciml.operators.MultiONet) == {}
    assert setups_of(sciml.operators.TFNO).keys() == {"darcy"}
    assert setups_of(len) == {}
