"""Quicklook: one picture that shows what a cube is, drawn from an overview.

True colour (grey for PAN), NDVI where the bands allow it, and which scene each pixel came
from, on geographic axes with a metric scale bar.  Nodata is left as paper.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from pyproj import CRS

from spacenet_cube.cube.info import Ground, ground
from spacenet_cube.cube.open import choose_level, cube_url, open_cube
from spacenet_cube.cube.root import believing
from spacenet_cube.errors import MissingExtraError, RecipeError, StoreError
from spacenet_cube.format.levels import Level, levels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from numpy.typing import NDArray

_INK, _FAINT, _PAPER, _NODATA = "#1d2433", "#6b7280", "#ffffff", "#edeff3"
_PLANTS = ("#7a5c3e", "#c4a77d", "#f3ecd2", "#b9d58c", "#5da24a", "#1e6b34", "#073b1d")
_SCENES = ("#88ccee", "#ddcc77", "#44aa99", "#cc6677", "#aa99cc", "#999933", "#ee9988", "#6699cc")
_LONG_IN = 7.2
_SIDE_IN = 1.9
_NDVI_RANGE = (-0.2, 0.8)


def quicklook(
    cube: str | os.PathLike[str],
    path: str | os.PathLike[str] | None = None,
    *,
    product: str | None = None,
    root: str | os.PathLike[str] | None = None,
    size_px: int = 1024,
    storage_options: Mapping[str, Any] | None = None,
) -> Path:
    """Draw a cube as a PNG.

    Parameters
    ----------
    cube
        Path or URL of a cube; or, with ``product``, the name of an AOI.
    path
        File to write; by default ``<AOI>_<product>.png`` in the current folder.
    product, root, storage_options
        As ``open_cube`` takes them.
    size_px
        Longer edge of the map in pixels.  It is drawn from the smallest level at least as
        large, so few bytes are read.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    RecipeError
        If ``size_px`` is too small to draw, or no picture can be made of the bands.
    StoreError
        If no published cube is there, or the file cannot be written.
    """
    if find_spec("matplotlib") is None:
        raise MissingExtraError(
            "quicklook draws with matplotlib, which is not installed; "
            "run: pip install 'spacenet-cube[viewer]'"
        )
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra

    if size_px < 64:  # noqa: PLR2004 - less is no picture
        raise RecipeError(f"a picture of {size_px} pixels shows nothing; set size_px to 64 or more")
    url = cube_url(cube, product, root)
    native = open_cube(url, storage_options=storage_options, chunks=None)
    level = _level(levels(native.attrs), size_px)
    view = open_cube(url, level=level.number, storage_options=storage_options)
    facts = view.attrs["spacenet_cube"]
    out = Path(path or Path(f"{facts['aoi']}_{facts['product']}.png").name)
    with believing(url):
        figure = _figure(view, size_px)
    try:
        FigureCanvasAgg(figure).print_png(out)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error}; name another file") from error
    return out


def _level(there: tuple[Level, ...], size_px: int) -> Level:
    """Return the smallest level whose longer edge is at least that long, or the native one."""
    large = [level for level in there if max(level.shape_yx) >= size_px]
    return large[-1] if large else choose_level(there)


@dataclass(frozen=True, slots=True)
class _Page:
    """Where things stand on the page, in inches from its lower left corner."""

    size: tuple[float, float]
    """Width and height of the page."""

    panels: tuple[tuple[float, float, float, float], ...]
    """Left, bottom, width and height of each map."""

    side: tuple[float, float, float, float]
    """Left, bottom, width and height of the column beside the maps."""

    def axes(self, figure: "Figure", box: tuple[float, float, float, float]) -> "Axes":
        """Place axes on the page."""
        left, bottom, width, height = box
        across, up = self.size
        return figure.add_axes(
            (left / across, bottom / up, width / across, height / up), facecolor=_NODATA
        )


def _page(extent: Ground, count: int) -> _Page:
    """Set tall maps side by side and wide ones above one another."""
    left, gap_x, gap_y, top, bottom = 0.95, 0.7, 0.75, 1.25, 0.95 + 0.25 * (count > 1)
    width_m, height_m = extent.size_m
    scale = _LONG_IN / max(width_m, height_m)
    wide, high = max(width_m * scale, 0.8), max(height_m * scale, 0.8)
    stacked = width_m > 1.5 * height_m
    rows, cols = (count, 1) if stacked else (1, count)
    body_x = cols * wide + (cols - 1) * gap_x
    body_y = max(rows * high + (rows - 1) * gap_y, 4.2)
    panels = tuple(
        (
            left + (0 if stacked else number) * (wide + gap_x),
            bottom + body_y - high - (number if stacked else 0) * (high + gap_y),
            wide,
            high,
        )
        for number in range(count)
    )
    side = (left + body_x + 0.5, bottom, _SIDE_IN, body_y)
    width = max(side[0] + _SIDE_IN + 0.4, 6.2)
    return _Page((width, bottom + body_y + top), panels, side)


def _figure(view: xr.Dataset, size_px: int) -> "Figure":
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    extent = ground(CRS(view.rio.crs), view.rio.bounds())
    plants = {"red", "nir1"} <= set(view["band"].values.tolist())
    page = _page(extent, 2 if plants else 1)
    figure = Figure(figsize=page.size, dpi=size_px / _LONG_IN, facecolor=_PAPER)
    maps = [page.axes(figure, box) for box in page.panels]
    _draw_colour(maps[0], view, extent)
    if plants:
        _draw_ndvi(maps[1], view, extent)
    _draw_side(figure, page, view, extent)
    _write_words(figure, page, view.attrs)
    return figure


def _draw_colour(axes: "Axes", view: xr.Dataset, extent: Ground) -> None:
    picture = _colour_or_grey(view)
    alpha = np.where(view.spacenet.valid.values, np.uint8(255), np.uint8(0))
    _show(axes, np.dstack([picture.values, alpha]), extent)
    _head(axes, picture.attrs["long_name"].capitalize())
    _ticks(axes, extent)
    _scale_bar(axes, extent)


def _colour_or_grey(view: xr.Dataset) -> xr.DataArray:
    """True colour; where there is none, the first band in grey."""
    names = [str(name) for name in view["band"].values]
    if {"red", "green", "blue"} <= set(names) or names == ["pan"]:
        picture: xr.DataArray = view.spacenet.rgb()
        return picture
    first = view.isel(band=[0]).assign_coords(band=["pan"])
    # Its overviews know the band by its own name, so the stretch comes from the view itself.
    first.encoding = {}
    grey: xr.DataArray = first.spacenet.rgb()
    return grey.assign_attrs(long_name=f"band {names[0]}")


def _draw_ndvi(axes: "Axes", view: xr.Dataset, extent: Ground) -> None:
    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415 - an extra

    low, high = _NDVI_RANGE
    colours = LinearSegmentedColormap.from_list("plants", _PLANTS)
    image = _show(axes, view.spacenet.ndvi().values, extent, cmap=colours, vmin=low, vmax=high)
    _head(axes, "NDVI of digital numbers")
    _ticks(axes, extent, names_y=False)
    width, figure = axes.get_position().width, axes.figure
    inches = figure.get_size_inches()  # type: ignore[union-attr]
    wide, high_in = min(width * inches[0], 2.4), 0.09
    left, bottom = axes.get_position().x0, axes.get_position().y0
    bar = figure.add_axes((left, bottom - 0.52 / inches[1], wide / inches[0], high_in / inches[1]))
    few = wide < 1.4  # noqa: PLR2004 - inches
    colorbar = figure.colorbar(image, cax=bar, orientation="horizontal", extend="both")
    colorbar.set_ticks([low, high] if few else [-0.2, 0, 0.2, 0.4, 0.6, 0.8])
    colorbar.outline.set_visible(False)
    bar.tick_params(length=0, labelsize=7, colors=_FAINT, pad=2)


def _show(
    axes: "Axes",
    pixels: "NDArray[Any]",
    extent: Ground,
    **options: Any,  # noqa: ANN401 - as imshow takes them
) -> "AxesImage":
    west, south, east, north = extent.bounds
    options |= {"interpolation": "antialiased", "interpolation_stage": "rgba"}
    where = (west, east, south, north)
    image = axes.imshow(pixels, extent=where, aspect=extent.aspect, **options)
    for spine in axes.spines.values():
        spine.set(color="#c9ced8", linewidth=0.7)
    return image


def _head(axes: "Axes", words: str) -> None:
    axes.set_title(words, loc="left", fontsize=9, color=_INK, fontweight="bold", pad=6)


def _ticks(axes: "Axes", extent: Ground, *, names_y: bool = True) -> None:
    """Label the axes in degrees, or in kilometres of the projection."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator  # noqa: PLC0415 - an extra

    width_m, height_m = extent.size_m
    longest = max(extent.size_m)
    for axis, length_m, signs in (
        (axes.xaxis, width_m, ("E", "W")),
        (axes.yaxis, height_m, ("N", "S")),
    ):
        locator = MaxNLocator(nbins=max(2, round(6 * length_m / longest)), min_n_ticks=2)
        axis.set_major_locator(locator)
        step = np.diff(axis.get_majorticklocs()).min()
        axis.set_major_formatter(
            FuncFormatter(
                _degrees(step, signs) if extent.geographic else _kilometres(step, signs[0])
            )
        )
    axes.tick_params(length=3, width=0.7, color="#c9ced8", labelsize=7.5, labelcolor=_FAINT)
    axes.tick_params(axis="y", labelleft=names_y)


