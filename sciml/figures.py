"""What all figures share: size, colors, thin axes, labels; files that are equal for equal figures."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe and Ito's colors, which color-blind readers can tell apart, without the yellow.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
# Of a second way to tell lines apart, in the same order.
MARKERS = ("o", "^", "D", "v", "P", "X", "*")
GRAY = "#666666"
FAINT = "#BBBBBB"


@dataclass(frozen=True)
class Look:
    """How one of several methods is drawn, the same in every figure of a page."""

    color: str
    marker: str

    @property
    def size(self) -> float:
        """By which the marker is to be scaled, so that all look equally large."""
        return {"D": 0.85, "^": 1.15, "v": 1.15, "P": 1.1, "X": 1.1, "*": 1.5}.get(self.marker, 1.0)


def looks(names: Iterable[str]) -> dict[str, Look]:
    """For each distinct name; once they are used up, colors and markers repeat in other pairs."""
    return {
        name: Look(COLORS[i % len(COLORS)], MARKERS[(i + i // len(COLORS)) % len(MARKERS)])
        for i, name in enumerate(dict.fromkeys(names))
    }


def png(figure: Figure, *, dpi: int = 150) -> bytes:
    """The figure as a PNG file; without date or version, so that equal figures are equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: Figure) -> bytes:
    """The figure as an SVG file whose letters are drawn, so that it looks the same everywhere."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "sciml", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", dpi=150, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def pdf(figure: Figure) -> bytes:
    """The figure as a PDF file with its fonts inside, as journals want them."""
    import matplotlib

    buffer = io.BytesIO()
    unnamed = {"CreationDate": None, "Creator": None, "Producer": None}
    with matplotlib.rc_context({"pdf.fonttype": 42}):
        figure.savefig(buffer, format="pdf", dpi=300, metadata=unnamed)
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


def as_percent(value: float) -> str:
    """A fraction at a tick, in percent."""
    return f"{100 * value:g}%"


def as_duration(seconds: float) -> str:
    """Seconds at a tick, in the unit that fits."""
    for unit, name in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= 0.999 * unit:
            return f"{seconds / unit:g} {name}"
    return f"{seconds / 1e-6:g} µs"


def log_ticks(axis: Axis, text: Callable[[float], str] = "{:g}".format) -> None:
    """Labels at round numbers on a short logarithmic axis, at the decades of a long one."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    subs = (
        (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0) if decades < 0.8 else (1.0, 2.0, 5.0) if decades < 2.3 else (1.0,)
    )
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))


def widened(low: float, high: float, factor: float) -> tuple[float, float]:
    """Limits of a logarithmic axis that span at least ``factor``, about the same middle."""
    middle, half = math.sqrt(low * high), math.sqrt(max(factor, high / low))
    return middle / half, middle * half
