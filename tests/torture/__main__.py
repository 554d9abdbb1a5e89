"""Run the torture: ``python -m tests.torture``, all rows or those named; ``--help`` lists them."""

import argparse
import json
import sys
from dataclasses import dataclass
from importlib import import_module
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.torture.score import Score, versions


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the scoreboard: where it is run, and how often."""

    module: str
    """Module of ``tests.torture`` that has ``run(n, seed)``."""

    n: int
    """Trials of a whole run."""

    run: str = "run"
    """Name of the function, where a module has several."""


ROWS: dict[str, Row] = {
    "cluster": Row("cluster", 18),
    "fuzz-recipes": Row("fuzz_recipes", 10_000),
    "fuzz-tiffs": Row("fuzz_tiffs", 2_000),
    "fuzz-archives": Row("fuzz_archives", 1_000),
    "secrets": Row("secrets", 20),
    "kills": Row("kills", 200),
    "answers": Row("answers", 100),
    "builders": Row("builders", 20),
    "machine": Row("machine", 200),
    "chaos": Row("chaos", 50),
    "disk": Row("disk", 40),
    "expiry": Row("expiry", 20),
    "flips": Row("rest", 1000, "flips"),
    "truncations": Row("rest", 200, "truncations"),
    "lost": Row("rest", 200, "lost"),
    "swapped": Row("rest", 200, "swapped"),
    "edited": Row("rest", 100, "edited"),
    "clean": Row("rest", 100, "clean"),
    "repaired": Row("rest", 200, "repaired"),
    "commits": Row("commits", 40),
    "rollbacks": Row("rollbacks", 200),
}
"""By name; each ``run`` gives one score."""


def main() -> int:
    """Run what was asked for; a table goes to stderr, JSON to stdout."""
    asked = _arguments()
    console = Console(stderr=True)
    scores: list[dict[str, Any]] = []
    for name in asked.rows or list(ROWS):
        row, begun = ROWS[name], perf_counter()
        run = getattr(import_module(f"tests.torture.{row.module}"), row.run)
        score: Score = run(max(1, round(row.n * asked.share)), asked.seed)
        seconds = perf_counter() - begun
        scores.append(score.to_dict() | {"seconds": round(seconds, 1)})
        told = f"{name}: {score.good} of {score.n} in {seconds:.0f} s {dict(score.figures)}"
        console.print(told, highlight=False)
        for line in score.failures[:20]:
            console.print(f"  {line}", highlight=False)
    console.print(_table(scores))
    print(json.dumps({"versions": versions(), "scores": scores}, indent=1))
    return 0 if all(score["held"] for score in scores) else 1


def _table(scores: list[dict[str, Any]]) -> Table:
    table = Table(title="torture")
    for column in ("row", "held", "n", "seed", "seconds"):
        table.add_column(column)
    for score in scores:
        table.add_row(*(str(score[key]) for key in ("said", "good", "n", "seed", "seconds")))
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="rows to run; all by default")
    parser.add_argument("--seed", type=int, default=1, help="seed of all that varies")
    parser.add_argument("--share", type=float, default=1.0, help="share of the whole n to run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
