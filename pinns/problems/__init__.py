"""Standard problems, one file each, with a fingerprint and a reference by our own solvers.

``__all__`` lists them; their contract is tested for every one.  Problems of one name differ between papers:
the numbers of the equation are arguments, and the docstring says whose they are by default.
"""

from sciml.pinns.problems.allen_cahn import AllenCahn
from sciml.pinns.problems.burgers import Burgers
from sciml.pinns.problems.convection import Convection
from sciml.pinns.problems.helmholtz import Helmholtz
from sciml.pinns.problems.poisson import Poisson, PoissonOfSines
from sciml.pinns.problems.reaction import Reaction
from sciml.pinns.problems.wave import Wave

__all__ = [
    "AllenCahn",
    "Burgers",
    "Convection",
    "Helmholtz",
    "Poisson",
    "PoissonOfSines",
    "Reaction",
    "Wave",
]
