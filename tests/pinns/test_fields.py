"""Solutions as fields: on the points of a reference, on grids, meshes and slices; as xarray and VTU."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import meshio
import numpy as np
import pytest
import torch
import xarray
from torch import Tensor, nn

from sciml.grid import Grid
from sciml.kernels import evaluate, laplacian
from sciml.kernels.derivatives import d
from sciml.mesh import Mesh
from sciml.pinns import Ball, Box, Coefficient, Domain, Fields, Problem, fields_of, problems
from sciml.pinns.problem import Solution, component
from sciml.pinns.report import curves_of, maps, points_figure, residual_maps, write_report
from sciml.pinns.yardsticks import Yardstick


@pytest.fixture(autouse=True)
def _few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sciml.pinns.fields._SIZES", {1: 41, 2: 31, 3: 9})


class Exactly(nn.Module):
    """The solution itself, as a model, off by a factor."""

    def __init__(self, problem: Problem, factor: float = 1.0) -> None:
        super().__init__()
        self.problem, self.factor = problem, nn.Parameter(torch.tensor(factor, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.problem.exact(x)


class Bowl(Problem):
    """-Laplace(u) = 4 on the unit disc; its reference is known at points in no order."""

    domain = Domain(Ball(2))
    equation = "-u_xx - u_yy = 4"

    def residual(self, u: Any, x: Tensor) -> Tensor:
        return -laplacian(u, x) - 4.0

    def exact(self, x: Tensor) -> Tensor:
        return 1 - x.square().sum(1)

    def solve(self) -> Solution:
        angle = torch.linspace(0, 2 * math.pi, 41, dtype=torch.float64)[:-1]
        rim = torch.stack([angle.cos(), angle.sin()], dim=1)
        x = torch.cat([rim * k / 8 for k in range(1, 9)] + [torch.zeros(1, 2, dtype=torch.float64)])
        return Solution(x, self.exact(x)[:, None], 1e-15, "formula")


class Unknown(Bowl):
    """The same without a solution."""

    exact = Problem.exact
    solve = Problem.solve


class Swirl(Problem):
    """Two components in space and time, and an unknown number; no solution is known."""

    domain = Domain(Box(((0.0, 1.0), (0.0, 1.0))), time=(0.0, 2.0))
    outputs = 2
    coefficients = {"c": Coefficient(1.0)}  # noqa: RUF012

    def residual(self, u: Any, x: Tensor, coefficients: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        (u1, rate1), (u2, rate2) = (
            evaluate(component(u, k, 2), x, [d("t", variables="xyt")]) for k in (0, 1)
        )
        c = coefficients["c"]
        return {"first": rate1 - c * u2, "second": rate2 + c * u1}


class Turning(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(3.0, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        angle = self.rate * x[:, 2]
        return torch.stack([torch.sin(angle), torch.cos(angle)], dim=1)


def test_on_the_grid_of_the_reference() -> None:
    problem = problems.Helmholtz()
    fields = fields_of(problem, Exactly(problem, 1.5))
    assert isinstance(fields.place, Grid) and fields.place.names == ("x", "y")
    assert list(fields.values) == ["u", "error", "residual"]
    x = torch.from_numpy(fields.place.coordinates().reshape(2, -1).T)
    truth = problem.exact(x).reshape(fields.place.shape).numpy()
    np.testing.assert_allclose(fields.values["error"], 0.5 * truth, atol=1e-12)
    np.testing.assert_allclose(fields.values["u"], 1.5 * truth, atol=1e-12)
    # The residual is linear in u up to the source, of size (16 + 1) pi^2: half the source remains.
    unit = fields_of(problem, Exactly(problem)).values["residual"]
    assert np.abs(unit).max() < 1e-9 < np.abs(fields.values["residual"]).max()


def test_files_hold_the_same_numbers(tmp_path: Path) -> None:
    problem = problems.Wave()
    model = problem.build(lambda inputs, outputs: nn.Linear(inputs, outputs)).double()
    fields = fields_of(problem, model, about={"title": "a wave", "relative_l2": 0.25})
    written = fields.write(tmp_path)
    assert [path.name for path in written] == ["solution.nc", "solution.vtu"]
    with xarray.open_dataset(written[0]) as data:
        assert data.u.dims == ("x", "t") and data.attrs["relative_l2"] == 0.25
        np.testing.assert_array_equal(data.u.values, fields.values["u"])
        np.testing.assert_allclose(data.t.values, np.linspace(0, 1, 129))
    mesh = meshio.read(written[1])
    assert mesh.cells_dict["quad"].shape == (128 * 128, 4) and set(mesh.point_data) == set(fields.values)
    np.testing.assert_array_equal(mesh.point_data["residual"], fields.values["residual"].ravel())
    corners = mesh.points[mesh.cells_dict["quad"]][:, :, :2]
    sides = np.roll(corners, -1, axis=1) - corners
    area = sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0]
    np.testing.assert_allclose(area, 1 / 128 / 128)  # all of them turn the same way


def test_points_of_a_reference_become_a_mesh(tmp_path: Path) -> None:
    problem = Bowl()
    fields = fields_of(problem, Exactly(problem))
    assert isinstance(fields.place, Mesh) and len(fields.place) == 8 * 40 + 1
    polygon = 20 * math.sin(math.pi / 20)  # of 40 corners on the circle
    assert fields.place.measures().sum() == pytest.approx(polygon, rel=1e-12)
    assert np.abs(fields.values["residual"]).max() < 1e-12
    data = fields.to_xarray()
    assert data.u.dims == ("point",) and {"x", "y"} <= set(data.coords)
    mesh = meshio.read(fields.write(tmp_path)[1])
    assert len(mesh.points) == len(fields.place) and set(mesh.cells_dict) == {"triangle"}


def test_without_a_reference_a_grid_that_ends_where_the_domain_does() -> None:
    problem = Unknown()
    fields = fields_of(problem, Exactly(Bowl()))
    assert isinstance(fields.place, Grid) and list(fields.values) == ["u", "residual"]
    x, y = fields.place.coordinates()
    inside = np.hypot(x, y) <= 1 + 1e-12
    assert np.array_equal(np.isfinite(fields.values["u"]), inside)
    mesh = fields.to_meshio()
    assert np.isfinite(mesh.point_data["u"]).all() and 0 < len(mesh.points) <= inside.sum()
    assert (np.linalg.norm(mesh.points, axis=1) <= 1 + 1e-12).all()


def test_many_coordinates_are_seen_on_a_plane() -> None:
    problem = problems.PoissonOfSines(dim=6)
    fields = fields_of(problem, Exactly(problem, 2.0))
    assert fields.place.names == ("x1", "x2") and fields.held == {f"x{i}": 0.5 for i in range(3, 7)}
    assert isinstance(fields.place, Grid)
    x, y = fields.place.coordinates()
    expected = np.sin(np.pi / 2 * x) + np.sin(np.pi / 2 * y) + 4 * math.sin(math.pi / 4)
    np.testing.assert_allclose(fields.values["error"], expected)
    assert float(fields.to_xarray()["x5"]) == 0.5


def test_systems_in_space_and_time_have_names_and_hexahedra() -> None:
    model = Turning()
    fields = fields_of(Swirl(), model, coefficients={"c": torch.tensor(3.0)})
    assert list(fields.values) == ["u1", "u2", "residual_first", "residual_second"]
    assert fields.place.names == ("x", "y", "t")
    assert np.abs(fields.values["residual_first"]).max() < 1e-12
    assert np.abs(fields_of(Swirl(), model).values["residual_first"]).max() > 1  # as the number starts
    mesh = fields.to_meshio()
    corners = mesh.points[mesh.cells_dict["hexahedron"][0]]
    assert len(mesh.cells_dict["hexahedron"]) == 8**3
    # The first four corners turn around the bottom, the others stand above them.
    assert np.ptp(corners[:4, 2]) == 0 and np.array_equal(corners[:4, :2], corners[4:, :2])
    shown = [alt for _, alt in maps(fields)]
    assert shown == [f"solution {u}, t = {t}" for t in (1, 2) for u in ("u1", "u2")]
    assert len(list(residual_maps(fields))) == 4


HISTORY: list[dict[str, Any]] = [
    {
        "step": k,
        "loss": 1 / k,
        "equation": 0.6 / k,
        "boundary": 0.4 / k,
        "unweighted": {"equation": 0.6 / k, "boundary": 0.04 / k},
        "weights": {"boundary": 10.0},
        "lr": 1e-3,
        "seconds": 0.1 * k,
        "waited": 0.0,
        **({"validation": {"relative_l2": 1 / k}} if k % 10 == 0 else {}),
    }
    for k in range(1, 41)
]


def test_the_page_shows_all_of_it(tmp_path: Path) -> None:
    problem = Bowl()
    fields: Fields = fields_of(problem, Exactly(problem, 1.1))
    write_report(
        tmp_path / "report.html",
        title="a bowl",
        verdict="Relative L2 error 0.1 & more.",
        error=0.1,
        fields=fields,
        points=problem.domain.interior(lambda n, k: torch.rand(n, k).double(), 200).numpy(),
        history=HISTORY,
        yardsticks=[
            Yardstick("best constant", "trivial", 0.6),
            Yardstick("solver", "classical", 0.05, 0.002),
        ],
        facts={"Problem": {"equation": problem.equation}},
    )
    page = (tmp_path / "report.html").read_text()
    for text in ("0.1 &amp; more", "best constant", "2 ms", "-u_xx - u_yy = 4", "unweighted", "weights"):
        assert text in page
    # Solution; residual and points; loss, error against time, two kinds of terms, weights.
    assert page.count("<img") == 1 + 2 + 5


def test_curves_need_something_to_show() -> None:
    plain = [{"step": 1, "loss": 1.0, "lr": 1.0, "seconds": 0.5, "waited": 0.0}]
    assert [alt for _, alt in curves_of(plain)] == ["loss over optimizer steps"]
    line = fields_of(Unknown(), Exactly(Bowl()))
    assert points_figure(np.random.default_rng(0).random((50, 1)), line).axes[0].get_ylabel() == "points"
