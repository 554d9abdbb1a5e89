"""Answers: a store does what it is asked, and its answer gets lost."""

import random
import tempfile
from contextlib import ExitStack
from pathlib import Path

import spacenet_cube as sc
from tests.s3_servers import Proxy, filesystem, moto, proxy
from tests.torture.ground import MEMORY, content, deliver_all, plan_of, signed
from tests.torture.score import Score

STEPS = {
    "root": "/P.zarr/zarr.json",
    "manifest": "/P.zarr.manifest/",
    "record": "/P.zarr.build/done/",
    "lock": "/P.zarr.build/lock/",
    "plan": "/P.zarr.build/plan.json",
}
"""What is stored at each step, as a part of its path."""


def run(n: int, seed: int) -> Score:
    """Lose an answer in each of n builds, at the root's document in every second one.

    Parameters
    ----------
    n
        Builds.
    seed
        Of the steps at which answers are lost.

    Returns
    -------
    Score
        A build holds where it succeeds and the cube equals one of a store that answers.
    """
    rng, failures, fired = random.Random(seed), [], dict.fromkeys(STEPS, 0)
    with ExitStack() as held:
        held.enter_context(signed())
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))
        server = held.enter_context(moto())
        between = held.enter_context(proxy(server))
        filesystem(server).mkdir("answers")
        a_plan = plan_of(deliver_all(folder / "source"))
        wanted = content(sc.build(a_plan, folder / "whole", workers=2))
        for number in range(n):
            step = "root" if number % 2 == 0 else rng.choice(list(STEPS))
            lost = Lost(STEPS[step])
            fault = _trial(a_plan, f"s3://answers/{number}", between, lost, wanted)
            fired[step] += lost.times
            if fault or not lost.times:
                failures.append(f"build {number}, {step}: {fault or 'no answer was lost'}")
    said = "a lost answer at publishing, or at a step before it, is resolved rightly"
    good = n - len(failures)
    return Score("answers", said, good, n, seed, {"lost": fired}, tuple(failures))


class Lost:
    """Loses the first answer to a PUT whose path has a part."""

    def __init__(self, part: str) -> None:
        self._part, self.times = part, 0

    def __call__(self, method: str, path: str) -> bool:
        """Whether this answer gets lost."""
        if method != "PUT" or self._part not in path or self.times:
            return False
        self.times += 1
        return True


def _trial(a_plan: sc.Plan, to: str, between: Proxy, lost: Lost, wanted: dict[str, bytes]) -> str:
    options = {"endpoint_url": between.url}
    between.lose = lost
    try:
        cube = sc.build(a_plan, to, workers=2, target_options=options)
    except sc.CubeError as error:
        return str(error)
    finally:
        between.lose = None
    return "" if content(cube, options) == wanted else "the cube is another"
