"""Published cubes: open, describe, draw and analyse them."""
