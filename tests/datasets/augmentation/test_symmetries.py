"""Each declared symmetry is one of the solver: solving the changed problem gives the changed solution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciml.datasets.advection import Advection
from sciml.datasets.allen_cahn import AllenCahn
from sciml.datasets.augmentation.augmentation import Augmentation, Problem
from sciml.datasets.augmentation.declared import _ISOTROPIC, Symmetries, symmetries_of
from sciml.datasets.augmentation.symmetries import BoxSymmetry, Galilean, Scaling, Shift, moved, shifted
from sciml.datasets.burgers import Burgers
from sciml.datasets.cahn_hilliard import CahnHilliard
from sciml.datasets.fisher import Fisher
from sciml.datasets.fitzhugh_nagumo import FitzHughNagumo
from sciml.datasets.fitzhugh_nagumo import solve as nerve_equation
from sciml.datasets.generator import Generator
from sciml.datasets.gray_scott import GrayScott
from sciml.datasets.heat import Heat
from sciml.datasets.heat import solve as heat_equation
from sciml.datasets.korteweg_de_vries import KortewegDeVries
from sciml.datasets.kuramoto_sivashinsky import KuramotoSivashinsky
from sciml.datasets.numerics.elliptic import EllipticSolver
from sciml.datasets.numerics.random_fields import GaussianField
from sciml.datasets.numerics.vorticity import VorticitySolver
from sciml.datasets.schrodinger import Schrodinger
from sciml.datasets.wave import Wave
from sciml.datasets.wave import solve as wave_equation
from sciml.errors import ConfigError, DataError
from sciml.grid import Axis, Grid
from sciml.schema import Field
from sciml.signed_permutations import SignedPermutation, signed_permutations

Float = NDArray[np.float64]
Solve = Callable[[dict[str, Float]], dict[str, Float]]
Case = tuple[Problem, dict[str, Float], Solve]
COUNT = 4


def of(generator: Generator) -> Problem:
    about, grid = generator.about, generator.grid
    assert isinstance(grid, Grid)
    settings = {f"sciml_{key}": value for key, value in generator.settings().items()}
    made = {item.name: item for item in generator.fields}
    return Problem(grid, made, about.pde, about.boundary, generator.times, settings)


def starts(grid: Grid, components: int = 1, seed: int = 0, boundary: str = "periodic") -> Float:
    """Smooth fields (COUNT, component, *space) that the solvers resolve."""
    law = GaussianField(alpha=4.0, tau=4.0, sigma=60.0, boundary=boundary, modes=4)  # type: ignore[arg-type]
    fields = law.sample(range(seed, seed + COUNT * components), grid)
    return fields.reshape(COUNT, components, *grid.shape)


def evolving(generator: Any, end: float, step: float, size: float = 1.0) -> Case:
    """A generator with ``evolve``: its states side by side in the components."""
    grid, states = generator.grid, {f.name: f.components for f in generator.fields if f.role == "state"}
    times, cuts = np.linspace(0, end, 3), np.cumsum(list(states.values()))[:-1]

    def solve(given: dict[str, Float]) -> dict[str, Float]:
        start = np.concatenate([given[name][:, 0] for name in states], axis=1)
        frames = generator.evolve(start, times, step=step)
        return dict(zip(states, np.split(frames, cuts, axis=2), strict=True))

    start = {
        name: size * starts(grid, count, seed=20 * i)[:, None]
        for i, (name, count) in enumerate(states.items())
    }
    # Only waves that the solver keeps, so that its first frame is the start.
    return replace(of(generator), times=times), {n: v[:, :1] for n, v in solve(start).items()}, solve


def advection() -> Case:
    return evolving(Advection(resolution=16, rank=2, speed=0.3), 0.2, 1.0)


def burgers(rank: int) -> Case:
    return evolving(Burgers(resolution=48 // rank, rank=rank), 0.1, 0.0025)


def heat() -> Case:
    generator = Heat(resolution=12, rank=2, boundary="dirichlet", strength=1.0, frames=3)
    start = starts(generator.grid, boundary="dirichlet")

    def solve(given: dict[str, Float]) -> dict[str, Float]:
        nu, grid = generator.diffusivity, generator.grid
        frames = []
        for u, f in zip(given["u"][:, 0, 0], given["f"][:, 0], strict=True):
            found = heat_equation(
                u, grid, boundary="dirichlet", diffusivity=nu, source=f, times=generator.times
            )
            frames.append(found["u"].values[:, None])
        return {"u": np.stack(frames)}

    return of(generator), {"u": start[:, None], "f": start[::-1].copy()}, solve


def wave() -> Case:
    generator = Wave(resolution=12, rank=2, boundary="neumann", frames=3, final_time=0.2)
    start = starts(generator.grid, boundary="neumann")

    def solve(given: dict[str, Float]) -> dict[str, Float]:
        frames = []
        for u, v, c in zip(given["u"][:, 0, 0], given["v"][:, 0, 0], given["c"][:, 0], strict=True):
            found = wave_equation(
                u, generator.grid, velocity=v, boundary="neumann", speed=c, times=generator.times
            )
            frames.append(np.stack([found[name].values[:, None] for name in "uv"]))
        return dict(zip("uv", np.stack(frames, 1), strict=True))

    speed = np.exp(0.2 * start)
    return of(generator), {"u": start[:, None], "v": start[::-1, None].copy(), "c": speed}, solve


def nerve() -> Case:
    generator = FitzHughNagumo(resolution=8)
    times, start = np.array([0.0, 0.2, 0.4]), starts(generator.grid, boundary="neumann")

    def solve(given: dict[str, Float]) -> dict[str, Float]:
        frames = []
        for u, v in zip(given["u"][:, 0, 0], given["v"][:, 0, 0], strict=True):
            found = nerve_equation(u, v, generator.grid, times=times, step=0.1, refinement=1)
            frames.append(np.stack([found[name].values[:, None] for name in "uv"]))
        return dict(zip("uv", np.stack(frames, 1), strict=True))

    return replace(of(generator), times=times), {"u": start[:, None], "v": start[::-1, None].copy()}, solve


def darcy() -> Case:
    grid = Grid.box((12, 12))
    made = {"a": Field("a", "input"), "u": Field("u", "output")}
    walls = {name: ["dirichlet", "dirichlet"] for name in "xy"}

    def solve(given: dict[str, Float]) -> dict[str, Float]:
        return {"u": EllipticSolver(grid).solve(given["a"][:, 0], 1.0)[:, None]}

    a = np.where(starts(grid, boundary="neumann") > 0, 12.0, 3.0)
    return Problem(grid, made, "darcy_2d", walls, None, {}), {"a": a}, solve


def vorticity(forcing: str = "none") -> Case:
    grid = Grid.box((16, 16), location="node", periodic=True)
    times, (x, y) = np.array([0.0, 0.1, 0.2]), grid.coordinates()
    made = {"w": Field("w", "state", time=True)}
    forces = {
        "none": 0 * x,
        "kolmogorov": -np.cos(2 * np.pi * y),
        "diagonal": np.sin(2 * np.pi * (x + y)) + np.cos(2 * np.pi * (x + y)),
    }
    solver = VorticitySolver(16, 0.01, forces[forcing])

    def solve(given: dict[str, Float]) -> dict[str, Float]:
        return {"w": solver.run(given["w"][:, 0, 0], times.tolist(), step=0.005)[:, :, None]}

    told = {"sciml_forcing": forcing, "sciml_strength": 1.0}
    problem = Problem(grid, made, "navier_stokes_2d_vorticity", {}, times, told)
    # Only waves that the solver keeps, so that its first frame is the start.
    return problem, {"w": solve({"w": starts(grid)[:, None]})["w"][:, :1]}, solve


def drifting() -> Case:
    """Vorticity with a mean flow (U, V) of each sample, which the library's own solver leaves out."""
    problem, given, _ = vorticity()
    wave = 2 * np.pi * np.fft.fftfreq(16, 1 / 16)
    kx, ky = np.meshgrid(wave, wave, indexing="ij")
    square, kept = kx**2 + ky**2, (np.abs(kx) < 2 * np.pi * 16 / 3) & (np.abs(ky) < 2 * np.pi * 16 / 3)
    stream = 1 / np.where(square > 0, square, 1)

    def values(modes: NDArray[np.complex128]) -> Float:
        return np.asarray(np.fft.ifft2(modes).real)

    def solve(start: dict[str, Float]) -> dict[str, Float]:
        mean = [start[name][:, None, None] for name in "UV"]

        def rate(w: Float) -> Float:
            m = np.fft.fft2(w) * kept
            u, v = mean[0] + values(1j * ky * stream * m), mean[1] - values(1j * kx * stream * m)
            carried = u * values(1j * kx * m) + v * values(1j * ky * m)
            return values(-0.01 * square * m - kept * np.fft.fft2(carried))

        w, h = start["w"][:, 0, 0], 0.005  # the classical method of order 4
        frames = [w]
        for step in range(40):
            k1 = rate(w)
            k2 = rate(w + h / 2 * k1)
            k3 = rate(w + h / 2 * k2)
            w = w + h / 6 * (k1 + 2 * k2 + 2 * k3 + rate(w + h * k3))
            frames += [w] if step % 20 == 19 else []
        return {"w": np.stack(frames, 1)[:, :, None]}

    numbers = {name: Field(name, "parameter") for name in "UV"}
    whole = replace(problem, pde="", fields={**problem.fields, **numbers})
    return whole, {**given, "U": np.linspace(-1, 1, COUNT), "V": np.linspace(0, 0.5, COUNT)}, solve


