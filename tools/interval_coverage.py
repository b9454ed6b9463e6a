"""How often the intervals and tests of sciml say the truth, measured on lognormal errors whose mean is known.

    python tools/interval_coverage.py mean [REPEATS]
    python tools/interval_coverage.py others [REPEATS]
    python tools/interval_coverage.py seeds [REPEATS]
    python tools/interval_coverage.py problems [REPEATS]
    python tools/interval_coverage.py tests [REPEATS]

Mean: 95 % intervals of `sciml.intervals.mean_interval`.  Others: percentile, bias-corrected accelerated and
Student's intervals of the same.  Seeds: those of `sciml.comparison.statistics` for
errors exp(a_s + b_i + c_si) of several seeds, with the log-sd of a, b, c in the table.  Problems: the same
for one error of each seed.  Tests: how often `significance` at 5 % finds any difference between entries of
equal mean error, and one of 10 % between two.  The standard error of a share is sqrt(0.95 0.05/REPEATS),
0.3 % for the default of 4000, which takes one to ten minutes.
"""

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap
from scipy.stats import t as student

from sciml.comparison.statistics import mean_error, ratio_of_means, significance
from sciml.intervals import mean_interval

Float = NDArray[np.float64]

SAMPLES = 200
# Log-sd of seeds, of samples, and of both together.
SCATTERS = [
    (0.0, 0.5, 0.2),
    (0.02, 0.5, 0.2),
    (0.05, 0.5, 0.2),
    (0.05, 0.1, 0.5),
    (0.2, 0.5, 0.2),
    (0.5, 0.5, 0.2),
]


def errors_of(random: np.random.Generator, seeds: int, scatter: tuple[float, ...], hardness: Float) -> Float:
    """Errors (seed, sample) of one entry; hardness (sample,) is what entries share."""
    a, _, c = scatter
    own = a * random.standard_normal((seeds, 1)) + c * random.standard_normal((seeds, len(hardness)))
    errors: Float = np.exp(hardness + own)
    return errors


def share(repeats: int, says_the_truth: Callable[[], bool]) -> str:
    """In per cent."""
    return f"{100 * sum(says_the_truth() for _ in range(repeats)) / repeats:.1f}"


def mean(repeats: int) -> None:
    """Intervals of one mean."""
    random = np.random.default_rng(0)
    print("| n | log-sd 0.5 | log-sd 1 |\n|---|---|---|")
    for n in (10, 20, 50, SAMPLES, 1000):
        shares = []
        for sd in (0.5, 1.0):

            def covers(n: int = n, sd: float = sd) -> bool:
                low, high = mean_interval(np.exp(sd * random.standard_normal(n)))
                return bool(low <= np.exp(sd**2 / 2) <= high)

            shares.append(share(repeats, covers))
        print(f"| {n} | {shares[0]} | {shares[1]} |", flush=True)


def others(repeats: int) -> None:
    """What was not chosen: three other intervals of one mean."""
    random = np.random.default_rng(0)
    print("| log-sd | n | percentile | BCa | Student |\n|---|---|---|---|---|")
    for sd in (0.5, 1.0):
        for n in (20, 50, SAMPLES):
            hits = np.zeros(3)
            for _ in range(repeats):
                x, truth = np.exp(sd * random.standard_normal(n)), np.exp(sd**2 / 2)
                bounds = [
                    bootstrap((x,), np.mean, n_resamples=1999, method=method, rng=random).confidence_interval
                    for method in ("percentile", "BCa")
                ]
                half = student.ppf(0.975, n - 1) * x.std(ddof=1) / np.sqrt(n)
                bounds.append((x.mean() - half, x.mean() + half))
                hits += [low <= truth <= high for low, high in bounds]
            shown = " | ".join(f"{100 * hit / repeats:.1f}" for hit in hits)
            print(f"| {sd} | {n} | {shown} |", flush=True)


def seeds(repeats: int) -> None:
    """Intervals of the mean and of the ratio of two means over seeds and samples."""
    random = np.random.default_rng(0)
    print("| log-sd of seeds, samples, both | seeds | mean | ratio |\n|---|---|---|---|")
    for count in (3, 5):
        for scatter in SCATTERS:

            def covers(count: int = count, scatter: tuple[float, ...] = scatter) -> bool:
                hardness = scatter[1] * random.standard_normal(SAMPLES)
                found = mean_error(errors_of(random, count, scatter, hardness))
                return found.low <= np.exp(sum(sd**2 for sd in scatter) / 2) <= found.high

            def covers_one(count: int = count, scatter: tuple[float, ...] = scatter) -> bool:
                hardness = scatter[1] * random.standard_normal(SAMPLES)
                a, b = (errors_of(random, count, scatter, hardness) for _ in range(2))
                found = ratio_of_means(a, b)
                return found.low <= 1 <= found.high

            print(
                f"| {scatter} | {count} | {share(repeats, covers)} | {share(repeats, covers_one)} |",
                flush=True,
            )


def problems(repeats: int) -> None:
    """Intervals of the mean over seeds alone."""
    random = np.random.default_rng(0)
    print("| log-sd of seeds | 3 seeds | 5 seeds |\n|---|---|---|")
    for sd in (0.1, 0.5, 1.0):
        shares = []
        for count in (3, 5):

            def covers(count: int = count, sd: float = sd) -> bool:
                found = mean_error(np.exp(sd * random.standard_normal((count, 1))))
                return found.low <= np.exp(sd**2 / 2) <= found.high

            shares.append(share(repeats, covers))
        print(f"| {sd} | {shares[0]} | {shares[1]} |", flush=True)


def tests(repeats: int) -> None:
    """False alarms among entries that are equally good, and the power to find a difference of 10 %."""
    random = np.random.default_rng(0)
    print(
        "| log-sd of seeds, samples, both | seeds | 2 entries | 5 entries | finds 10 % |\n" + 5 * "|---" + "|"
    )
    for count in (1, 3):
        for scatter in SCATTERS if count > 1 else SCATTERS[:1]:

            def found(
                entries: int, factor: float = 1.0, count: int = count, scatter: tuple[float, ...] = scatter
            ) -> bool:
                hardness = scatter[1] * random.standard_normal(SAMPLES)
                errors = [errors_of(random, count, scatter, hardness) for _ in range(entries)]
                return bool(significance([factor * errors[0], *errors[1:]]).min() < 0.05)

            columns = [share(repeats, lambda found=found, k=k: found(k)) for k in (2, 5)]
            columns.append(share(repeats, lambda found=found: found(2, 1.1)))
            print(f"| {scatter} | {count} | {' | '.join(columns)} |", flush=True)


if __name__ == "__main__":
    modes = {"mean": mean, "others": others, "seeds": seeds, "problems": problems, "tests": tests}
    if len(sys.argv) < 2 or sys.argv[1] not in modes:
        sys.exit(__doc__)
    modes[sys.argv[1]](int(sys.argv[2]) if len(sys.argv) > 2 else 4000)
