"""The front door: profile, retrieval, ranking and policy in one call."""
