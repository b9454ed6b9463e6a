"""Tables of text: the same cells as Markdown that is aligned in a terminal, and as LaTeX."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

LONGEST = 26  # of a name in Markdown
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": "$<$",
        ">": "$>$",
        "≈": r"$\approx$",
        "≥": r"$\geq$",
        "…": r"\dots{}",
        "×": r"$\times$",
        "±": r"$\pm$",
        "–": "--",
        "²": "$^2$",
        "³": "$^3$",
        "†": r"$\dagger$",
    }
)


@dataclass(frozen=True)
class Panel:
    """One table: a title, heads, rows of cells of which the first is a name.

    ``bold`` are the rows whose first two cells are stressed.
    """

    title: str
    heads: Sequence[str]
    cells: Sequence[Sequence[str]]
    bold: Collection[int] = ()

    def markdown(self) -> str:
        """Aligned, numbers to the right.

        Examples
        --------
        >>> print(Panel("Errors", ["", "mean"], [["fno", "1.2%"], ["unet", "12.4%"]], {0}).markdown())
        **Errors**
        <BLANKLINE>
        |         |     mean |
        |:--------|---------:|
        | **fno** | **1.2%** |
        | unet    |    12.4% |
        """
        body = [
            [
                f"**{cell}**" if i in self.bold and j < 2 else cell
                for j, cell in enumerate([short(row[0]), *row[1:]])
            ]
            for i, row in enumerate(self.cells)
        ]
        lines = [[cell.replace("|", r"\|") for cell in row] for row in [list(self.heads), *body]]
        widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(self.heads))]
        ruler = [":" + "-" * (widths[0] + 1), *("-" * (width + 1) + ":" for width in widths[1:])]

        def joined(line: Sequence[str]) -> str:
            aligned = [line[0].ljust(widths[0])]
            aligned += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
            return f"| {' | '.join(aligned)} |"

        head = [f"**{self.title}**", ""] if self.title else []
        return "\n".join([*head, joined(lines[0]), f"|{'|'.join(ruler)}|", *map(joined, lines[1:])])

    def latex(self) -> str:
        """A tabular with the rules of the package booktabs."""

        def joined(row: Sequence[str], *, bold: bool = False) -> str:
            cells = [cell.translate(_LATEX) for cell in row]
            return (
                " & ".join(rf"\textbf{{{c}}}" if bold and j < 2 else c for j, c in enumerate(cells)) + r" \\"
            )

        body = [joined(row, bold=i in self.bold) for i, row in enumerate(self.cells)]
        columns = "l" + "r" * (len(self.heads) - 1)
        return "\n".join(
            [
                f"% {self.title}",
                rf"\begin{{tabular}}{{{columns}}}",
                r"\toprule",
                joined(self.heads),
                r"\midrule",
                *body,
                r"\bottomrule",
                r"\end{tabular}",
            ]
        )


def short(name: str, longest: int = LONGEST) -> str:
    """The name, cut at its end if it is long.

    Examples
    --------
    >>> short("a solver with a long name", 11)
    'a solver w…'
    """
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
