"""Damage at rest: a short form of the rows of the scoreboard that verify has to its name."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from spacenet_cube.format.layout import Layout
from spacenet_cube.integrity import check_object, expected, verify
from tests import shares
from tests.torture import rest
from tests.torture.score import Score

# aiobotocore closes its connections when its event loop is collected, and Python says so.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)


@pytest.mark.parametrize(
    ("row", "n"),
    [
        (rest.flips, shares.count(15, of=30)),
        (rest.truncations, shares.count(5, of=10)),
        (rest.lost, shares.count(5, of=10)),
        (rest.swapped, shares.count(5, of=15)),
        (rest.edited, shares.count(5, of=15)),
        (rest.clean, 15),
        (rest.repaired, shares.count(5, of=15)),
    ],
)
def test_damage_at_rest_is_found_and_named_and_nothing_else_is(row, n):
    score = row(n, seed=shares.SEED)

    assert score.failures == ()
    assert score.held
    assert sum(score.figures.values()) >= n


def _no_digest(patch: pytest.MonkeyPatch) -> None:
    look = check_object.inspect
    patch.setattr(verify, "inspect", lambda cube, one: look(cube, replace(one, sha256=None)))


def _no_index(patch: pytest.MonkeyPatch) -> None:
    def none(*_: Layout) -> list[object]:
        return []

    patch.setattr(check_object, "index_faults", none)


def _no_listing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(verify, "listing_faults", lambda _held: [])


def _no_documents(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(verify, "document_faults", lambda _held: [])


def _no_root(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(expected, "is_root_of", lambda _content, _found: True)


@pytest.mark.parametrize(
    ("taken_away", "row", "n"),
    [
        (_no_digest, rest.swapped, 20),
        (_no_index, rest.flips, 25),
        (_no_listing, rest.lost, 5),
        (_no_documents, rest.edited, 10),
        (_no_root, rest.edited, 35),
    ],
)
def test_a_row_fails_where_the_check_behind_it_is_taken_away(
    taken_away: Callable[[pytest.MonkeyPatch], None],
    row: Callable[[int, int], Score],
    n: int,
    monkeypatch: pytest.MonkeyPatch,
):
    taken_away(monkeypatch)

    assert not row(n, 7).held
