"""Docstrings here are plain text with mathematics, which reStructuredText would take for markup."""

import re
from collections.abc import Iterator
from itertools import groupby, pairwise

_LITERAL = re.compile(r"(``.+?``|`[^`]+`)", re.DOTALL)
_STAR = re.compile(r"(?<![*\n])(?<!\n  )(?<!\n    )\*(?!\*)")
_PROSE = ("", "Notes")  # sections in which an indented paragraph is an equation, not a description


def process(app: object, what: str, name: str, found: object, options: object, lines: list[str]) -> None:
    """For the event "autodoc-process-docstring": changes ``lines`` in place."""
    lines[:] = list(_equations(_escaped(lines)))


def _sections(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Each line with the title of the section that it is in."""
    section = ""
    for line, after in pairwise([*lines, ""]):
        if after.strip() and set(after.strip()) == {"-"}:
            section = line.strip()
        yield section, line


def _escaped(lines: list[str]) -> list[str]:
    """Stars, bars and final underscores stand for themselves, outside of code, bullets apart."""
    found: list[str] = []
    for code, group in groupby(_sections(lines), key=lambda pair: pair[0] == "Examples"):
        text = "\n".join(line for _, line in group)
        parts = [text] if code else _LITERAL.split(text)
        for i in range(0, 0 if code else len(parts), 2):
            plain = _STAR.sub(r"\\*", parts[i]).replace("|", r"\|")
            parts[i] = re.sub(r"(?<=\w)_(?!\w)", r"\\_", plain)
        found += "".join(parts).split("\n")
    return found


def _equations(lines: list[str]) -> Iterator[str]:
    """Indented paragraphs of prose keep their lines: as line blocks."""
    inside, before = False, ""
    for section, line in _sections(lines):
        indented = line.startswith("    ") and section in _PROSE
        if indented and not inside:
            inside = not before.strip()
        elif not indented and line.strip():
            inside = False
        yield f"   | {line[4:]}" if inside and line.strip() else line
        before = line
