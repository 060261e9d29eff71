"""Building a release: one module a recipe, and the steps that they share."""
