"""Home Depot's product search judgements, and a cross-encoder trained on them: what the ranking benchmarks read."""
