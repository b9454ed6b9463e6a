"""Runs checks of the Triton kernels in Triton's interpreter, in a process of their own.

``python -P interpreted.py NAME...`` runs the functions of these names in value_checks.py, rule_checks.py and
jet_checks.py and prints one line of JSON for each. The interpreter is chosen before Triton is imported, for a
whole process. It computes in float32 whatever ``input_precision`` says, runs the programs of a launch one
after the other, and multiplies bfloat16 wrongly: what the kernels do with it runs on float16 there
(`sciml.kernels.triton.device.product`).
"""

import json
import os
import sys
import traceback
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from unittest import SkipTest

HERE = Path(__file__).resolve().parent


def loops_fail() -> str | None:
    """Why the interpreter cannot run here, if so."""
    import torch
    import triton

    from sciml.kernels.triton import mixing

    zeros = [torch.zeros(2) for _ in range(3)]
    try:
        mixing.mix[(1,)](*zeros, 1, 1, 1, BATCH=8, IN=16, OUT=8, PRECISION="tf32")
    except Exception as error:
        if "only 0-dimensional arrays" in str(error):  # Triton 3.6 with NumPy 2.4 or later
            return f"the interpreter of Triton {triton.__version__} does not run with this NumPy: {error}"
        raise
    return None


def main(names: list[str]) -> None:
    os.environ["TRITON_INTERPRET"] = "1"
    os.environ.pop("SCIML_KERNELS", None)
    if find_spec("sciml") is None:
        sys.path.append(str(HERE.parents[2]))
    sys.path.append(str(HERE))
    import jet_checks
    import rule_checks
    import torch
    import value_checks

    torch.set_num_threads(1)
    modules = value_checks, rule_checks, jet_checks
    missing = loops_fail()
    for name in names:
        start, failure, skip = perf_counter(), None, missing
        if skip is None:
            try:
                next(getattr(m, name) for m in modules if hasattr(m, name))()
            except SkipTest as reason:
                skip = str(reason)
            except BaseException:
                failure = traceback.format_exc()
        result = {"name": name, "failure": failure, "skip": skip, "seconds": perf_counter() - start}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