def viscous() -> Case:
    """The map from first to last vorticity with viscosity and duration as numbers of each sample."""
    problem, given, _ = vorticity()

    def solve(start: dict[str, Float]) -> dict[str, Float]:
        found = []
        for w, nu, end in zip(start["w0"], start["nu"], start["T"], strict=True):
            frames = VorticitySolver(16, float(nu)).run(w, [0.0, float(end)], step=float(end) / 40)
            found.append(frames[:, 1])
        return {"w": np.stack(found)}

    made = {"w0": Field("w0", "input"), "w": Field("w", "output")}
    made |= {name: Field(name, "parameter") for name in ("nu", "T")}
    start = {"w0": given["w"][:, 0], "nu": np.linspace(0.005, 0.02, COUNT), "T": np.linspace(0.1, 0.2, COUNT)}
    return replace(problem, pde="", fields=made, times=None), start, solve


TILT = Symmetries(galilean=1.0, velocity=("U", "V"))
SIZES = Symmetries(powers={"w0": 1.0, "w": 1.0, "nu": 1.0, "T": -1.0})
CASES: list[tuple[Callable[[], Case], Augmentation]] = [
    (advection, Shift()),
    (advection, Shift(axes=("y",), whole=True)),
    (advection, BoxSymmetry("permutations")),
    (advection, Scaling()),
    (lambda: evolving(AllenCahn(resolution=16), 0.5, 0.125), Shift()),
    (lambda: evolving(AllenCahn(resolution=16), 0.5, 0.125), BoxSymmetry("full")),
    (lambda: evolving(CahnHilliard(resolution=16), 0.4, 0.1), BoxSymmetry("full")),
    (lambda: evolving(Fisher(resolution=16), 0.1, 0.05), BoxSymmetry("reflections")),
    (lambda: evolving(GrayScott(resolution=16), 2.0, 0.5), BoxSymmetry("rotations")),
    (lambda: evolving(Schrodinger(resolution=16, rank=2), 0.1, 0.01), BoxSymmetry("full")),
    (lambda: evolving(KuramotoSivashinsky(resolution=48), 1.0, 0.02), BoxSymmetry("reflections")),
    (lambda: evolving(KuramotoSivashinsky(resolution=48), 1.0, 0.02), Galilean()),
    (lambda: evolving(KortewegDeVries(resolution=32), 0.4, 0.005, 0.3), Shift()),
    (lambda: evolving(KortewegDeVries(resolution=32), 0.4, 0.005, 0.3), Galilean(0.5)),
    (lambda: burgers(1), Shift()),
    (lambda: burgers(1), BoxSymmetry("reflections")),
    (lambda: burgers(1), Galilean(2.0)),
    (lambda: burgers(2), BoxSymmetry("full")),
    (lambda: burgers(2), Galilean()),
    (darcy, BoxSymmetry("full")),
    (darcy, Scaling()),
    (nerve, BoxSymmetry("full")),
    (heat, BoxSymmetry("rotations")),
    (heat, Scaling(3.0)),
    (wave, BoxSymmetry("full")),
    (wave, Scaling()),
    (vorticity, Shift()),
    (vorticity, BoxSymmetry("full")),
    (lambda: vorticity("kolmogorov"), Shift(axes=("x",))),
    (drifting, Galilean(symmetries=TILT)),
    (viscous, Scaling(symmetries=SIZES)),
]


