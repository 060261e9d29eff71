"""Faults that tests and benchmarks cause."""
