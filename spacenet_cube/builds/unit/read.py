"""Reading: samples of a scene, through rasterio and the GTiff driver alone.

Other GDAL drivers can read any file or URL that a hostile raster names, so none is
allowed.  A failed read is an error that names the scene, and never nodata.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from affine import Affine
from rasterio.errors import RasterioError
from rasterio.windows import Window

from spacenet_cube.builds.unit.mosaic import OpenScene, ReadWindow
from spacenet_cube.compat import CPLE_BaseError
from spacenet_cube.errors import SourceError
from spacenet_cube.raster.grid import Block
from spacenet_cube.raster.upright import in_file, turn, upright
from spacenet_cube.raster.validity import Samples
from spacenet_cube.sources.files.copies import LocalCopy
from spacenet_cube.sources.gdal import open_raster
from spacenet_cube.sources.pins import refuse_changed, refuse_mixed
from spacenet_cube.sources.scene import Scene

LocalFile = Callable[[Scene, Block], AbstractContextManager[LocalCopy]]
"""Give a local file that holds a window of a scene."""


@contextmanager
def _in_place(scene: Scene, _within: Block) -> Iterator[LocalCopy]:
    assert not scene.is_remote, "a remote scene is staged before it is read"
    yield LocalCopy(scene.href)


def reader(band_indexes: Sequence[int], local: LocalFile = _in_place) -> OpenScene:
    """Make the function with which a mosaic reads its scenes.

    Parameters
    ----------
    band_indexes
        Bands to read, from 1, in the cube's order.
    local
        Gives the local file to open for a window of a scene; by default the scene is one.

    Returns
    -------
    OpenScene
        Opens a scene; what it gives fills arrays (band, y, x) window by window.  Both
        raise `SourceError`, which names the scene.
    """
    indexes = list(band_indexes)

    @contextmanager
    def open_scene(scene: Scene, within: Block) -> Iterator[ReadWindow]:
        with ExitStack() as held:
            held.enter_context(_naming(scene))
            copy = held.enter_context(local(scene, within))
            stamp = None if scene.is_remote else refuse_changed(scene)
            dataset = held.enter_context(open_raster(copy.path))
            _check_unchanged(scene, dataset)

            def read(window: Block, out: Samples) -> None:
                if scene.is_remote and window.intersection(within) != window:
                    raise SourceError(
                        f"{window} of scene {scene.id} was not fetched, only {within} was; this is "
                        "a fault of spacenet-cube: please report it",
                        scene=scene.id,
                    )
                with _naming(scene):
                    copy.refuse_missing(in_file(window, scene.shape_yx, scene.flip), indexes)
                    if any(scene.flip):
                        _read_flipped(dataset, indexes, scene, window, out)
                    else:
                        dataset.read(indexes, out=out, window=_window(window))
                    if stamp is not None:
                        refuse_mixed(scene, stamp)

            yield read

    return open_scene


def _read_flipped(
    dataset: Any,  # noqa: ANN401 - rasterio ships no types
    indexes: list[int],
    scene: Scene,
    window: Block,
    out: Samples,
) -> None:
    """Read a window of a scene whose file has rows or columns the other way round."""
    there = in_file(window, scene.shape_yx, scene.flip)
    out[...] = turn(dataset.read(indexes, window=_window(there)), scene.flip)


def _window(block: Block) -> Window:
    return Window(block.col, block.row, block.width, block.height)


@contextmanager
def _naming(scene: Scene) -> Iterator[None]:
    """Turn what rasterio raises into an error that names the scene and the mend."""
    try:
        yield
    except (CPLE_BaseError, RasterioError, OSError) as error:
        cause = error.__cause__ or error
        raise SourceError(
            f"scene {scene.id} cannot be read: {cause}; try again, fetch {scene.key} anew, "
            f'or add "{scene.id}" to exclude',
            scene=scene.id,
        ) from error


def _check_unchanged(scene: Scene, dataset: Any) -> None:  # noqa: ANN401 - rasterio ships no types
    found = (dataset.shape, dataset.count, dataset.dtypes[0])
    own = Affine(*tuple(dataset.transform)[:6])
    if upright(own, dataset.shape) != (scene.transform, scene.flip):
        raise SourceError(
            f"scene {scene.id} now lies elsewhere than it was surveyed (its transform differs); "
            "survey and plan again",
            scene=scene.id,
        )
    if found != (scene.shape_yx, scene.count, scene.dtype):
        raise SourceError(
            f"scene {scene.id} is now {found[1]} x {found[0]} {found[2]} but was surveyed as "
            f"{scene.count} x {scene.shape_yx} {scene.dtype}; survey and plan again",
            scene=scene.id,
        )
