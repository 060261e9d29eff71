"""Trials of single faults of servers, against the real services."""
