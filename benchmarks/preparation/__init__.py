"""Speed and memory of preparing data."""
