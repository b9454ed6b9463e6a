"""Draw the picture of the README from a finished run: python docs/picture.py RUN docs/darcy.png."""

import json
import sys
from pathlib import Path

import sciml
from sciml.assessment import Assessment
from sciml.files import write_bytes_atomic
from sciml.plots import png
from sciml.report import example_figure, pick_examples


def main(run: Path, picture: Path) -> None:
    """The median test sample of the run, as in its report.html."""
    stored = json.loads((run / "assessment.json").read_text(encoding="utf-8"))
    errors = Assessment.from_dict(stored["assessment"]).surrogate.errors
    data = sciml.open_dataset(stored["data"])
    surrogate = sciml.Surrogate.load(run / "surrogate")
    median = pick_examples(surrogate, getattr(data, stored["split"]), errors)[1]
    figure = example_figure(median, surrogate.outputs[0].name, data.grid)
    write_bytes_atomic(picture, png(figure, dpi=90))
    print(f"{picture}: sample {median.sample}, relative L2 error {median.error:.2%}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
