"""Pages of the site that are made from something else: reference, gallery, tables, leaderboard."""

import ast
import inspect
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

AREAS = {
    "sciml": "Data, training, surrogates",
    "sciml.comparison": "Comparisons",
    "sciml.operators": "Neural operators",
    "sciml.datasets": "Generators and classical solvers",
    "sciml.pinns": "Physics-informed networks",
    "sciml.kernels": "Kernels",
}


def write(folder: Path) -> None:
    """All generated pages, below ``folder``/_generated, which is made anew."""
    target = folder / "_generated"
    shutil.rmtree(target, ignore_errors=True)
    for name in ("reference", "gallery"):
        (target / name).mkdir(parents=True)
    for path, text in [
        *reference(target / "reference"),
        *gallery(target / "gallery"),
        operators(target / "operators.md"),
        problems(target / "problems.md"),
        leaderboard(target / "leaderboard.md", folder / "results"),
    ]:
        path.write_text(text, encoding="utf-8")


# Reference: a page for each area, and one for each public object.


def reference(folder: Path) -> Iterator[tuple[Path, str]]:
    """Pages of everything that an area lists in ``__all__``."""
    areas = [f"{title} <{name}>" for name, title in AREAS.items()]
    yield folder / "index.rst", _titled("Reference") + _toctree(areas, depth=1)
    for area, title in AREAS.items():
        module = import_module(area)
        everywhere = () if area == "sciml" else import_module("sciml").__all__  # on the first area's pages
        objects = {name: getattr(module, name) for name in module.__all__ if name not in everywhere}
        rows = [
            f"   * - :doc:`{name} <{area}.{name}>`\n     - {_summary(found)}"
            for name, found in objects.items()
        ]
        table = "\n".join([".. list-table::", "   :widths: 30 70", "", *rows, ""])
        pages = [f"{name} <{area}.{name}>" for name in objects]
        text = _titled(f"{title}: {area}") + (_paragraph(module) if rows else "") + (table if rows else "")
        yield folder / f"{area}.rst", text + _toctree(pages, hidden=True)
        for name, found in objects.items():
            yield folder / f"{area}.{name}.rst", _titled(f"{area}.{name}") + _directive(area, name, found)
    yield folder / "sciml.solve.rst", _solvers()


def _directive(area: str, name: str, found: Any) -> str:
    if isinstance(found, ModuleType):
        return f".. automodule:: {found.__name__}\n   :members:\n"
    if inspect.isclass(found):
        return f".. autoclass:: {area}.{name}\n   :members:\n   :show-inheritance:\n"
    return f".. auto{'function' if callable(found) else 'data'}:: {area}.{name}\n"


def _solvers() -> str:
    """The function ``solve`` of every equation, on one page."""
    import sciml.datasets as area

    homes = sorted({getattr(area, name).__module__ for name in area.__all__})
    found = [home for home in homes if hasattr(import_module(home), "solve")]
    parts = [f".. autofunction:: {home}.solve\n" for home in found]
    return ":orphan:\n\n" + _titled("One instance: solve") + "\n".join(parts)


def _summary(found: Any) -> str:
    """The first sentence of a docstring, on one line."""
    lines = (inspect.getdoc(found) or "").split("\n\n")[0].splitlines()
    return " ".join(line.strip() for line in lines).replace("*", r"\*").replace("|", r"\|")


def _paragraph(module: ModuleType) -> str:
    return _summary(module) + "\n\n"


def _titled(title: str) -> str:
    return f"{title}\n{'=' * len(title)}\n\n"


def _toctree(pages: list[str], *, depth: int | None = None, hidden: bool = False) -> str:
    options = [*([f"   :maxdepth: {depth}"] if depth else []), *(["   :hidden:"] if hidden else [])]
    return "\n".join([".. toctree::", *options, "", *(f"   {page}" for page in pages), ""])


# Gallery: the scripts in examples/, with their pictures where docs/ has some.

PICTURES = {"train_darcy": "darcy.png", "solve_equations": "solutions.png"}


