"""Features of a user and an item for the fusion model."""
