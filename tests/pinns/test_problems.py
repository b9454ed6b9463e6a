"""What every problem promises, asked of every class in `sciml.pinns.problems.__all__`."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sciml.datasets import poisson
from sciml.datasets.korteweg_de_vries import solitons
from sciml.datasets.lorenz import Lorenz63
from sciml.datasets.numerics import meshing
from sciml.datasets.numerics.curves import Polygon, Star
from sciml.description import build, describe
from sciml.grid import Grid
from sciml.kernels.jet import jet
from sciml.pinns import Condition, Constrained, Dirichlet, Domain, Periodic, Problem, problems
from sciml.pinns.conditions import Function, names_of
from sciml.pinns.domain import Box
from sciml.pinns.fingerprints import kronecker
from sciml.pinns.networks import MLP
from sciml.pinns.problem import component, residuals
from sciml.pinns.problems.tables import on_nodes, periodic_grid
from sciml.pinns.recipe import Recipe

PROBLEMS = [getattr(problems, name)() for name in problems.__all__]
KNOWN = [p for p in PROBLEMS if type(p).exact is not Problem.exact]
each = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: type(p).__name__)
# The references that take long to solve for, up to half a minute, kept in the cache folder.
SOLVED = [p for p in PROBLEMS if type(p).solve is not Problem.solve]
# What networks are to reach: a reference is 100 times better.
GATES = {
    "AllenCahn": 1e-5,
    "BackwardStep": 8e-2,
    "Basket": 3e-3,
    "Burgers": 1e-6,
    "BurgersInPlane": 3.5e-1,
    "Cavity": 1e-2,
    "ChaoticKuramotoSivashinsky": 1e-2,
    "FourDiscs": 2e-3,
    "GinzburgLandau": 1e-2,
    "GrayScott": 1e-2,
    "GrayScottForLong": 8e-2,
    "HeatAroundDiscs": 2e-2,
    "HeatForLong": 9e-1,
    "HeatInMedium": 2e-1,
    "KortewegDeVries": 1e-3,
    "KuramotoSivashinsky": 1e-3,
    "Lorenz": 1e-3,
    "NonlinearDiffusion": 1e-3,
    "PoissonAroundSpheres": 9e-2,
    "PoissonBoltzmann": 1e-2,
    "PoissonInPatches": 5e-1,
    "PulsatingChannel": 9e-1,
    "RadialAllenCahn": 1e-3,
    "Schroedinger": 1e-3,
    "SemilinearHeat": 1e-3,
    "SemilinearSineGordon": 1e-3,
    "WaveForLong": 5e-1,
    "WaveInMedium": 7e-1,
}


def network(problem: Problem, *, hard: bool, seed: int = 0) -> Constrained:
    return Recipe(hard=hard).model(problem, seed)


def plain(problem: Problem) -> Function:
    """A function whose residuals tell how large the terms of an equation are."""
    return lambda x: x.sum(1) if problem.outputs == 1 else x.sum(1, keepdim=True).expand(-1, problem.outputs)


@each
def test_class_arguments_and_source(problem: Problem) -> None:
    assert build(describe(problem)) == problem
    assert pickle.loads(pickle.dumps(problem)) == problem
    assert problem.equation and problem.source and type(problem).__doc__


@pytest.mark.parametrize("problem", KNOWN, ids=lambda p: type(p).__name__)
def test_solution_solves_equation_and_conditions(problem: Problem) -> None:
    x = problem.domain.interior(kronecker, 100)
    scale = max(float(v.abs().max()) for v in residuals(problem, plain(problem), x, coefficients={}).values())
    for name, value in residuals(problem, problem.exact, x, coefficients={}).items():
        # Terms up to (12 pi)^2 cancel, each rounded to 1e-16 of itself.
        assert value.abs().max() < 1e-11 * max(1, scale), name
    for condition in problem.conditions:
        rows = condition.rows(problem.domain, kronecker, 50)
        u = component(problem.exact, condition.component, problem.outputs)
        assert condition.residual(u, rows, problem.domain).abs().max() < 1e-13 * max(1, scale), condition


@each
def test_built_in_conditions_hold_for_any_weights(problem: Problem) -> None:
    model, soft = (network(problem, hard=hard, seed=3) for hard in (True, False))
    built = dict(zip(names_of(problem.conditions), problem.conditions, strict=True))
    assert soft.satisfies == ()
    for name in model.satisfies:
        condition = built[name]
        rows = condition.rows(problem.domain, kronecker, 50)

        def gap(u: Function, condition: Condition = condition, rows: Tensor = rows) -> Tensor:
            of_one = component(u, condition.component, problem.outputs)
            return condition.residual(of_one, rows, problem.domain)

        found = gap(model)
        if isinstance(condition, Periodic) and problem.ansatz is not None and problem.ansatz.lift is not None:
            # A lift takes over what a start and its slopes jump where the period closes.
            found = found - gap(problem.ansatz.lift)
        # Third derivatives of periodic features: (4 pi)^3 times rounding.
        assert found.abs().max() < 1e-12 * (1 if found.ndim == 1 else 1000), name
        assert gap(soft).abs().max() > 1e-3, name  # which a network without them does not satisfy


@each
def test_ansatz_leaves_the_network_free_inside(problem: Problem) -> None:
    x = problem.domain.interior(kronecker, 200)
    one, two = (network(problem, hard=True, seed=s)(x) for s in (0, 1))
    assert (one - two).abs().min() > 0


@each
def test_equation_sees_second_derivatives_of_networks(problem: Problem) -> None:
    """Jets and nested reverse mode agree on the loss and on its gradient, through the whole ansatz."""
    model = network(problem, hard=True)
    x = problem.domain.interior(kronecker, 7)
    values = next(iter(residuals(problem, model, x, coefficients={}).values()))
    gradient = torch.autograd.grad(values.square().sum(), list(model.parameters()), allow_unused=True)
    assert values.shape == (7,) and all(g is None or g.isfinite().all() for g in gradient)
    assert sum(float(g.abs().sum()) for g in gradient if g is not None) > 0


@pytest.mark.parametrize("problem", KNOWN, ids=lambda p: type(p).__name__)
def test_classical_solver_converges_to_the_reference(problem: Problem) -> None:
    known = problem.reference()
    errors = [
        float((c.solve() - known.values).norm() / known.values.norm())
        for c in problem.classical()
        if math.prod(v for v in c.settings.values()) <= 256
    ]
    assert errors == sorted(errors, reverse=True)
    assert all(e < 0.5 for e in errors)


def test_orders_of_the_classical_solvers() -> None:
    for name, order in {"Wave": 2, "Helmholtz": 2, "Poisson": 2, "KleinGordon": 2, "Breather": 2}.items():
        problem = getattr(problems, name)()
        known = problem.reference()
        errors = [float((c.solve() - known.values).norm()) for c in list(problem.classical())[:2]]
        points = [c.settings["points"] for c in list(problem.classical())[:2]]
        found = math.log(errors[0] / errors[1]) / math.log(points[1] / points[0])
        assert abs(found - order) < 0.1, name


def test_burgers_reference_agrees_with_another_solver() -> None:
    problem = problems.Burgers(viscosity=0.1)
    known = problem.reference()
    finest = list(problem.classical())[1].solve()  # 256 points resolve this viscosity
    # The step of 1/128 of the fourth-order scheme.
    assert float((finest - known.values).norm() / known.values.norm()) < 1e-6
    assert known.shape == (257, 101) and known.error <= 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("problem", SOLVED, ids=lambda p: type(p).__name__)
def test_classical_solver_reaches_the_certified_reference(problem: Problem) -> None:
    known = problem.reference()
    *_, finest = problem.classical()
    gate = GATES[type(problem).__name__]
    assert known.error <= gate / 100
    assert float((finest.solve() - known.values).norm() / known.values.norm()) < max(5e-5, gate / 20)


# Problems with a periodic solver, for times so short that few frames follow them.
SHORT = [
    (problems.KortewegDeVries(), 128),
    (problems.KuramotoSivashinsky(end=0.05), 128),
    (problems.ChaoticKuramotoSivashinsky(end=0.1), 128),
    (problems.Schroedinger(half_width=15.0), 256),
    (problems.GrayScott(end=0.005), 64),
    (problems.GinzburgLandau(end=0.01), 96),
]


@pytest.mark.parametrize(("problem", "points"), SHORT, ids=lambda p: type(p).__name__)
def test_residual_is_that_of_the_reference_solver(problem: Any, points: int) -> None:
    rank = problem.domain.space.dim
    grid = periodic_grid(problem, points)
    frames, times = early_frames(problem, grid)
    u = through(frames, grid, times)
    x = problem.domain.interior(kronecker, 30)
    x[:, -1] *= times[-1] / problem.domain.time[1]
    rate = jet(u, x, torch.eye(rank + 1, dtype=torch.float64)[-1], 1)[1]
    for name, value in residuals(problem, u, x, coefficients={}).items():
        # The polynomial in time, and the waves that the coarse grid leaves out.
        assert value.abs().max() < 1e-3 * rate.abs().max(), name


def early_frames(problem: Any, grid: Grid) -> tuple[Tensor, Tensor]:
    """The first frames, (7, components, *nodes), and their times."""
    found = problem._found(grid, step=problem.domain.time[1] / 400, refinement=1)
    frames = np.stack([found[name].values for name in found.data_vars], axis=1)[:7]
    return torch.from_numpy(frames), torch.from_numpy(found["time"].values[:7].copy())


def through(frames: Tensor, grid: Grid, times: Tensor) -> Function:
    """The function that has these values: trigonometric in space, of degree 6 in time."""
    rank, (count, outputs), first = grid.rank, frames.shape[:2], times[0]
    lower, length = torch.tensor([(a.lower, a.upper - a.lower) for a in grid.axes], dtype=torch.float64).T
    waves = [2 * math.pi * torch.fft.fftfreq(n, 1 / n, dtype=torch.float64) for n in grid.shape]
    numbers = torch.cartesian_prod(*waves).reshape(-1, rank) / length
    modes = torch.fft.fftn(frames, dim=tuple(range(2, 2 + rank)), norm="forward").reshape(count, -1)
    powers = ((times - first) / (times[-1] - first))[:, None] ** torch.arange(count)
    modes = torch.linalg.solve(powers.to(modes.dtype), modes).reshape(count, outputs, -1)

    def u(x: Tensor) -> Tensor:
        angle = (x[:, :rank] - lower) @ numbers.T
        cosine, sine = torch.cos(angle), torch.sin(angle)
        t = (x[:, rank:] - first) * (1 / (times[-1] - first))
        total = 0 * x[:, :1]
        for row in modes.flip(0):
            total = total * t + (cosine @ row.real.T - sine @ row.imag.T)
        return total[:, 0] if outputs == 1 else total

    return u


def test_values_between_nodes_are_those_of_all_waves() -> None:
    problem = problems.KortewegDeVries()
    for points in (96, 384):  # neither divides the 256 of the reference, nor the reverse
        x = periodic_grid(problem, points).axes[0].coordinates
        values = on_nodes(problem, np.tile(np.sin(40 * math.pi * x), (101, 1))).reshape(257, 101)
        wanted = torch.sin(40 * math.pi * torch.linspace(-1, 1, 257, dtype=torch.float64))
        assert (values - wanted[:, None]).abs().max() < 1e-12


def test_cavity_residual_vanishes_for_another_steady_flow() -> None:
    """Kovasznay's flow behind a grid (Proc. Camb. Philos. Soc. 44 (1948) 58)."""
    problem = problems.Cavity(viscosity=0.025)
    rate = 20 - math.sqrt(400 + 4 * math.pi**2)

    def flow(x: Tensor) -> Tensor:
        grown, angle = torch.exp(rate * x[:, 0]), 2 * math.pi * x[:, 1]
        v = rate / (2 * math.pi) * grown * torch.sin(angle)
        return torch.stack([1 - grown * torch.cos(angle), v, (1 - grown * grown) / 2], dim=1)

    found = residuals(problem, flow, problem.domain.interior(kronecker, 50), coefficients={})
    assert len(found) == 3
    assert all(value.abs().max() < 1e-13 for value in found.values())


