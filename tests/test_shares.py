"""Shares are drawn by a seed, keep the order of the cases, and leave nothing out for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import shares

CASES = list("abcdefghij")


@given(seed=st.integers(0, 10**6), n=st.integers(0, 12))
def test_a_share_is_a_part_of_the_cases_in_their_order(seed, n):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shares, "ALL", False)
        patch.setattr(shares, "SEED", seed)
        drawn = shares.share(CASES, n)

        assert drawn == shares.share(CASES, n)
        assert drawn == [case for case in CASES if case in drawn]
        assert len(drawn) == min(n, len(CASES))


def test_other_seeds_draw_every_case_in_the_end(monkeypatch):
    monkeypatch.setattr(shares, "ALL", False)
    seen = set()
    for seed in range(40):
        monkeypatch.setattr(shares, "SEED", seed)
        drawn = shares.share(CASES, 3, always=["b"])
        assert "b" in drawn
        assert len(drawn) == 3
        seen |= set(drawn)

    assert seen == set(CASES)


def test_everything_runs_where_everything_is_asked_for(monkeypatch):
    monkeypatch.setattr(shares, "ALL", True)

    assert shares.share(CASES, 1) == CASES
    assert shares.count(5, of=100) == 100


def test_a_case_that_always_runs_must_be_one():
    with pytest.raises(ValueError, match="must always run"):
        shares.share(CASES, 3, always=["z"])


@pytest.mark.parametrize(
    ("given_seed", "ci", "expected"), [("7", "", 7), ("7", "true", 7), ("", "true", shares.CI_SEED)]
)
def test_the_seed_is_the_one_given_or_that_of_ci(given_seed, ci, expected, monkeypatch):
    monkeypatch.setenv(shares.SEED_VARIABLE, given_seed)
    monkeypatch.setenv("CI", ci)

    assert shares._seed() == expected  # noqa: SLF001 - read once, when the module is imported
