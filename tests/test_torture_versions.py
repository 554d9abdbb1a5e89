"""The torture of versioned builds: kills in short form, the machine of states as often as
``make torture`` runs it, under twenty seeds."""

import pytest

from tests.torture import commits, rollbacks

# aiobotocore closes its connections when its event loop is collected, and Python says so.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)


def test_a_short_run_of_the_torture_holds():
    score = commits.run(2, 1)

    assert score.failures == ()
    assert score.held


@pytest.mark.parametrize("seed", range(2, 22))
def test_whatever_is_done_in_any_order_every_version_stays_as_it_was(seed: int):
    score = rollbacks.run(10, seed)

    assert score.held, score.failures
