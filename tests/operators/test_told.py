"""Operators that are told numbers of the sample: which, as what, and that all get the same ones."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from sciml.comparison.benchmark import Made
from sciml.comparison.benchmarks import BENCHMARKS
from sciml.comparison.entry import Entry
from sciml.comparison.fields import FieldContest
from sciml.datasets import ForcedBurgers
from sciml.description import build, describe
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Grid
from sciml.operators import FNO, MPPDE, ResNet
from sciml.operators.making import make_model
from sciml.operators.message_settings import Context
from sciml.operators.told import Told
from sciml.presets import Generated
from sciml.unroll import Frames, Stepping

CONTEXT = Context(time=4.0, parameters=(None, 0.2, 5.0))
DATA = SimpleNamespace(kind="grid", rank=1, grid=Grid.box((32,), periodic=True), path="")


def made(operator, settings=None, context=CONTEXT):
    settings = settings or {}
    return make_model("it", operator, settings, in_channels=2, out_channels=2, data=DATA, context=context)


def test_numbers_are_channels_behind_the_fields():
    """Time over 4, then the second and third parameter over their sizes, at all points."""

    class Seen(torch.nn.Module):
        in_channels = 4

        def forward(self, x, time=None):
            assert time is not None  # named by the model: handed on
            return x

    x, numbers = torch.randn(2, 1, 3, 5), torch.tensor([[9.0, 0.1, 5.0], [9.0, 0.2, -5.0]])
    y = Told(Seen(), CONTEXT)(x, parameters=numbers, time=torch.tensor([2.0, 4.0]))
    assert torch.equal(y[:, :1], x)
    expected = torch.tensor([[0.5, 0.5, 1.0], [1.0, 1.0, -1.0]])
    torch.testing.assert_close(y[:, 1:], expected[..., None, None].expand(-1, -1, 3, 5))


@pytest.mark.parametrize("operator", [FNO, ResNet, MPPDE])
def test_every_operator_depends_on_what_it_is_told(operator):
    torch.manual_seed(0)
    model = made(operator, {"width": 16})
    assert isinstance(model, Told) == (operator is not MPPDE) and set(model.requires) >= {
        "time",
        "parameters",
    }
    assert (model.in_channels, model.rank) == (2, 1)
    again = build(describe(model))
    again.load_state_dict(model.state_dict())
    x, time = torch.randn(1, 2, 32).expand(4, -1, -1), torch.tensor([1.0, 1.0, 2.0, 1.0])
    numbers = torch.tensor([[1.0, 0.1, 5.0], [1.0, 0.2, 5.0], [1.0, 0.1, 5.0], [3.0, 0.1, 5.0]])
    extras = {"time": time, "parameters": numbers}
    extras["coordinates"] = torch.as_tensor(DATA.grid.unit_coordinates(), dtype=x.dtype).expand(4, -1, -1)
    y = model(x, **extras)
    for row, told in ((1, True), (2, True), (3, False)):  # the first parameter is not told
        assert torch.allclose(y[row], y[0], atol=1e-6) != told
    torch.testing.assert_close(again(x, **extras), y)


def test_who_is_told_nothing_stays_as_it_is():
    assert isinstance(made(FNO, context=None), FNO) and isinstance(made(FNO, context=Context()), FNO)
    assert made(MPPDE, context=None).context == Context()
    own = make_model(
        "own", lambda in_channels: torch.nn.Linear(in_channels, 1), {}, in_channels=2, out_channels=1,
        data=DATA, context=CONTEXT,
    )  # fmt: skip
    assert isinstance(own, torch.nn.Linear)
    wider = Context(time=8.0)
    assert made(MPPDE, {"context": wider}).context == wider  # a setting wins


def test_refusals():
    with pytest.raises(ConfigError, match="a channel for each of 3 numbers and for its fields"):
        Told(FNO(1, 3, 1, modes=4, width=4), CONTEXT)
    model = made(FNO, {"width": 8, "coordinates": False})
    with pytest.raises(ShapeError, match=r"Told: x must have shape \(batch, 2, \*space\), got \(1, 5, 32\)"):
        model(torch.zeros(1, 5, 32), parameters=torch.ones(1, 3), time=torch.ones(1))
    with pytest.raises(ShapeError, match=r"parameters must have shape \(1, 3\), got none"):
        model(torch.zeros(1, 2, 32), time=torch.ones(1))
    with pytest.raises(ShapeError, match="at least 32 grid points, got 30"):
        made(FNO, {"modes": 16}).check_grid((30,))


def test_a_protocol_tells_all_the_same(tmp_path):
    """E2: time and viscosity, whoever competes; training and roll-outs hand them over."""
    generator = ForcedBurgers(resolution=16, experiment="E2", frames=6, refinement=1)
    benchmark = dataclasses.replace(
        BENCHMARKS["e2/100/v2"],
        data=Made(Generated(generator, train=3, valid=0, test=1)),
        stepping=Stepping(Frames(window=2, bundle=2)),
        start=0,
    )
    contest = FieldContest(benchmark, tmp_path)
    told = []
    for operator, settings in ((FNO, {"modes": 2, "width": 4}), (MPPDE, {"width": 8, "depth": 1})):
        plan = contest.plan(Entry("it", operator, settings), seed=0, steps=1, device="cpu")
        told.append(plan.model.context)
        assert len(contest.judge(plan.trainer.fit(plan.model, plan.objective)).metrics["relative_l2"]) == 1
    assert told[0] == told[1] and told[0].requires == ("time", "parameters") and told[0].numbers == 2
