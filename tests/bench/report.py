"""Tables of what the bench found, and the conditions under which it found it."""

import os
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from tests.bench.contenders import DOCUMENTED, TUNED
from tests.bench.scaling import LIMIT_BYTES, LIMIT_DIFFERENCE
from tests.bench.target import WORKERS

BAR_SECONDS = {"ndvi": 2.0, "plan": 5.0, "help": 0.5}
"""The bars of planning Paris and of the help page, seconds."""


def conditions(size: int) -> str:
    """Say what was held equal, and what was not."""
    return (
        f"Two striped {size} x {size} x 8 uint16 files to one array, chunks (1, 512, 512) in "
        "shards (8, 2048, 2048), blosc zstd 1 bitshuffle + crc32c. "
        f"{WORKERS} workers on {os.cpu_count()} cores; sources in the page cache; outputs removed "
        "after each build. Time is from imported to written, the median of the rounds; each build "
        "is a fresh process. Tuned peers and ours use zarr's fused codec pipeline; peers as "
        "documented use zarr as it comes. Ours is counted whole: with "
        "overviews, source_index, survey and metadata."
    )


def race_table(found: dict[str, Any]) -> Table:
    """Lay out times, ratios and memory, a row a contender."""
    table = Table(title="One product, built in turn (outputs equal)", box=SIMPLE, pad_edge=False)
    table.add_column("built by", no_wrap=True)
    for heading in ("s", "/ours", "/floor", "cpu s", "GB dirty", "GB USS", "GB out"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in found["contenders"].values():
        table.add_row(
            row["label"],
            f"{row['median_seconds']:.2f}",
            _ratio(found, row, "ours"),
            _ratio(found, row, "floor"),
            f"{row['median_cpu_seconds']:.2f}",
            f"{row['peak_private_bytes'] / 1e9:.2f}",
            f"{row['peak_unique_bytes'] / 1e9:.2f}",
            f"{row['stored_bytes'] / 1e9:.2f}",
        )
    return table


def _ratio(found: dict[str, Any], row: dict[str, Any], name: str) -> str:
    """Say how many times as long a contender took as another."""
    other = found["contenders"].get(name)
    return f"{row['median_seconds'] / other['median_seconds']:.2f}" if other else "-"


def verdict(found: dict[str, Any]) -> str:
    """Say how many times as fast we are as the best peer, of either kind."""
    lines = []
    for kind, names in (("as documented", DOCUMENTED), ("tuned", TUNED)):
        raced = [found["contenders"][name] for name in names if name in found["contenders"]]
        if raced and "ours" in found["contenders"]:
            best = min(raced, key=lambda row: row["median_seconds"])
            times = best["median_seconds"] / found["contenders"]["ours"]["median_seconds"]
            lines.append(f"{times:.2f} times as fast as the best peer {kind} ({best['label']})")
    return "\n".join(lines)


def memory_table(found: dict[str, Any]) -> Table:
    """Lay out the peaks of two sizes against the bars."""
    verdict_text = "met" if found["passed"] else "MISSED"
    table = Table(
        title="Peak memory of ours at two sizes",
        caption=(
            f"peaks differ by {found['difference']:.1%}; bars: {LIMIT_DIFFERENCE:.0%} and "
            f"{LIMIT_BYTES / 1e9:.1f} GB: {verdict_text}"
        ),
    )
    for heading in ("rows x columns", "private GB", "of each build", "USS GB"):
        table.add_column(heading, justify="right")
    for product in found["products"]:
        table.add_row(
            " x ".join(str(length) for length in product["shape_yx"]),
            f"{product['peak_private_bytes'] / 1e9:.2f}",
            " ".join(f"{each['private_bytes'] / 1e9:.2f}" for each in product["readings"]),
            f"{product['peak_unique_bytes'] / 1e9:.2f}",
        )
    return table


def other_table(found: dict[str, Any]) -> Table:
    """Lay out planning and help against their bars."""
    table = Table(title="Bars that need no pixels")
    for heading in ("what", "seconds", "bar"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    paris = found["paris"]
    table.add_row(
        f"plan Paris MUL-PanSharpen, {paris['scenes']} scenes",
        f"{paris['plan_seconds']:.3f}",
        f"{BAR_SECONDS['plan']}",
    )
    table.add_row("the same with its digest", f"{paris['with_digest_seconds']:.3f}", "")
    opened = found["opened"]
    table.add_row("open its cube, documents alone", f"{opened['open_seconds']:.3f}", "")
    table.add_row(
        f"build its ndvi().mean(), {opened['ndvi_mean_tasks']} tasks",
        f"{opened['ndvi_mean_seconds']:.3f}",
        f"{BAR_SECONDS['ndvi']}",
    )
    table.add_row("spacenet-cube --help", f"{found['help_seconds']:.3f}", f"{BAR_SECONDS['help']}")
    return table
