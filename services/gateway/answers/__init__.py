"""Answers that are computed once for identical requests."""