def test_lorenz_residual_vanishes_along_the_rate_of_the_solver() -> None:
    problem = problems.Lorenz()
    start = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    rate = torch.from_numpy(Lorenz63().rate(start.numpy()[:, None])[:, 0])
    nothing = torch.zeros(1, 1, dtype=torch.float64)
    found = residuals(problem, lambda t: start + t * rate, nothing, coefficients={})
    assert all(value.abs().max() < 1e-14 for value in found.values())


def test_solitons_are_those_of_the_general_formula() -> None:
    problem = problems.Solitons()
    x, t = torch.linspace(0, 20, 41).double(), torch.tensor([0.0, 1.1, 5.0]).double()
    # The general formula has its centers where the others would be behind: by log((k - m) / (k + m)) / k.
    k, m = (math.sqrt(speed) for speed in problem.speeds)
    shifts = [math.log((k - m) / (k + m)) / wave for wave in (k, m)]
    centers = [center + shift for center, shift in zip(problem.centers, shifts, strict=True)]
    wanted = solitons(x.numpy(), t.numpy(), speeds=problem.speeds, centers=centers)
    found = problem.exact(torch.cartesian_prod(x, t)).reshape(41, 3).T
    assert np.abs(found.numpy() - wanted).max() < 1e-12


def test_schroedinger_reference_focuses_as_on_the_line() -> None:
    problem = problems.Schroedinger(half_width=15.0)
    found = problem._found(periodic_grid(problem, 1024), step=1 / 800, refinement=1)
    x, t = found["x"].values, found["time"].values[:, None]
    above = np.cosh(3 * x) + 3 * np.exp(4j * t) * np.cosh(x)
    exact = 4 * np.exp(0.5j * t) * above / (np.cosh(4 * x) + 4 * np.cosh(2 * x) + 3 * np.cos(4 * t))
    h = found["u"].values + 1j * found["v"].values
    # The neighbors in the next periods are 2 / cosh(15) = 1.2e-6 high where they meet.
    assert np.abs(h - exact).max() < 1e-5


