"""Metrics against independent numpy versions and hand values, as losses, and joined over batches."""

import math

import numpy as np
import pytest
import torch

from sciml import metrics
from sciml.errors import ConfigError, ShapeError
from sciml.grid import Axis, Grid
from sciml.metrics import (
    boundary_rmse,
    conservation_rmse,
    fourier_rmse,
    mae,
    max_error,
    mse,
    nrmse,
    pearson,
    relative_h1,
    relative_l1,
    relative_l2,
    relative_lp,
    rmse,
    spectral_mse,
    vrmse,
    wasserstein,
)
from sciml.norms import zero_target
from sciml.scores import Scores
from sciml.trajectories import geometric_mean_error

POINTWISE = [relative_l2, relative_l1, mse, mae, rmse, nrmse, vrmse, pearson, conservation_rmse]
UNWEIGHTED = [max_error, boundary_rmse, wasserstein, fourier_rmse, spectral_mse]
SPACES = [(9,), (6, 8), (3, 4, 5)]


def pair(shape: tuple[int, ...], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = 1.0 + torch.randn(shape, generator=generator, dtype=torch.float64)
    return y + 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64), y


# Independent versions on (n, c, points) arrays, one sample and channel at a time; weights (points,) sum to 1.


def reference(name: str, p: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    n, c, points = y.shape
    if name in ("relative_l2", "relative_l1"):
        order = int(name[-1])
        powers = [[np.sum(w * np.abs(v[i]) ** order) ** (1 / order) for i in range(n)] for v in (p - y, y)]
        return np.array(powers[0]) / np.array(powers[1])
    out = np.zeros((n, c))
    for i in range(n):
        for j in range(c):
            e, t, g = p[i, j] - y[i, j], y[i, j], p[i, j]
            centered_t, centered_g = t - np.sum(w * t), g - np.sum(w * g)
            out[i, j] = {
                "mse": np.sum(w * e**2),
                "mae": np.sum(w * abs(e)),
                "rmse": np.sqrt(np.sum(w * e**2)),
                "nrmse": np.sqrt(np.sum(w * e**2) / np.sum(w * t**2)),
                "vrmse": np.sqrt(
                    np.sum(w * e**2) / (np.sum(w * centered_t**2) * points / (points - 1) + 1e-7)
                ),
                "pearson": np.sum(w * centered_t * centered_g)
                / np.sqrt(np.sum(w * centered_t**2) * np.sum(w * centered_g**2)),
                "conservation_rmse": abs(np.sum(w * e)),
            }[name]
    return out.mean(axis=1)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("metric", POINTWISE, ids=lambda f: f.__name__)
def test_equals_numpy(metric, space):
    p, y = pair((4, 3, *space))
    points = math.prod(space)
    flat = [v.numpy().reshape(4, 3, points) for v in (p, y)]
    np.testing.assert_allclose(
        metric(p, y), reference(metric.__name__, *flat, np.full(points, 1 / points)), rtol=1e-12
    )
    weights = Grid.box(space, location="node").weights()
    expected = reference(metric.__name__, *flat, (weights / weights.sum()).ravel())
    np.testing.assert_allclose(metric(p, y, weights=weights), expected, rtol=1e-12)
    np.testing.assert_allclose(metric(p, y, weights=7 * torch.tensor(weights)), expected, rtol=1e-12)


def test_conventions_of_relative_l2_and_its_variants():
    p, y = pair((5, 2, 6, 7))
    e, t = (p - y).numpy(), y.numpy()
    flattened = np.linalg.norm(e.reshape(5, -1), axis=1) / np.linalg.norm(t.reshape(5, -1), axis=1)
    np.testing.assert_allclose(relative_l2(p, y), flattened, rtol=1e-12)
    channels = np.sqrt((e**2).sum((2, 3)) / (t**2).sum((2, 3)))
    np.testing.assert_allclose(relative_l2(p, y, per="channel"), channels, rtol=1e-12)
    np.testing.assert_allclose(nrmse(p, y), channels.mean(1), rtol=1e-12)
    third = (np.abs(e) ** 3).sum((1, 2, 3)) ** (1 / 3) / (np.abs(t) ** 3).sum((1, 2, 3)) ** (1 / 3)
    np.testing.assert_allclose(relative_lp(p, y, p=3), third, rtol=1e-12)
    # Clouds of points and plain vectors: everything but the batch axis.
    np.testing.assert_allclose(relative_l2(p.flatten(1), y.flatten(1)), flattened, rtol=1e-12)


@pytest.mark.parametrize("metric", [*POINTWISE, *UNWEIGHTED], ids=lambda f: f.__name__)
def test_trajectories_are_frames_taken_together(metric):
    p, y = pair((3, 4, 2, 5, 6))  # batch, time, channel, space
    kept = metric(p, y, rank=2, per="channel")
    if metric is wasserstein:  # time joins space
        frames = metric(p.movedim(1, 2).flatten(3), y.movedim(1, 2).flatten(3), per="channel")
    else:
        frames = metric(p.flatten(0, 1), y.flatten(0, 1), per="channel").unflatten(0, (3, 4))
    torch.testing.assert_close(kept, frames, rtol=1e-12, atol=0)
    if not metric.__name__.startswith("relative"):
        mean = (
            kept.amax((1, 2)) if metric is max_error else kept.flatten(1, kept.shape[1:].index(2) + 1).mean(1)
        )
        torch.testing.assert_close(metric(p, y, rank=2), mean, rtol=1e-12, atol=0)


def test_hand_values_on_constants():
    y = torch.full((2, 1, 4), 2.0, dtype=torch.float64)
    p = y + torch.tensor([0.0, 1.0], dtype=torch.float64).reshape(2, 1, 1)
    for metric, value in [(relative_l2, 0.5), (relative_l1, 0.5), (nrmse, 0.5), (mse, 1.0), (mae, 1.0)]:
        np.testing.assert_allclose(metric(p, y), [0.0, value], rtol=1e-15)
    for metric in (rmse, max_error, conservation_rmse, boundary_rmse):
        np.testing.assert_allclose(metric(p, y), [0.0, 1.0], rtol=1e-15)
    # No variance: only epsilon = 1e-7 is left, sqrt(1e7) = 3162.
    np.testing.assert_allclose(vrmse(p, y), [0.0, math.sqrt(1e7)], rtol=1e-12)
    np.testing.assert_allclose(wasserstein(p, y), [0.0, 0.5], rtol=1e-15)
    np.testing.assert_allclose(pearson(p, y), [0.0, 0.0])  # defined: nothing varies


def test_zero_targets_give_the_absolute_error_and_a_finite_gradient():
    y = torch.zeros(3, 2, 5)
    y[1] = 1.0
    p = torch.full((3, 2, 5), 3.0, requires_grad=True)
    values = relative_l2(p, y)
    assert values.tolist() == [3.0, 2.0, 3.0]
    assert zero_target(y).tolist() == [True, False, True]
    values.sum().backward()
    assert torch.isfinite(p.grad).all()
    assert relative_l2(y, y).tolist() == [0.0, 0.0, 0.0]
    half = y.clone()
    half[1, 0] = 0.0  # one channel of one sample
    assert nrmse(p.detach(), half)[1].item() == pytest.approx((3.0 + 2.0) / 2)
    grid = Grid.box((5,), periodic=True)
    assert relative_h1(torch.full_like(y, 3.0), y, grid)[0].item() == pytest.approx(3.0)
    assert wasserstein(p.detach(), y)[0].item() == 3.0


@pytest.mark.parametrize("metric", [relative_l2, relative_l1, nrmse, wasserstein, pearson])
@pytest.mark.parametrize("factor", [1e-38, 1e-30, 1e19, 1e37])
def test_relative_metrics_do_not_depend_on_units_even_at_the_ends_of_float32(metric, factor):
    p, y = (v.float() for v in pair((3, 2, 16)))
    # A number near 1e-38 keeps its bits but may be subnormal below: eps * tiny/1e-38, so seven digits.
    torch.testing.assert_close(metric(factor * p, factor * y), metric(p, y), rtol=3e-6, atol=0)


def test_powers_of_two_change_no_bit():
    p, y = (v.float() for v in pair((3, 2, 16)))
    assert torch.equal(relative_l2(p * 2.0**40, y * 2.0**40), relative_l2(p, y))


@pytest.mark.parametrize("metric", [*POINTWISE, *UNWEIGHTED], ids=lambda f: f.__name__)
def test_gradients_are_exact_and_finite_at_a_perfect_prediction(metric):
    p, y = pair((2, 2, 4, 5))
    p.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: metric(v, y), p)
    perfect = y.clone().requires_grad_()
    metric(perfect, y).sum().backward()
    assert torch.isfinite(perfect.grad).all()


