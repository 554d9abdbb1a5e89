"""Chips: windows of a cube and labels on its grid, for learning."""