def test_reference_of_four_discs_agrees_with_finite_elements() -> None:
    sides = Polygon([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)], names=["box"] * 4)
    circles = [Star((x, y), 0.1, name="disc") for x in (-0.3, 0.3) for y in (-0.3, 0.3)]
    errors = []
    for width in (0.06, 0.03):
        mesh = meshing.Domain(sides, circles).triangulate(width).mesh(degree=2)
        u = poisson.solve(mesh, boundary={"box": 1.0, "disc": 0.0})["u"]
        points = torch.from_numpy(np.stack([u["x"].values, u["y"].values], axis=1))
        found = problems.FourDiscs()._values(points, 24)[:, 0].numpy()
        errors.append(float(np.sqrt(np.mean((found - u.values) ** 2))))
    # Curved quadratic elements: order 3 in the mean, less what the meshes differ in shape.
    assert errors[1] < 2e-4 and errors[0] / errors[1] > 5


def test_fingerprints_tell_problems_apart_and_not_texts() -> None:
    every = [p.fingerprint() for p in PROBLEMS]
    assert len(set(every)) == len(every)
    assert problems.Wave(mode=4).fingerprint() != problems.Wave().fingerprint()
    assert problems.AllenCahn(diffusivity=1e-3).fingerprint() != problems.AllenCahn().fingerprint()

    class Written(Problem):  # by somebody else
        domain = Domain(Box(((0.0, 6.283185307179586),)), time=(0.0, 1.0))
        conditions = problems.Convection().conditions

        def residual(self, u: object, x: Tensor) -> Tensor:
            from sciml.kernels import d, evaluate

            return evaluate(u, x, [50 * d(0) + d(1)])[1]  # type: ignore[arg-type]

    assert Written().fingerprint() == problems.Convection().fingerprint()


