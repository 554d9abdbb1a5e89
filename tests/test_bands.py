"""Bands: numbers are those of the facts, and an unknown name is told of with the mend."""

import re
from typing import Any

import pytest

from spacenet_cube.errors import RecipeError
from spacenet_cube.recipe.bands import SENSORS, Band, sensor_bands
from tests.places import SHARED

FACTS = SHARED / "FACTS.md"

# Edges, and centres for WorldView-2 and WorldView-3, nanometres.
TABLE = {
    "pan": (450, 800, 651.05, 649.36),
    "coastal": (400, 450, 428.58, 427.38),
    "blue": (450, 510, 479.35, 481.92),
    "green": (510, 580, 548.07, 547.14),
    "yellow": (585, 625, 607.78, 604.28),
    "red": (630, 690, 658.92, 660.11),
    "rededge": (705, 745, 723.27, 722.73),
    "nir1": (770, 895, 825.06, 824.04),
    "nir2": (860, 1040, 914.55, 913.65),
}


@pytest.mark.parametrize("name", TABLE)
def test_edges_centres_and_widths_are_those_of_the_data_sheets(name):
    lower, upper, *centres = TABLE[name]

    for sensor, centre in zip(("WorldView-2", "WorldView-3"), centres, strict=True):
        assert SENSORS[sensor][name] == Band(name, centre, (lower, upper))
        assert SENSORS[sensor][name].fwhm_nm == upper - lower


def test_there_are_two_sensors_with_these_bands_and_no_others():
    assert {sensor: set(bands) for sensor, bands in SENSORS.items()} == {
        "WorldView-2": set(TABLE),
        "WorldView-3": set(TABLE),
    }


def test_the_table_is_the_one_in_the_facts():
    if not FACTS.exists():
        pytest.skip(f"no facts at {FACTS}")
    row = re.compile(r"^\| ([A-Z][A-Za-z0-9 ]+) \| (\d{3,4})\D(\d{3,4}) \| ([\d.]+) \| ([\d.]+) \|")

    found = {
        match[1].lower().replace(" ", ""): tuple(float(part) for part in match.groups()[1:])
        for match in map(row.match, FACTS.read_text(encoding="utf-8").splitlines())
        if match
    }

    assert found == TABLE


@pytest.mark.parametrize("name", [name for name in TABLE if name != "pan"])
def test_every_centre_lies_between_its_edges(name):
    for bands in SENSORS.values():
        lower, upper = bands[name].edges_nm or (0, 0)
        assert lower < (bands[name].wavelength_nm or 0) < upper


def test_bands_come_in_the_order_asked_for():
    names = ["nir2", "coastal", "red"]

    assert [band.name for band in sensor_bands("WorldView-3", names)] == names


def test_the_sensors_cannot_be_changed():
    tables: list[Any] = [SENSORS, SENSORS["WorldView-3"]]

    for table in tables:
        with pytest.raises(TypeError):
            table["red"] = Band("red")


def test_a_band_of_unknown_edges_has_no_width():
    assert Band("ndvi").fwhm_nm is None


def test_an_unknown_sensor_is_told_with_those_known():
    with pytest.raises(
        RecipeError, match=r"'WorldView-1' is unknown; use one of WorldView-2, World"
    ):
        sensor_bands("WorldView-1", ["pan"])


def test_an_unknown_band_is_told_with_those_the_sensor_has():
    with pytest.raises(RecipeError, match=r"WorldView-3 has no band 'swir1'; it has pan, coastal"):
        sensor_bands("WorldView-3", ["red", "swir1"])
