"""Measurements: one module a question; each prints a table and writes JSON."""
