"""What every test shares: hypothesis profiles, shares, the real samples, the package under test."""

import os
from pathlib import Path

import hypothesis
import pytest

import spacenet_cube
from tests import shares
from tests.places import SHARED

SAMPLES = SHARED / "samples"

# On a busy machine the first example of a test may be slow; that is no fault of the code.
EXAMPLES = shares.count(25, of=100)
hypothesis.settings.register_profile("dev", deadline=None, max_examples=EXAMPLES)
hypothesis.settings.register_profile(
    "ci", deadline=None, max_examples=EXAMPLES, derandomize=True, print_blob=True
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")

SLOWEST = (
    "test_torture_machine",
    "test_s3",
    "test_cluster",
    "test_at_rest",
    "test_versions",
    "test_torture_builds",
    "test_torture_versions",
    "test_torture_faults",
    "test_notebooks",
    "test_cubes",
)
"""Files that take longest, which begin first, so that no worker is left alone with one."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_report_header() -> str:
    return f"spacenet_cube: {Path(spacenet_cube.__file__).parent}\n{shares.header()}"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real SpaceNet chips, which are never committed."""
    if not SAMPLES.is_dir():
        pytest.skip(f"real sample rasters are not at {SAMPLES}")
    return SAMPLES
