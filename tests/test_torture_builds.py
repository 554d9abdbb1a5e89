"""The torture of builds in its short form: each row as ``make torture`` runs it, a few times."""

import pytest

from tests.torture import answers, builders, kills

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)


def test_a_build_that_is_killed_goes_on_and_nothing_shows_before():
    score = kills.run(4, seed=11)

    assert score.held, score.failures


def test_a_lost_answer_is_resolved():
    score = answers.run(3, seed=4)

    assert score.held, score.failures


def test_of_sixteen_builders_one_builds():
    score = builders.run(1, seed=1)

    assert score.held, score.failures