def changed(how: Augmentation, problem: Problem, given: dict[str, Float], seed: int = 1) -> dict[str, Float]:
    tensors = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in given.items()}
    new = how.apply(tensors, problem, torch.Generator().manual_seed(seed))
    return {name: values.numpy() for name, values in new.items()}


def starting(problem: Problem, given: dict[str, Float]) -> dict[str, Float]:
    """Of fields with time the first frame, and no outputs: what a solver is given."""
    inputs = {name: values for name, values in given.items() if problem.fields[name].role != "output"}
    return {name: v[:, :1] if problem.fields[name].time else v for name, v in inputs.items()}


@pytest.mark.parametrize(("make", "how"), CASES)
def test_solver_is_equivariant(make: Callable[[], Case], how: Augmentation) -> None:
    problem, given, solve = make()
    how.check(problem)
    before = given | solve(given)
    new = changed(how, problem, before)
    for name, values in solve(starting(problem, new)).items():
        scale = np.abs(values).max()
        # Rounding; boosts change the error of time steps, which is that of order 4 here.
        tolerance = 2e-6 if isinstance(how, Galilean) else 1e-10
        assert np.abs(values - new[name]).max() < tolerance * scale, name
        assert np.abs(new[name] - before[name]).max() > 0.01 * scale


def test_every_declared_equation_is_tested() -> None:
    tested = {problem.pde for problem in (make()[0] for make in dict(CASES))}
    blank = replace(darcy()[0], fields={})
    known = [f"{name}_2d" for name in (*_ISOTROPIC, "advection", "burgers", "darcy")]
    for name in (*known, "kuramoto_sivashinsky", "korteweg_de_vries", "navier_stokes_2d_vorticity"):
        assert symmetries_of(replace(blank, pde=name)) is not None
        assert {name, name.replace("2d", "1d")} & tested, name
    assert symmetries_of(replace(blank, pde="lorenz_63")) is None


