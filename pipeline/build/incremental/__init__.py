"""Updating a release: its models on new events and items, in a fraction of a build."""
