"""Builds: execute a plan."""
