"""Protocols of maps between fields: Darcy flow, Helmholtz equation, and values on meshes."""

from __future__ import annotations

from sciml.comparison import published as known
from sciml.comparison.benchmark import Benchmark, Made
from sciml.comparison.published import Listed, elsewhere, six_problems
from sciml.datasets.darcy import Darcy
from sciml.datasets.elasticity import Elasticity
from sciml.datasets.helmholtz import Helmholtz
from sciml.datasets.poisson import PoissonWithHoles
from sciml.presets import Generated, Recipe

FIELDS = Recipe(batch_size=8, learning_rate=2e-3, weight_decay=1e-4)

_FNO_DARCY = "Li et al., FNO (ICLR 2021), section 5.2: 1000 training samples, 100 or 200 to test, relative L2"
_MGNO = "He, Liu and Xu, MgNO (ICLR 2024), section 4: 1280 or 1000 training samples"
_OTHER_DARCY = (
    "other data: a node scheme with arithmetic means on 421 x 421 points, thinned; ours are finite volumes "
    "on the cells of this grid"
)
_OTHER_GRID = "other data: 256 x 256 points, thinned from a finer grid; trained with a Sobolev loss"
_OTHER_LOSS = "other data: solved on a finer grid, then thinned; trained with a Sobolev loss"


def _darcy(
    name: str, generator: Darcy, rows: list[Listed], reason: str, source: str, note: str, **counts: int
) -> Benchmark:
    return Benchmark(
        name,
        Made(Generated(generator, **counts)),
        inputs=("a",),
        outputs=("u",),
        recipe=FIELDS,
        source=source,
        note=note,
        published=elsewhere(rows, reason),
    )


MAPS = (
    _darcy(
        "darcy/smooth-85/v1", Darcy(resolution=85), six_problems("darcy"), _OTHER_DARCY, _FNO_DARCY,
        "8 seconds for the data",
    ),
    _darcy(
        "darcy/smooth-141/v1", Darcy(resolution=141), known.DARCY_141, _OTHER_DARCY, _FNO_DARCY,
        "20 seconds for the data",
    ),
    _darcy(
        "darcy/smooth-211/v1", Darcy(resolution=211), known.DARCY_211, _OTHER_DARCY, _FNO_DARCY,
        "45 seconds for the data",
    ),
    _darcy(
        "darcy/rough-64/v1", Darcy(resolution=64, tau=5.0, low=2.0), known.DARCY_ROUGH, _OTHER_GRID, _MGNO,
        "20 seconds for the data; 64 cells, to train in minutes", test=100,
    ),
    _darcy(
        "darcy/rough-256/v1", Darcy(resolution=256, tau=5.0, low=2.0), known.DARCY_ROUGH, _OTHER_LOSS, _MGNO,
        "a minute for the data", train=1280, valid=112, test=112,
    ),
    _darcy(
        "darcy/multiscale-256/v1", Darcy(resolution=256, law="multiscale"), known.DARCY_MULTISCALE,
        _OTHER_LOSS, _MGNO,
        "4 minutes for the data; 256 cells do not resolve the shortest wave: a finer solution differs",
        test=100,
    ),
    Benchmark(
        "helmholtz/8-65/v1",
        Made(Generated(Helmholtz(), test=100)),
        inputs=("c",),
        outputs=("u",),
        recipe=FIELDS,
        source="ours: a source in a medium of random speed, four wave lengths across, waves leave",
        note="4 minutes for the data",
    ),
    Benchmark(
        "helmholtz/50-101/v1",
        Made(Generated(Helmholtz(resolution=100, wavenumber=50.0, contrast=0.05), test=200)),
        inputs=("c",),
        outputs=("u",),
        recipe=FIELDS,
        source="de Hoop et al. (2022), arXiv:2203.13181, wave number and speeds; MgNO takes 4000 samples",
        note="20 minutes for the data",
        published=elsewhere(
            known.HELMHOLTZ,
            "other data: waves are driven through one wall and reflected by the others; 4000 training "
            "samples, absolute Sobolev loss",
        ),
    ),
    Benchmark(
        "elasticity/void/v1",
        Made(Generated(Elasticity())),
        inputs=("radius",),
        outputs=("von_mises",),
        recipe=Recipe(batch_size=8, learning_rate=1e-3, weight_decay=1e-4),
        source="Li et al., Geo-FNO (JMLR 2023), section 4.1: geometry to stress, 1000 training samples, 200 "
        "to test",
        note="40 seconds for the data; 880 nodes or so, each mesh another one",
        published=elsewhere(
            six_problems("elasticity"),
            "other data: a hyperelastic body at 972 points; ours is linear, at the nodes of its mesh",
        ),
    ),
    Benchmark(
        "poisson/holes/v1",
        Made(Generated(PoissonWithHoles())),
        inputs=("a", "f", "level", "flux"),
        outputs=("u",),
        recipe=Recipe(batch_size=8, learning_rate=1e-3, weight_decay=1e-4),
        source="ours: diffusion around one to three random holes",
        note="40 seconds for the data",
    ),
    Benchmark(
        "poisson/holes/v2",
        Made(Generated(PoissonWithHoles())),
        inputs=("a", "f", "hole", "level", "flux"),
        outputs=("u",),
        points=256,
        recipe=Recipe(batch_size=8, learning_rate=2e-3, weight_decay=1e-4, clip=1.0),
        source="ours: diffusion around one to three random holes",
        note="40 seconds for the data, those of v1; points are told how far they are from the holes, "
        "and a step sees 256 of the 1150 or so of a mesh",
    ),
)  # fmt: skip
