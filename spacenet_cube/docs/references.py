"""References: where the types in a signature are documented.

Annotations name a class by the module that defines it; the reference documents public
classes as ``spacenet_cube.Name``.  A class of ours without a page is shown without a link,
and a name that does not exist stays a warning.
"""

from importlib import import_module
from typing import Any

from docutils.nodes import Element
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

_PUBLIC = frozenset(import_module("spacenet_cube").__all__)


def resolve(app: Sphinx, env: BuildEnvironment, node: Element, contnode: Element) -> Element | None:
    """Find the page of a class of ours; Sphinx calls this for references it cannot resolve.

    Parameters
    ----------
    app, env
        Sphinx, and what it has read.
    node
        The reference, with its target.
    contnode
        What the reader sees.

    Returns
    -------
    docutils.nodes.Element or None
        A link, the text alone for a class without a page, or None for anything else.
    """
    target = str(node.get("reftarget", ""))
    module, _, name = target.rpartition(".")
    if node.get("refdomain") != "py" or not _exists(module, name):
        return None
    if name not in _PUBLIC or module == "spacenet_cube":
        return contnode
    public = f"spacenet_cube.{name}"
    found: Element | None = env.domains.python_domain.resolve_xref(
        env, node["refdoc"], app.builder, node["reftype"], public, node, contnode
    )
    return found


def _exists(module: str, name: str) -> bool:
    if not module.startswith("spacenet_cube"):
        return False
    try:
        found: Any = import_module(module)
    except ImportError:
        return False
    return hasattr(found, name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
