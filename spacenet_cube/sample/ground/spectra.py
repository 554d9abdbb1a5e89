"""Materials of the ground and how bright they are in the eight bands of WorldView-3.

Digital numbers (11 bits) under full sun, of the order of those in SpaceNet's training
chips.  Healthy plants have an NDVI above 0.5, open water below 0, all else 0 to 0.2.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Material(IntEnum):
    """What a pixel shows."""

    DEEP = 0
    SHALLOW = 1
    SILT = 2
    POOL = 3
    BEACH = 4
    SAND = 5
    SOIL = 6
    ROCK = 7
    SCRUB = 8
    FALLOW = 9
    GRASS = 10
    CROP = 11
    TREES = 12
    ASPHALT = 13
    CONCRETE = 14
    PALE_ROOF = 15
    GREY_ROOF = 16
    DARK_ROOF = 17
    TILE_ROOF = 18
    TAN_ROOF = 19
    BLUE_ROOF = 20
    MUD_ROOF = 21


BANDS = ("coastal", "blue", "green", "yellow", "red", "rededge", "nir1", "nir2")
"""Order of the bands in every eight-band raster."""

_DN = {
    Material.DEEP: (320, 275, 235, 140, 80, 60, 40, 30),
    Material.SHALLOW: (350, 345, 380, 250, 150, 100, 65, 50),
    Material.SILT: (330, 325, 425, 365, 245, 190, 125, 95),
    Material.POOL: (655, 780, 860, 515, 245, 180, 130, 95),
    Material.BEACH: (530, 625, 900, 930, 845, 895, 920, 870),
    Material.SAND: (440, 505, 710, 720, 635, 705, 745, 725),
    Material.SOIL: (330, 370, 500, 495, 440, 510, 565, 560),
    Material.ROCK: (350, 375, 500, 490, 425, 465, 510, 495),
    Material.SCRUB: (330, 355, 500, 475, 400, 500, 590, 575),
    Material.FALLOW: (315, 340, 510, 495, 410, 535, 680, 665),
    Material.GRASS: (285, 275, 460, 360, 220, 590, 885, 850),
    Material.CROP: (270, 255, 410, 295, 170, 625, 1025, 975),
    Material.TREES: (255, 225, 335, 250, 150, 460, 740, 710),
    Material.ASPHALT: (320, 330, 400, 360, 290, 315, 330, 315),
    Material.CONCRETE: (475, 545, 690, 655, 560, 600, 625, 590),
    Material.PALE_ROOF: (930, 1085, 1390, 1290, 1075, 1105, 1130, 1065),
    Material.GREY_ROOF: (420, 470, 590, 545, 460, 490, 525, 505),
    Material.DARK_ROOF: (270, 260, 315, 300, 260, 285, 305, 290),
    Material.TILE_ROOF: (305, 310, 430, 560, 605, 680, 740, 730),
    Material.TAN_ROOF: (380, 425, 610, 660, 615, 680, 740, 720),
    Material.BLUE_ROOF: (515, 590, 640, 480, 370, 400, 435, 415),
    Material.MUD_ROOF: (360, 405, 570, 590, 535, 600, 655, 650),
}

DIGITAL_NUMBERS: NDArray[np.float32] = np.array([_DN[m] for m in Material], np.float32).T.copy()
"""Shaped ``(band, material)``."""

HAZE: NDArray[np.float32] = np.array([220, 180, 125, 75, 45, 30, 15, 10], np.float32)
"""Digital numbers that the air alone adds in each band; shadows are blue for it."""

PAN_SIXTEENTHS = (1, 2, 3, 2, 3, 2, 3, 0)
"""Share of each band in the panchromatic band, in sixteenths."""
