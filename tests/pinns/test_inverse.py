"""Inverse problems: unknown numbers and functions, in equations and conditions, from one or several sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam

from sciml.errors import ConfigError
from sciml.jacobian import jacobian
from sciml.kernels import d, evaluate
from sciml.objective import roots, total
from sciml.optimizers import LevenbergMarquardt, SelfScaledBroyden
from sciml.optimizers.linearization import by_rows
from sciml.pinns import (
    Box,
    Coefficient,
    CoefficientField,
    Condition,
    Dirichlet,
    Domain,
    Experiments,
    Initial,
    PointData,
    Prior,
    Problem,
    Recipe,
    Relation,
    Residual,
    Robin,
    Stage,
    Unknown,
    ansatz_for,
    fields_of,
)
from sciml.pinns.fingerprints import kronecker
from sciml.pinns.measurements import evidence
from sciml.pinns.networks import MLP
from sciml.pinns.samplers import Sobol
from sciml.streams import Streams

Function = Callable[[Tensor], Tensor]
LINE = Domain(Box(((0.0, 1.0),)))


def line(n: int) -> Tensor:
    return torch.linspace(0, 1, n, dtype=torch.float64)[:, None]


class Powers(nn.Module):
    """A polynomial: linear in its weights, so that a few iterations of least squares are enough."""

    def __init__(self, inputs: int, outputs: int, *, degree: int = 11) -> None:
        super().__init__()
        self.degree, self.last = degree, nn.Linear(degree, outputs)

    def forward(self, x: Tensor) -> Tensor:
        values: Tensor = self.last(torch.cat([x**k for k in range(1, self.degree + 1)], dim=1))
        return values


class Swing(Problem):
    """u'' = -wave^2 u from eleven values: u = sin(3 x), wave = 3."""

    domain = LINE
    coefficients = {"wave": Coefficient(2.0)}  # noqa: RUF012
    truth = {"wave": 3.0}  # noqa: RUF012

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (PointData(line(11), self.exact(line(11))),)

    def residual(self, u: Function, x: Tensor, coefficients: Mapping[str, Tensor]) -> Tensor:
        value, bend = evaluate(u, x, [d(0, 0)])
        return bend + coefficients["wave"] ** 2 * value

    def exact(self, x: Tensor) -> Tensor:
        return torch.sin(3 * x[:, 0])


class Grown(Problem):
    """u' = a(x), u(0) = height, from values of u: a = 1 + x, height = 2."""

    domain = LINE
    coefficients = {  # noqa: RUF012
        "a": CoefficientField(partial(MLP, width=4, depth=1), positive=True),
        "height": Coefficient(1.0, scale=2.0),
    }

    @property
    def truth(self) -> Mapping[str, Any]:
        return {"a": lambda x: 1 + x[:, 0], "height": 2.0}

    @property
    def conditions(self) -> tuple[Condition, ...]:
        start = Dirichlet(Unknown("height"), ("0-",), name="start")
        data = PointData(line(9), self.exact(line(9)), noise=0.01)
        return start, data, Prior("a", order=2, deviation=10.0)

    def residual(self, u: Function, x: Tensor, coefficients: Mapping[str, Any]) -> Tensor:
        slope: Tensor = evaluate(u, x, [d(0)])[1] - coefficients["a"](x)
        return slope

    def exact(self, x: Tensor) -> Tensor:
        return 2 + x[:, 0] + x[:, 0] ** 2 / 2


def least_squares(problem: Problem, iterations: int = 10) -> tuple[Any, Any]:
    stage = Stage(partial(LevenbergMarquardt, iterations=iterations), 1, Sobol())
    recipe = Recipe(Powers, (stage,), points=20)
    model, objective = recipe.model(problem, 0), recipe.objective(problem, 0)
    return recipe.trainer(0).fit(model, objective, validation=objective), objective


