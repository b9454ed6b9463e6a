"""Protocols of Navier-Stokes on the torus, each published one under a name of its own."""

from __future__ import annotations

from sciml.comparison import published as known
from sciml.comparison.benchmark import Benchmark, Made
from sciml.comparison.published import Listed, elsewhere, six_problems
from sciml.datasets.navier_stokes import NavierStokes
from sciml.presets import Generated, Recipe
from sciml.unroll import Frames, Stepping, Unroll

STEPS = Recipe(batch_size=4, learning_rate=2e-3, weight_decay=1e-4)
_TEN = Frames(window=10)

_AFTER_START = {"time": [1, None, None]}  # published files begin with the frame at time 1
_SOURCE = "Li et al., FNO (ICLR 2021), section 5.3: 1000 training samples, frames at times 1 to 10 are given"
_OTHER = (
    "other data of the same law: solved on 256 x 256 points with steps of order 1; ours with steps of order "
    "4 on {points} x {points} points"
)


def _flow(viscosity: float, final: int, refinement: int) -> Made:
    flow = NavierStokes(viscosity=viscosity, final_time=float(final), frames=final + 1, refinement=refinement)
    return Made(Generated(flow, valid=20))


_DATA = {3: _flow(1e-3, 50, 1), 4: _flow(1e-4, 30, 2), 5: _flow(1e-5, 20, 2)}
_TIMES = {
    3: "2 minutes and 1 GB for the data",
    4: "17 minutes and 600 MB for the data; their discretization error is about 5e-4",
    5: "10 minutes and 400 MB for the data; vortices at this viscosity are finer than the grid",
}


def _published(power: int, rows: list[Listed]) -> tuple[known.Published, ...]:
    return elsewhere(rows, _OTHER.format(points=64 if power == 3 else 128))


def _protocol(
    power: int, kind: str, stepping: Stepping, rows: list[Listed], source: str, **more: object
) -> Benchmark:
    settings = {"every": _AFTER_START, "budget": "2h", **more}
    return Benchmark(
        f"navier-stokes/1e-{power}-{kind}/v1",
        _DATA[power],
        inputs=("w",),
        outputs=("w",),
        stepping=stepping,
        recipe=STEPS,
        source=source,
        note=_TIMES[power],
        published=_published(power, rows),
        **settings,  # type: ignore[arg-type]
    )


def _unrolled(power: int, frames: int, rows: list[Listed]) -> Benchmark:
    stepping = Stepping(_TEN, Unroll(calls=frames))
    return _protocol(
        power, "unrolled", stepping, rows, f"{_SOURCE}; the loss goes through the whole roll-out"
    )


def _at_once(power: int, frames: int, rows: list[Listed]) -> Benchmark:
    stepping = Stepping(Frames(window=10, bundle=frames))
    return _protocol(power, "at-once", stepping, rows, f"{_SOURCE}; one call gives all others")


FLOWS = (
    Benchmark(
        "navier-stokes/1e-3-rollout/v1",
        Made(Generated(NavierStokes(viscosity=1e-3), 400, 10, 50)),
        inputs=("w",),
        outputs=("w",),
        stepping=Stepping(),
        recipe=STEPS,
        source="ours: one frame to the next, learned from single steps, judged on 20 of them from time 0",
        note="15 seconds for the data; those of the preset navier-stokes",
    ),
    _unrolled(3, 40, known.FLOW_3),
    _unrolled(4, 20, known.FLOW_4),
    _unrolled(5, 10, known.FLOW_5),
    _at_once(3, 40, known.FLOW_3),
    _at_once(4, 20, known.FLOW_4),
    _at_once(5, 10, known.FLOW_5),
    _protocol(
        5, "forced", Stepping(_TEN), six_problems("flow"),
        "Wu et al., Transolver (ICML 2024): ten frames to the next, true frames in training, judged on ten",
    ),
    _protocol(
        5, "markov", Stepping(unroll=Unroll(noise=0.01)), known.FLOW_MARKOV,
        "Tran et al., F-FNO (ICLR 2023): one frame to the next on all 19 steps with noise, judged on the "
        "steps from time 10 to 20",
        start=9,
    ),
    _protocol(
        5, "first-ten", Stepping(), known.FLOW_FIRST_TEN,
        "He, Liu and Xu, MgNO (ICLR 2024): one frame to the next on the steps from time 0 to 10, judged on "
        "these; they test on 100 samples",
        every={"time": [0, 11, None]},
    ),
)  # fmt: skip
