"""The ledger: what is known of a build that is not published, kept beside its cube.

``MUL.zarr.build/`` holds ``plan.json``, the lock, one record a finished task under ``done/``,
what an update began from, and what failed last.  It is gone when the cube is published.
"""

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from spacenet_cube.builds.state.first_step import Begun
from spacenet_cube.builds.state.ownership import arrays_of, is_ledger, is_task, parse_arrays
from spacenet_cube.builds.state.records import Record, parse_record
from spacenet_cube.errors import StoreError
from spacenet_cube.plans.plan import Plan
from spacenet_cube.storage.base.faults import FAULTS
from spacenet_cube.storage.durable import entries, remove_empty, remove_keys, write_durably
from spacenet_cube.storage.location import Location

FORMAT = 1
"""Version of ``plan.json``."""

_READERS = 16
_LOCK = "lock/"


class Ledger:
    """What is kept beside a cube while it is built.

    Parameters
    ----------
    cube
        Where the cube will be.
    """

    def __init__(self, cube: Location) -> None:
        self.cube, self.place = cube, cube.beside(".build")

    def begun(self) -> Begun | None:
        """What was begun; None where nothing was.

        Raises
        ------
        StoreError
            If the store fails, or what is there cannot be understood.
        """
        content = self._read("plan.json")
        if content is None:
            return None
        try:
            facts = json.loads(content)
            found = Begun(**{name: facts[name] for name in Begun.__slots__})
            if facts.pop("format") == FORMAT and _is_sound(found):
                return found
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        raise StoreError(
            f"{(self.place / 'plan.json').url} is not as this version writes it, so that build "
            "cannot be continued; go on with the version that began it, or discard it with "
            "--replace (replace=True)"
        )

    @property
    def is_there(self) -> bool:
        """Whether anything of a ledger but a lock is there."""
        try:
            return any(not name.startswith(_LOCK) for name in self._names())
        except FAULTS as error:
            raise self._failed("read", error) from error

    def begin(self, build: Begun, plan: Plan) -> None:
        """Say what is being built from now on."""
        facts = {"format": FORMAT, **asdict(build), "arrays": arrays_of(plan)}
        self.write("plan.json", json.dumps({**facts, "details": plan.to_dict()}).encode())

    def arrays(self) -> dict[str, tuple[int, ...]] | None:
        """Objects along each dimension of every array that was begun, by the array's path.

        Returns
        -------
        dict or None
            None where nothing was begun; empty where the version that began it did not say.

        Raises
        ------
        StoreError
            If the store fails.
        """
        content = self._read("plan.json")
        if content is None:
            return None
        try:
            return parse_arrays(json.loads(content)["arrays"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return {}

    def records(self) -> dict[str, Record]:
        """Records of finished tasks by name; what cannot be read as one is left out.

        A record counts only under the name of the task that it tells of.

        Raises
        ------
        StoreError
            If the store fails.
        """
        try:
            names = sorted(self._done())
            places = [self.place / f"done/{name}.json" for name in names]
            with ThreadPoolExecutor(_READERS, "records") as pool:
                found = [parse_record(each) for each in pool.map(Location.read_bytes, places)]
        except FAULTS as error:
            raise self._failed("read", error) from error
        pairs = zip(names, found, strict=True)
        return {name: record for name, record in pairs if record and record.task == name}

    def done(self) -> frozenset[str]:
        """Names of the tasks that have a record."""
        try:
            return self._done()
        except FAULTS as error:
            raise self._failed("read", error) from error

    def record(self, record: Record) -> None:
        """Store the record of a task whose objects are durable."""
        self.write(f"done/{record.task}.json", record.content)

    def forget(self, names: Iterable[str]) -> None:
        """Remove records, before what they tell of is written anew."""
        self._remove([f"done/{name}.json" for name in names])

    def read_base(self) -> tuple[bytes, dict[str, str]] | None:
        """What an update began from; None where it is no update.

        Returns
        -------
        tuple of bytes and dict of str to str, or None
            The root document of the published cube, and the tasks whose objects may not be
            that cube's any more, with the kind of each.

        Raises
        ------
        StoreError
            If the store fails, or what is there cannot be understood.
        """
        root, spoilt = self._read("base.json"), self._read("spoilt.json")
        if root is None or spoilt is None:
            return None
        try:
            return root, {str(name): str(kind) for name, kind in json.loads(spoilt).items()}
        except (ValueError, AttributeError, RecursionError) as error:
            raise StoreError(
                f"{(self.place / 'spoilt.json').url} is not as this version writes it, so that "
                "update cannot be continued; build the cube with --replace (replace=True)"
            ) from error

    def write_base(self, root: bytes, spoilt: Mapping[str, str]) -> None:
        """Say what an update begins from, before any of it is touched."""
        self.write("base.json", root)
        self.write("spoilt.json", json.dumps(dict(spoilt)).encode())

    def failures(self) -> dict[str, str]:
        """Why tasks failed, by name, in the last run."""
        content = self._read("failed.json")
        try:
            return {} if content is None else dict(json.loads(content))
        except ValueError:
            return {}

    def fail(self, failures: Mapping[str, str]) -> None:
        """Tell why tasks failed; none by an empty mapping."""
        if failures:
            self.write("failed.json", json.dumps(dict(failures)).encode())
        else:
            self._remove(["failed.json"])

    def clear(self) -> None:
        """Remove all that it wrote but the lock, ``plan.json`` last; foreign files stay."""
        try:
            names = [name for name in self._names() if not name.startswith(_LOCK)]
            remove_keys(self.place, [name for name in names if name != "plan.json"])
            remove_keys(self.place, [name for name in names if name == "plan.json"])
            remove_empty(self.place / "done")
        except FAULTS as error:
            raise self._failed("clear", error) from error

    def _names(self) -> list[str]:
        """Names of its objects, the lock's included; others and links are left out."""
        found = entries(self.place).items()
        return [name for name, entry in found if is_ledger(name) and not entry.is_link]

    def _done(self) -> frozenset[str]:
        """Names of the tasks that have a file."""
        found = (name.removeprefix("done/") for name in self._names() if name.startswith("done/"))
        tasks = (name.removesuffix(".json") for name in found)
        return frozenset(name for name in tasks if is_task(name))

    def write(self, name: str, content: bytes) -> None:
        """Store one of its objects.

        Raises
        ------
        StoreError
            If the store fails.
        """
        try:
            write_durably(self.place / name, content)
        except FAULTS as error:
            raise self._failed("write", error) from error

    def _read(self, name: str) -> bytes | None:
        try:
            return bytes((self.place / name).read_bytes())
        except FileNotFoundError:
            return None
        except FAULTS as error:
            raise self._failed("read", error) from error

    def _remove(self, names: Iterable[str]) -> None:
        try:
            remove_keys(self.place, names)
        except FAULTS as error:
            raise self._failed("clear", error) from error

    def _failed(self, what: str, error: BaseException) -> StoreError:
        return StoreError(
            f"{self.place.url}, the ledger of the build, cannot be {_PAST[what]}: "
            f"{self.cube.told(error)}; mend the store, then run the same command again"
        )


def _is_sound(found: Begun) -> bool:
    """Whether what was read back has the types that it was written with."""
    facts: dict[str, Any] = asdict(found)
    texts = (facts["build"], facts["plan"], facts["settings"])
    counts = facts["tasks"].values() if isinstance(facts["tasks"], dict) else (None,)
    wanted = [*((text, str) for text in texts), *((count, int) for count in counts)]
    return all(type(fact) is kind for fact, kind in [*wanted, (facts["replaces"], bool)])


_PAST = {"read": "read", "write": "written", "clear": "cleared"}
