"""Options that several commands share, as groups of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

Json = Annotated[bool, Parameter(negative="", show_default=False)]
Settings = Annotated[
    tuple[str, ...],
    Parameter(name="--set", negative="", show_default=False, consume_multiple=False),
]


Numbers = Annotated[
    tuple[str, ...],
    Parameter(name="--number", negative="", show_default=False, consume_multiple=False),
]


Names = Annotated[tuple[str, ...], Parameter(negative="", show_default=False, consume_multiple=False)]


@Parameter(name="*", group="Data")
@dataclass(frozen=True)
class DataOptions:
    """What to take from a file, where the file does not say.

    Parameters
    ----------
    inputs
        A field to learn from; may be repeated.
    outputs
        A field to learn; may be repeated.
    sample
        The dimension of a netCDF file that counts samples.
    axes
        The order of axes of equal lengths in a reference solution, such as --axes t --axes x.
    array
        Which of several resolutions of an MP-PDE file, such as pde_250-100.
    split
        Shares of training, validation and test, for files of other programs, which have no split.
    """

    inputs: Names = ()
    outputs: Names = ()
    sample: str = "sample"
    axes: Names = ()
    array: str = ""
    split: tuple[float, float, float] = (0.9, 0.05, 0.05)


@Parameter(name="*", group="Model")
@dataclass(frozen=True)
class ModelOptions:
    """Which model.

    Parameters
    ----------
    operator
        A neural operator such as fno, which starts from what suits the data, or a published set-up of one,
        such as mgno/darcy-smooth; sciml operators lists both. Your own is file.py:build, a function
        build(in_channels, out_channels, data) that returns a torch.nn.Module. The default is that of the
        preset, else fno.
    settings
        An argument of the operator, NAME=VALUE such as width=64; may be repeated.
    allow_code
        Run the code in file.py.
    symmetry
        Average the model over symmetries that the problem has: reflections, permutations of equal axes,
        rotations, full (all of these), none. Training takes a random one for each sample. The default is what
        the file states (sciml_symmetry), else none.
    """

    operator: Annotated[str | None, Parameter(show_default=False)] = None
    settings: Settings = ()
    allow_code: Annotated[bool, Parameter(negative="", show_default=False)] = False
    symmetry: Annotated[
        Literal["reflections", "permutations", "rotations", "full", "none"] | None,
        Parameter(show_default=False),
    ] = None


@Parameter(name="*", group="Training")
@dataclass(frozen=True)
class TrainingOptions:
    """How to train; what is not given is that of the preset.

    Parameters
    ----------
    steps
        Optimizer steps.
    batch_size
        Samples per step.
    learning_rate
        The largest learning rate of the cycle.
    ema
        Decay of a moving average of the weights, such as 0.999; the average is then the result.
    precision
        bf16 runs the model in bfloat16, spectral transforms in float32.
    optimizer
        adamw, or muon, which suits models of matrices and convolutions such as MgNO and Transolver.
    workers
        Processes that read data ahead; 0 keeps small data in memory.
    seed
        Root of all random numbers of the training.
    device
        auto, cpu, cuda, cuda:1, mps.
    """

    steps: Annotated[int | None, Parameter(show_default=False)] = None
    batch_size: Annotated[int | None, Parameter(show_default=False)] = None
    learning_rate: Annotated[float | None, Parameter(show_default=False)] = None
    ema: Annotated[float | None, Parameter(show_default=False)] = None
    precision: Annotated[Literal["float32", "bf16"] | None, Parameter(show_default=False)] = None
    optimizer: Annotated[Literal["adamw", "muon"] | None, Parameter(show_default=False)] = None
    workers: Annotated[int | None, Parameter(show_default=False)] = None
    seed: Annotated[int | None, Parameter(show_default=False)] = None
    device: str = "auto"


@Parameter(name="*", group="Roll-out")
@dataclass(frozen=True)
class RolloutOptions:
    """How a state is stepped through time; what is not given is that of the preset.

    Parameters
    ----------
    window
        Frames that go into one call of the model.
    bundle
        Frames that come out.
    stride
        Frames of the data per frame of the model.
    calls
        Calls that a training step chains.
    pushforward
        Chained calls without gradient but for the last.
    noise
        Standard deviation of noise on the first window, where the state has 1.
    """

    window: Annotated[int | None, Parameter(show_default=False)] = None
    bundle: Annotated[int | None, Parameter(show_default=False)] = None
    stride: Annotated[int | None, Parameter(show_default=False)] = None
    calls: Annotated[int | None, Parameter(show_default=False)] = None
    pushforward: Annotated[bool | None, Parameter(show_default=False)] = None
    noise: Annotated[float | None, Parameter(show_default=False)] = None


@Parameter(name="*", group="Solution")
@dataclass(frozen=True)
class SolveOptions:
    """How to solve a problem; what is not given is that of the recipe.

    Parameters
    ----------
    settings
        A number of the problem, NAME=VALUE such as viscosity=0.01; may be repeated.
    dim
        Coordinates in space, of a problem for any number of them: --set dim=DIM.
    recipe
        small: few weights and high accuracy, for up to 20 coordinates the default. robust: larger and
        patient, for systems. high-dim: random directions, the default above; huge-dim: exact derivatives
        again, the default above 30 000. polynomial: all coefficients, up to 1000 coordinates the default for
        solutions that flatten. ridge: for ten directions of many, the default where a problem is known to
        have as many. sharp: for fronts, layers and corners. precise: for smooth solutions and the
        last digits. window: for --windows. inverse: for unknown numbers and functions, there the default.
        plain, fresh, r3, rad: the baselines on which these improve. BASE+Class(name=value)+... has other
        samplers, weightings, networks and optimizers, as in plain+RAD(every=50)+PirateNet. sciml solve --list
        has all.
    estimator
        How second derivatives are summed up, where the equation allows it: exact; sparse, along random
        coordinates; hutchinson, along random vectors of signs. How much each spreads the gradient of the
        loss, and what it costs: python -m sciml.pinns.variance PROBLEM --dim DIM.
    samples
        Random coordinates or vectors of a step, 16 by default.
    windows
        March through time in so many windows, one network after the other. The default is what the problem
        is known to need, for most of them none.
    steps
        Optimizer steps, shared between the stages of the recipe; of each window.
    time_limit
        Seconds of training, over all resumptions. Then a checkpoint is written, and what there is is judged.
    seed
        Root of all random numbers: weights and points.
    device
        auto, cpu, cuda, cuda:1, mps.
    allow_code
        Run the code in file.py.
    """

    settings: Settings = ()
    dim: Annotated[int | None, Parameter(show_default=False)] = None
    recipe: Annotated[str | None, Parameter(show_default=False)] = None
    estimator: Annotated[Literal["exact", "sparse", "hutchinson"] | None, Parameter(show_default=False)] = (
        None
    )
    samples: Annotated[int | None, Parameter(show_default=False)] = None
    windows: Annotated[int | None, Parameter(show_default=False)] = None
    steps: Annotated[int | None, Parameter(show_default=False)] = None
    time_limit: Annotated[float | None, Parameter(show_default=False)] = None
    seed: Annotated[int | None, Parameter(show_default=False)] = None
    device: str = "auto"
    allow_code: Annotated[bool, Parameter(negative="", show_default=False)] = False


@Parameter(name="*", group="Run")
@dataclass(frozen=True)
class RunOptions:
    """Where to.

    Parameters
    ----------
    output
        Folder of the run. The default is runs/NAME-HASH, with a hash of all settings. An unfinished run goes
        on, a finished one prints its result.
    force
        Start anew, whatever the folder holds.
    like
        Repeat the run in this folder, with its settings.
    json
        Print one JSON object on stdout.
    """

    output: Annotated[Path | None, Parameter(show_default=False)] = None
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False
    like: Annotated[Path | None, Parameter(show_default=False)] = None
    json: Json = False


@Parameter(name="*", group="Comparison")
@dataclass(frozen=True)
class CompareOptions:
    """Who competes, and under which budget.

    Parameters
    ----------
    operators
        Neural operators or set-ups of them (see sciml operators) separated by commas, by default
        fno,unet,resnet; your own is file.py:build, a function build(in_channels, out_channels, data) that
        returns a torch.nn.Module; NAME=OPERATOR gives another name, as in wide=fno. On problems of
        physics-informed networks, pinn/..., they are recipes, BASE or BASE+Class(name=value)+... with
        samplers, weightings, networks and optimizers by name, as in plain,plain+R3,plain+PirateNet+soap;
        plain+samplers is one for each, and so are plain+weightings, plain+networks and plain+optimizers. By
        default they are those that suit the problem. sciml solve --list names all.
    settings
        An argument of one of them, or of its training (learning_rate, weight_decay, batch_size, clip, ema,
        precision): OPERATOR.NAME=VALUE such as fno.width=64; may be repeated. Of a recipe points, weights,
        hard, harmonics: plain+R3.points=500.
    allow_code
        Run the code in file.py.
    symmetry
        Average all models over symmetries that the problem has, as sciml train does.
    seeds
        How many trainings of each, with the seeds 0, 1, ...
    budget
        Of each training: 40s, 10m, 2h, 5000steps, 2e15flops. Time and FLOPs become steps once, before
        training. The default is that of the benchmark.
    samples
        Numbers of training samples such as 100,300,1000, for the error as a function of their number.
    resolutions
        Grids beside that of the training on which models are judged too, such as 32,128; for our generators.
    search
        Search for settings before training: so many trials for each, judged on the validation samples.
    search_budget
        Of each trial of the search, by default that of a training.
    jobs
        Trainings at a time; not with a budget in time, since trainings that are timed run alone.
    device
        auto, cpu, cuda, cuda:1, mps.
    """

    operators: Annotated[str | None, Parameter(show_default=False)] = None
    settings: Settings = ()
    allow_code: Annotated[bool, Parameter(negative="", show_default=False)] = False
    symmetry: Literal["reflections", "permutations", "rotations", "full", "none"] = "none"
    seeds: int = 3
    budget: Annotated[str | None, Parameter(show_default=False)] = None
    samples: Annotated[str | None, Parameter(show_default=False)] = None
    resolutions: Annotated[str | None, Parameter(show_default=False)] = None
    search: Annotated[int, Parameter(show_default=False)] = 0
    search_budget: Annotated[str | None, Parameter(show_default=False)] = None
    jobs: int = 1
    device: str = "auto"


@Parameter(name="*", group="Samples")
@dataclass(frozen=True)
class SampleOptions:
    """Which samples.

    Parameters
    ----------
    samples
        All samples; of thirteen, ten are for training, one for validation and two for the test.
    train
        Training samples.
    valid
        Validation samples.
    test
        Test samples.
    seed
        From which all samples follow; sample i does not depend on how many there are.
    workers
        Processes; by default one per core. They do not change the result.
    """

    samples: Annotated[int | None, Parameter(show_default=False)] = None
    train: Annotated[int | None, Parameter(show_default=False)] = None
    valid: Annotated[int | None, Parameter(show_default=False)] = None
    test: Annotated[int | None, Parameter(show_default=False)] = None
    seed: int = 0
    workers: Annotated[int | None, Parameter(show_default=False)] = None
