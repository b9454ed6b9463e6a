"""Surrogate: tensors and labelled arrays in, the same out; refusals; saving, damage, loading; evaluation."""

import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from sciml import cards
from sciml.dataset import Field, open_dataset, write_dataset
from sciml.errors import CheckpointError, ConfigError, DataError, ShapeError
from sciml.grid import Axis, Grid
from sciml.metrics import relative_l2
from sciml.normalization import Normalization
from sciml.operators import FNO
from sciml.scores import Scores
from sciml.surrogate import Channel, Surrogate

GRID = Grid((Axis("x", 0.0, 2.0, 12), Axis("y", -1.0, 1.0, 8, location="node")))


class Affine(nn.Module):
    """A user's plain model: channels mixed at each point, plus a given field of the coordinates."""

    def __init__(self, into: int, out: int, slope: float = 0.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(out, into, generator=generator))
        self.drop = nn.Dropout(0.5)
        self.slope = slope

    def forward(self, x, coordinates):
        return self.drop(torch.einsum("oi,bi...->bo...", self.weight, x)) + self.slope * coordinates.sum(
            1, keepdim=True
        )


def make(model: nn.Module | None = None, **changes) -> Surrogate:
    settings = {
        "inputs": [Channel("a", "m"), Channel("f", "K", minimum=(-10.0,), maximum=(10.0,))],
        "outputs": [Channel("u", "Pa", "pressure")],
        "grid": GRID,
        "input_normalization": Normalization([1.0, 2.0], [2.0, 3.0]),
        "output_normalization": Normalization([100.0], [10.0]),
    }
    return Surrogate(model or Affine(2, 1, slope=1.0), **{**settings, **changes})


def labelled(grid: Grid = GRID, samples: int = 0, seed: int = 0, dtype=np.float64) -> xr.Dataset:
    random = np.random.default_rng(seed)
    dims = (("run",) if samples else ()) + grid.names
    shape = ((samples,) if samples else ()) + grid.shape
    return xr.Dataset(
        {
            "a": (dims, random.standard_normal(shape).astype(dtype), {"units": "m"}),
            "f": (dims, random.standard_normal(shape).astype(dtype), {"units": "K"}),
        },
        coords={axis.name: (axis.name, axis.coordinates, {"units": axis.units}) for axis in grid.axes},
    )


def as_tensor(data: xr.Dataset) -> torch.Tensor:
    arrays = [torch.from_numpy(data[name].values) for name in ("a", "f")]
    return torch.stack(arrays, dim=-3)


# Tensors.


def test_tensor_is_encoded_predicted_and_decoded():
    surrogate = make()
    x = torch.randn(5, 2, 12, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weight = surrogate.model.weight.double()[0]
    coordinates = torch.from_numpy(GRID.unit_coordinates()).sum(0)
    expected = weight[0] * (x[:, :1] - 1) / 2 + weight[1] * (x[:, 1:] - 2) / 3 + coordinates
    result = surrogate(x)
    assert result.dtype == torch.float64
    assert not result.requires_grad
    # The model computes in float32; its output times the scale 10.
    torch.testing.assert_close(result, 100 + 10 * expected.detach(), rtol=1e-6, atol=1e-4)
    assert surrogate(x.float()).dtype == torch.float32
    assert surrogate(x[:, :, ::2]).shape == (5, 1, 6, 8)  # another resolution


def test_mode_is_evaluation_inside_and_restored_outside():
    surrogate = make()
    surrogate.model.train()
    frozen = surrogate.model.drop.eval()  # one part was in evaluation mode already
    x = torch.randn(3, 2, 12, 8)
    assert torch.equal(surrogate(x), surrogate(x))  # no dropout
    assert surrogate.model.training
    assert not frozen.training


def test_mode_is_restored_after_an_error():
    surrogate = make(Affine(3, 1))  # does not take two channels
    surrogate.model.train()
    with pytest.raises(RuntimeError):
        surrogate(torch.randn(1, 2, 12, 8))
    assert surrogate.model.training


def test_pieces_give_the_same_as_the_whole():
    surrogate = make()
    x = torch.randn(7, 2, 12, 8, generator=torch.Generator().manual_seed(2))
    whole = surrogate(x)
    surrogate.batch_size = 3
    torch.testing.assert_close(surrogate(x), whole, rtol=1e-6, atol=1e-6)
    assert surrogate(x[:0]).shape == (0, 1, 12, 8)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(1, 12, 8, 2), "Channels come second"),
        (torch.zeros(1, 3, 12, 8), r"\(batch, 2, \*space\) with 2 axes of space \(x, y\)"),
        (torch.zeros(1, 2, 12), "2 axes of space"),
    ],
)
def test_wrong_shapes_are_refused(x, message):
    with pytest.raises(ShapeError, match=message):
        make()(x)


