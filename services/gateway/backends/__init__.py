"""Clients of retrieval and ranking, and what stands in when one of them is down."""
