"""Pages for people: single HTML files without scripts that open without a network."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sciml.plots as plots
from sciml.figures import svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --quiet: #555; --line: #ddd; --accent: #2b6cb0;
        --paper: #fff; --tint: #eef4fb }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e4e4; --quiet: #a9adb3; --line: #383c42; --accent: #82b6ea; --paper: #16181b;
          --tint: #1d2935 }
  img.chart { filter: invert(1) hue-rotate(180deg); mix-blend-mode: screen }  /* black becomes the page */
}
@media print {
  body { max-width: none; margin: 0; font-size: 10pt }
  h2, h3, summary, caption { break-after: avoid } table, img, figure { break-inside: avoid }
  details::details-content { content-visibility: visible; block-size: auto }  /* folded parts, too */
  nav { display: none }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.7rem; margin-bottom: 0 } h2 { font-size: 1.2rem; margin-top: 2.2rem }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums }
caption { text-align: left; color: var(--quiet); padding-bottom: .4rem }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; border-bottom: 1px solid var(--line);
         vertical-align: top }
th:first-child, td:first-child { text-align: left; min-width: 9rem }
tr.surrogate { font-weight: 600; background: var(--tint) }
td.text { text-align: left; font-family: ui-monospace, monospace; font-size: .85rem; overflow-wrap: anywhere }
img { max-width: 100% } .pair { display: flex; flex-wrap: wrap } .pair img { width: 50%; min-width: 24rem }
.verdict { font-size: 1.1rem; border-left: 4px solid var(--accent); padding-left: .8rem }
.quiet { color: var(--quiet) } .film { display: block; margin: .5rem 0 }
details { margin: 1rem 0 } summary, a { color: var(--accent) } summary { cursor: pointer }
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{sections}
</body>
</html>
"""


def html_page(title: str, sections: Sequence[str], *, style: str = "") -> str:
    """A page from a title, which is escaped, and sections, which are HTML; ``style`` is further CSS."""
    return _PAGE.format(title=escape(title), style=_STYLE + style, sections="\n".join(sections))


def fact_table(table: Mapping[str, Any], *, caption: str = "") -> str:
    """Names and values, two columns; what is no text is shown as JSON."""
    rows = "".join(
        f'<tr><td>{escape(str(key))}</td><td class="text">{escape(_text(value))}</td></tr>'
        for key, value in table.items()
    )
    return f"<table>{_caption(caption)}{rows}</table>"


def data_table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "", bold: Collection[int] = ()
) -> str:
    """Text in columns; the first cell of each row is its head; numbers of rows in ``bold`` are stressed."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    lines = "".join(
        f'<tr{stressed}><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        + "</tr>"
        for i, (first, *rest) in enumerate(rows)
        for stressed in (' class="best"' if i in bold else "",)
    )
    return f"<table>{_caption(caption)}<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _caption(text: str) -> str:
    return f"<caption>{escape(text)}</caption>" if text else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def escape(text: str) -> str:
    """Text from anywhere, as HTML that shows it."""
    return html.escape(text, quote=True)


def image(figure: Figure, alt: str) -> str:
    """A figure inside the page."""
    return embedded(plots.png(figure, dpi=110), alt)


def chart(figure: Figure, alt: str) -> str:
    """A figure of lines inside the page, sharp at any size, whose paper takes the color of the page."""
    return embedded(svg(figure), alt, kind="svg+xml", css="chart")


def embedded(picture: bytes, alt: str, *, kind: str = "png", css: str = "") -> str:
    """The bytes of a picture inside the page."""
    encoded = base64.b64encode(picture).decode()
    style = f' class="{css}"' if css else ""
    return f'<img{style} alt="{escape(alt)}" src="data:image/{kind};base64,{encoded}">'
