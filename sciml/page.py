"""Pages for people: single HTML files without scripts that open without a network."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sciml.plots as plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 62rem;
       margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.7rem; margin-bottom: 0 } h2 { font-size: 1.2rem; margin-top: 2.2rem }
table { border-collapse: collapse; width: 100%; font-size: .92rem }
caption { text-align: left; color: #555; padding-bottom: .4rem }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; border-bottom: 1px solid #ddd;
         vertical-align: top }
th:first-child, td:first-child { text-align: left; min-width: 9rem }
tr.surrogate { font-weight: 600; background: #eef4fb }
td.text { text-align: left; font-family: ui-monospace, monospace; font-size: .85rem; overflow-wrap: anywhere }
img { max-width: 100% } .pair { display: flex; flex-wrap: wrap } .pair img { width: 50%; min-width: 24rem }
.verdict { font-size: 1.1rem; border-left: 4px solid #2b6cb0; padding-left: .8rem }
.quiet { color: #555 } .film { display: block; margin: .5rem 0 }
details { margin: 1rem 0 } summary { cursor: pointer; color: #2b6cb0 }
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


def html_page(title: str, sections: Sequence[str]) -> str:
    """A page from a title, which is escaped, and sections, which are HTML."""
    return _PAGE.format(title=escape(title), style=_STYLE, sections="\n".join(sections))


def fact_table(table: Mapping[str, Any]) -> str:
    """Names and values, two columns; what is no text is shown as JSON."""
    rows = "".join(
        f'<tr><td>{escape(str(key))}</td><td class="text">{escape(_text(value))}</td></tr>'
        for key, value in table.items()
    )
    return f"<table>{rows}</table>"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def escape(text: str) -> str:
    """Text from anywhere, as HTML that shows it."""
    return html.escape(text, quote=True)


def image(figure: Figure, alt: str) -> str:
    """A figure inside the page."""
    return embedded(plots.png(figure, dpi=110), alt)


def embedded(picture: bytes, alt: str, *, kind: str = "png", css: str = "") -> str:
    """The bytes of a picture inside the page."""
    encoded = base64.b64encode(picture).decode()
    style = f' class="{css}"' if css else ""
    return f'<img{style} alt="{escape(alt)}" src="data:image/{kind};base64,{encoded}">'