def test_bad_numbers_are_refused():
    x = torch.zeros(2, 2, 12, 8)
    x[1, 1, 3, 4] = torch.nan
    with pytest.raises(DataError, match=r"nan in sample 1, channel 1 \(f\), grid index \(3, 4\)"):
        make()(x)
    with pytest.raises(DataError, match="x.float"):
        make()(torch.zeros(1, 2, 12, 8, dtype=torch.int64))
    with pytest.raises(TypeError, match="torch.from_numpy"):
        make()(np.zeros((1, 2, 12, 8)))


def test_values_beyond_training_are_announced_once():
    x = torch.zeros(1, 2, 12, 8)
    x[0, 1, 0, 0] = 11.0
    with pytest.warns(UserWarning, match=r"f in \[0, 11\], trained on \[-10, 10\]") as caught:
        make()(x)
    assert len(caught) == 1
    assert "a in" not in str(caught[0].message)


def test_model_that_changes_the_shape_is_refused():
    with pytest.raises(ShapeError, match=r"was to give \(1, 1, 12, 8\)"):
        make(nn.Identity())(torch.zeros(1, 2, 12, 8))


def test_fields_must_match_the_normalization():
    with pytest.raises(ShapeError, match="got 1 and 2"):
        make(inputs=[Channel("a")])
    with pytest.raises(ShapeError, match="distinct names"):
        make(inputs=[Channel("a"), Channel("a")])


# Labelled arrays.


def test_labelled_equals_tensor_and_carries_names_units_and_origin():
    surrogate, data = make(), labelled(samples=3)
    data.attrs["history"] = "made by a solver"
    result = surrogate(data)
    expected = surrogate(as_tensor(data))
    np.testing.assert_array_equal(result["u"].values, expected[:, 0].numpy())
    assert result["u"].dims == ("run", "x", "y")
    assert result["u"].attrs == {"units": "Pa", "long_name": "pressure"}
    xr.testing.assert_identical(result["x"], data["x"])
    assert result.attrs["history"].startswith("made by a solver\npredicted by")
    assert result.attrs["sciml_surrogate"] == surrogate.digest
    assert surrogate.digest.startswith("sha256:")


def test_order_of_axes_is_read_from_their_names():
    surrogate, data = make(), labelled(samples=2)
    turned = data.transpose("y", "run", "x")
    result = surrogate(turned)
    assert result["u"].dims == ("y", "run", "x")
    xr.testing.assert_identical(result["u"].transpose("run", "x", "y"), surrogate(data)["u"])


def test_descending_coordinates_are_flipped_there_and_back():
    surrogate, data = make(), labelled()
    backwards = data.isel(y=slice(None, None, -1))
    result = surrogate(backwards)
    xr.testing.assert_identical(result["y"], backwards["y"])
    xr.testing.assert_identical(result.isel(y=slice(None, None, -1))["u"], surrogate(data)["u"])


def test_a_field_without_samples_joins_fields_with_samples():
    surrogate, data = make(), labelled(samples=3)
    shared = data.assign(a=data["a"].isel(run=0))
    repeated = data.assign(a=data["a"].isel(run=0).expand_dims(run=3))
    xr.testing.assert_identical(surrogate(shared)["u"], surrogate(repeated)["u"])


