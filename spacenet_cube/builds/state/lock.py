"""Locking: one builder of a cube at a time, on any store that can create an object once.

A builder holds a cube while its claim has the highest number, and its thread renews the claim
regularly.  A builder that takes over makes the next claim.  Numbers begin again once a builder
is done, so a claim is recognised by its random id.  The former holder finds out before its next
write, because it reads its claim again if the last reading is too old.
"""

import getpass
import os
import secrets
import string
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from platform import node
from typing import Any

from spacenet_cube.builds.state.claims import (
    BEAT_S,
    EXPIRES_S,
    RECHECK_S,
    Claim,
    Holder,
    claim_name,
    generation_of,
    parse_claim,
)
from spacenet_cube.errors import StoreError
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.durable import create, entries, remove_empty, remove_keys
from spacenet_cube.storage.location import Location

_TRIES = 5
_AGAIN_S = 0.5
_CLOCK = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
_ENDED_STATES, _ENDED = "ZX", "ended"

_HELD: set[str] = set()
"""Ids of the claims that builds of this process hold now."""


class Guard:
    """Prevents a write once a claim is no longer held.

    It reads the claim again where its last reading is older than `RECHECK_S`, by a clock that
    goes on while the process or the machine sleeps.  Workers of a cluster get it with the cube's
    location, and each process reads for itself.

    Parameters
    ----------
    folder
        Where the claims of a cube are.
    generation
        Number of the claim.
    claim
        Its random id.
    """

    def __init__(self, folder: Location, generation: int, claim: str) -> None:
        self._facts = folder, generation, claim
        self._read_s = -float("inf")
        self._lock = threading.Lock()
        self.lost: str | None = None
        """Why the claim is lost; None as long as it is held."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle which claim it is, and not when this process read it."""
        return Guard, self._facts

    def __call__(self) -> None:
        """Refuse to write where the claim is lost.

        Raises
        ------
        StoreError
            If another builder holds the cube now, or the claim cannot be read.
        """
        if self.lost is None and self._is_old:
            with self._lock:
                # Another thread may have read it meanwhile.
                if self._is_old:
                    self._read_until_answered()
        self.refuse()

    def refuse(self) -> None:
        """Refuse to go on where the claim is known to be lost.

        Raises
        ------
        StoreError
            With the reason.
        """
        if self.lost is not None:
            raise StoreError(self.lost)

    @property
    def _is_old(self) -> bool:
        return _now_s() - self._read_s > RECHECK_S

    def _read_until_answered(self) -> None:
        """Read the claim; a store that fails is asked again until the claim would expire."""
        until_s = _now_s() + EXPIRES_S
        while self.lost is None:
            try:
                self.read()
            except FAULTS as error:
                if _now_s() > until_s:
                    self.lose(self._silence(error))
                time.sleep(_AGAIN_S)
            else:
                return

    def _silence(self, error: BaseException) -> str:
        folder = self._facts[0]
        return (
            f"the claim in {folder.url} could not be read for {EXPIRES_S:.0f} s "
            f"({folder.told(error)}), so another builder may have taken over; run the same "
            "command again to go on"
        )

    def read(self) -> None:
        """Read the claim, and note whether it is lost.

        Raises
        ------
        OSError
            If the claim is not readable now.
        FAULTS
            If the store refuses or fails.
        """
        folder, generation, mine = self._facts
        begun_s = _now_s()
        highest, holder = _highest(folder)
        if not highest or highest < generation:
            self.lose(
                f"the lock {(folder / claim_name(generation)).url} is gone, so another builder may "
                "have been here, and this build stops; run the same command again to go on"
            )
        elif highest > generation or (holder is not None and holder.id != mine):
            who = "another builder" if holder is None else told(holder)
            self.lose(
                f"{folder.url} was taken over by {who}, so this build stops; what it has done stays"
            )
        elif holder is None:
            message = f"{(folder / claim_name(generation)).url} is no claim"
            raise OSError(message)
        self._read_s = begun_s

    def lose(self, why: str) -> None:
        """Note that the claim is lost; the first reason counts."""
        self.lost = self.lost or why


class Lock:
    """A claim that this process holds.

    Parameters
    ----------
    cube
        Where the cube is or will be.
    generation
        Number of the claim.
    claim
        The claim.
    """

    def __init__(self, cube: Location, generation: int, claim: Claim) -> None:
        self._folder, self._around = _folder(cube), cube.beside(".build")
        self._generation, self._claim = generation, claim
        self.guard = Guard(self._folder, generation, claim.id)
        self.cube = cube.guarded(self.guard)
        """The cube's location; every write and removal there checks the claim first."""
        self._place = (self._folder / claim_name(generation)).guarded(self.guard)
        self._ended = threading.Event()
        self.in_flight: Callable[[], tuple[str, ...]] = tuple
        self._thread = threading.Thread(target=self._live, name="lock", daemon=True)

    @property
    def id(self) -> str:
        """Random letters that name the claim."""
        return self._claim.id

    @property
    def holder(self) -> Holder:
        """Who holds it."""
        return self._claim.holder

    def check(self) -> None:
        """Refuse to go on where the claim is lost.

        Raises
        ------
        StoreError
            If another builder has taken over, or no sign of life could be given in time.
        """
        self.guard.refuse()

    def start(self) -> None:
        """Begin to give signs of life."""
        self._thread.start()

    def release(self) -> None:
        """End them and remove the claim."""
        self._ended.set()
        self._thread.join()
        _HELD.discard(self.id)
        with suppress(*FAULTS, StoreError):
            self.guard.read()
            self._place.remove_object()
        remove_empty(self._folder)
        remove_empty(self._around)

    def _live(self) -> None:
        while not self._ended.wait(BEAT_S) and self.guard.lost is None:
            try:
                self._beat()
            except StoreError:
                return
            except FAULTS as error:
                if self._claim.is_expired(time.time()):
                    self.guard.lose(
                        f"no sign of life could be stored at {self._place.url} for "
                        f"{self._claim.expires_s:.0f} s ({self._folder.told(error)}), so another "
                        "builder may have taken over; run the same command again to go on"
                    )

    def _beat(self) -> None:
        """Renew the claim, if it is still held."""
        self.guard.read()
        beaten = self._claim.beaten(time.time(), self.in_flight())
        self._place.write_bytes(beaten.content)
        self._claim = beaten


