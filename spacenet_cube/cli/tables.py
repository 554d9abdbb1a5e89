"""The terminal: progress bars and tables.  Quiet where nobody watches."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from spacenet_cube.builds.state.status import BuildStatus
    from spacenet_cube.builds.tasks.cost import Sample
    from spacenet_cube.integrity.findings import Verification
    from spacenet_cube.plans.plan import Plan
    from spacenet_cube.sources.survey import Survey

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP = 1000
_KEY_WIDTH = 36
_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


def size(size_bytes: float) -> str:
    """A number of bytes as people read it, in powers of 1000.

    Examples
    --------
    >>> size(276_700_000_000)
    '276.7 GB'
    """
    power = 0
    while size_bytes >= _STEP and power < len(_UNITS) - 1:
        size_bytes, power = size_bytes / _STEP, power + 1
    return f"{size_bytes:.4g} {_UNITS[power]}"


class Bars:
    """Shows stages as progress bars; what a stage calls is `tell`."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress, self._title = progress, title
        self._bars: dict[str, TaskID] = {}

    def tell(self, stage: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` of a stage is done."""
        if stage not in self._bars:
            self._bars[stage] = self._progress.add_task(f"{self._title}: {stage}", total=total)
        self._progress.update(self._bars[stage], completed=done, total=total)


@contextmanager
def bars() -> Iterator[Progress]:
    """Progress on standard error, shown only where that is a terminal."""
    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as shown:
        yield shown


def figures_of(
    planned: "Plan",
    found: "Survey",
    *,
    to: str,
    workers: int,
    sample: "Sample | None",
    rate_bytes_s: float,
) -> dict[str, Any]:
    """Everything that is shown of a plan.

    Parameters
    ----------
    planned
        The plan.
    found
        The survey it was made from.
    to
        Where the cube would go.
    workers
        Units at once.
    sample
        What a few windows showed, if they were tried.
    rate_bytes_s
        Bytes a second the source gives, where that was not measured.

    Returns
    -------
    dict
        Ready for JSON.
    """
    from spacenet_cube.builds.tasks.cost import cost  # noqa: PLC0415 - --help has no use for it
    from spacenet_cube.builds.versioned.branches import repository_path  # noqa: PLC0415
    from spacenet_cube.plans.plan import summary  # noqa: PLC0415

    plain = to.removeprefix("icechunk+")
    asked = cost(
        planned,
        workers=workers,
        remote_target="://" in plain and not plain.startswith("file:"),
        list_requests=found.list_requests,
        sample=sample,
        rate_bytes_s=rate_bytes_s,
    )
    left_out = [{"key": each.key, "reason": each.reason} for each in found.left_out]
    return {
        **summary(planned, workers),
        "to": f"{to}/{planned.cube_path if to == plain else repository_path(planned)}",
        "left_out": left_out,
        "paid_by": _payer(planned),
        "cost": asked.to_dict(),
    }


def _payer(planned: "Plan") -> str:
    """Who is billed for what is read."""
    remote = [scene.access for scene in planned.scenes if scene.is_remote]
    if not remote:
        return "nobody: it is local"
    if any(access.requester_pays for access in remote):
        return "you: requester pays"
    return "the owner of the source"


def _cost_told(cost: Mapping[str, Any], left_out: int) -> dict[str, str]:
    """The cost of one plan as words."""
    source, target = cost["source_requests"], cost["target_requests"]
    dollars = [f"{usd:,.2f} to {where}" for where, usd in cost["source_usd"].items()]
    minutes = cost["read_s"] / 60
    return {
        "left out": f"{left_out:,} files (--json says why)",
        "source requests": f"{source['list']:,} LIST, {source['get']:,} GET",
        "target requests": f"{target['list']:,} LIST, {target['get']:,} GET, {target['put']:,} PUT",
        "bytes fetched": size(cost["fetched_bytes"]),
        "bytes stored": f"{size(cost['stored_bytes'])} ({cost['stored_is']})",
        "scratch": size(cost["scratch_bytes"]),
        "reading takes": f"{minutes:,.1f} min at {size(cost['rate_bytes_s'])}/s "
        f"({cost['rate_is']})",
        f"reading, $ {cost['prices']['as_of']}": "\n".join(dollars),
        "writing, $": f"{cost['target_requests_usd']:,.2f}",
        "keeping, $ a month": f"{cost['storage_usd_month']:,.2f}",
    }


def status_table(found: "BuildStatus") -> Table:
    """How far a build has come, as a table.

    Parameters
    ----------
    found
        What `build_status` tells.

    Returns
    -------
    rich.table.Table
        Ready to print.
    """
    table = Table(title=found.cube, show_header=False)
    table.add_column("", style="bold")
    table.add_column("")
    table.add_row("published", "yes" if found.published else "no")
    if found.plan is not None:
        table.add_row("plan", found.plan[:12])
    for name, level in found.levels.items():
        table.add_row(name, f"{level.done:,} of {level.of:,} tasks done")
    table.add_row("in flight", ", ".join(found.in_flight) or "nothing")
    for name, why in found.failed.items():
        table.add_row(f"failed: {name}", why)
    table.add_row("stored", size(found.stored_bytes))
    table.add_row("builder", found.holder or "nobody")
    return table


def plan_table(figures: Sequence[Mapping[str, Any]]) -> Table:
    """The figures of plans side by side, one column a product.

    Parameters
    ----------
    figures
        What `spacenet_cube.plans.plan.summary` gives for each plan.

    Returns
    -------
    rich.table.Table
        Ready to print.
    """
    table = Table(title=f"Plan for {figures[0]['aoi']}" if figures else "Plan")
    table.add_column("", style="bold")
    for one in figures:
        table.add_column(str(one["product"]), justify="right")
    columns = [_told(one) for one in figures]
    for row in columns[0] if columns else ():
        table.add_row(row, *(column[row] for column in columns))
    return table


def _told(one: Mapping[str, Any]) -> dict[str, str]:
    """One plan's figures as words."""
    rows, cols = one["shape_yx"]
    width, height = one["resolution_xy"]
    west, south, east, north = one["bbox"]
    return {
        "cube": str(one["cube"]),
        "size (y, x)": f"{rows:,} x {cols:,} px",
        "bands": f"{len(one['bands'])} x {one['dtype']}",
        "CRS": str(one["crs"])[:40],
        "pixel (x, y)": f"{width:.6g} x {height:.6g}",
        "west, north": f"{west:.6f}, {north:.6f}",
        "east, south": f"{east:.6f}, {south:.6f}",
        "scenes": f"{one['scenes']:,}",
        "off the lattice": f"{one['deviation_px']:.2g} px at most",
        "levels": f"{len(one['levels'])}",
        "work units": f"{one['units']:,} ({one['units_with_data']:,} with data)",
        "pixels in": size(one["bytes_in"]),
        "pixels out, raw": size(one["bytes_out"]),
        f"memory, {one['workers']} workers": size(one["peak_memory_bytes"]),
        "digest": str(one["digest"])[:12],
        **_cost_told(one["cost"], len(one["left_out"])),
        "reading is paid by": str(one["paid_by"]),
    }


def findings_table(found: "Verification") -> Table:
    """The faults of a cube, one a row.

    Parameters
    ----------
    found
        What verifying came to.

    Returns
    -------
    rich.table.Table
        Ready to print.
    """
    mends = "\n".join(dict.fromkeys(fault.mend for fault in found.faults))
    table = Table(title=found.url, caption=mends, show_lines=True)
    longest = max((len(fault.key) for fault in found.faults), default=0)
    table.add_column("object", overflow="fold", min_width=min(longest, _KEY_WIDTH))
    table.add_column("pixels", overflow="fold")
    table.add_column("fault", overflow="fold")
    for fault in found.faults:
        where = "\n".join(map(str, fault.places))
        said = f"{fault.kind}: expected {fault.expected}, found {fault.found}"
        table.add_row(fault.key, where, _DIGEST.sub(r"\1...", said))
    return table
