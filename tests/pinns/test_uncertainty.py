"""Standard errors of unknowns: exact where everything is linear, with the coverage that they promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sciml.errors import ConfigError
from sciml.kernels import d, evaluate
from sciml.objective import roots
from sciml.pinns import (
    Box,
    Coefficient,
    CoefficientField,
    Condition,
    Domain,
    PointData,
    Problem,
    Residual,
    findings,
    uncertainty_of,
)
from sciml.pinns.fingerprints import kronecker
from sciml.streams import Streams

Function = Callable[[Tensor], Tensor]
NOISE = 0.05
X = torch.linspace(0, 1, 25, dtype=torch.float64)[:, None]


def powers(x: Tensor) -> Tensor:
    return torch.stack([x[:, 0] ** k for k in range(3)], dim=1)


class Polynomial(nn.Module):
    """c_0 + c_1 x + c_2 x^2: linear in its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return sum(c * x[:, 0] ** k for k, c in enumerate(self.weights))  # type: ignore[return-value]


class Bent(Problem):
    """u'' = bend with u measured, where u is a parabola: everything is linear."""

    domain = Domain(Box(((0.0, 1.0),)))
    coefficients: Mapping[str, Coefficient] = {"bend": Coefficient(0.0)}

    def __init__(self, values: Tensor, noise: float | None) -> None:
        self.data = PointData(X, values, noise=noise)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (self.data,)

    def residual(self, u: Function, x: Tensor, coefficients: Mapping[str, Tensor]) -> Tensor:
        return 100 * (evaluate(u, x, [d(0, 0)])[1] - coefficients["bend"])


def solved(problem: Problem) -> tuple[Polynomial, Residual]:
    """At the minimum, which is one step away."""
    model, loss = Polynomial(), Residual(problem, points=20)
    every = [model.weights, *loss.parameters()]
    r = torch.cat(list(roots(loss.terms(model, loss.draw(0, model, Streams(0)))).values()))
    rows = [torch.autograd.grad(v, every, retain_graph=True, materialize_grads=True) for v in r]
    slopes = torch.stack([torch.cat([g.reshape(-1) for g in row]) for row in rows])
    step = torch.linalg.lstsq(slopes, -r.detach()[:, None], driver="gelsd").solution[:, 0]
    with torch.no_grad():
        for parameter, part in zip(every, step.split([p.numel() for p in every]), strict=True):
            parameter.copy_(part.reshape(parameter.shape))
    return model, loss


