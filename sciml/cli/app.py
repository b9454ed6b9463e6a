"""The commands and their options.  Each function only hands over to the module that does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from sciml.cli.options import (
    CompareOptions,
    DataOptions,
    Json,
    ModelOptions,
    Numbers,
    RolloutOptions,
    RunOptions,
    SampleOptions,
    Settings,
    SolveOptions,
    TrainingOptions,
)


def _version() -> str:
    import sciml

    return sciml.__version__


app = App(
    name="sciml",
    help="Scientific machine learning: train surrogates of simulations and compare them with solvers.",
    help_epilogue="Example:\n\n  sciml train darcy",
    help_format="plaintext",
    version=_version,
    suppress_keyboard_interrupt=False,
)
data = App(name="data", help="Make and inspect datasets.", help_format="plaintext")
app.command(data)


@app.command(
    help_epilogue="Examples:\n\n"
    "  sciml train darcy\n"
    "  sciml train darcy --set width=64 --set modes=16 --steps 5000 --seed 1\n"
    "  sciml train measured.nc --inputs a --outputs u\n"
    "  sciml train measured.nc --operator mgno/darcy-rough\n"
    "  sciml train navier-stokes --calls 2 --pushforward\n"
    "  sciml train flow.h5 --operator mymodel.py:build --allow-code --output runs/mine --json\n"
    "  sciml train --like runs/mine --output runs/again"
)
def train(
    target: str | None = None,
    /,
    *,
    model: ModelOptions = ModelOptions(),  # noqa: B008 - frozen
    training: TrainingOptions = TrainingOptions(),  # noqa: B008
    run: RunOptions = RunOptions(),  # noqa: B008
    data: DataOptions = DataOptions(),  # noqa: B008
    rollout: RolloutOptions = RolloutOptions(),  # noqa: B008
) -> int:
    """Train a surrogate, test it, and set it beside a classical solver.

    Writes a folder: run.json (enough to repeat the run), metrics.jsonl, checkpoints/, surrogate/,
    assessment.json and report.html.

    Parameters
    ----------
    target
        A preset (darcy, navier-stokes), a dataset file, or a file of another program: netCDF, or .pt of
        neuraloperator.
    """
    from sciml.cli.train import train as work

    return work(target, model, training, run, data, rollout)


@app.command(
    help_epilogue="Examples:\n\n"
    "  sciml solve burgers --time-limit 60\n"
    "  sciml solve burgers --set viscosity=0.01 --recipe precise --seed 1 --json\n"
    "  sciml solve wave --recipe 'plain+RAD(every=50)+PirateNet' --time-limit 60\n"
    "  sciml solve sine-gordon --dim 1000 --estimator sparse --samples 16 --time-limit 60\n"
    "  sciml solve myproblem.py:Beam --allow-code --output runs/beam\n"
    "  sciml solve --like runs/beam --seed 1 --output runs/again\n"
    "  sciml solve --list"
)
def solve(
    problem: str | None = None,
    /,
    *,
    options: SolveOptions = SolveOptions(),  # noqa: B008 - frozen
    run: RunOptions = RunOptions(),  # noqa: B008
    list: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> int:
    """Solve an equation by a physics-informed network, and set it beside a classical solver.

    Writes a folder: run.json, metrics.jsonl, checkpoints/, solution.nc and solution.vtu (the solution, its
    error and its residual), solution.json and report.html. The same command goes on where it was stopped,
    after a time limit with a larger one; of a finished run it prints the result.

    Parameters
    ----------
    problem
        A problem such as burgers or allen-cahn (see --list), or a class of your own, file.py:Name.
    list
        Name all problems, recipes and what recipes can be made of.
    """
    from sciml.cli.solve import show_problems
    from sciml.cli.solve import solve as work

    return show_problems(json=run.json) if list else work(problem, options, run)


@app.command(
    help_epilogue="Examples:\n\n"
    "  sciml compare darcy --operators fno,unet,resnet --budget 60s --output runs/darcy-table\n"
    "  sciml compare darcy/smooth-85/v1 navier-stokes --operators fno,wide=fno --set wide.width=64\n"
    "  sciml compare measured.h5 --operators fno,mymodel.py:build --allow-code --seeds 5 --budget 2000steps\n"
    "  sciml compare darcy --samples 100,300,1000 --budget 1000steps --jobs 2\n"
    "  sciml compare pinn/wave --operators plain,plain+R3,plain+PirateNet+soap,plain+NTK --budget 60s\n"
    "  sciml compare 'pinn/wave(mode=4)' --operators 'plain+samplers,plain+RAD(every=50)' --budget 60s\n"
    "  sciml compare --list"
)
def compare(
    *targets: str,
    options: CompareOptions = CompareOptions(),  # noqa: B008 - frozen
    data: DataOptions = DataOptions(),  # noqa: B008
    output: Annotated[Path | None, Parameter(show_default=False)] = None,
    list: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    json: Json = False,
) -> int:
    """Train operators, or recipes of physics-informed networks, with equal data and equal budgets.

    Each is trained with several seeds, and stands beside classical solvers. Writes a folder: rows.jsonl (all
    results, errors of every sample included), report.html and the table as table.md, table.csv and table.tex.
    The same command goes on where it was stopped; of a finished comparison it prints the table. Several of
    them on one folder, or torchrun, share the trainings.

    Parameters
    ----------
    targets
        Benchmarks (see --list), presets (darcy, navier-stokes), dataset files, or files of other programs; or
        problems of physics-informed networks, pinn/wave or with arguments 'pinn/wave(mode=4)'.
    output
        The folder. The default is runs/compare-HASH, with a hash of all settings.
    list
        Name all benchmarks.
    json
        Print one JSON object on stdout.
    """
    from sciml.cli.compare import compare as work
    from sciml.cli.compare import show_benchmarks

    return show_benchmarks(json=json) if list else work(targets, options, data, output=output, json=json)


@app.command(
    help_epilogue="Example:\n\n  sciml evaluate runs/darcy-1a2b3c4d darcy-128.h5 --json",
)
def evaluate(
    run: Path,
    file: Path,
    /,
    *,
    split: Annotated[Literal["train", "valid", "test", "all"] | None, Parameter(show_default=False)] = None,
    model: ModelOptions = ModelOptions(),  # noqa: B008
    device: str = "auto",
    output: Annotated[Path | None, Parameter(show_default=False)] = None,
    json: Json = False,
) -> int:
    """Test a trained surrogate on a dataset, at any resolution of its domain.

    Parameters
    ----------
    run
        The folder of a run, or of a saved surrogate.
    file
        A dataset file, or a file of another program.
    split
        Which samples. The default is test; all of a file of another program that the run was not trained on.
    device
        auto, cpu, cuda, cuda:1, mps.
    output
        A JSON file for the result, errors of every sample included.
    json
        Print one JSON object on stdout.
    """
    from sciml.cli.apply import evaluate as work

    return work(run, file, split=split, model=model, device=device, output=output, json=json)


@app.command(
    help_epilogue="Example:\n\n  sciml predict runs/darcy-1a2b3c4d field.nc --output pressure.nc",
)
def predict(
    run: Path,
    field: Path,
    /,
    *,
    output: Path,
    frames: Annotated[int | None, Parameter(show_default=False)] = None,
    numbers: Numbers = (),
    model: ModelOptions = ModelOptions(),  # noqa: B008
    device: str = "auto",
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    json: Json = False,
) -> int:
    """Apply a trained surrogate to fields in a file, at any resolution of its domain, on any mesh.

    Parameters
    ----------
    run
        The folder of a run, or of a saved surrogate.
    field
        A netCDF file with the input fields under their names, with coordinates. Of a surrogate on points or
        meshes a mesh file, such as VTU, with the input fields as its data, or a dataset file.
    output
        The netCDF file to write, a mesh file, or a dataset file with the predictions of all samples.
    frames
        Of a surrogate that steps through time: how many frames after the last one in the file.
    numbers
        Of a surrogate on points that takes numbers of the sample: NAME=VALUE for each, with a mesh file.
    device
        auto, cpu, cuda, cuda:1, mps.
    force
        Replace the output file.
    json
        Print one JSON object on stdout.
    """
    from sciml.cli.apply import predict as work

    return work(
        run,
        field,
        output,
        frames=frames,
        numbers=numbers,
        model=model,
        device=device,
        force=force,
        json=json,
    )


@app.command(
    help_epilogue="Examples:\n\n"
    "  sciml export runs/darcy-1a2b3c4d --to onnx\n"
    "  sciml export runs/darcy-1a2b3c4d --output darcy.pt2\n"
    "  sciml export --check darcy.onnx",
)
def export(
    run: Path | None = None,
    /,
    *,
    to: Annotated[Literal["pt2", "onnx"] | None, Parameter(show_default=False)] = None,
    output: Annotated[Path | None, Parameter(show_default=False)] = None,
    static: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    check: Annotated[Path | None, Parameter(show_default=False)] = None,
    model: ModelOptions = ModelOptions(),  # noqa: B008
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    json: Json = False,
) -> int:
    """Write a trained surrogate as one file that runs without sciml, and check it against the surrogate.

    Parameters
    ----------
    run
        The folder of a run, or of a saved surrogate.
    to
        pt2 for PyTorch (torch.export, AOTInductor), onnx for ONNX runtimes. The default is what --output ends
        in, else pt2.
    output
        The file; by default NAME.pt2 or NAME.onnx in the current folder.
    static
        Only the grid of the training; otherwise grids of other sizes may come as well.
    check
        Check this exported file again, by the input and answer inside it.
    force
        Replace the file.
    json
        Print one JSON object on stdout.
    """
    from sciml.cli.export import export as work

    return work(run, to=to, output=output, static=static, check=check, model=model, force=force, json=json)


@data.command(
    help_epilogue="Example:\n\n  sciml data make darcy --samples 1300 --resolution 64 --output darcy.h5",
)
def make(
    name: str,
    /,
    *,
    resolution: Annotated[int | None, Parameter(show_default=False)] = None,
    settings: Settings = (),
    samples: SampleOptions = SampleOptions(),  # noqa: B008
    output: Annotated[Path | None, Parameter(show_default=False)] = None,
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    json: Json = False,
) -> int:
    """Generate a dataset with a classical solver.

    Repeat an interrupted command: it goes on where it was.

    Parameters
    ----------
    name
        Which equation, such as darcy or navier-stokes; an unknown name lists all.
    resolution
        Cells along each axis.
    settings
        Another setting of the generator, NAME=VALUE such as high=10.0; may be repeated.
    output
        The file; by default NAME.h5 in the current folder.
    force
        Replace the file, and unfinished samples of other settings.
    json
        Print one JSON object on stdout.
    """
    from sciml.cli.data import make as work

    named = (f"resolution={resolution}", *settings) if resolution is not None else settings
    return work(name, named, samples, output=output, force=force, json=json)


@data.command(help_epilogue="Example:\n\n  sciml data info darcy.h5")
def info(
    file: Path,
    /,
    *,
    options: DataOptions = DataOptions(),  # noqa: B008
    json: Json = False,
) -> int:
    """Show what a dataset holds: fields, grid, splits, statistics, origin, digest.

    Parameters
    ----------
    file
        A dataset file, or a file of another program, shown as train would use it.
    json
        Print one JSON object on stdout.
    """
    from sciml.cli.data import info as work

    return work(file, options, json=json)


@data.command(help_epilogue="Example:\n\n  sciml data check darcy.h5")
def check(file: Path, /, *, json: Json = False) -> int:
    """Read a dataset file in full, in a process of its own, and list everything that is wrong with it.

    The status is 0 for a file that can be trusted and 3 for any other.

    Parameters
    ----------
    file
        A dataset file, from anywhere.
    json
        Print one JSON object on stdout.
    """
    from sciml.cli.check import check as work

    return work(file, json=json)


@data.command(help_epilogue="Example:\n\n  sciml data show darcy.h5 --output pictures/darcy")
def show(
    file: Path,
    /,
    *,
    options: DataOptions = DataOptions(),  # noqa: B008
    output: Annotated[Path | None, Parameter(show_default=False)] = None,
    index: int = 0,
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    json: Json = False,
) -> int:
    """Write a picture of every field, as one PNG and as a page with the numbers beside them.

    Parameters
    ----------
    file
        A dataset file, or a file of another program, shown as train would use it.
    output
        NAME.png or NAME.html for one of them, NAME for both. The default is the name of the file, in the
        current folder.
    index
        Which sample, counted from 0.
    force
        Replace the output files.
    json
        Print one JSON object on stdout.
    """
    from sciml.cli.check import show as work

    return work(file, options, output=output, index=index, force=force, json=json)


@data.command(help_epilogue="Example:\n\n  sciml data convert flow.nc flow.h5 --inputs a --outputs u")
def convert(
    file: Path,
    output: Path,
    /,
    *,
    options: DataOptions = DataOptions(),  # noqa: B008
    seed: int = 0,
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    json: Json = False,
) -> int:
    """Write a file of another program as a dataset file: PDEBench, The Well, .mat, .npz, meshes and more.

    Parameters
    ----------
    file
        The file or folder to read; its format is recognized by its content.
    output
        The dataset file to write. It notes what was assumed, changed and left out.
    seed
        Of the split.
    force
        Replace the output file.
    json
        Print one JSON object on stdout.
    """
    from sciml.cli.data import convert as work

    return work(file, output, options, seed=seed, force=force, json=json)


@data.command(name="to-well", help_epilogue="Example:\n\n  sciml data to-well flow.h5 flow_well")
def to_well(
    file: Path,
    output: Path,
    /,
    *,
    options: DataOptions = DataOptions(),  # noqa: B008
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    json: Json = False,
) -> int:
    """Write a dataset on a grid as The Well keeps one: data/train, data/valid, data/test and stats.yaml.

    Parameters
    ----------
    file
        A dataset file, or a file of another program.
    output
        The folder to write.
    force
        Replace it.
    json
        Print one JSON object on stdout.
    """
    from sciml.cli.data import to_well as work

    return work(file, output, options, force=force, json=json)


@data.command(name="to-pdebench", help_epilogue="Example:\n\n  sciml data to-pdebench darcy.h5 darcy.hdf5")
def to_pdebench(
    file: Path,
    output: Path,
    /,
    *,
    options: DataOptions = DataOptions(),  # noqa: B008
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    json: Json = False,
) -> int:
    """Write a dataset on a grid as an HDF5 file in the layout of PDEBench that fits its fields.

    Parameters
    ----------
    file
        A dataset file, or a file of another program.
    output
        The file to write.
    force
        Replace it.
    json
        Print one JSON object on stdout.
    """
    from sciml.cli.data import to_pdebench as work

    return work(file, output, options, force=force, json=json)


@app.command(help_epilogue="Example:\n\n  sciml operators")
def operators(*, json: Json = False) -> int:
    """List the neural operators, what each can do, and its published set-ups.

    A set-up is chosen like an operator, as in sciml train darcy --operator mgno/darcy-smooth.

    Parameters
    ----------
    json
        Print one JSON object on stdout.
    """
    from sciml.cli.operators import show_operators

    return show_operators(json=json)


@app.command(help_epilogue="Example:\n\n  sciml doctor")
def doctor(*, json: Json = False) -> int:
    """Look at this machine: versions, threads, memory, devices, optional dependencies.

    Parameters
    ----------
    json
        Print one JSON object on stdout.
    """
    from sciml.cli.doctor import doctor as work

    return work(json=json)
