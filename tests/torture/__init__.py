"""Torture: what a cube must survive, counted.  ``python -m tests.torture`` runs it."""
