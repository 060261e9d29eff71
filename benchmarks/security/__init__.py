"""What it costs to secure calls."""
