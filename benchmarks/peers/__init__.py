"""Rerankers of other projects, each in a virtual environment of its own, with the same weights and texts."""
