"""Sentences about a comparison: they follow from the rows, and claim no more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sciml.comparison.figures import Sheet
from sciml.comparison.results import gather
from sciml.comparison.summary import summary
from sciml.figures import looks

HEAT = {"benchmark": "heat", "fingerprint": "0"}


def errors(entry: str, level: float, *, seeds: int = 3, spread: float = 0.0) -> list[dict[str, Any]]:
    sample = np.exp(0.3 * np.random.default_rng(1).standard_normal(50))
    return [
        {
            **HEAT, "kind": "unit", "entry": entry, "seed": seed, "samples": None,
            "status": "finished", "steps": 9, "seconds_per_sample": 1e-3,
            "metrics": {"relative_l2": (level * (1 + spread * (seed - 1)) * sample).tolist()},
        }
        for seed in range(seeds)
    ]  # fmt: skip


def told(rows: list[dict[str, Any]]) -> str:
    (results,) = gather(rows)
    return summary(results, Sheet.of(results, looks(results.entries)).equal)


def test_the_summary_names_the_winner_and_by_how_much() -> None:
    said = told([*errors("a", 0.02, spread=0.01), *errors("b", 0.05, spread=0.01)])
    assert (
        said.startswith("a has the smallest mean error, 2.")
        and "That of b, the second, is 2.50 times" in said
    )
    assert "the difference is significant (p < 0.001)" in said or "significant (p = 0.00" in said


def test_the_summary_calls_nothing_significant_that_is_not() -> None:
    said = told([*errors("a", 0.020, spread=0.2), *errors("b", 0.021, spread=0.2)])
    assert "not significantly different from a: b (p = " in said


def test_the_summary_says_who_was_beaten_by_what_costs_nothing() -> None:
    plain = {
        **HEAT, "kind": "reference", "name": "mean output", "family": "trivial",
        "metrics": {"relative_l2": [0.01] * 50}, "seconds_per_sample": None, "settings": {},
    }  # fmt: skip
    assert "No entry is better than mean output: nothing was learned." in told([*errors("a", 0.02), plain])


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (1e-5, "At equal error the classical solver beats every entry: a (0.04 ms against 1 ms) and b"),
        (1e-2, "At equal error the classical solver is slower than a (40 ms against 1 ms) and b (10 ms"),
        (
            4e-4,
            "At equal error the classical solver is faster than b (0.4 ms against 1 ms) and slower than a",
        ),
    ],
)
def test_the_summary_compares_with_the_solver(seconds: float, said: str) -> None:
    """Errors of the solver fall like 1/seconds, so a, twice as good as b twice, needs four times as long."""
    level = float(np.mean(errors("a", 1.0)[0]["metrics"]["relative_l2"]))
    ladder = [
        {
            **HEAT, "kind": "reference", "name": f"solver {n}", "family": "classical", "settings": {},
            "metrics": {"relative_l2": [0.08 * level / n] * 50}, "seconds_per_sample": seconds * n,
        }
        for n in (0.5, 2, 8)
    ]  # fmt: skip
    assert said in told([*errors("a", 0.02), *errors("b", 0.08), *ladder])
