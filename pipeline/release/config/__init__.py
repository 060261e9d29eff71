"""Recipes and the settings of a build."""
