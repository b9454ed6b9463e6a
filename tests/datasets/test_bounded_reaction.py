"""The reference solver of reactions between walls: orders, spectral convergence, tables of other programs."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.io
import scipy.special

from sciml.datasets import bounded_reaction
from sciml.datasets.bounded_reaction import Diffusion, ReactionSystem, Wall, solve
from sciml.datasets.numerics.chebyshev import Chebyshev
from sciml.errors import ConfigError, DataError, DivergedError, ShapeError

DIFFUSIVITY = 0.01
FIXED = (Wall("dirichlet", 0.5), Wall("dirichlet", 1.5))
SLOPES = (Wall("neumann", 1.0), Wall("neumann", 1.0))
MIXED = (Wall("dirichlet", 0.5), Wall("neumann", 1.0))


def manufactured(shape, bent, diffusivity=DIFFUSIVITY):
    """u = 1/2 + x + cos(5 t) shape(x) with the reaction u - u^3 and the source that makes it exact.

    All of R vanishes at a Dirichlet wall if and only if shape'' does, since u_t = 0 there.
    """

    def exact(x, t):
        return 0.5 + x + np.cos(5 * t) * shape(x)

    def reaction(u, x, t):
        known = exact(x, t)
        source = -5 * np.sin(5 * t) * shape(x) - diffusivity * np.cos(5 * t) * bent(x)
        return u - u**3 - (known - known**3) + source

    return exact, reaction


SINE = manufactured(lambda x: np.sin(np.pi * x), lambda x: -(np.pi**2) * np.sin(np.pi * x))
COSINE = manufactured(lambda x: np.cos(np.pi * x), lambda x: -(np.pi**2) * np.cos(np.pi * x))
QUARTER = manufactured(lambda x: np.sin(np.pi * x / 2), lambda x: -((np.pi / 2) ** 2) * np.sin(np.pi * x / 2))
PARABOLA = manufactured(lambda x: x * (1 - x), lambda x: np.full_like(x, -2.0), 0.3)


def error(problem, walls, points, steps, diffusivity=DIFFUSIVITY):
    exact, reaction = problem
    line = Chebyshev(points, 0.0, 1.0)
    system = ReactionSystem((Diffusion(line, diffusivity, *walls),), reaction)
    last = system.run(exact(line.points, 0.0)[None], [0.0, 1.0], step=1 / steps)[-1, 0]
    return np.abs(last - exact(line.points, 1.0)).max()


@pytest.mark.parametrize(
    ("problem", "walls", "steps"), [(SINE, FIXED, 16), (COSINE, SLOPES, 48), (QUARTER, MIXED, 48)]
)
def test_order_four_in_time(problem, walls, steps):
    found = np.array([error(problem, walls, 17, steps * 2**i) for i in range(5)])
    np.testing.assert_allclose(np.log2(found[:-1] / found[1:]), 4.0, atol=0.1)


def test_order_falls_where_the_reaction_does_not_vanish_at_a_wall():
    """As the theory of exponential methods says: between 2 and 4, whatever the step."""
    found = np.array([error(PARABOLA, FIXED, 33, steps, 0.3) for steps in (16, 32, 64, 128)])
    orders = np.log2(found[:-1] / found[1:])
    assert (orders > 2.0).all() and orders[-1] < 3.5


def test_spectral_in_space():
    """Heat, which has no error in time, from a start with several waves."""

    def error(points):
        found = solve(
            lambda u, x, t: 0.0,
            lambda x: np.sin(np.pi * x) - np.sin(3 * np.pi * x),
            diffusivity=0.01,
            points=points,
        )
        x = found["x"].values
        exact = sum(
            a * np.exp(-0.01 * (k * np.pi) ** 2) * np.sin(k * np.pi * x) for k, a in ((1, 1.0), (3, -1.0))
        )
        return np.abs(found["u"][-1].values - exact).max()

    found = np.array([error(points) for points in (8, 12, 16, 20, 32, 64, 128)])
    assert found[0] > 1e-2 and (found[1:4] < 0.02 * found[:3]).all() and (found[4:] < 1e-12).all()


def test_heat_between_walls_is_exact_in_time():
    """Without a reaction there is no error in time, for any step; conditions with values, both kinds."""
    found = solve(
        lambda u, x, t: 0.0,
        {
            "fixed": lambda x: 2 - x + np.sin(np.pi * x),
            "free": lambda x: 3 * x + np.sin(np.pi * x / 2),
            "fed": lambda x: x + x**2,
        },
        diffusivity=[0.1, 0.3, 0.2],
        walls=[
            (Wall(value=2.0), Wall(value=1.0)),
            (Wall(), Wall("neumann", 3.0)),
            (Wall("neumann", 1.0), Wall("neumann", 3.0)),
        ],
        times=[0.0, 0.5, 4.0],
        points=24,
    )
    x, t = found["x"].values, found["time"].values[:, None]
    fixed = 2 - x + np.exp(-0.1 * np.pi**2 * t) * np.sin(np.pi * x)
    free = 3 * x + np.exp(-0.3 * np.pi**2 / 4 * t) * np.sin(np.pi * x / 2)
    np.testing.assert_allclose(found["fixed"], fixed, atol=1e-12)
    np.testing.assert_allclose(found["free"], free, atol=1e-12)
    np.testing.assert_allclose(found["fed"], x + x**2 + 0.4 * t, atol=1e-12)


def test_mass_between_insulating_walls_is_conserved():
    """Of two species that turn into each other, to 1e-10 per unit of time."""
    found = solve(
        lambda u, x, t: np.stack([-u[0] * u[1], u[0] * u[1]]),
        {"a": lambda x: 1 + np.cos(np.pi * x) / 2, "b": lambda x: 1 - np.cos(2 * np.pi * x) / 2},
        diffusivity=[0.1, 0.02],
        walls=(Wall("neumann"), Wall("neumann")),
        times=[0.0, 1.0, 2.0],
        resolution=65,
    )
    line = Chebyshev(65, 0.0, 1.0)
    from scipy.interpolate import make_interp_spline

    total = make_interp_spline(found["x"], (found["a"] + found["b"]).T, k=7)(line.points).T @ line.weights
    np.testing.assert_allclose(total, 2.0, atol=1e-10)
    assert found["b"].mean() > 1.3


def test_allen_cahn_of_deepxde(test_data):
    """u_t = 1e-3 u_xx + 5 (u - u^3), u = -1 at both ends.

    Our solution is the same to 1e-5 with more points and steps; the table is 5e-4 off in its fronts.
    """
    table = scipy.io.loadmat(test_data / "deepxde" / "Allen_Cahn.mat")
    every = slice(None, None, 20)
    found = solve(
        lambda u, x, t: 5 * (u - u**3),
        lambda x: x**2 * np.cos(np.pi * x),
        diffusivity=1e-3,
        walls=(Wall(value=-1.0), Wall(value=-1.0)),
        interval=(-1.0, 1.0),
        times=table["t"].ravel()[every],
        resolution=201,
        tolerance=3e-5,
    )
    off = found["u"].values - table["u"][every]
    assert np.abs(off).max() < 6e-4 and np.linalg.norm(off) < 2e-4 * np.linalg.norm(table["u"][every])
    assert found.attrs["points"] == 257 and found.attrs["tail"] < 3e-5


def test_two_species_of_deepxde(test_data):
    """The table starts with a jump from exp(-20) to 0 at x = 1 and is 1e-3 off."""
    table = np.load(test_data / "deepxde" / "reaction.npz")
    walls, every = (Wall(value=1.0), Wall()), slice(None, None, 20)

    def reaction(u, x, t):
        rate = 0.1 * u[0] * u[1] ** 2
        return np.stack([-rate, -2 * rate])

    found = solve(
        reaction,
        {name: lambda x: np.exp(-20 * x) for name in ("Ca", "Cb")},
        diffusivity=2e-3,
        walls=walls,
        times=table["t"].ravel()[every],
        resolution=201,
    )
    for name in ("Ca", "Cb"):
        off = found[name].values - table[name][every]
        assert np.abs(off).max() < 1e-3 and np.linalg.norm(off) < 6e-4 * np.linalg.norm(table[name][every])


@pytest.mark.slow
def test_burgers_of_deepxde(test_data):
    """u_t + u u_x = 0.01 / pi u_xx, u = 0 at both ends; its layer is 0.003 wide, as are four points."""
    table = np.load(test_data / "deepxde" / "Burgers.npz")
    every, slope = slice(None, None, 20), Chebyshev(1025).derivative().T
    found = solve(
        lambda u, x, t: -u * (u @ slope),
        lambda x: -np.sin(np.pi * x),
        diffusivity=0.01 / np.pi,
        interval=(-1.0, 1.0),
        times=table["t"].ravel()[every],
        resolution=table["x"].size,
        points=1025,
        tolerance=1e-4,
    )
    assert found.attrs["tail"] < 1e-5
    np.testing.assert_allclose(found["u"], table["usol"].T[every], rtol=0, atol=1e-4)


def test_what_cannot_be_reached_is_an_error(monkeypatch):
    monkeypatch.setattr(bounded_reaction, "_MOST_POINTS", 65)
    with pytest.raises(DivergedError, match="It may blow up"):
        solve(lambda u, x, t: u**2, lambda x: 10 + 0 * x, diffusivity=0.1, walls=SLOPES[:1] * 2, points=9)
    with pytest.raises(DivergedError, match="has a layer or a jump"):
        solve(lambda u, x, t: 0.0, np.sign, diffusivity=1e-9, interval=(-1.0, 1.0), times=[0.0, 1e-3])


def test_a_jump_between_two_points_is_not_taken_for_a_smooth_start(monkeypatch):
    """Later frames are smooth, wherever the points believe the jump to be: only other points tell."""

    def jump(**options):
        return solve(
            lambda u, x, t: 0.0,
            lambda x: np.where(x < 0.3, 1.0, 0.0),
            diffusivity=1e-3,
            walls=(Wall(value=1.0), Wall()),
            **options,
        )

    found = jump(tolerance=0.03)
    exact = scipy.special.erfc((found["x"] - 0.3) / np.sqrt(4e-3)) / 2
    assert found.attrs["tail"] < 1e-12 and float(np.abs(found["u"][-1] - exact).max()) < 0.03
    monkeypatch.setattr(bounded_reaction, "_MOST_POINTS", 129)
    with pytest.raises(DivergedError, match="has a layer or a jump"):
        jump(tolerance=1e-4)


def test_bad_requests():
    start = np.sin

    def nothing(u, x, t):
        return 0.0

    with pytest.raises(ConfigError, match="a kind among"):
        Wall("robin")
    with pytest.raises(ConfigError, match="finite diffusivity >= 0"):
        solve(nothing, start, diffusivity=-1.0)
    with pytest.raises(ShapeError, match="2 species need as many pairs of walls, got 1"):
        solve(nothing, {"a": start, "b": start}, diffusivity=1.0, walls=[FIXED])
    for wrong in ({"points": 3}, {"points": 9.5}, {"tolerance": 0.0}, {"interval": (0.0, 1.0, 2.0)}):
        with pytest.raises(ConfigError, match="needs whole points >= 4"):
            solve(nothing, start, diffusivity=1.0, **wrong)
    for walls in (Wall(), (Wall(),), (), "dirichlet", ("dirichlet", "neumann"), (Wall(), Wall(), Wall())):
        with pytest.raises(ConfigError, match="walls is a pair"):
            solve(nothing, start, diffusivity=1.0, walls=walls)
    with pytest.raises(ShapeError, match="1 species need one diffusivity"):
        solve(nothing, start, diffusivity=[1.0, 2.0])
    with pytest.raises(ConfigError, match="initial u is a number or a function"):
        solve(nothing, np.zeros(9), diffusivity=1.0)
    with pytest.raises(ShapeError, match="initial u must return shape"):
        solve(nothing, lambda x: x[:3], diffusivity=1.0)
    with pytest.raises(DataError, match="initial u has values that are not finite"):
        solve(nothing, lambda x: np.nan * x, diffusivity=1.0)
    with pytest.raises(ShapeError, match="the reaction must return the shape of u"):
        solve(lambda u, x, t: np.zeros((3, x.size)), start, diffusivity=1.0)
    with pytest.raises(DivergedError, match="It may blow up"):
        solve(lambda u, x, t: np.nan * u, start, diffusivity=1.0)
    with pytest.raises(ConfigError, match="times must increase"):
        solve(nothing, start, diffusivity=1.0, times=[1.0, 0.0])
