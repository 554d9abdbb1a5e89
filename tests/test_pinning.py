"""A source that changed between survey and build is an error, and never mixed pixels."""

import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from spacenet_cube.builds.build import build
from spacenet_cube.builds.unit import task
from spacenet_cube.builds.unit.read import reader
from spacenet_cube.builds.update import update
from spacenet_cube.errors import SourceError
from spacenet_cube.plans.plan import plan
from spacenet_cube.raster.grid import Block
from spacenet_cube.recipe.model import Recipe
from spacenet_cube.sources import pins
from spacenet_cube.sources.survey import survey
from tests.scenes import LICENCE, coordinates, product, scene, write_geotiff

SIDE = 40


def _recipe(folder: Path) -> Recipe:
    return Recipe(name="A", source=str(folder), licence=LICENCE, products=(product(count=2),))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    image = coordinates(Block(0, 0, SIDE, SIDE)).astype("uint16")
    write_geotiff(source / "a.tif", image)
    return source


def _flip(path: Path, *, keep_time: bool = True) -> None:
    """Change one byte of the pixels in place."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_pinned_source_that_was_flipped_is_refused_though_size_and_time_are_the_same(
    folder: Path, tmp_path: Path
) -> None:
    recipe = _recipe(folder)
    planned = plan(recipe, "P", survey(recipe, "P", pin=True))

    _flip(folder / "a.tif")

    with pytest.raises(SourceError, match=r"a\.tif at .* is not the one .* sha256 .* plan again"):
        build(planned, tmp_path / "to", workers=1)
    assert not (tmp_path / "to/A/P.zarr/zarr.json").exists()


def test_a_source_that_is_not_pinned_is_held_to_size_and_time_of_change(
    folder: Path, tmp_path: Path
) -> None:
    recipe = _recipe(folder)
    planned = plan(recipe, "P", survey(recipe, "P"))

    os.utime(folder / "a.tif", ns=(1, planned.scenes[0].modified_ns + 1))  # type: ignore[operator]

    with pytest.raises(SourceError, match="written again"):
        build(planned, tmp_path / "to", workers=1)


def test_a_source_that_changes_while_it_is_built_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = _recipe(folder)
    planned = plan(recipe, "P", survey(recipe, "P", pin=True))
    whole = vars(task)["mosaic"]
    changed: list[bool] = []

    def changing(*args: object, **more: object) -> object:
        found = whole(*args, **more)
        if not changed:
            _flip(folder / "a.tif")
            changed.append(True)
        return found

    monkeypatch.setattr(task, "mosaic", changing)

    with pytest.raises(SourceError, match="not the one that was surveyed"):
        build(planned, tmp_path / "to", workers=1)
    assert changed


def test_pixels_read_while_the_file_changes_are_refused(folder: Path) -> None:
    (scene,) = survey(_recipe(folder), "P", pin=True)
    out = np.empty((1, 4, 4), "uint16")

    with reader([1])(scene, Block(0, 0, 4, 4)) as read:
        read(Block(0, 0, 4, 4), out)
        _flip(folder / "a.tif", keep_time=False)
        with pytest.raises(SourceError, match="changed while it was read"):
            read(Block(0, 0, 4, 4), out)


def test_a_pinned_file_is_hashed_once_a_process_and_again_where_it_looks_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scene,) = survey(_recipe(folder), "P", pin=True)
    hashed: list[str] = []
    whole = pins.sha256_of

    def counted(path: str) -> str:
        hashed.append(path)
        return whole(path)

    monkeypatch.setattr(pins, "sha256_of", counted)

    for _ in range(3):
        pins.refuse_changed(scene)
    assert len(hashed) == 1

    os.utime(folder / "a.tif")
    pins.refuse_changed(scene)
    assert len(hashed) == 2


def test_a_digest_stands_in_the_plan_and_in_the_cube_and_no_digest_changes_nothing(
    folder: Path, tmp_path: Path
) -> None:
    recipe = _recipe(folder)
    told: list[tuple[str, int, int]] = []
    loose = survey(recipe, "P")
    fast = survey(recipe, "P", pin=True, progress=lambda *each: told.append(each))
    want = sha256((folder / "a.tif").read_bytes()).hexdigest()

    planned = plan(recipe, "P", fast)
    build(planned, tmp_path / "to", workers=1)

    assert fast[0].sha256 == want
    assert want in str(planned.to_dict())
    assert want in (tmp_path / "to/A/P.zarr/zarr.json").read_text()
    assert ("pin", 1, 1) in told
    assert planned.digest != plan(recipe, "P", loose).digest
    assert "sha256" not in str(plan(recipe, "P", loose).to_dict())


def test_a_pinned_update_builds_nothing_where_only_the_time_of_change_is_another(
    folder: Path, tmp_path: Path
) -> None:
    recipe = _recipe(folder)
    build(plan(recipe, "P", survey(recipe, "P", pin=True)), tmp_path / "to", workers=1)
    os.utime(folder / "a.tif", ns=(1, 1))

    again = update(plan(recipe, "P", survey(recipe, "P", pin=True)), tmp_path / "to", workers=1)
    _flip(folder / "a.tif")
    changed = update(plan(recipe, "P", survey(recipe, "P", pin=True)), tmp_path / "to", workers=1)

    assert (again.changed, changed.changed) == ((), ("a.tif",))


def test_a_pipe_in_the_place_of_a_raster_is_refused_and_not_waited_for(folder: Path) -> None:
    (scene,) = survey(_recipe(folder), "P")
    (folder / "a.tif").unlink()
    os.mkfifo(folder / "a.tif")

    with (
        pytest.raises(SourceError, match="pipe or device"),
        reader([1])(scene, Block(0, 0, 1, 1)),
    ):
        pass
    with pytest.raises(SourceError, match="pipe or device"):
        survey(_recipe(folder), "P")


def test_a_remote_file_without_a_tag_cannot_be_pinned() -> None:
    remote = scene(href="https://host/a.tif")

    done, failed = pins.pinned([remote, replace(remote, etag="x")], 1)

    assert [each.etag for each in done] == ["x"]
    assert "no tag" in failed[0]