def _degrees(step: float, signs: tuple[str, str]) -> Callable[[float, int], str]:
    digits = _digits(step)
    return lambda value, _: f"{abs(value):.{digits}f}°{signs[int(value < 0)]}"


def _kilometres(step_m: float, sign: str) -> Callable[[float, int], str]:
    digits = _digits(step_m / 1000)
    return lambda value, _: f"{value / 1000:,.{digits}f} km {sign}"


def _digits(step: float) -> int:
    """Return how many decimals tell multiples of a step apart without rounding them."""
    return next((n for n in range(8) if math.isclose(step, round(step, n), rel_tol=1e-6)), 8)


def _nice_length(most_m: float) -> float:
    """Return the longest of 1, 2 or 5 times a power of ten metres that is not longer."""
    power = 10.0 ** math.floor(math.log10(most_m))
    return max(step * power for step in (1, 2, 5) if step * power <= most_m)


def _scale_bar(axes: "Axes", extent: Ground) -> None:
    """Draw a bar of a round length in the lower left corner, legible on any ground."""
    from matplotlib.patheffects import withStroke  # noqa: PLC0415 - an extra

    west, south, east, north = extent.bounds
    width_m, height_m = extent.size_m
    length_m = _nice_length(max(width_m * 0.34, min(width_m * 0.6, max(extent.size_m) * 0.12)))
    margin_m = 0.03 * max(extent.size_m)
    x = west + margin_m / width_m * (east - west)
    y = south + margin_m / height_m * (north - south)
    end = x + length_m / width_m * (east - west)
    halo = [withStroke(linewidth=3.6, foreground=_INK)]
    axes.plot([x, end], [y, y], color="white", lw=2.4, solid_capstyle="butt", path_effects=halo)
    words = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"  # noqa: PLR2004
    style: dict[str, Any] = {"fontsize": 8, "fontweight": "bold", "color": "white", "ha": "center"}
    halo = [withStroke(linewidth=2.2, foreground=_INK)]
    style |= {"xytext": (0, 4), "textcoords": "offset points", "path_effects": halo}
    axes.annotate(words, ((x + end) / 2, y), va="bottom", **style)
    axes.set(xlim=(west, east), ylim=(south, north))


