"""The command line: the same verbs as the package, and no logic of its own.

Heavy imports wait until a command runs, so that ``--help`` answers at once.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spacenet_cube.cli.arguments import Access, built_cube, executor_of, plan_of, plans_of, sampled
from spacenet_cube.cli.exit import leaving
from spacenet_cube.cli.options import (
    AreaOption,
    BboxOption,
    BreakLockOption,
    CubeArgument,
    JsonOption,
    PinOption,
    ProductOption,
    ProfileOption,
    RecipeArgument,
    RequesterPaysOption,
    SchedulerOption,
    ScratchOption,
    ShareOption,
    SourceOption,
    SourceOptionsOption,
    StagingOption,
    TargetOption,
    TargetOptionsOption,
    WorkerEnvOption,
    WorkersOption,
)
from spacenet_cube.errors import RecipeError
from spacenet_cube.version import __version__

if TYPE_CHECKING:
    from spacenet_cube.integrity.findings import Verification

app = typer.Typer(
    name="spacenet-cube",
    help="SpaceNet's rasters, or any folder of GeoTIFFs, as chunked Zarr cubes by recipe.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"spacenet-cube {__version__}")
        raise typer.Exit


@app.command("recipes")
def recipes_command(as_json: JsonOption = False) -> None:
    """List the bundled recipes and their products."""
    from spacenet_cube.recipe.files import bundled_recipes, load_recipe

    found = [load_recipe(name) for name in bundled_recipes()]
    if as_json:
        _print_json({recipe.name: [p.name for p in recipe.products] for recipe in found})
        return
    for recipe in found:
        typer.echo(f"{recipe.name}  {recipe.title or ''}")
        for product in recipe.products:
            also = f" (also {', '.join(product.aliases)})" if product.aliases else ""
            typer.echo(f"  {product.name}{also}: {product.title or ''}")


@app.command("sample")
def sample_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write the corpus.")],
    aoi: Annotated[list[str] | None, typer.Option(help="Only this AOI; may be repeated.")] = None,
    product: ProductOption = None,
    tile_size: Annotated[
        int | None, typer.Option(help="Edge of a whole PAN tile, pixels; real ones have 16384.")
    ] = None,
) -> None:
    """Write a small synthetic corpus in the bucket's real layout."""
    from spacenet_cube.cli.tables import Bars, bars
    from spacenet_cube.sample.corpus import write_sample

    options = {} if tile_size is None else {"tile_size": tile_size}
    with bars() as shown:
        tell = Bars(shown, "sample").tell
        files = write_sample(
            folder,
            aois=aoi or None,
            products=product or None,
            progress=lambda done, total: tell("files", done, total),
            **options,
        )
    typer.echo(f"{len(files)} files under {folder}")


@app.command("plan")
def plan_command(
    recipe: RecipeArgument,
    product: ProductOption = None,
    source: SourceOption = None,
    to: TargetOption = "cubes",
    workers: WorkersOption = None,
    profile: ProfileOption = None,
    scratch: ScratchOption = None,
    bbox: BboxOption = None,
    area: AreaOption = None,
    staging: StagingOption = None,
    source_option: SourceOptionsOption = None,
    target_option: TargetOptionsOption = None,
    requester_pays: RequesterPaysOption = False,
    pin: PinOption = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Read and compress a few windows of the sources.")
    ] = False,
    rate_mb_s: Annotated[
        float, typer.Option("--rate", min=0.001, help="MB/s of the source, where not measured.")
    ] = 100.0,
    as_json: JsonOption = False,
) -> None:
    """Survey the sources and show what a build would do and cost, without doing it."""
    from spacenet_cube.cli.tables import figures_of
    from spacenet_cube.recipe.files import area_of

    access = Access(source, source_option, target_option, staging, requester_pays, pin)
    limit = area_of(bbox, area)
    with plans_of(recipe, product, profile, scratch, access, limit) as (planned, _):
        count = workers or os.cpu_count() or 1
        figures = [
            figures_of(
                one,
                found,
                to=to,
                workers=count,
                sample=sampled(one, scratch) if estimate else None,
                rate_bytes_s=rate_mb_s * 1e6,
            )
            for one, found in planned
        ]
    if as_json:
        _print_json({"plans": figures})
        return
    from rich.console import Console

    from spacenet_cube.cli.tables import plan_table

    Console().print(plan_table(figures))