def test_a_frequency_is_found_to_six_digits() -> None:
    run, objective = least_squares(Swing())
    found = run.history[-1]["validation"]
    assert abs(float(objective.coefficients["wave"].detach()) - 3) < 1e-6
    assert found["error_wave"] == abs(found["wave"] / 3 - 1)


def test_a_function_and_a_number_in_a_condition_are_found() -> None:
    run, _ = least_squares(Grown())
    found = run.history[-1]["validation"]
    # Values without errors; the prior, which weighs 1e-5, bends a (1e-4).
    assert found["error_a"] < 1e-2 and found["error_height"] < 1e-3


# Unknowns in conditions.


class Probed(Problem):
    """u = 1 + x is what it is; an unknown h in one condition."""

    domain = Domain(Box(((0.0, 1.0),)), time=(0.0, 1.0))
    coefficients = {"h": Coefficient(3.0, positive=True)}  # noqa: RUF012

    def __init__(self, condition: Condition) -> None:
        self.condition = condition

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (self.condition,)

    def residual(self, u: Function, x: Tensor) -> Tensor:
        return u(x)


class Plane(torch.nn.Module):
    """1 + x, with a weight that is not needed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return 1 + x[:, 0] + 0 * self.weight


CASES: dict[str, tuple[Condition, Callable[[float], float]]] = {
    "value": (Dirichlet(Unknown("h"), ("0-",)), lambda h: 1 - h),
    "start": (Initial(Unknown("h", lambda x, h: h * (1 + x[:, 0]))), lambda h: 1 - h),
    "exchange": (Robin(Unknown("h"), 0.0, ("0-",)), lambda h: -1 + h),
    "relation": (
        Relation(_gap := lambda u, x, normal, coefficients: coefficients["h"] - u(x), ("0-",)),
        lambda h: h - 1,
    ),
}


@pytest.mark.parametrize(("condition", "gap"), CASES.values(), ids=CASES)
def test_an_unknown_in_a_condition_is_never_remembered(
    condition: Condition, gap: Callable[[float], float]
) -> None:
    """Trap 7: the same rows and the same objects, but another number, and its gradient."""
    loss, model = Residual(Probed(condition), points=20), Plane()
    loss.check(model)
    batch = loss.draw(0, model, Streams(0))
    name = condition.name
    (parameter,) = loss.parameters()
    for number in (3.0, 0.5):
        with torch.no_grad():
            parameter.fill_(math.log(number))
        values = loss.terms(model, batch)[name].values
        scale = model(batch[f"{name}/rows"][:, :2]) if isinstance(condition, Initial) else 1.0
        torch.testing.assert_close(values / scale, torch.full_like(values, gap(number)))
        slope = torch.autograd.grad(values.sum(), parameter)[0]
        assert slope.isfinite() and slope != 0
    assert condition.given(loss.coefficients) is not condition


def test_unknowns_are_not_built_in_and_have_to_exist() -> None:
    with pytest.raises(ConfigError, match="'height', which training moves"):
        ansatz_for(LINE, (Dirichlet(Unknown("height"), ("0-",)),))
    with pytest.raises(ConfigError, match="no 'hight' among .* Did you mean 'height'"):
        Dirichlet(Unknown("hight")).given({"height": torch.tensor(1.0)})


class Unused(Swing):
    coefficients = Swing.coefficients | {"other": Coefficient()}


def test_an_unknown_that_nothing_depends_on_is_refused() -> None:
    recipe = Recipe(partial(MLP, width=4, depth=1))
    with pytest.raises(ConfigError, match="depends on the unknown 'other'"):
        recipe.objective(Unused()).check(recipe.model(Unused(), 0))


def test_unknowns_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"positive, but starts at 0\.0"):
        CoefficientField(initial=0.0, positive=True)
    with pytest.raises(ConfigError, match="scale is a positive number, and 1 where positive"):
        Coefficient(positive=True, scale=3.0)
    with pytest.raises(ConfigError, match="axes are some of 1 coordinates"):
        CoefficientField(axes=(1,)).sought(LINE)


# Unknown functions.


def test_a_function_of_some_coordinates_starts_from_a_constant() -> None:
    domain = Domain(Box(((0.0, 2.0),)), time=(0.0, 1.0))
    field = CoefficientField(axes=(0,), initial=3.0).sought(domain)
    x = domain.interior(kronecker, 5)
    assert torch.equal(field(x), torch.full((5,), 3.0, dtype=torch.float64))
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.fill_(0.3)
    value, slope, rate = evaluate(field.value(), x, [d("x", variables="xt"), d("t", variables="xt")])
    assert value.std() > 0.01 and (slope != 0).all() and (rate == 0).all()


def test_slopes_by_unknown_functions_are_those_of_reverse_mode() -> None:
    """They are made entry by entry with those of the model; the order is that of the parameters."""
    problem = Grown()
    recipe = Recipe(partial(MLP, width=4, depth=1), points=6)
    model, loss = recipe.model(problem, 0), recipe.objective(problem, 1)
    with torch.no_grad():
        for parameter in loss.parameters():
            parameter.add_(0.1)
    batch = loss.draw(0, model, Streams(0))
    terms = loss.terms(model, batch)
    residuals = roots(terms)
    every = [*model.parameters(), *loss.parameters()]
    found = jacobian(loss, model, batch, terms, residuals, every)
    expected = torch.cat([by_rows(r, every) for r in residuals.values()])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert (expected[:, -1] != 0).any()  # the number in the condition


def test_start_of_unknown_functions_has_the_seed_and_the_dtype_of_the_run() -> None:
    recipe = Recipe(dtype=torch.float32)
    one, same, other = (
        [w for w in recipe.objective(Grown(), seed).parameters() if w.any()] for seed in (0, 0, 1)
    )
    assert all(p.dtype == torch.float32 for p in one)
    assert all(torch.equal(p, q) for p, q in zip(one, same, strict=True))
    assert not torch.equal(one[0], other[0])
    with pytest.raises(ConfigError, match=r"unknowns\.to\(device, dtype\)"):
        Residual(Grown()).check(recipe.model(Grown(), 0))


def test_resumed_with_an_unknown_function_it_has_the_same_bits(tmp_path: Path) -> None:
    stages = (
        Stage(partial(Adam, lr=1e-2), 1),
        Stage(partial(SelfScaledBroyden, iterations=2), 2, Sobol(every=100)),
        Stage(partial(LevenbergMarquardt, iterations=1), 2, Sobol(every=100)),
    )
    recipe = Recipe(partial(MLP, width=3, depth=1), stages, points=4)

    def training(folder: Path) -> Any:
        model, objective = recipe.model(Grown(), 0), recipe.objective(Grown(), 0)
        return recipe.trainer(0).iterate(model, objective, output=folder, every=1)

    def finished(folder: Path) -> list[bytes]:
        whole = training(folder)
        for _ in whole:
            pass
        every = [*whole.run.model.parameters(), *whole.run.objective.parameters()]
        return [p.detach().numpy().tobytes() for p in every]

    unbroken = finished(tmp_path / "unbroken")
    for stop in (2, 4):  # inside the second and the third stage
        for step in training(tmp_path / "broken"):
            if step.number == stop:
                break
    assert finished(tmp_path / "broken") == unbroken


def test_unknown_functions_are_exported(tmp_path: Path) -> None:
    from sciml.pinns.report import maps

    problem = Grown()
    recipe = Recipe(partial(MLP, width=4, depth=1))
    model, objective = recipe.model(problem, 0), recipe.objective(problem)
    fields = fields_of(problem, model, coefficients=objective.coefficients)
    assert fields.values["coefficient_a"].tolist() == [1.0] * len(fields.values["u"])
    assert set(fields.to_xarray()) == {"u", "error", "residual", "coefficient_a"}
    assert len(list(maps(fields))) == 2


# Several sets of measurements, and beliefs.


def test_sets_weigh_what_their_errors_say() -> None:
    """The terms of the loss add up to K / sum(1/noise^2) times the sum of all (error / noise)^2."""
    x = line(30)
    good = PointData(x[:10], torch.zeros(10, dtype=torch.float64), name="good", noise=0.1)
    uneven = torch.linspace(0.2, 0.4, 20, dtype=torch.float64)
    bad = PointData(x[10:], torch.zeros(20, dtype=torch.float64), name="bad", noise=uneven)
    prior = Prior("wave", mean=2.5, deviation=0.5)

    class Measured(Swing):
        conditions = (good, bad, prior)  # type: ignore[assignment]

    loss, model = Residual(Measured(), points=20, weights={"bad": 3.0}), Plane()
    terms = loss.terms(model, loss.draw(0, model, Streams(0)))
    sums = {"good": ((1 + x[:10, 0]) / 0.1).square().sum(), "bad": ((1 + x[10:, 0]) / uneven).square().sum()}
    unit = 2 / float(10 / 0.1**2 + uneven.pow(-2).sum())
    for name, factor in (("good", 1.0), ("bad", 3.0)):
        torch.testing.assert_close(terms[name].mean(), factor * unit * sums[name])
    # Away from what is believed by (2 - 2.5) / 0.5: one more measurement.
    torch.testing.assert_close(terms["prior"].mean(), torch.tensor(unit, dtype=torch.float64))
    # One set of known noise weighs as much as before.
    assert evidence({"good": good}) == pytest.approx({"good": 0.1**2})
    assert evidence({"plain": PointData(x, x[:, 0])}) == {}
    apart = loss.aside()
    again = apart.terms(model, apart.draw(0, model, Streams(0)))
    torch.testing.assert_close(again["bad"].mean(), terms["bad"].mean())


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_prior_is_the_mean_over_the_domain(order: int) -> None:
    """Of (x + y)^2 over the square, with mean x + y: means of the square by hand."""
    domain = Domain(Box(((0.0, 1.0), (0.0, 1.0))))

    def a(x: Tensor) -> Tensor:
        return (x[:, 0] + x[:, 1]) ** 2

    prior = Prior("a", order=order, deviation=2.0)
    rows = prior.rows(domain, kronecker, 4000)
    found = prior.given({"a": a}).residual(lambda x: x, rows, domain).square().mean()
    # E s^4 = 31/15, E s^2 = 7/6 of s = x + y; |grad|^2 = 8 s^2, |Hess|^2 = 16; by deviation^2 = 4.
    exact = {0: 31 / 15 / 4, 1: 8 * 7 / 6 / 4, 2: 16 / 4}[order]
    assert float(found) == pytest.approx(exact, rel=5e-3)  # quasi-random points


def test_measurements_and_priors_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="noise is a positive number, or 3 of them"):
        PointData(line(3), line(3)[:, 0], noise=0.0)
    with pytest.raises(ConfigError, match="positive deviation and order 0, 1 or 2"):
        Prior("a", order=3)


# Several experiments.


class Decay(Problem):
    """u' = -rate u + force from a start that is not told: rate = 2."""

    domain = LINE
    coefficients = {"rate": Coefficient(1.0, positive=True)}  # noqa: RUF012
    truth = {"rate": 2.0}  # noqa: RUF012
    equation, source, grid = "u' = -r u + f", "here", (11,)

    def __init__(self, start: float, force: float) -> None:
        self.start, self.force = start, force

    @property
    def conditions(self) -> tuple[Condition, ...]:
        known = Relation(lambda u, x, normal: u(x) - self.start, ("0-",), name="start")
        return PointData(line(5), self.exact(line(5))), known, Prior("rate", mean=2.0, deviation=1e3)

    def residual(self, u: Function, x: Tensor, coefficients: Mapping[str, Tensor]) -> Tensor:
        value, slope = evaluate(u, x, [d(0)])
        return slope + coefficients["rate"] * value - self.force

    def exact(self, x: Tensor) -> Tensor:
        rest = self.force / 2
        return rest + (self.start - rest) * torch.exp(-2 * x[:, 0])


