"""MultiAdam: one group is Adam to the bit, scales of groups do not matter, and its steps by hand."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.errors import ConfigError
from sciml.objective import Batch, Objective, Term
from sciml.optimizers import MultiAdam
from sciml.streams import Streams
from sciml.trainer import Trainer


class Curve(Objective):
    """Fit a curve, its slope and its ends, of which each has a weight."""

    def __init__(self, weights: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> None:
        self.weights = weights

    def draw(self, step: int, model: nn.Module, streams: Streams) -> Batch:
        generator = streams.of("points").generator(step)
        return Batch({"x": 2 * torch.rand(16, 1, generator=generator, dtype=torch.float64) - 1})

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        x = batch["x"]
        ends = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
        values = {
            "fit": model(x) - x**3,
            "slope": (model(x + 0.01) - model(x - 0.01)) / 0.02 - 3 * x**2,
            "ends": model(ends) - ends,
        }
        return {
            name: Term(value, weight, square=True)
            for (name, value), weight in zip(values.items(), self.weights, strict=True)
        }


def network() -> nn.Module:
    with Streams(1).of("init").applied():
        return nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


class Terms:
    """The closure of a loss that is a dictionary."""

    def __init__(self, terms: Any) -> None:
        self.means = terms

    def __call__(self) -> float:
        raise AssertionError("its terms are asked for")


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.99, 0.99)])
def test_one_group_is_adam_to_the_bit(betas: tuple[float, float]) -> None:
    runs = [
        Trainer(20, optimizer=partial(torch.optim.Adam, lr=1e-2, betas=betas)).fit(network(), Curve()),
        Trainer(
            20, optimizer=partial(MultiAdam, lr=1e-2, betas=betas, groups=(("fit", "slope", "ends"),))
        ).fit(network(), Curve()),
    ]
    assert torch.equal(weights(runs[0].model), weights(runs[1].model))
    told = [
        [{k: row[k] for k in ("loss", "fit", "slope", "ends", "lr")} for row in run.history] for run in runs
    ]
    assert told[0] == told[1]
    assert (weights(runs[0].model) - weights(network())).abs().max() > 0.05


def test_a_factor_before_a_group_changes_nothing() -> None:
    """To the bit for powers of two, if nothing stands beside the roots."""
    optimizer = partial(MultiAdam, lr=1e-2, eps=0.0, groups=(("fit", "slope"),))
    found = [
        weights(Trainer(20, optimizer=optimizer).fit(network(), Curve(scales)).model)
        for scales in [(1.0, 1.0, 1.0), (2.0**20, 2.0**20, 2.0**-20)]
    ]
    assert torch.equal(*found)
    # Within a group factors do matter.
    other = weights(Trainer(20, optimizer=optimizer).fit(network(), Curve((2.0**20, 1.0, 1.0))).model)
    assert (other - found[0]).abs().max() > 1e-3


def test_with_eps_a_factor_of_a_million_changes_little() -> None:
    """Gradients stay above 1e-4 of 1 here, eps is 1e-8: a step changes by 1e-4 of itself."""
    optimizer = partial(MultiAdam, lr=1e-2)
    found = [
        weights(Trainer(5, optimizer=optimizer).fit(network(), Curve(scales)).model)
        for scales in [(1.0, 1.0, 1.0), (1e6, 1.0, 1.0)]
    ]
    torch.testing.assert_close(*found, rtol=0, atol=5 * 1e-2 * 1e-4)


def test_its_steps_by_hand() -> None:
    x = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    optimizer = MultiAdam([x], lr=0.1, betas=(0.8, 0.9), eps=1e-3)
    place, m, v = 3.0, [0.0, 0.0], [0.0, 0.0]
    for t in range(1, 8):
        loss = optimizer.step(Terms(lambda: {"bowl": x**2, "wall": 10 * x.exp()}))
        assert loss == pytest.approx(place**2 + 10 * torch.tensor(place, dtype=torch.float64).exp().item())
        move = 0.0
        for k, g in enumerate([2 * place, 10 * torch.tensor(place, dtype=torch.float64).exp().item()]):
            m[k], v[k] = 0.8 * m[k] + 0.2 * g, 0.9 * v[k] + 0.1 * g * g
            move += 0.1 / 2 * (m[k] / (1 - 0.8**t)) / ((v[k] / (1 - 0.9**t)) ** 0.5 + 1e-3)
        place -= move
        assert x.item() == pytest.approx(place, rel=1e-12)


def test_terms_that_are_not_named_make_a_group() -> None:
    model = network()
    optimizer = MultiAdam(model.parameters(), lr=1e-2, groups=(("ends",),))
    run = Trainer(2, optimizer=lambda params: optimizer).fit(model, Curve())
    for p in run.model.parameters():
        assert optimizer.state[p]["means"].shape == (2, *p.shape)


def test_parameters_outside_the_loss_stay() -> None:
    x, unused = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    optimizer = MultiAdam([x, unused], lr=0.1)
    for _ in range(3):
        optimizer.step(Terms(lambda: {"one": (x**2).sum(), "two": x.exp().sum()}))
    assert torch.equal(unused.detach(), torch.ones(3))
    assert (x < 0.75).all()


def test_what_cannot_work_is_refused() -> None:
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(ConfigError, match="lr >= 0, 0 <= betas < 1"):
        MultiAdam([x], betas=(0.9, 1.0))
    for groups in [("equation",), (("a",), ("a", "b")), ((),)]:
        with pytest.raises(ConfigError, match="each name in one of them"):
            MultiAdam([x], groups=groups)
    with pytest.raises(ConfigError, match="one group of parameters, got 2"):
        MultiAdam([{"params": [x]}, {"params": [torch.ones(1)]}])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match=r"closure has no means\(\), the terms of the loss by name"):
        MultiAdam([x]).step(lambda: 1.0)
    with pytest.raises(ConfigError, match="no term 'edns'; it has fit, slope, ends. Did you mean 'ends'"):
        Trainer(1, optimizer=partial(MultiAdam, groups=(("edns",),))).fit(network(), Curve())
    with pytest.raises(ConfigError, match=r"takes the loss apart runs without clip; got clip=1\.0"):
        Trainer(1, optimizer=MultiAdam, clip=1.0).fit(network(), Curve())
    optimizer = MultiAdam([x])
    optimizer.step(Terms(lambda: {"one": x.sum()}))
    with pytest.raises(ConfigError, match="2 groups of terms and had 1 before"):
        optimizer.step(Terms(lambda: {"one": x.sum(), "two": x.sum()}))
