"""Repair of queries' spelling by the words of the catalogue."""
