"""Formulas of the analysis: NumPy in, NumPy out."""
