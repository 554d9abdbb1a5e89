"""Integrity: verify, compare and repair published cubes."""
