"""Metrics, and the questions that they are computed over."""
