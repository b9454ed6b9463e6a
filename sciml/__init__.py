"""Scientific machine learning on PyTorch.

A *model* is a plain ``torch.nn.Module``; an *objective* says what to minimize and on what; one *trainer*
runs the loop; *kernels* do the mathematics. The public names below are found when they are first used, so
that ``import sciml`` itself costs nothing and does not import torch.

Examples
--------
>>> import sciml
>>> "Trainer" in dir(sciml)
True
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sciml import field_derivatives as field_derivatives
    from sciml import metrics as metrics
    from sciml import neighbors as neighbors
    from sciml import plots as plots
    from sciml.appending import append_dataset
    from sciml.artefact import check_artefact
    from sciml.comparison.comparison import Comparison, compare
    from sciml.dataset import Dataset, open_dataset
    from sciml.dataset_writing import write_dataset
    from sciml.description import build, describe
    from sciml.errors import CheckpointError, ConfigError, DataError, DivergedError, ShapeError
    from sciml.grid import Axis, Grid
    from sciml.mesh import Mesh, Points, PointSet
    from sciml.normalization import Normalization
    from sciml.objective import Batch, Objective, Term
    from sciml.physics import Physics
    from sciml.point_surrogate import PointSurrogate
    from sciml.rollout import Rollout
    from sciml.run import Run
    from sciml.schema import Field
    from sciml.streams import Streams
    from sciml.supervised import Supervised
    from sciml.surrogate import Surrogate
    from sciml.trainer import EarlyStop, Phase, Trainer
    from sciml.unroll import Frames, Unroll

    __version__: str

__all__ = [
    "Grid",
    "Axis",
    "Mesh",
    "Points",
    "PointSet",
    "neighbors",
    "field_derivatives",
    "Dataset",
    "Field",
    "open_dataset",
    "write_dataset",
    "append_dataset",
    "Normalization",
    "Streams",
    "Term",
    "Objective",
    "Batch",
    "Supervised",
    "Physics",
    "Rollout",
    "Frames",
    "Unroll",
    "Trainer",
    "Phase",
    "EarlyStop",
    "Run",
    "Surrogate",
    "PointSurrogate",
    "check_artefact",
    "compare",
    "Comparison",
    "describe",
    "build",
    "metrics",
    "plots",
    "DataError",
    "ConfigError",
    "ShapeError",
    "CheckpointError",
    "DivergedError",
]

# Public name -> the module that defines it. A name that is a module itself maps to itself.
_DEFINED_IN = {
    "Grid": "grid",
    "Axis": "grid",
    "Mesh": "mesh",
    "Points": "mesh",
    "PointSet": "mesh",
    "neighbors": "neighbors",
    "field_derivatives": "field_derivatives",
    "Dataset": "dataset",
    "Field": "schema",
    "open_dataset": "dataset",
    "write_dataset": "dataset_writing",
    "append_dataset": "appending",
    "Normalization": "normalization",
    "Streams": "streams",
    "Term": "objective",
    "Objective": "objective",
    "Batch": "objective",
    "Supervised": "supervised",
    "Physics": "physics",
    "Rollout": "rollout",
    "Frames": "unroll",
    "Unroll": "unroll",
    "Trainer": "trainer",
    "Phase": "trainer",
    "EarlyStop": "trainer",
    "Run": "run",
    "Surrogate": "surrogate",
    "PointSurrogate": "point_surrogate",
    "check_artefact": "artefact",
    "compare": "comparison.comparison",
    "Comparison": "comparison.comparison",
    "describe": "description",
    "build": "description",
    "metrics": "metrics",
    "plots": "plots",
    "DataError": "errors",
    "ConfigError": "errors",
    "ShapeError": "errors",
    "CheckpointError": "errors",
    "DivergedError": "errors",
}


def _find_areas_of_checkout() -> None:
    """Let a Python started in a checkout find the area folders, which lie beside ``sciml/`` there.

    An installed copy has them inside its own folder. The test for a file of ours keeps a stranger's project,
    into whose root somebody installed this package, out of the search path.
    """
    own = Path(__file__).resolve().parent
    if not (own / "kernels").is_dir() and (own.parent / "kernels" / "spectral.py").is_file():
        __path__.append(str(own.parent))


_find_areas_of_checkout()


def __getattr__(name: str) -> object:
    if name == "__version__":
        return _version()
    if name not in _DEFINED_IN:
        raise AttributeError(f"module 'sciml' has no attribute {name!r}")
    home = _DEFINED_IN[name]
    module = import_module(f"sciml.{home}")
    value = module if home == name else getattr(module, name)
    globals()[name] = value  # found once; __getattr__ is not asked again
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sciml-pde")
    except PackageNotFoundError:  # a bare checkout
        return "0+unknown"
