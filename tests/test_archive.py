"""Archives: what an honest one gives, how an interrupted one goes on, what is refused."""

import gzip
import hashlib
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from spacenet_cube.errors import SourceError
from spacenet_cube.sources.files import archive_rules as rules
from spacenet_cube.sources.files.archive import Archive, unpack
from spacenet_cube.sources.files.archive_members import Member
from spacenet_cube.sources.files.listing import SourceFile
from spacenet_cube.storage.location import Location
from spacenet_cube.storage.resolve import locate

CONTENT = {f"3-Band/tile{k}.tif": bytes([k]) * (1000 * k + 7) for k in range(1, 6)}
CONTENT["3-Band/tile1.IMD"] = b"END;"
_BOMB = 20 << 20
Pack = Callable[[Path], Path]


def tarred(path: Path, mode: str, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        folder = tarfile.TarInfo("3-Band")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("3-Band")
        for name, content in files.items():
            archive.writestr(name, content)
    return path


FORMATS: dict[str, Pack] = {
    "tar.gz": lambda folder: tarred(folder / "a.tar.gz", "w:gz", CONTENT),
    "tgz": lambda folder: tarred(folder / "a.tgz", "w:gz", CONTENT),
    "tar": lambda folder: tarred(folder / "a.tar", "w", CONTENT),
    "zip": lambda folder: zipped(folder / "a.zip", CONTENT),
}


def archive_of(path: Path, place: Location | None = None) -> Archive:
    where = place or locate(path)
    return Archive(where, SourceFile(path.name, path.stat().st_size, None))


def unpacked(path: Path, to: Path) -> tuple[Member, ...]:
    return unpack(archive_of(path), locate(to / "staging"), to / "scratch")


def contents(found: tuple[Member, ...]) -> dict[str, bytes]:
    return {member.name: member.place.read_bytes() for member in found}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_members_come_out_whole(kind, remote, shared, tmp_path):
    path = FORMATS[kind](tmp_path)
    place = locate(path)
    if remote:
        place = locate(f"memory://archives/{kind}/{path.name}")
        place.write_bytes(path.read_bytes())
    told: list[int] = []
    staging = locate(f"memory://staging/{kind}/{remote}") if shared else locate(tmp_path / "out")

    found = unpack(archive_of(path, place), staging, tmp_path / "scratch", told.append)

    assert contents(found) == CONTENT
    assert {m.name: (m.size_bytes, m.sha256) for m in found} == {
        name: (len(held), hashlib.sha256(held).hexdigest()) for name, held in CONTENT.items()
    }
    assert sum(told) >= path.stat().st_size * (0.5 if kind == "zip" else 1)
    assert [f for f in (tmp_path / "scratch").rglob("*") if f.is_file()] == []


class InterruptedWorkError(Exception):
    """Someone pulled the plug."""


@pytest.mark.parametrize("kind", FORMATS)
def test_an_interrupted_unpacking_goes_on_where_it_was(kind, tmp_path, monkeypatch):
    path = FORMATS[kind](tmp_path)
    settle = "spacenet_cube.sources.files.archive_members.Shelf._settle"
    from spacenet_cube.sources.files.archive_members import Shelf  # noqa: PLC0415

    original = Shelf._settle  # noqa: SLF001 - where a member becomes whole
    settled: list[str] = []

    def breaking(self: Shelf, draft: Path, place: Location) -> None:
        if len(settled) == 3:
            raise InterruptedWorkError
        settled.append(place.url)
        original(self, draft, place)

    monkeypatch.setattr(settle, breaking)
    with pytest.raises(InterruptedWorkError):
        unpacked(path, tmp_path)
    first = list(settled)
    settled.clear()

    def counting(self: Shelf, draft: Path, place: Location) -> None:
        settled.append(place.url)
        original(self, draft, place)

    monkeypatch.setattr(settle, counting)
    found = unpacked(path, tmp_path)

    assert contents(found) == CONTENT
    assert len(first) == 3
    assert len(settled) == len(CONTENT) - 3
    assert not set(first) & set(settled)


def test_what_was_unpacked_whole_is_not_unpacked_again(tmp_path):
    path = FORMATS["tar.gz"](tmp_path)
    first = unpacked(path, tmp_path)
    told: list[int] = []

    again = unpack(
        archive_of(path), locate(tmp_path / "staging"), tmp_path / "scratch", told.append
    )

    assert again == first
    assert told == []


def test_a_member_that_was_damaged_since_is_unpacked_again(tmp_path):
    path = FORMATS["tar.gz"](tmp_path)
    first = unpacked(path, tmp_path)
    Path(first[2].place.path).write_bytes(b"damaged")

    assert contents(unpacked(path, tmp_path)) == CONTENT


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> Pack:
    def pack(folder: Path) -> Path:
        path = folder / "hostile.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            good = tarfile.TarInfo("good.tif")
            good.size = 4
            tar.addfile(good, io.BytesIO(b"good"))
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, size
            tar.addfile(info, io.BytesIO(b"\0" * size))
        return path

    return pack


def truncated(folder: Path) -> Path:
    path = FORMATS["tar.gz"](folder)
    path.write_bytes(path.read_bytes()[:-9])
    return path


def flipped(folder: Path) -> Path:
    """One bit of the content is wrong, which the gzip stream's check sum alone can tell."""
    plain = tarred(folder / "plain.tar", "w", CONTENT).read_bytes()
    whole = gzip.compress(plain)
    path = folder / "flipped.tar.gz"
    wrong = bytearray(plain)
    wrong[plain.index(b"\x03" * 100)] ^= 1
    path.write_bytes(gzip.compress(bytes(wrong))[:-8] + whole[-8:])
    return path


def twice(folder: Path) -> Path:
    path = folder / "twice.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for content in (b"one", b"two"):
            info = tarfile.TarInfo("a.tif")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def hidden_bomb(folder: Path) -> Path:
    """Small members, and a header that claims to need a gigabyte of memory."""
    path = folder / "header.tar.gz"
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30
    with gzip.open(path, "wb") as stream:
        stream.write(info.tobuf())
        stream.write(b"\0" * (1 << 20))
    return path


def linked_zip(folder: Path) -> Path:
    path = folder / "linked.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("a.tif")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return path


def straying_zip(folder: Path) -> Path:
    return zipped(folder / "stray.zip", {"../../stray.tif": b"x"})


def zip_bomb(folder: Path) -> Path:
    return zipped(folder / "bomb.zip", {"a.tif": b"\0" * (_BOMB)})


def damaged_zip(folder: Path) -> Path:
    path = FORMATS["zip"](folder)
    with zipfile.ZipFile(path) as archive:
        last = archive.getinfo("3-Band/tile5.tif")
    content = bytearray(path.read_bytes())
    content[last.header_offset + 30 + len(last.filename) + 4] ^= 0xFF
    path.write_bytes(bytes(content))
    return path


HOSTILE: dict[str, tuple[Pack, str]] = {
    "traversal": (member("../../stray.tif", size=3), "leads outside"),
    "absolute": (member("/tmp/stray.tif", size=3), "leads outside"),  # noqa: S108 - a trap
    "drive": (member("C:stray.tif", size=3), "leads outside"),
    "backslash": (member("..\\stray.tif", size=3), "leads outside"),
    "symlink": (member("a.tif", tarfile.SYMTYPE, "/etc/passwd"), "symbolic link"),
    "hardlink": (member("a.tif", tarfile.LNKTYPE, "good.tif"), "hard link"),
    "device": (member("a.tif", tarfile.CHRTYPE), "device"),
    "fifo": (member("a.tif", tarfile.FIFOTYPE), "device"),
    "bomb": (member("a.tif", size=_BOMB), "unfolds to more"),
    "bomb of another kind": (member("a.dat", size=_BOMB), "unfolds to more"),
    "header": (hidden_bomb, "a header claims"),
    "truncated": (truncated, "damaged or cut short"),
    "flipped": (flipped, "damaged or cut short"),
    "twice": (twice, "stands in it twice"),
    "zip with a link": (linked_zip, "symbolic link"),
    "zip that strays": (straying_zip, "leads outside"),
    "zip bomb": (zip_bomb, "unfolds to more"),
    "damaged zip": (damaged_zip, "damaged or cut short"),
    "nothing in it": (lambda f: tarred(f / "e.tar.gz", "w:gz", {"a.txt": b""}), "holds no .tif"),
}


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    folder = tmp_path / "packed"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_nothing(kind, packed, tmp_path, monkeypatch):
    monkeypatch.setattr(rules, "ALWAYS_BYTES", 1 << 20)
    pack, told = HOSTILE[kind]
    path = pack(packed)
    before = {file for file in tmp_path.rglob("*") if file.is_file()}

    with pytest.raises(SourceError, match=told) as caught:
        unpacked(path, tmp_path / "work")

    assert len(str(caught.value).splitlines()) == 1
    left = {file for file in tmp_path.rglob("*") if file.is_file()} - before
    assert {file for file in left if kind != "nothing in it"} == set()
    assert not list(tmp_path.parent.glob("stray*"))
    assert not Path("/tmp/stray.tif").exists()  # noqa: S108 - the trap is empty
