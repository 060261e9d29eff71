"""Compares the variants of an experiment by the log of impressions."""
