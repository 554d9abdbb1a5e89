"""The machine of states as ``make torture`` runs it: 200 sequences of 50 steps, or a share."""

import pytest

from tests import shares
from tests.torture import machine

SEEDS = range(2, 22) if shares.ALL else [shares.SEED]


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_done_in_any_order_the_cube_is_whole_or_not_there(seed: int):
    score = machine.run(shares.count(6, of=10), seed)

    assert score.held, score.failures
