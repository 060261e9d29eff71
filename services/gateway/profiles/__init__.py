"""Stores of user profiles."""