def test_numbers_that_nobody_knows_are_refused() -> None:
    """The kinds of the walls, left and right, would have to change places."""
    walls = {name: Field(name, "parameter") for name in ("left", "right")}
    with pytest.raises(DataError, match="symmetries of the equation 'wave_1d' are not known"):
        BoxSymmetry("full").check(replace(wave()[0], pde="wave_1d", fields=walls))


def test_what_the_forcing_breaks_is_refused_and_rightly() -> None:
    problem, given, solve = vorticity("diagonal")
    for how in (Shift(), Shift(axes=("x",)), BoxSymmetry("permutations"), BoxSymmetry("full")):
        with pytest.raises(DataError, match="the equation 'navier_stokes_2d_vorticity'"):
            how.check(problem)
    stated = Symmetries(group="full", kinds={"w": "pseudoscalar"})
    new = changed(BoxSymmetry("full", stated), problem, given | solve(given))
    assert np.abs(solve(starting(problem, new))["w"] - new["w"]).max() > 0.01
    with pytest.raises(DataError, match="allows shifts along x, not along y"):
        Shift(axes=("y",)).check(vorticity("kolmogorov")[0])


def test_refusals() -> None:
    problem = darcy()[0]
    with pytest.raises(DataError, match="'darcy_2d' allows shifts along no axis"):
        Shift().check(problem)
    with pytest.raises(DataError, match="'darcy_2d' is not the same in moving frames"):
        Galilean().check(problem)
    with pytest.raises(DataError, match="'heat_1d' has no scaling|needs 'u'"):
        Scaling().check(replace(problem, pde="heat_1d", fields={}))
    with pytest.raises(DataError, match="symmetries of the equation 'mine' are not known; state them"):
        Shift().check(replace(problem, pde="mine"))
    with pytest.raises(DataError, match="axis 'x' is not periodic"):
        Shift(symmetries=Symmetries(shifts=("x",))).check(problem)
    with pytest.raises(DataError, match="'advection_2d' has the symmetries 'permutations' of the box, not"):
        BoxSymmetry("full").check(advection()[0])
    with pytest.raises(DataError, match="reflecting the axis 'x' would move its boundary, whose right end"):
        BoxSymmetry("full").check(replace(problem, grid=Grid.box((8, 8), location="left")))
    BoxSymmetry("permutations").check(replace(problem, grid=Grid.box((8, 8), location="left")))
    with pytest.raises(DataError, match="axis 'y' would move its boundary conditions"):
        BoxSymmetry("full").check(replace(problem, boundary={"y": ("dirichlet", "neumann")}))
    with pytest.raises(DataError, match="'x' and 'y' differ in length, points or boundary"):
        BoxSymmetry("full").check(replace(problem, grid=Grid.box((8, 8), upper=(1.0, 2.0))))
    with pytest.raises(DataError, match="the field 'f' has no time axis"):
        still = {"u": Field("u", "state", time=True), "f": Field("f", "coefficient")}
        Galilean().check(replace(burgers(1)[0], fields=still))
    with pytest.raises(ConfigError, match="group is one of reflections"):
        BoxSymmetry("mirror")
    with pytest.raises(ConfigError, match="at least 1 and finite, got 0.5"):
        Scaling(0.5)


