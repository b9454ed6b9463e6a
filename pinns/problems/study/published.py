"""What the study of Hao et al. found best, problem by problem."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """The smallest relative L2 error in the tables of the study, of all its methods.

    Attributes
    ----------
    error : float
    method : str
        The one that reached it.
    solved : bool
        False where the study counts the problem as solved by none.
    """

    error: float
    method: str
    solved: bool = True


SOURCE = (
    "Hao et al., PINNacle: a comprehensive benchmark of physics-informed neural networks for solving PDEs, "
    "NeurIPS 2024 (arXiv:2306.08827): best mean of three trainings of 20,000 steps"
)

PUBLISHED = {
    "Burgers1d-C": Published(1.45e-2, "PINN"),
    "Burgers2d-C": Published(2.60e-1, "NTK"),
    "Poisson2d-C": Published(1.23e-2, "NTK"),
    "Poisson2d-CG": Published(1.43e-2, "NTK"),
    "Poisson3d-CG": Published(9.47e-2, "NTK"),
    "Poisson2d-MS": Published(5.90e-1, "MultiAdam"),
    "Heat2d-VC": Published(2.12e-1, "LRA"),
    "Heat2d-MS": Published(6.21e-2, "PINN"),
    "Heat2d-CG": Published(2.39e-2, "LAAF"),
    "Heat2d-LT": Published(9.99e-1, "all alike", solved=False),
    "NS2d-C": Published(3.60e-2, "LAAF"),
    "NS2d-CG": Published(8.24e-2, "LAAF"),
    "NS2d-LT": Published(9.70e-1, "L-BFGS", solved=False),
    "Wave1d-C": Published(9.79e-2, "NTK"),
    "Wave2d-CG": Published(7.94e-1, "GAAF"),
    "Wave2d-MS": Published(9.82e-1, "LAAF", solved=False),
    "GS": Published(7.99e-2, "FBPINN"),
    "KS": Published(9.57e-1, "NTK", solved=False),
    "PNd": Published(4.67e-4, "L-BFGS"),
    "HNd": Published(1.19e-4, "L-BFGS"),
}
"""By the names of the study, in its order; see `SOURCE`."""
