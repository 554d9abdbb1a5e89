"""Inventories: where other projects document the names that our reference uses.

``python -m spacenet_cube.docs.inventories`` writes one ``.inv`` file for each project.  They
are small and committed, because the pages are built without a network.  A name that the
reference starts to use gets a line in ``NAMES``; the build names it where it is missing.
"""

from pathlib import Path

FOLDER = Path(__file__).parent / "inventories"

HOMES = {
    "python": "https://docs.python.org/3/",
    "numpy": "https://numpy.org/doc/stable/",
    "xarray": "https://docs.xarray.dev/en/stable/",
    "dask": "https://docs.dask.org/en/stable/",
    "pandas": "https://pandas.pydata.org/docs/",
    "geopandas": "https://geopandas.org/en/stable/",
    "matplotlib": "https://matplotlib.org/stable/",
    "affine": "https://affine.readthedocs.io/en/latest/",
    "xbatcher": "https://xbatcher.readthedocs.io/en/latest/",
}
"""Where the pages of a project are."""

_PANDAS = "reference/api/pandas.DataFrame.html#pandas.DataFrame"
_XARRAY = "generated/xarray.{0}.html#xarray.{0}"

NAMES = {
    "python": {
        "collections.abc.Callable": "library/collections.abc.html#collections.abc.Callable",
        "collections.abc.Iterable": "library/collections.abc.html#collections.abc.Iterable",
        "collections.abc.Iterator": "library/collections.abc.html#collections.abc.Iterator",
        "collections.abc.Mapping": "library/collections.abc.html#collections.abc.Mapping",
        "collections.abc.Sequence": "library/collections.abc.html#collections.abc.Sequence",
        "concurrent.futures._base.Executor": (
            "library/concurrent.futures.html#concurrent.futures.Executor"
        ),
        "datetime.datetime": "library/datetime.html#datetime.datetime",
        "os.PathLike": "library/os.html#os.PathLike",
        "pathlib.Path": "library/pathlib.html#pathlib.Path",
    },
    "numpy": {
        "numpy._typing._array_like.NDArray": "reference/typing.html#numpy.typing.NDArray",
        "numpy._typing._dtype_like.DTypeLike": "reference/typing.html#numpy.typing.DTypeLike",
        "numpy.int8": "reference/arrays.scalars.html#numpy.int8",
        "numpy.int64": "reference/arrays.scalars.html#numpy.int64",
    },
    "xarray": {
        "xarray.core.dataarray.DataArray": _XARRAY.format("DataArray"),
        "xarray.core.dataset.Dataset": _XARRAY.format("Dataset"),
        "xarray.core.datatree.DataTree": _XARRAY.format("DataTree"),
    },
    "dask": {"Delayed": "delayed-api.html"},
    "pandas": {"pandas.DataFrame": _PANDAS, "pd.DataFrame": _PANDAS},
    "geopandas": {
        "geopandas.GeoDataFrame": "docs/reference/api/geopandas.GeoDataFrame.html",
    },
    "matplotlib": {
        "Axes": "api/_as_gen/matplotlib.axes.Axes.html#matplotlib.axes.Axes",
        "AxesImage": "api/image_api.html#matplotlib.image.AxesImage",
    },
    "affine": {"affine.Affine": "index.html"},
    "xbatcher": {"BatchGenerator": "api.html"},
}
"""Page and anchor of each name, as annotations spell it: the private module, or no module."""


def write(folder: Path = FOLDER) -> None:
    """Write the inventories of all projects.

    Parameters
    ----------
    folder
        Where to put them, one file for each project.
    """
    import sphobjinv  # noqa: PLC0415 - building the pages does not need it

    folder.mkdir(exist_ok=True)
    for project, names in NAMES.items():
        inventory = sphobjinv.Inventory()
        inventory.project, inventory.version = project, ""
        inventory.objects.extend(
            sphobjinv.DataObjStr(
                name=name, domain="py", role="class", priority="1", uri=page, dispname="-"
            )
            for name, page in names.items()
        )
        text = inventory.data_file(contract=True)
        sphobjinv.writebytes(str(folder / f"{project}.inv"), sphobjinv.compress(text))


if __name__ == "__main__":
    write()
