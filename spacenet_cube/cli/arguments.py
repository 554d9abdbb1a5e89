"""Asking: what a command line asks for, as plans, executors and ways to reach storage.

Heavy imports wait until something is asked for, so that ``--help`` answers at once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from spacenet_cube.errors import MissingExtraError, RecipeError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from rich.progress import Progress

    from spacenet_cube.builds.tasks.cost import Sample
    from spacenet_cube.plans.plan import Plan
    from spacenet_cube.progress import Progress as Tell
    from spacenet_cube.recipe.grids import Area
    from spacenet_cube.recipe.model import Product
    from spacenet_cube.sources.survey import Survey
    from spacenet_cube.storage.base.options import StorageOptions


@dataclass(frozen=True, slots=True)
class Access:
    """What the command line says of how source and target are reached."""

    source: str | None
    source_options: Sequence[str] | None
    target_options: Sequence[str] | None
    staging: str | None
    requester_pays: bool
    pin: bool = False

    @property
    def said(self) -> dict[str, str]:
        """Options of the source, by name."""
        from spacenet_cube.storage.base.options import options_of_pairs

        paying = {"requester_pays": "true"} if self.requester_pays else {}
        return options_of_pairs(self.source_options or ()) | paying

    @property
    def target(self) -> dict[str, str]:
        """Options of the target, by name."""
        from spacenet_cube.storage.base.options import options_of_pairs

        return options_of_pairs(self.target_options or ())

    @property
    def to_read(self) -> "StorageOptions":
        """How a cube is reached: as said, else as the environment says."""
        from spacenet_cube.storage.resolve import from_environment

        return from_environment("target").over(self.target)


@contextmanager
def plan_of(
    cube: str | None,
    name: str | None,
    profile: str | None,
    scratch: Path | None,
    access: Access,
    area: "Area | None",
) -> Iterator[tuple["Plan | None", "Tell | None"]]:
    """The plan that a cube was built by, made anew; none where no cube is given."""
    from spacenet_cube.cli.tables import Bars, bars
    from spacenet_cube.integrity.inventory import origin
    from spacenet_cube.integrity.verify import located
    from spacenet_cube.recipe.files import bundled_recipes

    if cube is None:
        with bars() as shown:
            yield None, Bars(shown, "verify").tell
        return
    told = origin(located(cube, access.to_read))
    # What a cube says of itself may be a path to anything.
    if name is None and told.recipe not in bundled_recipes():
        raise RecipeError(
            f"{cube} says that it was built from recipe {told.recipe[:60]!a}, which is none of the "
            "bundled ones; give the recipe file with --recipe"
        )
    wanted = (name or told.recipe, [told.product], profile or told.profile)
    pinned = replace(access, pin=told.pinned)
    with plans_of(*wanted, scratch, pinned, area) as (planned, shown):
        yield planned[0][0], Bars(shown, told.product).tell


@contextmanager
def executor_of(
    scheduler: str | None, worker_env: Sequence[str], workers: int | None
) -> Iterator["Executor | None"]:
    """The executor of a Dask cluster; none where no scheduler is named."""
    if scheduler is None:
        if worker_env:
            raise RecipeError(
                "--worker-env is for Dask workers; name their --scheduler, or drop it"
            )
        yield None
        return
    if workers is not None:
        typer.echo("--workers is not used: the cluster has its own", err=True)
    try:
        from spacenet_cube.builds.cluster.client import connect
    except ImportError as error:
        raise MissingExtraError(
            f"--scheduler needs Dask's cluster part ({error}); pip install 'spacenet-cube[cluster]'"
        ) from error
    with connect(scheduler, worker_env=worker_env) as executor:
        yield executor


@contextmanager
def plans_of(
    name: str,
    products: Sequence[str] | None,
    profile: str | None,
    scratch: Path | None,
    access: Access,
    area: "Area | None",
) -> Iterator[tuple[list[tuple["Plan", "Survey"]], "Progress"]]:
    """Plans of the products asked for; what was unpacked for them is gone afterwards."""
    from spacenet_cube.builds.build import target_location
    from spacenet_cube.cli.tables import Bars, bars
    from spacenet_cube.plans.plan import plan
    from spacenet_cube.plans.reference import reference_grid
    from spacenet_cube.recipe.files import load_recipe
    from spacenet_cube.sources.overlap import refuse_inside
    from spacenet_cube.sources.survey import source_location, survey
    from spacenet_cube.storage.resolve import locate
    from spacenet_cube.storage.scratch import scratch_folder

    recipe = load_recipe(name)
    recipe = recipe if area is None else recipe.with_area(area)
    wanted = [recipe.product(p) for p in products or ()] or list(recipe.products)
    if profile is not None:
        wanted = [product.with_profile(profile) for product in wanted]
    staging = target_location(access.staging, access.target) if access.staging else None
    if scratch is not None and (access.source or recipe.source):
        source = source_location(recipe, access.source, access.said)
        refuse_inside("scratch", locate(scratch), source)
    with bars() as shown, scratch_folder(scratch) as folder:

        def scenes_of(product: "Product") -> "Survey":
            return survey(
                recipe,
                product,
                source=access.source,
                source_options=access.said,
                staging=staging,
                scratch=folder / product.name,
                pin=access.pin,
                progress=Bars(shown, product.name).tell,
            )

        planned = []
        for product in dict.fromkeys(wanted):
            reference = reference_grid(recipe, product, scenes_of)
            found = scenes_of(product)
            planned.append((plan(recipe, product, found, reference=reference), found))
        yield planned, shown


def sampled(planned: "Plan", scratch: Path | None) -> "Sample":
    """What some windows of the sources are measured to take."""
    from spacenet_cube.builds.estimate import estimate

    return estimate(planned, scratch)


def built_cube(
    planned: "Plan",
    to: str,
    *,
    replace: bool | None,
    **means: Any,  # noqa: ANN401 - what both verbs take
) -> tuple[dict[str, Any], str]:
    """Build a cube, or update it where ``replace`` is None: facts about it, and a line."""
    from spacenet_cube.builds.build import build
    from spacenet_cube.builds.update import update

    product = {"product": planned.product.name}
    if replace is None:
        done = update(planned, to, **means)
        return product | {"cube": done.url} | asdict(done), str(done)
    url = build(planned, to, replace=replace, **means)
    return product | {"cube": url, "digest": planned.digest}, url
