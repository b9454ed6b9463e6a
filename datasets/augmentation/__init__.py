"""Augmentation: new exact samples from old ones, by rules that an equation allows.

`CoordinateChange` rewrites an equation in random new coordinates; `Shift`, `BoxSymmetry`, `Galilean` and
`Scaling` use symmetries that the problem has, and refuse one that has not.  `Augmented` changes the samples
of every training step; `enlarged` writes a larger file once.
"""

from __future__ import annotations

from sciml.datasets.augmentation.augmentation import Augmentation, Problem
from sciml.datasets.augmentation.covariant import CoordinateChange, isotropic
from sciml.datasets.augmentation.declared import Symmetries, symmetries_of
from sciml.datasets.augmentation.enlarged import enlarged
from sciml.datasets.augmentation.symmetries import BoxSymmetry, Galilean, Scaling, Shift
from sciml.datasets.augmentation.training import Augmented

__all__ = [
    "Augmentation",
    "Augmented",
    "BoxSymmetry",
    "CoordinateChange",
    "Galilean",
    "Problem",
    "Scaling",
    "Shift",
    "Symmetries",
    "enlarged",
    "isotropic",
    "symmetries_of",
]
