"""What benchmarks share: results, load generators, servers, charts."""
