"""Experiments: who gets which variant, what a variant changes, and when it is stopped."""
