"""Calls of web applications."""