def test_experiments_are_their_runs_side_by_side() -> None:
    runs = {"cold": Decay(1.0, 0.0), "hot": Decay(3.0, 1.0)}
    both = Experiments(dict(runs))
    recipe = Recipe(partial(MLP, width=4, depth=1), points=7)
    model, loss = recipe.model(both, 0), recipe.objective(both)
    loss.check(model)
    terms = loss.terms(model, loss.draw(0, model, Streams(0)))
    assert list(terms) == [
        "cold_equation", "hot_equation", "cold_data", "cold_start", "prior", "hot_data", "hot_start"
    ]  # fmt: skip
    for k, (name, run) in enumerate(runs.items()):
        alone = recipe.objective(run)
        single = alone.terms(model.runs[k], alone.draw(0, model.runs[k], Streams(0)))
        assert torch.equal(terms[f"{name}_data"].values, single["data"].values)
        assert torch.equal(terms[f"{name}_start"].values, single["start"].values)
        x = line(4)
        own = {"rate": torch.tensor(1.5)}
        whole = both.residual(
            lambda x: model(x), x, own
        )  # by components, where there is no network of its own
        torch.testing.assert_close(whole[f"{name}_equation"], run.residual(model.runs[k], x, own))
    assert both.relative_l2(both_exact(runs)) < 1e-15
    assert both.fingerprint() != Experiments({"cold": runs["cold"]}).fingerprint()


