"""Training examples of each model."""
