"""Numbers of others beside ours: where they come from, how sure they are, whether the protocol is ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sciml.errors import ConfigError

Grade = Literal["read", "quoted", "recalled"]
"""Read in the authors' own paper, code or figure; quoted by somebody else; recalled from memory."""


@dataclass(frozen=True)
class Published:
    """One number that somebody else has published.

    Attributes
    ----------
    system : str
        What was trained.
    value : float
    metric : str
        With its reduction, where that is not the mean over samples.
    source : str
        Paper and table, for people to find it.
    grade : "read", "quoted" or "recalled"
        Confirm a number that is not "read" before you quote it.
    same_protocol : bool
        Whether data, split, inputs, loss and metric are those of the benchmark.
    reason : str
        In what it differs; empty only if it is the same.

    Raises
    ------
    ConfigError
        If the value is not positive, or a differing protocol has no reason.
    """

    system: str
    value: float
    metric: str
    source: str
    grade: Grade
    same_protocol: bool
    reason: str = ""

    def __post_init__(self) -> None:
        if not self.value > 0 or self.same_protocol != (self.reason == ""):
            raise ConfigError(
                f"Published {self.system!r}: needs a positive value, and a reason exactly if the protocol "
                f"differs, got {self.value}, {self.same_protocol} and {self.reason!r}."
            )


Listed = tuple[str, float, str, Grade]
"""System, value, source, grade."""


def elsewhere(rows: Iterable[Listed], reason: str, *, metric: str = "relative_l2") -> tuple[Published, ...]:
    """Numbers under another protocol than ours, which differs as ``reason`` says."""
    return tuple(
        Published(name, value, metric, source, grade, False, reason) for name, value, source, grade in rows
    )


_FNO = "Li et al., FNO (ICLR 2021)"
_FNO_GUIDE = f"{_FNO}, figures of the project's theory guide"
_LSM = "Wu et al., LSM (ICML 2023), main table"
_TRANSOLVER = "Wu et al., Transolver (ICML 2024), table 1"
_LATENT = "Wang and Wang, Latent Neural Operator (NeurIPS 2024), table 1"
_MGNO = "He, Liu and Xu, MgNO (ICLR 2024), table 1"
_MPPDE = "Brandstetter et al., MP-PDE (ICLR 2022), table 1, as later work quotes it"
_SIX: dict[str, dict[str, float]] = {
    # Elasticity, Navier-Stokes 1e-5 from ten frames to ten, Darcy on 85 x 85 points.
    "U-Net 2015": {"elasticity": 0.0235, "flow": 0.1982, "darcy": 0.0080},
    "ResNet": {"elasticity": 0.0262, "flow": 0.2753, "darcy": 0.0587},
    "Swin": {"elasticity": 0.0283, "flow": 0.2248, "darcy": 0.0397},
    "DeepONet": {"elasticity": 0.0965, "flow": 0.2972, "darcy": 0.0588},
    "FNO, Geo-FNO": {"elasticity": 0.0229, "flow": 0.1556, "darcy": 0.0108},
    "U-FNO": {"elasticity": 0.0239, "flow": 0.2231, "darcy": 0.0183},
    "U-NO": {"elasticity": 0.0258, "flow": 0.1713, "darcy": 0.0113},
    "F-FNO": {"elasticity": 0.0263, "flow": 0.2322, "darcy": 0.0077},
    "MWT": {"elasticity": 0.0359, "flow": 0.1541, "darcy": 0.0082},
    "LSM": {"elasticity": 0.0218, "flow": 0.1535, "darcy": 0.0065},
}
_SIX_LATER: dict[str, dict[str, float]] = {
    "Galerkin": {"elasticity": 0.0240, "flow": 0.1401, "darcy": 0.0084},
    "OFormer": {"elasticity": 0.0183, "flow": 0.1705, "darcy": 0.0124},
    "GNOT": {"elasticity": 0.0086, "flow": 0.1380, "darcy": 0.0105},
    "FactFormer": {"flow": 0.1214, "darcy": 0.0109},
    "ONO": {"elasticity": 0.0118, "flow": 0.1195, "darcy": 0.0076},
    "Transolver": {"elasticity": 0.0064, "flow": 0.0900, "darcy": 0.0057},
}
_SIX_LATEST: tuple[tuple[str, str, dict[str, float]], ...] = (
    ("F-FNO, trained again", _LATENT, {"elasticity": 0.0185, "flow": 0.1151, "darcy": 0.0075}),
    ("Transolver, trained again", _LATENT, {"elasticity": 0.0062, "flow": 0.0879, "darcy": 0.0058}),
    ("Latent neural operator", _LATENT, {"elasticity": 0.0052, "flow": 0.0845, "darcy": 0.0049}),
    ("Transolver++", "Transolver++ (2025), figure", {"elasticity": 0.0052, "flow": 0.0719, "darcy": 0.0049}),
    ("LaMO", "Tiwari et al., LaMO (2025)", {"elasticity": 0.0050, "flow": 0.0460, "darcy": 0.0039}),
    (
        "LRSA",
        "Yang et al., arXiv:2604.03582 (2026), checkpoints of the authors",
        {"elasticity": 0.0031, "flow": 0.0421, "darcy": 0.0043},
    ),
)


