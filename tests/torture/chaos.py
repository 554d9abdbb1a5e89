"""Builds from S3 to S3 while requests fail: the cube is the one of a quiet day, byte for byte.

moto stands behind the proxy, and Ceph too where it is installed.  One request in ten fails:
listing, reading and writing, in the nine ways of `tests.chaos_proxy`.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import spacenet_cube as sc
from spacenet_cube.recipe.model import Encoding, Product
from tests.chaos_proxy import Chaos, chaos
from tests.s3_servers import ceph, filesystem, missing_ceph, moto
from tests.torture.score import Score

RATE = 0.1
"""Share of requests that fail."""

TIMEOUT_S = 0.5
"""After so long a stall is cut."""

MOST = 2.0
"""A build with faults may take so many times as long as a clean one beside it."""

RETRIES = 8
"""Nine faults in a row happen once in a thousand million requests."""

_CEPH_EVERY = 5
_FEW = 10
"""Fewer builds than this are of a small cube, for the test suite."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A server with a corpus, a proxy in front of it, and what a quiet build leaves."""

    server: str
    """Address of the server itself."""

    proxy: Chaos
    """What builds talk to."""

    shard_px: int
    """Edge of a shard: that of a tile, so a cube has four units of four shards."""

    clean: dict[str, bytes]
    """Objects of the cube, by key."""


def run(n: int, seed: int) -> Score:
    """Build n times with faults.

    Parameters
    ----------
    n
        Builds.
    seed
        Of the faults.

    Returns
    -------
    Score
        A build is good if its objects are those of the clean one, faults fired, and it took
        at most `MOST` times as long; of small cubes, in a suite where others use the cores,
        time is told and not judged.
    """
    ratios: list[float] = []
    failures: list[str] = []
    fired: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, _signed(Path(folder)), ExitStack() as held:
        corpus, edge_px = Path(folder, "corpus"), 512 if n < _FEW else 8192
        sc.write_sample(corpus, aois=["AOI_2_Vegas"], products=["MUL"], tile_size=edge_px)
        servers = {"moto": held.enter_context(moto())}
        if not missing_ceph() and n >= _CEPH_EVERY:
            servers["ceph"] = held.enter_context(ceph(Path(folder, "ceph")))
        benches = {
            name: held.enter_context(_bench(server, corpus, edge_px // 4))
            for name, server in servers.items()
        }
        for number in range(n):
            on_ceph = "ceph" in benches and number % _CEPH_EVERY == _CEPH_EVERY - 1
            bench = benches["ceph" if on_ceph else "moto"]
            told, ratio, counts = _trial(bench, number, seed)
            if told is None and ratio > MOST and n >= _FEW:
                told = f"took {ratio:.2f} times as long as a clean build"
            fired += counts
            ratios.append(ratio)
            failures += (
                [f"build {number} on {'ceph' if on_ceph else 'moto'}: {told}"] if told else []
            )
    figures = {
        "faults": sum(fired.values()),
        "by_kind": _by(fired, 0),
        "by_path": _by(fired, 1),
        "time_to_clean": {"median": round(median(ratios), 2), "most": round(max(ratios), 2)},
        "servers": sorted(servers),
        "on_ceph": n // _CEPH_EVERY if "ceph" in servers else 0,
    }
    said = "S3 builds with 10 % mixed faults on list, read and write: byte-identical, at most 2x"
    return Score("chaos", said, n - len(failures), n, seed, figures, tuple(failures))


def _by(fired: Counter[str], place: int) -> dict[str, int]:
    found: Counter[str] = Counter()
    for name, count in fired.items():
        found[name.split()[place]] += count
    return dict(sorted(found.items()))


@contextmanager
def _signed(folder: Path) -> Iterator[None]:
    """The environment that builds run in."""
    told = {
        "AWS_ACCESS_KEY_ID": "owner",
        "AWS_SECRET_ACCESS_KEY": "ownersecret",
        "SPACENET_CUBE_CACHE": str(folder / "cache"),
    }
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


@contextmanager
def _bench(server: str, corpus: Path, shard_px: int) -> Iterator[Bench]:
    fs = filesystem(server)
    fs.mkdir("spacenet")
    fs.mkdir("cubes")
    fs.put(f"{corpus}/", "spacenet/", recursive=True, batch_size=8)
    with chaos(server) as proxy:
        _build(proxy, shard_px, "clean")
        yield Bench(server, proxy, shard_px, _objects(server, "clean"))


def _trial(bench: Bench, number: int, seed: int) -> tuple[str | None, float, Counter[str]]:
    """What went wrong with a build, its time to that of a clean one, and the faults that fired."""
    name = f"faulty-{number}"
    bench.proxy.set(rate=RATE, seed=seed * 1000 + number)
    begun, told = perf_counter(), None
    try:
        _build(bench.proxy, bench.shard_px, name)
    except sc.CubeError as error:
        told = str(error)
    seconds, fired = perf_counter() - begun, bench.proxy.fired()
    bench.proxy.set()
    # A clean build beside each, because machines are busier at one time than at another.
    begun = perf_counter()
    _build(bench.proxy, bench.shard_px, "clean")
    ratio = seconds / (perf_counter() - begun)
    if told is None:
        told = _difference(_objects(bench.server, name), bench.clean)
    if told is None and not fired:
        told = "no fault fired"
    filesystem(bench.server).rm(f"cubes/{name}", recursive=True)
    return told, ratio, fired


def _difference(found: dict[str, bytes], clean: dict[str, bytes]) -> str | None:
    if found == clean:
        return None
    missing, strange = sorted(clean.keys() - found), sorted(found.keys() - clean)
    other = [key for key in sorted(clean.keys() & found) if clean[key] != found[key]]
    return f"differs: missing {missing[:3]}, strange {strange[:3]}, other {other[:3]}"


def _product(recipe: sc.Recipe, shard_px: int) -> Product:
    small = {"encoding": Encoding(chunk=shard_px // 2, shard=shard_px)}
    return recipe.product("MUL").model_copy(update=small)


def _build(proxy: Chaos, shard_px: int, name: str) -> None:
    """Survey, plan and build through the proxy."""
    options = {"endpoint_url": proxy.url, "timeout_s": TIMEOUT_S, "retries": RETRIES}
    recipe = sc.load_recipe("AOI_2_Vegas")
    product = _product(recipe, shard_px)
    # Nothing is remembered from one build to the next, so headers are read in each.
    os.environ["SPACENET_CUBE_CACHE"] = (
        f"{os.environ['SPACENET_CUBE_CACHE'].partition('@')[0]}@{name}"
    )
    scenes = sc.survey(recipe, product, source="s3://spacenet", source_options=options)
    planned = sc.plan(recipe, product, scenes)
    to = f"s3://cubes/{name}"
    sc.build(planned, to, target_options=options, workers=2, replace=name == "clean")


def _objects(server: str, name: str) -> dict[str, bytes]:
    fs = filesystem(server)
    found = fs.find(f"cubes/{name}")
    return {path.partition(f"cubes/{name}/")[2]: fs.cat_file(path) for path in found}
