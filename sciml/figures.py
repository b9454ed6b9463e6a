"""What all figures share: size, colors, thin axes, labels; PNG files that are equal for equal figures."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colors, which color-blind readers can tell apart, without the yellow.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
GRAY = "#666666"


def png(figure: Figure, *, dpi: int = 150) -> bytes:
    """The figure as a PNG file; without date or version, so that equal figures are equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def titled(figure: Figure, title: str) -> Figure:
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def quiet(ax: Axes, *, grid: bool = False) -> None:
    """Thin axes, small ticks, a faint grid where numbers are read off."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(GRAY)
    ax.tick_params(labelsize=8, length=3, color=GRAY)
    if grid:
        ax.grid(True, which="major", color="#DDDDDD", linewidth=0.6)
        ax.set_axisbelow(True)


def label_of(name: str, units: str) -> str:
    return name if units in ("", "1") else f"{name} [{units}]"
