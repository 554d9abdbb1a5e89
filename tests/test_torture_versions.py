"""The torture of versioned builds: kills in short form, and the machine of states as
``make torture`` runs it: 200 sequences of 50 steps, or a share of them."""

import pytest

from tests import shares
from tests.torture import commits, rollbacks

# aiobotocore closes its connections when its event loop is collected, and Python says so.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)

SEEDS = range(2, 22) if shares.ALL else [shares.SEED]


def test_a_short_run_of_the_torture_holds():
    score = commits.run(2, 1)

    assert score.failures == ()
    assert score.held


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_done_in_any_order_every_version_stays_as_it_was(seed: int):
    score = rollbacks.run(shares.count(4, of=10), seed)

    assert score.held, score.failures
