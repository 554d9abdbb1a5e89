"""Fuzzed archives: real small ones damaged, and forged ones, through survey and build."""

import gzip
import io
import os
import random
import shutil
import tarfile
import tempfile
import warnings
import zipfile
from pathlib import Path

from spacenet_cube.builds.build import build
from spacenet_cube.plans.plan import plan
from spacenet_cube.raster.grid import Block
from spacenet_cube.sources.survey import survey
from tests.scenes import coordinates, product, recipe, write_geotiff
from tests.torture.arena import arena
from tests.torture.fuzz_recipes import score
from tests.torture.score import Score

CANARY = "canary-outside.tif"
FORMS = ("tar", "tar.gz", "zip")
_NAMES = (
    "a.tif", "b/a.tif", "../a.tif", "/etc/a.tif", "../../canary-outside.tif", "C:\\a.tif",
    "a\\b.tif", "a.tif/b.tif", "._a.tif", "a" * 300 + ".tif", "a/" * 500 + "a.tif",
    "\u202ea.tif", "a\0.tif", "", ".", "a.tif ", "A.TIF", "a.imd", "a.xml", "a.tif.aux.xml",
)  # fmt: skip
_KINDS = (
    tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE,
    tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, b"Z",
)  # fmt: skip


def _tar(rng: random.Random, raster: bytes, *, forged: bool) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=rng.choice((0, 1, 2))) as tar:
        for number in range(rng.randint(1, 4)):
            info = tarfile.TarInfo(rng.choice(_NAMES) if forged else f"{number}.tif")
            info.type = rng.choice(_KINDS) if forged and rng.random() < 0.4 else tarfile.REGTYPE
            info.linkname = rng.choice((f"../../{CANARY}", "/etc/passwd", "a.tif"))
            info.size = len(raster)
            if forged and rng.random() < 0.2:
                info.size = rng.choice((0, 1, 1 << 20, 1 << 33))
            try:
                tar.addfile(info, io.BytesIO(raster.ljust(min(info.size, 1 << 20), b"\0")))
            except (ValueError, OSError, UnicodeError):
                continue
    return held.getvalue()


def _zip(rng: random.Random, raster: bytes, *, forged: bool) -> bytes:
    held = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")
        for number in range(rng.randint(1, 4)):
            info = zipfile.ZipInfo(rng.choice(_NAMES) or "a" if forged else f"{number}.tif")
            if forged:
                info.external_attr = rng.choice((0, 0o120777, 0o060777, 0o100644)) << 16
            content = bytes(50 << 20) if forged and rng.random() < 0.05 else raster
            archive.writestr(info, content, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    return held.getvalue()


def _damaged(content: bytes, rng: random.Random) -> bytes:
    made = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        made[rng.randrange(len(made))] = rng.randrange(256)
    if rng.random() < 0.3:
        del made[rng.randrange(len(made)) :]
    if rng.random() < 0.1:
        made += rng.randbytes(2000)
    return bytes(made)


def archive(seed: int, raster: bytes) -> tuple[str, bytes]:
    """The ending and content of the fuzzed archive of a seed."""
    rng = random.Random(seed)
    form, forged = rng.choice(FORMS), rng.random() < 0.5
    content = (_zip if form == "zip" else _tar)(rng, raster, forged=forged)
    # A tar is damaged before or after it is packed: its check sum finds only the latter.
    inside = rng.random() < 0.5
    if not forged and inside:
        content = _damaged(content, rng)
    if form == "tar.gz":
        if rng.random() < 0.03:
            content += bytes(200 << 20)
        content = gzip.compress(content, 1)
    if not forged and not inside:
        content = _damaged(content, rng)
    return form, content


def trial(payload: tuple[str, bytes], folder: Path) -> str:
    """Survey and build what an archive holds; nothing may be left outside of its shelf."""
    form, content = payload
    if form == "control":
        (folder.parent / CANARY).read_bytes()
        return "fine"
    source, target, scratch = folder / "source", folder / "to", folder / "scratch"
    for place in (source, target, scratch):
        shutil.rmtree(place, ignore_errors=True)
    source.mkdir()
    (source / f"a.{form}").write_bytes(content)
    wanted = recipe(product(count=1, sources=((f"a.{form}",),)))
    before = {path for path in folder.parent.iterdir() if path.suffix != ".strace"}
    try:
        scenes = survey(wanted, "P", source=source, scratch=scratch)
        build(plan(wanted, "P", scenes), target, workers=1, scratch=scratch)
    finally:
        after = {path for path in folder.parent.iterdir() if path.suffix != ".strace"}
        assert after == before, f"{after - before} appeared outside"
        links = [path for path in scratch.rglob("*") if path.is_symlink() or path.is_fifo()]
        assert not links, f"{links} are no files"
    return "fine"


def run(n: int, seed: int) -> Score:
    """Try n archives; the first trial touches a canary, and must be seen to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "arena"
        folder.mkdir()
        (folder.parent / CANARY).write_bytes(os.urandom(16))
        image = coordinates(Block(0, 0, 40, 48)).astype("uint16")
        raster = Path(write_geotiff(folder / "a.tif", image, compress="deflate")).read_bytes()
        with arena("tests.torture.fuzz_archives", folder) as held:
            control = held.run(("control", b""))
            assert control.foreign, "the watch saw no canary that was touched on purpose"
            start = seed * 1_000_000
            outcomes = [held.run(archive(each, raster)) for each in range(start, start + n)]
    return score("fuzz-archives", "fuzzed archives are refused or read, in bounds", outcomes, seed)