@app.command("build")
def build_command(
    recipe: RecipeArgument,
    product: ProductOption = None,
    source: SourceOption = None,
    to: TargetOption = "cubes",
    workers: WorkersOption = None,
    profile: ProfileOption = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing cube.")] = False,
    update_only: Annotated[
        bool, typer.Option("--update", help="Rebuild only what changed in the sources.")
    ] = False,
    break_lock: BreakLockOption = False,
    scratch: ScratchOption = None,
    bbox: BboxOption = None,
    area: AreaOption = None,
    staging: StagingOption = None,
    source_option: SourceOptionsOption = None,
    target_option: TargetOptionsOption = None,
    requester_pays: RequesterPaysOption = False,
    scheduler: SchedulerOption = None,
    worker_env: WorkerEnvOption = None,
    pin: PinOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build cubes and publish them; go on with what was stopped."""
    from spacenet_cube.builds.build import check_target
    from spacenet_cube.cli.tables import Bars
    from spacenet_cube.recipe.files import area_of

    if replace and update_only:
        raise RecipeError(
            "--replace builds all of a cube and --update only what changed; give one of the two"
        )
    built: list[dict[str, Any]] = []
    access = Access(source, source_option, target_option, staging, requester_pays, pin)
    target, limit = access.target, area_of(bbox, area)
    with (
        executor_of(scheduler, worker_env or (), workers) as executor,
        plans_of(recipe, product, profile, scratch, access, limit) as (planned, shown),
    ):
        for one, _ in planned if not update_only else ():
            check_target(one, to, replace=replace, target_options=target)
        for one, _ in planned:
            facts, told = built_cube(
                one,
                to,
                replace=None if update_only else replace,
                workers=workers,
                executor=executor,
                break_lock=break_lock,
                target_options=target,
                scratch=scratch,
                progress=Bars(shown, one.product.name).tell,
            )
            built.append(facts)
            if not as_json:
                typer.echo(told)
    if as_json:
        _print_json({"recipe": recipe, "cubes": built})


@app.command("status")
def status_command(
    cube: CubeArgument,
    target_option: TargetOptionsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how far the build of a cube has come, what failed and why, and who is at work."""
    from spacenet_cube.builds.state.status import build_status
    from spacenet_cube.cli.tables import status_table
    from spacenet_cube.storage.base.options import options_of_pairs

    found = build_status(cube, target_options=options_of_pairs(target_option or ()))
    if as_json:
        _print_json(found.to_dict())
        return
    from rich.console import Console

    Console().print(status_table(found))


@app.command("verify")
def verify_command(
    cube: CubeArgument,
    level: Annotated[str, typer.Option(help="How closely: list, index, sample or full.")] = "full",
    source: SourceOption = None,
    recipe: Annotated[
        str | None, typer.Option(help="Compare with its sources; default: the cube's AOI.")
    ] = None,
    share: ShareOption = 0.05,
    seed: Annotated[int, typer.Option(help="Chooses what is sampled.")] = 1,
    workers: WorkersOption = None,
    profile: ProfileOption = None,
    scratch: ScratchOption = None,
    bbox: BboxOption = None,
    area: AreaOption = None,
    staging: StagingOption = None,
    source_option: SourceOptionsOption = None,
    target_option: TargetOptionsOption = None,
    requester_pays: RequesterPaysOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say whether a cube is what its manifest says; with --source, and what its sources hold."""
    from spacenet_cube.integrity.findings import Sampling
    from spacenet_cube.integrity.verify import verify
    from spacenet_cube.recipe.files import area_of

    access = Access(source, source_option, target_option, staging, requester_pays)
    with plan_of(
        cube if source or recipe else None, recipe, profile, scratch, access, area_of(bbox, area)
    ) as (planned, tell):
        found = verify(
            cube,
            level,
            plan=planned,
            sampling=Sampling(share, seed),
            workers=workers,
            storage_options=access.to_read,
            scratch=scratch,
            progress=tell,
        )
    _print_findings(found, found.to_dict() if as_json else None, str(found))


@app.command("repair")
def repair_command(
    cube: CubeArgument,
    recipe: Annotated[
        str | None, typer.Option(help="What it was built from; default: the cube's AOI.")
    ] = None,
    source: SourceOption = None,
    level: Annotated[
        str, typer.Option(help="How closely to look: list, index, sample or full.")
    ] = "full",
    workers: WorkersOption = None,
    break_lock: BreakLockOption = False,
    profile: ProfileOption = None,
    scratch: ScratchOption = None,
    bbox: BboxOption = None,
    area: AreaOption = None,
    staging: StagingOption = None,
    source_option: SourceOptionsOption = None,
    target_option: TargetOptionsOption = None,
    requester_pays: RequesterPaysOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make what verifying names once more, byte for byte, and nothing else."""
    from spacenet_cube.integrity.repair import repair
    from spacenet_cube.recipe.files import area_of

    access = Access(source, source_option, target_option, staging, requester_pays)
    with plan_of(cube, recipe, profile, scratch, access, area_of(bbox, area)) as (planned, tell):
        assert planned is not None, "a cube was given"
        done = repair(
            cube,
            planned,
            level=level,
            workers=workers,
            break_lock=break_lock,
            storage_options=access.to_read,
            scratch=scratch,
            progress=tell,
        )
    _print_findings(done.found, done.to_dict() if as_json else None, str(done))


@app.command("info")
def info_command(cube: CubeArgument, as_json: JsonOption = False) -> None:
    """Show what a cube holds."""
    from spacenet_cube.cube.info import cube_info, render

    found = cube_info(cube, count_bytes=True)
    if as_json:
        typer.echo(found.to_json())
        return
    from rich.console import Console

    Console().print(render(found))


@app.command("quicklook")
def quicklook_command(
    cube: CubeArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="PNG to write; default: <cube>.png.")
    ] = None,
    size_px: Annotated[int, typer.Option("--size", help="Longer edge of a map, pixels.")] = 1024,
) -> None:
    """Draw a cube as a PNG."""
    from spacenet_cube.cube.quicklook import quicklook

    typer.echo(str(quicklook(cube, output, size_px=size_px)))


