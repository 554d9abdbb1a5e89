"""Imagery metadata: real files of the provider, and XML that means harm."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spacenet_cube as sc
from spacenet_cube.sources.metadata import ImdError, parse_imagery, sidecar_of
from tests.test_staging import write

IMD = b"""version = "28.3";
BEGIN_GROUP = BAND_C
\tabsCalFactor = 1.432870e-02;
\teffectiveBandwidth = 4.050000e-02;
END_GROUP = BAND_C
BEGIN_GROUP = BAND_N2
\tabsCalFactor = 1.063780e-02;
\teffectiveBandwidth = 8.890000e-02;
END_GROUP = BAND_N2
BEGIN_GROUP = IMAGE_1
\tsatId = "WV03";
\tCatId = "1040010042376D00";
\tfirstLineTime = 2018-10-02T02:50:47.185850Z;
\tmeanSunAz =  100.4;
\tmeanSunEl =   75.0;
\tmeanOffNadirViewAngle =   1.6;
\tcloudCover = -999.000;
END_GROUP = IMAGE_1
END;
"""
XML = b"""<?xml version="1.0" encoding="utf-8"?>
<isd><IMD><VERSION>28.3</VERSION>
<BAND_C><ABSCALFACTOR>1.432870e-02</ABSCALFACTOR>
<EFFECTIVEBANDWIDTH>4.05e-02</EFFECTIVEBANDWIDTH></BAND_C>
<BAND_N2><ABSCALFACTOR>1.063780e-02</ABSCALFACTOR>
<EFFECTIVEBANDWIDTH>8.89e-02</EFFECTIVEBANDWIDTH></BAND_N2>
<IMAGE><SATID>WV03</SATID><CATID>1040010042376D00</CATID>
<FIRSTLINETIME>2018-10-02T02:50:47.185850Z</FIRSTLINETIME>
<MEANSUNAZ>100.4</MEANSUNAZ><MEANSUNEL>75.0</MEANSUNEL>
<MEANOFFNADIRVIEWANGLE>1.6</MEANOFFNADIRVIEWANGLE><CLOUDCOVER>-999</CLOUDCOVER>
</IMAGE></IMD></isd>
"""


def test_both_forms_say_the_same():
    found, same = parse_imagery(IMD, "a"), parse_imagery(XML, "a")

    assert found == same
    assert found is not None
    assert (found.satellite, found.catalog_id) == ("WV03", "1040010042376D00")
    assert (found.sun_elevation_deg, found.sun_azimuth_deg, found.off_nadir_deg) == (75, 100.4, 1.6)
    assert found.acquired == "2018-10-02T02:50:47Z"
    assert found.cloud_cover is None
    assert [(b.band, b.abs_cal_factor, b.effective_bandwidth_um) for b in found.bands] == [
        ("coastal", 0.0143287, 0.0405),
        ("nir2", 0.0106378, 0.0889),
    ]


def test_real_files_give_the_factors_of_the_record(shared):
    found = {
        imagery.satellite: imagery
        for path in sorted((shared / "imd").glob("*.IMD"))
        for imagery in [parse_imagery(path.read_bytes(), path.name)]
        if imagery is not None
    }

    factors = {band.band: band.abs_cal_factor for band in found["WV03"].bands}
    assert factors == {
        "coastal": 0.0143287, "blue": 0.0176201, "green": 0.0133187, "yellow": 0.00684307,
        "red": 0.0143856, "rededge": 0.00621996, "nir1": 0.0166926, "nir2": 0.0106378,
    }  # fmt: skip
    assert {band.band: band.effective_bandwidth_um for band in found["WV02"].bands} == {
        "blue": 0.0543, "green": 0.063, "red": 0.0574, "nir1": 0.0989,
    }  # fmt: skip
    assert found["WV02"].off_nadir_deg == 36.6


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    b"<IMD><IMAGE><SATID>&b;</SATID></IMAGE></IMD>"
)
FILE = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><IMD><SATID>&a;</SATID></IMD>'


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (LAUGHS, "document type"),
        (FILE, "document type"),
        (b"<IMD>" + b"<A>" * 500, "nests more than"),
        (b"<IMD><A></IMD>", "damaged XML"),
        (b"BEGIN_GROUP = A\n" * 500, "nests more than"),
        (b"END_GROUP = A", "never began"),
        (b"BEGIN_GROUP = A\n", "never ends"),
        (b" " * ((8 << 20) + 1), "more than 8,388,608 bytes"),
    ],
)
def test_harmful_and_damaged_metadata_is_an_error(content, told):
    with pytest.raises(ImdError, match=told):
        parse_imagery(content, "a")


@given(st.binary(max_size=300))
def test_any_bytes_are_metadata_or_none_or_an_error(content):
    try:
        found = parse_imagery(content, "a")
    except ImdError:
        return
    assert found is None or found.source == "a"


def test_an_xml_of_another_kind_is_passed_over():
    assert parse_imagery(b"<README><MEDIAVOLUMES>1</MEDIAVOLUMES></README>", "README.XML") is None


def test_a_raster_has_its_own_file_rather_than_its_products():
    names = ["a/X-M2AS-1_P001.IMD", "a/X-M2AS_R1C1-1_P001.XML", "b/X-M2AS_R1C1-1_P001.IMD"]

    assert sidecar_of("a/X-M2AS_R1C1-1_P001.TIF", names) == "a/X-M2AS_R1C1-1_P001.XML"
    assert sidecar_of("a/X-M2AS_R1C2-1_P001.TIF", names) == "a/X-M2AS-1_P001.IMD"
    assert sidecar_of("c/X-M2AS_R1C2-1_P001.TIF", names) is None


def test_what_is_known_of_a_scene_is_stored_with_the_cube(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "X-M2AS_R1C1-1_P001.tif", "strips", "uint16")
    write(folder / "X-M2AS_R1C2-1_P001.tif", "strips", "uint16", col=320)
    (folder / "X-M2AS-1_P001.IMD").write_bytes(IMD)
    recipe = sc.parse_recipe(
        "name: x\nlicence: {spdx: CC0-1.0, attribution: nobody}\n"
        "products: [{name: p, sources: '*.tif', bands: [a, b, c]}]\n"
    )

    url = sc.build(sc.plan(recipe, "p", sc.survey(recipe, "p", source=folder)), tmp_path / "out")

    for scene in sc.open_cube(url).attrs["spacenet_cube"]["scenes"]:
        assert scene["imagery"]["source"] == "X-M2AS-1_P001.IMD"
        assert scene["imagery"]["sun_elevation_deg"] == 75.0
        assert scene["imagery"]["bands"][1] == {
            "band": "nir2", "abs_cal_factor": 0.0106378, "effective_bandwidth_um": 0.0889,
        }  # fmt: skip


def test_damaged_metadata_is_told_with_the_other_faults(tmp_path):
    folder = Path(tmp_path)
    write(folder / "a.tif", "strips", "uint16")
    (folder / "a.XML").write_bytes(LAUGHS)
    (folder / "b.tif").write_bytes(b"no tiff")
    recipe = sc.parse_recipe(
        "name: x\nlicence: {spdx: CC0-1.0, attribution: nobody}\n"
        "products: [{name: p, sources: '*.tif', bands: [a, b, c]}]\n"
    )

    with pytest.raises(sc.SourceError) as caught:
        sc.survey(recipe, "p", source=folder)

    assert "a.XML: it declares a document type" in str(caught.value)
    assert "b.tif: " in str(caught.value)
