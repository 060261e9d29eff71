"""Speed and quality of the ranking service."""