@app.command("history")
def history_command(
    cube: CubeArgument,
    target_option: TargetOptionsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the versions of a versioned cube, newest first."""
    from spacenet_cube.builds.versioned.history import history, history_table
    from spacenet_cube.storage.base.options import options_of_pairs

    found = history(cube, target_options=options_of_pairs(target_option or ()))
    if as_json:
        _print_json({"cube": cube, "versions": [asdict(version) for version in found]})
        return
    from rich.console import Console

    Console().print(history_table(cube, found))


@app.command("tag")
def tag_command(
    cube: CubeArgument,
    name: Annotated[str, typer.Argument(help="A name that no version has or had.")],
    version: Annotated[
        str | None, typer.Argument(help="Tag, branch, snapshot or time; default: the newest.")
    ] = None,
    target_option: TargetOptionsOption = None,
) -> None:
    """Give a version of a cube a name, for good."""
    from spacenet_cube.builds.versioned.history import tag
    from spacenet_cube.storage.base.options import options_of_pairs

    options = options_of_pairs(target_option or ())
    typer.echo(f"{name} is {tag(cube, name, version, target_options=options).id}")


@app.command("rollback")
def rollback_command(
    cube: CubeArgument,
    version: Annotated[str, typer.Argument(help="Tag, branch, snapshot or time.")],
    target_option: TargetOptionsOption = None,
) -> None:
    """Let readers see another version of a cube; nothing is deleted."""
    from spacenet_cube.builds.versioned.history import rollback
    from spacenet_cube.storage.base.options import options_of_pairs

    found = rollback(cube, version, target_options=options_of_pairs(target_option or ()))
    typer.echo(f"readers see {found.id} of {found.time} now")


@app.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of recipes, for editors."""
    from spacenet_cube.recipe.model import Recipe

    _print_json(Recipe.model_json_schema())


def _print_findings(found: "Verification", as_json: dict[str, Any] | None, told: str) -> None:
    """Print what verifying came to, and leave with 1 where the cube is damaged."""
    from rich.console import Console

    from spacenet_cube.cli.tables import findings_table

    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    if as_json is not None:
        _print_json(as_json)
    else:
        if found.faults:
            Console().print(findings_table(found))
        typer.echo(told)
    if not found.is_sound:
        raise typer.Exit(1)


def _print_json(value: Any) -> None:  # noqa: ANN401 - any JSON
    typer.echo(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False))


def main() -> None:
    """Run a command; leave with 0 done, 1 the work failed, 2 the request was wrong."""
    leaving(app)
