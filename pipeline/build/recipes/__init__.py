"""Recipes: each module is one recipe, as the list of steps that its build runs."""
