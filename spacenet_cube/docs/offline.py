"""Offline: pages load nothing from other hosts.

A page may link to other sites.  Scripts, styles, fonts and pictures come with the pages,
so that they can be read without a network and nobody learns who reads them.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

_LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*?\bsrc\s*=\s*["']?((?:https?:)?//[^"'\s>]+)
    |<link\b(?=[^>]*\brel\s*=\s*["']?(?:stylesheet|preload|preconnect|dns-prefetch|icon|modulepreload))
      [^>]*?\bhref\s*=\s*["']?((?:https?:)?//[^"'\s>]+)
    |url\(\s*["']?((?:https?:)?//[^"')]+)
    |@import\s+["']((?:https?:)?//[^"']+)""",
    re.IGNORECASE | re.VERBOSE,
)


def loads(text: str) -> list[str]:
    """Find what a page or a style sheet loads from other hosts.

    Parameters
    ----------
    text
        HTML or CSS.

    Returns
    -------
    list of str
        URLs, in order.

    Examples
    --------
    >>> loads('<script src="https://host/a.js"></script><a href="https://host/">a link</a>')
    ['https://host/a.js']
    """
    return [next(filter(None, groups)) for groups in _LOADED.findall(text)]


def warn(app: Sphinx, error: Exception | None) -> None:
    """Warn of everything in the built pages that comes from another host."""
    if error is not None or app.builder.name != "html":
        return
    for path in sorted(Path(app.outdir).rglob("*")):
        if path.suffix in {".html", ".css"}:
            for url in loads(path.read_text(encoding="utf-8")):
                getLogger(__name__).warning(
                    "%s loads %s: put the file into the pages", path.name, url
                )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("build-finished", warn)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
