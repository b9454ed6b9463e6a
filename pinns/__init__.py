"""Physics-informed networks: problems, domains, samplers, networks, recipes and the residual objective.

Examples
--------
>>> from sciml import pinns
>>> problem = pinns.problems.Burgers()
>>> problem.domain.bounds
((-1.0, 1.0), (0.0, 1.0))
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sciml.pinns import losses as losses
    from sciml.pinns import networks as networks
    from sciml.pinns import problems as problems
    from sciml.pinns import recipes as recipes
    from sciml.pinns import samplers as samplers
    from sciml.pinns import weightings as weightings
    from sciml.pinns.ansatz import ansatz_for
    from sciml.pinns.bridge import DeepXDEResidual, from_deepxde, to_deepxde
    from sciml.pinns.conditions import (
        Condition,
        Dirichlet,
        Initial,
        Integral,
        Neumann,
        Periodic,
        Relation,
        Robin,
        Unknown,
    )
    from sciml.pinns.constrained import Constrained, Coordinates
    from sciml.pinns.csg import Difference, Intersection, Renamed, Union
    from sciml.pinns.curriculum import Climb, climb
    from sciml.pinns.deepxde_geometry import DeepXDEGeometry, domain_from_deepxde, geometry_from_deepxde
    from sciml.pinns.diffusions import Diffusion
    from sciml.pinns.distances import distance
    from sciml.pinns.domain import Ball, Box, Domain, Geometry
    from sciml.pinns.experiments import Experiments
    from sciml.pinns.fields import Fields, fields_of
    from sciml.pinns.gaussian import Gaussian
    from sciml.pinns.marching import March, MarchAttempt, march
    from sciml.pinns.measurements import PointData, Prior
    from sciml.pinns.mesh_geometry import MeshGeometry
    from sciml.pinns.naming import named_recipe
    from sciml.pinns.polygon import Polygon
    from sciml.pinns.problem import Ansatz, Classical, Problem, Solution, component
    from sciml.pinns.radial import RadialBall
    from sciml.pinns.recipe import Recipe, Stage
    from sciml.pinns.residual import Residual
    from sciml.pinns.settling import fourier_series
    from sciml.pinns.solving import Attempt, solve
    from sciml.pinns.subspaces import Subspace, active_subspace, fit_directions
    from sciml.pinns.uncertainty import Finding, Uncertainty, findings, uncertainty_of
    from sciml.pinns.unknowns import Coefficient, CoefficientField

__all__ = [
    # problems
    "Problem",
    "Domain",
    "Geometry",
    "Box",
    "Ball",
    "Gaussian",
    "RadialBall",
    "Polygon",
    "Union",
    "Difference",
    "Intersection",
    "Renamed",
    "MeshGeometry",
    "DeepXDEGeometry",
    "geometry_from_deepxde",
    "domain_from_deepxde",
    "Condition",
    "Dirichlet",
    "Neumann",
    "Robin",
    "Periodic",
    "Initial",
    "Integral",
    "Relation",
    "PointData",
    "Prior",
    "Coefficient",
    "CoefficientField",
    "Unknown",
    "Experiments",
    "Ansatz",
    "ansatz_for",
    "distance",
    "Diffusion",
    "Solution",
    "Classical",
    "component",
    "problems",
    # training
    "Residual",
    "Constrained",
    "Coordinates",
    "losses",
    "networks",
    "samplers",
    "weightings",
    "Recipe",
    "Stage",
    "recipes",
    "named_recipe",
    "solve",
    "march",
    "March",
    "MarchAttempt",
    "fourier_series",
    "climb",
    "Climb",
    "Attempt",
    "Fields",
    "fields_of",
    "findings",
    "Finding",
    "uncertainty_of",
    "Uncertainty",
    "active_subspace",
    "Subspace",
    "fit_directions",
    # DeepXDE
    "from_deepxde",
    "to_deepxde",
    "DeepXDEResidual",
]

# Public name -> the module that defines it. A name that is a module itself maps to itself.
_DEFINED_IN = {
    "Problem": "problem",
    "Domain": "domain",
    "Geometry": "domain",
    "Box": "domain",
    "Ball": "domain",
    "Gaussian": "gaussian",
    "RadialBall": "radial",
    "Polygon": "polygon",
    "Union": "csg",
    "Difference": "csg",
    "Intersection": "csg",
    "Renamed": "csg",
    "MeshGeometry": "mesh_geometry",
    "DeepXDEGeometry": "deepxde_geometry",
    "geometry_from_deepxde": "deepxde_geometry",
    "domain_from_deepxde": "deepxde_geometry",
    "Condition": "conditions",
    "Dirichlet": "conditions",
    "Neumann": "conditions",
    "Robin": "conditions",
    "Periodic": "conditions",
    "Initial": "conditions",
    "Integral": "conditions",
    "Relation": "conditions",
    "PointData": "measurements",
    "Prior": "measurements",
    "Coefficient": "unknowns",
    "CoefficientField": "unknowns",
    "Unknown": "conditions",
    "Experiments": "experiments",
    "Ansatz": "problem",
    "ansatz_for": "ansatz",
    "distance": "distances",
    "Diffusion": "diffusions",
    "Solution": "problem",
    "Classical": "problem",
    "component": "problem",
    "problems": "problems",
    "Residual": "residual",
    "Constrained": "constrained",
    "Coordinates": "constrained",
    "losses": "losses",
    "networks": "networks",
    "samplers": "samplers",
    "weightings": "weightings",
    "Recipe": "recipe",
    "Stage": "recipe",
    "recipes": "recipes",
    "named_recipe": "naming",
    "solve": "solving",
    "march": "marching",
    "March": "marching",
    "MarchAttempt": "marching",
    "fourier_series": "settling",
    "climb": "curriculum",
    "Climb": "curriculum",
    "Attempt": "solving",
    "Fields": "fields",
    "fields_of": "fields",
    "findings": "uncertainty",
    "Finding": "uncertainty",
    "uncertainty_of": "uncertainty",
    "Uncertainty": "uncertainty",
    "active_subspace": "subspaces",
    "Subspace": "subspaces",
    "fit_directions": "subspaces",
    "from_deepxde": "bridge",
    "to_deepxde": "bridge",
    "DeepXDEResidual": "bridge",
}


def __getattr__(name: str) -> object:
    if name not in _DEFINED_IN:
        raise AttributeError(f"module 'sciml.pinns' has no attribute {name!r}")
    home = _DEFINED_IN[name]
    module = import_module(f"sciml.pinns.{home}")
    value = module if home == name else getattr(module, name)
    globals()[name] = value  # found once; __getattr__ is not asked again
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
