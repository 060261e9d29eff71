"""Clients of retrieval and ranking, and the fallback while retrieval does not answer."""
