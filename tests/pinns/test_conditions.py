"""Conditions on integrals and on several components."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from sciml.description import build, describe
from sciml.errors import ConfigError
from sciml.kernels import laplacian
from sciml.pinns import (
    Ball,
    Box,
    Condition,
    Dirichlet,
    Domain,
    Integral,
    Neumann,
    Problem,
    Relation,
    Residual,
)
from sciml.pinns.domain import Geometry
from sciml.pinns.fingerprints import kronecker
from sciml.pinns.quadrature import quadrature
from sciml.streams import Streams

SQUARE = Box(((0.0, 2.0), (0.0, 1.0)))


def missed(condition: Condition, u: object, domain: Domain) -> list[float]:
    return condition.residual(u, condition.rows(domain, kronecker, 8), domain).tolist()  # type: ignore[arg-type]


def test_integrals_over_boxes_are_exact() -> None:
    def u(x: Tensor) -> Tensor:
        return x[:, 0] ** 3 * x[:, 1] ** 2

    domain = Domain(SQUARE)
    assert missed(Integral(1.0), u, domain) == pytest.approx([4 / 3 - 1], abs=1e-13)
    assert missed(Integral(0.0, mean=True), u, domain) == pytest.approx([2 / 3], abs=1e-13)
    # On 0+ x is 2 and the integral of y^2 a third; on 1+ y is 1 and the integral of x^3 is 4.
    faces = ("0+", "1+")
    assert missed(Integral(0.0, faces), u, domain) == pytest.approx([8 / 3 + 4], abs=1e-13)
    assert missed(Integral(0.0, faces, mean=True), u, domain) == pytest.approx([(8 / 3 + 4) / 3], abs=1e-13)
    line = Domain(Box(((0.0, 2.0),)))
    assert missed(Integral(0.0, ("0-", "0+")), lambda x: 1 + x[:, 0], line) == [4.0]


def test_in_time_there_is_one_number_for_each_moment() -> None:
    domain = Domain(SQUARE, time=(1.0, 3.0))
    condition = Integral(lambda x: 2 * x[:, -1], times=4)
    found = missed(condition, lambda x: x[:, 0] * x[:, 2], domain)
    assert found == pytest.approx([0.0] * 4, abs=1e-12)  # the integral of x is 2
    assert condition.fixed == 4
    found = missed(Integral(0.0, times=2), lambda x: x[:, 2], domain)
    assert found == pytest.approx([2 * 1.5, 2 * 2.5], abs=1e-12)


@pytest.mark.parametrize(
    ("space", "volume", "area"),
    [
        (Ball(2), math.pi, 2 * math.pi),
        (Ball(3, 2.0), 32 / 3 * math.pi, 16 * math.pi),
        (SQUARE - Ball(2, 0.25, (1.0, 0.5)), 2 - math.pi / 16, 6 + math.pi / 2),
    ],
    ids=repr,
)
def test_elsewhere_they_converge(space: Geometry, volume: float, area: float) -> None:
    """Size, and the divergence theorem for the field x, whose divergence is the dimension."""
    errors = []
    for count in (2**8, 2**14):
        _, weights = quadrature(space, None, count)
        points, shares = quadrature(space, space.faces, count)
        errors.append(abs(float(weights.sum()) / volume - 1) + abs(float(shares.sum()) / area - 1))
        assert errors[-1] < 2 / math.sqrt(count)  # random points would have one over the root of the count
        assert space.contains(points).all()
    x, weights = quadrature(space, None, 2**12)
    middle = torch.tensor([(a + b) / 2 for a, b in space.bounds], dtype=torch.float64)
    assert ((weights[:, None] * (x - middle)).sum(0).abs() < 1e-2 * volume).all()


class Floating(Problem):
    """-Laplace(u) = f with slopes given all around: known but for a constant, which the mean fixes."""

    domain = Domain(SQUARE)
    conditions = (Neumann(0.0), Integral(0.0, mean=True))

    def residual(self, u: object, x: Tensor) -> Tensor:
        return laplacian(u, x) - torch.cos(math.pi * x[:, 0])  # type: ignore[arg-type]


def test_an_integral_is_a_term_of_one_number() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0)).double()
    loss = Residual(Floating(), points=64)
    loss.check(model)
    first = loss.draw(0, model, Streams(0))
    term = loss.terms(model, first)["integral"]
    assert term.values.shape == (1,)
    x, weights = quadrature(SQUARE, None, 1024)
    mean = (weights * model(x)).sum() / 2
    torch.testing.assert_close(term.mean(), mean.square())
    term.mean().backward()
    assert all((p.grad != 0).any() for p in model.parameters())
    # Its points stay when all others move.
    assert torch.equal(loss.draw(1, model, Streams(0))["integral/rows"], first["integral/rows"])


class Slip(Problem):
    """Two components; nothing flows through the walls."""

    domain = Domain(SQUARE)
    outputs = 2
    conditions = (
        Relation(lambda u, x, normal: (u(x) * normal).sum(1), ("1-", "1+"), name="wall"),
        Dirichlet(1.0, ("0-",), component=0, name="inlet"),
    )

    def residual(self, u: object, x: Tensor) -> Tensor:
        return 0 * x[:, 0]


def test_relations_see_all_components() -> None:
    model = nn.Linear(2, 2).double()
    loss = Residual(Slip(), points=64)
    loss.check(model)
    batch = loss.draw(0, model, Streams(0))
    terms = loss.terms(model, batch)
    rows = batch["wall/rows"]
    torch.testing.assert_close(terms["wall"].values, model(rows[:, :2])[:, 1] * rows[:, 3])
    assert list(terms) == ["equation", "wall", "inlet"]
    assert Slip().fingerprint() == Slip().fingerprint()


def test_descriptions_and_refusals() -> None:
    condition = Integral(2.0, ("0-",), mean=True, times=3)
    assert build(describe(condition)) == condition
    with pytest.raises(ConfigError, match="points and times must be at least 1"):
        Integral(0.0, points=0)
    with pytest.raises(ConfigError, match="no face 7-"):
        Integral(0.0, ("7-",)).rows(Domain(SQUARE), kronecker, 1)
