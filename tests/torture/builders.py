"""Builders: sixteen processes set out to build one cube at the same moment."""

import multiprocessing as mp
import random
import tempfile
from contextlib import ExitStack
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import spacenet_cube as sc
from tests.s3_servers import filesystem, moto
from tests.torture.ground import MEMORY, content, deliver_all, plan_of, signed
from tests.torture.score import Score

BUILDERS = 16
PER_S3 = 2
"""One round in so many goes to S3."""
_PATIENCE_S = 300.0


def run(n: int, seed: int) -> Score:
    """Let sixteen builders loose n times.

    Parameters
    ----------
    n
        Rounds.
    seed
        Of which of them are late, and how late.

    Returns
    -------
    Score
        A round holds where one builder builds, all others say why they do not, and the cube
        equals one that was built alone, byte for byte.
    """
    rng, failures, refused = random.Random(seed), [], 0
    with ExitStack() as held:
        held.enter_context(signed())
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))
        server = held.enter_context(moto(at_once=False))
        filesystem(server).mkdir("builders")
        a_plan = plan_of(deliver_all(folder / "source"))
        wanted = content(sc.build(a_plan, folder / "whole", workers=1))
        for number in range(n):
            on_s3 = number % PER_S3 == PER_S3 - 1
            options = {"endpoint_url": server} if on_s3 else None
            to = f"s3://builders/{number}" if on_s3 else str(folder / str(number))
            delays_s = [rng.choice((0.0, 0.0, rng.uniform(0, 0.5))) for _ in range(BUILDERS)]
            answers = _round(a_plan, to, options, delays_s)
            built = [one for one in answers if one.startswith("built")]
            odd = [one for one in answers if not one.startswith(("built", "refused"))]
            refused += sum(one.startswith("refused") for one in answers)
            same = content(f"{to}/{a_plan.cube_path}", options) == wanted
            if len(built) != 1 or odd or not same or len(answers) != BUILDERS:
                failures.append(f"round {number}: {len(built)} built, equal: {same}, odd: {odd}")
    said = f"{BUILDERS} builders at once on one cube: exactly one builds, none corrupts"
    figures = {"builders refused": refused, "S3": n // PER_S3}
    return Score("builders", said, n - len(failures), n, seed, figures, tuple(failures))


def _round(
    a_plan: sc.Plan, to: str, options: dict[str, str] | None, delays_s: list[float]
) -> list[str]:
    processes = mp.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    barrier, told = processes.Barrier(len(delays_s)), processes.SimpleQueue()
    running = [
        processes.Process(target=_build, args=(a_plan, to, options, barrier, told, delay_s))
        for delay_s in delays_s
    ]
    for each in running:
        each.start()
    answers = [told.get() for _ in running]
    for each in running:
        each.join(_PATIENCE_S)
    return answers


def _build(
    a_plan: sc.Plan,
    to: str,
    options: dict[str, str] | None,
    barrier: Barrier,
    told: Any,
    delay_s: float,
) -> None:
    import time  # noqa: PLC0415

    answer = "died"
    try:
        barrier.wait(_PATIENCE_S)
        time.sleep(delay_s)
        answer = f"built {sc.build(a_plan, to, workers=1, target_options=options)}"
    except sc.CubeError as error:
        known = "is being built by", "is a published cube", "others are quicker"
        answer = f"refused: {error}" if any(k in str(error) for k in known) else f"odd: {error}"
    except BaseException as error:  # noqa: BLE001 - told to whoever counts
        answer = f"odd: {type(error).__name__}: {error}"
    finally:
        told.put(answer)