def test_losses_keep_float32_and_widen_half():
    p, y = (v.float() for v in pair((2, 1, 8)))
    assert relative_l2(p, y).dtype == torch.float32
    assert relative_l2(p.bfloat16(), y.bfloat16()).dtype == torch.float32
    assert relative_l2(p, y.double()).dtype == torch.float64


def test_geometric_mean_over_time():
    error = torch.tensor([[1e-3, 1e-1], [0.0, 1.0], [math.nan, 1.0]], dtype=torch.float64)
    found = geometric_mean_error(error)
    np.testing.assert_allclose(found[:2], [1e-2, 1e-6], rtol=1e-12)  # 0 counts as 1e-12
    assert found[2].isnan()


def test_nan_is_passed_on_and_not_hidden():
    p, y = pair((2, 1, 8))
    p[1, 0, 0] = torch.nan
    for metric in [*POINTWISE, *UNWEIGHTED]:
        values = metric(p, y)
        assert torch.isnan(values[1]).any() and torch.isfinite(values[0]).all(), metric.__name__


def test_mean_predictor_has_vrmse_of_nearly_one():
    _, y = pair((3, 2, 6, 7))
    p = y.mean((2, 3), keepdim=True).expand_as(y)
    np.testing.assert_allclose(vrmse(p, y, epsilon=0.0), math.sqrt(41 / 42), rtol=1e-12)


