"""Other users's rerankers, each in an environment of its own, on the same weights and texts."""
