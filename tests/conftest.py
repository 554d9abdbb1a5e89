"""What every test shares: hypothesis profiles, the real samples, and the package under test."""

import os
from pathlib import Path

import hypothesis
import pytest

import spacenet_cube

SAMPLES = Path(__file__).parents[2] / "shared" / "spacenet" / "samples"

# On a busy machine the first example of a test may be slow; that is no fault of the code.
hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_report_header() -> str:
    return f"spacenet_cube: {Path(spacenet_cube.__file__).parent}"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real SpaceNet chips, which are never committed."""
    if not SAMPLES.is_dir():
        pytest.skip(f"real sample rasters are not at {SAMPLES}")
    return SAMPLES
