"""Carrying: halves handed on are the halves that would be read back, and few are held."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spacenet_cube as sc
from spacenet_cube.carrying import Carried
from spacenet_cube.core.grid import Block
from spacenet_cube.core.mosaic import new_pixels
from spacenet_cube.write import LevelArrays
from tests.scenes import Lattice, product, recipe
from tests.tiny_cubes import KINDS
from tests.tiny_cubes import recipe as tiny
from tests.tiny_cubes import scenes as write_tiny
from tests.torture.ground import content

PLAN = sc.plan(recipe(product()), "P", [Lattice().cut("a.tif", Block(0, 0, 9, 9))])


def block(number):
    return Block(16 * number, 0, 16, 16)


@given(most=st.integers(1, 5), kept=st.lists(st.integers(0, 9), max_size=20, unique=True))
def test_the_newest_are_held_and_each_is_given_once(most, kept):
    carried, pixels = Carried(most), {number: new_pixels(PLAN, (16, 16)) for number in kept}

    for number in kept:
        carried.keep(2, block(number), pixels[number])

    assert all(carried.fetch(1, block(number)) is None for number in kept)
    for number in kept[:-most]:
        assert carried.fetch(2, block(number)) is None
    for number in kept[-most:]:
        assert carried.fetch(2, block(number)) is pixels[number]
        assert carried.fetch(2, block(number)) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_cube_is_the_same_whether_halves_are_handed_on_or_read_back(kind, tmp_path, monkeypatch):
    write_tiny(tmp_path / "scenes", kind)
    wanted = tiny(tmp_path / "scenes", kind)
    plan = sc.plan(wanted, "P", sc.survey(wanted, "P"))
    read_back, read = [], LevelArrays.read

    def reading(arrays, part):
        read_back.append(part)
        return read(arrays, part)

    monkeypatch.setattr(LevelArrays, "read", reading)
    handed_on = content(sc.build(plan, tmp_path / "one", workers=2))
    assert not read_back
    monkeypatch.setattr("spacenet_cube.building.halves_held", lambda _workers: 0)
    again = content(sc.build(plan, tmp_path / "two", workers=2))

    assert bool(read_back) == (len(plan.levels) > 2)
    assert again == handed_on
