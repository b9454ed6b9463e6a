"""Readers of other people's files: one module per format, each recognized by content, never by its name.

A reader turns a file into arrays, a grid and notes on everything it had to decide; `convert` writes them as a
sciml dataset, and `open_any` does so on the first use of a file and returns the same dataset ever after.
"""

from __future__ import annotations

from sciml.datasets.readers.conversion import READERS, Foreign, Reader, convert, open_any
from sciml.datasets.readers.netcdf import NetCDF
from sciml.datasets.readers.neuraloperator import NeuralOperator

__all__ = ["READERS", "Foreign", "NetCDF", "NeuralOperator", "Reader", "convert", "open_any"]