def _draw_side(figure: "Figure", page: _Page, view: xr.Dataset, extent: Ground) -> None:
    """Draw the small map of scenes, and below it the facts."""
    from matplotlib.colors import to_rgba_array  # noqa: PLC0415 - an extra

    left, bottom, width, height = page.side
    width_m, height_m = extent.size_m
    high = min(width * height_m / width_m, 0.45 * height)
    wide = high * width_m / height_m
    axes = page.axes(figure, (left, bottom + height - high, wide, high))
    step = max(1, max(view.sizes["y"], view.sizes["x"]) // 600)
    index = view["source_index"].isel(y=slice(None, None, step), x=slice(None, None, step)).values
    shades = np.vstack([[(0, 0, 0, 0)], to_rgba_array(_SCENES)])
    _show(axes, shades[np.where(index > 0, (index.astype(int) - 1) % len(_SCENES) + 1, 0)], extent)
    axes.set(xticks=[], yticks=[])
    scenes = len(view.attrs["spacenet_cube"]["scenes"])
    _head(axes, "1 scene" if scenes == 1 else f"{scenes} scenes")
    facts = _facts(view, extent)
    across, up = page.size
    for row, (name, value) in enumerate(facts):
        y = (bottom + height - high - 0.38 - 0.36 * row) / up
        figure.text(left / across, y, name, fontsize=6.5, color=_FAINT, va="top")
        figure.text(left / across, y - 0.13 / up, value, fontsize=8.5, color=_INK, va="top")


def _facts(view: xr.Dataset, extent: Ground) -> list[tuple[str, str]]:
    native = levels(view.attrs)[0]
    rows, cols = native.shape_yx
    width_m, height_m = extent.size_m
    unit, unit_m = ("km", 1000) if max(extent.size_m) >= 1000 else ("m", 1)  # noqa: PLR2004
    by = "\N{MULTIPLICATION SIGN}"
    return [
        ("Size on the ground", f"{width_m / unit_m:.3g} {by} {height_m / unit_m:.3g} {unit}"),
        (
            f"Pixels (columns {by} rows)",
            f"{cols:,} {by} {rows:,}",
        ),
        (
            f"Pixel (across {by} down)",
            f"{width_m / cols:.2f} {by} {height_m / rows:.2f} m",
        ),
        ("Bands", f"{view.sizes['band']} {by} {view['image'].dtype}"),
        ("Reference system", CRS(view.rio.crs).to_string()[:24]),
        ("Levels", f"{len(levels(view.attrs))}"),
    ]


def _write_words(figure: "Figure", page: _Page, attributes: Mapping[str, Any]) -> None:
    """Write the title above, and whose the pictures are below."""
    facts = attributes["spacenet_cube"]
    left, (across, up) = 0.95, page.size
    title = f"{facts['aoi'].replace('_', ' ')}  ·  {facts['product']}"
    below = "  ·  ".join(filter(None, [facts.get("sensor"), _dates(facts["scenes"])]))
    figure.text(left / across, 1 - 0.34 / up, title, fontsize=16, color=_INK, va="top",
                fontweight="bold")  # fmt: skip
    figure.text(left / across, 1 - 0.66 / up, below, fontsize=9.5, color=_FAINT, va="top")
    words, licence = attributes.get("attribution", ""), attributes.get("license", "")
    if licence.replace("-", " ") not in words.replace("-", " "):
        words = f"{words}  ·  {licence}".strip(" ·")
    words = fill(words, int((across - left) * 19))
    figure.text(left / across, 0.14 / up, words, fontsize=6.5, color=_FAINT, va="bottom")


def _dates(scenes: Sequence[Mapping[str, Any]]) -> str:
    """Return the day, or the first and the last day, the scenes were acquired."""
    days = sorted({scene["acquired"][:10] for scene in scenes if scene.get("acquired")})
    return " to ".join(dict.fromkeys([days[0], days[-1]])) if days else ""
