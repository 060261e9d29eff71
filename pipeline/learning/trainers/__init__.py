"""Training of each model, and the cache of what was trained."""
