"""Canary secrets: planted wherever a user can put one, and looked for in all that we leave.

First the search itself is tried: a canary put into each kind of artefact must be found.
"""

import io
import logging
import os
import random
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import cloudpickle  # type: ignore[import-untyped]
import s3fs

import spacenet_cube as sc
from spacenet_cube.builds.tasks.tasks import tasks
from spacenet_cube.builds.unit.task import do_task
from spacenet_cube.cli.app import main
from spacenet_cube.raster.grid import Block
from spacenet_cube.recipe.model import Recipe
from spacenet_cube.storage.resolve import locate
from tests.s3_servers import moto, proxy
from tests.scenes import LICENCE, coordinates, product, write_geotiff
from tests.torture.score import Score

PLACES = (
    "env AWS_ACCESS_KEY_ID", "env AWS_SECRET_ACCESS_KEY", "env AWS_SESSION_TOKEN",
    "profile aws_access_key_id", "profile aws_secret_access_key", "profile aws_session_token",
    "URL in recipe source", "URL in --source", "URL in --to", "URL in --staging",
    "recipe storage", "--source-option", "env SPACENET_CUBE_TARGET_OPTIONS",
    "query of a presigned URL", "storage_options key", "storage_options secret",
    "storage_options token", ".netrc password", "error body of a server",
    "--source-option without a name",
)  # fmt: skip

Artefacts = dict[str, bytes]


def found_in(artefact: bytes, canary: str) -> bool:
    """Whether a canary is in some bytes, as they are or in a compressed text of a PNG."""
    plain = [artefact, *_inflated(artefact)]
    forms = [canary.encode(), canary.encode("utf-16-le"), canary[::-1].encode()]
    return any(form in each for each in plain for form in forms)


def _inflated(artefact: bytes) -> Iterator[bytes]:
    if not artefact.startswith(b"\x89PNG"):
        return
    at = 8
    while at < len(artefact):
        size, kind = int.from_bytes(artefact[at : at + 4]), artefact[at + 4 : at + 8]
        body = artefact[at + 8 : at + 8 + size]
        if kind == b"zTXt":
            yield zlib.decompress(body.partition(b"\0")[2][1:])
        at += size + 12


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class _Log(logging.Handler):
    """Every record of our package, at any level."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it, with its traceback's words."""
        self.lines.append(logging.Formatter().format(record))


def _said(work: Callable[[], object]) -> bytes:
    """What a request that must fail says."""
    try:
        work()
    except sc.CubeError as error:
        return f"{type(error).__name__}: {error}".encode()
    return b""


def _command(*words: str) -> bytes:
    """What a command prints, either way."""
    said = io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["spacenet-cube", *words]),
        redirect_stdout(said),
        redirect_stderr(said),
        suppress(SystemExit),
    ):
        main()
    return said.getvalue().encode()


def run(n: int, seed: int) -> Score:
    """Plant 20 canaries, whatever n is below that, and look for each in every artefact."""
    rng = random.Random(seed)
    canaries = {place: f"CANARY{rng.randrange(16**16):016X}" for place in PLACES}
    with tempfile.TemporaryDirectory() as name, moto() as server:
        artefacts = _artefacts(Path(name), server, canaries)
    kinds = _kinds(artefacts)
    planted = [
        kind
        for kind, one in kinds.items()
        if found_in(_with(one, "CANARYPLANTED"), "CANARYPLANTED")
    ]
    assert planted == list(kinds), "the search misses a canary in some kind of artefact"
    leaks = [
        f"{place} found in {title}"
        for place, canary in canaries.items()
        for title, content in artefacts.items()
        if found_in(content, canary)
    ]
    hidden = {
        place for place in PLACES if not any(leak.startswith(place + " found") for leak in leaks)
    }
    assert n <= len(PLACES)
    return Score(
        "secrets",
        "canary secrets are in nothing that is written, sent or said",
        len(hidden),
        len(PLACES),
        seed,
        {
            "artefacts": len(artefacts),
            "kinds": len(kinds),
            "searched_bytes": sum(map(len, artefacts.values())),
        },
        tuple(leaks),
    )


