"""Places: where the tests find what lies outside them."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The checkout."""

SHARED = ROOT.parent / "shared" / "spacenet"
"""Real SpaceNet files, which are never committed."""

RECIPES = ROOT / "tests" / "recipes"
"""Recipes of real chips."""
