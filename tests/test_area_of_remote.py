"""A build limited to an area, native or warped, fetches of a remote source what it needs."""

from pathlib import Path

import numpy as np
import pytest

import spacenet_cube as sc
from spacenet_cube.recipe.grids import Area
from tests.test_staging import Meter, pixels_of, recipe_of, uploaded, write

AREA = Area(bbox=(500_040.0, 4_999_700.0, 500_090.0, 4_999_740.0), crs="EPSG:32631")
"""50 x 40 pixels in the last quarter of a raster of 320 x 320."""


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    return Meter(monkeypatch)


@pytest.mark.parametrize(("layout", "most"), [("strips", 0.25), ("tiles", 0.2)])
@pytest.mark.parametrize("grid", [None, {"crs": "EPSG:32631", "resolution": 1.7}])
def test_an_area_costs_its_rows_or_tiles_and_gives_what_a_local_build_gives(
    tmp_path: Path, meter: Meter, layout: str, most: float, grid: dict[str, object] | None
) -> None:
    (tmp_path / "local").mkdir()
    write(tmp_path / "local" / "a.tif", layout, "uint16")
    made = recipe_of().with_area(AREA)
    if grid is not None:
        wanted = type(made.products[0]).model_validate(
            made.products[0].model_dump() | {"grid": grid}
        )
        made = made.model_copy(update={"products": (wanted,)})
    remote = uploaded(tmp_path / "local", f"area-{layout}-{grid is None}")
    scenes = sc.survey(made, "p", source=remote)
    before = meter.total_bytes

    far = sc.build(sc.plan(made, "p", scenes), tmp_path / "far")

    fetched = meter.total_bytes - before
    near = sc.build(
        sc.plan(made, "p", sc.survey(made, "p", source=tmp_path / "local")), tmp_path / "near"
    )
    for ours, theirs in zip(pixels_of(far), pixels_of(near), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert pixels_of(far)[1].any()
    # The header is mirrored first; the rest is the area's rows or tiles.
    header = 64 << 10
    assert 0 < fetched - header < most * 320 * 320 * 3 * 2
