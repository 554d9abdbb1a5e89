"""Running: tasks on any executor, a bounded number at once, each as soon as it can be done.

Not pure: waits for executors.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice

from spacenet_cube.builds.tasks.tasks import Ready, Task
from spacenet_cube.errors import LostClusterError
from spacenet_cube.plans.plan import TASKS_PER_WORKER
from spacenet_cube.progress import Progress

_LOOK_S = 1.0
_STAGES = {"unit": "units", "overview": "overviews", "renumber": "renumbering"}


@contextmanager
def pool_of(executor: Executor | None, workers: int) -> Iterator[Executor]:
    """The caller's executor, or threads that are gone afterwards.

    There are more than compute at once, so that others go on while some wait for the disk or a
    bucket.
    """
    if executor is not None:
        yield executor
        return
    with ThreadPoolExecutor(workers * TASKS_PER_WORKER, "build") as pool:
        yield pool


class Watch:
    """What is known of a run while it goes on, for those who look at it from elsewhere.

    Parameters
    ----------
    check
        Called about once a second; what it raises ends the run.
    """

    def __init__(self, check: Callable[[], None] | None = None) -> None:
        self.check = check or _all_is_well
        self.failures: dict[str, str] = {}
        self._names: tuple[str, ...] = ()

    def in_flight(self) -> tuple[str, ...]:
        """Names of the tasks that were handed out and are not done."""
        return self._names

    def see(self, running: Iterator[Task]) -> None:
        """Note what is in flight."""
        self._names = tuple(task.name for task in running)


def run_all[Done](
    listed: Sequence[Task],
    do: Callable[[Task], Done],
    *,
    pool: Executor,
    workers: int,
    progress: Progress | None,
    watch: Watch | None = None,
) -> dict[str, Done]:
    """Do every task, each after those it needs; the first failure begins nothing more.

    Parameters
    ----------
    listed
        The tasks.
    do
        Does one of them, wherever the executor runs it.
    pool
        The executor.
    workers
        How many it runs at once; twice as many are handed to it.
    progress
        Told ``units``, ``overviews`` and ``renumbering``, how many are done of how many.
    watch
        Told what is in flight and what failed.

    Returns
    -------
    dict of str to what ``do`` returns
        By name.

    Raises
    ------
    Exception
        The first that a task raised, once those in flight are done too; or what the watch
        raised.
    """
    seen, tell = watch or Watch(), _teller(listed, progress)
    ready, done = Ready(listed), dict[str, Done]()
    running: dict[Future[Done], Task] = {}
    errors: list[BaseException] = []
    try:
        while True:
            free = 0 if errors else workers * TASKS_PER_WORKER - len(running)
            running |= {pool.submit(do, task): task for task in ready.take(free)}
            seen.see(task for future, task in running.items() if future.running())
            if not running:
                break
            for future in wait(running, _LOOK_S, FIRST_COMPLETED).done:
                task, error = running.pop(future), future.exception()
                if error is None:
                    done[task.name] = future.result()
                    ready.done(task)
                    tell(task)
                else:
                    errors.append(error)
                    if not isinstance(error, LostClusterError):
                        seen.failures[task.name] = str(error)
                    running = {each: t for each, t in running.items() if not each.cancel()}
            seen.check()
    finally:
        for future in running:
            future.cancel()
    if errors:
        raise errors[0]
    return done


def _teller(listed: Sequence[Task], progress: Progress | None) -> Callable[[Task], None]:
    """What tells progress of each stage; each is told once before anything is done."""
    told = progress or _silent
    totals, done = Counter(task.kind for task in listed), Counter[str]()
    for kind, total in totals.items():
        told(_STAGES[kind], 0, total)

    def tell(task: Task) -> None:
        done[task.kind] += 1
        told(_STAGES[task.kind], done[task.kind], totals[task.kind])

    return tell


def _silent(stage: str, done: int, total: int) -> None:
    """Tell nobody."""


def _all_is_well() -> None:
    """Nothing is against going on."""


def each_of[T, R](
    do: Callable[[T], R],
    items: Iterable[T],
    *,
    workers: int,
    stage: str,
    progress: Progress | None,
) -> Iterator[R]:
    """Do something with every item on threads, and give what came of each as it is done.

    Parameters
    ----------
    do
        What to do.
    items
        With what; none needs another.
    workers
        Threads; twice as many items are handed to them.
    stage
        What progress is told of.
    progress
        Told how many are done of how many.

    Yields
    ------
    R
        In the order of being done; the first failure ends it.
    """
    waiting, told = tuple(items), progress or _silent
    rest, running, done = iter(waiting), set[Future[R]](), 0
    told(stage, 0, len(waiting))
    with ThreadPoolExecutor(workers, stage) as pool:
        try:
            while True:
                free = workers * TASKS_PER_WORKER - len(running)
                running |= {pool.submit(do, item) for item in islice(rest, free)}
                if not running:
                    return
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                done += len(finished)
                told(stage, done, len(waiting))
                yield from [future.result() for future in finished]
        finally:
            for future in running:
                future.cancel()
