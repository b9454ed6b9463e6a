"""``sciml export``: a trained surrogate as one file for PyTorch, ONNX and C++ without sciml."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

from sciml.artefact import RELATIVE, Artefact, check_artefact
from sciml.cli.apply import load_surrogate
from sciml.cli.options import ModelOptions
from sciml.cli.output import emit_json, print_table
from sciml.errors import ConfigError
from sciml.point_surrogate import PointSurrogate


def export(
    run: Path | None,
    *,
    to: Literal["pt2", "onnx"] | None,
    output: Path | None,
    static: bool,
    check: Path | None,
    model: ModelOptions,
    force: bool,
    json: bool,
) -> int:
    """Export a surrogate, or check a file that was exported."""
    if check is not None:
        if run is not None or (to, output) != (None, None) or static or force:
            raise ConfigError("--check FILE looks at a file and writes none; give nothing else but --json.")
        start = time.perf_counter()
        _show(check_artefact(check), "checked", time.perf_counter() - start, json)
        return 0
    if run is None:
        raise ConfigError("sciml export needs the folder of a run or of a surrogate, or --check FILE.")
    suffix = to or (output.suffix.removeprefix(".") if output is not None else "pt2")
    path = output if output is not None else Path(f"{run.resolve().name}.{suffix}")
    if path.exists() and not force:
        raise ConfigError(f"{path} exists; replace it with --force, or choose another --output.")
    surrogate = load_surrogate(run, model, "cpu")
    if isinstance(surrogate, PointSurrogate):
        raise ConfigError(f"sciml export writes maps between fields on a grid; {run} holds a {surrogate}.")
    start = time.perf_counter()
    made = surrogate.export(path, to=to, dynamic=not static)
    _show(made, "exported", time.perf_counter() - start, json)
    return 0


def _show(made: Artefact, done: str, seconds: float, json: bool) -> None:
    description = made.description
    checks = [
        {"batch": c.batch, "grid": list(c.grid), "relative_difference": c.difference} for c in made.checks
    ]
    if json:
        kept = {key: value for key, value in description.items() if key != "check"}
        emit_json(
            {
                "file": str(made.path),
                "bytes": made.path.stat().st_size,
                "checks": checks,
                "allowed_difference": RELATIVE,
                "seconds": seconds,
                "description": kept,
            }
        )
        return
    print(f"{made.path}: {made.path.stat().st_size / 2**20:.3g} MiB, {done} in {seconds:.3g} s")
    print(f"  {description['summary']}")
    print(f"  grids: {', '.join(_sizes(axis) for axis in description['axes'])}; any batch")
    rows = [
        (" x ".join(map(str, c.grid)), str(c.batch), f"{c.difference:.1e}", f"{RELATIVE:.0e}")
        for c in made.checks
    ]
    print_table("", ("grid", "batch", "relative difference", "allowed"), rows)


def _sizes(axis: dict[str, Any]) -> str:
    if axis["fixed_size"]:
        return f"{axis['name']} = {axis['size']}"
    same = f" (as {axis['same_size_as']})" if axis["same_size_as"] else ""
    return f"{axis['name']} >= {axis['minimum_size']}{same}"
