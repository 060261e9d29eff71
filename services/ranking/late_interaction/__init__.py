"""The late-interaction tier: token vectors of items and queries, and their MaxSim score."""
