"""Rollbacks: a machine of states over a versioned cube: builds, kills, updates, replacements,
verifying and rollbacks, in any order.

The model: every version that was ever published stays as it was; readers see the one that was
published or gone back to last.  A kill is an exception before or after a random step that
changes the repository or the ledger, after which no such step succeeds until the next command.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import icechunk
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

import spacenet_cube as sc
from spacenet_cube.builds.state.first_step import begun
from spacenet_cube.builds.state.ledger import Ledger
from spacenet_cube.builds.unit.task import Recording
from spacenet_cube.raster.grid import Block
from spacenet_cube.storage.durable import entries
from spacenet_cube.storage.resolve import locate
from tests.torture.ground import MEMORY, deliver, plan_of
from tests.torture.ground import content as plain_content
from tests.torture.machine import Killed
from tests.torture.score import Score
from tests.torture.sequences import STEPS, failures_of

_MOST_ACTIONS = 100
_BLOCKS = {"b.tif": Block(0, 0, 18, 20), "d.tif": Block(12, 14, 20, 22)}
_ACTIONS: tuple[tuple[type, str], ...] = (
    (Recording, "set_sync"),
    (Ledger, "write"),
    (Ledger, "clear"),
    (icechunk.Session, "amend"),
    (icechunk.Session, "commit"),
    (icechunk.Session, "merge"),
    (icechunk.Repository, "create_branch"),
    (icechunk.Repository, "delete_branch"),
    (icechunk.Repository, "reset_branch"),
)
COUNTS = {"commands": 0, "kills": 0, "published": 0, "rollbacks": 0, "verified": 0}


@contextmanager
def killed(after: int | None) -> Iterator[None]:
    """Let actions that change something succeed up to a number of them, and no more."""
    left = [-1 if after is None else after]

    def counted(act: Callable[..., Any]) -> Callable[..., Any]:
        def action(*given: Any, **named: Any) -> Any:
            _spend(left)
            done = act(*given, **named)
            _spend(left)
            return done

        return action

    patches = [mock.patch.object(of, name, counted(getattr(of, name))) for of, name in _ACTIONS]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def _spend(left: list[int]) -> None:
    if left[0] == 0:
        raise Killed
    if left[0] > 0:
        left[0] -= 1


class Versions(RuleBasedStateMachine):
    """One versioned cube and its sources."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="rollbacks-", dir=MEMORY))
        self.source, self.to = self.home / "source", f"icechunk+file://{self.home}/cubes"
        self.cube = f"{self.to}/AOI/P.icechunk"
        self.seed = 0
        self.current: str | None = None
        """Snapshot that readers see."""
        self.held: dict[str, dict[str, bytes]] = {}
        """Objects of every version, by its snapshot."""
        self.anew: dict[str, dict[str, bytes]] = {}

    def teardown(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.home)

    @initialize()
    def first_delivery(self) -> None:
        """Deliver every scene."""
        for name, block in _BLOCKS.items():
            deliver(self.source, name, 1, block)

    @rule(name=st.sampled_from(sorted(_BLOCKS)))
    def deliver_again(self, name: str) -> None:
        """Deliver a scene with other pixels."""
        self.seed += 1
        deliver(self.source, name, self.seed, _BLOCKS[name])

    @rule()
    def deliver_or_take_away(self) -> None:
        """Add or remove a scene in the middle, so that others get other numbers."""
        path = self.source / "c.tif"
        if path.exists():
            path.unlink()
        else:
            self.seed += 1
            deliver(self.source, "c.tif", self.seed, Block(2, 2, 9, 12))

    @rule(how=st.sampled_from(["build", "update", "replace"]), after=st.none() | st.integers(0))
    def command(self, how: str, after: int | None) -> None:
        """Run a command, and kill it after some actions."""
        a_plan, wanted = plan_of(self.source), self.current
        COUNTS["commands"] += 1
        try:
            with killed(None if after is None else after % _MOST_ACTIONS):
                if how == "update":
                    sc.update(a_plan, self.to, workers=1)
                else:
                    sc.build(a_plan, self.to, workers=1, replace=how == "replace")
        except Killed:
            COUNTS["kills"] += 1
            if self.tip() != self.current:
                self.published(a_plan)
        except sc.CubeExistsError:
            assert (how, self.tip()) == ("build", wanted)
        else:
            COUNTS["published"] += 1
            self.published(a_plan)

    def published(self, a_plan: sc.Plan) -> None:
        """Compare what readers see with a cube that is built elsewhere at once."""
        name = begun(a_plan).build
        if name not in self.anew:
            whole = plain_content(sc.build(a_plan, self.home / "anew", workers=1))
            self.anew[name] = {key[1:]: held for key, held in whole.items() if key[0] == "/"}
            shutil.rmtree(self.home / "anew")
        self.current = self.tip()
        assert self.current is not None
        assert self.seen() == self.anew[name]
        self.held[self.current] = self.anew[name]

    @rule(number=st.integers(0))
    def roll_back(self, number: int) -> None:
        """Go to any version there is."""
        version = self.one_of_them(number)
        if version is None:
            return
        COUNTS["rollbacks"] += 1
        sc.rollback(self.cube, version)
        self.current = version

    @rule(number=st.integers(0))
    def look_back(self, number: int) -> None:
        """Look at any version there is."""
        version = self.one_of_them(number)
        if version is None:
            return
        assert self.seen(version) == self.held[version]

    @rule(number=st.integers(0))
    def verify(self, number: int) -> None:
        """Verifying any version gives no false alarm."""
        version = self.one_of_them(number)
        if version is None:
            return
        assert sc.verify(f"{self.cube}#{version}", level="full", workers=1).is_sound
        COUNTS["verified"] += 1

    def one_of_them(self, number: int) -> str | None:
        """A version, the oldest first.

        What is drawn must not hang on how far a killed command came, which no seed decides.
        """
        return list(self.held)[number % len(self.held)] if self.held else None

    def versions(self) -> tuple[sc.Version, ...]:
        """Versions that hold a cube; none where there is no repository."""
        try:
            return tuple(sc.history(self.cube))
        except sc.StoreError:
            return ()

    def tip(self) -> str | None:
        """The snapshot that readers see; None where it holds no cube."""
        return next((one.id for one in self.versions() if one.current), None)

    def seen(self, version: str | None = None) -> dict[str, bytes]:
        """Objects of a version."""
        place = locate(self.cube if version is None else f"{self.cube}#{version}")
        return {key: bytes((place / key).read_bytes()) for key in entries(place)}

    @invariant()
    def readers_see_what_was_published_last(self) -> None:
        """The cube opens exactly where one is published, at that version."""
        versions = self.versions()
        current = [] if self.current is None else [self.current]
        assert [one.id for one in versions if one.current] == current
        assert {one.id for one in versions} == set(self.held)
        if self.current is None:
            try:
                sc.open_cube(self.cube)
            except sc.StoreError:
                return
            message = "something opens"
            raise AssertionError(message)


def run(n: int, seed: int) -> Score:
    """Try n sequences of steps.

    Parameters
    ----------
    n
        Sequences of up to fifty steps.
    seed
        Of the steps.

    Returns
    -------
    Score
        Every sequence holds, or the shortest that does not is told.
    """
    COUNTS.update(dict.fromkeys(COUNTS, 0))
    failures = failures_of(Versions, n, seed)
    if not COUNTS["kills"]:
        failures.append("no kill fired")
    said = (
        f"build, kill, go on, update, replace, verify, roll back in any order, {STEPS} steps each"
    )
    return Score("rollbacks", said, 0 if failures else n, n, seed, dict(COUNTS), tuple(failures))