def test_other_resolutions_of_the_domain_are_taken():
    fine = GRID.with_shape((30, 17))
    assert make()(labelled(fine))["u"].shape == (30, 17)


def test_float32_coordinates_and_values_are_taken():
    data = labelled(dtype=np.float32).assign_coords(x=GRID.axes[0].coordinates.astype(np.float32))
    assert make()(data)["u"].dtype == np.float32
    big = data.astype(">f4")
    np.testing.assert_array_equal(make()(big)["u"], make()(data)["u"])


def test_single_input_comes_as_a_data_array():
    surrogate = make(
        Affine(1, 1), inputs=[Channel("a", "m")], input_normalization=Normalization([0.0], [1.0])
    )
    array = labelled()["a"]
    expected = surrogate(array.to_dataset())
    xr.testing.assert_identical(surrogate(array)["u"], expected["u"])
    xr.testing.assert_identical(surrogate(array.rename(None))["u"], expected["u"])
    with pytest.raises(KeyError, match=r"rename\('a'\)"):
        surrogate(array.rename("b"))
    with pytest.raises(KeyError, match="needs several inputs"):
        make()(array)


def test_vector_fields_have_a_dimension_component():
    velocity = Channel("v", "m/s", components=2)
    surrogate = make(
        Affine(2, 2),
        inputs=[velocity],
        outputs=[Channel("w", components=2)],
        output_normalization=Normalization.identity(2),
    )
    values = np.random.default_rng(3).standard_normal((4, 12, 8, 2))
    data = xr.Dataset({"v": (("run", "x", "y", "component"), values)}, coords=labelled().coords)
    result = surrogate(data)["w"]
    assert result.dims == ("run", "x", "y", "component")
    expected = surrogate(torch.from_numpy(values).movedim(-1, 1))
    np.testing.assert_array_equal(result.values, expected.movedim(1, -1).numpy())
    with pytest.raises(ShapeError, match="'component' of length 2"):
        surrogate(data.rename(component="side"))


def test_missing_variable_gets_the_nearest_name():
    with pytest.raises(KeyError, match="no variable 'f'; it has 'a', 'ff'. Did you mean 'ff'?"):
        make()(labelled().rename(f="ff"))


def test_other_units_are_refused():
    data = labelled()
    data["f"].attrs["units"] = "degC"
    with pytest.raises(DataError, match="'f' is in 'degC', but training used 'K'"):
        make()(data)
    del data["f"].attrs["units"]
    make()(data)  # nothing is claimed, so nothing is contradicted
    data["x"].attrs["units"] = "km"
    with pytest.raises(DataError, match="coordinate 'x' is in 'km'"):
        make()(data)


def changed(**coordinates) -> xr.Dataset:
    return labelled().assign_coords(coordinates)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed(x=2 * GRID.axes[0].coordinates), r"runs from 0.166667 to 3.83333 .* trained on \[0, 2\]"),
        (changed(x=np.linspace(0, 2, 12)), "nodes with both ends, those of training cell centers"),
        (changed(y=np.linspace(-1, 1, 8, endpoint=False)), "without the right end .* with both ends"),
        (changed(y=np.linspace(-1, 1, 8) ** 3), "trained domain"),
        (changed(y=-1 + (np.arange(8) + 0.5) / 4), "cell centers, those of training nodes with both ends"),
        (labelled().drop_vars("x"), "coordinate 'x' has no values"),
        (labelled().expand_dims(time=2, run=2), "at most one more, for samples"),
        (labelled().rename(x="lon"), "must have the dimensions x, y"),
    ],
)
def test_other_domains_are_refused_with_numbers(data, message):
    with pytest.raises(ShapeError, match=message):
        make()(data)


def test_swapped_axes_are_found_by_their_coordinates():
    swapped = labelled().rename(x="y", y="x")
    with pytest.raises(ShapeError, match="points of the axis 'y': are the axes swapped"):
        make()(swapped)


