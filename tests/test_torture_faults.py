"""The torture of faults, in short: ``make torture`` runs each row at its whole length."""

import pytest

from tests.torture import chaos, disk, expiry
from tests.torture.score import Run

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)


@pytest.mark.parametrize(("run", "n"), [(chaos.run, 2), (expiry.run, 4)])
def test_what_happens_on_the_way_does_not_show_in_the_cube(run: Run, n: int):
    score = run(n, 1)

    assert score.failures == ()
    assert score.good == n
    assert sum(score.figures.get("by_path", {}).values()) > 0


@pytest.mark.skipif(bool(disk.missing()), reason=f"needs {' and '.join(disk.missing())}")
def test_a_disk_that_is_full_or_fails_is_never_silent():
    score = disk.run(3, 1)

    assert score.failures == ()
    assert sum(score.figures["fired"].values()) == score.n