def gallery(folder: Path) -> Iterator[tuple[Path, str]]:
    """A page for each script: what it says of itself, its picture, its code."""
    scripts = sorted((ROOT / "examples").glob("*.py"))
    listed = []
    for script in scripts:
        docstring = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or script.stem
        title, _, rest = docstring.partition("\n\n")
        title = " ".join(title.split()).rstrip(".")
        picture = PICTURES.get(script.stem)
        shown = f".. image:: /{picture}\n   :alt: {title}\n\n" if picture else ""
        code = f".. literalinclude:: ../../../examples/{script.name}\n   :language: python\n"
        yield folder / f"{script.stem}.rst", _titled(title) + _literal_commands(rest) + "\n\n" + shown + code
        listed.append(script.stem)
    yield folder / "index.rst", _titled("Gallery") + _toctree(listed, depth=1)


def _literal_commands(text: str) -> str:
    """Indented lines, which are commands and tables, as they stand."""
    parts = []
    for part in text.split("\n\n"):
        parts += ["::", part] if part.startswith("    ") else [part]
    return "\n\n".join(parts)


# Operators: what each is, what it promises, who has published which arguments.


def operators(path: Path) -> tuple[Path, str]:
    """Two tables, of the operators and of their published set-ups."""
    from sciml.cli.operators import cards

    found = cards()
    rows = [
        f"| `{name}` | {_cell(card['summary'])} | {', '.join(card['properties'])} |"
        for name, card in found.items()
    ]
    setups = [
        f"| `{title}` | {_cell(setup['source'])} | {_count(setup['parameters'])} |"
        for card in found.values()
        for title, setup in card["setups"].items()
    ]
    parts = [
        "# Operators\n",
        "`--operator NAME` of `sciml train` and `--operators` of `sciml compare` take these names and "
        "start from what suits the data; `sciml operators` prints this page. Weights trained for one "
        "resolution act on neighbors in the grid: elsewhere they are another operator. The contract tests "
        "hold every operator to what stands here.\n",
        "\n".join(["| name | what it is | where it works |", "|---|---|---|", *rows]) + "\n",
        "## Published set-ups\n",
        "Arguments that others have published, to be chosen by name: `sciml train darcy --operator "
        "mgno/darcy-smooth`. They are those of the architecture; steps, batches and losses remain those of "
        "the command. Parameters are as the source counts them, a complex number once.\n",
        "\n".join(["| name | source | parameters |", "|---|---|---:|", *setups]),
    ]
    return path, "\n".join(parts) + "\n"


def problems(path: Path) -> tuple[Path, str]:
    """A table of the problems of physics-informed networks, each with its fingerprint."""
    import sciml.pinns.problems as area
    from sciml.cli.names import dashed

    rows = []
    for name in area.__all__:
        problem = getattr(area, name)()
        what = _summary(type(problem))
        rows.append(f"| `{dashed(name)}` | {what} | `{problem.fingerprint()}` | {_cell(problem.source)} |")
    parts = [
        "# Problems\n",
        "`sciml solve NAME` takes these names, `sciml.pinns.problems` their classes with other numbers. A "
        "fingerprint is made of the equation, its domain and its conditions: problems of one name differ "
        "between papers, and errors of problems with different fingerprints belong into different tables.\n",
        "\n".join(["| name | what it is | fingerprint | source |", "|---|---|---|---|", *rows]),
    ]
    return path, "\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


# Leaderboard: what `sciml compare` found, from the rows in docs/results/NAME/rows.jsonl.


def leaderboard(path: Path, results: Path) -> tuple[Path, str]:
    """One table for each benchmark, with the command that repeats each file of rows."""
    from sciml.comparison.rows import Rows
    from sciml.comparison.table import Table

    parts = [
        "# Leaderboard\n",
        "Made from the rows in `docs/results/` by the library's own table. Nothing was selected on test "
        "samples, all entries of a table had the same data, split and budget, and intervals are 95 %. "
        "Classical solvers and trivial predictors stand in each table.\n",
    ]
    for script in sorted(results.glob("*/command.sh")):
        rows = Rows(script.parent, needs=("kind",)).read()
        command = script.read_text(encoding="utf-8").strip()
        parts += [f"```bash\n{command}\n```\n", Table.of(rows).markdown()]
    return path, "\n".join(parts) + "\n"
