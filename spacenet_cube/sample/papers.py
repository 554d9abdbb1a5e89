"""What lies beside the rasters of a delivery: a licence, two readmes and a layout."""

import warnings
from xml.etree import ElementTree as ET

import numpy as np
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from spacenet_cube.sample.catalog import Delivery

_LAYOUT_EDGE = 240
_NOTICE = (
    "Synthetic sample data: invented ground, written by spacenet_cube.\n"
    "No pixel comes from a satellite. File names, tile grid, corner and pixel size\n"
    "follow a SpaceNet delivery; the number of pixels a tile holds is scaled.\n"
)
LICENSE = (
    "# Licence of this sample corpus\n\n"
    "The rasters in this folder are synthetic: invented ground, computed by spacenet_cube.\n"
    "They are not SpaceNet imagery and show no real place.\n\n"
    "To the extent possible under law they are dedicated to the public domain:\n"
    "[CC0 1.0](https://creativecommons.org/publicdomain/zero/1.0/).\n\n"
    "The real SpaceNet imagery has its own licence, CC BY-SA 4.0.\n"
)


def readme_text(delivery: Delivery) -> bytes:
    """Write the readme of a delivery for people."""
    names = "\n".join(f"{tile.name}.TIF" for tile in delivery.tiles)
    title = f"{delivery.aoi} {delivery.product}, order {delivery.order}"
    return f"{title}\n\n{_NOTICE}\n{len(delivery.tiles)} tiles:\n{names}\n".encode()


def readme_xml(delivery: Delivery) -> bytes:
    """Write the readme of a delivery for programs."""
    root = ET.Element("README", synthetic="true")
    ET.SubElement(root, "ORDER").text = delivery.order
    ET.SubElement(root, "PRODUCT").text = delivery.product
    ET.SubElement(root, "NOTICE").text = _NOTICE.strip()
    listing = ET.SubElement(root, "TILES")
    for tile in delivery.tiles:
        place = {"row": str(tile.row), "col": str(tile.col)}
        ET.SubElement(listing, "TILE", place).text = f"{tile.name}.TIF"
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def layout_jpeg(delivery: Delivery) -> bytes:
    """Draw the tiles, small and grey, north up."""
    k = delivery.factor
    height = max(tile.y + tile.height for tile in delivery.tiles) * k
    width = max(tile.x + tile.width for tile in delivery.tiles) * k
    longest = max(height, width)
    paper = np.full((1, _LAYOUT_EDGE, _LAYOUT_EDGE), 255, np.uint8)
    for tile in delivery.tiles:
        top, left = (n * k * _LAYOUT_EDGE // longest for n in (tile.y, tile.x))
        bottom = (tile.y + tile.height) * k * _LAYOUT_EDGE // longest
        right = (tile.x + tile.width) * k * _LAYOUT_EDGE // longest
        paper[0, top:bottom, left:right] = 90
        paper[0, top + 1 : bottom, left + 1 : right] = 200
    # Made in the thread that asks for the corpus: filters of warnings are no thread's own.
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        profile = {"driver": "JPEG", "count": 1, "dtype": "uint8"}
        with memory.open(height=_LAYOUT_EDGE, width=_LAYOUT_EDGE, **profile) as target:
            target.write(paper)
        return bytes(memory.getbuffer())
