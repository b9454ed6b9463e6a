"""A roll-out as a moving picture: truth, prediction and error side by side, in a GIF that needs no script."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciml import plots
from sciml.errors import ShapeError
from sciml.grid import Axis, Grid

# A page holds one film, below 1 MB: frames, pixels per inch, colors.
_FRAMES = 25
_DPI = 72
_COLORS = 160
_SECONDS = 5.0


@dataclass(frozen=True)
class Film:
    """One scalar of one roll-out: ``truth`` and ``prediction`` (frames, *space) at ``times`` (frames,)."""

    times: NDArray[np.float64]
    units: str
    truth: NDArray[np.float64]
    prediction: NDArray[np.float64]

    def sliced(self, grid: Grid) -> tuple[Film, Grid]:
        """The same in the middle of all axes but the first two."""
        film = self
        while grid.rank > 2:
            middle = grid.axes[-1].size // 2
            film = Film(film.times, film.units, film.truth[..., middle], film.prediction[..., middle])
            grid = Grid(grid.axes[:-1])
        return film, grid


def gif(film: Film, grid: Grid, *, units: str = "") -> bytes:
    """The film as a GIF that runs for ever, 25 frames at most; equal for equal data.

    All frames share their scales: the range of the truth, and the largest error of any frame.  A prediction
    that is not finite leaves a hole.

    Raises
    ------
    ShapeError
        If the grid has a single axis (see `space_time`).
    """
    from PIL import Image

    film, grid = film.sliced(grid)
    if grid.rank < 2:
        raise ShapeError("gif: needs a grid of two axes or more; space_time draws a roll-out on one axis.")
    chosen = np.unique(np.linspace(0, len(film.times) - 1, min(_FRAMES, len(film.times))).round().astype(int))
    truth, prediction = film.truth[chosen], film.prediction[chosen]
    series = {"truth": truth, "prediction": prediction, "error": prediction - truth}
    shared = _range(truth)
    largest = max(abs(v) for v in _range(series["error"]))
    figure = plots.fields({name: frames[0] for name, frames in series.items()}, grid, units=units, title="t")
    meshes = [figure.axes[i].collections[0] for i in range(3)]
    for mesh, (low, high) in zip(meshes, (shared, shared, (-largest, largest)), strict=True):
        mesh.set_cmap("RdBu_r" if mesh is meshes[2] else "viridis")
        mesh.set_clim(low, high)
    images = []
    for i, t in enumerate(film.times[chosen]):
        for mesh, frames in zip(meshes, series.values(), strict=True):
            mesh.set_array(np.ma.masked_invalid(frames[i].T))
        figure.suptitle(f"t = {t:g}{'' if film.units in ('', '1') else ' ' + film.units}", fontsize=11)
        images.append(Image.open(io.BytesIO(plots.png(figure, dpi=_DPI))).convert("RGB"))
        figure.set_layout_engine("none")  # the layout of the first frame is that of all
    # One palette for all frames, so that still parts stand still.
    ends = Image.fromarray(np.concatenate([np.asarray(images[k]) for k in {0, len(images) // 2, -1}]))
    palette = ends.quantize(_COLORS)
    flat = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    pause = round(1000 * min(0.5, _SECONDS / len(flat)))
    buffer = io.BytesIO()
    flat[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=flat[1:],
        duration=[pause] * (len(flat) - 1) + [3 * pause],
        loop=0,
    )
    return buffer.getvalue()


def space_time(film: Film, grid: Grid) -> tuple[dict[str, NDArray[np.float64]], Grid]:
    """Panels for `plots.fields` of a roll-out on one axis, with time as the second one."""
    both = Grid((*grid.axes, Axis.from_coordinates("time", film.times, location="node", units=film.units)))
    truth, prediction = film.truth.T, film.prediction.T
    return {"truth": truth, "prediction": prediction, "error": prediction - truth}, both


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return (low, high) if low < high else (low - 0.5, high + 0.5)
