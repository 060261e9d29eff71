"""What benchmarks share: records, load generators, servers, charts."""
