"""Neural operators: learned maps between function spaces, one file per architecture.

Examples
--------
>>> import torch
>>> from sciml.operators import FNO
>>> model = FNO(rank=1, in_channels=2, out_channels=3, modes=8, coordinates=False)
>>> model(torch.zeros(4, 2, 32)).shape
torch.Size([4, 3, 32])
"""

from sciml.operators.deeponet import DeepONet, MultiONet
from sciml.operators.ffno import FFNO
from sciml.operators.fno import FNO
from sciml.operators.gino import GINO
from sciml.operators.gno import GNO
from sciml.operators.gnot import GNOT
from sciml.operators.low_rank import LowRank
from sciml.operators.message_passing import MPPDE
from sciml.operators.mgno import MgNO
from sciml.operators.multipole_gno import MultipoleGNO
from sciml.operators.resnet import ResNet
from sciml.operators.symmetrized import Symmetrized
from sciml.operators.tfno import TFNO
from sciml.operators.transolver import Transolver
from sciml.operators.unet import UNet

# Operators only: the contract tests walk this list.
__all__ = [
    "FNO",
    "TFNO",
    "FFNO",
    "UNet",
    "ResNet",
    "MPPDE",
    "MgNO",
    "DeepONet",
    "MultiONet",
    "Symmetrized",
    "GNOT",
    "Transolver",
    "GNO",
    "GINO",
    "MultipoleGNO",
    "LowRank",
]
