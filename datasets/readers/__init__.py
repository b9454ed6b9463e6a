"""Readers of other people's files: one module per format, each recognized by content, never by its name.

A reader turns a file into arrays, the place of their values and notes on everything it had to decide;
`convert` writes them as a sciml dataset, and `open_any` does so on the first use of a file and returns the
same dataset ever after.  `to_well` and `to_pdebench` write a dataset in the layouts of others.
"""

from __future__ import annotations

from sciml.datasets.readers.cfdbench import CFDBench
from sciml.datasets.readers.conversion import Foreign, Reader, convert, open_any
from sciml.datasets.readers.deeponet import DeepONetFile
from sciml.datasets.readers.fno import FNOFile
from sciml.datasets.readers.gnot import PointLists
from sciml.datasets.readers.mesh_file import MeshFile
from sciml.datasets.readers.mppde import MessagePassing
from sciml.datasets.readers.netcdf import NetCDF
from sciml.datasets.readers.neuraloperator import NeuralOperator
from sciml.datasets.readers.pdearena import PDEArena
from sciml.datasets.readers.pdebench import PDEBench
from sciml.datasets.readers.pdebench_export import to_pdebench
from sciml.datasets.readers.reference_solution import ReferenceSolution
from sciml.datasets.readers.text_table import TextTable
from sciml.datasets.readers.well import TheWell
from sciml.datasets.readers.well_export import to_well

# One line for each format; everything else finds them here.
READERS: tuple[Reader, ...] = (
    NeuralOperator(),
    NetCDF(),
    PDEBench(),
    TheWell(),
    FNOFile(),
    MessagePassing(),
    PDEArena(),
    CFDBench(),
    PointLists(),
    DeepONetFile(),
    ReferenceSolution(),
    TextTable(),
    MeshFile(),
)

__all__ = [
    "READERS",
    "CFDBench",
    "DeepONetFile",
    "FNOFile",
    "Foreign",
    "MeshFile",
    "MessagePassing",
    "NetCDF",
    "NeuralOperator",
    "PDEArena",
    "PDEBench",
    "PointLists",
    "Reader",
    "ReferenceSolution",
    "TextTable",
    "TheWell",
    "convert",
    "open_any",
    "to_pdebench",
    "to_well",
]
