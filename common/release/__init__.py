"""A release: its store, layout, catalogue and item graphs."""
