"""Comparing two answers: what moved, over many users, and votes."""
