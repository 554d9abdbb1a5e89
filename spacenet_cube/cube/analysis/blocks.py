"""Blocks: image and source_index as dask arrays, cut alike, and answers of blocks merged."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import optimize
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from spacenet_cube.cube.analysis.dataset import PER_BAND, image_of, variable
from spacenet_cube.errors import RecipeError

LAZILY: dict[str, Any] = {"dask": "parallelized", "keep_attrs": "override"}
"""How functions of blocks are applied."""

_BLOCK_PX = 2048

_FOLD = 16


def on_blocks(cube: xr.Dataset, image: xr.DataArray | None = None) -> tuple[da.Array, da.Array]:
    """Image and ``source_index`` as dask arrays, cut alike.

    Parameters
    ----------
    cube
        The dataset; one that is in memory is cut without a copy.
    image
        What to take for the image, shaped ([band,] y, x); by default the cube's own.

    Returns
    -------
    image : dask.array.Array
        Shape (band, y, x), all bands in one chunk.
    source_index : dask.array.Array
        Shape (y, x).

    Raises
    ------
    RecipeError
        If the dataset has lost a variable, or the image given is not on its pixels.
    """
    picked = image_of(cube) if image is None else layers(cube, image)
    index = variable(cube, "source_index").transpose("y", "x")
    values, scenes = (_as_dask(each) for each in (picked.transpose("band", "y", "x"), index))
    values = values.rechunk({0: -1})
    return values, scenes.rechunk(dict(enumerate(values.chunks[1:])))


def _as_dask(array: xr.DataArray) -> Any:  # noqa: ANN401 - a dask array
    if array.chunks:
        return array.data
    return da.from_array(array.values, chunks=(-1,) * (array.ndim - 2) + (_BLOCK_PX,) * 2)


def layers(cube: xr.Dataset, image: xr.DataArray) -> xr.DataArray:
    """Return an array on the cube's pixels as layers, shaped (band, y, x).

    Parameters
    ----------
    cube
        The dataset.
    image
        Shaped (y, x), or with one more dimension of any name.

    Returns
    -------
    xarray.DataArray
        Bands first; the coordinate ``band`` names them.

    Raises
    ------
    RecipeError
        If it is not on the cube's pixels.
    """
    others = [dim for dim in image.dims if dim not in {"y", "x"}]
    alike = {"y", "x"} <= set(image.dims) and all(
        image.sizes[dim] == cube.sizes[dim] and np.array_equal(image[dim], cube[dim])
        for dim in ("y", "x")
    )
    if not alike or len(others) > 1:
        raise RecipeError(
            f"an array of {dict(image.sizes)} is not on the pixels of a cube of "
            f"{dict(cube.sizes)}; give one that was made from this very part, such as "
            "cube.spacenet.ndvi()"
        )
    if not others:
        name = "value" if image.name is None else str(image.name)
        return image.drop_vars(PER_BAND, errors="ignore").expand_dims(band=[name])
    only = image.drop_vars([each for each in PER_BAND if each != others[0]], errors="ignore")
    return only if others[0] == "band" else only.rename({others[0]: "band"})


def layer_names(image: xr.DataArray) -> tuple[str, ...]:
    """Names of layers, by number where they have none."""
    if "band" in image.coords:
        return tuple(str(name) for name in np.atleast_1d(image["band"].values))
    return tuple(map(str, range(image.sizes["band"])))


def gathered(
    image: da.Array,
    index: da.Array,
    of_block: Mapping[tuple[int, int], Callable[[Any, Any], Any]],
    merge: Callable[[list[Any]], Any],
) -> Delayed:
    """Ask blocks something, and merge the answers as a tree.

    No task needs more than a block or a few answers.  The graph has little more than one task
    a block; `dask.delayed` would take seconds to make it of a large cube.

    Parameters
    ----------
    image
        Shape (band, y, x), all bands in one chunk.
    index
        Shape (y, x), cut alike.
    of_block
        What to ask, by row and column of the block; at least one.
    merge
        Makes one answer of several.

    Returns
    -------
    Delayed
        All answers merged.
    """
    name = f"{getattr(merge, '__name__', 'merged')}-{uuid4().hex}"
    tasks: dict[Any, Any] = {
        (name, 0, k): (ask, (image.name, 0, *place), (index.name, *place))
        for k, (place, ask) in enumerate(of_block.items())
    }
    keys, depth = list(tasks), 0
    while len(keys) > 1 or depth == 0:
        depth += 1
        groups = [keys[k : k + _FOLD] for k in range(0, len(keys), _FOLD)]
        keys = [(name, depth, k) for k in range(len(groups))]
        tasks.update({key: (merge, group) for key, group in zip(keys, groups, strict=True)})
    tasks[name] = tasks.pop(keys[0])
    # A Delayed is not optimized as arrays are: without this, one band is read as all of them.
    below: Any = optimize(image, index)
    return Delayed(name, HighLevelGraph.from_collections(name, tasks, dependencies=below))