def measured(seed: int, count: int = 1) -> Tensor:
    truth = 1 + X[:, 0] + 1.5 * X[:, 0] ** 2
    errors = torch.randn(count, len(X), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return truth + NOISE * errors


@pytest.mark.parametrize("noise", [NOISE, None])
def test_they_are_those_of_linear_regression(noise: float | None) -> None:
    """bend = 2 c_2; without a noise it is found from the misfit and the three weights that it took."""
    values = measured(0)[0]
    model, loss = solved(Bent(values, noise))
    found = uncertainty_of(model, loss, spread=1e5)
    fit = torch.linalg.lstsq(powers(X), values[:, None]).solution[:, 0]
    sigma = NOISE if noise else float((values - powers(X) @ fit).square().sum().div(len(X) - 3).sqrt())
    error = 2 * sigma * float(torch.linalg.inv(powers(X).T @ powers(X))[2, 2].sqrt())
    # What is believed of the weights has 1e-10 of what one measurement tells.
    assert found.values["bend"] == pytest.approx(2 * float(fit[2]), rel=1e-6)
    assert found.errors["bend"] == pytest.approx(error, rel=1e-6)
    assert found.noise["data"] == pytest.approx(sigma, rel=1e-6)
    assert float(found.covariance) == pytest.approx(error**2, rel=1e-6)
    low, high = found.interval("bend", 0.6826894921)
    assert high - low == pytest.approx(2 * error, rel=1e-6)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """4000 repetitions of the measurement; the estimate is linear in the values."""
    model, loss = solved(Bent(measured(0)[0], NOISE))
    error = uncertainty_of(model, loss, spread=1e5).errors["bend"]
    fits = torch.linalg.lstsq(powers(X), measured(1, 4000).T).solution
    for level, half in ((0.6827, 1.0), (0.95, 1.96)):
        covered = float(((2 * fits[2] - 3).abs() < half * error).double().mean())
        # Three standard errors of a share among 4000.
        assert abs(covered - level) < 3 * (level * (1 - level) / 4000) ** 0.5 + 1e-3


class Twice(Bent):
    """Only the sum of two numbers is in the equation."""

    coefficients: Mapping[str, Coefficient] = {"one": Coefficient(1.0), "two": Coefficient(0.0)}

    def residual(self, u: Function, x: Tensor, coefficients: Mapping[str, Tensor]) -> Tensor:
        return super().residual(u, x, {"bend": coefficients["one"] + coefficients["two"]})


def test_what_others_imitate_is_reported() -> None:
    model, loss = solved(Twice(measured(0)[0], NOISE))
    with pytest.warns(UserWarning, match="do not determine one, two"):
        found = uncertainty_of(model, loss)
    assert max(found.determined.values()) < 0.1
    alone = uncertainty_of(*solved(Bent(measured(0)[0], NOISE)), spread=1e5)
    assert 1 - 1e-6 < alone.determined["bend"] <= 1


class Sloped(Bent):
    """u' = a(x), a a polynomial of degree 1."""

    coefficients: Mapping[str, CoefficientField] = {  # type: ignore[assignment]
        "a": CoefficientField(lambda inputs, outputs: nn.Linear(inputs, outputs))
    }

    def residual(self, u: Function, x: Tensor, coefficients: Mapping[str, Function]) -> Tensor:  # type: ignore[override]
        return 100 * (evaluate(u, x, [d(0)])[1] - coefficients["a"](x))


def test_bands_of_functions_are_those_of_linear_regression() -> None:
    model, loss = solved(Sloped(measured(0)[0], NOISE))
    found = uncertainty_of(model, loss, at=X, spread=1e5)
    slopes = torch.stack([0 * X[:, 0], torch.ones(len(X)).double(), 2 * X[:, 0]], dim=1)
    covariance = NOISE**2 * torch.linalg.inv(powers(X).T @ powers(X))
    expected = (slopes @ covariance @ slopes.T).diagonal().sqrt()
    torch.testing.assert_close(found.bands["a"], expected, rtol=1e-6, atol=0)
    assert found.errors == {} and uncertainty_of(model, loss).bands == {}


def test_what_it_cannot_tell_is_refused() -> None:
    model, loss = solved(Bent(measured(0)[0], NOISE))
    with pytest.raises(ConfigError, match="needs a model in float64"):
        uncertainty_of(Polynomial().float(), loss)
    with pytest.raises(ConfigError, match="one of bend"):
        uncertainty_of(model, loss).interval("bnd")
    values = replace(uncertainty_of(model, loss), values={"bend": 1.0}, errors={"bend": 0.5})
    assert values.interval("bend")[1] == pytest.approx(1 + 0.5 * 1.959964, rel=1e-6)


def test_findings_tell_of_each_unknown_what_is_known() -> None:
    model, loss = solved(Bent(measured(0)[0], NOISE))
    known, found = uncertainty_of(model, loss), findings(model, loss)["bend"]
    assert (found.value, found.standard_error) == (known.values["bend"], known.errors["bend"])
    assert found.determined is True and found.relative_error is None
    with pytest.warns(UserWarning, match="do not determine one, two"):
        lost = findings(*solved(Twice(measured(0)[0], NOISE)))
    assert [one.determined for one in lost.values()] == [False, False]


class Truly(Sloped):
    truth = {"a": lambda x: 1 + 3 * x[:, 0]}  # noqa: RUF012


def test_a_function_is_found_with_one_error_over_the_domain() -> None:
    """The root of the mean square of its standard errors; the fit's slope is so far from the truth."""
    model, loss = solved(Truly(measured(0)[0], NOISE))
    found, x = findings(model, loss)["a"], kronecker(1000, 1)
    bands = uncertainty_of(model, loss, at=x).bands["a"]
    assert found.value is None and found.determined is None
    # Means over 200 and over 1000 points of low discrepancy.
    assert found.standard_error == pytest.approx(float(bands.square().mean().sqrt()), rel=1e-2)
    fit = torch.linalg.lstsq(powers(X), measured(0).T).solution[:, 0]
    off = (fit[1] - 1) + (2 * fit[2] - 3) * x[:, 0]
    assert found.relative_error == pytest.approx(float(off.norm() / (1 + 3 * x).norm()), rel=1e-3)


def test_findings_without_standard_errors_say_why() -> None:
    _, loss = solved(Bent(measured(0)[0], NOISE))
    with pytest.warns(UserWarning, match="no standard errors: .* float64"):
        found = findings(Polynomial().float(), loss)["bend"]
    assert found.value == pytest.approx(3, abs=1) and found.standard_error is found.determined is None
