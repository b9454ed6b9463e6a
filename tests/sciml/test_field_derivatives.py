"""Derivatives of fields on grids: exact where they should be, of their order elsewhere, and transposable."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from sciml.datasets.darcy import solve
from sciml.errors import ConfigError, ShapeError
from sciml.field_derivatives import derivative, diffusion, divergence, gradient, inverse_laplacian, laplacian
from sciml.grid import Axis, Grid


def line(n: int, location: str = "node", *, periodic: bool = False) -> Grid:
    return Grid((Axis("x", 0.5, 2.0, n, location, periodic),))  # type: ignore[arg-type]


def places(grid: Grid) -> list[Tensor]:
    return list(torch.from_numpy(grid.coordinates()))


@pytest.mark.parametrize("location", ["node", "cell", "left"])
@pytest.mark.parametrize(("order", "accuracy"), list(itertools.product([1, 2, 3, 4], [2, 4])))
def test_polynomials_of_its_degree_are_exact_up_to_the_ends(order: int, accuracy: int, location: str) -> None:
    grid = line(14, location)
    (x,) = places(grid)
    degree = order + accuracy - 1
    found = derivative((x - 1) ** degree, grid, "x" * order, accuracy=accuracy)
    expected = math.perm(degree, order) * (x - 1) ** (degree - order)
    # Differences divide the rounding of values of size 1 by h^order.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13 / grid.axes[0].spacing ** order)


@pytest.mark.parametrize(("order", "accuracy"), list(itertools.product([1, 2], [2, 4])))
@pytest.mark.parametrize("periodic", [False, True])
def test_order_of_convergence(order: int, accuracy: int, periodic: bool) -> None:
    """Observed orders from halving the spacing of a sine of one and a half periods, or two, within 0.25."""
    wave = 2 * math.pi / 1.5 * (2 if periodic else 1.5)
    errors = []
    for n in (48, 96):
        grid = line(n if periodic else n + 1, periodic=periodic)
        (x,) = places(grid)
        found = derivative(torch.sin(wave * x + 0.7), grid, "x" * order, accuracy=accuracy, spectral=False)
        exact = wave * torch.cos(wave * x + 0.7) if order == 1 else -(wave**2) * torch.sin(wave * x + 0.7)
        errors.append(float((found - exact).abs().max()))
    # The next order of the error is still seen at 48 points.
    assert abs(math.log2(errors[0] / errors[1]) - accuracy) < 0.25


def test_periodic_axes_are_differentiated_to_rounding() -> None:
    grid = Grid.box((16, 12), upper=(2.0, 3.0), location="node", periodic=True)
    x, y = places(grid)
    u = torch.sin(math.pi * x) * torch.cos(2 * math.pi / 3 * y)
    expected = -math.pi * 2 * math.pi / 3 * torch.cos(math.pi * x) * torch.sin(2 * math.pi / 3 * y)
    torch.testing.assert_close(derivative(u, grid, "xy"), expected, rtol=0, atol=1e-12)
    size = -(math.pi**2 + (2 * math.pi / 3) ** 2)
    torch.testing.assert_close(laplacian(u, grid), size * u, rtol=0, atol=1e-11)
    torch.testing.assert_close(divergence(gradient(u, grid), grid), size * u, rtol=0, atol=1e-11)


def test_a_batch_and_axes_of_several_letters() -> None:
    grid = Grid((Axis("x", 0.0, 1.0, 8, "node"), Axis("time", 0.0, 2.0, 6, "node")))
    x, t = places(grid)
    u = torch.stack([x * t, x**2 + t]).reshape(1, 2, *grid.shape)
    slopes = gradient(u, grid)
    assert slopes.shape == (1, 2, 2, *grid.shape)
    torch.testing.assert_close(slopes[0, :, 1], torch.stack([x, torch.ones_like(t)]))
    torch.testing.assert_close(derivative(u, grid, "time"), slopes[:, :, 1])
    torch.testing.assert_close(derivative(u, grid, ["x", "time"])[0, 0], torch.ones_like(x))


def test_finite_volumes_are_those_of_the_generator() -> None:
    """The residual of its solution is rounding, for a coefficient that jumps."""
    grid = Grid.box((24, 16), upper=(1.0, 0.7))
    a = np.where(np.random.default_rng(0).random(grid.shape) < 0.5, 3.0, 12.0)
    u = torch.from_numpy(np.asarray(solve(a, grid)["u"].values))
    found = diffusion(torch.from_numpy(a), u, grid)
    # Of terms of size 12 u / h^2 = 700.
    torch.testing.assert_close(found, torch.full_like(found, -1.0), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("location", "periodic"), [("cell", False), ("node", False), ("node", True)])
def test_finite_volumes_have_order_two(location: str, periodic: bool) -> None:
    errors = []
    for n in (32, 64):
        grid = line(n + 1 if location == "node" and not periodic else n, location, periodic=periodic)
        (x,) = places(grid)
        wave = 2 * math.pi / 1.5
        u, a = torch.sin(wave * (x - 0.5)), 2 + torch.cos(wave * (x - 0.5))
        exact = wave**2 * (-torch.sin(2 * wave * (x - 0.5)) - 2 * u)
        found = diffusion(a, u, grid)
        if location == "node" and not periodic:
            exact = exact[1:-1]
        errors.append(float((found - exact)[2:-2].abs().max()))  # next to walls of cells it is O(1)
    assert abs(math.log2(errors[0] / errors[1]) - 2) < 0.2


def test_nothing_flows_through_closed_walls() -> None:
    grid = Grid.box((8, 6))
    a, u = torch.rand(2, 8, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5
    assert abs(float(diffusion(a, u, grid, walls=None).sum())) < 1e-10
    torch.testing.assert_close(diffusion(a, torch.full_like(u, 3.0), grid, walls=3.0), torch.zeros_like(u))


@pytest.mark.parametrize("location", ["cell", "node"])
@pytest.mark.parametrize("periodic", [False, True, (True, False)])
def test_inverse_laplacian_undoes_it(location: str, periodic: bool | tuple[bool, bool]) -> None:
    wraps = (periodic, periodic) if isinstance(periodic, bool) else periodic
    grid = Grid.box((9, 12), upper=(1.0, 2.0), location=location, periodic=list(wraps))  # type: ignore[arg-type]
    u = torch.rand(2, 9, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inner = [slice(1, -1) if location == "node" and not wrap else slice(None) for wrap in wraps]
    if all(wraps):
        u = u - u.mean(dim=(-2, -1), keepdim=True)
    for i, part in enumerate(inner):
        if part != slice(None):  # 0 on the walls
            u.movedim(1 + i, 0)[[0, -1]] = 0
    found = inverse_laplacian(diffusion(torch.ones(9, 12), u, grid), grid)
    torch.testing.assert_close(found, u[:, inner[0], inner[1]], rtol=0, atol=1e-12)


def test_gradients_through_all_of_them() -> None:
    grid = Grid.box((7, 6), location="cell", periodic=[False, True])
    generator = torch.Generator().manual_seed(1)
    u, a = (torch.rand(7, 6, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2))

    def everything(u: Tensor, a: Tensor) -> tuple[Tensor, ...]:
        flow = diffusion(a + 1, u, grid)
        return derivative(u, grid, "xxy", accuracy=4), flow, inverse_laplacian(flow, grid)

    assert torch.autograd.gradcheck(everything, (u, a))


def test_few_points_take_what_there_is() -> None:
    grid = line(3)
    (x,) = places(grid)
    torch.testing.assert_close(derivative(x**2, grid, "x", accuracy=4), 2 * x)
    with pytest.raises(ShapeError, match="needs at least 4 points, got 3"):
        derivative(x, grid, "xxx")


def test_refusals() -> None:
    grid = Grid.box((4, 4))
    u = torch.zeros(4, 4)
    with pytest.raises(ConfigError, match="there is no axis 't'"):
        derivative(u, grid, "xt")
    with pytest.raises(ConfigError, match="even number from 2 on, got 3"):
        derivative(u, grid, "x", accuracy=3)
    with pytest.raises(ShapeError, match="do not lie on the grid"):
        laplacian(u[:3], grid)
    with pytest.raises(ShapeError, match=r"must be \(..., 2, \*space\)"):
        divergence(torch.zeros(3, 4, 4), grid)
    with pytest.raises(ShapeError, match="left ends"):
        diffusion(u + 1, u, Grid.box((4, 4), location="left"))
    with pytest.raises(ShapeError, match="inverse_laplacian: f must be"):
        inverse_laplacian(u, Grid.box((4, 4), location="node"))
