"""Leaving: how a command ends, by itself, by an error or by a signal."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import typer

from spacenet_cube.errors import CubeError

_GRACE_S = 5.0
_STOPPED = "stopped; nothing is published yet, and the same command goes on from here"


def leaving(run: Callable[[], object]) -> None:
    """Run a command; leave with 0 done, 1 the work failed, 2 the request was wrong.

    Stopped by Ctrl-C it leaves with 130, by SIGTERM with 143, and within seconds: what is
    waiting for a store that does not answer is not waited for.

    Parameters
    ----------
    run
        The command.
    """
    stopped: list[int] = []

    def stop(number: int, _frame: object) -> None:
        if not stopped:
            threading.Timer(_GRACE_S, _leave_at_once, [_STOPPED, 128 + number]).start()
        stopped.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        run()
    except BaseException as error:
        if stopped:
            _leave_at_once(_STOPPED, 128 + stopped[0])
        _end(error)
        raise


def _end(error: BaseException) -> None:
    """Leave as an error asks for; return where it has no message of its own."""
    if isinstance(error, CubeError):
        _leave(str(error), error.exit_code)
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    if isinstance(error, Exception) and not os.environ.get("SPACENET_CUBE_DEBUG"):
        _leave(
            f"unexpected {type(error).__name__}: {error}; this is a fault of spacenet-cube: "
            "please report it with what SPACENET_CUBE_DEBUG=1 shows",
            1,
        )


def _leave(message: str, code: int) -> None:
    # A terminal that is gone is no reason to say anything else than the code.
    with suppress(OSError):
        typer.echo(f"spacenet-cube: {message}", err=True)
    sys.exit(code)


def _leave_at_once(message: str, code: int) -> None:
    """Leave without waiting for threads that a store keeps waiting."""
    with suppress(OSError):
        typer.echo(f"spacenet-cube: {message}", err=True)
        sys.stdout.flush()
    os._exit(code)
