"""Shops, servers and processes that tests and benchmarks share."""
