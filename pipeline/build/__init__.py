"""Building a release: a module for each recipe, and the steps that recipes share."""
