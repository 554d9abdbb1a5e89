"""Shares: how much of what is large a run of the tests draws, and by which seed.

``make test`` draws a share of every large set of cases, of hypothesis's examples and of the trials
of the torture tests; ``make test-all`` takes them all.  The seed follows from the date, so that
other days draw other shares; in CI it is fixed.  The header of a run prints it:

    SPACENET_CUBE_TEST_SEED=20786 make test     # the shares of that run again
    SPACENET_CUBE_TEST_ALL=1 make test          # what `make test-all` does
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random

ALL_VARIABLE = "SPACENET_CUBE_TEST_ALL"
SEED_VARIABLE = "SPACENET_CUBE_TEST_SEED"
CI_SEED = 1


def _seed() -> int:
    """The seed that was given, or that of CI, or that of the day."""
    days = (datetime.now(UTC) - datetime.fromtimestamp(0, UTC)).days
    return int(os.environ.get(SEED_VARIABLE) or (CI_SEED if os.environ.get("CI") else days))


ALL = os.environ.get(ALL_VARIABLE, "0") not in {"", "0"}
"""Whether everything runs."""

SEED = _seed()
"""What the shares are drawn by."""

# Workers of pytest-xdist inherit it, so that they collect the same tests on both sides of midnight.
os.environ[SEED_VARIABLE] = str(SEED)


def share[Case](cases: Sequence[Case], n: int, *, always: Sequence[Case] = ()) -> list[Case]:
    """Draw n of some cases, in their order; all of them where everything runs.

    Parameters
    ----------
    cases
        Of a parametrised test.
    n
        How many to draw.
    always
        Those of the cases that are never left out; they count towards n.

    Raises
    ------
    ValueError
        If a case in ``always`` is not one of the cases.
    """
    if missing := [case for case in always if case not in cases]:
        raise ValueError(f"{missing} must always run, but the cases do not have them")
    if ALL:
        return list(cases)
    others = [place for place, case in enumerate(cases) if case not in always]
    random = Random(f"{SEED} {len(cases)}")  # noqa: S311 - draws tests, guards no secret
    drawn = set(random.sample(others, max(0, min(n, len(cases)) - len(always))))
    return [case for place, case in enumerate(cases) if place in drawn or case in always]


def count(few: int, of: int) -> int:
    """Examples or trials to run: few, or all where everything runs."""
    return of if ALL else min(few, of)


def header() -> str:
    """What a run draws, for the head of its report."""
    if ALL:
        return f"shares: everything runs ({ALL_VARIABLE}), seed {SEED}"
    return f"shares: drawn by {SEED_VARIABLE}={SEED}; {ALL_VARIABLE}=1 runs everything"
