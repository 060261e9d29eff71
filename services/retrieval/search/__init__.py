"""Nearest items of a snapshot, under a filter."""
