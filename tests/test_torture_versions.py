"""The torture of versioned builds in its short form: each row as ``make torture`` runs it."""

import pytest

from tests.torture import commits, rollbacks
from tests.torture.score import Run

# aiobotocore closes its connections when its event loop is collected, and Python says so.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)


@pytest.mark.parametrize(("run", "n"), [(commits.run, 2), (rollbacks.run, 8)])
def test_a_short_run_of_the_torture_holds(run: Run, n: int):
    score = run(n, 1)

    assert score.failures == ()
    assert score.held
