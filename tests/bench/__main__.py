"""Run the bench: ``python -m tests.bench``, or a part of it; ``--help`` lists them."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.bench import race, report, scaling


def main() -> None:
    """Run what was asked for; tables go to stderr, JSON to stdout."""
    asked = _arguments()
    console = Console(stderr=True)
    found: dict[str, Any] = {}
    whole = not (asked.memory or asked.other)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.dir) as folder:
        if whole:
            console.print(report.conditions(asked.size))
            timed = race.run(asked.only, asked.size, asked.repeats, Path(folder), console)
            found["build"] = timed
            console.print(report.race_table(timed))
            console.print(report.verdict(timed))
        if asked.memory:
            found["memory"] = scaling.run(asked.size, asked.repeats, Path(folder), console)
            console.print(report.memory_table(found["memory"]))
        if asked.other or (whole and not asked.only):
            found["other"] = _other(Path(folder))
            console.print(report.other_table(found["other"]))
    if asked.json:
        print(json.dumps(found, indent=2))


def _other(folder: Path) -> dict[str, Any]:
    """Time the plan of Paris, opening its cube, and the help page."""
    # Imported here, because it imports spacenet_cube, which peers do not need.
    from tests.bench import other  # noqa: PLC0415

    opened = other.open_paris(folder)
    return {
        "paris": other.plan_paris(),
        "opened": opened,
        "help_seconds": other.help_seconds(repeats=5),
    }


def _arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--size", type=int, default=8192, help="edge of a source file, pixels")
    parser.add_argument("--repeats", type=int, default=3, help="builds by each contender")
    parser.add_argument(
        "--only", action="append", default=[], choices=race.NAMES, help="run only these contenders"
    )
    parser.add_argument("--memory", action="store_true", help="only: peak memory at two sizes")
    parser.add_argument("--other", action="store_true", help="only: planning Paris, and --help")
    parser.add_argument("--dir", type=Path, help="a folder with 4 GB free, 10 GB for --memory")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON on stdout")
    return parser.parse_args()


if __name__ == "__main__":
    main()
