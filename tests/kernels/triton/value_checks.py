"""Values and gradients, on grids and with settings of every kind."""

import torch
from layer_case import EXACT, ROUNDED, Case, close

from sciml.kernels.triton import blocks

SLOW = {
    "a_highest_frequency_apart",
    "channels_and_batches_beyond_one_block",
    "fields_with_other_strides",
    "four_axes",
    "large_planes",
    "more_modes",
}


def one_axis() -> None:
    Case((33,), (5,), c_in=17, skip=True, bias=True, activation="gelu").compare()
    Case((8,), (2,), batch=1, c_in=1, c_out=1).compare()


def one_axis_onto_another_grid() -> None:
    Case((12,), (7,), batch=1, out_shape=(21,), bias=True).compare()
    Case((21,), (9,), batch=1, out_shape=(12,)).compare()


def two_axes_with_everything() -> None:
    Case((18, 17), (2, 2), batch=1, c_in=2, skip=True, bias=True, activation="gelu").compare()


def two_axes_without_a_skip_path() -> None:
    Case((18, 17), (2, 2), batch=1, c_in=2, bias=True, activation="gelu").compare()


def an_activation_at_the_entrance() -> None:
    Case((9, 8), (1, 2), batch=1, skip=True, bias=True, activation="gelu_first").compare()
    Case((9, 8), (1, 2), batch=1, c_out=1, activation="gelu_first", out_shape=(8, 10)).compare()
    Case((9,), (3,), batch=1, skip=True, activation="gelu_first").compare()


def a_highest_frequency_apart() -> None:
    """Eight modes on the full axis have the frequency -8 behind a full block of eight."""
    Case((20, 9), (8, 1), batch=1, c_in=1, c_out=1, out_shape=(17, 12)).compare()
    Case((16, 9), (8, 1), batch=1, c_in=1, c_out=1, skip=True).compare()


def a_grid_too_coarse_for_the_modes() -> None:
    Case((4, 3), (3, 4), batch=1, skip=True).compare()
    Case((8, 8), (6, 5), batch=1, c_in=1, out_shape=(3, 4)).compare()
    Case((1, 3), (2, 2), batch=1).compare()


def three_axes() -> None:
    Case((3, 5, 6), (1, 1, 3), batch=1, c_in=1, skip=True, activation="gelu").compare()
    Case((3, 5, 6), (1, 2, 1), batch=1, c_in=1, c_out=1, out_shape=(3, 6, 5)).compare()


def four_axes() -> None:
    Case((3, 4, 3, 5), (1, 2, 1, 2), batch=1, c_in=2, skip=True, bias=True).compare()


def axes_one_by_one_where_a_plane_has_too_many_modes() -> None:
    largest, blocks.LARGEST_PLANE = blocks.LARGEST_PLANE, 0
    try:
        Case((9, 10), (2, 2), batch=1, skip=True, activation="gelu").compare()
        Case((9, 10), (2, 2), batch=1, c_in=1, out_shape=(7, 8)).compare()
    finally:
        blocks.LARGEST_PLANE = largest


def channels_and_batches_beyond_one_block() -> None:
    Case((6,), (1,), batch=35, c_in=19, c_out=9, skip=True).compare()


def more_modes() -> None:
    Case((18, 21), (4, 5), skip=True, bias=True, activation="gelu").compare()
    Case((20, 17), (8, 3), out_shape=(18, 33)).compare()
    Case((4, 9, 10), (2, 3, 4), skip=True, activation="gelu_first").compare()


def large_planes() -> None:
    Case((50, 37), (9, 17), batch=2, c_in=5, c_out=18, skip=True, bias=True, activation="gelu").compare()
    Case((64, 64), (16, 16), c_in=3, c_out=3, out_shape=(32, 48)).compare()


def fields_with_other_strides() -> None:
    case = Case((6, 7), (1, 2), c_in=2, c_out=1, skip=True)
    for x in (
        case.x.detach().movedim(1, -1).contiguous().movedim(-1, 1),
        case.x.detach()[:, :, ::2, 1:],
        case.x.detach()[:1].expand(3, -1, -1, -1),
    ):
        x.requires_grad_()
        y, expected = case.layer(x), case.reference(x)
        close(y, expected, EXACT)
        # sum() hands back a gradient with strides of zero
        of_x, wanted = (torch.autograd.grad(value.sum(), x)[0] for value in (y, expected))
        close(of_x, wanted, EXACT)


def lower_precision() -> None:
    for precision in ("tf32", "bf16"):
        tolerance = ROUNDED if precision == "bf16" else EXACT
        Case(
            (9, 10), (1, 2), batch=1, skip=True, bias=True, precision=precision, tolerance=tolerance
        ).compare()


def fields_in_bfloat16() -> None:
    """Samples are widened when read and rounded when written; modes and sums are float32."""
    case = Case((9, 10), (1, 2), batch=1, skip=True, bias=True, activation="gelu")
    x = case.x.detach().to(torch.bfloat16).requires_grad_()
    y, expected = case.layer(x), case.reference(x.detach().float())
    assert y.dtype == torch.bfloat16
    close(y, expected, 2.0**-8)  # one rounding to 8 bits
    of_x, of_weight = torch.autograd.grad(y.float().square().sum(), [x, case.weight])
    assert (of_x.dtype, of_weight.dtype) == (torch.bfloat16, torch.float32)


def half_precision_of_others_changes_nothing() -> None:
    """Under autocast float32 fields stay float32 in the kernels; weights may be stored in bfloat16."""
    case = Case((3, 5, 6), (1, 1, 2), batch=1, c_in=1, c_out=1)
    expected = case.reference()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close(case.layer(), expected, EXACT)
    case.weight = case.weight.detach().to(torch.bfloat16).requires_grad_()
    close(case.layer(), case.reference(), EXACT)
    (of_weight,) = torch.autograd.grad(case.layer().square().sum(), case.weight)
    assert of_weight.dtype == torch.bfloat16