@contextmanager
def hold(cube: Location, *, break_lock: bool = False) -> Iterator[Lock]:
    """Hold a cube for the time of a block.

    Parameters
    ----------
    cube
        Where the cube is or will be.
    break_lock
        Whether to take over from a holder that still lives.

    Yields
    ------
    Lock
        To be checked between tasks.

    Raises
    ------
    StoreError
        If another builder holds the cube, or the store fails.
    """
    lock = _acquire(cube, break_lock=break_lock)
    lock.start()
    try:
        yield lock
    finally:
        lock.release()


def drop_claims(cube: Location) -> None:
    """Remove what a builder left that died after it had published, just before its claim went.

    Parameters
    ----------
    cube
        Where the cube is; where its builder lives, or the store fails, nothing is done.
    """
    with suppress(StoreError, *FAULTS):
        if entries(_folder(cube)):
            # Who holds it removes every older claim, and its own at the end.
            with hold(cube):
                pass


def _now_s() -> float:
    """Seconds on a clock that goes on while the machine sleeps, where there is one."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def _folder(cube: Location) -> Location:
    return cube.beside(".build").guarded(None) / "lock"


def _acquire(cube: Location, *, break_lock: bool) -> Lock:
    folder, mine = _folder(cube), _claim()
    try:
        for _turn in range(_TRIES):
            highest, holder = _highest(folder)
            if highest and not break_lock:
                _refuse(cube, holder)
            place = folder / claim_name(highest + 1)
            _HELD.add(mine.id)
            if create(place, mine.content):
                _remove_former(folder, highest + 1)
                return Lock(cube, highest + 1, mine)
            _HELD.discard(mine.id)
            # Whoever was quicker has just begun: that one's lock is not to be broken.
            break_lock = False
    except FAULTS as error:
        _HELD.discard(mine.id)
        raise StoreError(f"{folder.url} cannot be locked: {folder.told(error)}") from error
    raise StoreError(
        f"{folder.url} cannot be locked: others are quicker each time; run the same command again"
    )


def _refuse(cube: Location, holder: Claim | None) -> None:
    """Refuse to take over from a holder that may still be at work."""
    if holder is None or holder.is_expired(time.time()) or _is_dead(holder.holder):
        return
    # This very process could not remove its claim, because the store failed or refused.
    if holder.holder == _self() and holder.id not in _HELD:
        return
    raise StoreError(
        f"{cube.url} is being built by {told(holder)}; wait for it, or "
        "add --break-lock (break_lock=True) if that builder is gone for good"
    )


def told(claim: Claim) -> str:
    """A claim in words: who, where, since when, and how long ago its last sign of life was."""
    since = datetime.fromtimestamp(claim.since_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    age_s = max(0.0, time.time() - claim.beat_s)
    return (
        f"{claim.holder.owner} (process {claim.holder.pid}) since {since}, "
        f"last seen {age_s:.0f} s ago"
    )


def holder_of(cube: Location) -> Claim | None:
    """Who holds a cube now, alive or not; None where nobody does.

    Parameters
    ----------
    cube
        Where the cube is or will be.

    Returns
    -------
    Claim or None
        The highest one.

    Raises
    ------
    FAULTS
        If the store refuses or fails.
    """
    return _highest(_folder(cube))[1]


def _highest(folder: Location) -> tuple[int, Claim | None]:
    """Number and content of the claim that holds; 0 where there is none."""
    for _turn in range(_TRIES):
        highest = max((generation_of(name) for name in entries(folder)), default=0)
        if not highest:
            break
        try:
            return highest, parse_claim((folder / claim_name(highest)).read_bytes())
        except FileNotFoundError:
            # It was released between the two looks.
            continue
    return 0, None


def _remove_former(folder: Location, generation: int) -> None:
    former = [name for name in entries(folder) if 0 < generation_of(name) < generation]
    if former:
        remove_keys(folder, former)


def _claim() -> Claim:
    now_s = time.time()
    letters = "".join(secrets.choice(string.ascii_lowercase) for _ in range(24))
    return Claim(letters, _self(), now_s, now_s)


def _self() -> Holder:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid()) if hasattr(os, "getuid") else "someone"
    return Holder(f"{user}@{node()}", _host(), os.getpid(), _started(os.getpid()))


def _host() -> str:
    """The machine as it was started last, and the namespace of process ids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        boot = space = ""
    return f"{node()}:{boot}:{space}"


def _started(pid: int) -> str:
    """When a process started, in ticks since the machine did; empty where that is not told."""
    try:
        facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return _ENDED if facts[0] in _ENDED_STATES else facts[19]


def _is_dead(holder: Holder) -> bool:
    """Whether a holder is a process of this very machine, and gone."""
    if holder.host != _host():
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _started(holder.pid) != holder.started