def six_problems(problem: Literal["elasticity", "flow", "darcy"]) -> list[Listed]:
    """One column of the table that most papers since LSM have continued."""
    tables = [
        *((name, _LSM, row) for name, row in _SIX.items()),
        *((name, _TRANSOLVER, row) for name, row in _SIX_LATER.items()),
        *_SIX_LATEST,
    ]
    return [(name, row[problem], source, "read") for name, source, row in tables if problem in row]


DARCY_141: list[Listed] = [
    ("FNO", 0.0109, _FNO_GUIDE, "read"),
    ("FCN", 0.0493, _FNO_GUIDE, "read"),
    ("PCA + network", 0.0298, _FNO_GUIDE, "read"),
    ("reduced basis", 0.0251, _FNO_GUIDE, "read"),
    ("low-rank LNO", 0.0461, _FNO_GUIDE, "read"),
    ("GNO", 0.0332, _FNO, "recalled"),
    ("MGNO", 0.0428, _FNO, "recalled"),
    ("Galerkin", 0.0084, "Cao, Galerkin transformer (NeurIPS 2021)", "recalled"),
]
DARCY_211: list[Listed] = [
    ("FNO", 0.0109, _FNO_GUIDE, "read"),
    ("FCN", 0.0727, _FNO_GUIDE, "read"),
    ("PCA + network", 0.0298, _FNO_GUIDE, "read"),
    ("reduced basis", 0.0255, _FNO_GUIDE, "read"),
    ("low-rank LNO", 0.0445, _FNO_GUIDE, "read"),
    ("FNO, H1 loss", 0.0068, _MGNO, "recalled"),
    ("U-NO, H1 loss", 0.0049, _MGNO, "recalled"),
    ("LSM, H1 loss", 0.0060, _MGNO, "recalled"),
    ("MgNO, H1 loss", 0.00153, _MGNO, "recalled"),
    (
        "MgNO, H1 loss, run again",
        0.00170,
        "an independent run of the authors' code (2026), one seed",
        "quoted",
    ),
]
DARCY_ROUGH: list[Listed] = [
    ("FNO", 0.0161, _MGNO, "recalled"),
    ("U-NO", 0.0102, _MGNO, "recalled"),
    ("MWT", 0.0114, _MGNO, "recalled"),
    ("Galerkin", 0.0179, _MGNO, "recalled"),
    ("LSM", 0.0266, _MGNO, "recalled"),
    ("HANO", 0.00343, "HANO (J. Comput. Phys. 2024), as MgNO quotes it", "quoted"),
    ("MgNO", 0.00339, _MGNO, "quoted"),
    ("MgNO, run again", 0.00358, "an independent run of the authors' code (2026), one seed", "quoted"),
]
DARCY_MULTISCALE: list[Listed] = [
    ("FNO", 0.0180, _MGNO, "recalled"),
    ("U-NO", 0.0147, _MGNO, "recalled"),
    ("MWT", 0.0102, _MGNO, "recalled"),
    ("Galerkin", 0.0105, _MGNO, "recalled"),
    ("LSM", 0.0105, _MGNO, "recalled"),
    ("HANO", 0.00580, "HANO (J. Comput. Phys. 2024), as MgNO quotes it", "quoted"),
    ("MgNO", 0.00715, _MGNO, "quoted"),
]
BURGERS_1024: list[Listed] = [
    ("FNO", 0.0160, _FNO_GUIDE, "read"),
    ("FCN", 0.1877, _FNO_GUIDE, "read"),
    ("PCA + network", 0.0391, _FNO_GUIDE, "read"),
    ("low-rank LNO", 0.0217, _FNO_GUIDE, "read"),
    ("GNO", 0.0651, _FNO, "recalled"),
    ("MGNO", 0.0374, _FNO, "recalled"),
    ("Galerkin", 0.0010, "Cao, Galerkin transformer (NeurIPS 2021)", "recalled"),
    ("MWT", 0.0020, "Gupta et al., MWT (NeurIPS 2021)", "recalled"),
]
HELMHOLTZ: list[Listed] = [
    ("MgNO, run again", 0.0081, "an independent run of the authors' code (2026), one seed", "quoted"),
]
_FLOW = f"{_FNO}, table 1"
FLOW_3: list[Listed] = [
    ("FNO-3D", 0.0086, _FLOW, "read"),
    ("FNO-2D", 0.0128, _FLOW, "read"),
    ("U-Net", 0.0245, _FLOW, "read"),
    ("TF-Net", 0.0225, _FLOW, "read"),
    ("ResNet", 0.0701, _FLOW, "read"),
    ("MWT", 0.0062, "Gupta et al., MWT (NeurIPS 2021)", "recalled"),
    ("OFormer", 0.0104, "Li et al., OFormer (TMLR 2023)", "recalled"),
]
FLOW_4: list[Listed] = [
    ("FNO-3D", 0.1918, _FLOW, "recalled"),
    ("FNO-2D", 0.1559, _FLOW, "recalled"),
    ("U-Net", 0.2051, _FLOW, "recalled"),
    ("TF-Net", 0.2253, _FLOW, "recalled"),
    ("ResNet", 0.2871, _FLOW, "recalled"),
    ("MWT", 0.1518, "Gupta et al., MWT (NeurIPS 2021)", "recalled"),
]
FLOW_5: list[Listed] = [
    ("FNO-3D", 0.1893, _FLOW, "read"),
    ("FNO-2D", 0.1556, _FLOW, "read"),
    ("U-Net", 0.1982, _FLOW, "read"),
    ("TF-Net", 0.2268, _FLOW, "read"),
    ("ResNet", 0.2753, _FLOW, "read"),
    ("MWT", 0.1541, _LSM, "read"),
]
FLOW_MARKOV: list[Listed] = [("F-FNO, 24 layers", 0.0233, "Tran et al., F-FNO (ICLR 2023)", "recalled")]
FLOW_FIRST_TEN: list[Listed] = [
    ("MgNO, run again", 0.0160, "an independent run of the authors' code (2026), one seed", "quoted")
]
_ACCUMULATED: dict[tuple[str, int], tuple[float, float, float, float]] = {
    # WENO5 on the grid, FNO-RNN, FNO-PF, MP-PDE.
    ("E1", 100): (2.02, 11.93, 0.54, 1.55),
    ("E1", 50): (6.23, 29.98, 0.51, 1.67),
    ("E1", 40): (9.63, 10.44, 0.57, 1.47),
    ("E2", 100): (1.19, 17.09, 2.53, 1.58),
    ("E2", 50): (5.35, 3.57, 2.27, 1.63),
    ("E2", 40): (8.05, 3.26, 2.38, 1.45),
    ("E3", 100): (4.71, 10.16, 5.69, 4.26),
    ("E3", 50): (11.71, 14.49, 5.39, 3.74),
    ("E3", 40): (15.97, 20.90, 5.98, 3.70),
}


def accumulated(experiment: str, resolution: int) -> list[Listed]:
    """One row of the table of E1, E2 and E3."""
    names = ("WENO5 on this grid", "FNO, unrolled", "FNO, pushforward", "MP-PDE")
    return [
        (n, v, _MPPDE, "quoted") for n, v in zip(names, _ACCUMULATED[experiment, resolution], strict=True)
    ]
