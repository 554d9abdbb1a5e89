"""Damage at rest: a short form of the rows of the scoreboard that verify has to its name."""

import pytest

from tests.torture import rest

# aiobotocore closes its connections when its event loop is collected, and Python says so.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)


@pytest.mark.parametrize(
    ("row", "n"),
    [
        (rest.flips, 40),
        (rest.truncations, 10),
        (rest.lost, 10),
        (rest.swapped, 15),
        (rest.edited, 15),
        (rest.clean, 15),
        (rest.repaired, 15),
    ],
)
def test_damage_at_rest_is_found_and_named_and_nothing_else_is(row, n):
    score = row(n, seed=7)

    assert score.failures == ()
    assert score.held
    assert sum(score.figures.values()) >= n