def _kinds(artefacts: Artefacts) -> Artefacts:
    """One artefact of each kind."""
    return {title.partition(" ")[0]: content for title, content in reversed(artefacts.items())}


def _with(content: bytes, canary: str) -> bytes:
    """An artefact with a canary in it."""
    if content.startswith(b"\x89PNG"):
        body = b"Comment\0\0" + zlib.compress(canary.encode())
        return content[:33] + len(body).to_bytes(4) + b"zTXt" + body + bytes(4) + content[33:]
    return bytes(content + cloudpickle.dumps({"a": canary}))


def _artefacts(home: Path, server: str, canaries: Mapping[str, str]) -> Artefacts:
    profile = "\n".join(
        ["[p]", *(f"{key} = {canaries[f'profile {key}']}" for key in _PROFILE_KEYS), ""]
    )
    (home / "credentials").write_text(profile)
    (home / ".netrc").write_text(
        f"machine 127.0.0.1 login x password {canaries['.netrc password']}\n"
    )
    (home / ".netrc").chmod(0o600)
    changes = {
        "HOME": str(home),
        "NETRC": str(home / ".netrc"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
        "SPACENET_CUBE_CACHE": str(home / "cache"),
        **{name: canaries[f"env {name}"] for name in _ENV_NAMES},
    }
    log = _Log()
    logger = logging.getLogger("spacenet_cube")
    before = logger.level
    with _environment(changes):
        logger.addHandler(log)
        logger.setLevel(logging.DEBUG)
        try:
            found = {
                **_built(home, server),
                **_opened(server, canaries),
                **_refused(home, server, canaries),
            }
        finally:
            logger.removeHandler(log)
            logger.setLevel(before)
    found["log all"] = "\n".join(log.lines).encode()
    found |= {f"cache {path.name}": path.read_bytes() for path in (home / "cache").rglob("*.json")}
    return found


_PROFILE_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_ENV_NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def _built(home: Path, server: str) -> Artefacts:
    """All that a build from S3 to S3 leaves, sends and prints."""
    options = {"endpoint_url": server}
    files = s3fs.S3FileSystem(endpoint_url=server, use_listings_cache=False)
    files.mkdir("here")
    files.mkdir("there")
    image = coordinates(Block(0, 0, 64, 64), 3).astype("uint16")
    files.put_file(write_geotiff(home / "a.tif", image), "here/a.tif")
    recipe = Recipe(name="A", source="s3://here", licence=LICENCE, products=(product(),))
    scenes = sc.survey(recipe, "P", source_options=options)
    planned = sc.plan(recipe, "P", scenes)
    during: Artefacts = {}

    def look(*_: object) -> None:
        for key in files.find("there"):
            during[f"object {key}"] = files.cat_file(key)

    url = sc.build(planned, "s3://there", workers=1, target_options=options, progress=look)
    look()
    cube = locate(url, options)
    task = partial(do_task, planned, cube)
    text = home / "r.yaml"
    text.write_text(
        "name: A\nsource: s3://here\nlicence: {spdx: X, attribution: Y}\nproducts:\n"
        "- {name: P, sources: '*.tif', bands: [red, green, blue]}\n"
    )
    endpoint = ("--source-option", f"endpoint_url={server}")
    signed = ("--source-option", "profile=p")
    return during | {
        "pickle plan": cloudpickle.dumps(planned),
        "pickle scenes": cloudpickle.dumps(scenes),
        "pickle location": cloudpickle.dumps(cube),
        "pickle task": cloudpickle.dumps((task, tasks(planned))),
        "pickle profile": cloudpickle.dumps(locate(url, {**options, "profile": "p"})),
        "json plan": repr(planned.to_dict()).encode(),
        "output plan": _command("plan", str(text), "--json", *endpoint, *signed),
    }


def _opened(server: str, canaries: Mapping[str, str]) -> Artefacts:
    """What is sent to workers, and said, of a cube that was opened."""
    explicit = {
        "endpoint_url": server,
        **{name: canaries[f"storage_options {name}"] for name in ("key", "secret", "token")},
    }
    found: Artefacts = {}
    for title, options in (
        ("environment", {"endpoint_url": server}),
        ("profile", {"endpoint_url": server, "profile": "p"}),
        ("explicit", explicit),
    ):
        cube = sc.open_cube("s3://there/A/P.zarr", storage_options=options)
        again = cloudpickle.loads(cloudpickle.dumps(cube))
        assert again.image.mean().compute() == cube.image.mean().compute() > 0
        found[f"pickle dataset by {title}"] = cloudpickle.dumps(cube)
        found[f"graph by {title}"] = cloudpickle.dumps(cube.image.sum().__dask_graph__())
        found[f"repr by {title}"] = f"{cube!r}{cube.attrs}{cube.encoding}".encode()
        info = sc.cube_info("s3://there/A/P.zarr", storage_options=options)
        found[f"json info by {title}"] = info.to_json().encode()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.png"
        sc.quicklook("s3://there/A/P.zarr", path, size_px=64, storage_options=explicit)
        found["picture quicklook"] = path.read_bytes()
    return found


def _refused(home: Path, server: str, canaries: Mapping[str, str]) -> Artefacts:
    """What requests say that carry a secret where none belongs, or whose server repeats one."""
    text = (home / "r.yaml").read_text()

    def url(place: str) -> str:
        return f"https://user:{canaries[place]}@127.0.0.1:9/x"

    named = {"source": f"source: {url('URL in recipe source')}"}
    wrong = home / "wrong.yaml"
    wrong.write_text(text.replace("source: s3://here", named["source"]))
    storage = home / "storage.yaml"
    storage.write_text(text + f"storage: {{secret: {canaries['recipe storage']}}}\n")
    recipe, query = str(home / "r.yaml"), canaries["query of a presigned URL"]
    presigned = f"https://127.0.0.1:9/x?X-Amz-Signature={query}"
    found = {
        "error recipe source": _command("plan", str(wrong)),
        "error --source": _command("plan", recipe, "--source", url("URL in --source")),
        "error --to": _command("build", recipe, "--to", url("URL in --to")),
        "error --staging": _command("plan", recipe, "--staging", url("URL in --staging")),
        "error recipe storage": _command("plan", str(storage)),
        "error --source-option": _command(
            "plan", recipe, "--source-option", f"secret={canaries['--source-option']}"
        ),
        "error bare option": _command(
            "plan", recipe, "--source-option", canaries["--source-option without a name"]
        ),
        "error presigned": _command("plan", recipe, "--source", presigned),
        "error presigned cube": _said(lambda: sc.open_cube(presigned)),
    }
    variable = canaries["env SPACENET_CUBE_TARGET_OPTIONS"]
    with _environment({"SPACENET_CUBE_TARGET_OPTIONS": f"token={variable}"}):
        found["error target options"] = _command("build", recipe)
    echoed = canaries["error body of a server"]
    with proxy(server) as between:
        for code in ("ExpiredToken", "Strange"):
            body = (
                f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>token {echoed}</Message>"
                f"<Token-0>{echoed}</Token-0></Error>"
            ).encode()
            between.fault = lambda _method, _path, body=body: (400, body)
            found |= _told_by(between.url, code, text)
    silent = [
        title for title, content in found.items() if title.startswith("error") and not content
    ]
    assert not silent, f"these were not refused: {silent}"
    return found


def _said_raw(options: Mapping[str, Any]) -> bytes:
    """What a ranged read through obstore says, as errors of ours put it."""
    place = locate("s3://here/a.tif", options)
    try:
        place.read_range(0, 16)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        return place.told(error).encode()
    return b""


def _told_by(server: str, code: str, text: str) -> Artefacts:
    """What is said of a server that refuses everything, by each way of asking it."""
    options: dict[str, Any] = {"endpoint_url": server, "retries": 0}
    recipe = sc.parse_recipe(text)
    return {
        f"error survey {code}": _said(lambda: sc.survey(recipe, "P", source_options=options)),
        f"error range {code}": _said_raw(options),
        f"error open {code}": _said(
            lambda: sc.open_cube("s3://there/A/P.zarr", storage_options=options)
        ),
    }
