"""Normalization: exact statistics, round trips, degenerate channels, refusals."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sciml.errors import DataError, ShapeError
from sciml.normalization import Normalization


def fields(seed: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
@pytest.mark.parametrize("space", [(), (7,), (5, 4), (3, 4, 2)])
def test_decode_inverts_encode_at_every_rank(dtype, tolerance, space):
    x = 5.0 + 3.0 * fields(0, (6, 2, *space), dtype)
    normalization = Normalization.fit(x)
    encoded = normalization.encode(x)
    assert encoded.dtype == dtype
    # A few roundings of values near 10, so about 10 eps.
    torch.testing.assert_close(normalization.decode(encoded), x, rtol=tolerance, atol=tolerance)


def test_statistics_equal_those_of_numpy_and_encode_to_zero_and_one():
    x = fields(1, (5, 3, 8, 4)) * torch.tensor([1.0, 10.0, 1e-3]).reshape(3, 1, 1) + 2.0
    normalization = Normalization.fit(x)
    flat = np.moveaxis(x.numpy(), 1, 0).reshape(3, -1)
    np.testing.assert_allclose(normalization.mean, flat.mean(1), rtol=1e-14)
    np.testing.assert_allclose(normalization.scale, flat.std(1), rtol=1e-13)
    encoded = normalization.encode(x).movedim(1, 0).flatten(1)
    torch.testing.assert_close(encoded.mean(1), torch.zeros(3, dtype=x.dtype), atol=1e-11, rtol=0)
    torch.testing.assert_close(encoded.std(1, correction=0), torch.ones(3, dtype=x.dtype))


def test_another_resolution_uses_the_same_numbers():
    normalization = Normalization.fit(fields(2, (4, 2, 16, 16)))
    fine = fields(3, (1, 2, 64, 64))
    torch.testing.assert_close(
        normalization.encode(fine)[..., ::4, ::4], normalization.encode(fine[..., ::4, ::4]), rtol=0, atol=0
    )


def test_variance_survives_a_huge_offset():
    # N6: a pressure of 1e5 with a signal of 1e-2, exact in float64; in float32 the spacing at 1e5 is 1/128.
    signal = torch.randint(-4, 5, (50, 1, 40), generator=torch.Generator().manual_seed(4)) / 128
    x = (1e5 + signal).float()
    normalization = Normalization.fit(x)
    exact = signal.double().std(correction=0)
    assert abs(normalization.scale.item() / exact.item() - 1) < 1e-6
    encoded = normalization.encode(x)
    expected = (signal.double() - signal.double().mean()) / exact
    # The mean needs more digits than float32 has; as one float32 it would shift everything by up to 0.2.
    torch.testing.assert_close(encoded.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(normalization.decode(encoded), x, rtol=1e-7, atol=0)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e5])
def test_a_constant_channel_has_scale_one(value):
    x = torch.cat([torch.full((3, 1, 101), value), fields(5, (3, 1, 101), torch.float32)], dim=1)
    normalization = Normalization.fit(x)
    assert normalization.scale[0] == 1.0
    # The float64 sum of 303 equal numbers rounds; nothing else does.
    torch.testing.assert_close(normalization.encode(x)[:, 0], torch.zeros(3, 101), rtol=0, atol=1e-13 * value)
    assert Normalization.fit(torch.full((1, 1), 3.0)).scale.item() == 1.0  # one value in all


def test_statistics_of_fields_become_channels_in_order():
    def statistics(mean, std, low, high):
        arrays = (np.array(v, dtype=float) for v in (mean, std, low, high))
        return SimpleNamespace(**dict(zip(("mean", "std", "min", "max"), arrays, strict=True)))

    a = statistics([1.0], [2.0], [0.0], [5.0])
    b = statistics([3.0, 0.1], [4.0, 1e-17], [0.0, 0.1], [5.0, 0.1])  # the second component is constant
    normalization = Normalization.from_statistics([a, b])
    assert normalization.mean.tolist() == [1.0, 3.0, 0.1]
    assert normalization.scale.tolist() == [2.0, 4.0, 1.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_statistics_that_are_not_finite_are_refused(bad):
    with pytest.raises(DataError, match="mean of channel 1"):
        Normalization([0.0, bad], [1.0, 1.0])
    with pytest.raises(DataError, match="scale of channel 0"):
        Normalization([0.0, 0.0], [bad, 1.0])
    x = fields(6, (3, 2, 4))
    x[2, 1, 3] = bad
    with pytest.raises(DataError, match=r"sample 2, channel 1, grid index \(3,\)"):
        Normalization.fit(x)


def test_scales_that_float32_cannot_hold_are_refused():
    with pytest.raises(DataError, match="Choose other units"):
        Normalization([0.0], [1e-50])
    with pytest.raises(DataError, match="Choose other units"):
        Normalization([1e60], [1.0])
    with pytest.raises(DataError, match="must be positive"):
        Normalization([0.0], [-1.0])


def test_wrong_shapes_are_refused_in_a_sentence():
    normalization = Normalization.identity(3)
    with pytest.raises(
        ShapeError, match=r"3 channels on axis 1, got shape \(2, 8, 8, 3\)\. Channels come second"
    ):
        normalization.encode(torch.zeros(2, 8, 8, 3))
    with pytest.raises(ShapeError, match="3 channels"):
        normalization.decode(torch.zeros(4))
    with pytest.raises(ShapeError, match="two vectors"):
        Normalization([0.0, 1.0], [1.0])
    with pytest.raises(DataError, match="needs values"):
        Normalization.fit(torch.zeros(0, 2, 4))


def test_json_and_state_dict_keep_every_bit():
    normalization = Normalization.fit(fields(7, (3, 2, 5)) / 3)
    copy = Normalization.from_dict(json.loads(json.dumps(normalization.to_dict())))
    assert torch.equal(copy.mean, normalization.mean)
    assert torch.equal(copy.scale, normalization.scale)
    other = Normalization.identity(2)
    other.load_state_dict(normalization.state_dict())
    assert torch.equal(other.mean, normalization.mean)


def test_it_is_not_trained_but_passes_gradients():
    normalization = Normalization([1.0], [4.0])
    assert list(normalization.parameters()) == []
    x = torch.zeros(1, 1, 2, requires_grad=True)
    normalization.encode(x).sum().backward()
    assert x.grad.tolist() == [[[0.25, 0.25]]]


def test_half_precision_is_decoded_in_float32():
    assert (
        Normalization([1e5], [1.0]).decode(torch.zeros(1, 1, 1, dtype=torch.bfloat16)).dtype == torch.float32
    )


def test_trajectories_have_their_channels_on_axis_two():
    normalization = Normalization([0.0, 1.0], [1.0, 2.0])
    x = fields(8, (3, 4, 2, 5))
    torch.testing.assert_close(
        normalization.encode(x, axis=2).flatten(0, 1), normalization.encode(x.flatten(0, 1)), rtol=0, atol=0
    )
