"""Icechunk: repositories that keep every version of a cube."""