# Spectra.


@pytest.mark.parametrize("space", [(8,), (9,), (6, 8), (7, 5), (4, 6, 5)])
def test_parseval(space):
    p, y = pair((3, 2, *space))
    total = mse(p, y, per="channel")
    bands = fourier_rmse(p, y, per="channel")
    torch.testing.assert_close(bands.square().sum(-1), total, rtol=1e-12, atol=0)
    torch.testing.assert_close(spectral_mse(p, y, per="channel").sum(-1), total, rtol=1e-12, atol=0)
    assert fourier_rmse(p, y).shape == spectral_mse(p, y).shape == (3, 3)


def test_bands_equal_those_of_the_full_transform():
    p, y = pair((3, 1, 30, 27))
    squares = np.abs(np.fft.fft2((p - y).numpy()[:, 0])) ** 2 / (30 * 27) ** 2
    ks = np.hypot(*np.meshgrid(np.fft.fftfreq(30, 1 / 30), np.fft.fftfreq(27, 1 / 27), indexing="ij"))
    inside = [ks < 4, (ks >= 4) & (ks < 12), ks >= 12]
    expected = np.stack([np.sqrt((squares * m).sum((1, 2))) for m in inside], axis=1)
    np.testing.assert_allclose(fourier_rmse(p, y), expected, rtol=1e-12)
    ks = np.hypot(*np.meshgrid(2 * np.pi * np.fft.fftfreq(30), 2 * np.pi * np.fft.fftfreq(27), indexing="ij"))
    edges = np.exp(np.linspace(np.log(2 * np.pi / 30), np.log(np.pi * 2**0.5), 4))
    inside = [ks < edges[1], (ks >= edges[1]) & (ks < edges[2]), ks >= edges[2]]
    expected = np.stack([(squares * m).sum((1, 2)) for m in inside], axis=1)
    np.testing.assert_allclose(spectral_mse(p, y), expected, rtol=1e-12)


