"""Builds of cubes that keep versions: one commit a build."""
