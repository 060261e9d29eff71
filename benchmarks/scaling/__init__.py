"""Benchmarks of several replicas, and the capacity of a machine."""
