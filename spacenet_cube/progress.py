"""Progress: how a stage tells what it has done, without knowing who listens."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Told the stage, how much of it is done and how much there is."""