def test_reference_is_kept_in_the_cache_folder(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from sciml.pinns import references

    monkeypatch.setenv("SCIML_CACHE", str(tmp_path))
    monkeypatch.setattr(references, "_known", {})
    problem = problems.Burgers(viscosity=0.2)
    first = problem.reference()
    monkeypatch.setattr(references, "_known", {})
    monkeypatch.setattr(problems.Burgers, "solve", lambda self: pytest.fail("solved again"))
    again = problem.reference()
    assert torch.equal(first.values, again.values) and (first.error, first.shape) == (
        again.error,
        again.shape,
    )
    assert problem.reference() is again  # from memory


def test_model_can_be_copied_and_described() -> None:
    problem = problems.AllenCahn()
    model = Constrained(problem, MLP(7, 1), harmonics=3).double()
    x = problem.domain.interior(kronecker, 5)
    assert torch.equal(copy.deepcopy(model)(x), model(x))
    made = build(describe(model)).double()
    made.load_state_dict(model.state_dict())
    assert torch.equal(made(x), model(x))


def test_periodic_networks_are_periodic_with_all_derivatives() -> None:
    problem = problems.AllenCahn()
    model = Recipe(harmonics=4).model(problem, 0)
    condition = Periodic(0, order=4)
    rows = condition.rows(problem.domain, kronecker, 20)
    # The lift of Allen-Cahn has a kink there: the network alone.
    gap = condition.residual(lambda x: model.network(model.coordinates(x))[:, 0], rows, problem.domain)
    assert gap.abs().max() < 1e-8  # fourth derivatives of the fourth harmonic: (4 pi)^4 times rounding


def test_condition_values_must_be_one_number_per_point() -> None:
    from sciml.errors import ConfigError

    problem = problems.Poisson()
    rows = problem.conditions[0].rows(problem.domain, kronecker, 4)
    with pytest.raises(ConfigError, match=r"shape \(4,\), got \(4, 1\)"):
        Dirichlet(lambda x: x[:, :1]).residual(lambda x: x[:, 0], rows, problem.domain)
