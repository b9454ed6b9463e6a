"""Weights that give the neural tangent kernels of all terms the same mean eigenvalue per point."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sciml import processes
from sciml.description import describable
from sciml.errors import ConfigError
from sciml.objective import Term
from sciml.pinns.weightings.balancing import balanced, length
from sciml.pinns.weightings.weighting import Scene, State, Weighting, Weights


@describable
@dataclass(frozen=True)
class NTK(Weighting):
    r"""Each term weighs the mean over all terms of the traces of their tangent kernels over its own.

    With residuals :math:`F_k(x_i)`, their weights so far within them, and the Jacobian :math:`J_k` of those
    of a term by what is trained,

    .. math::

        t_k = \frac{1}{N_k} \operatorname{tr} J_k J_k^T
            = \frac{1}{N_k} \sum_i \|\partial F_k(x_i) / \partial \theta\|^2, \qquad
        \hat\lambda_k = \frac{\text{mean}_j\, t_j}{t_k + 10^{-5} \text{mean}_j\, t_j},
        \qquad \lambda \leftarrow \text{memory} \cdot \lambda + (1 - \text{memory}) \hat\lambda.

    The traces say how fast residuals of a term can fall, whether or not they already have; the gradient of
    its loss, :math:`2 J_k^T F_k / N_k`, in which points cancel, does not.  They are estimated without bias by
    :math:`\|J_k^T z\|^2` with random signs z, one backward pass for each probe.  A kernel with one dominant
    eigenvalue is known to :math:`\sqrt{2 / \text{probes}}` of its trace.

    The ``weights`` of the loss are factors in :math:`F_k`, so they are where balancing starts from, and are
    forgotten.

    Parameters
    ----------
    every : int
        Steps between updates.
    memory : float, 0 to 1
        0 balances at once.
    probes : int
        Backward passes for each term at an update.

    Raises
    ------
    ConfigError
        If a number is out of range, or a term is no mean of squares.

    Notes
    -----
    Source: Wang, Yu and Perdikaris, When and why PINNs fail to train: a neural tangent kernel perspective,
    J. Comput. Phys. 449 (2022), algorithm 1, with the mean of the traces instead of their sum and a floor
    under each, as for `GradientNorm`.  Codes that call the length of the summed gradient NTK weights compute
    something else.

    Examples
    --------
    >>> from sciml.pinns import Residual, problems
    >>> from sciml.pinns.recipes import PLAIN
    >>> from sciml.streams import Streams
    >>> problem = problems.Wave()
    >>> loss = Residual(problem, points=50, weighting=NTK(memory=0.0))
    >>> batch = loss.draw(0, PLAIN.model(problem, 0), Streams(0))
    >>> bool(batch["initial/factor"] > batch["equation/factor"])  # two derivatives make a kernel large
    True
    """

    every: int = 1000
    memory: float = 0.9
    probes: int = 16

    def __post_init__(self) -> None:
        if self.every < 1 or not 0 <= self.memory < 1 or self.probes < 1:
            raise ConfigError(f"NTK: needs every >= 1, 0 <= memory < 1 and probes >= 1, got {self}.")

    def weigh(self, state: State | None, scene: Scene, step: int) -> tuple[State, Weights]:
        if state is None or step % self.every == 0:
            state = balanced(state, self.traces(scene, step), self.memory)
        return state, state

    def traces(self, scene: Scene, step: int) -> dict[str, Tensor]:
        """The estimated trace of each term's kernel over its number of residuals, float64."""
        generator = scene.stream.generator(step)
        with torch.enable_grad():
            sites = scene.terms()
        return {
            name: self._trace(name, term, scene, len(scene.rows[site]), generator)
            for site, terms in sites.items()
            for name, term in terms.items()
        }

    def _trace(self, name: str, term: Term, scene: Scene, count: int, generator: torch.Generator) -> Tensor:
        if not term.square:
            raise ConfigError(
                f"NTK: the term {name!r} is no mean of squares, so its residuals have no kernel; take "
                "GradientNorm, or exact derivatives."
            )
        # All processes draw the signs of all rows.
        shape = (self.probes, count, *term.values.shape[1:])
        signs = torch.randint(0, 2, shape, generator=generator).mul(2).sub(1)
        total = int(processes.add_up(torch.tensor(term.values.numel(), device=term.values.device)))
        with torch.enable_grad():
            residual = term.factor() * (term.values.numel() / total) ** 0.5 * term.values
            probed = [(residual * scene.own(z).to(residual)).sum() for z in signs]
        return torch.stack([length(share, scene.parameters).square() for share in probed]).mean()
