"""A release: its store, manifest, file names, catalogue and item graphs."""
