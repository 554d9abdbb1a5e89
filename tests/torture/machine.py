"""A machine of states: builds, kills, deliveries, updates, replacements, damage, verifying and
repairs, in any order.

The model is one sentence: what is published equals a full build of some delivery that was asked
for last but for shards that were damaged since, which verifying names, or nothing opens.  A kill
is an exception at a random action on the disk, after which no action succeeds until the next
command, as if the process were gone.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

import spacenet_cube as sc
from spacenet_cube.builds.state.first_step import begun
from spacenet_cube.errors import RecipeError, VerifyError
from tests.torture.ground import MEMORY, SMALL, content, deliver, deliver_all, opens, plan_of
from tests.torture.score import Score
from tests.torture.sequences import STEPS, failures_of

_CHANGES = frozenset({"os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir"})
_MOST_ACTIONS = 250
_FEW_ACTIONS = 12
_PIXELS = frozenset({"image", "source_index"})


class Killed(BaseException):
    """The process is gone."""


class Kills:
    """Lets actions on the disk below a folder succeed up to a number of them, and no more."""

    def __init__(self) -> None:
        self._below, self._left, self.fired = "", -1, 0
        sys.addaudithook(self._see)

    def arm(self, below: Path, after: int) -> None:
        """Kill after so many actions."""
        self._below, self._left = str(below), after

    def disarm(self) -> None:
        """Kill no more."""
        self._left = -1

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._left < 0 or not self._is_change(event, arguments):
            return
        if self._left:
            self._left -= 1
            return
        self.fired += 1
        raise Killed

    def _is_change(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open":
            path, mode, _flags = arguments
            writes = isinstance(mode, str) and bool(set("wax+") & set(mode))
        else:
            path, writes = (arguments or ("",))[0], event in _CHANGES
        return writes and str(path).startswith(self._below)


KILLS = Kills()
ANEW: dict[str, dict[str, bytes]] = {}
"""Objects of cubes that were built at once, by what names the build."""
COUNTS = {"commands": 0, "kills": 0, "published": 0, "damaged": 0, "verified": 0, "repaired": 0}


class Cube(RuleBasedStateMachine):
    """One cube and its sources."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="machine-", dir=MEMORY))
        self.source, self.to = self.home / "source", self.home / "cubes"
        self.kept = self.home / "kept"
        self.seed = 0
        self.wanted: dict[str, bytes] | None = None
        """What is published; None where nothing is, or a command was stopped."""
        self.replacing = False
        """Whether the command that was killed last was to replace the cube."""
        self.published = ""
        """Name of the build whose cube is published."""

    def teardown(self) -> None:
        """Remove everything."""
        KILLS.disarm()
        ANEW.clear()
        shutil.rmtree(self.home)

    @property
    def cube(self) -> str:
        """Where the cube is."""
        return str(self.to / "AOI" / "P.zarr")

    @initialize()
    def first_delivery(self) -> None:
        """Deliver every scene."""
        deliver_all(self.source, spots=SMALL)

    @rule(name=st.sampled_from(["b.tif", "d.tif", "f.tif"]))
    def deliver_again(self, name: str) -> None:
        """Deliver a scene with other pixels."""
        self.seed += 1
        deliver(self.source, name, self.seed, SMALL[name])

    @rule()
    def deliver_or_take_away(self) -> None:
        """Add or remove a scene in the middle of the list, so that others get other numbers."""
        path = self.source / "h.tif"
        moved = self.source / "c.tif"
        if path.exists():
            path.rename(moved)
        else:
            moved.unlink(missing_ok=True)
            deliver(self.source, "h.tif", self.seed + 1, SMALL["h.tif"])

    def take_back(self) -> None:
        """Bring back the sources that the published cube was built from."""
        shutil.rmtree(self.source)
        shutil.copytree(self.kept, self.source)

    @rule(how=st.sampled_from(["build", "update", "replace"]), after=st.none() | st.integers(0))
    def command(self, how: str, after: int | None) -> None:
        """Run a command, and kill it after some actions on the disk."""
        a_plan = plan_of(self.source)
        before = self.seen()
        # A build that was killed once it had published is finished as it is, damaged since or not.
        may_finish = before != self.wanted and Path(f"{self.cube}.build").exists()
        if how == "update" and before != self.wanted:
            # An update keeps what it need not touch, damaged or not: repairs come first.
            return
        COUNTS["commands"] += 1
        if after is not None:
            KILLS.arm(self.to, after % _MOST_ACTIONS)
        try:
            if how == "update":
                sc.update(a_plan, self.to, workers=1, break_lock=True)
            else:
                replace = how == "replace"
                sc.build(a_plan, self.to, workers=1, replace=replace, break_lock=True)
        except Killed:
            self.replacing = how == "replace"
            COUNTS["kills"] += 1
            KILLS.disarm()
            self.after_a_kill(a_plan, before)
        except sc.CubeExistsError:
            # Where a replacement was stopped before it was begun, replacing again is the mend.
            assert how != "replace"
            assert self.replacing if self.wanted is None else how == "build"
            assert self.seen() == before
        else:
            COUNTS["published"] += 1
            if not (may_finish and self.seen() == before):
                self.expect(a_plan)
        finally:
            KILLS.disarm()

    # What is drawn must not hang on how far a killed command came, which no seed decides: so
    # numbers are drawn, and no rule has a precondition.
    @rule(
        which=st.tuples(st.integers(0), st.integers(0)),
        place=st.integers(0),
        how=st.sampled_from(["flip", "cut", "lose", "swap"]),
    )
    def damage(self, which: tuple[int, int], place: int, how: str) -> None:
        """Damage a shard of the published cube."""
        if self.wanted is None:
            return
        shards = sorted(key for key in self.wanted if "/c/" in key and _PIXELS & {*key.split("/")})
        key, other = (shards[number % len(shards)] for number in which)
        file, content = Path(self.cube + key), self.wanted[key]
        at = place % len(content)
        match how:
            case "flip":
                file.write_bytes(content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :])
            case "cut":
                file.write_bytes(content[:at])
            case "lose":
                file.unlink(missing_ok=True)
            case _:
                file.write_bytes(self.wanted[other])
        COUNTS["damaged"] += self.hurt() != set()

    def hurt(self) -> set[str]:
        """Keys of the published cube's objects that are not what was built."""
        seen, wanted = self.seen() or {}, self.wanted or {}
        return {key.removeprefix("/") for key in wanted if seen.get(key) != wanted[key]}

    @rule()
    def verify(self) -> None:
        """Verifying names what is damaged, and nothing else; it changes nothing."""
        if self.wanted is None:
            return
        before = self.seen()
        named = {fault.key for fault in sc.verify(self.cube, level="full", workers=1).faults}
        assert {key for key in named if not key.endswith(".partial")} == self.hurt()
        assert self.seen() == before
        COUNTS["verified"] += 1

    @rule(after=st.none() | st.integers(0), back=st.booleans())
    def repair(self, after: int | None, *, back: bool) -> None:
        """Repair, and kill it after some actions on the disk."""
        if self.wanted is None:
            return
        if back:
            self.take_back()
        a_plan, hurt = plan_of(self.source), self.hurt()
        if after is not None:
            KILLS.arm(self.to, after % _FEW_ACTIONS)
        try:
            sc.repair(self.cube, a_plan, workers=1, break_lock=True)
        except Killed:
            COUNTS["kills"] += 1
            KILLS.disarm()
            assert self.hurt() <= hurt
        except (RecipeError, VerifyError):
            # Sources of other pixels are found by the plan or, of one size, by what is made.
            assert begun(a_plan).build != self.published
            assert self.hurt() <= hurt
        else:
            # Where sources changed elsewhere only, too: what is made proves itself by its digest.
            assert self.seen() == self.wanted
            assert sc.verify(self.cube, level="list", workers=1).is_sound
            COUNTS["repaired"] += hurt != set()
        finally:
            KILLS.disarm()

    def after_a_kill(self, a_plan: sc.Plan, before: dict[str, bytes] | None) -> None:
        """What stands is what stood, or all that was asked for, or nothing."""
        if not opens(self.cube):
            self.wanted = None
        elif self.seen() != before or before is None:
            self.expect(a_plan)

    def expect(self, a_plan: sc.Plan) -> None:
        """Compare the cube with one that is built elsewhere at once."""
        name = begun(a_plan).build
        if name not in ANEW:
            anew = sc.build(a_plan, self.home / "anew", workers=1)
            ANEW[name] = {k: v for k, v in content(anew).items() if k.startswith("/")}
            shutil.rmtree(self.home / "anew")
        self.wanted, self.published = ANEW[name], name
        shutil.rmtree(self.kept, ignore_errors=True)
        shutil.copytree(self.source, self.kept)
        assert self.seen() == self.wanted

    def seen(self) -> dict[str, bytes] | None:
        """The objects of the published cube but drafts; None where none is published."""
        if not (Path(self.cube) / "zarr.json").exists():
            return None
        found = content(self.cube).items()
        return {k: v for k, v in found if k.startswith("/") and not k.endswith(".partial")}

    @invariant()
    def nothing_partial_opens(self) -> None:
        """The cube opens exactly where one is published."""
        assert opens(self.cube) == (self.wanted is not None)


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
    fired = KILLS.fired
    failures = failures_of(Cube, n, seed)
    if KILLS.fired == fired:
        failures.append("no kill fired")
    said = (
        "build, kill, go on, deliver, update, replace, damage, verify, repair in any order, "
        f"{STEPS} steps each"
    )
    return Score("machine", said, 0 if failures else n, n, seed, dict(COUNTS), tuple(failures))