def test_pdebench_convention_by_loops():
    p, y = pair((4, 1, 32, 28))
    e = (p - y).numpy()[:, 0]
    squares = np.abs(np.fft.fft2(e)) ** 2
    shells = np.zeros((4, 14))
    for i in range(16):
        for j in range(14):
            shell = math.floor(math.sqrt(i * i + j * j))
            if shell < 14:
                shells[:, shell] += squares[:, i, j]
    amplitudes = np.sqrt(shells.mean(0)) / (32 * 28) * 3.0 * 0.5
    expected = [amplitudes[:4].mean(), amplitudes[4:12].mean(), amplitudes[12:].mean()]
    found = fourier_rmse(p, y, convention="pdebench", lengths=(3.0, 0.5))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    e = (p - y)[..., 0].numpy()[:, 0]
    amplitudes = np.sqrt((np.abs(np.fft.rfft(e)) ** 2).mean(0)) / 32
    found = fourier_rmse(p[..., 0], y[..., 0], convention="pdebench")
    np.testing.assert_allclose(
        found, [amplitudes[:4].mean(), amplitudes[4:12].mean(), amplitudes[12:].mean()], rtol=1e-12
    )


def test_pdebench_conservation_and_boundary():
    p, y = pair((5, 2, 4, 6))
    e = (p - y).numpy()
    expected = (np.sqrt((e.sum((2, 3)) ** 2).mean(0)) / 24).mean()
    found = Scores(conservation_rmse(p, y, per="channel")).root_mean_square
    assert found == pytest.approx(expected, rel=1e-12)
    faces = (
        (e[:, :, 0] ** 2).sum(-1) + (e[:, :, -1] ** 2).sum(-1)
        + (e[..., 0] ** 2).sum(-1) + (e[..., -1] ** 2).sum(-1)
    )  # fmt: skip
    np.testing.assert_allclose(boundary_rmse(p, y), np.sqrt(faces / 20).mean(1), rtol=1e-12)
    e = e[..., 0]
    ends = np.sqrt((e[..., 0] ** 2 + e[..., -1] ** 2) / 2).mean(1)
    np.testing.assert_allclose(boundary_rmse(p[..., 0], y[..., 0]), ends, rtol=1e-12)


@pytest.mark.parametrize("location", ["node", "cell"])
def test_boundary_with_a_grid_is_an_integral_over_its_faces(location):
    """e = x on [0, 2] x [0, 1]: faces x = 0 and 2 hold 0 and 4, the others 8/3 each; 28/3 over 6."""
    errors = []
    for n in (16, 32):
        grid = Grid.box((n + (location == "node"), n), upper=(2.0, 1.0), location=location)
        e = torch.as_tensor(grid.coordinates()[0])[None, None]
        errors.append(abs(boundary_rmse(e, 0 * e, grid).item() ** 2 - 28 / 18))
    order = math.log2(errors[0] / errors[1])
    # Nodes lie on the faces (order 2 of the trapezoid rule); the outermost cells half a cell inside.
    assert order == pytest.approx({"node": 2.0, "cell": 1.0}[location], abs=0.1)


def test_boundary_of_a_grid_is_that_of_its_bounded_axes():
    grid = Grid.box((4, 6), periodic=(True, False))
    e = torch.zeros(2, 3, 1, 4, 6, dtype=torch.float64)
    e[:, :, :, 0] = 5.0  # the first row along the periodic axis, its ends included
    values = boundary_rmse(e, 0 * e, grid)
    np.testing.assert_allclose(values, [2.5, 2.5], rtol=1e-12)  # 25 at one of four points
    assert boundary_rmse(e, 0 * e, grid, per="channel").shape == (2, 3, 1)
    line = Grid.box((5,), location="node")
    e = torch.tensor([[[3.0, 9.0, 9.0, 9.0, 4.0]]])
    assert boundary_rmse(e, 0 * e, line).item() == pytest.approx(math.sqrt(12.5))
    assert boundary_rmse(e, 0 * e, line).item() == boundary_rmse(e, 0 * e).item()
    with pytest.raises(ShapeError, match="periodic along x has no boundary"):
        boundary_rmse(e, 0 * e, Grid.box((5,), periodic=True))
    with pytest.raises(ShapeError, match=r"5,\) points do not lie on the grid of shape \(6,\)"):
        boundary_rmse(e, 0 * e, Grid.box((6,)))