@pytest.mark.parametrize("size", [15, 16])
@pytest.mark.parametrize("location", ["node", "cell"])
def test_shifts_move_the_trigonometric_interpolant(size: int, location: str) -> None:
    axis = Axis("x", -1.0, 2.0, size, location, periodic=True)  # type: ignore[arg-type]
    x, amount = (
        torch.from_numpy(axis.coordinates),
        torch.tensor([[0.4], [axis.spacing * 5]], dtype=torch.float64),
    )

    def u(at: Tensor) -> Tensor:
        return torch.cos(2 * torch.pi / 3 * 7 * at + 1) + torch.sin(2 * torch.pi / 3 * at)

    found = shifted(u(x).expand(2, 1, size), Grid((axis,)), amount)[:, 0]
    assert torch.allclose(found, torch.stack([u(x - 0.4), u(x - 5 * axis.spacing)]), rtol=0, atol=1e-13)
    rough = torch.randn(2, 1, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = shifted(rough, Grid((axis,)), torch.full((2, 1), 5 * axis.spacing, dtype=torch.float64))
    assert torch.allclose(whole, rough.roll(5, -1), rtol=0, atol=1e-13)


@pytest.mark.parametrize("location", ["node", "cell"])
@pytest.mark.parametrize("periodic", [False, True])
def test_tensors_turn_with_the_box(location: str, periodic: bool) -> None:
    """(g T)(x) = R T(R^-1 x) R^T with the orthogonal matrix R of g."""
    grid = Grid.box((6, 6), lower=-1.0, location=location, periodic=periodic)  # type: ignore[arg-type]
    x = torch.from_numpy(grid.coordinates())

    def field(at: Tensor) -> Tensor:
        wave = [torch.cos(torch.pi * at[0]), torch.sin(torch.pi * at[1]), torch.sin(torch.pi * at.sum(0) + 1)]
        return torch.stack([wave[0], wave[1], wave[1], wave[2]]).reshape(2, 2, *at.shape[1:])

    for g in signed_permutations("full", 2):
        rotation = torch.zeros(2, 2, dtype=torch.float64)
        for i in range(2):
            rotation[i, g.permutation[i]] = -1.0 if g.flips[i] else 1.0
        before = torch.einsum("ji,jxy->ixy", rotation, x)
        wanted = torch.einsum("ab,bcxy,dc->adxy", rotation, field(before), rotation)
        whole = moved(g, field(x).flatten(0, 1), grid, "tensor")
        assert torch.allclose(whole.reshape(2, 2, 6, 6), wanted, rtol=0, atol=1e-14)
        upper = moved(g, field(x).flatten(0, 1)[[0, 1, 3]], grid, "symmetric")
        assert torch.equal(upper, whole[[0, 1, 3]])
    assert SignedPermutation((1, 0), (False, False)).determinant == -1
