"""Recipes: the model, recipe files and bands."""
