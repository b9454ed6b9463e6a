"""Darcy flow from 1000 coarse samples of neuraloperator's, judged on its test files at 16 x 16 and 32 x 32.

    python tools/darcy_16.py FOLDER darcy_train_16.pt darcy_test_16.pt darcy_test_32.pt [SEEDS]

An FNO averaged over the eight symmetries of the square.  The points of these files are no symmetric ones, the
upper walls lie behind the last of them, so the points move along with the fields (`Symmetrized`, mirror).
A tenth of the training file is the validation split.  A run that was cut off goes on; see docs/darcy-16.md.
"""

import sys
from functools import partial
from pathlib import Path

from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

import sciml
from sciml.datasets.readers import open_any
from sciml.operators import FNO, Symmetrized

WALLS = 420 / 416  # of the unit box of 16 slices of 26, or 32 of 13, out of 420 intervals


def main(
    folder: Path, train: Path, tests: list[Path], *, seed: int = 0, steps: int = 2000, width: int = 64
) -> dict[str, float]:
    """The mean relative L2 error on the validation split, "valid", and on each test file by its name."""
    data = open_any(train, cache=folder, fractions=(0.9, 0.1, 0.0))
    with sciml.Streams(seed).of("init").applied():
        model = Symmetrized(
            FNO(2, 1, 1, modes=6, width=width, padding=0.25), in_training="sample", mirror=WALLS
        )
    rate = 4e-3
    trainer = sciml.Trainer(
        steps,
        optimizer=partial(AdamW, lr=rate, weight_decay=0.1, fused=True),
        schedule=partial(OneCycleLR, max_lr=rate, total_steps=steps, pct_start=0.2),
        seed=seed,
    )
    task = sciml.Supervised(data.train, ["a"], ["u"])
    run = trainer.fit(
        model, task, validation=task.on(data.valid), every=max(1, steps // 5), output=folder / f"seed-{seed}"
    )
    surrogate = run.surrogate()
    judged = {"valid": data.valid}
    for path in tests:
        judged[path.stem] = open_any(path, cache=folder, fractions=(1.0, 0.0, 0.0)).train
    return {name: surrogate.evaluate(part)["relative_l2"].mean for name, part in judged.items()}


if __name__ == "__main__":
    place, file, *others = map(Path, sys.argv[1:5])
    for number in range(int(sys.argv[5]) if len(sys.argv) > 5 else 3):
        errors = main(place, file, others, seed=number)
        print(f"seed {number}: {', '.join(f'{name} {error:.4f}' for name, error in errors.items())}")
