"""Credentials that expire while a cube is built: others are found, or the build stops cleanly.

The proxy refuses a key after a number of requests that the seed draws.  By then the profile's
file, or the program that it names, has other keys (half of the trials), or has not.
"""

import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import spacenet_cube as sc
from spacenet_cube.recipe.model import Encoding
from tests.chaos_proxy import Chaos, chaos
from tests.s3_servers import filesystem, moto
from tests.torture.score import Score

_FIRST, _SECOND = "KEYTHATEXPIRES", "KEYTHATLASTS"
_LEAST_REQUESTS = 3
_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "SPACENET_CUBE_CACHE",
)
_PROGRAM = """
import json, pathlib, sys
key = pathlib.Path(sys.argv[1]).read_text()
print(json.dumps({"Version": 1, "AccessKeyId": key, "SecretAccessKey": "secret",
    "SessionToken": "token", "Expiration": "2100-01-01T00:00:00Z"}))
"""


@dataclass(frozen=True, slots=True)
class Bench:
    """What every trial shares."""

    server: str
    """Address of the server itself."""

    proxy: Chaos
    """What builds talk to."""

    folder: Path
    """Where profiles stand."""

    clean: dict[str, bytes]
    """Objects of the cube."""

    requests: int
    """Requests of a whole survey and build."""


def run(n: int, seed: int) -> Score:
    """Let credentials expire n times.

    Parameters
    ----------
    n
        Builds; every other one finds new credentials.
    seed
        Of the moments.

    Returns
    -------
    Score
        With how many requests were refused.
    """
    failures: list[str] = []
    fired: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory() as name,
        _environment(Path(name)),
        moto() as server,
        _bench(server, Path(name)) as bench,
    ):
        for number in range(n):
            told, counts = _trial(bench, number, random.Random(f"{seed} {number}"))
            fired += counts
            failures += [f"build {number}: {told}"] if told else []
    figures = {"refused": sum(fired.values()), "by_path": dict(sorted(fired.items()))}
    said = "credentials that expire mid-build: refreshed, or stopped in one line and resumed"
    return Score("expiry", said, n - len(failures), n, seed, figures, tuple(failures))


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """Profiles of the trial alone."""
    before = {name: os.environ.pop(name, None) for name in _VARIABLES}
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(folder / "credentials")
    os.environ["AWS_CONFIG_FILE"] = str(folder / "config")
    os.environ["SPACENET_CUBE_CACHE"] = str(folder / "cache")
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _bench(server: str, folder: Path) -> Iterator[Bench]:
    (folder / "program.py").write_text(_PROGRAM)
    sc.write_sample(folder / "corpus", aois=["AOI_2_Vegas"], products=["MUL"], tile_size=256)
    fs = filesystem(server)
    fs.mkdir("spacenet")
    fs.mkdir("cubes")
    fs.put(f"{folder}/corpus/", "spacenet/", recursive=True, batch_size=8)
    with chaos(server) as proxy:
        _give(folder, "quiet", _SECOND, by_program=False)
        proxy.set()
        _build(_planned(proxy, "quiet"), proxy, "quiet", "clean")
        requests = sum(proxy.requests().values())
        yield Bench(server, proxy, folder, _objects(server, "clean"), requests)


def _trial(bench: Bench, number: int, chance: random.Random) -> tuple[str | None, Counter[str]]:
    """What went wrong, and which requests were refused."""
    profile, by_program = f"trial-{number}", bool(number // 2 % 2)
    refreshes = number % 2 == 0
    lasts = chance.randrange(_LEAST_REQUESTS, bench.requests // 2)
    _give(bench.folder, profile, _FIRST, by_program=by_program)
    bench.proxy.set()
    planned = _planned(bench.proxy, profile)
    bench.proxy.set(lasting={_FIRST: lasts})
    if refreshes:
        _give(bench.folder, profile, _SECOND, by_program=by_program)
    told = None
    try:
        _build(planned, bench.proxy, profile, profile)
        stopped = False
    except sc.CubeError as error:
        stopped = True
        told = _unclear(str(error), bench, profile)
    fired = bench.proxy.fired()
    if stopped == refreshes:
        told = told or ("was stopped" if stopped else "was not refused")
    if stopped:
        _give(bench.folder, profile, _SECOND, by_program=by_program)
        _build(planned, bench.proxy, profile, profile)
    if not fired:
        told = "no key expired"
    elif told is None and _objects(bench.server, profile) != bench.clean:
        told = "the cube differs"
    filesystem(bench.server).rm(f"cubes/{profile}", recursive=True)
    return told, fired


def _unclear(message: str, bench: Bench, name: str) -> str | None:
    """What is wrong with how a build stopped."""
    if "token has expired" not in message or len(message.splitlines()) != 1:
        return f"was stopped by {message!r}"
    fs = filesystem(bench.server)
    if fs.exists(f"cubes/{name}/AOI_2_Vegas/MUL.zarr/zarr.json"):
        return "something is published"
    return None


def _give(folder: Path, profile: str, key: str, *, by_program: bool) -> None:
    """Let a profile have a key, in its file or by a program."""
    if by_program:
        (folder / f"{profile}.key").write_text(key)
        program = f"{sys.executable} {folder / 'program.py'} {folder / profile}.key"
        said = f"[profile {profile}]\ncredential_process = {program}\n"
        _replace(folder / "config", said)
        _replace(folder / "credentials", "")
    else:
        said = f"[{profile}]\naws_access_key_id = {key}\naws_secret_access_key = secret\n"
        _replace(folder / "config", "")
        _replace(folder / "credentials", said)


def _replace(file: Path, content: str) -> None:
    draft = file.with_suffix(".draft")
    draft.write_text(content)
    draft.replace(file)


def _options(proxy: Chaos, profile: str) -> dict[str, object]:
    return {"endpoint_url": proxy.url, "profile": profile, "timeout_s": 10}


def _planned(proxy: Chaos, profile: str) -> sc.Plan:
    recipe = sc.load_recipe("AOI_2_Vegas")
    product = recipe.product("MUL").model_copy(update={"encoding": Encoding(chunk=64, shard=64)})
    options = _options(proxy, profile)
    scenes = sc.survey(recipe, product, source="s3://spacenet", source_options=options)
    return sc.plan(recipe, product, scenes)


def _build(planned: sc.Plan, proxy: Chaos, profile: str, name: str) -> None:
    options = _options(proxy, profile)
    sc.build(planned, f"s3://cubes/{name}", target_options=options, workers=2)


def _objects(server: str, name: str) -> dict[str, bytes]:
    fs = filesystem(server)
    found = fs.find(f"cubes/{name}")
    return {path.partition(f"cubes/{name}/")[2]: fs.cat_file(path) for path in found}