def test_periodic_axis_refuses_the_repeated_end():
    grid = Grid.box((8,), location="node", periodic=True)
    surrogate = make(
        Affine(1, 1), grid=grid, inputs=[Channel("a")], input_normalization=Normalization.identity(1)
    )
    array = xr.DataArray(np.zeros(9), dims="x", coords={"x": np.linspace(0, 1, 9)}, name="a")
    with pytest.raises(
        ShapeError, match="nodes with both ends, those of training nodes without the right end"
    ):
        surrogate(array)
    assert surrogate(array[:-1])["u"].shape == (8,)


def test_not_a_number_is_found_with_its_place():
    data = labelled(samples=2).transpose("y", "x", "run")
    data["f"].values[3, 7, 1] = np.inf
    with pytest.raises(DataError, match="'f' is inf at index run=1, x=7, y=3"):
        make()(data)
    with pytest.raises(DataError, match="real numbers, got complex128"):
        make()(labelled().assign(f=labelled()["f"] * 1j))


# Files.


def fno(seed: int = 0) -> FNO:
    torch.manual_seed(seed)
    return FNO(rank=2, in_channels=2, out_channels=1, modes=3, width=6, coordinates=True)


def test_saved_equals_loaded_to_the_last_bit(tmp_path):
    surrogate = make(fno())
    folder = surrogate.save(tmp_path / "darcy.sciml")
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "weights.safetensors"]
    state = torch.get_rng_state()
    loaded = Surrogate.load(folder)
    assert torch.equal(torch.get_rng_state(), state)
    assert loaded.inputs == surrogate.inputs and loaded.outputs == surrogate.outputs
    assert loaded.grid == GRID and loaded.digest == surrogate.digest
    x = torch.randn(2, 2, 12, 8, generator=torch.Generator().manual_seed(4))
    assert torch.equal(loaded(x), surrogate(x))
    again = loaded.save(tmp_path / "again")
    for name in ("card.json", "weights.safetensors"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_card_is_plain_json_that_names_everything(tmp_path):
    card = json.loads((make(fno()).save(tmp_path / "s") / "card.json").read_text())
    assert card["model"]["class"] == "sciml.operators.fno.FNO"
    assert card["inputs"][0] == {
        "name": "a", "units": "m", "long_name": "", "components": 1, "minimum": None, "maximum": None
    }  # fmt: skip
    assert card["dtype"] == "float32" and card["version"] == 1


def test_double_precision_is_kept(tmp_path):
    surrogate = make(fno().double())
    loaded = Surrogate.load(surrogate.save(tmp_path / "s"))
    assert loaded.dtype == torch.float64
    x = torch.randn(1, 2, 12, 8, dtype=torch.float64)
    assert torch.equal(loaded(x), surrogate(x))


def test_a_model_of_ones_own_is_handed_to_load(tmp_path):
    surrogate = make(Affine(2, 1, slope=1.0))
    with torch.no_grad():
        surrogate.model.weight.mul_(2.0)
    folder = surrogate.save(tmp_path / "s")
    with pytest.raises(CheckpointError, match="model=mine"):
        Surrogate.load(folder)
    loaded = Surrogate.load(folder, model=Affine(2, 1, slope=1.0))
    x = torch.randn(1, 2, 12, 8)
    assert torch.equal(loaded(x), surrogate(x))
    with pytest.raises(CheckpointError, match=r"'weight' has shape \(1, 2\) in the file and \(1, 3\)"):
        Surrogate.load(folder, model=Affine(3, 1))
    # Equal weights, other code: only the stored answers tell.
    with pytest.raises(CheckpointError, match="answers otherwise"):
        Surrogate.load(folder, model=Affine(2, 1, slope=2.0))


@pytest.mark.parametrize("name", ["card.json", "weights.safetensors"])
def test_every_flipped_bit_is_noticed(tmp_path, name):
    folder = make(fno()).save(tmp_path / "s")
    path = folder / name
    good = path.read_bytes()
    random = np.random.default_rng(5)
    for position in random.integers(len(good), size=60):
        bad = bytearray(good)
        bad[position] ^= 1 << int(random.integers(8))
        path.write_bytes(bytes(bad))
        # White space of the card is not content: there JSON reads the same, or not at all.
        try:
            loaded = Surrogate.load(folder)
        except CheckpointError:
            continue
        assert name == "card.json" and loaded.inputs[0] == Channel("a", "m")
        assert json.loads(bytes(bad)) == json.loads(good)


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no saved surrogate"):
        Surrogate.load(tmp_path)
    folder = make(fno()).save(tmp_path / "s")
    for text, message in [("{", "not valid JSON"), ("[" * 10**5, "not valid JSON"), ("{}", "not the card")]:
        (folder / "card.json").write_text(text)
        with pytest.raises(CheckpointError, match=message):
            Surrogate.load(folder)
    make(fno()).save(folder)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        Surrogate.load(folder)
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "version": 99}))
    with pytest.raises(CheckpointError, match="version 99"):
        Surrogate.load(folder)