def test_bins_relative_to_what_they_carry_of_the_target():
    y = torch.randn(2, 3, 8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(spectral_mse(1.1 * y, y, relative=True), np.full((2, 3), 0.01), rtol=1e-10)
    constant = torch.ones_like(y)  # carries nothing but its mean: there errors are absolute
    found = spectral_mse(constant + y, constant, relative=True)
    np.testing.assert_allclose(found[:, 1:], spectral_mse(y, 0 * y)[:, 1:], rtol=1e-10)


def test_wasserstein_equals_scipy():
    from scipy.stats import wasserstein_distance

    p, y = pair((2, 1, 40))
    for i in range(2):
        expected = wasserstein_distance(p[i, 0], y[i, 0]) / float(y[i, 0].square().mean().sqrt())
        assert wasserstein(p, y)[i].item() == pytest.approx(expected, rel=1e-12)
    assert wasserstein(y.flip(-1), y).tolist() == [0.0, 0.0]  # blind to place


# Grids.


def field(grid: Grid) -> torch.Tensor:
    x = torch.from_numpy(grid.coordinates())
    return (1.3 + torch.sin(2 * torch.pi * x[0]) * torch.cos(4 * torch.pi * x[-1]))[None, None]


@pytest.mark.parametrize("axes", [{"periodic": True}, {"location": "node"}, {"location": "cell"}])
def test_band_limited_field_has_one_error_on_all_grids(axes):
    """Trapezoid at nodes and midpoint are exact for trigonometric polynomials below the sampling limit."""
    errors = []
    for n in (12, 24):
        grid = Grid.box((n, n + 1 if axes.get("location") == "node" else n), **axes)
        y = field(grid)
        p = y + 0.1 * y.square()  # frequencies up to 8, products of two up to 16 < 2 * 12
        errors.append(relative_l2(p, y, weights=grid.weights()).item())
    assert errors[0] == pytest.approx(errors[1], rel=1e-12)


def test_relative_h1_is_spectral_on_periodic_axes():
    grid = Grid((Axis("x", 0.0, 3.0, 15, periodic=True), Axis("y", -1.0, 1.0, 12, "node", True)))
    x, y = torch.from_numpy(grid.coordinates())
    k, l = 2 * math.pi / 3, 2 * math.pi / 2
    e = torch.sin(2 * k * x) * torch.cos(3 * l * y)
    t = torch.cos(k * x) + 2.0
    expected = math.sqrt(0.25 * (1 + 4 * k**2 + 9 * l**2)) / math.sqrt(4.5 + 0.5 * k**2)
    found = relative_h1((t + e)[None, None], t[None, None], grid)
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("location", ["node", "cell"])
def test_relative_h1_is_one_sided_at_ends(location):
    """A quadratic has an exact derivative everywhere; a periodic stencil would see the jump 0 -> 4."""
    grid = Grid.box((11,), upper=2.0, location=location)
    x = torch.from_numpy(grid.coordinates())
    e, t = (x**2)[None], torch.ones(1, 1, 11, dtype=torch.float64)
    expected = torch.sqrt((x**4 + 4 * x**2).mean()).item()
    assert relative_h1(t + e, t, grid).item() == pytest.approx(expected, rel=1e-12)
    two = grid.with_shape((2,))
    line = torch.from_numpy(two.coordinates())[None]
    t = torch.ones_like(line)
    expected = torch.sqrt((line**2 + 1).mean()).item()
    assert relative_h1(t + line, t, two).item() == pytest.approx(expected, rel=1e-12)


def test_relative_h1_has_gradients():
    grid = Grid((Axis("x", 0.0, 1.0, 6, periodic=True), Axis("y", 0.0, 1.0, 5)))
    p, y = pair((2, 1, 6, 5))
    assert torch.autograd.gradcheck(lambda v: relative_h1(v, y, grid), p.requires_grad_())
    with pytest.raises(ShapeError, match="do not lie on the grid"):
        relative_h1(p, y, grid.with_shape((5, 6)))


# Refusals.


@pytest.mark.parametrize("metric", [*POINTWISE, *UNWEIGHTED], ids=lambda f: f.__name__)
def test_unequal_shapes_are_refused_and_nothing_is_broadcast(metric):
    with pytest.raises(ShapeError, match=r"got \(2, 1, 8\) and \(2, 3, 8\)\.$"):
        metric(torch.zeros(2, 1, 8), torch.zeros(2, 3, 8))
    with pytest.raises(ShapeError, match="Channels come second"):
        metric(torch.zeros(2, 8, 9, 3), torch.zeros(2, 3, 8, 9))


def test_other_misuse_is_refused():
    p, y = pair((2, 1, 8))
    with pytest.raises(ShapeError, match="weights must have the shape of space"):
        mse(p, y, weights=torch.ones(7))
    with pytest.raises(ShapeError, match="weights must have"):
        mse(p, y, weights=torch.ones(2, 1, 8))
    with pytest.raises(ShapeError, match="rank=3"):
        mse(p, y, rank=3)
    with pytest.raises(ShapeError, match="real values"):
        mse(p + 0j, y + 0j)
    with pytest.raises(ShapeError, match="axes of space"):
        boundary_rmse(p[..., 0], y[..., 0])
    with pytest.raises(ShapeError, match="axes of space"):
        fourier_rmse(p[..., 0], y[..., 0])
    with pytest.raises(ConfigError, match="at least 1"):
        relative_lp(p, y, p=0.5)
    with pytest.raises(ConfigError, match="'parseval' or 'pdebench'"):
        fourier_rmse(p, y, convention="other")
    with pytest.raises(ConfigError, match="'sample' or 'channel'"):
        mse(p, y, per="batch")


def test_every_public_metric_can_be_named_in_settings():
    from sciml.description import build, describe

    for name in metrics.__all__:
        function = getattr(metrics, name)
        assert build(describe(function)) is function


# Scores.


@pytest.mark.parametrize("metric", [*POINTWISE, max_error, boundary_rmse], ids=lambda f: f.__name__)
def test_one_batch_and_uneven_batches_give_the_same_bits(metric):
    p, y = pair((11, 2, 6, 5))
    whole = Scores(metric(p, y))
    parts = Scores()
    for start, stop in [(0, 4), (4, 8), (8, 11)]:
        parts.add(metric(p[start:stop], y[start:stop]))
    # Each sample is reduced by itself, so batches do not even change rounding in float64 sums of this size.
    np.testing.assert_allclose(parts.values, whole.values, rtol=1e-15)
    shuffled = Scores(whole.values[::-1])
    joined = Scores.join([Scores(whole.values[:1]), Scores(whole.values[1:])])
    assert whole.mean == shuffled.mean == joined.mean
    assert whole.interval() == joined.interval()


def test_statistics_of_scores():
    scores = Scores([1.0, 2.0, 4.0, 9.0])
    assert (scores.mean, scores.median, scores.worst, len(scores)) == (4.0, 3.0, 9.0, 4)
    assert scores.root_mean_square == pytest.approx(math.sqrt((1 + 4 + 16 + 81) / 4), rel=1e-15)
    assert scores.standard_error == pytest.approx(np.std([1, 2, 4, 9], ddof=1) / 2, rel=1e-15)
    assert repr(scores) == "Scores(4 ± 1.8 over 4 samples)"
    assert scores.summary()["samples"] == 4
    assert math.isnan(Scores([1.0]).standard_error)
    assert Scores([1.0, math.nan]).mean != Scores([1.0, math.nan]).mean  # NaN stays NaN


def test_further_axes_come_after_samples():
    values = np.arange(12.0).reshape(3, 2, 2) ** 2
    scores = Scores(values)
    assert scores.worst == values.max(0).mean()
    assert scores.root_mean_square == pytest.approx(np.sqrt((values**2).mean(0)).mean(), rel=1e-15)
    assert scores.mean == pytest.approx(values.mean(), rel=1e-15)
    assert scores.samples.shape == (3,)


def test_the_interval_of_scores_does_not_depend_on_their_order():
    values = np.random.default_rng(0).lognormal(size=50)
    low, high = Scores(values).interval()
    assert Scores(values[::-1]).interval() == (low, high)
    assert low < values.mean() < high
    assert all(map(math.isnan, Scores([1.0]).interval()))


def test_scores_refuse_what_does_not_fit():
    scores = Scores(torch.ones(2, 3))
    with pytest.raises(ShapeError, match=r"\('batch', 3\), got \(2, 4\)"):
        scores.add(np.ones((2, 4)))
    with pytest.raises(ShapeError, match="expected values"):
        Scores(1.0)
    with pytest.raises(ShapeError, match="no samples"):
        _ = Scores().mean
    buffer = np.ones(2)
    kept = Scores(buffer)
    buffer[:] = 5.0
    assert kept.mean == 1.0
