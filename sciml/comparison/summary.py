"""What a comparison found on one benchmark, in sentences: who wins, by how much, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from sciml.assessment import milliseconds, percent
from sciml.comparison.equal_error import EqualError
from sciml.comparison.results import DECISIVE, Results, Training
from sciml.comparison.statistics import mean_error, ratio_of_means, significance

LEVEL = 0.05


def summary(results: Results, equal: Mapping[str, EqualError]) -> str:
    """The sentences; `equal` has what the classical solver needs for the error of each entry.

    An entry whose predictions are not all finite has no place.
    """
    ranked = sorted(
        (t for t in results.main if math.isfinite(t.mean())), key=lambda training: training.mean()
    )
    if not ranked:
        return "No training gave finite predictions." if results.units else "Nothing was trained."
    parts = [_winner(ranked), _trivial(results, ranked[0]), _classical(ranked, equal)]
    if results.failures:
        count = len(results.failures)
        parts.append(f"{count} training{'s' * (count > 1)} of {len(results.units)} did not finish.")
    return " ".join(part for part in parts if part)


def _winner(ranked: Sequence[Training]) -> str:
    best = ranked[0]
    found = mean_error(best.values())
    error = percent(found.value)
    if math.isfinite(found.low):
        error += f" (95% interval {percent(found.low)} to {percent(found.high)}, over {found.over})"
    if len(ranked) == 1:
        return f"{best.entry} has a mean error of {error}."
    p = significance([training.values() for training in ranked])[0]
    said = f"{best.entry} has the smallest mean error, {error}."
    open_ = [ranked[i].entry for i in range(1, len(ranked)) if not p[i] < LEVEL]
    ratio = ratio_of_means(ranked[1].values(), best.values())
    within = f" ({ratio.low:.2f} to {ratio.high:.2f})" if math.isfinite(ratio.low) else ""
    said += f" That of {ranked[1].entry}, the second, is {ratio.value:.2f} times as large{within}"
    if not open_:
        several = "all differences from the others are" if len(ranked) > 2 else "the difference is"
        return f"{said}; {several} significant ({_chance(max(p[1:]))})."
    return f"{said}; not significantly different from {best.entry}: {enumerated(open_)} ({_chance(p[1])})."


def _chance(p: float) -> str:
    return "p not known" if math.isnan(p) else "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _trivial(results: Results, best: Training) -> str:
    as_good = [
        row.name
        for row in results.family("trivial")
        if math.fsum(row.metrics[DECISIVE]) / len(row.metrics[DECISIVE]) <= best.mean()
    ]
    return f"No entry is better than {enumerated(as_good)}: nothing was learned." if as_good else ""


def _classical(ranked: Sequence[Training], equal: Mapping[str, EqualError]) -> str:
    """Who is faster at equal error, with both times."""
    known = [(t, e) for t in ranked if (e := equal.get(t.entry)) is not None and e.relation != "unknown"]
    if not known:
        return "No classical solver was run on these data."
    faster, slower, open_ = [], [], []
    for training, at in known:
        own = training.of("seconds_per_sample")
        if not own or at.seconds is None:
            continue
        if at.seconds <= own and at.relation != "not reached":
            faster.append(f"{training.entry} ({_times(own, at)})")
        elif at.seconds > own and at.relation != "cheaper":
            slower.append(f"{training.entry} ({_times(own, at)})")
        else:
            open_.append(training.entry)
    compared = [f"{word} than {enumerated(n)}" for word, n in (("faster", faster), ("slower", slower)) if n]
    said = [f"At equal error the classical solver is {' and '.join(compared)}."] if compared else []
    if len(faster) == len(ranked) > 1:
        said = [f"At equal error the classical solver beats every entry: {enumerated(faster)}."]
    if open_:
        said.append(f"No setting of the classical solver decides for {enumerated(open_)}.")
    floor = next((e.floor for t, e in known if t is ranked[0] and e.below_floor), None)
    if floor is not None:
        said.append(
            f"The data themselves have an error of {percent(floor)}: below it there is only agreement with "
            "their solver."
        )
    return " ".join(said)


def _times(own: float, at: EqualError) -> str:
    """The solver's time, a bound where its error is another one, and that of an entry."""
    assert at.seconds is not None
    bound = {"cheaper": "less than ", "not reached": "more than "}.get(at.relation, "")
    return f"{bound}{milliseconds(at.seconds)} against {milliseconds(own)}"


def enumerated(names: Iterable[str]) -> str:
    """Names as a part of a sentence.

    Examples
    --------
    >>> enumerated(["fno", "unet", "resnet"]), enumerated(["fno"])
    ('fno, unet and resnet', 'fno')
    """
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
