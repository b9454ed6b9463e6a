"""Finite elements on a mesh of one's own, for problems whose samples live on other meshes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from sciml.datasets.numerics.mesh_functions import at_points
from sciml.mesh import Mesh

if TYPE_CHECKING:
    from torch import Tensor

Float = NDArray[np.float64]


class MeshProblem(Protocol):
    """What `MeshSolver` asks of a generator."""

    @property
    def degree(self) -> int:
        """Of the elements."""
        ...

    def solved(self, seed: int, resolution: int) -> tuple[Mesh, Float]:
        """The mesh of a sample at a resolution, and all outputs at its nodes, (node, channel)."""
        ...


@dataclass(frozen=True)
class MeshSolver:
    """The solver of one sample, on a mesh of its own that fits the same boundary.

    It makes the mesh, solves, and evaluates the finite element functions at the nodes of the sample's mesh.
    Geometry and coefficients are those that the seed draws, as whoever poses a problem has them.

    Parameters
    ----------
    problem : MeshProblem
    resolution : int
        Triangles along each side.
    seed : int
    """

    problem: MeshProblem
    resolution: int
    seed: int = field(compare=False)

    @property
    def name(self) -> str:
        """For tables."""
        return f"finite elements of degree {self.problem.degree}, {self.resolution} per side"

    def at_nodes(self, inputs: Tensor, mesh: Mesh) -> Tensor:
        """Outputs (channel, node) at the nodes of a mesh of the sample; type and device of ``inputs``."""
        import torch

        own, values = self.problem.solved(self.seed, self.resolution)
        # Straight sides of coarse triangles cut curves short, so that finer nodes may lie outside.
        found = at_points(own, values, mesh.coordinates, outside=1.0).T
        return torch.from_numpy(np.ascontiguousarray(found)).to(device=inputs.device, dtype=inputs.dtype)
