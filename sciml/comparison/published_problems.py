"""Errors of others on problems of physics-informed networks: what papers and the study of twenty found."""

from __future__ import annotations

from collections.abc import Iterator

from sciml.comparison.published import Listed, Published, elsewhere
from sciml.pinns import problems
from sciml.pinns.problem import Problem
from sciml.pinns.problems.study import PUBLISHED
from sciml.pinns.problems.study.published import SOURCE


def published_on(problem: Problem) -> list[Published]:
    """Numbers of others on a problem with these arguments."""
    return list(elsewhere(_rows(problem), "points of the reference, network, steps and machine are theirs"))


def _rows(problem: Problem) -> Iterator[Listed]:
    for name, posed in STUDY.items():
        if problem == posed:
            best = PUBLISHED[name]
            solved = "" if best.solved else ", which the study counts as solved by none"
            yield (f"{best.method}, best of a study of 20 problems{solved}", best.error, SOURCE, "quoted")
    if problem == type(problem)():
        yield from _PUBLISHED.get(type(problem).__name__, ())


STUDY: dict[str, Problem] = {
    "Burgers1d-C": problems.Burgers(),
    "Burgers2d-C": problems.BurgersInPlane(),
    "Poisson2d-C": problems.FourDiscs(),
    "Poisson2d-CG": problems.PoissonBoltzmann(),
    "Poisson3d-CG": problems.PoissonAroundSpheres(),
    "Poisson2d-MS": problems.PoissonInPatches(),
    "Heat2d-VC": problems.HeatInMedium(),
    "Heat2d-MS": problems.HeatInStripes(),
    "Heat2d-CG": problems.HeatAroundDiscs(),
    "Heat2d-LT": problems.HeatForLong(),
    "NS2d-C": problems.Cavity(),
    "NS2d-CG": problems.BackwardStep(),
    "NS2d-LT": problems.PulsatingChannel(),
    "Wave1d-C": problems.Wave(mode=4),
    "Wave2d-CG": problems.WaveInMedium(),
    "Wave2d-MS": problems.WaveForLong(),
    "GS": problems.GrayScottForLong(),
    "KS": problems.ChaoticKuramotoSivashinsky(),
    "PNd": problems.PoissonOfSines(),
    "HNd": problems.HeatInBall(),
}
"""The problems of the study of Hao et al. by their names there."""

_KIYANI = "Kiyani et al., arXiv:2501.16371"
_DOUBLE = "arXiv:2605.30910, double penalty"
_FORMER = "Zhao, Ding and Prakash, PINNsFormer (ICLR 2024)"
_R3 = "Daw et al., R3 sampling (ICML 2023), main table"
_PIG = "Kang et al., physics-informed Gaussians (ICLR 2025)"
_PIRATE = "Wang, Li, Chen and Perdikaris, PirateNets (JMLR 2024)"

_PUBLISHED: dict[str, list[Listed]] = {
    "Burgers": [
        ("PINN", 6.7e-4, "Raissi, Perdikaris and Karniadakis (J. Comput. Phys. 2019)", "read"),
        ("self-scaled Broyden, 8x20", 1.62e-8, _KIYANI, "quoted"),
    ],
    "AllenCahn": [
        ("PINN, new points at each step", 7.7e-3, _R3, "read"),
        ("R3", 8.3e-3, _R3, "read"),
        ("RAD", 7.8e-3, _R3, "read"),
        ("causal weights", 1.39e-4, "Wang, Sankaran and Perdikaris (CMAME 2024)", "read"),
        ("Gaussians", 1.04e-4, _PIG, "read"),
        ("PirateNet", 2.24e-5, _PIRATE, "read"),
        ("self-scaled Broyden, 3x30", 9.43e-7, _KIYANI, "quoted"),
    ],
    "Convection": [
        ("PINN, points that stay", 1.087, _R3, "read"),
        ("PINN, new points at each step", 0.569, _R3, "read"),
        ("RAD", 0.641, _R3, "read"),
        ("R3", 2.28e-2, _R3, "read"),
        ("PINNsFormer", 2.7e-2, _FORMER, "read"),
        ("double penalty, L-BFGS", 5.4e-6, _DOUBLE, "quoted"),
    ],
    "Reaction": [
        ("PINNsFormer", 3.0e-2, _FORMER, "read"),
        ("double penalty, L-BFGS", 2.9e-5, _DOUBLE, "quoted"),
    ],
    "Wave": [
        ("PINNsFormer", 0.283, _FORMER, "read"),
        ("PINNsFormer with NTK weights", 5.8e-2, _FORMER, "read"),
        ("double penalty, L-BFGS", 3.8e-4, _DOUBLE, "quoted"),
    ],
    "Helmholtz": [
        ("PINN", 0.402, _PIG, "read"),
        ("PINN, annealed weights", 3.69e-3, _PIG, "read"),
        ("Gaussians", 4.13e-5, _PIG, "read"),
    ],
}
