"""What holds on every machine, with or without Triton and a GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from sciml.kernels import spectral_conv
from sciml.kernels.triton import available, spectral_layer, usable

ROOT = Path(__file__).resolve().parents[3]


def test_the_package_imports_no_triton() -> None:
    code = "import sys, sciml.kernels.triton as t; t.available(); print('triton' in sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "False"


def test_on_a_processor_the_layer_is_the_plain_one() -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight, skip, bias = (
        torch.randn(*shape, dtype=torch.float64, generator=generator)
        for shape in ((2, 3, 9, 8), (4, 3, 3, 2, 2), (2, 3), (2,))
    )
    assert not usable(x.float(), weight.float()) or not available()
    k, s = spectral_conv(x, weight, (2, 3)), torch.einsum("oi,biyx->boyx", skip, x)
    y = spectral_layer(x, weight, (2, 3), skip, bias, activation="gelu")
    torch.testing.assert_close(y, functional.gelu(k + s + bias[:, None, None]), rtol=0, atol=1e-12)
    y = spectral_layer(functional.gelu(x), weight, (2, 3), skip)
    torch.testing.assert_close(
        y, spectral_layer(x, weight, (2, 3), skip, activation="gelu_first"), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"skip": torch.zeros(3, 2)}, r"skip must have shape \(c_out, c_in\) = \(2, 3\), got \(3, 2\)"),
        ({"bias": torch.zeros(3)}, r"bias must have shape \(c_out,\) = \(2,\), got \(3,\)"),
        ({"activation": "relu"}, "activation must be one of .*, got 'relu'"),
        ({"precision": "fp8"}, "precision must be one of .*, got 'fp8'"),
        ({"out_shape": (9, 9)}, "out_shape must be 1 positive grid sizes"),
        ({"skip": torch.zeros(2, 3), "out_shape": (9,)}, "with a skip path the result has the grid of x"),
        ({"modes": (4,)}, "weight must have shape"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: dict[str, object], message: str) -> None:
    given = {"modes": (3,), **arguments}
    with pytest.raises(ValueError, match=message):
        spectral_layer(torch.zeros(1, 3, 8), torch.zeros(3, 3, 2, 2), **given)  # type: ignore[arg-type]
