from __future__ import annotations

import torch

from sciml.streams import Streams


def test_numbers_depend_on_seed_purpose_and_step_alone() -> None:
    seeds = {Streams(s).of(p).seed(k) for s in range(5) for p in ("order", "points") for k in range(50)}
    assert len(seeds) == 5 * 2 * 50
    assert min(seeds) >= 0
    assert max(seeds) < 2**63
    # Written out, so that a change of the rule, which would change every run, is noticed.
    assert Streams(0).of("order").seed(0) == 3991725939186754870


def test_generators_repeat() -> None:
    stream = Streams(1).of("points")
    assert torch.equal(*(torch.rand(4, generator=stream.generator(7)) for _ in range(2)))
    assert (stream.numpy(7).random(4) == stream.numpy(7).random(4)).all()


def test_applied_leaves_the_global_state_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with Streams(0).of("init").applied():
        inside = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    with Streams(0).of("init").applied():
        assert torch.equal(torch.rand(2), inside)
