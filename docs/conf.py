"""The documentation site: pip install -c constraints.txt ".[docs]" && sphinx-build docs docs/_build

Pages of the reference, the gallery and the leaderboard are made by `site/` from the code, from examples/ and
from docs/results/, before Sphinx reads the folder.
"""

import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for the two modules of this folder

import site_docstrings
import site_pages

import sciml

project = "sciml"
copyright = "the authors of sciml, Apache-2.0"
release = sciml.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "results"]

html_theme = "furo"
html_title = f"sciml {release}"
html_static_path: list[str] = []
html_show_sourcelink = False

default_role = "py:obj"  # `Grid` in a docstring links to the class if the site has it
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # shapes and units are in the text; types in the signature only
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
suppress_warnings = ["myst.xref_missing", "ref.python"]  # links into the code, names that several areas use


def setup(app: Sphinx) -> None:
    """Make the generated pages first; read docstrings as they are meant, before napoleon does."""
    app.connect("builder-inited", lambda app: site_pages.write(Path(app.srcdir)))
    app.connect("autodoc-process-docstring", site_docstrings.process, priority=400)
