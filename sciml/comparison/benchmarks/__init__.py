"""The protocols of the library by name.

A published protocol has a name of its own, with its source.  Where the data are ours, of the same law but
from our solver, the numbers published on the original files stand beside ours as those of another protocol;
protocols that begin with "fno-files", "pdebench" or "the-well" are on the original files, which the user
must have.  Notes say how long the data take on two cores, roughly.
"""

from sciml.comparison.benchmark import Benchmark
from sciml.comparison.benchmarks.files import FILES
from sciml.comparison.benchmarks.flows import FLOWS
from sciml.comparison.benchmarks.lines import LINES
from sciml.comparison.benchmarks.maps import MAPS

__all__ = ["BENCHMARKS"]

BENCHMARKS: dict[str, Benchmark] = {b.name: b for b in (*MAPS, *FLOWS, *LINES, *FILES)}
