"""GNOT: attention as the quadratic form that it is, gates, input functions, queries; its size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.errors import ConfigError, ShapeError
from sciml.mesh import PointSet
from sciml.operators.attention import normalized_attention
from sciml.operators.gnot import GNOT, Gated, _Attention, _Block, _Experts, published

EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 1e-13}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def attention(sources: int, heads: int = 2, width: int = 6) -> _Attention:
    torch.manual_seed(0)
    return _Attention(width, sources, heads).double()


def test_linear_attention_is_the_quadratic_form() -> None:
    """Every pair of points, as nobody would compute it."""
    q, k = (random(2, 3, n, 4, seed=n).softmax(-1) for n in (5, 7))
    v, mask = random(2, 3, 7, 4, seed=3), torch.arange(7) < torch.tensor([[7], [4]])
    fits = torch.einsum("bhti,bhsi->bhts", q, k) * mask[:, None, None]
    explicit = (fits / fits.sum(dim=-1, keepdim=True)) @ v
    torch.testing.assert_close(normalized_attention(q, k, v, mask), explicit, **EXACT)


def test_the_attention_of_the_paper_pair_by_pair() -> None:
    """q_t + (1/m) Σ_i Σ_s (q_t · k_is) v_is / Σ_s (q_t · k_is) for each head."""
    layer, z = attention(sources=2), random(1, 4, 6)
    sources = [random(1, 5, 6, seed=1), random(1, 3, 6, seed=2)]
    query, heads = layer.query(z)[0], []
    for head in (slice(0, 3), slice(3, 6)):
        q = query[:, head].softmax(-1)
        rows = []
        for t in range(4):
            found = q[t].clone()
            for inward, y in zip(layer.inward, sources, strict=True):
                key, value = inward(y)[0].chunk(2, dim=-1)
                fits = torch.stack([q[t] @ key[s, head].softmax(-1) for s in range(y.shape[1])])
                found = found + (fits / fits.sum()) @ value[:, head] / 2
            rows.append(found)
        heads.append(torch.stack(rows))
    expected = layer.outward(torch.cat(heads, dim=-1))[None]
    torch.testing.assert_close(layer(z, [(y, None) for y in sources]), expected, **EXACT)


def test_equal_keys_give_the_mean_over_the_points() -> None:
    q, v = random(1, 1, 5, 4).softmax(-1), random(1, 1, 7, 4)
    even = torch.full((1, 1, 7, 4), 0.25, dtype=torch.float64)
    found = normalized_attention(q, even, v)
    torch.testing.assert_close(found, v.mean(dim=2, keepdim=True).expand(-1, -1, 5, -1), **EXACT)


def test_a_function_without_points_adds_nothing_and_has_no_slope() -> None:
    q, k = random(1, 1, 5, 4).softmax(-1), random(1, 1, 3, 4, seed=1).softmax(-1).requires_grad_()
    v = random(1, 1, 3, 4, seed=2).requires_grad_()
    found = normalized_attention(q, k, v, torch.zeros(1, 3, dtype=torch.bool))
    assert found.eq(0).all()
    assert all(slope.eq(0).all() for slope in torch.autograd.grad(found.sum(), (k, v)))


def test_another_function_of_value_zero_changes_the_mean_only() -> None:
    """With one input A = q + M; with a second one, whose values are 0, A = q + M / 2."""
    both, z = attention(sources=2), random(1, 4, 6)
    first, second = random(1, 5, 6, seed=1), random(1, 3, 6, seed=2)
    with torch.no_grad():
        both.inward[1].weight[6:], both.inward[1].bias[6:] = 0.0, 0.0
    one = attention(sources=1)
    one.load_state_dict({n: t for n, t in both.state_dict().items() if not n.startswith("inward.1")})
    alone = one(z, [(first, None)])
    of_queries = both(
        z, [(first, torch.zeros(1, 5, dtype=torch.bool)), (second, None)]
    )  # M of no points is 0
    expected = (alone + of_queries) / 2
    torch.testing.assert_close(both(z, [(first, None), (second, None)]), expected, **EXACT)


def test_one_expert_is_a_network_normalized_behind() -> None:
    torch.manual_seed(0)
    experts, z = _Experts(6, Gated(experts=1)).double(), random(2, 5, 6)
    (network,) = experts.experts
    torch.testing.assert_close(experts(z, None), nn.LayerNorm(6).double()(network(z)), **EXACT)
    assert _Block(6, 2, 1, Gated(experts=1)).gate is None


def test_a_gate_that_is_one_on_a_half_plane_parts_the_domain() -> None:
    """Left of x = 1/2 the first expert alone, right of it the second."""
    torch.manual_seed(0)
    block, layers = _Block(6, 2, 1, Gated(experts=2)).double(), Gated(experts=2)
    gate, places = block.gate, torch.rand(1, 40, 2, dtype=torch.float64)
    assert gate is not None
    with torch.no_grad():
        for parameter in gate.parameters():
            parameter.zero_()
        # GELU(1e6 (x - 1/2)) is 0 left of 1/2 and large right of it, but for 1e-5 around it.
        gate.entrance.weight[0, 0], gate.entrance.bias[0] = 1e6, -5e5
        gate.exit.weight[1, 0], gate.exit.bias[0] = 1e3, 1e3
    shares = gate(places).softmax(dim=-1)
    right = places[..., :1] > 0.5
    torch.testing.assert_close(shares, torch.cat((~right, right), dim=-1).double(), **EXACT)
    experts, z = _Experts(6, layers).double(), random(1, 40, 6)
    first, second = experts.experts
    expected = experts.norm(torch.where(right, second(z), first(z)))
    torch.testing.assert_close(experts(z, shares), expected, **EXACT)


def located(**settings: Any) -> GNOT:
    torch.manual_seed(0)
    layers = Gated(depth=2, heads=2, experts=2, encoder=1)
    return GNOT(2, 1, 2, width=8, layers=layers, **settings).double()


def test_queries_at_the_points_are_the_points() -> None:
    model, x, places = located(local=False), random(2, 9, 1), torch.rand(2, 9, 2, dtype=torch.float64)
    torch.testing.assert_close(model(x, places, queries=places), model(x, places), **EXACT)
    assert model(x, places, queries=places[:, :4]).shape == (2, 4, 2)
    on_grid = model(random(2, 1, 3, 3), torch.rand(2, 2, 3, 3), queries=places)
    assert on_grid.shape == (2, 9, 2)


def test_queries_do_not_know_the_input_at_their_place() -> None:
    """Where the input is told point by point, at queries it cannot be."""
    x, places = random(1, 9, 1), torch.rand(1, 9, 2, dtype=torch.float64)
    with pytest.raises(ConfigError, match="local=False"):
        located()(x, places, queries=places)
    with pytest.raises(ShapeError, match=r"queries must have shape \(1, query, 2\)"):
        located(local=False)(x, places, queries=places[..., :1])


def test_the_order_within_a_function_does_not_matter_and_its_values_do() -> None:
    model, x, places = located(functions=(2,)), random(1, 9, 1), torch.rand(1, 9, 2, dtype=torch.float64)
    values, own = random(1, 6, 1, seed=5), torch.rand(1, 6, 1, dtype=torch.float64)
    y = model(x, places, functions=(PointSet(values, own),))
    turned = model(x, places, functions=(PointSet(values.flip(1), own.flip(1)),))
    torch.testing.assert_close(turned, y, **EXACT)
    assert not torch.allclose(model(x, places, functions=(PointSet(2 * values, own),)), y, rtol=1e-6)
    with pytest.raises(ShapeError, match=r"functions must have rows, .* of lengths \(2,\), got \(\)"):
        model(x, places)
    with pytest.raises(ShapeError, match=r"of lengths \(2,\), got \(3,\)"):
        model(x, places, functions=(PointSet(values, places[:, :6]),))


@pytest.mark.parametrize("name", published)
def test_t13_its_size_follows_from_its_layers(name: str) -> None:
    arguments, _ = published[name]
    layers, w, functions = arguments["layers"], arguments["width"], (3, 5)

    def linear(into: int, out: int) -> int:
        return into * out + out

    def network(into: int, out: int, inner: int = layers.encoder) -> int:
        return linear(into, w) + inner * linear(w, w) + linear(w, out)

    norms = 1 + 1 + 3 + 2  # queries, among, three inputs, experts
    attentions = 4 * linear(w, w) + (3 + 1) * linear(w, 2 * w)
    experts = 2 * layers.experts * (linear(w, 4 * w) + linear(4 * w, w))
    gate = network(2, layers.experts, 1) if layers.experts > 1 else 0
    block = 2 * w * norms + attentions + experts + gate
    ends = network(2 + 1 + 2, w) + sum(network(rows, w) for rows in (2 + 1, *functions)) + network(w, 4)
    model = GNOT(2, 1, 4, parameters=2, functions=functions, **arguments)
    assert sum(p.numel() for p in model.parameters()) == layers.depth * block + ends
