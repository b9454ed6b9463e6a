"""Statistics on a clock that is told what to say, memory of known allocations, absent libraries."""

import pytest
import torch

from sciml.kernels.bench.harness import (
    SHORTEST_SAMPLE,
    Contestant,
    Effort,
    Measured,
    Missing,
    Pass,
    Prepared,
    find,
    interleave,
    measure,
    peak_memory,
    quartiles,
)

CPU = torch.device("cpu")


class Clock:
    """A stopwatch that keeps who ran, and lets each pass last what it returns."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def __call__(self, run: Pass, repeats: int) -> float:
        name, seconds = run()  # type: ignore[misc]
        self.calls.append((name, repeats))
        return float(seconds)


def test_everyone_takes_one_sample_per_round_and_the_order_moves_on() -> None:
    clock = Clock()
    runs: list[Pass] = [lambda: ("a", 1.0), lambda: ("b", 2.0), lambda: ("c", 3.0)]
    seconds = interleave(runs, rounds=3, warmup=2, stopwatch=clock)
    assert seconds == [(1.0,) * 3, (2.0,) * 3, (3.0,) * 3]
    assert "".join(name for name, _ in clock.calls) == "aabbcc" + "abc" + "bca" + "cab"


def test_short_passes_are_repeated() -> None:
    clock = Clock()
    interleave([lambda: ("a", SHORTEST_SAMPLE / 8)], rounds=1, warmup=1, stopwatch=clock)
    assert clock.calls == [("a", 1), ("a", 8)]


def test_ratio_is_taken_round_by_round() -> None:
    """A slow round of the machine hits both and leaves the ratio alone."""
    ours = Measured("ours", (1.0, 10.0, 2.0), 0, None)
    theirs = Measured("theirs", (3.0, 30.0, 8.0), 0, None)
    assert theirs.ratio(ours) == (3.0, 3.0, 3.5)
    assert theirs.spread == (5.5, 8.0, 19.0)


def test_quartiles_of_one_sample() -> None:
    assert quartiles([2.0]) == (2.0, 2.0, 2.0)


def test_peak_memory_is_the_highest_running_total() -> None:
    def run() -> None:
        first = torch.empty(100_000)  # 400 kB
        second = torch.empty(50_000)  # 600 kB together: the peak
        del first
        third = torch.empty(75_000)  # 500 kB
        del second, third

    # Exact: nothing but these three allocations happens in the pass.
    assert peak_memory(run, CPU) == 600_000


def test_peak_memory_counts_the_inside_of_an_operation() -> None:
    x = torch.ones(1000)
    # x + 1 and its square root live at once, the sum adds one number.
    assert 8000 <= peak_memory(lambda: torch.sqrt(x + 1).sum(), CPU) <= 8100


def test_what_exists_before_a_pass_does_not_count() -> None:
    kept = torch.ones(1_000_000)
    assert peak_memory(kept.neg_, CPU) == 0


def test_absent_libraries_are_reported_and_the_others_measured() -> None:
    def absent() -> Prepared:
        return find("no_such_library.layers:Layer", "pip install it")

    one = torch.ones(3)
    contestants = [
        Contestant("ours", lambda: Prepared(one.clone, lambda: (one,))),
        Contestant("theirs", absent),
        Contestant("twice", lambda: Prepared(one.clone, lambda: (2 * one,), note="doubled")),
        Contestant("other", lambda: Prepared(one.clone)),
    ]
    measured, skipped = measure(contestants, Effort(CPU, rounds=1, warmup=1))
    assert [m.name for m in measured] == ["ours", "twice, doubled", "other"]
    assert [m.difference for m in measured] == [0.0, 1.0, None]
    assert list(skipped) == ["theirs"]
    assert "no_such_library" in skipped["theirs"] and "pip install it" in skipped["theirs"]


def test_find_names_a_module_that_lacks_the_object() -> None:
    assert find("math:tau", "") > 6
    with pytest.raises(Missing, match="pip install it"):
        find("no_such_library:Layer", "pip install it")
