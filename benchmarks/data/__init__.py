"""Data sets of the benchmarks, and models and releases made from them."""
