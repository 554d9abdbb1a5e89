"""Sphinx: how the pages become HTML.  ``make docs`` runs it; it needs no network.

Names of other projects resolve by the small inventories in ``inventories/``, which
``inventories.py`` writes.  Tables of recipe keys and of command options are made from
the code (``generated.py``), so they cannot be out of date.
"""

import shutil
from pathlib import Path

from spacenet_cube.docs.inventories import HOMES
from spacenet_cube.version import __version__

_HERE = Path(__file__).parent
_NOTEBOOKS = _HERE.parents[1] / "notebooks"

# Sphinx reads below one folder only; .gitignore and the wheel leave this copy out.
shutil.copytree(
    _NOTEBOOKS,
    _HERE / "notebooks",
    dirs_exist_ok=True,
    ignore=shutil.ignore_patterns(".*", "pictures", "sample*"),
)

project = "spacenet_cube"
author = "the authors of spacenet_cube"
project_copyright = author
release = version = __version__

extensions = [
    "sphinx.ext.autodoc",
    "numpydoc",
    "sphinx.ext.intersphinx",
    "myst_nb",
    "spacenet_cube.docs.generated",
    "spacenet_cube.docs.offline",
    "spacenet_cube.docs.references",
]
exclude_patterns = ["inventories", "**/.ipynb_checkpoints"]
nitpicky = True

# Pages: GitHub's Markdown, with links to headings.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
smartquotes = False

# Notebooks are shown as they were last run: tests run them, not this.
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}

# Reference: signatures carry the types, docstrings the meaning.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
numpydoc_show_class_members = False
default_role = "code"
highlight_language = "none"

intersphinx_mapping = {
    name: (home, str(_HERE / "inventories" / f"{name}.inv")) for name, home in HOMES.items()
}

html_theme = "furo"
html_title = f"spacenet_cube {release}"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sphinx = False
