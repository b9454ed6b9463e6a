"""Pure functions on tensors that do the mathematics. Everything here imports torch and nothing else.

Examples
--------
>>> import torch
>>> from sciml.kernels import spectral_conv
>>> spectral_conv(torch.zeros(2, 3, 16), torch.zeros(3, 5, 4, 2), (4,)).shape
torch.Size([2, 5, 16])
"""

from sciml.kernels.spectral import frequency_range, spectral_conv

__all__ = ["frequency_range", "spectral_conv"]