def both_exact(runs: Mapping[str, Decay]) -> Function:
    return lambda x: torch.stack([run.exact(x) for run in runs.values()], dim=1)


def test_experiments_share_what_they_look_for() -> None:
    run, _ = least_squares(Experiments({"cold": Decay(1.0, 0.0), "hot": Decay(3.0, 1.0)}))
    assert run.history[-1]["validation"]["error_rate"] < 1e-3  # a belief of little weight


def test_experiments_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one problem"):
        Experiments({})
    with pytest.raises(ConfigError, match="need one domain"):
        Experiments({"one": Decay(1.0, 0.0), "two": Probed(Dirichlet())})
    other = Decay(1.0, 0.0)
    other.coefficients = {"rate": Coefficient(3.0)}  # type: ignore[misc]
    with pytest.raises(ConfigError, match="'rate' is Coefficient"):
        Experiments({"one": Decay(1.0, 0.0), "two": other})


def test_the_total_loss_of_experiments_is_that_of_least_squares() -> None:
    loss = Recipe(partial(MLP, width=4, depth=1), points=7).objective(Experiments({"one": Decay(1.0, 0.0)}))
    model = Recipe(partial(MLP, width=4, depth=1)).model(loss.problem, 0)
    terms = loss.terms(model, loss.draw(0, model, Streams(0)))
    squares = sum(r.square().sum() for r in roots(terms).values())
    torch.testing.assert_close(squares, total(terms))


def test_choices_among_measurements_see_their_weight_once() -> None:
    """`PINNACLE` reads residuals times the roots of their weights."""
    x = line(6)
    sets = (PointData(x, x[:, 0], name="good", noise=0.1), PointData(x, x[:, 0], name="bad", noise=0.3))

    class Measured(Swing):
        conditions = sets  # type: ignore[assignment]

    loss, model = Residual(Measured(), points=4, weights={"bad": 2.0}), Plane()
    shares = evidence({c.name: c for c in sets})
    for condition, weight in zip(sets, (1.0, 2.0), strict=True):
        rows = condition.rows(LINE, kronecker, 0)
        residuals, slopes = loss._slopes(condition.name, model, rows)
        expected = math.sqrt(weight * shares[condition.name]) * condition.residual(model, rows, LINE)
        torch.testing.assert_close(residuals[:, 0], expected.detach())
        assert slopes.shape == (6, 1, 2)
