"""Pure functions on tensors that do the mathematics. Everything here imports torch and nothing else.

Examples
--------
>>> import torch
>>> from sciml.kernels import Exact, laplacian, spectral_conv
>>> spectral_conv(torch.zeros(2, 3, 16), torch.zeros(4, 3, 5, 2), (4,)).shape
torch.Size([2, 5, 16])
>>> x = torch.tensor([[1.0, 2.0], [0.0, 3.0]])
>>> laplacian(lambda x: (x**3).sum(-1), x, estimator=Exact())
tensor([18., 18.])
"""

from sciml.kernels.basis import Basis, Fourier
from sciml.kernels.calculus import dealiased_product, derivative, resample
from sciml.kernels.contractions import Contraction, Dense
from sciml.kernels.cubature import sphere_lines
from sciml.kernels.derivatives import Derivative, d, expand_jet, laplace
from sciml.kernels.differential import (
    biharmonic,
    differential_operator,
    laplacian,
    squared_residual,
    third,
    trace,
)
from sciml.kernels.estimators import CubatureLines, DenseDirections, Exact, Hutchinson, SparseDirections
from sciml.kernels.evaluation import evaluate
from sciml.kernels.factored_gradient import FactoredGradient, recorded
from sciml.kernels.factored_update import FactoredAdam
from sciml.kernels.factorized import CP, BlockDiagonal, Separable, Tucker
from sciml.kernels.layer import spectral_layer
from sciml.kernels.neighbor_sums import neighbor_sum, three_body, two_body
from sciml.kernels.partials import Partials
from sciml.kernels.plans import Plan, plan
from sciml.kernels.polynomial import FullPolynomial
from sciml.kernels.radial_product import RadialProduct
from sciml.kernels.shared_blocks import SharedBlocks
from sciml.kernels.spectral import frequency_range, spectral_conv
from sciml.kernels.spectrum import energy_spectrum
from sciml.kernels.wide_linear import WideLinear

__all__ = [
    # spectral
    "spectral_conv",
    "spectral_layer",
    "frequency_range",
    "Contraction",
    "Dense",
    "CP",
    "Tucker",
    "Separable",
    "BlockDiagonal",
    "Basis",
    "Fourier",
    "derivative",
    "resample",
    "dealiased_product",
    "energy_spectrum",
    # derivatives of functions
    "laplacian",
    "biharmonic",
    "trace",
    "third",
    "differential_operator",
    "evaluate",
    "squared_residual",
    "Exact",
    "Hutchinson",
    "SparseDirections",
    "DenseDirections",
    "CubatureLines",
    "sphere_lines",
    "d",
    "laplace",
    "expand_jet",
    "Derivative",
    "Partials",
    "Plan",
    "plan",
    # many dimensions
    "WideLinear",
    "SharedBlocks",
    "RadialProduct",
    "FullPolynomial",
    "FactoredAdam",
    "FactoredGradient",
    "recorded",
    "neighbor_sum",
    "two_body",
    "three_body",
]
