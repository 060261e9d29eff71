"""The commands of `python -m pipeline`, and the options that they share."""
