"""Protocols in one dimension of space: Burgers, E1 to E3, Kuramoto-Sivashinsky."""

from __future__ import annotations

from sciml.comparison import published as known
from sciml.comparison.benchmark import Benchmark, Made
from sciml.comparison.published import accumulated, elsewhere
from sciml.datasets.burgers import Burgers
from sciml.datasets.forced_burgers import ForcedBurgers
from sciml.datasets.kuramoto_sivashinsky import KuramotoSivashinsky
from sciml.operators.message_settings import Context
from sciml.presets import Generated, Recipe
from sciml.unroll import Frames, Stepping, Unroll

_RECIPE = Recipe(batch_size=16, learning_rate=2e-3, weight_decay=1e-4)
_CELLS = 200  # of the solver of E1 to E3
_TOLD = {
    "E1": Context(time=4.0),
    "E2": Context(time=4.0, parameters=(None, 0.2, None)),
    "E3": Context(time=2.0, parameters=(6.0, 0.4, 1.0)),
}
"""Time and those of alpha, beta, gamma that differ between samples, divided by the largest."""


def _forced(experiment: str, resolution: int) -> Benchmark:
    generator = ForcedBurgers(
        resolution=resolution,
        experiment=experiment,  # type: ignore[arg-type]
        waves=2,
        refinement=_CELLS // resolution,
        final_time=2.0 if experiment == "E3" else 4.0,
        frames=250,
    )
    return Benchmark(
        f"{experiment.lower()}/{resolution}/v2",
        Made(Generated(generator, train=2048, valid=128, test=128)),
        inputs=("u",),
        outputs=("u",),
        # A call before the one that counts in half of the steps, without gradient.
        stepping=Stepping(Frames(window=25, bundle=25), Unroll(calls=2, pushforward=True, vary=True)),
        start=25,
        context=_TOLD[experiment],
        metric="accumulated_mse",
        recipe=_RECIPE,
        source="Brandstetter et al., MP-PDE (ICLR 2022), section 4 and code: 25 frames to 25, 50 are given, "
        "squares of the errors of the other 200, mean over space, add up; every operator is told time and "
        "parameters",
        note="2 minutes for the data; the loss is the relative L2 error of each sample instead of the root "
        "of the sum of all squares",
        published=elsewhere(
            accumulated(experiment, resolution),
            "other data of the same law, point values instead of averages; other loss; wave numbers 1 and 2, "
            "as in the code, where the paper has 1 to 3",
            metric="accumulated_mse",
        ),
    )


LINES = (
    Benchmark(
        "burgers/1024/v1",
        Made(Generated(Burgers(resolution=1024, frames=2))),
        inputs=("u",),
        outputs=("u",),
        stepping=Stepping(),
        recipe=_RECIPE,
        source="Li et al., FNO (ICLR 2021), section 5.1: state at time 0 to state at time 1, viscosity 0.1, "
        "1000 training samples, 200 to test",
        note="30 seconds for the data",
        published=elsewhere(
            known.BURGERS_1024, "other data of the same law, every eighth of 8192 points; 100 or 200 to test"
        ),
    ),
    *(_forced(experiment, resolution) for experiment in ("E1", "E2", "E3") for resolution in (100, 50, 40)),
    Benchmark(
        "kuramoto-sivashinsky/22/v1",
        Made(
            Generated(
                KuramotoSivashinsky(discard=200.0, final_time=50.0, frames=101), train=400, valid=20, test=100
            )
        ),
        inputs=("u",),
        outputs=("u",),
        stepping=Stepping(),
        recipe=_RECIPE,
        source="ours: length 22, on the attractor, steps of 0.5 up to time 50, about two Lyapunov times",
        note="2 minutes for the data; read valid_time beside the error, which nobody keeps small for ever",
    ),
)
