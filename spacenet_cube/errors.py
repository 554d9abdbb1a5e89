"""Errors: one family, sorted by who can mend the fault.

Every message says what was found, why it cannot stand, and the mend, in the words the
reader typed.  The command line prints the message alone and leaves with ``exit_code``.
"""

from typing import ClassVar


class CubeError(Exception):
    """Anything spacenet_cube reports about the world or about what it was asked."""

    exit_code: ClassVar[int] = 1
    """What the command line leaves with: 1 the work failed, 2 the request was wrong."""


class RecipeError(CubeError):
    """The recipe, or the request made with it, is wrong: its author can mend it."""

    exit_code = 2


class SourceError(CubeError):
    """A source raster failed: try again, or exclude the scene.

    Parameters
    ----------
    message
        What was found, why it cannot stand, and the mend.
    scene
        Name of the scene, when one scene is at fault.
    """

    def __init__(self, message: str, *, scene: str | None = None) -> None:
        super().__init__(message)
        self.scene = scene


class StoreError(CubeError):
    """The place a cube is read from or written to failed: for whoever runs the build."""


class LostClusterError(StoreError):
    """The scheduler of a Dask cluster was lost: no task is at fault, and nothing is wrong."""


class CubeExistsError(StoreError):
    """A published cube stands where this build would write."""

    exit_code = 2


class VerifyError(CubeError):
    """A cube is not what its own records say: do not publish it."""


class MissingExtraError(CubeError):
    """A command needs a part that a plain install leaves out."""

    exit_code = 2
