"""The machine of states as ``make torture`` runs it, as many sequences, under twenty seeds."""

import pytest

from tests.torture import machine


@pytest.mark.parametrize("seed", range(2, 22))
def test_whatever_is_done_in_any_order_the_cube_is_whole_or_not_there(seed: int):
    score = machine.run(10, seed)

    assert score.held, score.failures
