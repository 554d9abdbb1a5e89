"""A canvas: what the ground is at each pixel, painted from the lowest layer up."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spacenet_cube.sample.ground.noise import Floats, Mask, Window
from spacenet_cube.sample.ground.spectra import DIGITAL_NUMBERS, HAZE, Material


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """Two materials, their mixture and the light on them; arrays are shaped ``(y, x)``."""

    window: Window
    """The part of the AOI it shows."""

    near: NDArray[np.uint8]
    """Material where ``mix`` is 0."""

    far: NDArray[np.uint8]
    """Material where ``mix`` is 1."""

    mix: Floats
    """Share of ``far``, in [0, 1]."""

    light: Floats
    """Brightness; 1 is level ground in the sun."""

    def paint(
        self,
        where: Mask,
        materials: tuple[Material, Material] | NDArray[np.uint8],
        mix: Floats | float = 0.0,
        light: Floats | float = 1.0,
    ) -> None:
        """Cover part of the canvas; one array of materials is painted unmixed."""
        near, far = materials if isinstance(materials, tuple) else (materials, materials)
        np.copyto(self.near, near, where=where, casting="unsafe")
        np.copyto(self.far, far, where=where, casting="unsafe")
        np.copyto(self.mix, np.asarray(mix, np.float32), where=where)
        np.copyto(self.light, np.asarray(light, np.float32), where=where)

    def digital_numbers(self, band: int) -> Floats:
        """Digital numbers of one of the eight bands, neither rounded nor limited."""
        table = DIGITAL_NUMBERS[band] - HAZE[band]
        near = table[self.near]
        lit: Floats = (near + (table[self.far] - near) * self.mix) * self.light
        numbers: Floats = lit + HAZE[band]
        return numbers


def blank(window: Window) -> Canvas:
    """Make a canvas to paint on."""
    shape = (window.height, window.width)
    return Canvas(
        window,
        near=np.zeros(shape, np.uint8),
        far=np.zeros(shape, np.uint8),
        mix=np.zeros(shape, np.float32),
        light=np.ones(shape, np.float32),
    )
