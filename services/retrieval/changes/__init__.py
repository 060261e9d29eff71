"""Changes of the catalogue: stored in a write-ahead log or a Redis stream, and applied to every loaded release."""
