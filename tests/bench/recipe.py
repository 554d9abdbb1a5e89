"""The recipe of the bench's strips, for what is measured beside the race."""

from typing import Any

import spacenet_cube as sc
from tests.bench.strips import BANDS

PRODUCT = "p"
"""Name of its only product."""


def strips_recipe(**settings: Any) -> sc.Recipe:
    """The recipe of every GeoTIFF in a folder, with the bands of the strips.

    Parameters
    ----------
    settings
        More of the product, such as ``encoding``.

    Returns
    -------
    Recipe
        Of the AOI ``bench``, without a source.
    """
    product = {"name": PRODUCT, "sources": "*.tif", "bands": list(BANDS), **settings}
    return sc.Recipe.model_validate(
        {
            "name": "bench",
            "licence": {"spdx": "CC0-1.0", "attribution": "nobody"},
            "products": [product],
        }
    )
