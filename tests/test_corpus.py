"""A corpus: published cubes below a root, found by listing and opened when taken."""

from pathlib import Path

import pytest
import xarray as xr

from spacenet_cube.cube.corpus import open_corpus
from spacenet_cube.cube.open import open_cube
from spacenet_cube.errors import RecipeError, StoreError
from tests.fake_cube import PAN, Fake, write_cube


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    made = tmp_path_factory.mktemp("cubes")
    write_cube(made, Fake(aoi="AOI_3_Paris", product="PAN", bands=PAN))
    write_cube(made)
    write_cube(made, Fake(product="MUL-PanSharpen", shape_yx=(40, 50)))
    (made / "AOI_2_Vegas" / "PAN.zarr" / "image").mkdir(parents=True)
    (made / "notes").mkdir()
    (made / "notes" / "a.txt").write_text("no cube")
    return made


def test_what_is_published_is_found_by_area_and_product(root):
    corpus = open_corpus(root)

    assert {aoi: list(products) for aoi, products in corpus.items()} == {
        "AOI_2_Vegas": ["MUL", "MUL-PanSharpen"],
        "AOI_3_Paris": ["PAN"],
    }
    assert (len(corpus), len(corpus["AOI_2_Vegas"])) == (2, 2)


def test_a_cube_is_that_of_open_cube_and_aliases_work(root):
    corpus = open_corpus(root)

    found = corpus["AOI_2_Vegas"]["MS"]

    assert found.image.chunks is not None
    assert found.identical(open_cube("AOI_2_Vegas", "MUL", root=root))
    with pytest.raises(KeyError, match="PAN"):
        _ = corpus["AOI_2_Vegas"]["PAN"]


def test_a_tree_has_a_group_for_each_cube(root):
    tree = open_corpus(root, resolution=2.2e-5).tree()

    assert isinstance(tree, xr.DataTree)
    assert tree["AOI_2_Vegas/MUL"].image.shape == (8, 151, 105)
    assert tree["AOI_3_Paris/PAN"].image.chunks is not None
    assert tree["AOI_2_Vegas/MUL"].to_dataset().spacenet.ndvi().shape == (151, 105)


def test_a_root_without_cubes_says_so(root, tmp_path, monkeypatch):
    with pytest.raises(StoreError, match="no published cube is below"):
        open_corpus(tmp_path)
    with pytest.raises(StoreError, match=r"no published cube is below .*nowhere"):
        open_corpus(tmp_path / "nowhere")
    with pytest.raises(RecipeError, match="no pixel size"):
        open_corpus(root, resolution=-1)
    monkeypatch.setenv("SPACENET_CUBE_ROOT", str(root))
    assert list(open_corpus()) == ["AOI_2_Vegas", "AOI_3_Paris"]


def test_secrets_of_the_storage_are_not_shown(root):
    corpus = open_corpus(Path(root), storage_options={"secret": "hush"})

    assert "hush" not in repr(corpus)
