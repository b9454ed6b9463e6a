"""Polynomials with all coefficients: their Laplacian in closed form against derivatives one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.autograd.functional import hessian, jacobian
from torch.func import functional_call

from sciml.kernels import (
    FullPolynomial,
    Hutchinson,
    RadialProduct,
    SparseDirections,
    evaluate,
    laplacian,
)
from sciml.kernels.forms import LineForm

DIM = 3


def polynomial(degree: int, outputs: int = 1) -> FullPolynomial:
    """With coefficients that are neither zero nor symmetric."""
    found = FullPolynomial(DIM, outputs, degree).double()
    for k, p in enumerate(found.parameters()):
        nn.init.normal_(p, generator=torch.Generator().manual_seed(k))
    return found


def points(count: int = 5) -> Tensor:
    return torch.rand(count, DIM, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_laplacian_and_outward_slope_are_those_of_the_hessian(degree: int) -> None:
    p, x = polynomial(degree), points()
    value, outward, bent = p.derivatives(x)
    slope, second = (
        torch.stack([f(lambda z: p(z[None])[0, 0], point) for point in x]) for f in (jacobian, hessian)
    )
    torch.testing.assert_close(value, p(x)[:, 0])
    torch.testing.assert_close(outward, (x * slope).sum(1))
    torch.testing.assert_close(bent, second.diagonal(dim1=1, dim2=2).sum(1))
    assert (bent.abs().max() > 1e-3) == (degree > 1)


def test_values_are_those_of_the_tensors() -> None:
    """c_0 b + c_1 T_1[x] + c_2 T_2[x, x] + T_3[x, x, x] for two outputs, with c_k = d^((k - 3) / 4)."""
    p, x = polynomial(3, outputs=2), points()
    one, two, three = (w.reshape(*[DIM] * k, 2) for k, w in enumerate(p.weights, 1))
    wanted = DIM**-0.75 * p.bias + DIM**-0.5 * torch.einsum("ni,io->no", x, one)
    wanted = wanted + DIM**-0.25 * torch.einsum("ni,nj,ijo->no", x, x, two)
    wanted = wanted + torch.einsum("ni,nj,nk,ijko->no", x, x, x, three)
    torch.testing.assert_close(p(x), wanted)


@pytest.mark.parametrize("radii", [(), (1.0,), (0.5, 2.0)], ids=["alone", "ball", "shell"])
def test_the_closed_form_is_what_jets_find(radii: tuple[float, ...]) -> None:
    """Two Laplacians in one pass, alone and in products that vanish on spheres."""
    p, x = polynomial(4), points()
    u = RadialProduct(p, radii) if radii else p
    found = evaluate(u, x, [LineForm(2), LineForm(2)])
    wanted = evaluate(lambda z: u(z), x, [LineForm(2), LineForm(2)])  # no module: nothing is known of it
    for one, two in zip(found, wanted, strict=True):
        assert one.shape == (len(x),)
        torch.testing.assert_close(one, two)
    drawn = evaluate(u, x, [LineForm(2)], draws=2)[1]
    torch.testing.assert_close(drawn, wanted[1].expand(2, -1))


def test_the_closed_form_is_taken_where_it_holds_and_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    p, x = polynomial(3), points()
    exact = laplacian(p, x)
    taken = []
    usual = FullPolynomial.derivatives
    monkeypatch.setattr(FullPolynomial, "derivatives", lambda *given: (taken.append(1), usual(*given))[1])
    for u in (p, RadialProduct(p)):
        evaluate(u, x, [LineForm(2)])
    assert len(taken) == 2
    # An estimate is made where one is asked for: all coordinates, and random signs.
    torch.testing.assert_close(laplacian(p, x, estimator=SparseDirections(DIM)), exact)
    assert not torch.allclose(laplacian(p, x, estimator=Hutchinson(1), generator=0), exact)
    p.register_forward_hook(lambda *given: 2 * given[2])
    torch.testing.assert_close(laplacian(p, x), 2 * exact)
    assert len(taken) == 2
    with pytest.raises(ValueError, match="one value each"):
        laplacian(polynomial(2, outputs=2), x)


def test_gradients_of_the_closed_form() -> None:
    """By points and all weights, in float64."""
    p = polynomial(3)
    names = [name for name, _ in p.named_parameters()]
    u = RadialProduct(p)

    def derivatives(x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        class Called(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.p = p

            def forward(self, x: Tensor) -> tuple[Tensor, ...]:
                return (*p.derivatives(x), *evaluate(u, x, [LineForm(2)]))

        given = {f"p.{name}": weight for name, weight in zip(names, weights, strict=True)}
        found: tuple[Tensor, ...] = functional_call(Called(), given, (x,))
        return found

    weights = [w.detach().clone().requires_grad_() for w in p.parameters()]
    assert gradcheck(derivatives, (points(2).requires_grad_(), *weights))


def test_numbers_below_one_are_refused() -> None:
    for given in ((0, 1, 2), (2, 0, 2), (2, 1, 0)):
        with pytest.raises(ValueError, match=f"at least 1, got {given[0]}, {given[1]} and {given[2]}"):
            FullPolynomial(*given)