def test_saving_replaces_a_surrogate_and_nothing_else(tmp_path):
    folder = make(fno(0)).save(tmp_path / "s")
    other = make(fno(1))
    other.save(folder)
    assert Surrogate.load(folder).digest == other.digest
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"notes\.txt"):
        other.save(folder)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s"]  # no temporary folder stays


def test_answers_of_large_grids_are_taken_on_a_smaller_one(monkeypatch):
    monkeypatch.setattr(cards, "_CHECK_POINTS", 10)
    surrogate = make(fno(), grid=GRID.with_shape((100, 8)))
    assert cards.answers(surrogate)["shape"] == [64, 8]
    assert len(cards.answers(surrogate)["values"]) <= 256


def resigned(folder: Path, **changes) -> None:
    """Change the card as an attacker would: with the right hash."""
    card = {**json.loads((folder / "card.json").read_text()), **changes}
    content = {key: value for key, value in card.items() if key != "card_sha256" and value is not None}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (folder / "card.json").write_text(json.dumps({**content, "card_sha256": digest}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "load"}, "incomplete"),
        ({"grid": {"axes": [{"name": "x"}]}}, "incomplete"),
        ({"inputs": None}, "incomplete"),
        ({"weights_sha256": None}, "belongs to another card"),
        ({"inputs": [{"name": "a", "danger": 1}]}, "incomplete"),
        ({"answers": {"shape": [10**6, 10**6], "values": [0.0]}}, "asks for answers"),
        ({"answers": {"shape": [12, 8], "values": [0.0]}}, "answers otherwise"),
        ({"model": {"name": "os.system"}}, "may not be made from a file"),
        ({"model": {"class": "torch.nn.ReLU", "arguments": {}}}, "does not fit ReLU"),
        ({"model": {"class": "torch.optim.Adam", "arguments": None}}, "cannot be made from a file"),
    ],
)
def test_a_forged_card_is_refused_by_name(tmp_path, changes, message):
    folder = make(fno()).save(tmp_path / "s")
    resigned(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        Surrogate.load(folder)


def test_a_card_cannot_ask_for_a_model_larger_than_its_weights(tmp_path):
    folder = make(fno()).save(tmp_path / "s")
    card = json.loads((folder / "card.json").read_text())
    card["model"]["arguments"]["width"] = 200_000  # 12 TB of spectral weights
    resigned(folder, model=card["model"])
    with pytest.raises(CheckpointError, match="does not fit FNO"):
        Surrogate.load(folder)


def test_a_model_without_finite_answers_is_not_saved(tmp_path):
    model = fno()
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(ConfigError, match="NaN or infinity"):
        make(model).save(tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


# Evaluation.


@pytest.fixture
def dataset(tmp_path):
    random = np.random.default_rng(6)
    split = np.array([0] * 4 + [2] * 5)
    values = {name: random.standard_normal((9, *GRID.shape)) for name in ("a", "f", "u")}
    values["u"] = 100 + 10 * values["u"]
    fields = [Field("a", "input", "m"), Field("f", "input", "K"), Field("u", "output", "Pa", "pressure")]
    return write_dataset(
        tmp_path / "d.h5", grid=GRID, fields=[(f, values[f.name]) for f in fields], split=split
    )


def test_evaluation_is_that_of_the_metrics_in_physical_units(dataset):
    surrogate, test = make(), open_dataset(dataset.path).test
    scores = surrogate.evaluate(test, batch_size=2)  # 2 + 2 + 1
    assert sorted(scores) == ["max_error", "nrmse", "relative_l2", "rmse", "vrmse"]
    x = test.tensor(["a", "f"], None, dtype=torch.float64)
    y = test.tensor(["u"], None, dtype=torch.float64)
    expected = Scores(relative_l2(surrogate.predict(x), y))
    # float32 inside the model: batches of other sizes may round otherwise.
    np.testing.assert_allclose(scores["relative_l2"].values, expected.values, rtol=1e-6)
    assert surrogate.evaluate(test, batch_size=5)["relative_l2"].mean == pytest.approx(
        scores["relative_l2"].mean, rel=1e-6
    )


def test_evaluation_refuses_another_domain_and_units(dataset):
    other = Grid((Axis("x", 0.0, 3.0, 12), GRID.axes[1]))
    with pytest.raises(ConfigError, match="axis 'x'"):
        make(grid=other).evaluate(dataset.test)
    with pytest.raises(DataError, match="'u' in 'Pa', but training used 'bar'"):
        make(outputs=[Channel("u", "bar")]).evaluate(dataset.test)


def test_evaluation_names_zero_targets(tmp_path):
    grid = Grid.box((8,))
    u = np.ones((3, 8))
    u[1] = 0.0
    data = write_dataset(
        tmp_path / "z.h5",
        grid=grid,
        fields=[(Field("a", "input"), np.ones((3, 8))), (Field("u", "output"), u)],
        split=np.array([0, 0, 0]),
    )
    surrogate = make(
        Affine(1, 1),
        grid=grid,
        inputs=[Channel("a")],
        outputs=[Channel("u")],
        input_normalization=Normalization.identity(1),
        output_normalization=Normalization.identity(1),
    )
    with pytest.warns(UserWarning, match=r"0 in 1 of 3 samples \(first: 1\)"):
        scores = surrogate.evaluate(data)
    assert np.isfinite(scores["relative_l2"].values).all()


def test_channels_know_their_range_in_training(dataset):
    channel = Channel.from_dataset(dataset, "u")
    assert (channel.name, channel.units, channel.long_name) == ("u", "Pa", "pressure")
    train = dataset.train.load("u")
    assert channel.minimum == (train.min(),) and channel.maximum == (train.max(),)
    with pytest.raises(KeyError, match="Did you mean 'u'"):
        Channel.from_dataset(dataset, "uu")


# Linear operators.


def test_linear_operator_and_its_adjoint():
    model = Affine(1, 1, slope=1.0)
    with pytest.raises(ConfigError, match="does not declare itself linear"):
        one_field(model).linear_operator()
    model.properties = type("Properties", (), {"linear": True})
    surrogate = one_field(model)
    operator = surrogate.linear_operator((6, 4))
    random = np.random.default_rng(7)
    x, y = random.standard_normal((2, 24))
    assert operator.shape == (24, 24)
    # float32 inside: seven digits of values near 10 (offset 100 cancels).
    np.testing.assert_allclose(y @ operator.matvec(x), operator.rmatvec(y) @ x, rtol=1e-4, atol=1e-3)
    zero = torch.zeros(1, 1, 6, 4, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        full = surrogate(torch.from_numpy(x).reshape(1, 1, 6, 4)) - surrogate(zero)
    np.testing.assert_allclose(operator.matvec(x), full.numpy().ravel(), rtol=1e-12)


def one_field(model: nn.Module) -> Surrogate:
    return make(model, inputs=[Channel("a")], input_normalization=Normalization([1.0], [2.0]))
