"""Options: arguments that several commands share, each with its help."""

from pathlib import Path
from typing import Annotated

import typer

RecipeArgument = Annotated[str, typer.Argument(help="Path of a recipe, or a bundled name.")]
CubeArgument = Annotated[str, typer.Argument(help="Path or URL of a cube.")]
ProductOption = Annotated[
    list[str] | None, typer.Option("--product", "-p", help="Only this product; may be repeated.")
]
SourceOption = Annotated[
    str | None, typer.Option("--source", help="Folder or URL that holds the rasters.")
]
TargetOption = Annotated[
    str,
    typer.Option("--to", help="Folder or URL to put cubes below; icechunk+URL keeps versions."),
]
ScratchOption = Annotated[
    Path | None, typer.Option(help="Folder for what is fetched or unpacked; emptied afterwards.")
]
StagingOption = Annotated[
    str | None,
    typer.Option(help="Folder or URL archives are unpacked to and stay in, to be resumed."),
]
SourceOptionsOption = Annotated[
    list[str] | None,
    typer.Option("--source-option", help="How the source is reached: name=value; repeatable."),
]
TargetOptionsOption = Annotated[
    list[str] | None,
    typer.Option("--target-option", help="How the target is reached: name=value; repeatable."),
]
RequesterPaysOption = Annotated[
    bool, typer.Option("--requester-pays", help="Let the source's requests be billed to you.")
]
PinOption = Annotated[
    bool, typer.Option("--pin", help="Hash local sources, so that a build refuses any other.")
]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, max=1024, help="Units at once; default: processors.")
]
ProfileOption = Annotated[
    str | None, typer.Option(help="Encoding: cloud or gdal312; default: the recipe's.")
]
BboxOption = Annotated[
    tuple[float, float, float, float] | None,
    typer.Option("--bbox", help="Limit to west south east north, degrees."),
]
AreaOption = Annotated[
    Path | None, typer.Option("--area", help="Limit to the polygons of a GeoJSON file.")
]
BreakLockOption = Annotated[
    bool, typer.Option("--break-lock", help="Take over from a builder that is gone for good.")
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(help="Address of a Dask scheduler, whose workers build; --workers is not used."),
]
WorkerEnvOption = Annotated[
    list[str] | None,
    typer.Option("--worker-env", help="Variable that Dask workers are given; may be repeated."),
]
ShareOption = Annotated[
    float, typer.Option("--share", help="Share of objects, or units, that is sampled.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and no more.")]
