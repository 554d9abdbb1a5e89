"""The command line: the same verbs as the package."""

from spacenet_cube.cli.app import main

__all__ = ["main"]
